"""How much host memory a controller needs until its guests are served: found by bisection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from controller.replay.backtest import Setting, Source, base_mib
from controller.replay.ballast import host_with
from controller.replay.controllers import PEERS, make
from controller.replay.pool import outcomes
from controller.replay.run import replay

ENOUGH = 0.001
"""Harm, as a fraction of demand, that counts as served."""


@dataclass(frozen=True, slots=True)
class Search:
    """One controller on one trace."""

    source: Source
    controller: str
    setting: Setting


@dataclass(frozen=True, slots=True)
class Need:
    """The least host memory with harm <= ENOUGH."""

    source: Source
    controller: str
    percent: int | None
    """Of the trace's `base_mib`; None when no host is large enough."""

    @property
    def host_mib(self) -> float | None:
        """The same in MiB."""
        return None if self.percent is None else self.percent / 100 * base_mib(self.source.trace)

    def entry(self) -> dict[str, str | float | None]:
        """What `summary.json` says of it."""
        return {
            "trace": self.source.path,
            "controller": self.controller,
            "host_mib": self.host_mib,
            "host_percent_of_peak": self.percent,
        }


def plan(given: Sequence[Source], controllers: Sequence[str], setting: Setting) -> tuple[Search, ...]:
    """All combinations, in the order in which they are reported."""
    return tuple(Search(source, name, setting) for source in given for name in controllers)


def run_all(searches: Sequence[Search], done: Callable[[], None] = lambda: None) -> list[Need]:
    """Search side by side. Raises ReplayError."""
    percents = outcomes(search, searches, done)
    return [Need(one.source, one.controller, percent) for one, percent in zip(searches, percents, strict=True)]


def search(one: Search) -> int | None:
    """Percent of the trace's `base_mib`, or None. Raises ReplayError.

    Up to a host on which equal shares reach everybody's maximum; Ballast's has the policy's reserve besides. Bisection
    takes harm to fall as the host grows: where a controller's does not, a smaller size may do as well.
    """
    trace = one.source.trace
    base = base_mib(trace)

    def serves(percent: int) -> bool:
        controller = make(one.controller, one.setting.policy)
        return replay(trace, controller, percent / 100 * base, one.setting.autodeflate).figures.harm <= ENOUGH

    largest = max(float(series.maximum.max()) for series in trace.series) * len(trace.series)
    if one.controller not in PEERS:
        largest = host_with(one.setting.policy, largest)
    return least(serves, ceil(100 * largest / base))


def least(serves: Callable[[int], bool], most: int) -> int | None:
    """The smallest number from 1 to `most` that serves, if larger ones do, too; None when `most` does not."""
    if not serves(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if serves(middle) else (middle, high)
    return high

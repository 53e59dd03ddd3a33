"""How much host memory a controller needs until its guests are served: found by bisection."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor
from typing import TypeVar

from controller.replay.backtest import ReplayRun, Setting, TraceSource, base_mib
from controller.replay.ballast import host_with
from controller.replay.controllers import PEERS, make
from controller.replay.pool import Pool, Watcher
from controller.replay.run import serves as is_served

Job = TypeVar("Job")

ENOUGH = 0.001
"""Harm, as a fraction of demand, that counts as served."""

SAME = 1e-6
"""Percent by which a size may miss a whole one by rounding."""


@dataclass(frozen=True, slots=True)
class Search:
    """One controller on one trace."""

    source: TraceSource
    controller: str
    setting: Setting


@dataclass(frozen=True, slots=True)
class Need:
    """The least host memory with harm <= ENOUGH."""

    source: TraceSource
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


@dataclass(frozen=True, slots=True)
class SweepTrial:
    """One controller on a host of one size."""

    search: Search
    percent: int
    """Of the trace's `base_mib`."""


def plan(given: Sequence[TraceSource], controllers: Sequence[str], setting: Setting) -> tuple[Search, ...]:
    """All combinations, in the order in which they are reported."""
    return tuple(Search(source, name, setting) for source in given for name in controllers)


def run_all(searches: Sequence[Search], runs: Sequence[ReplayRun], pool: Pool, watcher: Watcher) -> list[Need]:
    """Search side by side, between the sizes that `runs` were on where they tell. Raises PoolError, ReplayError.

    Bisection takes harm to fall as the host grows: where a controller's does not, a smaller size may do as well.
    """
    known = [bounds(one, runs) for one in searches]
    watcher.more(sum(trials(*each) for each in known))
    courses = [least(partial(SweepTrial, one), *each) for one, each in zip(searches, known, strict=True)]
    percents = pool.follow(serves, courses, watcher.done)
    return [Need(one.source, one.controller, percent) for one, percent in zip(searches, percents, strict=True)]


def bounds(one: Search, runs: Sequence[ReplayRun]) -> tuple[int, int, bool]:
    """Percent that does not serve, and a larger one; whether that is known to serve.

    Nothing known, that is a host on which equal shares reach everybody's maximum; Ballast's has the policy's reserve
    besides.
    """
    trace = one.source.trace
    base = base_mib(trace)
    same = [run for run in runs if (run.source.path, run.controller) == (one.source.path, one.controller)]
    good = [ceil(100 * run.host_mib / base - SAME) for run in same if run.figures.harm <= ENOUGH]
    bad = [floor(100 * run.host_mib / base + SAME) for run in same if run.figures.harm > ENOUGH]
    low = max((percent for percent in bad if percent < min(good, default=percent + 1)), default=0)
    if good:
        return low, min(good), True
    largest = max(float(series.maximum.max()) for series in trace.series) * len(trace.series)
    if one.controller not in PEERS:
        largest = host_with(one.setting.policy, largest)
    return low, max(ceil(100 * largest / base), low + 1), False


def trials(low: int, high: int, serves_high: bool) -> int:
    """How many sizes `least` tries at most."""
    return (high - low - 1).bit_length() + (not serves_high)


def least(trial: Callable[[int], Job], low: int, high: int, serves_high: bool) -> Generator[Job, bool, int | None]:
    """The smallest number above `low` that serves, if larger ones do, too; None when `high` does not.

    Yields trials of numbers, and is sent whether they serve.
    """
    if not serves_high and not (yield trial(high)):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if (yield trial(middle)) else (middle, high)
    return high


def serves(trial: SweepTrial) -> bool:
    """Whether the controller serves its guests on that host. Raises ReplayError."""
    one = trial.search
    trace = one.source.trace
    host_mib = trial.percent / 100 * base_mib(trace)
    return is_served(trace, make(one.controller, one.setting.policy), host_mib, ENOUGH, one.setting.autodeflate)

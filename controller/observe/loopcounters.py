"""What happened since the start and stands in no state: counted by the loop as it happens, read when scraped.

Everything is known to the series from the start, with 0: Prometheus cannot see the first increase of a series that
begins with it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import Metric

from controller.engine.decision import Action
from controller.engine.reasons import Reason

LOOK = "look"
ORDER = "order"
"""Kinds of libvirt calls."""

STEP_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""From a handful of domains to a hundred thousand."""
CALL_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""From an idle libvirtd to the deadline of a look."""

_GROWS = (
    Reason.FORECAST_GROW,
    Reason.PRESSURE_GROW,
    Reason.FELT_GROW,
    Reason.SPARE_LENT,
    Reason.RELEASE_RESTORE,
    Reason.LIMITS,
)
_SHRINKS = (
    Reason.FORECAST_SHRINK,
    Reason.CONTENTION_SHRINK,
    Reason.HOST_PRESSURE_SHRINK,
    Reason.RELEASE_RESTORE,
    Reason.LIMITS,
)
_MOVES = [("grow", reason) for reason in _GROWS] + [("shrink", reason) for reason in _SHRINKS]


class LoopCounters:
    """Counters and histograms of prometheus_client: written by the loop's thread, read by any."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds that only go forward."""
        self._clock = clock
        moves = ["reason", "direction"]
        self._reallocations = Counter(
            "ballast_reallocations", "Changes of a domain's allocation that libvirt accepted.", moves, registry=None
        )
        self._proposals = Counter(
            "ballast_proposals", "Changes that Enforce would have made, of domains under Observe.", moves, registry=None
        )
        self._moved = Counter(
            "ballast_moved_bytes", "Memory that balloons were asked to move.", ["direction"], registry=None
        )
        self._refused = Counter(
            "ballast_refused_orders", "Changes of an allocation that libvirt refused.", registry=None
        )
        self._alarms = Counter(
            "ballast_felt_growths",
            "Times that a domain was felt to grow so much that it woke Ballast.",
            registry=None,
        )
        self._stalls = Counter(
            "ballast_felt_stalls",
            "Times that a stall of a domain's QEMU woke Ballast.",
            registry=None,
        )
        self._false_alarms = Counter(
            "ballast_false_growths",
            "Of ballast_felt_growths_total, those whose guests then reported no such demand.",
            registry=None,
        )
        self._skips = Counter(
            "ballast_skips", "Looks after which a domain was left as it is, by reason.", ["reason"], registry=None
        )
        self._step = Histogram(
            "ballast_step_duration_seconds",
            "Time one decision for all domains takes.",
            registry=None,
            buckets=STEP_BUCKETS_S,
        )
        self._calls = Histogram(
            "ballast_libvirt_call_duration_seconds",
            "Time libvirt takes: for a look at the domains due, or for the orders of one decision.",
            ["call"],
            registry=None,
            buckets=CALL_BUCKETS_S,
        )
        self._begin()

    def collect(self) -> Iterable[Metric]:
        """All families."""
        for each in (
            self._reallocations,
            self._proposals,
            self._moved,
            self._refused,
            self._alarms,
            self._stalls,
            self._false_alarms,
            self._skips,
            self._step,
            self._calls,
        ):
            yield from each.collect()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one decision."""
        began = self._clock()
        yield
        self._step.observe(self._clock() - began)

    @contextmanager
    def call(self, kind: str) -> Iterator[None]:
        """Around what is asked of libvirt; `kind` is LOOK or ORDER."""
        began = self._clock()
        yield
        self._calls.labels(kind).observe(self._clock() - began)

    def orders(self, actions: Sequence[Action], refused: Mapping[str, str]) -> None:
        """Balloon changes that were carried out; `refused` are libvirt's messages by key, of those it refused."""
        for action in actions:
            if action.key in refused:
                self._refused.inc()
                continue
            self._moved.labels(_direction(action)).inc(abs(action.target - action.before))
            if action.reason.moves:
                self._reallocations.labels(str(action.reason), _direction(action)).inc()

    def proposals(self, proposals: Sequence[Action]) -> None:
        """Balloon changes that were only proposed."""
        for action in proposals:
            self._proposals.labels(str(action.reason), _direction(action)).inc()

    def alarms(self, grew: int, stalled: int) -> None:
        """So many domains were felt to grow, and so many to stall."""
        self._alarms.inc(grew)
        self._stalls.inc(stalled)

    def false_alarms(self, number: int) -> None:
        """So many of those had not grown, by their own word."""
        self._false_alarms.inc(number)

    def looked(self, reasons: NDArray[np.int64]) -> None:
        """(m,) `Reason` codes of the domains just looked at."""
        codes, counts = np.unique(reasons, return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            reason = Reason(code)
            if not reason.moves:
                self._skips.labels(str(reason)).inc(count)

    def _begin(self) -> None:
        for direction, reason in _MOVES:
            self._reallocations.labels(str(reason), direction)
            self._proposals.labels(str(reason), direction)
        for direction in ("grow", "shrink"):
            self._moved.labels(direction)
        for reason in Reason:
            if not reason.moves:
                self._skips.labels(str(reason))
        for kind in (LOOK, ORDER):
            self._calls.labels(kind)


def _direction(action: Action) -> str:
    return "grow" if action.grows else "shrink"

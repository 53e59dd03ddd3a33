"""The paper's experiment: how well each model predicts use at the next monitoring point, at a fixed threshold.

The engine itself, with each model, runs every domain of a trace alone, on a host as large as the domain may become: its
looks and moves are its own, and nobody else's. Memory is not lent (`Reclaim`), so that allocations follow forecasts. A
domain's time is cut into blocks; the bootstrap draws whole (domain, block) cells, because errors that follow each other
are alike (block bootstrap: H. R. Kuensch, Annals of Statistics 17, 1989).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from controller.api.policy import DomainSelector, MemoryPolicy
from controller.engine.tables import Floats
from controller.forecast import registry
from controller.replay.ballast import MIB, MONOTONIC_START, ReplayedBallast, enforced, host_with, with_model
from controller.replay.pool import Pool, Watcher
from controller.replay.run import played
from controller.replay.trace import Series, Trace
from controller.replay.world import DIGITS, INSTANT_S, SimulatedHost

BASELINE = "LastValue"
"""What differences are taken from: the forecast that costs nothing."""

LEAD_IN = 24
"""Longest intervals of a domain that are not judged: the history fills, and the interval finds its length."""

BLOCKS = 32
"""Blocks of a domain at most: with a handful of domains still enough cells to draw from."""

BLOCK_LEAD_INS = 4
"""Lead-ins that a block lasts at least: what one block has to do with the next is then a small part of it."""

DRAWS = 2000
"""Bootstrap samples: the ends of a 95 % interval then vary by a few per cent of its width."""

CONFIDENCE = 0.95

SEED = 4
"""Any fixed number: the same trace gives the same intervals."""


class CompareError(Exception):
    """A comparison that makes no sense; the message names the value and the remedy."""


@dataclass(frozen=True, slots=True)
class IntervalEstimate:
    """A figure with the ends of its 95 % bootstrap interval; any of a ratio's is infinite where only its base is 0."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How one model did. Errors in MiB of what the engine saw, each judged forecast counting once."""

    model: str
    mae: IntervalEstimate
    rmse: IntervalEstimate
    coverage: IntervalEstimate
    """Part of the forecasts whose upper bound held."""
    pinball: IntervalEstimate
    """Mean pinball loss of the upper bound at the policy's percentile, MiB."""
    mae_ratio: IntervalEstimate
    """MAE relative to the last value's, both drawn from the same cells; 1 is no difference."""
    pinball_ratio: IntervalEstimate
    looks_per_domain_hour: float
    reallocations_per_domain_hour: float
    """Changes of the allocation."""


def compare(
    trace: Trace,
    policy: MemoryPolicy,
    kinds: Sequence[str] = tuple(registry.KINDS),
    watcher: Watcher | None = None,
) -> tuple[Quality, ...]:
    """Quality of each of `kinds` on `trace`, under the settings of `policy`; its model's type does not matter.

    Deterministic, whatever time the trace starts at. Raises CompareError for a trace whose domains run too briefly for
    a single judged forecast, PoolError.
    """
    fitted = enforced(policy, trace.step_s)
    longest = fitted.spec.advanced.monitoring.maximum_interval_seconds
    span = round(trace.end - trace.start, DIGITS)
    lead_in = min(LEAD_IN * longest, span / 4)
    walks = [
        Walk(name, series, _edges(series, lead_in, span), with_model(_alone(policy), kind))
        for kind in kinds
        for name, series in zip(trace.domains, map(_from_zero, trace.series), strict=True)
        if series.times[-1] - series.times[0] > lead_in + INSTANT_S
    ]
    if watcher:
        watcher.more(len(walks))
    with Pool() as pool:
        told = pool.outcomes(walk, walks, watcher.done) if watcher else pool.outcomes(walk, walks)
    cells = np.concatenate([np.zeros((0, _WHAT)), *told])
    sums = cells.reshape(len(kinds), -1, _WHAT)
    if not sums[:, :, _COUNT].any(axis=1).all():
        ran = max(float(series.times[-1] - series.times[0]) for series in trace.series)
        raise CompareError(
            f"trace: its domains ran for {ran:.0f} s at most, too short for a forecast; "
            f"give one with a domain that ran for more than {lead_in + longest:.0f} s, "
            "or a shorter advanced.monitoring.maximumIntervalSeconds"
        )
    return tuple(_qualities(kinds, sums))


def _alone(policy: MemoryPolicy) -> MemoryPolicy:
    """`policy` for every domain, whose memory is not lent."""
    spec = policy.spec.model_copy(update={"spare": "Reclaim", "domain_selector": DomainSelector(), "selectors": None})
    return policy.model_copy(update={"spec": spec})


def _from_zero(series: Series) -> Series:
    """The series on a clock that starts with it: seconds since the epoch are too large for small differences.

    Microseconds: what a time loses of its decimals by being large, it gets back.
    """
    return replace(series, times=np.round(series.times - series.times[0], DIGITS))


def _edges(series: Series, lead_in: float, span: float) -> Floats:
    """(blocks + 1,) seconds at which the blocks of a domain begin, and the last ends. `span`: of the whole trace."""
    block = max(span / BLOCKS, BLOCK_LEAD_INS * lead_in, INSTANT_S)
    last = float(series.times[-1])
    count = max(int(np.ceil((last - block / 2 - lead_in) / block)), 1)
    return np.append(lead_in + block * np.arange(count), last)


_COUNT, _ABSOLUTE, _SQUARE, _COVERED, _PINBALL, _LOOKS, _MOVES, _SECONDS = range(8)
_WHAT = 8
"""What is summed up in each cell, and how much that is."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One domain under the engine with one model."""

    name: str
    series: Series
    edges: Floats
    policy: MemoryPolicy


def walk(one: Walk) -> Floats:
    """(blocks, what) what came of it, block by block."""
    trace = Trace((one.name,), (one.series,))
    judge = _Judge(one)
    world = SimulatedHost(trace, host_with(one.policy, float(one.series.maximum.max())))
    for _ in played(world, judge):
        pass
    record = world.finish()
    judge.sums[:, _LOOKS] = np.histogram(record.look_times, one.edges)[0]
    judge.sums[:, _SECONDS] = np.diff(one.edges)
    return judge.sums


class _Judge(ReplayedBallast):
    """Ballast that enters what became of each forecast, and each move."""

    def __init__(self, one: Walk) -> None:
        super().__init__(one.policy)
        self.sums = np.zeros((len(one.edges) - 1, _WHAT))
        self._edges = one.edges
        self._percentile = one.policy.spec.advanced.model.upper_percentile / 100

    def act(self, world: SimulatedHost) -> None:
        """A step, and an entry about it."""
        before = float(self.state.estimate.upper[0]) if len(self.state.inventory) else np.nan
        super().act(world)
        cell = int(np.searchsorted(self._edges, world.now, side="right")) - 1
        if not (len(self.state.inventory) and 0 <= cell < len(self.sums)):
            return
        now, entries = world.now + MONOTONIC_START, self.sums[cell]
        if self.state.estimate.at[0] == now and np.isfinite(before):
            self._enter(entries, float(self.state.estimate.error[0]), float(self.state.observation.demand[0]) - before)
        entries[_MOVES] += self.state.balloon.last_at[0] == now

    def _enter(self, entries: Floats, error: float, over: float) -> None:
        """`error` of the forecast and `over`, demand above its upper bound, bytes."""
        error, over = error / MIB, over / MIB
        entries[_COUNT] += 1
        entries[_ABSOLUTE] += abs(error)
        entries[_SQUARE] += error * error
        entries[_COVERED] += over <= 0
        entries[_PINBALL] += max(self._percentile * over, (self._percentile - 1) * over)


def _qualities(kinds: Sequence[str], sums: Floats) -> list[Quality]:
    """`sums`: (models, cells, what)."""
    cells = sums.shape[1]
    rng = np.random.default_rng(SEED)
    draws = rng.multinomial(cells, np.full(cells, 1 / cells), size=DRAWS).astype(np.float64)
    weights = np.vstack([np.ones(cells), draws])
    totals = [weights @ of_model for of_model in sums]
    base = totals[kinds.index(BASELINE)] if BASELINE in kinds else totals[0]
    return [_quality(kind, total, base) for kind, total in zip(kinds, totals, strict=True)]


def _quality(kind: str, total: Floats, base: Floats) -> Quality:
    """`total` and `base`: (1 + draws, what), the first row without any drawing."""

    def mean(what: int, of: Floats = total) -> Floats:
        return np.divide(of[:, what], of[:, _COUNT], out=np.zeros(len(of)), where=of[:, _COUNT] > 0)

    def ratio(what: int) -> IntervalEstimate:
        ours, theirs = mean(what), mean(what, base)
        return _estimate(np.divide(ours, theirs, out=np.where(ours > 0, np.inf, 1.0), where=theirs > 0))

    hours = total[0, _SECONDS] / 3600
    return Quality(
        model=kind,
        mae=_estimate(mean(_ABSOLUTE)),
        rmse=_estimate(np.sqrt(mean(_SQUARE))),
        coverage=_estimate(mean(_COVERED)),
        pinball=_estimate(mean(_PINBALL)),
        mae_ratio=ratio(_ABSOLUTE),
        pinball_ratio=ratio(_PINBALL),
        looks_per_domain_hour=float(total[0, _LOOKS] / hours),
        reallocations_per_domain_hour=float(total[0, _MOVES] / hours),
    )


def _estimate(values: Floats) -> IntervalEstimate:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail], method="inverted_cdf")  # inf: nothing between
    return IntervalEstimate(float(values[0]), float(low), float(high))

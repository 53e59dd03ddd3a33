"""The paper's experiment: how well each model predicts use at the next monitoring point, at a fixed threshold.

Every model walks the uncensored demand of a trace alone and chooses its own looks, by the stability, schedule and
bounds of the engine. A domain's time is cut into blocks that are walked side by side, each after a lead-in that fills
the history and is not judged; the bootstrap draws whole (domain, block) cells, because errors that follow each other
are alike (block bootstrap: H. R. Kuensch, Annals of Statistics 17, 1989).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from controller import schedule, stability
from controller.api.policy import ForecastModel, MemoryPolicy
from controller.engine.ownership import forecaster
from controller.forecast import bound, calibration, registry
from controller.forecast.model import Line, Model, Points
from controller.replay.ballast import MIB, enforced
from controller.replay.trace import Trace
from controller.replay.world import DIGITS, INSTANT_S

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BASELINE = "LastValue"
"""What differences are taken from: the forecast that costs nothing."""

LEAD_IN = 24
"""Longest intervals walked before a block is judged: the history is full and the interval has found its length."""

BLOCKS = 32
"""Blocks of a domain at most: with a handful of domains still enough cells to draw from."""

BLOCK_LEAD_INS = 4
"""Lead-ins that a block lasts at least: what is walked but not judged stays the smaller part."""

DRAWS = 2000
"""Bootstrap samples: the ends of a 95 % interval then vary by a few per cent of its width."""

CONFIDENCE = 0.95

NEVER = 2.0**62
"""Bytes no guest reaches: before there is an allocation, its exhaustion is not watched for."""

SEED = 4
"""Any fixed number: the same trace gives the same intervals."""


class CompareError(Exception):
    """A comparison that makes no sense; the message names the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the ends of its 95 % bootstrap interval; any of a ratio's is infinite where only its base is 0."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How one model did. Errors in MiB, each judged forecast counting once."""

    model: str
    mae: Estimate
    rmse: Estimate
    coverage: Estimate
    """Part of the forecasts whose upper bound held."""
    pinball: Estimate
    """Mean pinball loss of the upper bound at the policy's percentile, MiB."""
    mae_ratio: Estimate
    """MAE relative to the last value's, both drawn from the same cells; 1 is no difference."""
    pinball_ratio: Estimate
    looks_per_domain_hour: float
    reallocations_per_domain_hour: float
    """Changes of allocation that would pass the threshold."""


def compare(
    trace: Trace,
    policy: MemoryPolicy,
    kinds: Sequence[str] = tuple(registry.KINDS),
    progress: Callable[[float], None] | None = None,
) -> tuple[Quality, ...]:
    """Quality of each of `kinds` on `trace`, under the settings of `policy`; its model's type does not matter.

    Deterministic, whatever time the trace starts at. `progress` is told the part that is done, in [0, 1]. Raises
    CompareError for a trace whose domains run too briefly for a single judged forecast.
    """
    fitted = enforced(policy, trace.step_s)
    walk = _Walk(_from_zero(trace), fitted, kinds)
    walk.run(progress)
    if not walk.sums[:, :, _COUNT].any(axis=1).all():
        longest = max(float(series.times[-1] - series.times[0]) for series in trace.series)
        needed = walk.lead_in + fitted.spec.monitoring.maximum_interval_seconds
        raise CompareError(
            f"trace: its domains ran for {longest:.0f} s at most, too short for a forecast; "
            f"give one with a domain that ran for more than {needed:.0f} s, "
            "or a shorter monitoring.maximumIntervalSeconds"
        )
    return tuple(_qualities(kinds, walk.sums))


def _from_zero(trace: Trace) -> Trace:
    """The trace on a clock that starts with it: seconds since the epoch are too large for small differences.

    Microseconds: what a time loses of its decimals by being large, it gets back.
    """
    return Trace(
        trace.domains,
        tuple(replace(series, times=np.round(series.times - trace.start, DIGITS)) for series in trace.series),
    )


_COUNT, _ABSOLUTE, _SQUARE, _COVERED, _PINBALL, _MOVES, _SECONDS = range(7)
"""What is summed up in each cell."""


@dataclass(slots=True)
class _State:
    """Columns of the rows under way, (n,) or (n, points): one row is one model on one block of one domain."""

    model: Ints
    cell: Ints
    domain: Ints
    judged_from: Floats
    end: Floats
    time: Floats
    place: Ints
    """Where the sample last seen stands among all samples."""
    interval: Floats
    reallocations: Floats
    allocation: Floats
    forecast: Floats
    upper: Floats
    width: Floats
    times: Floats
    values: Floats
    count: Ints

    def keep(self, rows: Bools) -> "_State":
        """The state of some of the rows."""
        return _State(*(getattr(self, item.name)[rows] for item in fields(self)))


class _Walk:
    """All models over all blocks at once, look by look."""

    def __init__(self, trace: Trace, policy: MemoryPolicy, kinds: Sequence[str]) -> None:
        self._spec = policy.spec
        self._models = [_named(policy.spec.model, kind) for kind in kinds]
        self._samples = _Samples(trace)
        longest = policy.spec.monitoring.maximum_interval_seconds
        self.lead_in = min(LEAD_IN * longest, (trace.end - trace.start) / 4)
        self._state = self._start(trace)
        self.sums = np.zeros((len(kinds), int(self._state.cell.max()) + 1, 7))

    def run(self, progress: Callable[[float], None] | None) -> None:
        """Until every row is at its end."""
        rows = len(self._state.model)
        while len(self._state.model):
            self._look()
            self._state = self._state.keep(self._state.time <= self._state.end)
            if progress:
                progress(1 - len(self._state.model) / rows)

    def _start(self, trace: Trace) -> _State:
        block = max((trace.end - trace.start) / BLOCKS, BLOCK_LEAD_INS * self.lead_in, INSTANT_S)
        starts, ends, domains = [], [], []
        for row, series in enumerate(trace.series):
            begin, last = float(series.times[0]) + self.lead_in, float(series.times[-1])
            edges = begin + block * np.arange(max(np.ceil((last - block / 2 - begin) / block), 1))
            starts += edges.tolist()
            ends += [*edges[1:].tolist(), last]
            domains += [row] * len(edges)
        cells, models = len(starts), len(self._models)
        domain = np.tile(np.array(domains, dtype=np.int64), models)
        judged_from, end = np.tile(starts, models), np.tile(ends, models)
        n, points = cells * models, max(model.decision_points for model in self._models)
        place, time = self._samples.at(domain, judged_from - self.lead_in)
        return _State(
            model=np.repeat(np.arange(models), cells),
            cell=np.tile(np.arange(cells), models),
            domain=domain,
            judged_from=judged_from,
            end=end,
            time=time,
            place=place,
            interval=np.full(n, float(self._spec.monitoring.minimum_interval_seconds)),
            reallocations=np.zeros(n),
            allocation=np.full(n, np.nan),
            forecast=np.full(n, np.nan),
            upper=np.full(n, np.nan),
            width=np.ones(n),
            times=np.zeros((n, points)),
            values=np.zeros((n, points)),
            count=np.zeros(n, dtype=np.int64),
        )

    def _look(self) -> None:
        state = self._state
        demand = self._samples.demand[state.place]
        self._judge(demand)
        self._calibrate(demand)
        change = np.where(state.count > 0, np.abs(demand - state.values[:, 0]), 0.0)
        self._remember(demand)
        line = calibration.widened(self._fit(), state.width)
        self._pace(line, change)
        state.forecast = bound.predict(line, state.interval)
        percentile = self._spec.model.upper_percentile / 100
        state.upper = np.maximum(bound.upper(line, state.interval, percentile), demand)
        self._reallocate()
        self._advance()

    def _judge(self, demand: Floats) -> None:
        """Enter what became of the forecasts of this look."""
        state = self._state
        rows = np.flatnonzero((state.time >= state.judged_from) & (state.count > 0))
        error = (demand - state.forecast)[rows] / MIB
        over = (demand - state.upper)[rows] / MIB
        percentile = self._spec.model.upper_percentile / 100
        sums = self.sums[state.model[rows], state.cell[rows]]
        sums[:, _COUNT] += 1
        sums[:, _ABSOLUTE] += np.abs(error)
        sums[:, _SQUARE] += error * error
        sums[:, _COVERED] += over <= 0
        sums[:, _PINBALL] += np.maximum(percentile * over, (percentile - 1) * over)
        sums[:, _SECONDS] = (state.end - state.judged_from)[rows]
        self.sums[state.model[rows], state.cell[rows]] = sums

    def _calibrate(self, demand: Floats) -> None:
        state = self._state
        percentile = self._spec.model.upper_percentile / 100
        width = calibration.width(state.width, demand > state.upper, percentile)
        state.width = np.where(state.count > 0, width, state.width)

    def _remember(self, demand: Floats) -> None:
        state = self._state
        state.times = np.column_stack([state.time, state.times[:, :-1]])
        state.values = np.column_stack([demand, state.values[:, :-1]])
        state.count = np.minimum(state.count + 1, state.times.shape[1])

    def _fit(self) -> Line:
        """Each row by its own model; rows of a model stand together."""
        state = self._state
        ages = state.time[:, None] - state.times
        present = np.arange(state.times.shape[1]) < state.count[:, None]
        edges = np.searchsorted(state.model, np.arange(len(self._models) + 1))
        parts = [
            model.fit(Points(ages[first:last], state.values[first:last], present[first:last]))
            for model, first, last in zip(self._models, edges, edges[1:], strict=False)
        ]
        return Line(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Line)))

    def _pace(self, line: Line, change: Floats) -> None:
        state, spec = self._state, self._spec
        monitoring = spec.monitoring
        size = np.where(np.isnan(state.allocation), NEVER, state.allocation)
        calm = stability.stable(
            state.reallocations,
            np.asarray(float(spec.stability.maximum_reallocations)),
            change / np.maximum(size, 1.0),
            np.asarray(spec.stability.maximum_change_percent / 100),
        )
        exhaustion = bound.time_to_reach(line, size, spec.model.upper_percentile / 100)
        state.interval = schedule.next_interval(
            state.interval,
            np.asarray(float(monitoring.minimum_interval_seconds)),
            np.asarray(float(monitoring.maximum_interval_seconds)),
            calm,
            exhaustion,
            np.asarray(np.inf),
        )

    def _reallocate(self) -> None:
        """The allocation follows what is wanted wherever the difference passes the threshold."""
        state, spec = self._state, self._spec
        headroom = np.maximum(spec.headroom.quantity, spec.headroom.percent / 100 * state.upper)
        maximum = self._samples.maximum[state.place]
        wanted = np.minimum(state.upper + headroom, np.maximum(maximum, state.upper))
        threshold = np.maximum(spec.threshold.quantity, spec.threshold.percent / 100 * state.allocation)
        moves = np.abs(wanted - state.allocation) > threshold
        state.reallocations += moves
        judged = moves & (state.time >= state.judged_from)
        self.sums[state.model[judged], state.cell[judged], _MOVES] += 1
        state.allocation = np.where(moves | np.isnan(state.allocation), wanted, state.allocation)

    def _advance(self) -> None:
        state = self._state
        place, time = self._samples.after(state.domain, state.place, state.time + state.interval)
        window = np.asarray(float(self._spec.stability.window_seconds))
        state.reallocations = stability.decayed(state.reallocations, time - state.time, window)
        state.place, state.time = place, time


class _Samples:
    """All samples of a trace in one row, bytes, found by domain and time."""

    def __init__(self, trace: Trace) -> None:
        self._times = np.concatenate([series.times for series in trace.series])
        self.demand = np.concatenate([series.demand for series in trace.series]) * MIB
        self.maximum = np.concatenate([series.maximum for series in trace.series]) * MIB
        lengths = np.array([len(series.times) for series in trace.series])
        self._last = np.cumsum(lengths) - 1
        self._first = self._last - lengths + 1
        self._start, self._lane = trace.start, trace.end - trace.start + 1.0
        domains = np.repeat(np.arange(len(lengths)), lengths)
        self._keys = self._times - self._start + domains * self._lane

    def at(self, domain: Ints, time: Floats) -> tuple[Ints, Floats]:
        """(place, time) of the sample in force at `time`, not before the domain's first."""
        place = np.searchsorted(self._keys, time - self._start + domain * self._lane, side="right") - 1
        place = np.maximum(place, self._first[domain])
        return place, np.maximum(time, self._times[place])

    def after(self, domain: Ints, place: Ints, time: Floats) -> tuple[Ints, Floats]:
        """(place, time) of a look due at `time` that has last seen `place`: one that brings nothing new waits.

        The time is infinite after a domain's last sample.
        """
        found, _ = self.at(domain, np.minimum(time, self._start + self._lane - 0.5))
        fresh = found > place
        over = ~fresh & (place >= self._last[domain])
        found = np.where(fresh, found, np.minimum(place + 1, self._last[domain]))
        return found, np.where(over, np.inf, np.where(fresh, time, self._times[found]))


def _named(settings: ForecastModel, kind: str) -> Model:
    return forecaster(settings.model_copy(update={"type": kind}))


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

    def ratio(what: int) -> Estimate:
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
        looks_per_domain_hour=float(total[0, _COUNT] / hours),
        reallocations_per_domain_hour=float(total[0, _MOVES] / hours),
    )


def _estimate(values: Floats) -> Estimate:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail], method="inverted_cdf")  # inf: nothing between
    return Estimate(float(values[0]), float(low), float(high))

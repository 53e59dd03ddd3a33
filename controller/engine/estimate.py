"""What each domain is expected to need at its next look, and how far its demand may rise beyond that.

The forecast model gives the place: the upper forecast, which the allocation has to hold. What no forecast tells is how
far demand may jump from there: the reach. It is scale-free: where demand has been, on every scale of time, and where
domains of this node come to by their maximum, as far as they agree in that.
"""

from dataclasses import dataclass

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.snapshot import TOLERANCE
from controller.engine.tables import Bools, Floats, Ints, Table, column, rows_of, spread
from controller.engine.tuning import Tuning
from controller.forecast import bound
from controller.forecast.history import History
from controller.forecast.model import Line
from controller.forecast.tail import Tail

PEAKS = ("peak_minute", "peak_minutes", "peak_hour", "peak_day")
"""Columns, and their half-lives in `Tuning`."""

BLOCK = 2048
"""Domains fitted at a time: their points, and what a model makes of them, stay in a processor's cache (200 KiB an
array of 12 points), so that a fit costs a domain the same among thousands and among a hundred thousand."""


@dataclass(frozen=True)
class Estimate(Table):
    """Columns of (n,), bytes and monotonic seconds. `update` is its only writer."""

    at: Floats = column(np.nan)
    """The newest forecast."""
    since: Floats = column(np.nan)
    """The first forecast, or the first after a gap: nothing is known of what was needed before."""
    forecast: Floats = column(np.nan)
    """Demand expected at the next look."""
    upper: Floats = column(np.nan)
    """The quantile of it that decisions use; never below present demand."""
    exhausted_at: Floats = column(np.inf)
    """When the upper forecast reaches the allocation."""
    error: Floats = column(np.nan)
    """Demand seen less what had been forecast for it; NaN before the first forecast was put to the test."""
    width: Floats = column(1.0)
    """Of the upper forecast, relative to the model's own: what has kept its promise of late."""
    foot: Floats = column(np.nan)
    """Demand at the newest look: what rises are counted from."""
    firm: Floats = column(0.0)
    """What is kept of what it has, as long as nobody is in need, for headroom beside memory that a balloon might not
    get; 0 where there is none."""
    reach: Floats = column(np.nan)
    """How far demand may rise beyond the foot: the unit of the learnt tail."""
    peak_minute: Floats = column(0.0)
    """Highest demand; fades, see `Tuning`. As are the next three."""
    peak_minutes: Floats = column(0.0)
    peak_hour: Floats = column(0.0)
    peak_day: Floats = column(0.0)
    highest: Floats = column(0.0)
    """Highest demand since the guest started."""
    bucket_start: Floats = column(-np.inf)
    bucket: Floats = column(0.0)
    """The most that foot and headroom came to since `bucket_start`."""
    bucket_before: Floats = column(0.0)
    """The same of the stabilisation window before that."""

    def wanted(self, inventory: Inventory) -> Floats:
        """(n,) upper forecast, or memory that a balloon might not get, and headroom."""
        return np.maximum(self.upper + inventory.headroom_on(self.upper), self.firm)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How forecasts have done, over all domains."""

    forecasts: int = 0
    """Forecasts that a sample has put to the test."""
    error: float = 0.0
    """Sum of their absolute errors, bytes."""
    last_value_error: float = 0.0
    """The same had each demand been expected to stay as it was: what a model has to beat."""
    broken_bounds: int = 0
    """Demands above their upper forecast."""


def judge(accuracy: Accuracy, estimate: Estimate, observation: Observation, rows: Ints) -> Accuracy:
    """`accuracy` with the forecasts of `rows`, whose demand is newer."""
    demand, forecast = observation.demand[rows], estimate.forecast[rows]
    tested = np.isfinite(forecast)
    error = np.abs(demand - forecast)[tested]
    return Accuracy(
        accuracy.forecasts + len(error),
        accuracy.error + float(error.sum()),
        accuracy.last_value_error + float(np.abs(observation.change[rows][tested]).sum()),
        accuracy.broken_bounds + int((demand > estimate.upper[rows])[tested].sum()),
    )


def learn(
    tail: Tail, estimate: Estimate, observation: Observation, inventory: Inventory, rows: Ints, now: float
) -> Tail:
    """`tail` with how far the demand of `rows` rose beyond what was foreseen at their last look."""
    known = rows[np.isfinite(estimate.reach[rows])]
    ratio = (observation.demand[known] - estimate.foot[known]) / estimate.reach[known]
    intervals = np.maximum((now - estimate.at[known]) / inventory.interval_minimum[known], 1.0)
    return tail.counted(known, ratio, intervals)


def fit(history: History, inventory: Inventory, rows: Ints, now: float) -> Line:
    """Lines through the decision points of `rows`, ascending, each domain by its own policy's model."""
    line = None
    for number, model in enumerate(inventory.models):
        mine = rows_of(inventory.model[rows] == number)
        for start in range(0, len(mine), BLOCK):
            block = mine[start : start + BLOCK]
            first, last = int(rows[block[0]]), int(rows[block[-1]])  # none between is left out: views instead of copies
            chosen = slice(first, last + 1) if last - first == len(block) - 1 else rows[block]
            part = model.fit(history.points(now, chosen))
            if len(block) == len(rows):
                return part
            line = line or Line(*(np.empty(len(rows)) for _ in part))
            for all_domains, found in zip(line, part, strict=True):
                all_domains[block] = found
    assert line is not None
    return line


def update(
    estimate: Estimate,
    history: History,
    observation: Observation,
    inventory: Inventory,
    ahead: Floats,
    now: float,
    tuning: Tuning,
) -> Estimate:
    """Estimates, new ones of domains with a fresh sample and a policy. `ahead`: (n,) seconds until the next look.

    What peaks are above demand fades: a guest that swings by a tenth comes back to its peak no less than one that
    doubles. What is not free when a balloon asks for it has to be reclaimed; where that fails, a kernel kills.
    """
    demand, size, doubtful = observation.demand, observation.allocation, observation.doubtful
    chosen = observation.fresh & (inventory.policy >= 0)
    rows = rows_of(chosen)
    percentile = inventory.percentile[rows]
    held = bound.width(estimate.width, demand > estimate.upper, inventory.percentile)
    width = np.where(np.isnan(estimate.upper), estimate.width, held)
    line = fit(history, inventory, rows, now)
    line = line._replace(sigma=line.sigma * width[rows])
    upper = np.maximum(bound.upper(line, ahead[rows], percentile), demand[rows])
    exhausted = now + bound.time_to_reach(line, size[rows], percentile)
    forecast, upper, exhausted = spread(
        rows, np.array([bound.predict(line, ahead[rows]), upper, exhausted]), len(inventory)
    )
    elapsed = np.fmin(now - estimate.at, bound.FOREVER)
    half_lives = np.array([[getattr(tuning, name)] for name in PEAKS])
    half_lives = np.maximum(half_lives, tuning.peak_looks * inventory.interval_minimum)
    peaks = demand + np.maximum(_peaks(estimate) - demand, 0.0) * np.exp2(-elapsed / half_lives)
    kept = demand + doubtful
    firm = np.where(doubtful > TOLERANCE, np.fmin(kept + inventory.headroom_on(kept), size), 0.0)
    made = estimate.put(
        chosen,
        **dict(zip(PEAKS, peaks, strict=True)),
        highest=np.maximum(demand, estimate.highest),
        at=now,
        error=demand - estimate.forecast,
        forecast=forecast,
        upper=upper,
        exhausted_at=exhausted,
        width=width,
        foot=demand,
        firm=firm,
    )
    made = _hold(made, inventory, chosen, now)
    return made.having(reach=_reach(made, observation, inventory, tuning))


def _peaks(estimate: Estimate) -> Floats:
    """(len(PEAKS), n) bytes."""
    return np.array([getattr(estimate, name) for name in PEAKS])


def _reach(estimate: Estimate, observation: Observation, inventory: Inventory, tuning: Tuning) -> Floats:
    """(n,) bytes: to the mean of the fading peaks, to the highest of all, beyond that by the domain's maximum, and
    headroom.

    Of the n + 1 demands that n looks and the next one see, each is as likely to be the highest as any other: the longer
    a domain has been known, the less is expected beyond its highest.
    """
    foot, highest = estimate.foot, estimate.highest
    fading = np.maximum(_peaks(estimate) - foot, 0.0).sum(axis=0) / len(PEAKS)
    beyond = np.maximum(_expected_highest(estimate, observation, inventory, tuning) - highest, 0.0)
    looks = (estimate.at - estimate.since) / inventory.interval_minimum
    weight = tuning.unknown * tuning.settled / (tuning.settled + looks)
    return np.asarray(fading + (highest - foot) + weight * beyond + inventory.headroom_on(foot))


def _expected_highest(estimate: Estimate, observation: Observation, inventory: Inventory, tuning: Tuning) -> Floats:
    """(n,) bytes: the highest demand that each domain is expected to come to, if it comes beyond that of its past.

    Logarithms of highest demand over maximum are taken to be normal among the domains of a node. How far they differ is
    learnt from them, and from one more that differs by a factor of two: two guests that agree prove little (the mean of
    an inverse gamma posterior, A. Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6). What is expected is the
    mean of what lies beyond a domain's own (the inverse Mills ratio, N. Johnson and S. Kotz, Continuous Univariate
    Distributions 1, 13.10.1), here by (z + sqrt(z^2 + 8 / pi)) / 2, exact at 0, up to a third of a deviation too large
    below: who is far below the others is expected to come a little nearer. Where maximums tell how much domains need,
    all come to the same part of it; where they do not, each keeps to its own past.
    """
    maximum = np.fmax(np.fmin(inventory.maximum, observation.maximum), 1.0)
    known = estimate.highest > 0
    if not np.count_nonzero(known):
        return estimate.highest
    part = np.log(np.where(known, estimate.highest, maximum) / maximum)
    mean = float(part[known].sum()) / np.count_nonzero(known)
    errors = part[known] - mean
    deviation = np.sqrt((float((errors * errors).sum()) + tuning.spread**2) / (len(errors) + 1))
    score = (part - mean) / deviation
    mills = (score + np.sqrt(score * score + 8.0 / np.pi)) / 2.0
    highest = np.exp(mean + deviation * mills) * maximum
    return np.asarray(highest.clip(estimate.highest, np.maximum(maximum, estimate.highest)))


def _hold(estimate: Estimate, inventory: Inventory, chosen: Bools, now: float) -> Estimate:
    """A sliding maximum of foot and headroom over a stabilisation window or two: two buckets of that length."""
    window = inventory.stabilization
    foreseen = estimate.wanted(inventory)
    passed = now - estimate.bucket_start
    turn = chosen & (passed >= window)
    made = estimate.put(chosen, bucket=np.maximum(estimate.bucket, foreseen))
    if not np.count_nonzero(turn):
        return made
    gap = passed > 2 * np.maximum(window, inventory.interval_maximum)
    before = np.where(passed < 2 * window, estimate.bucket, 0.0)
    made = made.put(turn, bucket_before=before, bucket_start=now, bucket=foreseen)
    return made.put(chosen & gap, since=now)

"""Weighted least squares: recent decision points count more, and a trend must earn its place.

Where demand has no trend, the weights of age are those that each domain's own past chooses: of the last value and of
weighted means whose weights halve every few looks (weighted least squares of a constant: R. G. Brown, Smoothing,
Forecasting and Prediction, 1963). Each is judged by the absolute errors it would have made within the window, every
point forecast from those before it (A. P. Dawid's prequential principle, 1984). Absolute, because demand jumps: one
jump must not outvote ten calm looks.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from controller.forecast.model import Floats, Line, Points
from controller.forecast.moments import Moments, Recent, moments, ratio, recent, regression

HALF_LIVES = (0.0, 1.0, 4.0)
"""Looks after which a point counts half: the last value alone, one that forgets noise of a look or two, and one for
steady noise. Looks, not seconds: how much of a change is noise shows from point to point."""

HANDICAP = 1.1
"""Errors of whatever is not the last value count that much more: of several candidates the best looks better than it
is, and the last value needs no luck."""

ERROR_HALF_LIFE = 3.0
"""Looks after which an error counts half for the scatter: a jump widens the next few bounds, not the whole window's."""

ONE_WAY = 0.5
"""Part of its whole way that demand must have come forward for a trend to be looked for at all."""

LEAST_LOOKS = 3.0
"""Mean intervals that a half-life lasts at least: a line through two points is a guess, however old the third is. So
the oldest of 32 points counts 2**-10, far above rounding."""


@dataclass(frozen=True, slots=True)
class WLS:
    """A line under the weights `0.5 ** (age / half_life_seconds)` where demand has a trend, a weighted mean elsewhere.

    Both are weighted least squares, of a line and of a constant. A slope multiplies the noise of a few points by the
    time ahead, so it is kept only where demand has followed it; else the weights of the mean are those that would have
    forecast the window best.
    """

    decision_points: int = 12
    """How many previous points count, >= 1."""
    half_life_seconds: float = 60.0
    """Seconds after which a point of a trend counts half, > 0; at least `LEAST_LOOKS` looks."""

    def fit(self, points: Points) -> Line:
        """Fit all domains: O(n * decision_points), without a loop over domains.

        The standard error of a constant is that of its past forecasts, whatever the horizon. As with the last value,
        `sigma * sqrt(1 + 1 / 1)` must be that error: hence the root of 2.
        """
        newest_first = recent(points, self.decision_points)
        lags, changes = _filled(newest_first)
        change, error, loss, way = _level(newest_first, changes)
        line = Line(
            level=newest_first.value + change,
            slope=np.zeros(len(change)),
            sigma=error / np.sqrt(2.0),
            weight=np.ones(len(change)),
            centre=-newest_first.age,
            spread=np.full(len(change), np.inf),
        )
        net = np.abs(changes[:, -1])
        rows = ((net > 0) & (net >= ONE_WAY * way)).nonzero()[0]  # a cheap sieve, as few pass it
        if len(rows) == 0:
            return line
        some, lags, changes = newest_first.of(rows), lags[rows], changes[rows]
        known = np.add.reduce(some.present, axis=1, dtype=np.int64) - 1
        half_life = np.maximum(self.half_life_seconds, LEAST_LOOKS * lags[:, -1] / np.maximum(known, 1))
        sums = moments(some, np.exp2(-some.lags / half_life[:, None]) * some.present)
        # The slope is kept where it would have misled less than the constant from point to point. A single jump makes a
        # steep line but no trend: every flat stretch around it speaks against the slope. It is fitted to the changes it
        # is judged by, so its losses count `m / (m - 1)` times with m changes, and one change proves nothing.
        expected = ratio(sums.product, sums.time_square)[:, None] * (lags[:, 1:] - lags[:, :-1])
        own = np.add.reduce(np.abs(changes[:, :-1] - changes[:, 1:] - expected), axis=1) * HANDICAP
        kept = (own * known < loss[rows] * (known - 1)).nonzero()[0]
        if len(kept):
            trend = regression(some.of(kept), Moments(*(each[kept] for each in sums)))
            for mine, found in zip(line, trend, strict=True):
                mine[rows[kept]] = found
        return line


def _filled(points: Recent) -> tuple[Floats, Floats]:
    """(n, k) lags and changes without holes: nothing changed before the oldest point."""
    if points.present.all():
        return points.lags, points.changes
    oldest = np.maximum(np.add.reduce(points.present, axis=1, dtype=np.int64) - 1, 0)[:, None]
    lags = np.where(points.present, points.lags, np.take_along_axis(points.lags, oldest, axis=1))
    oldest_change = np.take_along_axis(points.changes, oldest, axis=1) * points.present[:, :1]
    return lags, np.where(points.present, points.changes, oldest_change)


def _level(points: Recent, changes: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """The candidate with the least loss, all (n,) bytes: the present level above the newest value; the root mean square
    of the errors it would have made; the sum of their absolute values, handicap included; and the sum of all changes
    without their signs.
    """
    smoothers, counted = _smoothers(changes.shape[1])
    smoothed = smoothers @ changes.T
    means, errors = smoothed[:, 0], smoothed[:, 1:]
    losses = np.add.reduce(np.abs(errors), axis=1)
    losses[1:] *= HANDICAP
    best = losses.argmin(axis=0), np.arange(losses.shape[1])
    weight = points.present[:, 1:].astype(np.float64) @ counted
    return means[best], np.sqrt(ratio((counted @ (errors * errors))[best], weight)), losses[best], losses[0]


@lru_cache(maxsize=8)
def _smoothers(k: int) -> tuple[Floats, Floats]:
    """(len(HALF_LIVES), k, k): what makes of k changes, the newest first, each candidate's weighted mean, and the
    errors of its forecasts of each but the oldest from the older ones. Both are sums of changes, whatever these are.
    And the weights of these errors, (k - 1,).
    """
    made = []
    for looks in HALF_LIVES:
        gain = 1.0 - 0.5 ** (1.0 / looks) if looks else 1.0
        mean, *newer = np.eye(k)[::-1]
        errors: list[Floats] = []
        for change in newer:
            errors.insert(0, change - mean)
            mean = mean + gain * errors[0]
        made.append(np.array([mean, *errors]))
    return np.array(made), np.exp2(-np.arange(k - 1) / ERROR_HALF_LIFE)

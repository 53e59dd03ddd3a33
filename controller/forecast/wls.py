"""Weighted least squares: recent decision points count more, and a trend must earn its place.

Where demand has no trend, the weights of age are those that each domain's own past chooses: of the last value and of
weighted means whose weights halve every few looks (weighted least squares of a constant: R. G. Brown, Smoothing,
Forecasting and Prediction, 1963). They compete with a line under weights of age. Each is judged by the absolute errors
it would have made within the window, every point forecast from those before it (A. P. Dawid's prequential principle,
1984). Absolute, because demand jumps: one jump must not outvote ten calm looks.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from controller.forecast.model import Floats, Line, Points
from controller.forecast.moments import MIN_TIME_VARIANCE, Recent, moments, ratio, recent, regression

BRIEF, STEADY = 1.0, 4.0
"""Looks after which a point counts half for a level, where not the last value alone counts: one that forgets noise of a
look or two, and one for steady noise. Looks, not seconds: how much of a change is noise shows from point to point."""

HANDICAP = 1.1
"""Errors of a mean count that much more than those of the last value, and those of a line, which has a slope besides,
the square of it: of several candidates the best looks better than it is, and the last value needs no luck."""

ERROR_HALF_LIFE = 3.0
"""Looks after which an error counts half: a jump widens the next few bounds, not the whole window's, and a trend is
believed soon after it began."""


@dataclass(frozen=True, slots=True)
class WLS:
    """A line under the weights `0.5 ** (looks / half_life_looks)` where demand has a trend, a weighted mean elsewhere.

    Both are weighted least squares, of a line and of a constant. A slope multiplies the noise of a few points by the
    time ahead, so it is kept only where demand has followed it; else the weights of the mean are those that would have
    forecast the window best.
    """

    decision_points: int = 12
    """How many previous points count, >= 1."""
    half_life_looks: float = 1.0
    """Looks after which a point of a trend counts half, > 0."""

    def fit(self, points: Points) -> Line:
        """Fit all domains: O(n * decision_points), without a loop over domains.

        The standard error of a constant is that of its past forecasts, whatever the horizon. As with the last value,
        `sigma * sqrt(1 + 1 / 1)` must be that error: hence the root of 2. The scatter about a line is at
        least as large by its own errors: few points, or those after a bend, lie closer to it than it would have
        forecast them.
        """
        newest_first = recent(points, self.decision_points)
        lags, changes = _filled(newest_first)
        change, error, loss = _level(newest_first, changes)
        line = Line(
            level=newest_first.value + change,
            slope=np.zeros(len(change)),
            sigma=error / np.sqrt(2.0),
            weight=np.ones(len(change)),
            centre=-newest_first.age,
            spread=np.full(len(change), np.inf),
        )
        if changes.shape[1] < 3:
            return line
        rows = (changes[:, 1] * (changes[:, 2] - changes[:, 1]) > 0).nonzero()[0]  # the newest two changes agree
        if len(rows) == 0:
            return line
        some = newest_first.of(rows)
        own, error = _line_errors(some, lags[rows], changes[rows], self.half_life_looks)
        kept = (own * HANDICAP * HANDICAP < loss[rows]).nonzero()[0]
        if len(kept):
            trends = some.of(kept)
            weights = np.exp2(-np.arange(changes.shape[1]) / self.half_life_looks) * trends.present
            found = regression(trends, moments(trends, weights))
            found = found._replace(sigma=np.maximum(found.sigma, error[kept] / np.sqrt(2.0)))
            for mine, its in zip(line, found, strict=True):
                mine[rows[kept]] = its
        return line


def _filled(points: Recent) -> tuple[Floats, Floats]:
    """(n, k) lags and changes without holes: nothing changed before the oldest point."""
    if points.present.all():
        return points.lags, points.changes
    oldest = np.maximum(np.add.reduce(points.present, axis=1, dtype=np.int64) - 1, 0)[:, None]
    lags = np.where(points.present, points.lags, np.take_along_axis(points.lags, oldest, axis=1))
    oldest_change = np.take_along_axis(points.changes, oldest, axis=1) * points.present[:, :1]
    return lags, np.where(points.present, points.changes, oldest_change)


def _level(points: Recent, changes: Floats) -> tuple[Floats, Floats, Floats]:
    """The candidate with the least loss, all (n,) bytes: the present level above the newest value; the root mean square
    of the errors it would have made; and the weighted sum of their absolute values, handicap included.
    """
    smoothers, counted = _smoothers(changes.shape[1], BRIEF, STEADY), _counted(changes.shape[1], ERROR_HALF_LIFE)
    smoothed = smoothers @ changes.T
    means, errors = smoothed[:, 0], smoothed[:, 1:]
    losses = counted @ np.abs(errors)
    losses[1:] *= HANDICAP
    best = losses.argmin(axis=0), np.arange(losses.shape[1])
    weight = points.present[:, 1:].astype(np.float64) @ counted
    return means[best], np.sqrt(ratio((counted @ (errors * errors))[best], weight)), losses[best]


def _line_errors(points: Recent, lags: Floats, changes: Floats, half_life: float) -> tuple[Floats, Floats]:
    """Errors of the forecast of each point by the line through those before it, both (n,) bytes: the weighted sum of
    their absolute values; and their root mean square, without the oldest, as one point makes no line.

    Sums are about the oldest point. As it counts for every line, they lose few digits wherever the points are; and what
    stands for points before it adds nothing.
    """
    older, counted = _older(lags.shape[1], half_life), _counted(lags.shape[1], ERROR_HALF_LIFE)
    times, values = lags[:, -1:] - lags, changes - changes[:, -1:]
    share = ratio(1.0, points.present @ older)
    time, value = times @ older * share, values @ older * share
    square = (times * times) @ older * share - time * time
    product = (times * values) @ older * share - time * value
    slope = np.divide(product, square, out=np.zeros_like(square), where=square > MIN_TIME_VARIANCE)
    errors = values[:, :-1] - value - slope * (times[:, :-1] - time)
    judged = counted[:-1] * points.present[:, 2:]
    mean_square = np.vecdot(judged * errors[:, :-1], errors[:, :-1]) / np.add.reduce(judged, axis=1)
    return np.abs(errors) @ counted, np.sqrt(mean_square)


@lru_cache(maxsize=8)
def _counted(k: int, half_life: float) -> Floats:
    """(k - 1,) weights of the errors of all points but the oldest of k, the newest first."""
    return np.exp2(-np.arange(k - 1) / half_life)


@lru_cache(maxsize=8)
def _older(k: int, half_life: float) -> Floats:
    """(k, k - 1): what makes of k values, the newest first, weighted sums of those older than each but the oldest."""
    looks = np.arange(k)[:, None] - np.arange(1, k)
    return np.asarray(np.exp2(-np.abs(looks) / half_life) * (looks >= 0))


@lru_cache(maxsize=8)
def _smoothers(k: int, *half_lives: float) -> Floats:
    """(1 + len(half_lives), k, k): what makes of k changes, the newest first, the last value, each candidate's weighted
    mean, and the errors of their forecasts of each but the oldest from the older ones. All are sums of changes,
    whatever these are.
    """
    made = []
    for gain in (1.0, *(1.0 - 0.5 ** (1.0 / looks) for looks in half_lives)):
        mean, *newer = np.eye(k)[::-1]
        errors: list[Floats] = []
        for change in newer:
            errors.insert(0, change - mean)
            mean = mean + gain * errors[0]
        made.append(np.array([mean, *errors]))
    return np.array(made)

"""Weighted moments of decision points, and the regression line they give: what all regression models share.

Times and values are taken relative to the newest point. It is the heaviest one, so raw sums of squares about
it exceed the central ones at most `1 + number of points` times, and centring them loses no digits that
matter, however large times and values are.
"""

from typing import NamedTuple

import numpy as np

from controller.forecast.model import Bools, Floats, Ints, Line, Points

MIN_TIME_VARIANCE = 1e-6
"""s^2. Points within a millisecond of each other are simultaneous: no clock behind them tells more."""

MIN_FREEDOM = 1e-6
"""Share of the degrees of freedom that a slope must leave over. Below it, residuals are rounding errors."""


class Recent(NamedTuple):
    """The last k decision points of n domains, seen from the newest one."""

    age: Floats
    """(n,) seconds from the newest point to now."""
    value: Floats
    """(n,) the newest value, bytes; 0 without points."""
    lags: Floats
    """(n, k) seconds before the newest point; 0 where absent."""
    changes: Floats
    """(n, k) bytes above the newest value; anything finite where absent."""
    present: Bools
    """(n, k)."""

    def of(self, rows: Ints) -> "Recent":
        """The points of some of the domains."""
        return Recent(self.age[rows], self.value[rows], self.lags[rows], self.changes[rows], self.present[rows])


class Moments(NamedTuple):
    """Weighted sums over the points of each domain, all (n,). Sums of squares are about the weighted mean."""

    weight: Floats
    """Sum of weights; 1 without points, so that it can be divided by."""
    lag: Floats
    """Mean time, seconds before the newest point."""
    change: Floats
    """Mean value, bytes above the newest."""
    time_square: Floats
    """Sum of w * t^2, s^2; exactly 0 where all points are simultaneous, so that no slope can be told."""
    product: Floats
    """Sum of w * t * y, bytes * s, t growing into the future."""
    value_square: Floats
    """Sum of w * y^2, bytes^2."""
    squares: Floats
    """Sum of w^2."""
    square_time: Floats
    """Sum of w^2 * t, s."""
    square_time_square: Floats
    """Sum of w^2 * t^2, s^2; exactly 0 with `time_square`."""
    freedom: Floats
    """Degrees of freedom of the scatter about the mean, in weights: n - 1 where all weigh 1."""


def ratio(numerator: Floats | float, denominator: Floats) -> Floats:
    """Quotient by an array, 0 where that is not above 0."""
    return numerator / np.where(denominator > 0, denominator, np.inf)


def recent(points: Points, count: int) -> Recent:
    """The last `count` decision points, relative to the newest."""
    ages, values, present = points.ages[:, :count], points.values[:, :count], points.present[:, :count]
    newest, value = ages[:, :1], values[:, :1]
    return Recent(
        age=newest[:, 0],
        value=value[:, 0] * present[:, 0],
        lags=(ages - newest) * present,
        changes=values - value,
        present=present,
    )


def moments(points: Recent, weights: Floats) -> Moments:
    """Moments under `weights`, (n, k): in (0, 1], 1 at the newest point, and 0 where absent."""
    lags, changes = points.lags, points.changes
    weighted_lags, weighted_changes = weights * lags, weights * changes
    weight = np.maximum(np.add.reduce(weights, axis=1), 1.0)
    lag = np.vecdot(weights, lags) / weight
    change = np.vecdot(weights, changes) / weight
    squares = np.vecdot(weights, weights)
    square_lags = np.vecdot(weights, weighted_lags)
    square_lag_square = np.vecdot(weighted_lags, weighted_lags)
    freedom = weight - squares / weight
    time_square = np.vecdot(weighted_lags, lags) - weight * lag * lag
    timed = time_square > MIN_TIME_VARIANCE * freedom
    return Moments(
        weight=weight,
        lag=lag,
        change=change,
        time_square=time_square * timed,
        product=weight * lag * change - np.vecdot(weighted_lags, changes),
        value_square=np.maximum(np.vecdot(weighted_changes, changes) - weight * change * change, 0.0),
        squares=squares,
        square_time=lag * squares - square_lags,
        square_time_square=(square_lag_square + lag * (lag * squares - 2.0 * square_lags)) * timed,
        freedom=freedom,
    )


def regression(points: Recent, sums: Moments, kept: Floats | float = 1.0) -> Line:
    """The line with `kept` (scalar or (n,), in [0, 1]) times the slope of least squares.

    Weights say how much a point tells about the present; all points scatter alike. So the line at time x from
    the mean time errs with the variance `sigma^2 * sum(w^2 * (1 / W + x * t / S)^2)`, S the sum of squares of
    time: a parabola, described here by its vertex. With equal weights it is the textbook's prediction
    interval. A shrunken slope widens `spread` by `1 / kept`, as the flat evidence that shrinks it would
    (Bayesian ridge).

    `sigma` is the root of the weighted residual sum of squares over its expectation for scatter of variance 1. Two
    points fit perfectly, which makes it 0 / 0. Its limit for a vanishing ridge penalty is the scatter about the mean,
    which stands in wherever the slope leaves no freedom: the change may be all trend, or all chance.
    """
    slope = ratio(sums.product, sums.time_square) * kept
    tilt = ratio(sums.square_time, sums.square_time_square)
    support = sums.square_time_square * kept
    spread = np.divide(
        sums.time_square * sums.time_square, support, out=np.full_like(support, np.inf), where=support > 0
    )
    mean_age = points.age + sums.lag
    variance = (sums.squares - tilt * sums.square_time) / (sums.weight * sums.weight)
    left = sums.freedom - (2.0 - kept) * kept * ratio(sums.square_time_square, sums.time_square)
    enough = left > MIN_FREEDOM * sums.freedom
    explained = slope * (2.0 * sums.product - slope * sums.time_square) * enough
    residual = np.maximum(sums.value_square - explained, 0.0)
    return Line(
        level=points.value + (sums.change + slope * mean_age),
        slope=slope,
        sigma=np.sqrt(ratio(residual, np.where(enough, left, sums.freedom))),
        weight=1.0 / np.maximum(variance, 1.0 / points.lags.shape[1]),
        centre=-(mean_age + tilt * sums.time_square / sums.weight),
        spread=spread,
    )

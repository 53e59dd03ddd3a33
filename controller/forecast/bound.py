"""What a fitted line says about the time ahead: forecast, upper bound, and when the bound reaches a limit.

Everywhere `horizon` is seconds from now, >= 0, and `percentile` the quantile, inside (0, 1); both are (n,) or
scalars. The quantile is the normal one: with few points (below about ten) it promises more than it keeps, so upper
bounds are widened by how often each domain has broken them: adaptive conformal inference (I. Gibbs, E. Candes, NeurIPS
2021), in the form of quantile tracking (A. Angelopoulos, E. Candes, R. Tibshirani, NeurIPS 2023). After a broken bound
the width grows by much, after a kept one it shrinks by little, in the proportion that balances at the percentile meant.
Nothing is assumed about demand.
"""

from functools import lru_cache
from statistics import NormalDist
from sys import float_info

import numpy as np

from controller.forecast.model import Bools, Floats, Line

FOREVER = 1e9
"""Seconds (thirty years). A bound that cannot reach its limit within this time never does."""


RATE = 0.1
"""Part of the model's own standard error by which a broken bound, less what is its due, widens the next."""

STRETCH = 4.0
"""Factor by which a width differs from the model's own at most: what a run of luck, or of bad luck, may do."""


def predict(line: Line, horizon: Floats | float) -> Floats:
    """Demand expected at `horizon`, (n,) bytes, never below 0."""
    return np.maximum(line.level + line.slope * horizon, 0.0)


def scale(line: Line, horizon: Floats | float) -> Floats:
    """Standard error of the forecast of one point at `horizon`, (n,) bytes (formula: `Line`)."""
    variance = 1.0 + 1.0 / line.weight
    if np.count_nonzero(np.isfinite(line.spread)):
        distance = horizon - line.centre
        variance = variance + distance * distance / line.spread
    return np.asarray(line.sigma * np.sqrt(variance))


def upper(line: Line, horizon: Floats | float, percentile: Floats | float) -> Floats:
    """Demand that is not exceeded at `horizon` with probability `percentile`, (n,) bytes, never below 0."""
    return np.maximum(_unclipped(line, horizon, percentile), 0.0)


def time_to_reach(line: Line, limit: Floats, percentile: Floats | float) -> Floats:
    """Seconds until the upper bound reaches `limit` ((n,) bytes): 0 if it has, infinite if it never will.

    `percentile` is at least 0.5, so that the bound is convex in time: once below the limit, it crosses it at
    most once. There `b * x + sqrt(a + (g * x)^2) = d`, with x the time since the centre, b the slope, a the
    square of the bound's margin at the centre, g the growth of that margin far out (bytes a second), and d
    how far the limit is above the line at the centre. Rising and falling lines each take the form of this
    quadratic's root that does not cancel.
    """
    now = _unclipped(line, 0.0, percentile)
    reached = (now >= limit) | (limit <= 0)
    seconds = np.where(reached, 0.0, np.inf)
    nears = (~reached & ((line.slope != 0) | np.isfinite(line.spread))).nonzero()[0]  # the others stay where they are
    if len(nears):
        error = _quantile(percentile) * line.sigma
        some = Line(*(each[nears] for each in line))
        seconds[nears] = _time_ahead(some, error[nears], limit[nears], (limit - now)[nears])
    return seconds


def _time_ahead(line: Line, error: Floats, limit: Floats, left: Floats) -> Floats:
    """See `time_to_reach`: of bounds by `error` above their lines, and below their limits by what is `left`."""
    slope = line.slope
    nearest = error * np.sqrt(1.0 + 1.0 / line.weight)
    growth = error / np.sqrt(line.spread)
    distance = limit - (line.level + slope * line.centre)
    over = (distance - nearest) * (distance + nearest)
    root = np.sqrt(np.maximum(growth * growth * over + (nearest * slope) ** 2, 0.0))
    rising = slope >= 0
    steepest = slope + growth
    divisor = np.maximum(np.where(rising, distance * slope + root, steepest * (growth - slope)), float_info.min)
    reaches = steepest * FOREVER > left
    since_centre = np.where(rising, over, root - distance * slope) / np.where(reaches, divisor, np.inf)
    return np.where(reaches, np.maximum(since_centre + line.centre, 0.0), np.inf)


def _unclipped(line: Line, horizon: Floats | float, percentile: Floats | float) -> Floats:
    return line.level + line.slope * horizon + _quantile(percentile) * scale(line, horizon)


def _quantile(percentile: Floats | float) -> Floats:
    """Standard normal quantile, (n,) or (1,)."""
    return _quantiles_of(np.asarray(percentile, dtype=np.float64).tobytes())


@lru_cache(maxsize=16)
def _quantiles_of(percentiles: bytes) -> Floats:
    """Percentiles are settings: the same few arrays come at every look, so results are kept by content."""
    distinct, inverse = np.unique(np.frombuffer(percentiles), return_inverse=True)
    normal = NormalDist()
    quantiles: Floats = np.array([normal.inv_cdf(percentile) for percentile in distinct.tolist()])[inverse]
    quantiles.setflags(write=False)
    return quantiles


def width(before: Floats, broken: Bools, percentile: Floats | float) -> Floats:
    """(n,) times the model's own standard error to use next, once it is known which bounds were `broken`."""
    return np.minimum(np.maximum(before + RATE * (broken - (1.0 - percentile)), 1.0 / STRETCH), STRETCH)

"""Weighted least squares: recent decision points count more."""

from dataclasses import dataclass

import numpy as np

from controller.forecast.model import Line, Points
from controller.forecast.moments import moments, recent, regression

MAX_HALVINGS = 20.0
"""A point older than this many half-lives keeps the weight 2**-20 (a millionth): too little to matter next to
younger points, and still ten digits above rounding where there are none but the newest."""


@dataclass(frozen=True, slots=True)
class WLS:
    """A line by least squares under the weights `0.5 ** (age / half_life_seconds)`, the newest point weighing 1."""

    decision_points: int = 12
    """How many previous points count, >= 1."""
    half_life_seconds: float = 60.0
    """Seconds after which a point counts half, > 0. Short follows quickly, long is calm."""

    def fit(self, points: Points) -> Line:
        """Fit all domains: O(n * decision_points), without a loop over domains."""
        newest_first = recent(points, self.decision_points)
        halvings = np.minimum(newest_first.lags / self.half_life_seconds, MAX_HALVINGS)
        weights = np.exp2(-halvings) * newest_first.present
        return regression(newest_first, moments(newest_first, weights))

"""Lasso regression (L1): a line stays flat unless demand follows time closely enough."""

from dataclasses import dataclass

import numpy as np

from controller.forecast.model import Line, Points
from controller.forecast.moments import moments, ratio, recent, regression


@dataclass(frozen=True, slots=True)
class Lasso:
    """Least squares with an L1 penalty on the slope in standardised time and values.

    With one standardised feature, `sum((y - b * t)^2) / (2 * n) + penalty * |b|` is least where b is the
    correlation moved towards 0 by `penalty` (soft threshold; Friedman, Hastie and Tibshirani, 2010, equation
    6).
    """

    decision_points: int = 12
    """How many previous points count, >= 1."""
    penalty_percent: float = 30.0
    """0..100. The slope is 0 where |correlation| of demand and time is below this; 0 is least squares."""

    def fit(self, points: Points) -> Line:
        """Fit all domains: O(n * decision_points), without a loop over domains."""
        newest_first = recent(points, self.decision_points)
        sums = moments(newest_first, newest_first.present.astype(np.float64))
        product = np.abs(sums.product)
        threshold = np.sqrt(sums.time_square * sums.value_square) * (self.penalty_percent / 100)
        return regression(newest_first, sums, kept=ratio(np.maximum(product - threshold, 0.0), product))

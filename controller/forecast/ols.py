"""Ordinary least squares: all decision points count alike."""

from dataclasses import dataclass

import numpy as np

from controller.forecast.model import Line, Points
from controller.forecast.moments import moments, recent, regression


@dataclass(frozen=True, slots=True)
class OLS:
    """A line by least squares."""

    decision_points: int = 12
    """How many previous points count, >= 1."""

    def fit(self, points: Points) -> Line:
        """Fit all domains: O(n * decision_points), without a loop over domains."""
        newest_first = recent(points, self.decision_points)
        return regression(newest_first, moments(newest_first, newest_first.present.astype(np.float64)))

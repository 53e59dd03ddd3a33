"""Ridge regression (L2, Tikhonov): a trend must be backed by enough points to be believed."""

from dataclasses import dataclass

import numpy as np

from controller.forecast.model import Line, Points
from controller.forecast.moments import moments, recent, regression


@dataclass(frozen=True, slots=True)
class Ridge:
    """Least squares with an L2 penalty on the slope in standardised time.

    With times of variance 1, `sum((y - b * t)^2) + penalty * b^2` is least at `n / (n + penalty)` times the
    slope of least squares (Hoerl and Kennard, 1970): the penalty counts as that many points of flat evidence.
    """

    decision_points: int = 12
    """How many previous points count, >= 1."""
    penalty_points: float = 4.0
    """Points of flat evidence, >= 0. 0 is ordinary least squares."""

    def fit(self, points: Points) -> Line:
        """Fit all domains: O(n * decision_points), without a loop over domains."""
        newest_first = recent(points, self.decision_points)
        sums = moments(newest_first, newest_first.present.astype(np.float64))
        return regression(newest_first, sums, kept=sums.weight / (sums.weight + self.penalty_points))

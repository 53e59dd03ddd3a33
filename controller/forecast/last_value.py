"""The last value: demand stays as it is. The baseline every other model has to beat."""

from dataclasses import dataclass

import numpy as np

from controller.forecast.model import Line, Points
from controller.forecast.moments import ratio, recent


@dataclass(frozen=True, slots=True)
class LastValue:
    """A flat line through the newest point; the scatter is what demand changes by from point to point."""

    decision_points: int = 12
    """How many previous points count for the scatter, >= 1."""

    def fit(self, points: Points) -> Line:
        """Fit all domains: O(n * decision_points), without a loop over domains.

        The error of this forecast is the next change, so its standard error is the root mean square of the
        changes, whatever the horizon. A line through one point has the standard error `sigma * sqrt(1 + 1 /
        1)`: hence `sigma` is that root mean square over sqrt(2), the scatter of each of the two points of a
        change.
        """
        newest_first = recent(points, self.decision_points)
        changes = newest_first.changes[:, :-1] - newest_first.changes[:, 1:]
        counted = newest_first.present[:, 1:].astype(np.float64)
        square = ratio(np.vecdot(counted * changes, changes), np.add.reduce(counted, axis=1))
        return Line(
            level=newest_first.value,
            slope=np.zeros_like(square),
            sigma=np.sqrt(square / 2.0),
            weight=np.ones_like(square),
            centre=-newest_first.age,
            spread=np.full_like(square, np.inf),
        )

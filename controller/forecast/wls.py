"""Weighted least squares: recent decision points count more, and a trend must earn its place."""

from dataclasses import dataclass, fields

import numpy as np

from controller.forecast.level import Level, Window, filled, level
from controller.forecast.model import Floats, Line, Points
from controller.forecast.moments import Recent, moments, recent, regression
from controller.forecast.trend import follows, heads_somewhere

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
        """Fit all domains: O(n * decision_points), without a loop over domains."""
        newest_first = recent(points, self.decision_points)
        window = filled(newest_first)
        present = level(newest_first, window)
        flat = _flat(newest_first, present)
        rows = np.flatnonzero(heads_somewhere(window, present.way))
        if len(rows) == 0:
            return flat
        some, part = newest_first.of(rows), Window(window.lags[rows], window.changes[rows])
        line = regression(some, moments(some, self._weights(some, part.lags[:, -1])))
        trend = follows(some, part, line.slope, present.loss[rows])
        for item in fields(Line):
            getattr(flat, item.name)[rows[trend]] = getattr(line, item.name)[trend]
        return flat

    def _weights(self, points: Recent, span: Floats) -> Floats:
        """(n, k), 1 at the newest point and 0 where absent; `span`: (n,) seconds from oldest to newest."""
        known = np.maximum(np.add.reduce(points.present, axis=1, dtype=np.int64) - 1, 1)
        half_life = np.maximum(self.half_life_seconds, LEAST_LOOKS * span / known)
        return np.asarray(np.exp2(-points.lags / half_life[:, None]) * points.present)


def _flat(points: Recent, present: Level) -> Line:
    """A constant whose standard error is that of its past forecasts, whatever the horizon.

    As with the last value, `sigma * sqrt(1 + 1 / 1)` must be that error: hence the root of 2.
    """
    return Line(
        level=points.value + present.change,
        slope=np.zeros(len(present.change)),
        sigma=present.error / np.sqrt(2.0),
        weight=np.ones(len(present.change)),
        centre=-points.age,
        spread=np.full(len(present.change), np.inf),
    )

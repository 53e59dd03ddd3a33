"""The contract of a forecast model: points in, a line with its scatter out, for all domains at once.

A model is one small frozen dataclass of parameters with one method. It knows nothing of domains, policies or clocks.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Points:
    """Previous decision points of n domains, at most k each, in no particular order and unevenly spaced."""

    ages: Floats
    """(n, k) seconds before now, >= 0."""
    values: Floats
    """(n, k) demand in bytes; anything finite where absent."""
    present: Bools
    """(n, k) False where a domain has fewer than k points."""


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through each domain's demand, with what is needed for its prediction interval. All (n,).

    Demand at `h` seconds from now is `level + slope * h`. Its standard error follows the usual prediction interval of
    weighted regression: `sigma * sqrt(1 + 1 / weight + (h - centre)**2 / spread)`.
    """

    level: Floats
    """Bytes, now."""
    slope: Floats
    """Bytes a second."""
    sigma: Floats
    """Residual standard deviation, bytes, corrected for degrees of freedom; 0 where unknown (fewer than 2 points)."""
    weight: Floats
    """Effective number of points (sum of weights, the heaviest point counting 1)."""
    centre: Floats
    """Weighted mean time of the points relative to now, seconds, <= 0."""
    spread: Floats
    """Weighted sum of squared time deviations from the centre, s^2; infinite where the slope is not estimated."""


class Model(Protocol):
    """A replaceable linear model of demand over time."""

    def fit(self, points: Points) -> Line:
        """Fit all domains. A domain with one point gets a flat line through it; with none, level 0."""
        ...

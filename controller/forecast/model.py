"""The contract of a forecast model: points in, a line with its scatter out, for all domains at once.

A model is one small frozen dataclass of parameters with one method. It knows nothing of domains, policies or
clocks.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Points(NamedTuple):
    """Previous decision points of n domains, at most k >= 1 each, unevenly spaced, newest first.

    Column 0 is the newest point, and absent points come after all present ones, so the last `count` decision
    points are the columns `[:, :count]`.
    """

    ages: Floats
    """(n, k) seconds before now, >= 0; anything finite where absent."""
    values: Floats
    """(n, k) demand in bytes; anything finite where absent."""
    present: Bools
    """(n, k) False where a domain has fewer than k points."""


class Line(NamedTuple):
    """A straight line through each domain's demand, with what its prediction interval needs. All (n,).

    Demand at `h` seconds from now is `level + slope * h`. Its standard error follows the usual prediction
    interval of a regression: `sigma * sqrt(1 + 1 / weight + (h - centre)**2 / spread)`.
    """

    level: Floats
    """Bytes, now."""
    slope: Floats
    """Bytes a second."""
    sigma: Floats
    """Residual standard deviation, bytes, corrected for degrees of freedom; 0 below 2 points."""
    weight: Floats
    """Effective number of points behind the line at `centre`, >= 1."""
    centre: Floats
    """Time relative to now at which the line is known best, seconds, <= 0."""
    spread: Floats
    """Effective sum of squared time deviations, s^2, > 0; infinite where the slope is not estimated."""


class Model(Protocol):
    """A replaceable linear model of demand over time."""

    @property
    def decision_points(self) -> int:
        """How many of the newest points it uses."""
        ...

    def fit(self, points: Points) -> Line:
        """Fit all domains. A domain with one point gets a flat line through it; with none, level 0."""
        ...

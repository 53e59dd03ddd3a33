"""The previous decision points of every domain as arrays: one immutable value, replaced at every look."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from controller.forecast.model import Floats, Ints, Points

CAPACITY = 32
"""Decision points of each domain that a policy may ask a model to use at most."""


@dataclass(frozen=True, slots=True)
class History:
    """Up to `capacity` points of each of n domains, newest first. No method changes it."""

    times: Floats
    """(n, capacity) seconds on the engine's clock; 0 where absent."""
    values: Floats
    """(n, capacity) demand in bytes; 0 where absent."""
    count: Ints
    """(n,) how many points are present."""

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def empty(cls, n: int, capacity: int = CAPACITY) -> Self:
        """No points of n domains, with room for the newest `capacity` of each."""
        return cls(np.zeros((n, capacity)), np.zeros((n, capacity)), np.zeros(n, dtype=np.int64))

    def append(self, rows: Ints, now: float, values: Floats) -> Self:
        """Add one point at `now` to each of `rows` (m,), without duplicates; `values` (m,) are finite.

        `now` is not before the newest point of these rows. The oldest point of a full row is dropped.
        """
        count = self.count.copy()
        count[rows] = np.minimum(count[rows] + 1, self.times.shape[1])
        return type(self)(_shifted(self.times, rows, now), _shifted(self.values, rows, values), count)

    def select(self, index: Ints, capacity: int = CAPACITY) -> Self:
        """Realign rows: row i of the result is row `index[i]` of this one, or empty where that is -1.

        The newest `capacity` points of each are kept.
        """
        result = type(self).empty(len(index), capacity)
        kept = index >= 0
        source = index[kept]
        common = min(capacity, self.times.shape[1])
        result.times[kept, :common] = self.times[source, :common]
        result.values[kept, :common] = self.values[source, :common]
        result.count[kept] = np.minimum(self.count[source], common)
        return result

    def points(self, now: float, rows: Ints | slice) -> Points:
        """The points of `rows` as seen from `now`, not before any of them."""
        ages = now - self.times[rows]
        return Points(ages, self.values[rows], np.arange(ages.shape[1]) < self.count[rows, None])


def _shifted(array: Floats, rows: Ints, newest: Floats | float) -> Floats:
    """A copy in which `rows` moved one column towards the past, with `newest` in front."""
    if len(rows) == len(array):  # in one piece: what comes from the row before is the column that is overwritten
        shifted = np.empty_like(array, order="C")
        shifted.reshape(-1)[1:] = array.reshape(-1)[:-1]
    else:
        shifted = array.copy()
        shifted[rows, 1:] = array[rows, :-1]
    shifted[rows, 0] = newest
    return shifted

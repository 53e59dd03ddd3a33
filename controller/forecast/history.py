"""The previous decision points of every domain as arrays: one immutable value, replaced at every look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import float_info
from typing import Self

import numpy as np
from numpy.typing import NDArray

from controller.forecast.model import Floats, Points

Ints = NDArray[np.int64]

CAPACITY = 32
"""Decision points kept for each domain: the most that a policy may ask a model to use."""

_REMEDY = "dump the state again"


@dataclass(frozen=True, slots=True)
class History:
    """Up to `CAPACITY` points of each of n domains, newest first. No method changes it."""

    times: Floats
    """(n, CAPACITY) seconds on the engine's clock; 0 where absent."""
    values: Floats
    """(n, CAPACITY) demand in bytes; 0 where absent."""
    count: Ints
    """(n,) how many points are present."""

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def empty(cls, n: int) -> Self:
        """No points of n domains."""
        return cls(np.zeros((n, CAPACITY)), np.zeros((n, CAPACITY)), np.zeros(n, dtype=np.int64))

    def append(self, rows: Ints, now: float, values: Floats) -> Self:
        """Add one point at `now` to each of `rows` (m,), without duplicates; `values` (m,) are finite.

        `now` is not before the newest point of these rows. The oldest point of a full row is dropped.
        """
        return type(self)(
            _shifted(self.times, rows, now),
            _shifted(self.values, rows, values),
            self._counted(rows),
        )

    def select(self, index: Ints) -> Self:
        """Realign rows: row i of the result is row `index[i]` of this one, or empty where that is -1."""
        result = type(self).empty(len(index))
        kept = index >= 0
        source = index[kept]
        result.times[kept] = self.times[source]
        result.values[kept] = self.values[source]
        result.count[kept] = self.count[source]
        return result

    def points(self, now: float, rows: Ints | None = None, limit: int = CAPACITY) -> Points:
        """The newest `limit` points of `rows` (all by default) as seen from `now`, not before any of them."""
        times, values, count = self.times[:, :limit], self.values[:, :limit], self.count
        if rows is not None:
            times, values, count = times[rows], values[rows], count[rows]
        return Points(now - times, values, np.arange(times.shape[1]) < count[:, None])

    def to_dict(self) -> dict[str, list[list[float]]]:
        """JSON-able: `times` and `values`, one list for each domain with its present points only."""
        return {
            name: [row[:count].tolist() for row, count in zip(array, self.count.tolist(), strict=True)]
            for name, array in (("times", self.times), ("values", self.values))
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Sequence[Sequence[float]]]) -> Self:
        """Inverse of `to_dict`. Raises ValueError, naming field and row, for what it cannot have written."""
        times, values = _rows(data, "times"), _rows(data, "values")
        if len(times) != len(values):
            raise ValueError(f"history: {len(times)} rows of times but {len(values)} of values; {_REMEDY}")
        result = cls.empty(len(times))
        for row, (row_times, row_values) in enumerate(zip(times, values, strict=True)):
            _check(row, row_times, row_values)
            result.times[row, : len(row_times)] = row_times
            result.values[row, : len(row_values)] = row_values
            result.count[row] = len(row_times)
        return result

    def _counted(self, rows: Ints) -> Ints:
        count = self.count.copy()
        count[rows] = np.minimum(count[rows] + 1, CAPACITY)
        return count


def _shifted(array: Floats, rows: Ints, newest: Floats | float) -> Floats:
    """A copy in which `rows` moved one column towards the past, with `newest` in front."""
    if len(rows) == len(array):
        shifted = np.empty_like(array)
        shifted[:, 1:] = array[:, :-1]
        shifted[rows, 0] = newest
        return shifted
    shifted = array.copy()
    shifted[rows, 1:] = array[rows, :-1]
    shifted[rows, 0] = newest
    return shifted


def _rows(data: Mapping[str, Sequence[Sequence[float]]], field: str) -> Sequence[Sequence[float]]:
    rows = data.get(field) if isinstance(data, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ValueError(f"history.{field}: must be a list of lists of numbers; {_REMEDY}")
    return rows


def _check(row: int, times: Sequence[float], values: Sequence[float]) -> None:
    if len(times) != len(values) or len(times) > CAPACITY:
        raise ValueError(
            f"history row {row}: {len(times)} times and {len(values)} values; "
            f"must be as many of each, at most {CAPACITY}; {_REMEDY}"
        )
    for field, numbers in (("times", times), ("values", values)):
        for number in numbers:
            if type(number) not in (int, float) or not abs(number) <= float_info.max:
                raise ValueError(f"history.{field} row {row}: {number!r} is not a finite number; {_REMEDY}")
    if sorted(times, reverse=True) != times:
        raise ValueError(f"history.times row {row}: must be newest first; {_REMEDY}")

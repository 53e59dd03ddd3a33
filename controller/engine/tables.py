"""Tables of arrays with one row a domain: what every stage of a step takes and returns.

A table is a frozen dataclass whose fields are `column(...)`s. Stages never write into a table or its arrays: they
return a new one. What stands in a table comes from one module: by `put` and `having`. Rows follow the inventory; `take`
moves them when it changes.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def column(blank: float | int | bool) -> Any:
    """A dataclass field holding an array; `blank` is the value of a new row and fixes the dtype."""
    return field(metadata={"blank": blank})


@dataclass(frozen=True)
class Frozen:
    """A value that is replaced, never changed. Without slots: `having` copies its dictionary."""

    def having(self, **values: Any) -> Self:
        """One with some of its fields replaced: as `dataclasses.replace`, at a fraction of its cost."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, **values)
        return made


@dataclass(frozen=True)
class Table(Frozen):
    """Arrays of equal length, one element a domain."""

    @classmethod
    def blank(cls, rows: int) -> Self:
        """A table of `rows` domains of which nothing is known yet."""
        return cls(*(np.full(rows, item.metadata["blank"]) for item in fields(cls)))

    def put(self, where: Bools, **values: Any) -> Self:
        """A table that has `values`, by column and each (n,) or one for all, where `where` is True."""
        chosen = np.count_nonzero(where)
        if chosen == 0:
            return self
        everywhere = chosen == len(where)
        for name, value in values.items():
            if not (everywhere and isinstance(value, np.ndarray)):
                made = getattr(self, name).copy()
                np.putmask(made, where, value)
                values[name] = made
        return self.having(**values)

    def merged(self, where: Bools, other: Self) -> Self:
        """A table of the rows of `other` where `where` is True, and of this one's elsewhere."""
        return self.put(where, **vars(other))

    def take(self, index: Ints) -> Self:
        """A table whose row i is this table's row index[i], or a blank one where index[i] is -1."""
        known = rows_of(index >= 0)
        picked = []
        for item in fields(self):
            values = np.full(len(index), item.metadata["blank"])
            values[known] = getattr(self, item.name)[index[known]]
            picked.append(values)
        return type(self)(*picked)


def rows_of(chosen: Bools) -> Ints:
    """(m,) rows in which `chosen` (n,) is True: `numpy.flatnonzero` at a fraction of its cost."""
    return chosen.nonzero()[0]


def total(values: Floats) -> float:
    """The sum: `values.sum()` at a fraction of its cost."""
    return float(np.add.reduce(values))


def mask(rows: Ints, length: int) -> Bools:
    """(length,) True in `rows`."""
    chosen = np.zeros(length, dtype=np.bool_)
    chosen[rows] = True
    return chosen


def spread(rows: Ints, values: Floats, length: int) -> Floats:
    """(length,) `values` in `rows`, without duplicates, NaN elsewhere; with a leading axis, each row of it."""
    if len(rows) == length and (rows[1:] > rows[:-1]).all():
        return values
    dense = np.full((*values.shape[:-1], length), np.nan)
    dense[..., rows] = values
    return dense

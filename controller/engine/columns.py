"""Tables of arrays with one row a domain: what every part of the engine's state is made of.

A part is a dataclass whose fields are `column(...)`s. Rows follow the inventory; `take` moves them when it changes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from operator import attrgetter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def column(blank: float | int | bool) -> Any:
    """A dataclass field holding an array; `blank` is the value of a new row and fixes the dtype."""
    return field(metadata={"blank": blank})


@dataclass(slots=True)
class Columns:
    """Arrays of equal length, one element a domain."""

    @classmethod
    def blank(cls, rows: int) -> Self:
        """A table of `rows` domains of which nothing is known yet."""
        return cls(*(np.full(rows, item.metadata["blank"]) for item in fields(cls)))

    def copy(self) -> Self:
        """An independent copy."""
        kind: type = type(self)
        return type(self)(*[array.copy() for array in _arrays(kind)(self)])

    def take(self, index: Ints) -> Self:
        """A table whose row i is this table's row index[i], or a blank one where index[i] is -1."""
        fresh = index < 0
        picked = []
        for item in fields(self):
            old = getattr(self, item.name)
            new = np.full(len(index), item.metadata["blank"])
            new[~fresh] = old[index[~fresh]]
            picked.append(new)
        return type(self)(*picked)

    def dump(self) -> dict[str, list[Any]]:
        """Plain lists by column name, for JSON; numbers that JSON does not know become None."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}


@cache
def _arrays(table: type) -> Callable[[Columns], tuple[NDArray[Any], ...]]:
    """What gets all arrays of a table of this class at once, in order: every step copies them."""
    return attrgetter(*(item.name for item in fields(table)))


def plain(values: NDArray[Any]) -> list[Any]:
    """A list for JSON: NaN and infinities become None."""
    if values.dtype.kind == "f":
        return [value if np.isfinite(value) else None for value in values.tolist()]
    listed: list[Any] = values.tolist()
    return listed

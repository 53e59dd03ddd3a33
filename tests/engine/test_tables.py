"""What every stage builds its table with."""

from dataclasses import dataclass

import numpy as np
import pytest

from controller.engine.tables import Bools, Floats, Ints, Table, column


@dataclass(frozen=True)
class Sizes(Table):
    size: Floats = column(1.0)
    count: Ints = column(0)
    known: Bools = column(False)


@pytest.mark.parametrize(
    ("where", "size", "count", "known"),
    [
        ([False, False], [1.0, 1.0], [0, 0], [False, False]),
        ([False, True], [1.0, 6.0], [0, 3], [False, True]),
        ([True, True], [5.0, 6.0], [3, 3], [True, True]),
    ],
)
def test_values_are_put_where_they_belong_and_nowhere_else(
    where: list[bool], size: list[float], count: list[int], known: list[bool]
) -> None:
    before = Sizes.blank(2)
    after = before.put(np.array(where), size=np.array([5.0, 6.0]), count=3, known=True)
    assert (after.size.tolist(), after.count.tolist(), after.known.tolist()) == (size, count, known)
    assert [after.size.dtype, after.count.dtype, after.known.dtype] == [np.float64, np.int64, np.bool_]
    assert before.dump() == Sizes.blank(2).dump()

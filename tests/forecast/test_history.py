"""The decision points that are kept."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.engine.tables import Ints
from controller.forecast.history import CAPACITY, History


def rows(*indices: int) -> Ints:
    return np.array(indices, dtype=np.int64)


def filled(*looks: tuple[float, dict[int, float]], domains: int = 3) -> History:
    """A history after these looks: (time, {row: value})."""
    history = History.empty(domains)
    for now, values in looks:
        history = history.append(rows(*values), now, np.array(list(values.values())))
    return history


def plain(history: History) -> dict[str, list[list[float]]]:
    """The points that are present, of each domain."""
    return {
        name: [row[:count].tolist() for row, count in zip(array, history.count.tolist(), strict=True)]
        for name, array in (("times", history.times), ("values", history.values))
    }


def test_a_fresh_history_has_no_points() -> None:
    assert plain(filled()) == {"times": [[], [], []], "values": [[], [], []]}


def test_the_newest_point_comes_first() -> None:
    history = filled((10.0, {0: 5.0}), (12.5, {0: 6.0}))
    assert plain(history) == {"times": [[12.5, 10.0], [], []], "values": [[6.0, 5.0], [], []]}


def test_only_the_rows_looked_at_get_a_point() -> None:
    history = filled((10.0, {0: 5.0, 1: 7.0, 2: 9.0}), (11.0, {2: 8.0, 0: 4.0}))
    assert plain(history)["values"] == [[4.0, 5.0], [7.0], [8.0, 9.0]]


def test_all_rows_in_any_order_get_their_own_value() -> None:
    assert plain(filled((10.0, {2: 9.0, 0: 5.0, 1: 7.0})))["values"] == [[5.0], [7.0], [9.0]]


def test_the_oldest_point_leaves_a_full_row() -> None:
    history = filled(*((float(now), {0: float(now)}) for now in range(CAPACITY + 3)))
    assert plain(history)["times"][0] == [float(now) for now in reversed(range(3, CAPACITY + 3))]


def test_a_look_at_nothing_changes_nothing() -> None:
    before = filled((10.0, {0: 5.0}))
    assert plain(before.append(rows(), 11.0, np.empty(0))) == plain(before)


@given(st.lists(st.sets(st.integers(0, 3)), max_size=6))
def test_append_leaves_its_input_unchanged(looks: list[set[int]]) -> None:
    history, seen = History.empty(4), []
    for now, looked in enumerate(looks):
        seen.append((history, plain(history)))
        history = history.append(rows(*looked), float(now), np.full(len(looked), 2.0 * now))
    assert all(plain(old) == dump for old, dump in seen)


def test_rows_are_realigned_and_new_rows_are_empty() -> None:
    history = filled((10.0, {0: 5.0, 2: 9.0}))
    selected = history.select(rows(2, -1, 0, 1))
    assert plain(selected) == {"times": [[10.0], [], [10.0], []], "values": [[9.0], [], [5.0], []]}
    assert plain(history)["values"] == [[5.0], [], [9.0]]


def test_an_empty_history_can_be_realigned_to_new_rows() -> None:
    assert len(History.empty(0).select(rows(-1, -1))) == 2


def test_points_are_seen_from_now() -> None:
    points = filled((10.0, {0: 5.0, 1: 7.0}), (12.5, {0: 6.0})).points(15.0, slice(None))
    assert points.present[:, :2].tolist() == [[True, True], [True, False], [False, False]]
    assert not points.present[:, 2:].any()
    assert points.ages[points.present].tolist() == [2.5, 5.0, 5.0]
    assert points.values[points.present].tolist() == [6.0, 5.0, 7.0]
    assert np.isfinite(points.ages).all()


def test_points_of_some_rows_come_in_their_order() -> None:
    points = filled((10.0, {0: 5.0, 1: 7.0})).points(15.0, rows(2, 1))
    assert points.values[:, 0].tolist() == [0.0, 7.0]
    assert points.present[:, 0].tolist() == [False, True]
    assert points.ages.shape == (2, CAPACITY)


def test_a_dump_holds_the_points_that_are_there_and_survives_json() -> None:
    dump = plain(filled((10.0, {0: 5.0, 1: 7.0}), (12.5, {0: 6.0})))
    assert json.loads(json.dumps(dump)) == {"times": [[12.5, 10.0], [10.0], []], "values": [[6.0, 5.0], [7.0], []]}


def test_only_the_newest_points_are_kept_when_room_gets_less() -> None:
    history = filled((10.0, {0: 5.0}), (11.0, {0: 6.0}), (12.0, {0: 7.0})).select(rows(0), capacity=2)
    assert plain(history)["values"] == [[7.0, 6.0]]
    assert plain(history.select(rows(0), capacity=4).append(rows(0), 13.0, np.array([8.0])))["values"] == [
        [8.0, 7.0, 6.0]
    ]

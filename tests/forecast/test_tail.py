"""The tail that every domain's rises are learnt into."""

import numpy as np
import pytest

from controller.forecast.tail import EDGES, SCALE, SHAPE, Tail, assumed

ROW = np.array([0])
PRIOR = assumed(SCALE, SHAPE)


def risen(*ratios: float) -> Tail:
    """A tail of one domain that rose by these parts of its reach, in one interval each."""
    tail = Tail.empty(1)
    for ratio in ratios:
        tail = tail.counted(ROW, np.array([ratio]), np.array([1.0]))
    return tail


def test_edges_double_from_a_thousandth_to_32_times_the_reach():
    assert (EDGES[0], EDGES[-1]) == (2.0**-10, 32.0)
    assert (EDGES[1:] / EDGES[:-1]).tolist() == [2.0] * 15


def test_prior_is_the_integral_of_a_pareto_tail_around_a_fiftieth_of_the_reach():
    chance = 1 / (1 + (EDGES / 0.02) ** 1.5)
    assert PRIOR[-1] == pytest.approx(chance[-1] * 32)
    assert PRIOR[:-1] - PRIOR[1:] == pytest.approx(chance[:-1] * np.diff(EDGES))


@pytest.mark.parametrize("ratio", [-1.0, 0.0, EDGES[0]])
def test_no_rise_is_counted_below_the_first_edge(ratio):
    assert risen(ratio).risen.sum() == 0
    assert risen(ratio).intervals.tolist() == [1.0]


@pytest.mark.parametrize(("ratio", "end"), [(0.0015, 2.0**-9), (0.3, 0.5), (1.0, 1.0), (1.5, 2.0), (99.0, 64.0)])
def test_a_rise_goes_beyond_each_edge_by_what_is_left_to_the_next_edge_above_it(ratio, end):
    assert risen(ratio).risen[0] == pytest.approx(np.maximum(end - EDGES, 0))


def test_rises_add_up_by_domain():
    tail = Tail.empty(2)
    for ratio, intervals in ((0.6, 2.0), (0.3, 5.0)):
        tail = tail.counted(np.array([1]), np.array([ratio]), np.array([intervals]))
    assert tail.intervals.tolist() == [0.0, 7.0]
    assert tail.risen[1] == pytest.approx(np.maximum(1.0 - EDGES, 0) + np.maximum(0.5 - EDGES, 0))
    assert tail.risen[0].sum() == 0


def test_counting_leaves_the_tail_before_it_as_it_was():
    tail = Tail.empty(1)
    tail.counted(ROW, np.array([1.0]), np.array([1.0]))
    assert (tail.risen.sum(), tail.intervals.sum()) == (0.0, 0.0)


def test_rows_follow_the_domains_and_a_new_one_is_empty():
    tail = Tail(np.array([[3.0] * 16, [1.0] * 16]), np.array([6.0, 2.0])).select(np.array([1, -1, 0]))
    assert (tail.risen[:, 0].tolist(), tail.intervals.tolist()) == ([1.0, 0.0, 3.0], [2.0, 0.0, 6.0])


def test_a_node_without_history_has_the_prior_and_a_domain_without_history_its_nodes():
    assert Tail.empty(1).excess(EDGES[:1], 2.0, 4.0) == pytest.approx(PRIOR[:1])
    tail = Tail(np.array([[3.0] * 16, [0.0] * 16]), np.array([6.0, 0.0]))
    node = (3 + 4 * PRIOR[0]) / (6 + 4)
    assert tail.excess(EDGES[[0, 0]], 2.0, 4.0) == pytest.approx([(3 + 2 * node) / (6 + 2), node])


def test_excess_is_interpolated_in_the_logarithm_of_the_ratio():
    tail = Tail((16.0 - np.arange(16))[None, :], np.array([1.0]))
    ratios = np.array([[0.0], [EDGES[0]], [0.5], [2.0**-0.5], [32.0], [1e9]])
    assert tail.excess(ratios, 0.0, 1e-9)[:, 0] == pytest.approx([16.0, 16.0, 7.0, 6.5, 1.0, 1.0])

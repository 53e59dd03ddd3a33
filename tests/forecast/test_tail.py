"""The tail that every domain's rises are learnt into."""

import numpy as np
import pytest

from controller.forecast.tail import EDGES, PRIOR, Tail, beyond

WIDTHS = np.append(np.diff(EDGES), EDGES[-1])


def chances(excess: np.ndarray) -> np.ndarray:
    """(n, edges) of each edge to be passed, from the integral of them."""
    after = np.concatenate((excess[:, 1:], np.zeros((len(excess), 1))), axis=1)
    return (excess - after) / WIDTHS


def counts(*rows: tuple[float, float]) -> Tail:
    """A tail whose first edge was passed so often, in so many intervals."""
    tail = Tail.empty(len(rows))
    tail.passed[:, 0], tail.intervals[:] = np.array(rows).T
    return tail


def test_edges_double_from_a_thousandth_to_32_times_the_reach() -> None:
    assert (EDGES[0], EDGES[-1]) == (2.0**-10, 32.0)
    assert (EDGES[1:] / EDGES[:-1]).tolist() == [2.0] * 15


def test_prior_is_a_pareto_tail_around_a_fiftieth_of_the_reach() -> None:
    at = dict(zip(EDGES.tolist(), PRIOR.tolist(), strict=True))
    assert at[2.0**-5] == pytest.approx(1 / (1 + 1.25**3))  # (0.03125 / 0.02) ** 1.5 = 1.5625 ** 1.5
    assert at[1.0] == pytest.approx(1 / (1 + 50**1.5))


@pytest.mark.parametrize(
    ("ratio", "passed"), [(-1.0, 0), (0.0, 0), (EDGES[0], 0), (EDGES[0] * 1.001, 1), (1.0, 10), (1.5, 11), (99.0, 16)]
)
def test_a_rise_counts_at_every_edge_that_it_passed(ratio: float, passed: int) -> None:
    tail = Tail.empty(1).counted(np.array([0]), np.array([ratio]), np.array([1.0]))
    assert tail.passed.tolist() == [[1.0] * passed + [0.0] * (16 - passed)]


def test_rises_add_up_by_domain() -> None:
    tail = Tail.empty(3)
    for ratio, intervals in ((0.6, 2.0), (0.3, 5.0)):
        tail = tail.counted(np.array([2, 0]), np.array([ratio, 0.0]), np.array([intervals, 1.0]))
    assert tail.intervals.tolist() == [2.0, 0.0, 7.0]
    assert tail.passed[2, 7:11].tolist() == [2.0, 2.0, 1.0, 0.0]  # 1/8, 1/4, 1/2, 1
    assert tail.passed[:2].sum() == 0


def test_counting_leaves_the_tail_before_it_as_it_was() -> None:
    tail = Tail.empty(1)
    tail.counted(np.array([0]), np.array([1.0]), np.array([1.0]))
    assert (tail.passed.sum(), tail.intervals.sum()) == (0.0, 0.0)


def test_rows_follow_the_domains_and_a_new_one_is_empty() -> None:
    tail = counts((3, 6), (1, 2)).select(np.array([1, -1, 0]))
    assert (tail.passed[:, 0].tolist(), tail.intervals.tolist()) == ([1.0, 0.0, 3.0], [2.0, 0.0, 6.0])


def test_a_domain_without_history_has_its_nodes_and_a_node_without_history_the_prior() -> None:
    assert chances(Tail.empty(1).excess(2.0, 4.0))[0] == pytest.approx(PRIOR)
    chance = chances(counts((3, 6), (0, 0)).excess(2.0, 4.0))
    node = (3 + 4 * PRIOR[0]) / (6 + 4)
    assert chance[1, 0] == pytest.approx(node)
    assert chance[1, 1:] == pytest.approx(4 * PRIOR[1:] / (6 + 4))


def test_a_domains_own_count_weighs_against_what_it_borrows() -> None:
    chance = chances(counts((3, 6), (0, 0)).excess(2.0, 4.0))
    node = (3 + 4 * PRIOR[0]) / (6 + 4)
    assert chance[0, 0] == pytest.approx((3 + 2 * node) / (6 + 2))


def test_rise_expected_beyond_an_edge_is_the_integral_of_the_chances_from_there() -> None:
    tail = Tail.empty(1).counted(np.array([0]), np.array([99.0]), np.array([1.0]))  # every chance is 1
    excess = tail.excess(0.0, 0.0)[0]
    assert excess[-1] == 32.0
    assert excess == pytest.approx(64.0 - EDGES)


def test_rise_beyond_a_ratio_is_interpolated_in_its_logarithm() -> None:
    excess = np.array([16.0 - np.arange(16)] * 6)
    ratio = np.array([0.0, EDGES[0], 0.5, 2.0**-0.5, 32.0, 1e9])
    assert beyond(excess, ratio) == pytest.approx([16.0, 16.0, 7.0, 6.5, 1.0, 1.0])


def test_rise_beyond_a_ratio_is_read_from_the_domains_own_row() -> None:
    assert beyond(np.array([[1.0] * 16, [2.0] * 16]), np.array([0.5, 0.5])).tolist() == [1.0, 2.0]

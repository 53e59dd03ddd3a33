"""Weighted max-min fairness."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.planner import level, share

amounts = st.lists(st.integers(0, 10**6), min_size=1, max_size=20)


def arrays(*rows):
    return [np.array(row, dtype=float) for row in rows]


def test_everybody_is_satisfied_when_all_fits():
    wants, weights = arrays([3, 5], [1, 1])
    assert share(wants, weights, 8.0).tolist() == [3, 5]


def test_the_modest_are_satisfied_and_the_rest_is_equal():
    wants, weights = arrays([1, 10, 10], [1, 1, 1])
    assert share(wants, weights, 9.0).tolist() == [1, 4, 4]


def test_weights_divide_what_is_contended():
    wants, weights = arrays([100, 100], [3, 1])
    assert share(wants, weights, 40.0).tolist() == [30, 10]


def test_nothing_to_share():
    wants, weights = arrays([5, 5], [1, 1])
    assert share(wants, weights, 0.0).tolist() == [0, 0]


@given(amounts, st.integers(0, 10**7), st.randoms(use_true_random=False))
def test_shares_use_up_the_capacity_and_nobody_gets_more_than_wanted(wants, capacity, random):
    wants = np.array(wants, dtype=float)
    weights = np.array([random.randint(1, 100) for _ in wants], dtype=float)
    shares = share(wants, weights, float(capacity))
    assert (shares <= wants).all()
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(min(capacity, wants.sum()))


@given(amounts, st.integers(1, 10**7), st.randoms(use_true_random=False))
def test_whoever_gets_less_than_wanted_gets_the_highest_share_a_weight(wants, capacity, random):
    wants = np.array(wants, dtype=float)
    weights = np.array([random.randint(1, 100) for _ in wants], dtype=float)
    shares = share(wants, weights, float(capacity))
    unmet = shares < wants - 1e-6
    if unmet.any():
        assert (shares / weights).max() == pytest.approx((shares / weights)[unmet].min())


def test_levels_are_equal_where_nobody_needs_more():
    lowest, highest, scale = arrays([0, 5, 0], [9, 9, 1], [1, 1, 1])
    assert level(lowest, highest, scale, 9.0).tolist() == [3, 5, 1]


def test_levels_follow_the_scale():
    lowest, highest, scale = arrays([0, 0], [100, 100], [3, 1])
    assert level(lowest, highest, scale, 40.0).tolist() == [30, 10]


def test_levels_are_bounded_by_what_is_least_and_most():
    lowest, highest, scale = arrays([1, 2], [3, 4], [1, 1])
    assert level(lowest, highest, scale, 2.0).tolist() == [1, 2]
    assert level(lowest, highest, scale, 9.0).tolist() == [3, 4]


def test_a_level_is_found_where_everybody_has_his_least_or_most_on_the_way_to_it():
    lowest, highest, scale = arrays([0, 5], [1, 10], [1, 1])
    assert level(lowest, highest, scale, 7.0) == pytest.approx([1, 6])


@given(amounts, st.floats(0, 1), st.randoms(use_true_random=False))
def test_levels_use_up_the_capacity(lowest, part, random):
    lowest = np.array(lowest, dtype=float)
    highest = lowest + [random.randint(0, 10**6) for _ in lowest]
    scale = np.array([random.randint(1, 100) for _ in lowest], dtype=float)
    capacity = lowest.sum() + part * (highest - lowest).sum()
    levels = level(lowest, highest, scale, capacity)
    assert (levels >= lowest).all()
    assert (levels <= highest).all()
    assert levels.sum() == pytest.approx(capacity, abs=1)

"""Domains that are sampled one after the other ask for no more together than those sampled at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.replay.backtest import base_mib
from controller.replay.rounds import rounds
from controller.replay.trace import Series, Trace


def numbers(*times, step=1.0):
    return [each.tolist() for each in rounds([np.array(each, dtype=float) for each in times], step)]


def test_domains_sampled_at_once_are_in_one_round_however_late_the_recorder_is():
    assert numbers([0, 1.02, 2.9, 3.2], [1.02, 2.9]) == [[0, 1, 2, 3], [1, 2]]


def test_domains_sampled_one_after_the_other_are_in_one_round():
    assert numbers([0, 1, 2], [0.3, 1.3, 2.3], [0.9, 1.9]) == [[0, 1, 2], [0, 1, 2], [0, 1]]


def test_a_round_follows_a_recorder_that_drifts():
    late = np.arange(200) * 1.03

    assert numbers(late, late + 0.4) == [list(range(200))] * 2


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_sample_moves_no_other_into_the_next_round(missing):
    times = [[0.0, 300, 600, 900], [10.0, 310, 610, 910]]
    del times[missing][1]

    found = numbers(*times, step=300.0)

    assert found[missing] == [0, 2, 3]
    assert found[1 - missing] == [0, 1, 2, 3]


def test_a_domain_that_is_read_late_in_each_round_does_not_stand_for_one_that_is_missing():
    assert numbers([0, 2, 3], [0.6, 1.6, 2.6, 3.6]) == [[0, 2, 3], [0, 1, 2, 3]]


def test_a_sample_that_comes_early_after_a_missing_one_is_in_its_own_round():
    assert numbers([0, 1, 2, 3], [0, 1.99, 3]) == [[0, 1, 2, 3], [0, 2, 3]]


def test_no_domain_is_sampled_twice_in_a_round():
    assert numbers([0, 1, 1.3, 2], [0.1, 1.1, 2.1]) == [[0, 1, 2, 3], [0, 1, 3]]


def test_a_domain_that_comes_is_in_the_round_in_which_it_is_first_sampled():
    assert numbers([0.2, 1.2, 2.2], [1.5, 2.5]) == [[0, 1, 2], [1, 2]]


@given(st.integers(0, 2**32 - 1))
def test_the_peak_is_the_same_on_a_common_grid_and_on_one_of_each_domain(seed):
    random = np.random.default_rng(seed)
    demand = random.integers(1, 1000, (5, 40)).astype(float)
    step = float(random.choice([1.0, 2.0, 300.0]))
    offsets = random.uniform(0, 0.99 * step, 5)
    offsets[0] = 0.0

    def peak(shifts):
        times = np.arange(40) * step
        series = [Series(times + shift, row, np.full(40, 5e3)) for shift, row in zip(shifts, demand, strict=True)]
        return base_mib(Trace(tuple("abcde"), tuple(series)))

    assert peak(offsets) == peak(np.zeros(5)) == demand.sum(axis=0).max()


def test_times_that_differ_by_rounding_are_one_round():
    noise = [0.1 + 0.2, 0.3]

    assert numbers([0, noise[0], 0.6], [0, noise[1], 0.6], step=0.3) == [[0, 1, 2], [0, 1, 2]]

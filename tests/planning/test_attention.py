"""Stability and the interval that follows from it."""

import numpy as np
import pytest

from controller import schedule, stability


def one(value):
    return np.array([value], dtype=float)


def interval(last, *, stable, exhaustion=np.inf):
    wait = schedule.next_interval(one(last), one(1), one(60), np.array([stable]), one(exhaustion))
    return float(wait[0])


def test_unstable_falls_to_the_shortest_at_once():
    assert interval(60, stable=False) == 1


def test_stable_grows_step_by_step_up_to_the_longest():
    assert interval(4, stable=True) == 6
    assert interval(59, stable=True) == 60


def test_no_later_than_half_the_time_to_exhaustion():
    assert interval(40, stable=True, exhaustion=20) == 10


def test_never_below_the_shortest():
    assert interval(40, stable=True, exhaustion=0) == 1


def test_a_steady_rate_counts_what_happens_in_a_window():
    count = np.zeros(1)
    for _ in range(1000):
        count = stability.decayed(count, one(10), one(300)) + 1
    assert count[0] == pytest.approx(30, rel=0.05)


def test_many_reallocations_or_a_quick_change_make_a_domain_unstable():
    calm = stability.stable(np.array([2.0, 2.1, 0.0]), np.full(3, 2.0), np.array([0.05, 0.0, 0.06]), np.full(3, 0.05))
    assert calm.tolist() == [True, False, False]

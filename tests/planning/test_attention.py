"""Stability and the interval that follows from it."""

import numpy as np
import pytest

from controller import schedule, stability


def one(value):
    return np.array([value], dtype=float)


def interval(last, *, stable, exhaustion=np.inf, patience=np.inf):
    wait = schedule.next_interval(one(last), one(1), one(60), np.array([stable]), one(exhaustion), one(patience))
    return float(wait[0])


def test_unstable_falls_to_the_shortest_at_once():
    assert interval(60, stable=False) == 1


def test_stable_grows_step_by_step_up_to_the_longest():
    assert interval(4, stable=True) == 8
    assert interval(59, stable=True) == 60


def test_no_later_than_half_the_time_to_exhaustion():
    assert interval(40, stable=True, exhaustion=20) == 10


def test_no_later_than_a_jump_is_to_be_expected():
    assert interval(40, stable=True, patience=15) == 15


def patience(jump, span, room):
    return float(schedule.patience([one(jump)], [span], one(room))[0])


def test_what_jumps_as_far_as_there_is_room_is_looked_at_more_often_than_it_does():
    assert patience(100, 60, 100) == pytest.approx(schedule.RISK * 60)


def test_twice_the_room_is_256_times_the_patience():
    assert patience(100, 60, 200) == pytest.approx(256 * patience(100, 60, 100))


def test_the_span_in_which_jumps_are_likeliest_counts():
    both = schedule.patience([one(10), one(90)], [60, 86400], one(100))
    assert both[0] == pytest.approx(min(patience(10, 60, 100), patience(90, 86400, 100)))


def test_what_never_jumped_is_not_expected_to():
    assert patience(0, 60, 100) == np.inf


def test_without_room_there_is_no_patience():
    assert patience(1, 60, 0) == 0


def test_looks_of_all_domains_meet_at_multiples_of_their_shortest_interval():
    times = schedule.aligned(np.array([10.4, 11.0 - 1e-9, 25.0, 29.9]), np.array([1.0, 1.0, 10.0, 10.0]))
    assert times.tolist() == [10.0, 11.0, 20.0, 20.0]


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

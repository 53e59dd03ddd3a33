"""Whether domains rise together: learnt from which of their rises follow each other's."""

import numpy as np
import pytest

from controller.forecast.waves import Waves

WINDOW = np.array([60.0])
SECOND = np.array([1.0])


def looked(waves: Waves, row: int, before: float, now: float, rose: bool) -> Waves:
    """A look at one domain at `now`, after one at `before`."""
    return waves.counted(np.array([row]), np.array([rose]), np.array([before]), now, WINDOW, SECOND)


def test_rises_that_follow_each_other_are_more_frequent_by_what_was_counted():
    waves = Waves.empty(3)
    for row in range(3):
        waves = looked(waves, row, 0.0, 1000.0, rose=False)
    waves = looked(waves, 0, 1000.0, 1010.0, rose=True)
    waves = looked(waves, 1, 1000.0, 1020.0, rose=True)  # of 20 s, 10 were after the other's rise
    waves = looked(waves, 2, 1000.0, 1100.0, rose=False)  # of 100 s, 60 after the second's
    assert (waves.rises, waves.intervals) == (2.0, 3130.0)
    assert (waves.followed, waves.after) == (0.5, 70.0)
    assert waves.factor(4.0) == pytest.approx((0.5 + 1) / (70 * 2 / 3130 + 1 / 4))


def test_before_anything_is_known_it_is_what_it_is_taken_to_be_and_never_less_than_chance():
    assert Waves.empty(2).factor(20.0) == pytest.approx(20.0)
    assert Waves(np.zeros(2), rises=10.0, intervals=100.0, followed=0.0, after=50.0).factor(20.0) == 1.0


def test_nothing_is_expected_of_rises_that_come_by_chance():
    choice, waves = np.random.default_rng(1), Waves.empty(5)
    for second in range(1, 5000):
        rose = choice.random(5) < 0.01
        waves = waves.counted(np.arange(5), rose, np.full(5, second - 1.0), float(second), np.full(5, 20.0), np.ones(5))
    assert waves.rises > 200
    assert waves.factor(20.0) == pytest.approx(1.0, abs=0.1)


def test_one_domain_follows_nobody():
    waves = Waves.empty(1)
    for second in (1.0, 2.0, 3.0):
        waves = looked(waves, 0, second - 1, second, rose=True)
    assert (waves.followed, waves.after) == (0.0, 0.0)
    assert waves.expected(4.0, WINDOW).tolist() == [False]


def test_others_are_expected_to_follow_for_a_window_and_of_two_that_rose_each_the_other():
    waves = looked(Waves.empty(3), 1, 0.0, 10.0, rose=True)
    assert waves.expected(69.0, np.full(3, 60.0)).tolist() == [True, False, True]
    assert waves.expected(70.0, np.full(3, 60.0)).tolist() == [False, False, False]
    waves = looked(waves, 2, 9.0, 20.0, rose=True)
    assert waves.expected(75.0, np.full(3, 60.0)).tolist() == [True, True, False]


def test_rows_follow_the_domains_and_a_new_one_has_not_risen():
    waves = looked(looked(Waves.empty(2), 0, 0.0, 10.0, rose=True), 1, 0.0, 20.0, rose=True)
    moved = waves.select(np.array([1, -1, 0]))
    assert moved.rose_at.tolist() == [20.0, -np.inf, 10.0]
    assert moved.factor(20.0) == waves.factor(20.0) != 20.0


def test_counting_leaves_what_was_counted_before_as_it_was():
    waves = Waves.empty(2)
    looked(waves, 0, 0.0, 10.0, rose=True)
    assert (waves.rose_at.max(), waves.rises) == (-np.inf, 0.0)

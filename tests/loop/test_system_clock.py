"""Waiting and being woken with the machine's own clock; waits end by an event, but for one that nothing ends."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from controller.loop.clock import SystemClock

pytestmark = pytest.mark.timeout(60)

LONG_S = 250.0
"""Longer than a test may take: a wait that is not ended by its event fails the test."""


@contextmanager
def stopping(clock: SystemClock) -> Iterator[None]:
    """Another thread stops the clock a moment later."""
    timer = threading.Timer(0.05, clock.stop)
    timer.start()
    yield
    timer.join()


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


def test_a_wake_that_came_before_the_wait_ends_it(clock):
    clock.wake()
    clock.wait(0.0, LONG_S)
    assert not clock.stopped


def test_a_wake_from_another_thread_ends_the_wait(clock):
    waking = threading.Timer(0.05, clock.wake)
    waking.start()
    clock.wait(0.0, LONG_S)
    waking.join()
    assert not clock.stopped


def test_a_wake_counts_once(clock):
    clock.wake()
    clock.wait(0.0, LONG_S)
    with stopping(clock):
        clock.wait(0.0, LONG_S)
        assert clock.stopped


def test_a_wake_does_not_shorten_the_least_time(clock):
    clock.wake()
    with stopping(clock):
        clock.wait(LONG_S, LONG_S)
        assert clock.stopped


def test_stop_ends_this_wait_and_all_later_ones(clock):
    with stopping(clock):
        clock.wait(LONG_S, LONG_S)
        clock.wait(LONG_S, LONG_S)
        assert clock.stopped


def test_a_wait_that_nothing_ends_is_over_after_the_most_time(clock):
    began = time.monotonic()
    clock.wait(0.0, 0.05)
    assert time.monotonic() - began >= 0.05
    assert not clock.stopped

"""Replays side by side."""

import math
import multiprocessing
import os
import signal
from collections.abc import Generator

import pytest

from controller.replay.pool import Pool, PoolError


@pytest.fixture(params=[1, 2], ids=["in this process", "in two more"])
def processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(request.param)))


@pytest.mark.usefixtures("processors")
def test_outcomes_come_in_the_order_of_jobs_each_announced() -> None:
    ends: list[None] = []
    with Pool() as pool:
        assert pool.outcomes(math.factorial, [5, 3, 4], lambda: ends.append(None)) == [120, 6, 24]
    assert len(ends) == 3
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("most", [1, 2])
def test_outcomes_are_streamed_with_the_places_of_their_jobs(most: int) -> None:
    with Pool(most) as pool:
        assert sorted(pool.streamed(math.factorial, [5, 3, 4])) == [(0, 120), (1, 6), (2, 24)]


def process(_: int) -> int:
    return os.getpid()


def test_processes_serve_one_set_of_jobs_after_another() -> None:
    with Pool(2) as pool:
        served = {pid for _ in range(3) for pid in pool.outcomes(process, range(8))}
    assert os.getpid() not in served
    assert len(served) <= 2


def countdown(first: int) -> Generator[int, int, int]:
    """The product of the factorials of `first` and all below."""
    found = 1
    for number in range(first, 0, -1):
        found *= yield number
    return found


@pytest.mark.usefixtures("processors")
def test_courses_are_followed_to_their_ends_each_job_after_the_one_before() -> None:
    ends: list[None] = []
    with Pool() as pool:
        found = pool.follow(math.factorial, [countdown(3), countdown(0), countdown(4)], lambda: ends.append(None))
    assert found == [12, 1, 288]
    assert len(ends) == 7


@pytest.mark.usefixtures("processors")
def test_what_a_job_raises_is_raised_and_nothing_keeps_running() -> None:
    with pytest.raises(ValueError, match="negative"), Pool() as pool:
        pool.outcomes(math.factorial, [3, -1, 3])
    with pytest.raises(ValueError, match="negative"), Pool() as pool:
        pool.follow(math.factorial, [iter_of(3), iter_of(-1)])
    assert multiprocessing.active_children() == []


def iter_of(number: int) -> Generator[int, int, None]:
    yield number


@pytest.mark.parametrize("processors", [2], indirect=True)
@pytest.mark.usefixtures("processors")
def test_a_process_that_is_killed_is_said_with_a_remedy_and_nothing_keeps_running() -> None:
    remedy = r"process was killed \(out of memory\?\); .* `taskset -c 0`"
    with pytest.raises(PoolError, match=remedy), Pool() as pool:
        pool.outcomes(signal.raise_signal, [signal.SIGKILL, signal.SIGKILL])
    with pytest.raises(PoolError, match=remedy), Pool() as pool:
        pool.follow(signal.raise_signal, [iter_of(signal.SIGKILL)])
    assert multiprocessing.active_children() == []

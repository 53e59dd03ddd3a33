"""Replays side by side."""

import math
import multiprocessing
import os
import signal

import pytest

from controller.replay.pool import PoolError, outcomes, streamed


@pytest.fixture(params=[1, 2], ids=["in this process", "in two more"])
def processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(request.param)))


@pytest.mark.usefixtures("processors")
def test_outcomes_come_in_the_order_of_jobs_each_announced() -> None:
    ends: list[None] = []
    assert outcomes(math.factorial, [5, 3, 4], lambda: ends.append(None)) == [120, 6, 24]
    assert len(ends) == 3


@pytest.mark.usefixtures("processors")
def test_what_a_job_raises_is_raised_and_nothing_keeps_running() -> None:
    with pytest.raises(ValueError, match="negative"):
        outcomes(math.factorial, [3, -1, 3])
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("processors", [2], indirect=True)
@pytest.mark.usefixtures("processors")
def test_a_process_that_is_killed_is_said_with_a_remedy_and_nothing_keeps_running() -> None:
    with pytest.raises(PoolError, match=r"process was killed \(out of memory\?\); .* `taskset -c 0`"):
        outcomes(signal.raise_signal, [signal.SIGKILL, signal.SIGKILL])
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("most", [1, 2])
def test_outcomes_are_streamed_with_the_places_of_their_jobs(most: int) -> None:
    assert sorted(streamed(math.factorial, [5, 3, 4], most)) == [(0, 120), (1, 6), (2, 24)]

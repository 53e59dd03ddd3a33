"""Many replays side by side, one a processor."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Found = TypeVar("Found")

Course = Generator[Job, Outcome, Found]
"""Yields one job after the other, is sent the outcome of each, and returns what it found."""


class PoolError(Exception):
    """A replay whose process is gone; the message says what to do."""


class Watcher(Protocol):
    """Hears how far the replays are."""

    def more(self, count: int) -> None:
        """So many are to come besides those announced before."""

    def done(self) -> None:
        """One has ended."""


class Pool:
    """Processes that serve job after job until the pool is left. They start when they are first needed.

    Jobs, outcomes and functions are pickled; what a job raises is raised. On a single processor there is no other
    process. Methods raise PoolError when one of them is killed.
    """

    def __init__(self, most: int | None = None) -> None:
        """`most` processes; one a processor unless said."""
        self._most = most or len(os.sched_getaffinity(0))
        self._executor: ProcessPoolExecutor | None = None
        self._others = set(multiprocessing.active_children())

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is None:
            return
        if kind is not None:  # Ctrl-C too: nobody waits for replays whose outcome is not wanted any more
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self._executor.shutdown(cancel_futures=True)  # it joins its processes: two threads that wait for one race

    def outcomes(
        self, function: Callable[[Job], Outcome], jobs: Sequence[Job], done: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """`function` of every job, in the order of `jobs`; `done` is called as each ends."""
        found: dict[int, Outcome] = {}
        for place, outcome in self.streamed(function, jobs):
            found[place] = outcome
            done()
        return [found[place] for place in range(len(jobs))]

    def streamed(self, function: Callable[[Job], Outcome], jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
        """`function` of every job and the job's place among `jobs`, as each ends."""
        if self._most == 1 or len(jobs) < 2:
            yield from enumerate(map(function, jobs))
            return
        with _whole():
            places = {self._processes().submit(function, job): place for place, job in enumerate(jobs)}
            for future in as_completed(places):
                yield places[future], future.result()

    def follow(
        self,
        function: Callable[[Job], Outcome],
        courses: Sequence[Course[Job, Outcome, Found]],
        done: Callable[[], None] = lambda: None,
    ) -> list[Found]:
        """What each course returns, in their order; `done` is called as each job ends. Jobs of different courses run
        side by side, those of one after each other.
        """
        found: dict[int, Found] = {}
        waiting: dict[Future[Outcome], int] = {}

        def go_on(place: int, step: Callable[[], Job]) -> None:
            """To the course's next job, or to its end."""
            try:
                job = step()
            except StopIteration as end:
                found[place] = end.value
            else:
                waiting[self._submit(function, job)] = place

        with _whole():
            for place, course in enumerate(courses):
                go_on(place, partial(next, course))
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    place, outcome = waiting.pop(future), future.result()
                    done()
                    go_on(place, partial(courses[place].send, outcome))
        return [found[place] for place in range(len(courses))]

    def _submit(self, function: Callable[[Job], Outcome], job: Job) -> Future[Outcome]:
        """To one of the processes; where this is the only one, done at once."""
        if self._most > 1:
            return self._processes().submit(function, job)
        future: Future[Outcome] = Future()
        future.set_result(function(job))
        return future

    def _processes(self) -> ProcessPoolExecutor:
        """Fresh interpreters: a fork of a process that draws a progress bar would copy its threads' locks."""
        if self._executor is None:
            self._executor = ProcessPoolExecutor(self._most, multiprocessing.get_context("spawn"), _die_quietly)
        return self._executor


@contextmanager
def _whole() -> Iterator[None]:
    """What it means that the pool has lost a process."""
    try:
        yield
    except BrokenProcessPool as error:
        raise PoolError(
            "a replay's process was killed (out of memory?); free memory, give a shorter trace, or replay one at a "
            "time: put `taskset -c 0` before the command"
        ) from error


def _die_quietly() -> None:
    """On Ctrl-C, which the terminal sends to every process of the command, a traceback of each helps nobody."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

"""Many replays side by side, one a processor."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


class PoolError(Exception):
    """A replay whose process is gone; the message says what to do."""


def outcomes(
    function: Callable[[Job], Outcome], jobs: Sequence[Job], done: Callable[[], None] = lambda: None
) -> list[Outcome]:
    """`function` of every job, in the order of `jobs`; `done` is called as each ends. See `streamed`."""
    found: dict[int, Outcome] = {}
    for place, outcome in streamed(function, jobs):
        found[place] = outcome
        done()
    return [found[place] for place in range(len(jobs))]


def streamed(
    function: Callable[[Job], Outcome], jobs: Sequence[Job], most: int | None = None
) -> Iterator[tuple[int, Outcome]]:
    """`function` of every job and the job's place among `jobs`, as each ends. What a job raises is raised.

    Jobs, outcomes and the function are pickled. `most` processes, as many as there are processors unless said; a single
    one needs no other than this. Raises PoolError when one of the others is killed.
    """
    workers = min(len(jobs), most or len(os.sched_getaffinity(0)))
    try:
        yield from _here(function, jobs) if workers < 2 else _side_by_side(function, jobs, workers)
    except BrokenProcessPool as error:
        raise PoolError(
            "a replay's process was killed (out of memory?); free memory, give a shorter trace, or replay one at a "
            "time: put `taskset -c 0` before the command"
        ) from error


def _here(function: Callable[[Job], Outcome], jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
    return enumerate(map(function, jobs))


def _side_by_side(
    function: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Outcome]]:
    """Fresh interpreters: a fork of a process that draws a progress bar would copy its threads' locks."""
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _die_quietly) as pool:
        places = {pool.submit(function, job): place for place, job in enumerate(jobs)}
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        except BaseException:  # Ctrl-C too: nobody waits for replays whose outcome is not wanted any more
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
            pool.shutdown(cancel_futures=True)  # the pool joins its processes: two threads that wait for one race
            raise


def _die_quietly() -> None:
    """On Ctrl-C, which the terminal sends to every process of the command, a traceback of each helps nobody."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

"""Time that something takes: of this process's CPU, all its threads together, and on the wall."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class Spent:
    """Milliseconds."""

    cpu: float
    wall: float

    @classmethod
    def on(cls, work: Callable[[], object]) -> Self:
        """What one run of `work` takes."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return cls((time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000)

    @classmethod
    def typical(cls, runs: Sequence["Spent"]) -> Self:
        """Medians: a neighbour on the machine disturbs a few runs, not most of them."""
        return cls(median(run.cpu for run in runs), median(run.wall for run in runs))

    def each(self, count: int) -> "Spent":
        """The part of one of `count` things done."""
        return Spent(self.cpu / count, self.wall / count)

"""Every candidate in every world: replays side by side, one world after the other."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from controller.api.policy import MemoryPolicy
from controller.replay.controllers import make
from controller.replay.pool import Pool, Watcher
from controller.replay.run import replay
from controller.replay.score import Figures
from worlds import constants
from worlds.world import World, world


@dataclass(frozen=True, slots=True)
class Candidate:
    """A controller by the name it has in the tables; `changes` are new values of the engine's constants."""

    label: str
    controller: str
    changes: Mapping[str, float]


def as_named(controller: str) -> Candidate:
    """A controller as it is."""
    return Candidate(controller, controller, {})


@dataclass(frozen=True, slots=True)
class Job:
    """One world for all candidates: it is made once."""

    seed: int
    family: str
    candidates: tuple[Candidate, ...]
    policy: MemoryPolicy


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What one candidate did to a world."""

    figures: Figures
    seconds: float
    """Its replay took."""


@dataclass(frozen=True, slots=True)
class WorldResult:
    """A world, and what each candidate did to it, by label."""

    seed: int
    family: str
    guests: int
    step_s: float
    maximum_to_peak: float
    host_to_peak: float
    replays: Mapping[str, ReplayResult]

    def entry(self) -> dict[str, Any]:
        """For programs. Harm as a fraction of demand; moves and looks a domain-hour."""
        replays = {label: {**one.figures.entry(), "seconds": one.seconds} for label, one in self.replays.items()}
        return asdict(self) | {"replays": replays}


def evaluate(jobs: Sequence[Job], pool: Pool, watcher: Watcher) -> Iterator[WorldResult]:
    """Results in the order of `jobs`, each once it and those before it have ended. Raises PoolError, ReplayError."""
    watcher.more(len(jobs))
    waiting: dict[int, WorldResult] = {}
    following = 0
    for place, result in pool.streamed(run, jobs):
        watcher.done()
        waiting[place] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def run(job: Job) -> WorldResult:
    """Replay one world with every candidate. Raises ReplayError."""
    made = world(job.seed, job.family)
    return WorldResult(
        made.seed,
        made.family,
        len(made.maximum),
        made.step_s,
        made.maximum_to_peak,
        made.host_mib / made.peak_mib,
        {one.label: _replayed(one, made, job.policy) for one in job.candidates},
    )


def _replayed(candidate: Candidate, made: World, policy: MemoryPolicy) -> ReplayResult:
    if candidate.changes:
        controller = constants.changed(candidate.controller, policy, candidate.changes)
    else:
        controller = make(candidate.controller, policy)
    trace = made.trace()
    begun = time.monotonic()
    figures = replay(trace, controller, made.host_mib).figures
    return ReplayResult(figures, time.monotonic() - begun)

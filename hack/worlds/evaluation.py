"""Every candidate in every world: replays side by side."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import groupby
from typing import Any

from controller.api.policy import MemoryPolicy
from controller.replay.controllers import PEERS, guests_report, make
from controller.replay.pool import Pool, Watcher
from controller.replay.run import replay
from controller.replay.score import ReplayFigures
from controller.replay.trace import Trace
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
class WorldJob:
    """One candidate in one world."""

    seed: int
    family: str
    candidate: Candidate
    policy: MemoryPolicy
    known: "WorldResult | None" = None
    """Of this world, from another time: its replay of a candidate that is no Ballast is not made again."""

    @property
    def world(self) -> tuple[int, str]:
        """The same for all jobs of one world."""
        return self.seed, self.family


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What one candidate did to a world."""

    figures: ReplayFigures
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
    checksum: int
    """Of the world: other versions may make another one."""
    replays: Mapping[str, ReplayResult]

    def entry(self) -> dict[str, Any]:
        """For programs. Harm as a fraction of demand; moves and looks a domain-hour."""
        replays = {label: {**one.figures.entry(), "seconds": one.seconds} for label, one in self.replays.items()}
        return asdict(self) | {"replays": replays}

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "WorldResult":
        """The inverse of `entry`. Raises KeyError, TypeError for what is none."""
        names = {each.name for each in fields(ReplayFigures)}
        replays = {
            label: ReplayResult(ReplayFigures(**{name: one[name] for name in names}), one["seconds"])
            for label, one in entry["replays"].items()
        }
        return cls(**{**entry, "replays": replays})


def evaluate(jobs: Sequence[WorldJob], pool: Pool, watcher: Watcher) -> Iterator[WorldResult]:
    """Results in the order of `jobs`, each once all replays of its world and of those before it have ended. The jobs of
    a world follow each other. Raises PoolError, ReplayError.
    """
    watcher.more(len(jobs))
    found: dict[int, WorldResult] = {}
    waiting = [[place for place, _ in each] for _, each in groupby(enumerate(jobs), lambda one: one[1].world)]
    waiting.reverse()
    for place, result in pool.streamed(run, jobs):
        watcher.done()
        found[place] = result
        while waiting and all(each in found for each in waiting[-1]):
            yield _joined([found.pop(each) for each in waiting.pop()])


def _joined(parts: Sequence[WorldResult]) -> WorldResult:
    """One world with the replays of all its parts."""
    return replace(parts[0], replays={label: each for part in parts for label, each in part.replays.items()})


def run(job: WorldJob) -> WorldResult:
    """Replay its candidate in its world. Raises ReplayError."""
    made, trace = _made(job.seed, job.family)
    one, known = job.candidate, job.known
    if known is not None and known.checksum == made.checksum and one.label in known.replays and one.controller in PEERS:
        replayed = known.replays[one.label]
    else:
        replayed = _replayed(one, trace, made.host_mib, job.policy)
    return WorldResult(
        made.seed,
        made.family,
        len(made.maximum),
        made.step_s,
        made.maximum_to_peak,
        made.host_mib / made.peak_mib,
        made.checksum,
        {one.label: replayed},
    )


@lru_cache(maxsize=2)
def _made(seed: int, family: str) -> tuple[World, Trace]:
    """A world and its trace, kept for the next candidates: jobs of one world follow each other."""
    found = world(seed, family)
    return found, found.trace()


def _replayed(candidate: Candidate, trace: Trace, host_mib: float, policy: MemoryPolicy) -> ReplayResult:
    begun = time.monotonic()
    reporting = guests_report(candidate.controller)
    with constants.changed(candidate.changes) as tuning:
        controller = make(candidate.controller, policy, tuning)
        figures = replay(trace, controller, host_mib, free_page_reporting=reporting).figures
    return ReplayResult(figures, time.monotonic() - begun)

"""Every candidate in every world: replays side by side, one world after the other."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from controller.api.policy import MemoryPolicy
from controller.replay.controllers import PEERS, guests_report, make
from controller.replay.pool import Pool, Watcher
from controller.replay.run import replay
from controller.replay.score import Figures
from controller.replay.trace import Trace
from worlds import constants
from worlds.world import world


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
    known: "WorldResult | None" = None
    """Of this world, from another time: its replays of those candidates that are no Ballast are not made again."""


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
        names = {each.name for each in fields(Figures)}
        replays = {
            label: ReplayResult(Figures(**{name: one[name] for name in names}), one["seconds"])
            for label, one in entry["replays"].items()
        }
        return cls(**{**entry, "replays": replays})


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
    trace = made.trace()
    known = job.known.replays if job.known is not None and job.known.checksum == made.checksum else {}
    replays = {
        one.label: known[one.label]
        if one.label in known and one.controller in PEERS
        else _replayed(one, trace, made.host_mib, job.policy)
        for one in job.candidates
    }
    return WorldResult(
        made.seed,
        made.family,
        len(made.maximum),
        made.step_s,
        made.maximum_to_peak,
        made.host_mib / made.peak_mib,
        made.checksum,
        replays,
    )


def _replayed(candidate: Candidate, trace: Trace, host_mib: float, policy: MemoryPolicy) -> ReplayResult:
    if candidate.changes:
        controller = constants.changed(candidate.controller, policy, candidate.changes)
    else:
        controller = make(candidate.controller, policy)
    begun = time.monotonic()
    reporting = guests_report(candidate.controller)
    figures = replay(trace, controller, host_mib, free_page_reporting=reporting).figures
    return ReplayResult(figures, time.monotonic() - begun)

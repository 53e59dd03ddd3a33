"""What a turn came to, and what several turns together say."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, sqrt
from statistics import fmean, stdev

from faulting.judge import Order, doubled
from lab.guest import Evidence, GuestEvent
from lab.sampling import Track
from lab.summary import moved_mib, percentile, reactions, together

PAGES_PER_MIB = 256
MIB_PER_GIB = 1024
HOUR_S = 3600
STUDENT_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Two-sided 95 % quantiles of Student's t, for 1 to 9 degrees of freedom."""
MOST_ROUNDS = len(STUDENT_95) + 1


@dataclass(frozen=True, slots=True)
class Measures:
    """One turn: a cast under one controller for a time. All guests together."""

    short_s: float
    """Seconds in which a workload did not hold what it wanted, see `short_s`; two workloads count twice."""
    reaction_p50_s: float | None
    """See `lab.summary.reactions`; None where no step needed memory."""
    reaction_p95_s: float | None
    swapped_in_mib: float
    swapped_out_mib: float
    swapped_out_gib_h: float
    """The same, MiB a GiB-hour of what the guests had: turns of any size and length compare."""
    operations_s: float
    """What the workloads did in their memory, a second."""
    killed: int
    """By guests' OOM killers, and guests that panicked."""
    moves: int
    """Orders to QEMU that changed a balloon's size."""
    moved_gib: float
    """Counted where it arrived."""
    over_budget_percent: float
    """What the balloons together were larger than the budget, mean over time, of the budget."""
    cpu_percent: float
    """Of a core, that the controller's process took."""
    memory_mib: float
    """Its resident memory at the end."""

    def entry(self) -> dict[str, float | None]:
        """For programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen in a turn from one moment to another: by an onlooker, the guests and the kernel."""

    seconds: float
    start: float
    """Of the host's monotonic clock, as events and tracks have it."""
    tracks: Sequence[Track]
    """From `start` on; what workloads wanted may be older."""
    events: Sequence[Sequence[GuestEvent]]
    """By guest, since its boot."""
    before: Sequence[Evidence]
    after: Sequence[Evidence]
    moves: int
    cpu_s: float
    memory_mib: float


def measured(seen: Observed, budget_mib: float) -> Measures:
    """The figures of a turn."""
    end = seen.start + seen.seconds
    tracks = [_since(track, seen.start) for track in seen.tracks]
    waits = [each for track in tracks for each in reactions(track)]
    swapped_out = _grown(seen, "swapped_out_pages") / PAGES_PER_MIB
    had = _had_mib(tracks) / MIB_PER_GIB * seen.seconds / HOUR_S
    return Measures(
        short_s=round(sum(short_s(events, seen.start, end) for events in seen.events), 2),
        reaction_p50_s=percentile(waits, 50),
        reaction_p95_s=percentile(waits, 95),
        swapped_in_mib=_grown(seen, "swapped_in_pages") / PAGES_PER_MIB,
        swapped_out_mib=swapped_out,
        swapped_out_gib_h=round(swapped_out / had, 1),
        operations_s=_grown(seen, "operations") / seen.seconds,
        killed=_grown(seen, "oom_kills") + _grown(seen, "panics"),
        moves=seen.moves,
        moved_gib=sum(map(moved_mib, tracks)) / MIB_PER_GIB,
        over_budget_percent=100 * _had_mib(tracks, budget_mib) / budget_mib,
        cpu_percent=100 * seen.cpu_s / seen.seconds,
        memory_mib=seen.memory_mib,
    )


def short_s(events: Iterable[GuestEvent], start: float, end: float) -> float:
    """Seconds from `start` to `end` in which a workload did not hold what it wanted, by its agent's events.

    It wants more until it has touched all of it without a major fault, and again from the beginning of a pass that
    met some; a killed workload wants what it wanted until it has it again. Wanting less is granted at once, and a time
    without any fault is what touching takes where memory is there.
    """
    found, since, amount = 0.0, inf, 0
    hurt = killed = False
    for event in events:
        if event.word == "want":
            if event.values[1] > amount:
                since = min(since, event.at)
            amount = event.values[1]
            killed = killed and amount == 0
        elif event.word == "lost":
            since, hurt = min(since, event.at - event.values[2] / 1000), True
        elif event.word == "oom":
            since, amount, hurt, killed = min(since, event.at), 0, True, True
        elif event.word == "held" and not killed:
            if hurt or event.values[2] > 0:
                found += _overlap(since, event.at, start, end)
            since, hurt = inf, False
    return found + _overlap(since, end, start, end)


def moves(given: Sequence[Order], since: float) -> int:
    """Orders from `since` (seconds since the epoch) on that told a balloon another size than the one before."""
    begun = sum(order.at < since for order in given)
    return len(given) - begun - doubled(given[max(begun - 1, 0) :])


def _overlap(begin: float, finish: float, start: float, end: float) -> float:
    return max(min(finish, end) - max(begin, start), 0.0)


def _since(track: Track, start: float) -> Track:
    """Without what its workload wanted before, but for the last of it: a step is one from there."""
    old = [want for want in track.wants if want[0] < start]
    new = [want for want in track.wants if want[0] >= start]
    return replace(track, wants=[(start, amount) for _, amount in old[-1:]] + new)


def _had_mib(tracks: Sequence[Track], beyond: float = 0.0) -> float:
    """By all guests together, more than `beyond`; mean over time."""
    had = together(tracks)
    return sum(seconds * max(mib - beyond, 0.0) for seconds, mib in had) / sum(seconds for seconds, _ in had)


def _grown(seen: Observed, counter: str) -> int:
    """Of all guests; one that panicked tells nothing of it any more."""
    pairs = zip(seen.before, seen.after, strict=True)
    return sum(max(getattr(after, counter) - getattr(before, counter), 0) for before, after in pairs)


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean, and half its 95 % confidence interval by Student's t; infinite with a single value."""

    mean: float
    half: float


def estimate(values: Sequence[float]) -> MeanEstimate:
    """Of at least one and at most MOST_ROUNDS values."""
    if len(values) == 1:
        return MeanEstimate(values[0], inf)
    return MeanEstimate(fmean(values), STUDENT_95[len(values) - 2] * stdev(values) / sqrt(len(values)))


def estimates(turns: Sequence[Measures]) -> dict[str, MeanEstimate | None]:
    """Every figure of one cast under one controller; None where no turn has it."""
    entries = [turn.entry() for turn in turns]
    found: dict[str, MeanEstimate | None] = {}
    for name in entries[0]:
        values = [value for entry in entries if (value := entry[name]) is not None]
        found[name] = estimate(values) if values else None
    return found

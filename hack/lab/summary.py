"""The demo's figures, from guests and an independent connection; only its counters are Ballast's own."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from lab.guest import Evidence
from lab.sampling import Track

STEP_MIB = 32.0
"""What a workload wants rising by this much at once is a step: the policy's smallest threshold."""


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """`--json` writes exactly these."""

    guests: int
    moved_mib: int
    """Memory that arrived in guests, each MiB counted where it arrived only."""
    reallocations: int
    looks: int
    fixed_looks: int
    """Looks that a fixed interval, the policy's minimum, would have taken in the same time."""
    oom_kills: int
    panics: int
    reaction_p95_s: float | None
    """See `reactions`; None when no step needed memory."""
    budget_exceeded_s: float
    """Seconds during which the balloons' actual sizes together exceeded the budget."""

    def as_json(self) -> dict[str, float | None]:
        """For `json.dump`."""
        return asdict(self)


def summarize(
    tracks: Sequence[Track],
    evidence: Sequence[Evidence],
    before: Mapping[str, int],
    after: Mapping[str, int],
    budget_mib: float,
) -> DemoSummary:
    """`before` and `after` are the `node` part of Ballast's `/state` when the workloads start and end."""
    return DemoSummary(
        guests=len(tracks),
        moved_mib=round(sum(moved_mib(track) for track in tracks)),
        reallocations=after["reallocations_total"] - before["reallocations_total"],
        looks=after["looks_total"] - before["looks_total"],
        fixed_looks=after["fixed_looks_total"] - before["fixed_looks_total"],
        oom_kills=sum(each.oom_kills for each in evidence),
        panics=sum(each.panics for each in evidence),
        reaction_p95_s=percentile([each for track in tracks for each in reactions(track)], 95),
        budget_exceeded_s=round(budget_exceeded_s(tracks, budget_mib), 1),
    )


def moved_mib(track: Track) -> float:
    """Sum of all growth of the allocation."""
    return sum(max(0.0, after - before) for before, after in pairwise(track.allocations))


def reactions(track: Track) -> list[float]:
    """Seconds from each step of the workload until the guest had what it wanted.

    A step is a rise by STEP_MIB or more at once, to more than the guest's allocation at that moment: others
    need nobody's reaction. It is answered when the allocation is at least what is wanted (idle demand
    included) and the workload has touched all its memory in one pass without a major fault, so nothing of it
    waits in swap. A step that was never answered counts with all the time it lasted; only the end of the demo
    may cut one off.
    """
    found = []
    for (_, was), (at, wanted) in pairwise(track.wants):
        if wanted - was < STEP_MIB or _allocation_at(track, at) >= wanted:
            continue
        ends = [when for when, _ in track.wants if when > at] or [float("inf")]
        held = [when for when, amount in track.held if at < when < ends[0] and amount == wanted]
        pairs = zip(track.times, track.allocations, strict=True)
        covered = [when for when, allocation in pairs if at < when < ends[0] and allocation >= wanted]
        if held and covered:
            found.append(max(held[0], covered[0]) - at)
        elif ends[0] < float("inf"):
            found.append(ends[0] - at)
    return found


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Nearest-rank percentile, to a hundredth: the smallest value that `percent` % of all do not exceed."""
    if not values:
        return None
    rank = -(-percent * len(values) // 100)
    return round(sorted(values)[max(rank, 1) - 1], 2)


def budget_exceeded_s(tracks: Sequence[Track], budget_mib: float) -> float:
    """Seconds in which the guests had more than the budget together."""
    return sum(seconds for seconds, mib in together(tracks) if mib > budget_mib)


def together(tracks: Sequence[Track]) -> list[tuple[float, float]]:
    """Seconds from each sample to the next, and MiB that the guests had together in that time.

    libvirt answers for one guest after the other, and memory may go from one to another meanwhile: of each guest the
    smaller of the two sizes counts.
    """
    rows = list(zip(*(track.allocations for track in tracks), strict=True))
    spans = [after - before for before, after in pairwise(tracks[0].times)] if tracks else []
    return [(span, sum(map(min, *two))) for span, two in zip(spans, pairwise(rows), strict=True)]


def _allocation_at(track: Track, at: float) -> float:
    known = [allocation for when, allocation in zip(track.times, track.allocations, strict=True) if when <= at]
    return known[-1] if known else float(track.allocations[0])

"""What all results together say of a candidate. Harm is a fraction of demand."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from statistics import median
from typing import Any

import numpy as np

from controller.replay.controllers import PROBE, fixed_looks
from worlds.evaluation import WorldResult

PEERS = ("mom", "proxmox", "qmemman")
"""Who look at guests and mind the host. The best is another one in each world."""

FLOOR = 1e-5
"""Harm below this counts as this in ratios: of two that nobody notices neither is better."""

NOTICED = 1e-4
"""The same where it is asked who is worse, and by how much at worst."""

ALIKE = 1.001
"""Ratio up to which one is no worse than the other."""

FINE_S = 5.0
"""Seconds between samples up to which a world tells something about when to look."""

MANY_MOVES = 1.2
"""Times the probe's moves from which they are too many,"""
FEW_MOVES = 0.01
"""and a domain-hour more, that worlds without moves count for nothing."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Harm beside another's, over some worlds."""

    no_worse: float
    """Part of the worlds."""
    geometric_mean: float
    """Of the ratio."""
    worst: float
    """The largest ratio."""

    @classmethod
    def of(cls, harms: Iterable[tuple[float, float]]) -> "Comparison":
        """`harms`: one's and the other's, at least one pair."""
        pairs = list(harms)
        noticed = [ratio(ours, theirs, NOTICED) for ours, theirs in pairs]
        return cls(
            no_worse=sum(each <= ALIKE for each in noticed) / len(noticed),
            geometric_mean=_geometric_mean([ratio(ours, theirs) for ours, theirs in pairs]),
            worst=max(noticed),
        )

    def entry(self) -> dict[str, float]:
        """For programs."""
        return {"no_worse": self.no_worse, "geometric_mean": self.geometric_mean, "worst": self.worst}


@dataclass(frozen=True, slots=True)
class Looks:
    """Beside fixed looks, in worlds of FINE_S."""

    part: float
    """Of their number, mean over worlds."""
    harm_geometric_mean: float
    """Of the harm over theirs."""
    harm_worst: float

    def entry(self) -> dict[str, float]:
        """For programs."""
        return {
            "of_fixed": self.part,
            "harm_of_fixed": self.harm_geometric_mean,
            "harm_of_fixed_worst": self.harm_worst,
        }


@dataclass(frozen=True, slots=True)
class CandidateSummary:
    """One candidate over all worlds."""

    label: str
    worlds: int
    peers: Comparison
    """Beside the best of the PEERS in each world."""
    probe: Comparison
    moves_median: float
    """Reallocations a domain-hour."""
    moves_p95: float
    many_moves: float
    """Part of the worlds with more than MANY_MOVES of the probe's."""
    looks: Looks | None
    """None where no fixed looks were replayed, and for whom they are not."""
    seconds: float
    """All replays together."""

    def entry(self) -> dict[str, Any]:
        """For programs."""
        return {
            "controller": self.label,
            "worlds": self.worlds,
            "best_peer": self.peers.entry(),
            "probe": self.probe.entry(),
            "moves_median": self.moves_median,
            "moves_p95": self.moves_p95,
            "more_moves_than_probe": self.many_moves,
            "looks": self.looks and self.looks.entry(),
            "seconds": self.seconds,
        }


def ratio(ours: float, theirs: float, floor: float = FLOOR) -> float:
    """Of two harms, neither taken for less than `floor`."""
    return max(ours, floor) / max(theirs, floor)


def harms(result: WorldResult) -> Mapping[str, float]:
    """By label."""
    return {label: score.figures.harm for label, score in result.replays.items()}


def best_peer(result: WorldResult) -> str:
    """The peer with the least harm; the first of several below the floor."""
    found = harms(result)
    return min(PEERS, key=lambda name: max(found[name], FLOOR))


def summary(label: str, results: Sequence[WorldResult], ours: bool) -> CandidateSummary:
    """`ours`: looks are measured against fixed ones. At least one result, in each of them PEERS and the probe."""
    moves = [_moves(result, label) for result in results]
    most = [MANY_MOVES * _moves(result, PROBE) + FEW_MOVES for result in results]
    return CandidateSummary(
        label,
        len(results),
        Comparison.of((harms(result)[label], harms(result)[best_peer(result)]) for result in results),
        Comparison.of((harms(result)[label], harms(result)[PROBE]) for result in results),
        median(moves),
        float(np.percentile(moves, 95)),
        sum(here > limit for here, limit in zip(moves, most, strict=True)) / len(results),
        _looks(label, results) if ours else None,
        sum(result.replays[label].seconds for result in results),
    )


def looks_of_fixed(result: WorldResult, label: str) -> float:
    """Part of the looks of fixed intervals; infinite where those are none."""
    mine, fixed = (result.replays[name].figures.looks_per_domain_hour for name in (label, fixed_looks(label)))
    return mine / fixed if fixed else inf


def _looks(label: str, results: Sequence[WorldResult]) -> Looks | None:
    fixed = fixed_looks(label)
    fine = [result for result in results if result.step_s <= FINE_S and fixed in result.replays]
    if not fine:
        return None
    ratios = [ratio(harms(result)[label], harms(result)[fixed]) for result in fine]
    part = sum(looks_of_fixed(result, label) for result in fine) / len(fine)
    return Looks(part, _geometric_mean(ratios), max(ratios))


def _moves(result: WorldResult, label: str) -> float:
    return result.replays[label].figures.reallocations_per_domain_hour


def _geometric_mean(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values))

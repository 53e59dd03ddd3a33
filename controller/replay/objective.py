"""What one policy gains over another, from what both did to the same pieces of traces.

Harm counts first. Moves and looks count little, at a fixed rate of exchange, and only as far as harm hardly rises.
Slack is no cost, but it protects: harm comes in rare events, and calm pieces show little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from controller.replay.score import ReplayFigures

HARM_FLOOR = 1e-4
"""Fraction of demand: harm well below 0.01 % is nobody's trouble, so that a fall of it from next to nothing to half of
that is no gain."""

MOVES_FLOOR = 0.1
"""Per domain-hour, likewise: a move in ten hours."""

LOOKS_FLOOR = 1.0
"""Per domain-hour, likewise."""

MOVES_EXPONENT = 0.15
"""Half the moves are worth a tenth of harm: 0.5 ** 0.15 = 0.90."""

LOOKS_EXPONENT = 0.075
"""Half the looks are worth a twentieth of harm: 0.5 ** 0.075 = 0.95. They cost the host less than moves the guests."""

CLEARLY = 0.95
"""Part of the burden that must be left at most for a gain: less than 5 % may be chance."""

HARM_LIMIT = 1.05
"""Factor by which harm may rise, however much moves and looks fall."""

WORST_LIMIT = 1.10
"""Factor by which the worst domain's shortfall may rise: no domain pays for the others."""

WORST_FLOOR = 1e-3
"""Fraction of a domain's demand; as HARM_FLOOR, wider since one domain is more chance than all together."""

SLACK_LIMIT = 0.9
"""Factor below which slack must not fall: it is what guests have left for what the trace did not happen to show."""

WORTH_SLACK = 0.75
"""Part of harm that is left at most where slack may fall further, as when memory is moved to who needs it."""


@dataclass(frozen=True, slots=True)
class PieceOutcome:
    """A policy's figures on one piece of a trace, and how much they weigh beside those of other pieces."""

    figures: ReplayFigures
    need_mib_s: float
    """Integral of demand: what fractions are of."""
    domain_hours: float
    """What moves and looks are counted over."""


def pooled(outcomes: Sequence[PieceOutcome]) -> ReplayFigures:
    """Figures of several pieces together, as of one trace; the worst domain is the worst of any piece."""
    need = sum(one.need_mib_s for one in outcomes)
    hours = sum(one.domain_hours for one in outcomes)

    def of_demand(name: str) -> float:
        return float(sum(getattr(one.figures, name) * one.need_mib_s for one in outcomes) / need)

    def an_hour(name: str) -> float:
        return float(sum(getattr(one.figures, name) * one.domain_hours for one in outcomes) / hours)

    return ReplayFigures(
        shortfall=of_demand("shortfall"),
        overcommit=of_demand("overcommit"),
        slack=of_demand("slack"),
        worst_domain_shortfall=max(one.figures.worst_domain_shortfall for one in outcomes),
        reallocations_per_domain_hour=an_hour("reallocations_per_domain_hour"),
        looks_per_domain_hour=an_hour("looks_per_domain_hour"),
    )


def cost(figures: ReplayFigures) -> float:
    """One number to compare policies by, less is better: harm, times small powers of moves and looks."""
    moves: float = (figures.reallocations_per_domain_hour + MOVES_FLOOR) ** MOVES_EXPONENT
    looks: float = (figures.looks_per_domain_hour + LOOKS_FLOOR) ** LOOKS_EXPONENT
    return (figures.harm + HARM_FLOOR) * moves * looks


def gains(candidate: Sequence[PieceOutcome], reference: Sequence[PieceOutcome]) -> bool:
    """The burden falls clearly over all pieces together, and on more than half of them. Both on the same pieces."""
    falls = cost(pooled(candidate)) <= CLEARLY * cost(pooled(reference))
    return falls and 2 * lighter(candidate, reference) > len(candidate)


def lighter(candidate: Sequence[PieceOutcome], reference: Sequence[PieceOutcome]) -> int:
    """On how many pieces the candidate's burden is less."""
    pairs = zip(candidate, reference, strict=True)
    return sum(cost(ours.figures) < cost(theirs.figures) for ours, theirs in pairs)


def bearable(candidate: Sequence[PieceOutcome], start: Sequence[PieceOutcome]) -> bool:
    """Over all pieces together neither harm nor the worst domain's shortfall rises by more than its limit, and slack
    is not given up for nothing: calm while it was recorded does not show that guests can do without.
    """
    ours, theirs = pooled(candidate), pooled(start)
    harm = (ours.harm + HARM_FLOOR) / (theirs.harm + HARM_FLOOR)
    worst = (ours.worst_domain_shortfall + WORST_FLOOR) / (theirs.worst_domain_shortfall + WORST_FLOOR)
    kept = ours.slack >= SLACK_LIMIT * theirs.slack or harm <= WORTH_SLACK
    return harm <= HARM_LIMIT and worst <= WORST_LIMIT and kept

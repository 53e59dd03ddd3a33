"""What the gauntlet prints: a line a world, and one table."""

from collections.abc import Sequence

from rich.table import Table

from controller.cli.scores import table
from controller.replay.controllers import OURS, PROBE, fixed_looks
from worlds.evaluation import WorldResult
from worlds.summary import CandidateSummary, Comparison, Looks, best_peer, harms, looks_of_fixed

COLUMNS = (
    *("PEER\nOK %", "\nMEAN", "\nWORST"),
    *("PROBE\nOK %", "\nMEAN", "\nWORST"),
    *("MOVES\n/h", "\nP95", "MANY\n%"),
    *("LOOKS\n%", "\nHARM", "\nWORST"),
    "\ns",
)

LEGEND = (
    "PEER, PROBE: worlds in which harm is no worse than theirs, geometric mean and worst of the ratio. MOVES a "
    "domain-hour: median and 95th percentile of worlds; MANY: worlds with a fifth more than the probe. LOOKS, in "
    "worlds of steps up to 5 s: part of fixed ones, harm over theirs, at worst. Seconds of all replays."
)


def line(result: WorldResult, label: str) -> str:
    """One world under the candidate called `label`."""
    found, best = harms(result), best_peer(result)
    harm = ", ".join(f"{name} {100 * found[name]:.4f}" for name in (label, best, PROBE))
    moves = "/".join(
        _short(result.replays[name].figures.reallocations_per_domain_hour) for name in (label, best, PROBE)
    )
    text = (
        f"{result.seed:3d} {result.family:16s} {result.guests:2d} guests {result.step_s:3g} s  "
        f"harm % {harm}  moves {moves}"
    )
    if fixed_looks(label) in found and label.startswith(OURS):
        text += f"  looks {100 * looks_of_fixed(result, label):.0f} %"
    return text


def summary_table(summaries: Sequence[CandidateSummary]) -> Table:
    """A row a candidate; LEGEND says what stands in it."""
    found = table("", "CONTROLLER", COLUMNS)
    for one in summaries:
        found.add_row(
            one.label,
            *_compared(one.peers),
            *_compared(one.probe),
            _short(one.moves_median),
            _short(one.moves_p95),
            f"{100 * one.many_moves:.0f}",
            *_looks(one.looks),
            f"{one.seconds:.0f}",
            style="bold" if one.label == OURS else "",
        )
    return found


def _compared(one: Comparison) -> tuple[str, ...]:
    return _short(100 * one.no_worse), _short(one.geometric_mean), _short(one.worst)


def _looks(one: Looks | None) -> tuple[str, ...]:
    if one is None:
        return "", "", ""
    return f"{100 * one.part:.0f}", _short(one.harm_geometric_mean), _short(one.harm_worst)


def _short(value: float) -> str:
    """Three digits, or all before the point."""
    decimals = sum(value < bound for bound in (0.9995, 9.995, 99.95))
    return f"{value:.{decimals}f}"

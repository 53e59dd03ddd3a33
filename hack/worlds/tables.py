"""What the gauntlet prints: a line a world, and one table."""

from collections.abc import Sequence

from rich.table import Table

from controller.cli.scores import table
from controller.replay.controllers import FIXED, OURS, PROBE
from worlds.evaluation import WorldResult
from worlds.summary import Comparison, Looks, Summary, best_peer, harms, looks_of_fixed, ratio

COLUMNS = (
    "<= PEER %",
    "MEAN",
    "WORST",
    "<= PROBE %",
    "MEAN",
    "WORST",
    "MOVES/h",
    "P95",
    "> PROBE %",
    "LOOKS %",
    "HARM",
    "WORST",
    "s",
)

LEGEND = (
    "Worlds in which harm is no worse than the best peer's, geometric mean and worst of the ratio; the same for the "
    "probe. Moves a domain-hour: median and 95th percentile of worlds, and worlds with a fifth more than the probe. "
    "Worlds of steps up to 5 s: looks of fixed ones, harm over theirs, at worst. Seconds of all replays."
)


def line(result: WorldResult, label: str) -> str:
    """One world under the candidate called `label`."""
    found, best = harms(result), best_peer(result)
    moves = {name: result.replays[name].figures.reallocations_per_domain_hour for name in (label, best, PROBE)}
    text = (
        f"{result.seed:3d} {result.family:16s} {result.guests:2d} guests {result.step_s:3g} s  "
        f"max/peak {result.maximum_to_peak:4.1f}  host/peak {result.host_to_peak:.2f}  "
        f"harm {100 * found[label]:8.4f} %  "
        f"{best:8s}{100 * found[best]:8.4f} %: {ratio(found[label], found[best]):8.3f}  "
        f"{PROBE} {100 * found[PROBE]:8.4f} %: {ratio(found[label], found[PROBE]):8.3f}  "
        f"moves {moves[label]:7.1f} ({best} {moves[best]:.0f}, {PROBE} {moves[PROBE]:.1f})"
    )
    if FIXED in found and label.startswith(OURS):
        fixed = ratio(found[label], found[FIXED])
        text += f"  looks {100 * looks_of_fixed(result, label):3.0f} % at {fixed:5.2f} x fixed"
    return text


def summary_table(summaries: Sequence[Summary]) -> Table:
    """A row a candidate; LEGEND says what stands in it."""
    found = table("", "CONTROLLER", COLUMNS)
    for one in summaries:
        found.add_row(
            one.label,
            *_compared(one.peers),
            *_compared(one.probe),
            f"{one.moves_median:.1f}",
            f"{one.moves_p95:.1f}",
            f"{100 * one.many_moves:.0f}",
            *_looks(one.looks),
            f"{one.seconds:.0f}",
            style="bold" if one.label == OURS else "",
        )
    return found


def _compared(one: Comparison) -> tuple[str, ...]:
    return f"{100 * one.no_worse:.1f}", f"{one.geometric_mean:.3f}", f"{one.worst:.2f}"


def _looks(one: Looks | None) -> tuple[str, ...]:
    if one is None:
        return "", "", ""
    return f"{100 * one.part:.0f}", f"{one.harm_geometric_mean:.3f}", f"{one.harm_worst:.2f}"

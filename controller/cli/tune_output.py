"""What `ballast tune` has found: as a policy to apply, a table, a document."""

from collections.abc import Iterator, Sequence
from typing import Any

from controller import __version__
from controller.api.policy import MemoryPolicy
from controller.api.printable import printable
from controller.cli.output import document, terminal
from controller.cli.scores import COLUMNS, cells, table
from controller.replay.holdout import Piece, Split
from controller.replay.objective import bearable, cost, lighter, pooled
from controller.replay.proposals import current
from controller.replay.tune import TuningPart, TuningResult

SERVERS_OWN = ("uid", "generation")
"""Metadata that the API server gives to a stored policy; what is applied has none."""


def manifest(tuning: TuningResult, splits: Sequence[Split]) -> str:
    """The policy as YAML, with where it comes from in comments."""
    facts = [
        f"From `ballast tune` {__version__}. {verdict(tuning)}",
        *_extents(splits),
        *(_figures(tuning.held_out) if tuning.changes else ()),
        *_changes(tuning),
    ]
    return "\n".join([*(f"# {printable(fact)}" for fact in facts), document(_data(tuning.policy), "yaml")])


def print_table(tuning: TuningResult, splits: Sequence[Split], on_standard_error: bool) -> None:
    """Figures of both policies on both parts, and what follows from them."""
    console = terminal(stderr=on_standard_error, soft_wrap=True)
    for extent in _extents(splits):
        console.print(printable(extent))
    figures = table("", "PART", ("POLICY", *COLUMNS))
    for title, part in (("chosen on", tuning.chosen_on), ("held out", tuning.held_out)):
        figures.add_row(title, "start", *cells(pooled(part.start)))
        if tuning.changes:
            figures.add_row("", "found", *cells(pooled(part.found)))
    console.print(figures)
    for change in _changes(tuning):
        console.print(printable(change))
    console.print(verdict(tuning))


def entry(tuning: TuningResult, splits: Sequence[Split]) -> dict[str, Any]:
    """Everything, for programs. Fractions of demand; hours; per domain-hour."""
    before = current(tuning.start, tuning.changes)
    return {
        "version": __version__,
        "proposed": tuning.holds,
        "verdict": verdict(tuning),
        "traces": [
            {
                "trace": split.source.path,
                "host_mib": split.host_mib,
                "chosen_on_hours": _hours(split.chosen_on),
                "held_out_hours": _hours(split.held_out),
            }
            for split in splits
        ],
        "changes": [
            {"field": f"spec.{field}", "start": before[field], "found": value}
            for field, value in tuning.changes.items()
        ],
        "chosen_on": _both(tuning.chosen_on),
        "held_out": _both(tuning.held_out),
        "policy": _data(tuning.policy),
    }


def verdict(tuning: TuningResult) -> str:
    """A sentence: proposed or not, and why."""
    if not tuning.changes:
        return "Nothing that was tried gains: the policy stays as it is."
    part = tuning.held_out
    change = 100 * (cost(pooled(part.found)) / cost(pooled(part.start)) - 1)
    less = f"burden (harm, with moves and looks weighed in) {change:+.0f} % on what was held out"
    where = f"less on {lighter(part.found, part.start)} of its {len(part.start)} pieces"
    if tuning.holds:
        return f"Proposed: {less}, {where}."
    harmful = "" if bearable(part.found, part.start) else "; guests would be worse off than is bearable"
    return f"Not proposed: {less}, {where}{harmful}. The policy stays as it is."


def _extents(splits: Sequence[Split]) -> Iterator[str]:
    """What each trace was used for."""
    for split in splits:
        trace = split.source.trace
        yield (
            f"{split.source.path}, host {split.host_mib:.0f} MiB: chosen on {_hours(split.chosen_on):.3g} h of the "
            f"first {(split.cut_s - trace.start) / 3600:.3g} h, judged on {_hours(split.held_out):.3g} h of the "
            f"last {(trace.end - split.cut_s) / 3600:.3g} h"
        )


def _figures(part: TuningPart) -> Iterator[str]:
    """Start against found, in two lines."""
    start, found = pooled(part.start), pooled(part.found)
    yield (
        f"Held out, start -> found: harm {100 * start.harm:.3f} -> {100 * found.harm:.3f} % of demand, worst domain's "
        f"{100 * start.worst_domain_shortfall:.3f} -> {100 * found.worst_domain_shortfall:.3f} %,"
    )
    yield (
        f"slack {100 * start.slack:.0f} -> {100 * found.slack:.0f} %, per domain-hour moves "
        f"{start.reallocations_per_domain_hour:.1f} -> {found.reallocations_per_domain_hour:.1f}, looks "
        f"{start.looks_per_domain_hour:.1f} -> {found.looks_per_domain_hour:.1f}"
    )


def _changes(tuning: TuningResult) -> Iterator[str]:
    before = current(tuning.start, tuning.changes)
    for field, value in tuning.changes.items():
        yield f"{'' if tuning.holds else 'refused: '}spec.{field}: {before[field]} -> {value}"


def _both(part: TuningPart) -> dict[str, Any]:
    return {
        "start": pooled(part.start).entry(),
        "found": pooled(part.found).entry(),
        "pieces": len(part.start),
        "pieces_with_less_burden": lighter(part.found, part.start),
    }


def _hours(pieces: Sequence[Piece]) -> float:
    return sum(piece.span_s for piece in pieces) / 3600


def _data(policy: MemoryPolicy) -> dict[str, Any]:
    """What the policy says itself, without what only a stored one has."""
    data = policy.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return data | {"metadata": {name: part for name, part in data["metadata"].items() if name not in SERVERS_OWN}}

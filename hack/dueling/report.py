"""A duel's results as a table, as JSON and in a sentence a cast."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Any

from rich.table import Table

from controller.replay.controllers import OURS
from dueling.measures import MeanEstimate, Measures, estimates

MAX = "max"
"""No peer but a bound: everybody has the maximum."""
KEPT_PERCENT = 1.0
"""Of the budget: by that much a peer may exceed it, where one balloon is there before another has gone, and still be
the best. One that gives away memory that the host does not have is no measure."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A cast under a controller, once."""

    cast: str
    controller: str
    round: int
    measures: Measures

    def entry(self) -> dict[str, Any]:
        """For programs."""
        names = {"cast": self.cast, "controller": self.controller, "round": self.round}
        return names | self.measures.entry()


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of `Measures`, for people."""

    field: str
    title: str
    digits: int = 0


COLUMNS = (
    Column("short_s", "short, s"),
    Column("reaction_p50_s", "reaction p50, s", 1),
    Column("reaction_p95_s", "p95, s", 1),
    Column("swapped_in_mib", "swapped in, MiB"),
    Column("swapped_out_mib", "out, MiB"),
    Column("swapped_out_gib_h", "out, MiB/GiB-h"),
    Column("operations_s", "operations/s"),
    Column("killed", "killed", 1),
    Column("moves", "moves"),
    Column("moved_gib", "moved, GiB", 1),
    Column("over_budget_percent", "over budget, %", 1),
    Column("cpu_percent", "CPU, %", 1),
    Column("memory_mib", "memory, MiB"),
)

SHORT, SWAPPED = ("short_s",), ("swapped_in_mib", "swapped_out_mib")
"""Figures that, added up, say who served the guests best."""

Standing = Mapping[str, Mapping[str, MeanEstimate | None]]
"""By controller and figure."""


def standing(turns: Iterable[Turn], cast: str) -> Standing:
    """What all rounds of a cast say together, in order of appearance of the controllers."""
    found: dict[str, list[Measures]] = {}
    for turn in turns:
        if turn.cast == cast:
            found.setdefault(turn.controller, []).append(turn.measures)
    return {controller: estimates(each) for controller, each in found.items()}


def table(title: str, found: Standing, order: Sequence[str]) -> Table:
    """A row a controller, in `order`."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False)
    drawn.add_column("")
    for column in COLUMNS:
        drawn.add_column(column.title, justify="right")
    for controller in order:
        if controller in found:
            drawn.add_row(controller, *(cell(found[controller][each.field], each.digits) for each in COLUMNS))
    return drawn


def cell(value: MeanEstimate | None, digits: int) -> str:
    """A mean and its interval's half."""
    if value is None:
        return "-"
    return f"{value.mean:.{digits}f}" + ("" if isinf(value.half) else f" ± {value.half:.{digits}f}")


def verdict(found: Standing) -> str:
    """Ballast beside whichever peer that kept the budget did best, figure by figure; empty where one is missing."""
    peers = {
        name: figures
        for name, figures in found.items()
        if name not in {OURS, MAX} and _mean(figures, "over_budget_percent") <= KEPT_PERCENT
    }
    if not peers or OURS not in found:
        return ""
    told = []
    for what, unit, fields in (("short", "s", SHORT), ("swapped", "MiB", SWAPPED)):
        best = _best(peers, fields)
        ours, theirs = _sum(found[OURS], fields), _sum(peers[best], fields)
        beside = f"{ours / theirs:.2f} times as much as" if theirs else f"{ours:.1f} {unit}, nothing"
        told.append(f"{what} {beside} under {best}")
    best = _best(peers, SHORT)
    if moves := _mean(peers[best], "moves"):
        told.append(f"{_mean(found[OURS], 'moves') / moves:.2f} times the moves of {best}")
    return f"{OURS}: {', '.join(told)}"


def _best(peers: Standing, fields: Iterable[str]) -> str:
    return min(peers, key=lambda name: _sum(peers[name], fields))


def _sum(figures: Mapping[str, MeanEstimate | None], fields: Iterable[str]) -> float:
    return sum(_mean(figures, field) for field in fields)


def _mean(figures: Mapping[str, MeanEstimate | None], field: str) -> float:
    value = figures[field]
    return 0.0 if value is None else value.mean


def document(turns: Sequence[Turn], about: Mapping[str, Any]) -> dict[str, Any]:
    """For `json.dump`: `about` the run, every turn, and all rounds together (`half` None with a single round)."""
    casts = dict.fromkeys(turn.cast for turn in turns)
    return {
        **about,
        "turns": [turn.entry() for turn in turns],
        "together": {
            cast: {
                controller: {name: value and _plain(value) for name, value in figures.items()}
                for controller, figures in standing(turns, cast).items()
            }
            for cast in casts
        },
    }


def _plain(value: MeanEstimate) -> dict[str, float | None]:
    return {"mean": value.mean, "half": None if isinf(value.half) else value.half}

"""One picture: a row of panels a cast, a panel a figure, a bar a controller with its interval."""

from collections.abc import Mapping, Sequence
from math import isinf
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from controller.replay.controllers import OURS
from dueling.measures import MeanEstimate
from dueling.report import Standing

OURS_COLOUR, OTHERS_COLOUR = "#0072b2", "#bbbbbb"
SHOWN = {
    "short_s": "seconds short",
    "reaction_p95_s": "reaction p95, s",
    "swapped_in_mib": "swapped in, MiB",
    "swapped_out_mib": "swapped out, MiB",
    "operations_s": "operations a second",
    "moves": "moves",
    "over_budget_percent": "over budget, %",
}


def draw(standings: Mapping[str, Standing], order: Sequence[str], path: Path) -> None:
    """`standings`: by cast, at least one. Write a PNG. Raises OSError."""
    height = 0.6 + len(standings) * (0.7 + 0.25 * len(order))
    figure = Figure(figsize=(2.1 * len(SHOWN), height), layout="constrained")
    grid = figure.subplots(len(standings), len(SHOWN), squeeze=False)
    for row, (cast, found) in zip(grid, standings.items(), strict=True):
        names = [name for name in order if name in found]
        for axes, (field, title) in zip(row, SHOWN.items(), strict=True):
            _panel(axes, [found[name][field] for name in names], names)
            axes.set_title(title, loc="left", fontsize="small")
            axes.tick_params(labelleft=axes is row[0])
        row[0].set_ylabel(cast, fontweight="bold")
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _panel(axes: Axes, values: Sequence[MeanEstimate | None], names: Sequence[str]) -> None:
    means = [0.0 if value is None else value.mean for value in values]
    halves = [0.0 if value is None or isinf(value.half) else value.half for value in values]
    colours = [OURS_COLOUR if name == OURS else OTHERS_COLOUR for name in names]
    places = range(len(names))
    below = [min(half, mean) for half, mean in zip(halves, means, strict=True)]
    axes.barh(places, means, color=colours, xerr=(below, halves), error_kw={"linewidth": 0.8})
    for place, value in zip(places, values, strict=True):
        if value is None:
            axes.annotate("none", (0, place), (3, 0), textcoords="offset points", va="center", fontsize="small")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.tick_params(labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)

"""One picture: harm over the best peer's, world by world, a column a family."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from controller.replay.controllers import PROBE
from worlds.evaluation import WorldResult
from worlds.summary import best_peer, harms, ratio
from worlds.world import families

OURS_COLOUR, PROBE_COLOUR, GREY = "#0072b2", "#d55e00", "#999999"
ASIDE = 0.18
"""Of a column's width: how far the two stand from its middle."""
PIXELS_PER_INCH = 130


def draw(results: Sequence[WorldResult], label: str, path: Path) -> None:
    """`label`'s and the probe's ratios, to a PNG. The same results give the same bytes."""
    shown = [name for name in families() if any(result.family == name for result in results)]
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(max(0.5 * len(shown) + 1.5, 5), 4.5), dpi=PIXELS_PER_INCH, layout="constrained")
        axes = figure.subplots()
        axes.axhline(1, color=GREY, linewidth=0.8)
        drawn = {PROBE: (PROBE_COLOUR, ASIDE)} | {label: (OURS_COLOUR, -ASIDE)}
        for name, (colour, side) in drawn.items():
            places = [shown.index(result.family) + side for result in results]
            ratios = [ratio(harms(result)[name], harms(result)[best_peer(result)]) for result in results]
            axes.plot(places, ratios, "o", color=colour, alpha=0.6, markersize=4, markeredgewidth=0, label=name)
        axes.set(yscale="log", ylabel="harm over the best peer's (below 1: better)")
        axes.set_xticks(range(len(shown)), [name.replace("_", " ") for name in shown], rotation=45, ha="right")
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Software": None})

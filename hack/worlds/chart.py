"""One picture: who served the guests better, family by family; the best at the top."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from controller.replay.controllers import PROBE
from worlds.evaluation import WorldResult
from worlds.summary import NOTICED, best_peer, harms, ratio
from worlds.world import families

OURS_COLOUR, PROBE_COLOUR, WORSE_COLOUR, GREY = "#0072b2", "#d55e00", "#f6e3d9", "#999999"
ASIDE = 0.16
"""Of a row's height: how far the two stand from its middle."""
PIXELS_PER_INCH = 130
WIDTH, ROW, FRAME = 8.0, 0.21, 1.1
"""Inches: of the picture, a row's height, and what is above and below all rows."""


def draw(results: Sequence[WorldResult], label: str, path: Path) -> None:
    """`label`'s and the probe's ratios to the best peer, a dot a world, to a PNG. The same results give the same bytes.

    As in the table's WORST: harm that nobody notices makes no one worse, so what stands right of 1 was worse.
    """
    shown = _ranked(results, label)
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(WIDTH, ROW * len(shown) + FRAME), dpi=PIXELS_PER_INCH, layout="constrained")
        axes = figure.subplots()
        for name, colour, marker, side in ((PROBE, PROBE_COLOUR, "D", ASIDE), (label, OURS_COLOUR, "o", -ASIDE)):
            places = [shown.index(result.family) + side for result in results]
            ratios = [_ratio(result, name) for result in results]
            axes.plot(ratios, places, marker, color=colour, alpha=0.75, markersize=4.5, markeredgewidth=0, label=name)
        _dress(axes, shown, len(results))
        figure.savefig(path, metadata={"Software": None})


def _dress(axes: Axes, shown: Sequence[str], worlds: int) -> None:
    axes.set_xscale("log")
    left, right = axes.get_xlim()
    axes.set_xlim(min(left, 0.1), max(right, 10.0))
    axes.axvspan(1, axes.get_xlim()[1], color=WORSE_COLOUR, linewidth=0, zorder=0)
    axes.axvline(1, color=GREY, linewidth=0.8, zorder=1)
    axes.set(
        ylim=(len(shown) - 0.4, -0.6),
        xlabel=f"harm over the best peer's; less than {NOTICED:.2%} of demand counts as that",
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(shown)), [name.replace("_", " ") for name in shown])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.5)
    axes.set_title(f"{worlds} worlds: left of 1 guests fare better than under the best peer", fontsize=9, loc="left")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.995), ncols=2, borderaxespad=0)


def _ranked(results: Sequence[WorldResult], label: str) -> list[str]:
    """Families that there are results of: the one that is best off under `label` first."""
    worst = {
        name: max((_ratio(result, label) for result in results if result.family == name), default=None)
        for name in families()
    }
    return sorted((name for name in worst if worst[name] is not None), key=lambda name: worst[name] or 0.0)


def _ratio(result: WorldResult, label: str) -> float:
    return ratio(harms(result)[label], harms(result)[best_peer(result)], NOTICED)

"""The report's plots, each an SVG element as text."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from controller.api.printable import printable
from controller.engine.tables import Floats
from controller.replay.backtest import ReplayRun, base_mib
from controller.replay.controllers import BOUND, OURS
from controller.replay.score import ScoredReplay
from controller.replay.sweep import ENOUGH, Need
from controller.replay.trace import Trace

MOST_DOMAINS = 12
"""Panels; of more domains those with the largest shortfall are shown."""

COLUMNS = 3

BINS = 400
"""Points a curve is cut down to: more than the panel has pixels."""

LEAST_PERCENT = 1e-4
"""Harm in percent of demand below which the logarithmic axis ends: nobody would notice."""

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#999999"
_OTHERS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#8c6d31", "#7570b3")
"""Okabe and Ito's palette, which everybody can tell apart, and two more."""

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ballast",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
"""Text stays text, and the same figures give the same bytes."""


def harm(runs: Sequence[ReplayRun]) -> str:
    """Harm of every controller at every host size, in percent of demand."""
    figure, axes = _figure(9, 4.2)
    by_name: dict[str, list[ReplayRun]] = {}
    for run in runs:
        by_name.setdefault(run.controller, []).append(run)
    for number, (name, group) in enumerate(by_name.items()):
        sizes = [100 * run.host_mib / base_mib(run.source.trace) for run in group]
        values = [max(100 * run.figures.harm, LEAST_PERCENT) for run in group]
        axes.plot(sizes, values, marker="o", markersize=3, label=name, **_look_of(name, number))
    axes.axhline(100 * ENOUGH, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set(yscale="log", xlabel="host memory, % of the peak of demand", ylabel="harm, % of demand")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return _svg(figure)


def needs(found: Sequence[Need]) -> str:
    """Host memory each controller needs, in percent of the peak; none for those that no host serves."""
    figure, axes = _figure(9, 0.6 + 0.25 * len(found))
    places = np.arange(len(found))[::-1]
    axes.barh(places, [need.percent or 0 for need in found], color=[_colour(need.controller) for need in found])
    for place, need in zip(places.tolist(), found, strict=True):
        axes.annotate(f" {need.percent} %" if need.percent else " never", (need.percent or 0, place), va="center")
    axes.set_yticks(places, [need.controller for need in found])
    return _svg(figure)


def domains(trace: Trace, result: ScoredReplay) -> str:
    """Demand and allocation of each domain over time: the highest of each in every stretch of time."""
    rows = _worst(trace, result)
    lines = -(-len(rows) // COLUMNS)
    with rc_context(_SETTINGS):
        figure = Figure(figsize=(11, 0.5 + 1.7 * lines), layout="constrained")
        panels = figure.subplots(lines, COLUMNS, sharex=True, squeeze=False).ravel().tolist()
    edges = np.linspace(trace.start, trace.end, BINS + 1)
    hours = (edges - trace.start) / 3600
    for panel, row in zip(panels, rows, strict=False):
        series = trace.series[row]
        alive = (edges[:-1] >= series.times[0]) & (edges[:-1] < series.times[-1])
        demand = highest(series.times, series.demand, edges)
        given = highest(result.record.times[row], result.record.allocations[row], edges)
        panel.stairs(np.where(alive, given / 1024, np.nan), hours, color=_BLUE, baseline=None, label="allocation")
        panel.stairs(np.where(alive, demand / 1024, np.nan), hours, color=_ORANGE, baseline=None, label="demand")
        panel.set_title(printable(trace.domains[row]), fontsize=9, loc="left", parse_math=False)
        panel.set_ylim(bottom=0)
    for panel in panels[len(rows) :]:
        panel.set_axis_off()
    panels[0].legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("GiB")
    figure.supxlabel("hours", fontsize=9)
    return _svg(figure)


def looks(results: Mapping[str, ScoredReplay]) -> str:
    """How many looks per domain-hour come at which interval after the one before, per controller."""
    figure, axes = _figure(9, 3)
    waits = {name: _waits(result) for name, result in results.items()}
    longest = max(float(each.max(initial=1.0)) for each in waits.values())
    edges = np.geomspace(0.5, longest * 1.5, 40)
    for name, each in waits.items():
        result = results[name]
        total = result.figures.looks_per_domain_hour
        rates = np.histogram(each, edges)[0] * (total / max(len(each), 1))
        axes.stairs(rates, edges, fill=name == OURS, color=_colour(name), label=f"{name}: {total:.0f} looks/h")
    axes.set(xscale="log", xlabel="seconds since the domain's look before", ylabel="looks per domain-hour")
    axes.legend(frameon=False)
    return _svg(figure)


def highest(times: Floats, values: Floats, edges: Floats) -> Floats:
    """(k,) highest value in force in each of the k stretches between `edges`; values hold until the next."""
    starts = np.clip(np.searchsorted(times, edges[:-1], side="right") - 1, 0, None)
    ends = np.clip(np.searchsorted(times, edges[1:], side="left"), starts + 1, None)
    return np.array([values[start:end].max() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])


def _worst(trace: Trace, result: ScoredReplay) -> list[int]:
    """Rows of the domains to show, in the trace's order."""
    short = []
    for series, times, sizes in zip(trace.series, result.record.times, result.record.allocations, strict=True):
        held = sizes[np.searchsorted(times, series.times, side="right") - 1]
        short.append(float(np.maximum(series.demand - held, 0.0).sum()))
    return sorted(np.argsort(short)[::-1][:MOST_DOMAINS].tolist())


def _waits(result: ScoredReplay) -> Floats:
    """Seconds between looks at the same domain."""
    record = result.record
    order = np.lexsort((record.look_times, record.look_rows))
    rows, times = record.look_rows[order], record.look_times[order]
    waits: Floats = np.diff(times)[np.diff(rows) == 0]
    return waits


def _colour(name: str) -> str:
    return _BLUE if name == OURS else _GREY


def _look_of(name: str, number: int) -> dict[str, Any]:
    """How a controller's line is drawn: Ballast stands out, its variants are thin, the bound is dashed."""
    if name == OURS:
        return {"color": _BLUE, "linewidth": 2.5, "zorder": 3}
    if name == BOUND:
        return {"color": "black", "linewidth": 1, "linestyle": "--"}
    if name.startswith(OURS):
        return {"color": _BLUE, "linewidth": 0.8, "linestyle": (0, (1, 1 + number % 4)), "alpha": 0.7}
    return {"color": _OTHERS[number % len(_OTHERS)], "linewidth": 1.2}


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    with rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
    return figure, axes


def _svg(figure: Figure) -> str:
    text = StringIO()
    with rc_context(_SETTINGS):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]

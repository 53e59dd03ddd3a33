"""The demo's picture: demand and allocation of every guest over time, and their sums against the budget."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.sampling import Track

DEMAND, ALLOCATION, LIMIT = "#9ecae1", "#08519c", "#d95f02"
"""Told apart in grey and by people who see fewer colours, too."""


def draw(tracks: Sequence[Track], start: float, budget_mib: float, path: Path) -> None:
    """Write a PNG; `start` (the host's monotonic clock) becomes second 0. Raises OSError."""
    figure = Figure(figsize=(12, 3.2 * (len(tracks) // 2 + 1)), layout="constrained")
    grid = figure.subplots(len(tracks) // 2 + 1, 2, sharex=True).flatten()
    for axes, track in zip(grid, tracks, strict=False):
        _guest(axes, track, start)
    _sums(grid[len(tracks)], tracks, start, budget_mib)
    for axes in grid[len(tracks) + 1 :]:
        axes.remove()
    for axes in grid[len(tracks) - 1 : len(tracks) + 1]:
        axes.set_xlabel("seconds")
    figure.savefig(path, format="png", dpi=110)


def _guest(axes: Axes, track: Track, start: float) -> None:
    times = [at - start for at in track.times]
    axes.fill_between(times, track.demands(), step="post", color=DEMAND, label="demand the guest reports")
    wants = [*track.wants, (track.times[-1], track.wants[-1][1])]
    axes.step(
        [at - start for at, _ in wants],
        [mib for _, mib in wants],
        where="post",
        color="black",
        linewidth=0.8,
        linestyle=":",
        label="what its workload wants",
    )
    axes.step(times, track.allocations, where="post", color=ALLOCATION, linewidth=1.6, label="allocation")
    axes.axhline(track.maximum, color=LIMIT, linewidth=0.8, linestyle="--", label="maximum")
    _finish(axes, track.name, track.maximum)


def _sums(axes: Axes, tracks: Sequence[Track], start: float, budget_mib: float) -> None:
    times = [at - start for at in tracks[0].times]
    maximum = sum(track.maximum for track in tracks)
    demands = [sum(row) for row in zip(*(track.demands() for track in tracks), strict=False)]
    allocations = [sum(row) for row in zip(*(track.allocations for track in tracks), strict=False)]
    times = times[: len(demands)]
    axes.fill_between(times, demands, step="post", color=DEMAND, label="demand")
    axes.step(times, allocations, where="post", color=ALLOCATION, linewidth=1.6, label="allocation")
    axes.axhline(budget_mib, color=LIMIT, linewidth=1.6, label=f"budget {budget_mib:g} MiB")
    axes.axhline(maximum, color=LIMIT, linewidth=0.8, linestyle="--", label=f"maxima {maximum} MiB")
    _finish(axes, "all guests together", maximum)


def _finish(axes: Axes, title: str, maximum: float) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_ylabel("MiB")
    axes.set_ylim(0, maximum * 1.3)
    axes.legend(loc="upper right", fontsize="x-small", ncols=2, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)

"""A guest's life under Ballast: demand, forecast, dead band, moves and looks, from a replay of the engine itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from controller.api.documents import load
from controller.api.policy import MemoryPolicy
from controller.engine.known import bounds
from controller.engine.reasons import Reason
from controller.replay.ballast import MIB, MONOTONIC_START, ReplayedBallast
from controller.replay.run import replay
from controller.replay.score import ScoredReplay
from controller.replay.trace import Series, Trace
from controller.replay.world import SimulatedHost

POLICY = """
apiVersion: ballast.dev/v1alpha1
kind: MemoryPolicy
metadata: {name: picture}
spec:
  mode: Enforce
  spare: Reclaim
  headroom: {percent: 20}
  advanced:
    shrink: {stabilizationSeconds: 60}
    monitoring: {maximumIntervalSeconds: 15}
    stability: {windowSeconds: 60}
"""
"""Reclaim, so that what is seen is the guest's own need; short windows, so that a quarter of an hour shows it all."""

HOST_MIB = 6144.0
"""Enough for all: what is seen is nobody else's doing."""
MAXIMUM_MIB = 2048.0
GUEST, NEIGHBOUR = "web", "other"
WORKLOAD = (
    *((0, 420), (200, 420), (380, 900), (520, 900)),
    *((520, 1400), (600, 1400), (600, 500), (900, 500)),
)
"""(second, MiB): at rest, a ramp, a step that nobody could foresee, and rest again."""
PHASES = (0.0, 200.0, 520.0, 600.0)
"""Seconds at which they begin: at rest, the ramp, the step, and rest again."""
WOBBLE_MIB = 6.0
"""No guest's demand stands still."""

DEMAND, ALLOCATION, FORECAST, BAND = "#9ecae1", "#08519c", "#b35900", "#d0d7de"
"""Told apart in grey and by people who see fewer colours, too."""


@dataclass(frozen=True, slots=True)
class Move:
    """A change of the allocation, MiB, and why."""

    at: float
    before: float
    after: float
    reason: Reason


@dataclass(slots=True)
class Diary:
    """What the engine knew of one guest after each step. Seconds of the trace, MiB."""

    times: list[float] = field(default_factory=list)
    forecast: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    allocation: list[float] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GuestLife:
    """A replay, and the diary of its first guest."""

    trace: Trace
    result: ScoredReplay
    diary: Diary

    def moves_by_phase(self) -> list[list[Move]]:
        """The guest's moves in each of PHASES."""
        ends = (*PHASES[1:], float("inf"))
        return [
            [move for move in self.diary.moves if begin <= move.at < end]
            for begin, end in zip(PHASES, ends, strict=True)
        ]


class DiaryBallast(ReplayedBallast):
    """Ballast that keeps a diary of one guest."""

    def __init__(self, policy: MemoryPolicy, guest: str) -> None:
        super().__init__(policy)
        self.diary = Diary()
        self._guest = guest

    def act(self, world: SimulatedHost) -> None:
        """A step, and an entry about it."""
        super().act(world)
        state, diary = self.state, self.diary
        row = state.inventory.index[self._guest]
        now = world.now + MONOTONIC_START
        diary.times.append(world.now)
        diary.forecast.append(state.estimate.forecast[row] / MIB)
        diary.upper.append(state.estimate.upper[row] / MIB)
        diary.threshold.append(bounds(state.inventory, state.observation).threshold[row] / MIB)
        diary.allocation.append(state.observation.allocation[row] / MIB)
        if state.balloon.last_at[row] == now:
            before, after = float(state.balloon.last_from[row] / MIB), float(state.balloon.last_to[row] / MIB)
            diary.moves.append(Move(world.now, before, after, Reason(int(state.balloon.last_reason[row]))))


def live() -> GuestLife:
    """A quarter of an hour of a guest beside another one, replayed. The same each time."""
    trace = Trace((GUEST, NEIGHBOUR), (_series(WORKLOAD), _series(((0, 800), (900, 800)))))
    (policy,) = load(POLICY, "picture").policies
    watched = DiaryBallast(policy, GUEST)
    return GuestLife(trace, replay(trace, watched, HOST_MIB), watched.diary)


def _series(points: Sequence[tuple[float, float]]) -> Series:
    times = np.arange(points[-1][0] + 1.0)
    demand = np.interp(times, *np.array(points, dtype=np.float64).T)
    demand += WOBBLE_MIB * np.sin(times / 7.0)
    return Series(times, demand, np.full(len(times), MAXIMUM_MIB))


def draw(life: GuestLife, path: Path) -> None:
    """Write a PNG. Raises OSError."""
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    _memory(above, life)
    _looks(below, life)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _memory(axes: Axes, life: GuestLife) -> None:
    guest, diary, record = life.trace.series[0], life.diary, life.result.record
    axes.fill_between(guest.times / 60, guest.demand, step="post", color=DEMAND, label="demand")
    times, sizes = np.array(diary.times) / 60, np.array(diary.allocation)
    band = np.array(diary.threshold)
    axes.fill_between(times, sizes - band, sizes + band, step="post", color=BAND, alpha=0.55, label="dead band")
    axes.step(times, diary.upper, where="post", color=FORECAST, linewidth=1.2, label="upper forecast")
    axes.step(times, diary.forecast, where="post", color=FORECAST, linewidth=1, linestyle=":", label="forecast")
    changes = np.append(record.times[0], guest.times[-1]) / 60
    steps = np.append(record.allocations[0], record.allocations[0][-1])
    axes.step(changes, steps, where="post", color=ALLOCATION, linewidth=2, label="allocation")
    for number, moves in enumerate(life.moves_by_phase(), start=1):
        _number(axes, number, moves[0])
    axes.set_ylabel("MiB")
    axes.set_ylim(0, MAXIMUM_MIB * 1.15)
    axes.axhline(MAXIMUM_MIB, color="black", linewidth=0.8, linestyle="--", label="the guest's maximum")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6, fontsize="small", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _number(axes: Axes, number: int, move: Move) -> None:
    """Beside the first move of a phase; the page says what each number is."""
    axes.annotate(
        str(number),
        (move.at / 60, (move.before + move.after) / 2),
        xytext=(-9 if move.after > move.before else 9, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize="large",
        fontweight="bold",
        color=ALLOCATION,
    )


def _looks(axes: Axes, life: GuestLife) -> None:
    record = life.result.record
    looks = record.look_times[record.look_rows == 0] / 60
    axes.vlines(looks, 0, 1, color="black", linewidth=0.6)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel("looks", rotation=0, ha="right", va="center")
    axes.set_xlabel(
        f"minutes; {len(looks)} looks, at one a second it would be {round(life.trace.end - life.trace.start)}"
    )
    axes.spines[["top", "right", "left"]].set_visible(False)

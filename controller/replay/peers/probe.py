"""The probe: no peer's policy but the least a forecast has to beat. It forecasts nothing, and looks at every report.

Every guest has a reach: what it uses, its decayed peaks, and a share of the host that stands for what it never showed.
The host is spread in proportion to reaches. A guest moves only when it may run short soon, or has much less than its
part; those with the largest excess over theirs give, as few as will do. A guest under pressure hides what it needs, so
its need is searched for.
"""

from dataclasses import dataclass

import numpy as np

from controller.engine.tables import Bools, Floats, Ints
from controller.replay.contract import Periodic
from controller.replay.world import PRESSED_ABOVE, Readings, SimulatedHost

HALF_LIVES_S = np.array([60.0, 600.0, 3600.0, 86400.0])
"""Seconds in which a remembered peak halves."""
LEAST_LOOKS = 20
"""Looks that a half-life lasts at least."""
HOUR = 2
"""Which of them remembers the peak of the last hour."""
RISE = 1
"""Which of them a guest's largest rise between two looks fades with."""
UNSEEN = 0.25
"""Part of the maximum, or of an equal share of the host where that is less, added to every reach."""
SEARCH = 0.6
"""Part of its size that a guest under pressure is taken to need besides. Doubled at each look at which it still is."""
SEARCHED = 4.0
"""Times that need that its reach is at least: as much as its peaks would add up to, had it been seen."""
FILLED = 0.98
"""Part of the host that the plan gives."""
POOL = 0.02
"""Part of the host that donors give beyond what is asked for, so that the next guest does not wait."""
MARGIN = 1.10
"""Times its demand, with its largest rise on top, that a guest should have."""
DEAD_BAND = 0.05
"""Part of a size by which a plan must differ: on a recording of garbage-collected heaps this halves the moves."""
MUCH_LESS = 0.60
"""Part of its plan below which a guest grows without need."""
RETRY_S = 0.1
"""Seconds between two looks for memory that donors gave back."""


@dataclass(frozen=True, slots=True)
class Want:
    """What m guests need and may come to need. All (m,), MiB."""

    demand: Floats
    soon: Floats
    """What each should have until the next look."""
    reach: Floats
    pressed: Bools
    """It reclaims: what it needs is not seen."""


def spread(reach: Floats, least: Floats, most: Floats, total: float) -> Floats:
    """(m,) MiB: clip(level * reach, least, most), the level such that they add up to `total`.

    Everybody's `most` where that is less; `least` in proportion where that is more. `reach` is positive.
    """
    most = np.maximum(least, most)
    if least.sum() >= total:
        scale: float = total / least.sum()
        return least * scale
    if most.sum() <= total:
        return most
    levels = np.concatenate([least, most]) / np.concatenate([reach, reach])
    order = np.argsort(levels, kind="stable")
    levels = levels[order]
    slopes = np.cumsum(np.concatenate([reach, -reach])[order])
    sums = least.sum() + np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(levels))])
    level = float(np.interp(total, sums, levels))
    return np.clip(level * reach, least, most)


def donations(excess: Floats, needed: float) -> Bools:
    """(m,) who gives all its `excess` (MiB): those with the most, as few as bring `needed` together."""
    order = np.argsort(-excess, kind="stable")
    before = np.cumsum(excess[order]) - excess[order]
    gives = np.zeros(len(excess), dtype=np.bool_)
    gives[order] = (before < needed) & (excess[order] > 0)
    return gives


def movers(want: Want, plan: Floats, goal: Floats, total: float) -> tuple[Bools, Bools]:
    """(m,) who should grow to the plan, and (m,) who shrinks to it for their sake.

    `goal`: MiB that each has, or will have when its balloon rests; `total`: MiB of the host.
    """
    short = want.pressed | (want.soon > goal)
    grows = (plan > (1 + DEAD_BAND) * goal) & (short | (goal < MUCH_LESS * plan))
    lacking = float(np.where(grows, plan, goal).sum()) - total
    band = DEAD_BAND if goal.sum() <= total else 0.0
    may_give = ~want.pressed & (goal > (1 + band) * plan)
    return grows, donations(np.where(may_give, goal - plan, 0.0), lacking + POOL * total if lacking > 0 else 0.0)


def turns(want: Want, goal: Floats) -> Ints:
    """(m,) in which guests are served: those under pressure, those who may run short, the others."""
    order: Ints = np.lexsort((want.soon <= goal, ~want.pressed))
    return order


class DemandMemory:
    """What n guests have shown so far. Arrays by row of the world, MiB and seconds."""

    def __init__(self, n: int, every_s: float) -> None:
        self._fades = 0.5 ** (every_s / np.maximum(HALF_LIVES_S, LEAST_LOOKS * every_s))
        self._peaks = np.zeros((n, len(HALF_LIVES_S)))
        self._rise = np.zeros(n)
        self._demand = np.full(n, np.inf)
        self._faults = np.full(n, np.inf)
        self._step = np.zeros(n)

    def learn(self, guests: Readings, arrived: Bools, share: float) -> Want:
        """Enter a look; `arrived`: (m,) whose balloon is at rest; `share`: MiB of the host for each of them."""
        rows, demand, size = guests.rows, guests.used, guests.allocation
        pressed = guests.major_faults > self._faults[rows]
        step = np.where(arrived, np.maximum(SEARCH * size, 2 * self._step[rows]), self._step[rows])
        peaks = np.maximum(self._peaks[rows] * self._fades, demand[:, None])
        rise = np.maximum(self._rise[rows] * self._fades[RISE], demand - self._demand[rows])
        search = np.minimum(np.maximum(size + step, peaks[:, HOUR]), guests.maximum)
        reach = demand + peaks.sum(axis=1) + UNSEEN * np.minimum(guests.maximum, share)
        self._peaks[rows], self._rise[rows] = peaks, rise
        self._demand[rows], self._faults[rows] = demand, guests.major_faults
        self._step[rows] = np.where(pressed, np.minimum(step, guests.maximum), 0.0)
        return Want(
            demand, MARGIN * demand + rise, np.where(pressed, np.maximum(reach, SEARCHED * search), reach), pressed
        )


class Probe(Periodic):
    """Gives from memory that is free; what donors return is given as it comes."""

    interval_s = 1.0

    def start(self, world: SimulatedHost) -> None:
        """Nothing is known, and every balloon rests."""
        super().start(world)
        n = len(world.domains)
        self._look_at = world.now
        self._memory = DemandMemory(n, self._every)
        self._target = np.full(n, np.nan)
        self._waiting: list[tuple[int, float]] = []

    def act(self, world: SimulatedHost) -> None:
        """Look when a report is due; in between only give what came back."""
        if world.now >= self._look_at:
            super().act(world)
            self._look_at = self._next
        else:
            self._grant(world, in_part=False)
        retry = world.now + RETRY_S
        self._next = retry if self._waiting and retry + RETRY_S <= self._look_at else self._look_at

    def decide(self, world: SimulatedHost, guests: Readings) -> None:
        """Plan, ask donors, and give to who needs it, those under pressure first."""
        rows, size, total = guests.rows, guests.allocation, world.total_mib
        target = np.where(np.isnan(self._target[rows]), size, np.minimum(self._target[rows], guests.maximum))
        want = self._memory.learn(guests, size >= target, total / len(rows))
        least = np.minimum(want.demand / PRESSED_ABOVE, guests.maximum)
        plan = spread(want.reach, least, guests.maximum, FILLED * total)
        goal = np.maximum(target, np.minimum(want.demand, size))
        grows, gives = movers(want, plan, goal, total)
        self._target[rows] = np.where(gives, plan, target)
        world.order(rows[gives], plan[gives])
        self._waiting = [(int(rows[k]), float(plan[k])) for k in turns(want, goal) if grows[k]]
        self._grant(world, in_part=True)

    def _grant(self, world: SimulatedHost, in_part: bool) -> None:
        """To those who wait, in turn, what is free and not promised; `in_part`: also less than each waits for."""
        here: Ints = world.rows
        sizes = world.allocation
        free = world.total_mib - float(np.fmax(sizes[here], self._target[here]).sum())
        left = []
        for row, wanted in self._waiting:
            held = max(float(sizes[row]), float(self._target[row]))
            more = min(wanted - held, max(free, 0.0))
            if more < wanted - held and not in_part:
                more = 0.0
            if more > 0:
                free -= more
                self._target[row] = held + more
                world.order(np.array([row]), np.array([held + more]))
            if held + more < wanted:
                left.append((row, wanted))
        self._waiting = left

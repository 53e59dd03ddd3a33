"""What each domain should have: the levels of its need, filled from the budget."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller import planner
from controller.engine.inventory import Inventory
from controller.engine.motion import Motion
from controller.engine.outlook import Outlook
from controller.engine.sight import LOW_FREE, Sight

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FRESH_TO_SHRINK = 3
"""Fresh samples of a domain, and so also after a restart, before any of its memory is taken."""

PRESSURE_GROWTH = 0.3
"""Part of its allocation that a guest under pressure gets on top: how much it misses cannot be seen, so a few such
steps, a statistics period apart, must find it."""

POOL = 0.02
"""Part of the budget that `Share` does not lend, so that a guest in need need not wait for others to give back."""


@dataclass(frozen=True, slots=True)
class Plan:
    """(n,) bytes."""

    target: Floats
    """What each domain should have; where it cannot be moved, what it has."""
    held: Floats
    """What it would have without contention and without spare memory lent."""
    top: Floats
    """The most it may have."""


def limits(inventory: Inventory, sight: Sight) -> tuple[Floats, Floats]:
    """(n,) lowest and highest allocation of each domain, bytes."""
    top = np.minimum(np.fmin(inventory.maximum, sight.maximum), inventory.ceiling)
    return np.minimum(inventory.minimum, top), top


def draw(
    sight: Sight,
    outlook: Outlook,
    motion: Motion,
    inventory: Inventory,
    committed: Floats,
    movable: Bools,
    budget: float,
    hurry: bool,
    now: float,
) -> Plan:
    """Share `budget` bytes among the `movable` domains; the others keep what they have.

    Under `hurry` (the host is short of memory) nobody keeps more than the forecast asks for.
    """
    lowest, top = limits(inventory, sight)
    levels = _levels(sight, outlook, inventory, lowest, top, now)
    _release(levels, motion, inventory, sight)
    held = levels[3]
    chosen = levels[:3] if hurry else _with_spare(levels, inventory, committed, top, movable)
    rows = np.flatnonzero(movable)
    capacity = budget - float(committed[~movable].sum())
    weights = inventory.weight[rows]
    given = planner.fill([level[rows] for level in chosen[:4]], weights, capacity)
    if len(chosen) > 4:
        pooled = capacity - POOL * budget
        given = np.maximum(given, planner.fill([level[rows] for level in chosen], weights, pooled))
    target = committed.copy()
    target[rows] = given
    return Plan(target, held, top)


def _levels(
    sight: Sight, outlook: Outlook, inventory: Inventory, lowest: Floats, top: Floats, now: float
) -> list[Floats]:
    """What a domain cannot do without, its upper forecast, that and headroom, and the most it wanted of late."""
    size = sight.allocation
    used = np.fmin(sight.demand / (1 - LOW_FREE), size)
    need = np.fmax(lowest, used)
    keep = sight.fresh_count < FRESH_TO_SHRINK
    floor = np.where(keep, np.fmax(need, size), need)
    pressed = np.where(sight.pressure, size * (1 + PRESSURE_GROWTH), 0.0)
    ceiling = np.maximum(top, floor)
    upper = np.clip(np.fmax(outlook.upper, pressed), floor, ceiling)
    wanted = np.clip(np.fmax(outlook.wanted, pressed), upper, ceiling)
    young = ~(now - outlook.since >= inventory.stabilization)
    held = np.fmax(outlook.held, np.where(young, size, 0.0))
    return [floor, upper, wanted, np.clip(held, wanted, ceiling)]


def _release(levels: list[Floats], motion: Motion, inventory: Inventory, sight: Sight) -> None:
    """A released domain gets its definition's allocation back: no less than it uses, more only from what is left over."""
    if not motion.release.any():
        return
    definition = np.minimum(inventory.definition, np.fmin(inventory.maximum, sight.maximum))
    used = np.fmin(sight.demand / (1 - LOW_FREE), sight.allocation)
    base = np.minimum(sight.allocation, np.fmax(definition, used))
    for place in (0, 1, 2):
        levels[place] = np.where(motion.release, base, levels[place])
    levels[3] = np.where(motion.release, np.maximum(base, definition), levels[3])


def _with_spare(
    levels: list[Floats], inventory: Inventory, committed: Floats, top: Floats, movable: Bools
) -> list[Floats]:
    """Two more levels where policies share the spare: keep what one has, then get more up to one's maximum."""
    share = inventory.share & movable
    if not share.any():
        return levels
    kept = np.where(share, np.maximum(levels[3], np.minimum(committed, top)), levels[3])
    lent = np.where(share, np.maximum(kept, top), kept)
    return [*levels, kept, lent]

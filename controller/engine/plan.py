"""What each domain should have: the levels of its need, filled from the budget."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller import planner
from controller.engine.inventory import Inventory
from controller.engine.outlook import needed_under_pressure
from controller.engine.sight import LOW_FREE, Sight
from controller.engine.state import State

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FRESH_TO_SHRINK = 3
"""Fresh samples of a domain, and so also after a restart, before any of its memory is taken."""

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
    movable: Bools


def limits(inventory: Inventory, sight: Sight) -> tuple[Floats, Floats]:
    """(n,) lowest and highest allocation of each domain, bytes."""
    top = np.minimum(np.fmin(inventory.maximum, sight.maximum), inventory.ceiling)
    return np.minimum(inventory.minimum, top), top


def draw(state: State, committed: Floats, movable: Bools, now: float) -> Plan:
    """Share the budget among the `movable` domains; the others keep what they have, or are getting: `committed`.

    While the host is short of memory nobody keeps more than the forecast asks for.
    """
    inventory = state.inventory
    levels = _levels(state, now)
    _release(levels, state)
    _, top = limits(inventory, state.sight)
    rows = np.flatnonzero(movable)
    weights = inventory.weight[rows]
    capacity = state.budget - float(committed[~movable].sum())
    needs = levels[:3] if state.node.reading.pressure else levels
    given = planner.fill([level[rows] for level in needs], weights, capacity)
    sharing = movable & inventory.share
    if sharing.any() and not state.node.reading.pressure:
        lent = [level[rows] for level in (*levels, *_spare(levels[3], committed, top, sharing))]
        given = np.maximum(given, planner.fill(lent, weights, capacity - POOL * state.budget))
    target = committed.copy()
    target[rows] = given
    return Plan(target, levels[3], top, movable)


def _levels(state: State, now: float) -> list[Floats]:
    """What a domain cannot do without, its upper forecast, that and headroom, and the most it wanted of late."""
    sight, outlook, inventory = state.sight, state.outlook, state.inventory
    lowest, top = limits(inventory, sight)
    size = sight.allocation
    used = np.fmin(sight.demand / (1 - LOW_FREE), size)
    need = np.fmax(lowest, used)
    keep = sight.fresh_count < FRESH_TO_SHRINK
    floor = np.where(keep, np.fmax(need, size), need)
    pressed = np.where(sight.pressure, needed_under_pressure(size), 0.0)
    ceiling = np.maximum(top, floor)
    upper = np.clip(np.fmax(outlook.upper, pressed), floor, ceiling)
    wanted = np.clip(np.fmax(outlook.wanted, pressed), upper, ceiling)
    young = ~(now - outlook.since >= inventory.stabilization)
    held = np.fmax(outlook.held, np.where(young, size, 0.0))
    return [floor, upper, wanted, np.clip(held, wanted, ceiling)]


def _release(levels: list[Floats], state: State) -> None:
    """A released domain gets its definition's allocation back: no less than it uses, more from what is left over."""
    motion, inventory, sight = state.motion, state.inventory, state.sight
    if not motion.release.any():
        return
    definition = np.minimum(inventory.definition, np.fmin(inventory.maximum, sight.maximum))
    used = np.fmin(sight.demand / (1 - LOW_FREE), sight.allocation)
    base = np.minimum(sight.allocation, np.fmax(definition, used))
    for place in (0, 1, 2):
        levels[place] = np.where(motion.release, base, levels[place])
    levels[3] = np.where(motion.release, np.maximum(base, definition), levels[3])


def _spare(held: Floats, committed: Floats, top: Floats, sharing: Bools) -> tuple[Floats, Floats]:
    """Two more levels for those who share the spare: keep what one has, then get more, up to one's maximum."""
    kept = np.where(sharing, np.maximum(held, np.minimum(committed, top)), held)
    return kept, np.where(sharing, np.maximum(kept, top), kept)

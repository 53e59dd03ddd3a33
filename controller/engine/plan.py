"""What each domain should have: the levels of its need, filled from the budget."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller import planner
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.outlook import UNKNOWN, missed
from controller.engine.snapshot import TOLERANCE
from controller.engine.state import State
from controller.engine.tuning import Tuning

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LOW_FREE = Tuning().low

FRESH_TO_SHRINK = 3
"""Fresh samples of a domain, and so also after a restart, before any of its memory is taken."""

ABOVE_PEAK = 1.1
"""Times what a domain is known to have needed: beyond that memory goes to others first."""

POOL = 0.05
"""Part of the budget that is collected on top when grows cannot be paid, and not lent: the next in need need not wait,
and donors are not asked for a little every time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """(n,) bytes."""

    needed: Floats
    """What each domain is to have at least: its share of the budget in what all need."""
    keep: Floats
    """What it may keep as long as nobody needs it: what it wanted of late, or all it has where the spare is shared."""
    fair: Floats
    """What it gets where memory is left over: a released domain its definition, others a share of the spare."""
    top: Floats
    """The most it may have."""
    movable: Bools
    """Where False, the domain keeps what it has."""


def limits(inventory: Inventory, sight: Observation) -> tuple[Floats, Floats]:
    """(n,) lowest and highest allocation of each domain, bytes."""
    top = np.minimum(np.fmin(inventory.maximum, sight.maximum), inventory.ceiling)
    return np.minimum(inventory.minimum, top), top


def attainable(state: State, lowest: Floats) -> Floats:
    """(n,) bytes each domain could have of the last step's budget if the others kept no more than they cannot do
    without. `lowest`: (n,) as `limits` has it.
    """
    least = np.where(state.inventory.acted_on, _need(state.observation, lowest), state.observation.allocation)
    return np.asarray(least + max(state.host.budget - float(np.nansum(least)), 0.0))


def draw(state: State, committed: Floats, movable: Bools, now: float) -> Plan:
    """Share the budget among the `movable` domains; the others keep what they have, or are getting: `committed`.

    While the host is short of memory nobody keeps, or gets, more than the forecast asks for.
    """
    inventory, motion, size = state.inventory, state.balloon, state.observation.allocation
    lowest, top = limits(inventory, state.observation)
    levels = _levels(state, lowest, top)
    rows = np.flatnonzero(movable)
    capacity = state.host.budget - float(committed[~movable].sum())
    if float(levels[-1][rows].sum()) > capacity:
        levels = _contended(state, levels, top)
    released = motion.release
    if released.any():
        levels = [np.where(released, _after_release(state, top), level) for level in levels]
    needed = committed.copy()
    needed[rows] = planner.fill([level[rows] for level in levels], inventory.weight[rows], capacity)
    sharing = movable & inventory.share & ~released
    young = ~(now - state.outlook.since >= inventory.stabilization)
    held = np.fmax(state.outlook.held, np.where(young | sharing | released, size, 0.0))
    keep = needed if state.host.reading.pressure else np.maximum(needed, np.minimum(held, top))
    fair = np.where(released & ~state.host.reading.pressure, np.minimum(inventory.definition, top), needed)
    if sharing.any() and state.host.lends(now):
        others = float(np.where(sharing, 0.0, np.maximum(committed, keep)).sum())
        capacity = min(state.host.budget * (1 - POOL), state.host.lendable) - others
        fair = np.where(sharing, _levelled(state, needed, top, sharing, capacity), fair)
    return Plan(needed, keep, fair, top, movable)


def _levelled(state: State, needed: Floats, top: Floats, sharing: Bools, capacity: float) -> Floats:
    """(n,) bytes that domains have when what nobody needs is shared: equal levels up to what anybody may come to need
    first, then what they wanted of late, then equal levels up to what they are known to have needed, then equal levels
    up to all they may have.

    A domain can be helped only some seconds after its demand has jumped, and it may jump to what it once needed, or to
    its maximum. Who needs little now has the farthest to jump: so not slack is made equal, but what domains have,
    relative to what they may come to.
    """
    rows = np.flatnonzero(sharing)
    outlook, weights, unknown = state.outlook, state.inventory.weight[rows], UNKNOWN * top[rows]
    reach = np.fmax(state.observation.demand, 0.0)[rows] + outlook.reach[rows] + unknown
    scale = np.maximum(reach * weights, 1.0)
    lowest, highest = needed[rows], np.maximum(top, needed)[rows]
    waking = planner.level(lowest, np.clip(ABOVE_PEAK * unknown, lowest, highest), scale, capacity)
    recent = planner.fill([waking, np.clip(outlook.held[rows], waking, highest)], weights, capacity)
    known = np.clip(ABOVE_PEAK * np.maximum(outlook.peak_day[rows], unknown), recent, highest)
    levels = needed.copy()
    levels[rows] = planner.level(planner.level(recent, known, scale, capacity), highest, scale, capacity)
    return levels


def _levels(state: State, lowest: Floats, top: Floats) -> list[Floats]:
    """What a domain cannot do without, its upper forecast, and that with its headroom."""
    sight, outlook = state.observation, state.outlook
    floor = _floor(sight, lowest)
    pressed = missed(outlook, sight, state.pressure, top, np.arange(len(floor)))
    ceiling = np.maximum(top, floor)
    upper = np.clip(np.fmax(outlook.upper, pressed), floor, ceiling)
    return [floor, upper, np.clip(np.fmax(outlook.wanted, pressed), upper, ceiling)]


def _floor(sight: Observation, lowest: Floats | float) -> Floats:
    """(n,) bytes below which no domain is planned: its need, and all it has until enough fresh samples have come."""
    need = _need(sight, lowest)
    return np.where(sight.fresh_count < FRESH_TO_SHRINK, np.fmax(need, sight.allocation), need)


def _need(sight: Observation, lowest: Floats | float) -> Floats:
    """(n,) bytes: the minimum, or present demand and what keeps a guest out of reclaim there."""
    return np.asarray(np.fmax(lowest, np.fmin(sight.demand / (1 - LOW_FREE), sight.allocation)))


def _contended(state: State, levels: list[Floats], top: Floats) -> list[Floats]:
    """The levels when they are more than there is: below upper forecasts what a domain searches for, and what it is
    likely to need, its forecast or what its demand comes back to. Guests swing; who is low just now is not robbed for
    who might rise beyond its peak.

    A guest with nothing left tells its size, not its demand. Where it has needed more before, it is on its way there;
    else it is lost, and searches.
    """
    floor, upper, wanted = levels
    recurring = _recurring(state) / (1 - LOW_FREE)
    lost = state.pressure.exhausted & (recurring < state.observation.allocation + TOLERANCE)
    search = np.where(lost, upper, floor)
    likely = np.clip(np.fmax(state.outlook.forecast, recurring), search, np.maximum(top, floor))
    upper = np.maximum(upper, likely)
    return [floor, search, likely, upper, np.maximum(wanted, upper)]


def _recurring(state: State) -> Floats:
    """(n,) bytes to which demand has risen twice within the decision points that forecasts come from; 0 if to nothing.

    What it fell from once may not come back. While the host is under pressure nobody keeps anything for a peak.
    """
    points = state.history.values
    if state.host.reading.pressure:
        return np.zeros(len(points))
    older = points[:, 1:]
    told = np.arange(older.shape[1]) >= np.where(state.pressure.exhausted, state.pressure.samples, 0)[:, None]
    risen = np.where((points[:, :-1] > older) & (older > 0) & told, points[:, :-1], 0.0)
    return np.asarray(np.sort(risen, axis=1)[:, -2])


def _after_release(state: State, top: Floats) -> Floats:
    """What a released domain is to have: what it has, or its definition's allocation where that is less and enough."""
    definition = np.minimum(state.inventory.definition, top)
    return np.minimum(state.observation.allocation, np.fmax(definition, _floor(state.observation, 0.0)))

"""From plan to balloon changes: what passes the threshold, is safe now, and can be paid for now.

Shrinks come first; grows are given only from memory that is free already. Memory on its way back pays for grows of a
later step, which the balloon event of its arrival wakes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller import planner
from controller.engine.decision import Action
from controller.engine.inventory import Inventory
from controller.engine.plan import FRESH_TO_SHRINK, Plan, limits
from controller.engine.reasons import REASONS, Reason, first_that_applies
from controller.engine.sight import TOLERANCE, Sight
from controller.engine.state import State

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GRAIN = 2**20
"""Bytes: targets are whole MiB, as people read them."""

NEWEST = 2.0
"""Seconds a sample may be old, at most, when memory is taken on its word; two shortest intervals where longer."""

OVERDRAFT = 0.01
"""Part of the budget by which allocations may exceed it (the host's own use varies) before small shrinks pay."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Balloon changes to make now, and what has to wait. Masks are (n,)."""

    shrink: Bools
    grow: Bools
    target: Floats
    """Bytes, where `shrink` or `grow`."""
    unverified: Bools
    """Shrinks wanted by domains whose newest sample is too old to shrink on."""
    unpaid: Bools
    """Grows wanted for which no memory is free now."""


def threshold(sight: Sight, inventory: Inventory) -> Floats:
    """(n,) bytes by which an allocation may be off before it is moved."""
    return np.maximum(inventory.threshold, inventory.threshold_fraction * sight.allocation)


def worth_moving(delta: Floats, state: State) -> Bools:
    """(n,) True where the change passes the threshold, or must be made whatever its size."""
    motion, sight, inventory = state.motion, state.sight, state.inventory
    motion, sight, inventory = state.motion, state.sight, state.inventory
    lowest, top = limits(inventory, sight)
    size = sight.allocation
    outside = (size < lowest - TOLERANCE) | (size > top + TOLERANCE)
    must = outside | motion.release | (sight.pressure & (delta > 0))
    return np.asarray((np.abs(delta) > threshold(sight, inventory)) | (must & (np.abs(delta) >= TOLERANCE)))


def choose(plan: Plan, state: State, committed: Floats, now: float) -> Moves:
    """Balloon changes that bring the node closer to `plan` without the sum of allocations ever passing the budget."""
    motion, sight, inventory, budget = state.motion, state.sight, state.inventory, state.budget
    under_way = np.isfinite(motion.target)
    turning = sight.pressure & (motion.target < sight.allocation)
    base = np.where(under_way & ~turning, motion.target, sight.allocation)
    delta = np.where(plan.movable, plan.target - base, 0.0)
    worth = worth_moving(delta, state)
    grow = worth & (delta > 0)
    give = np.where(under_way, 0.0, np.maximum(-delta, 0.0))
    free = budget - float(committed.sum())
    wishes = np.where(grow, delta, 0.0)
    shrink = _donors(give, worth, float(wishes.sum()), free, budget)
    newest = np.maximum(NEWEST, 2 * inventory.interval_minimum)
    verified = (now - sight.fresh_at <= newest) & (sight.fresh_at >= sight.moved_at)
    granted = _grant(wishes, sight.pressure, inventory.weight, free)
    target = np.where(shrink, np.ceil(plan.target / GRAIN), np.floor((base + granted) / GRAIN)) * GRAIN
    enough = np.minimum(wishes, np.where(sight.pressure | motion.release, TOLERANCE, threshold(sight, inventory)))
    useful = granted >= enough
    paid = grow & useful & (target - base >= TOLERANCE)
    return Moves(
        shrink=shrink & verified & (target < sight.allocation),
        grow=paid,
        target=target,
        unverified=shrink & ~verified,
        unpaid=grow & (granted < wishes - TOLERANCE),
    )


def _donors(give: Floats, worth: Bools, wished: float, free: float, budget: float) -> Bools:
    """(n,) True for shrinks worth making, and for as many smaller ones, the largest first, as grows depend on."""
    shrink = worth & (give > 0)
    if wished <= 0 and -free <= OVERDRAFT * budget:
        return shrink
    lacking = wished - free - float(give[shrink].sum())
    if lacking < TOLERANCE:
        return shrink
    small = np.flatnonzero(~shrink & (give >= TOLERANCE))
    small = small[np.argsort(-give[small])]
    needed = int(np.searchsorted(np.cumsum(give[small]), lacking)) + 1
    shrink = shrink.copy()
    shrink[small[:needed]] = True
    return shrink


def _grant(wishes: Floats, pressure: Bools, weights: Floats, free: float) -> Floats:
    """(n,) bytes of free memory for each wish: guests under pressure first, then by weight."""
    nothing = np.zeros_like(wishes)
    urgent = np.where(pressure, wishes, 0.0)
    return planner.fill([nothing, urgent, wishes], weights, max(free, 0.0))


def propose(plan: Plan, state: State, observed: Bools) -> tuple[Bools, Floats]:
    """What Enforce would do to the `observed` domains and has not been said yet: a mask and targets in bytes, (n,)."""
    proposed = state.motion.proposed
    base = np.where(np.isfinite(proposed), proposed, state.sight.allocation)
    delta = np.where(observed, plan.target - base, 0.0)
    target = np.ceil(plan.target / GRAIN) * GRAIN
    return observed & worth_moving(delta, state), np.minimum(target, plan.top)


def why_moved(plan: Plan, target: Floats, state: State) -> Ints:
    """(n,) `Reason` for moving each domain to `target`, were it moved."""
    motion, sight, inventory = state.motion, state.sight, state.inventory
    size = sight.allocation
    lowest, top = limits(inventory, sight)
    grows = target > size
    return first_that_applies(
        [
            (motion.release, Reason.RELEASE_RESTORE),
            (grows & sight.pressure, Reason.PRESSURE_GROW),
            ((size < lowest - TOLERANCE) | (size > top + TOLERANCE), Reason.LIMITS),
            (grows & (target > plan.held + TOLERANCE), Reason.SPARE_LENT),
            (grows, Reason.FORECAST_GROW),
            (np.full(len(size), state.node.reading.pressure), Reason.HOST_PRESSURE_SHRINK),
            (target < plan.held - TOLERANCE, Reason.CONTENTION_SHRINK),
        ],
        Reason.FORECAST_SHRINK,
    )


def why_kept(plan: Plan, moves: Moves, state: State, now: float) -> Ints:
    """(n,) `Reason` for leaving each domain as it is, were it left."""
    motion, sight, inventory = state.motion, state.sight, state.inventory
    wanted, size = state.outlook.wanted, sight.allocation
    waiting = now < motion.retry_at
    band = threshold(sight, inventory)
    less = wanted < size - band
    more = np.minimum(wanted, plan.top) > size + band
    coming = bool((motion.target < size).any() or moves.shrink.any() or moves.unverified.any())
    return first_that_applies(
        [
            (inventory.obstacle != Reason.NONE, inventory.obstacle),
            (sight.trouble != Reason.NONE, sight.trouble),
            (sight.fresh_count == 0, Reason.WARMING_UP),
            (waiting & ~motion.refused, Reason.STUCK),
            (waiting, Reason.BUSY),
            (now < motion.hold_until, Reason.OUTSIDE_CHANGE),
            (np.isfinite(motion.target), Reason.MOVING),
            (moves.unpaid, Reason.AWAITING_MEMORY if coming else Reason.NO_BUDGET),
            (more & (plan.target < size + band), Reason.NO_BUDGET),
            (less & (sight.fresh_count < FRESH_TO_SHRINK), Reason.WARMING_UP),
            (less, Reason.STABILIZING),
        ],
        Reason.WITHIN_THRESHOLD,
    )


def actions(state: State, rows: Ints, target: Floats, reason: Ints) -> tuple[Action, ...]:
    """The changes of `rows` as the world outside sees them; `target` and `reason` are (n,)."""
    keys, names = state.inventory.keys, state.inventory.names
    sizes = state.sight.allocation[rows].astype(np.int64).tolist()
    targets = target[rows].astype(np.int64).tolist()
    reasons = [REASONS[code] for code in reason[rows].tolist()]
    return tuple(
        Action(row, keys[row], names[row], size, goal, why)
        for row, size, goal, why in zip(rows.tolist(), sizes, targets, reasons, strict=True)
    )

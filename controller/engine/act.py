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
from controller.engine.motion import Motion
from controller.engine.plan import FRESH_TO_SHRINK, Plan, limits
from controller.engine.reasons import Reason
from controller.engine.sight import TOLERANCE, Sight

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GRAIN = 2**20
"""Bytes: targets are whole MiB, as people read them."""

NEWEST = 2.0
"""Seconds a sample may be old, at most, when memory is taken on its word; two shortest intervals where longer."""

OVERDRAFT = 0.01
"""Part of the budget by which allocations may exceed it (the host's own use varies) before small shrinks are worth it."""


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


def worth_moving(delta: Floats, motion: Motion, sight: Sight, inventory: Inventory) -> Bools:
    """(n,) True where the change passes the threshold, or must be made whatever its size."""
    lowest, top = limits(inventory, sight)
    size = sight.allocation
    outside = (size < lowest - TOLERANCE) | (size > top + TOLERANCE)
    must = outside | motion.release | (sight.pressure & (delta > 0))
    return np.asarray((np.abs(delta) > threshold(sight, inventory)) | (must & (np.abs(delta) >= TOLERANCE)))


def choose(
    plan: Plan, motion: Motion, sight: Sight, inventory: Inventory, committed: Floats, budget: float, now: float
) -> Moves:
    """Balloon changes that bring the node closer to `plan` without the sum of allocations ever passing the budget."""
    under_way = np.isfinite(motion.target)
    base = np.where(under_way, motion.target, sight.allocation)
    delta = np.nan_to_num(plan.target - base)
    worth = worth_moving(delta, motion, sight, inventory)
    grow = worth & (delta > 0)
    give = np.where(under_way, 0.0, np.maximum(-delta, 0.0))
    free = budget - float(committed.sum())
    wishes = np.where(grow, delta, 0.0)
    shrink = _donors(give, worth, float(wishes.sum()), free, budget)
    newest = np.maximum(NEWEST, 2 * inventory.interval_minimum)
    verified = now - sight.fresh_at <= newest
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


def propose(plan: Plan, motion: Motion, sight: Sight, inventory: Inventory, observed: Bools) -> tuple[Bools, Floats]:
    """What Enforce would do to the `observed` domains and has not been said yet: a mask and targets in bytes, (n,)."""
    base = np.where(np.isfinite(motion.proposed), motion.proposed, sight.allocation)
    delta = np.nan_to_num(plan.target - base)
    target = np.ceil(plan.target / GRAIN) * GRAIN
    return observed & worth_moving(delta, motion, sight, inventory), np.minimum(target, plan.top)


def why_moved(plan: Plan, target: Floats, motion: Motion, sight: Sight, inventory: Inventory, hurry: bool) -> Ints:
    """(n,) `Reason` for moving each domain to `target`, were it moved."""
    size = sight.allocation
    lowest, top = limits(inventory, sight)
    grows = target > size
    conditions = [
        motion.release,
        grows & sight.pressure,
        (size < lowest - TOLERANCE) | (size > top + TOLERANCE),
        grows & (target > plan.held + TOLERANCE),
        grows,
        np.full(len(size), hurry),
        target < plan.held - TOLERANCE,
    ]
    reasons = [
        Reason.RELEASE_RESTORE,
        Reason.PRESSURE_GROW,
        Reason.LIMITS,
        Reason.SPARE_LENT,
        Reason.FORECAST_GROW,
        Reason.HOST_PRESSURE_SHRINK,
        Reason.CONTENTION_SHRINK,
    ]
    return np.select(conditions, [int(reason) for reason in reasons], int(Reason.FORECAST_SHRINK)).astype(np.int64)


def why_kept(
    plan: Plan, moves: Moves, wanted: Floats, motion: Motion, sight: Sight, inventory: Inventory, now: float
) -> Ints:
    """(n,) `Reason` for leaving each domain as it is, were it left."""
    size = sight.allocation
    waiting = now < motion.retry_at
    band = threshold(sight, inventory)
    less = wanted < size - band
    more = np.minimum(wanted, plan.top) > size + band
    coming = bool((motion.target < size).any() or moves.shrink.any() or moves.unverified.any())
    conditions = [
        inventory.obstacle != Reason.NONE,
        sight.trouble != Reason.NONE,
        sight.fresh_count == 0,
        waiting & ~motion.refused,
        waiting,
        now < motion.hold_until,
        np.isfinite(motion.target),
        moves.unpaid,
        more & (plan.target < size + band),
        less & (sight.fresh_count < FRESH_TO_SHRINK),
        less,
    ]
    reasons = [
        inventory.obstacle,
        sight.trouble,
        int(Reason.WARMING_UP),
        int(Reason.STUCK),
        int(Reason.BUSY),
        int(Reason.OUTSIDE_CHANGE),
        int(Reason.MOVING),
        int(Reason.AWAITING_MEMORY) if coming else int(Reason.NO_BUDGET),
        int(Reason.NO_BUDGET),
        int(Reason.WARMING_UP),
        int(Reason.STABILIZING),
    ]
    return np.select(conditions, reasons, int(Reason.WITHIN_THRESHOLD)).astype(np.int64)


def action(inventory: Inventory, sight: Sight, row: int, target: float, reason: int) -> Action:
    """One row's change as the world outside sees it."""
    return Action(
        row, inventory.keys[row], inventory.names[row], int(sight.allocation[row]), int(target), Reason(reason)
    )

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

POOL = 0.05
"""Part of the budget that is collected on top when grows cannot be paid, and not lent: the next in need need not wait,
and donors are not asked for a little every time."""


WORTH_LENDING = 0.25
"""Part of its allocation that spare memory must add, at least, to be lent: nobody waits for it."""


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


def choose(plan: Plan, state: State, committed: Floats, now: float) -> Moves:
    """Balloon changes that bring the node closer to `plan` without the sum of allocations ever passing the budget."""
    motion, sight, size = state.motion, state.sight, state.sight.allocation
    under_way = np.isfinite(motion.target)
    turning = sight.pressure & (motion.target < size)
    base = np.where(under_way & ~turning, motion.target, size)
    wishes = _wishes(plan, state, base)
    free = state.budget - float(committed.sum())
    still = plan.movable & ~under_way
    shrink, less = _shrinks(plan, state, still & (wishes == 0), float(wishes.sum()), free)
    granted = _grant(wishes, state, free)
    extra = _extra(plan, state, still & ~shrink, free - float(wishes.sum())) if free > 0 else np.zeros_like(size)
    granted = np.maximum(granted, np.where(wishes == 0, extra, 0.0))
    more = np.floor((base + granted) / GRAIN) * GRAIN
    verified = _verified(state, now)
    return Moves(
        shrink=shrink & verified & (less < size),
        grow=(granted > 0) & (more - base >= TOLERANCE),
        target=np.where(shrink, less, more),
        unverified=shrink & ~verified,
        unpaid=granted < wishes - TOLERANCE,
    )


def _wishes(plan: Plan, state: State, base: Floats) -> Floats:
    """(n,) bytes that domains are to grow by from `base`: beyond the threshold, or whatever is missing in need."""
    lacking = np.where(plan.movable, plan.needed - base, 0.0)
    lowest, _ = limits(state.inventory, state.sight)
    must = state.sight.pressure | (base < lowest - TOLERANCE)
    worth = lacking > np.where(must, TOLERANCE, threshold(state.sight, state.inventory))
    return np.where(worth, lacking, 0.0)


def _shrinks(plan: Plan, state: State, still: Bools, wished: float, free: float) -> tuple[Bools, Floats]:
    """Who is to shrink, (n,), and to what, bytes: domains that keep too much, and donors where grows cannot be paid.

    Donors are those with the most to spare for their weight, as few as will do: memory that nobody needs is no matter
    of fairness, moves are.
    """
    size, inventory, motion = state.sight.allocation, state.inventory, state.motion
    less = np.ceil(plan.keep / GRAIN) * GRAIN
    surplus = np.where(still, size - less, 0.0)
    over = size > plan.top + TOLERANCE
    shrink = surplus > np.where(over | motion.release, TOLERANCE, threshold(state.sight, inventory))
    coming = float(np.nansum(np.maximum(size - motion.target, 0.0))) + float(surplus[shrink].sum())
    lacking = wished - free - coming
    if lacking < (TOLERANCE if wished > 0 else OVERDRAFT * state.budget):
        return shrink, less
    return _with_donors(plan, state, shrink, less, still, lacking + POOL * state.budget)


def _with_donors(
    plan: Plan, state: State, shrink: Bools, less: Floats, still: Bools, lacking: float
) -> tuple[Bools, Floats]:
    """More shrinks, until `lacking` bytes come together or nobody has any to spare."""
    least = np.ceil(plan.needed / GRAIN) * GRAIN
    spare = np.where(still, np.where(shrink, less, state.sight.allocation) - least, 0.0)
    donors = np.flatnonzero(spare >= TOLERANCE)
    donors = donors[np.argsort(-spare[donors] / state.inventory.weight[donors], kind="stable")]
    given_before = np.concatenate(([0.0], np.cumsum(spare[donors])))[:-1]
    donors = donors[given_before < lacking]
    give = np.minimum(spare[donors], lacking - given_before[: len(donors)])
    rest = np.where(shrink, less, state.sight.allocation)[donors] - give
    shrink, less = shrink.copy(), less.copy()
    less[donors] = np.maximum(np.floor(rest / GRAIN) * GRAIN, least[donors])
    shrink[donors] = True
    return shrink, less


def _verified(state: State, now: float) -> Bools:
    """(n,) True where the newest sample is new enough, and of the present allocation, to take memory on its word."""
    newest = np.maximum(NEWEST, 2 * state.inventory.interval_minimum)
    return (now - state.sight.fresh_at <= newest) & (state.sight.fresh_at >= state.sight.moved_at)


def _grant(wishes: Floats, state: State, free: float) -> Floats:
    """(n,) bytes of free memory for each wish: guests under pressure first, then by weight; no useless trifles."""
    pressure = state.sight.pressure
    levels = [np.zeros_like(wishes), np.where(pressure, wishes, 0.0), wishes]
    granted = planner.fill(levels, state.inventory.weight, max(free, 0.0))
    enough = np.where(pressure, TOLERANCE, np.minimum(wishes, threshold(state.sight, state.inventory)))
    return np.where(granted >= enough, granted, 0.0)


def _extra(plan: Plan, state: State, still: Bools, left: float) -> Floats:
    """(n,) bytes to hand out of what is left over, the pool apart, where that is worth a move."""
    size, release = state.sight.allocation, state.motion.release
    wants = np.where(still, np.maximum(plan.extra - size, 0.0), 0.0)
    handed = planner.share(wants, state.inventory.weight, max(left - POOL * state.budget, 0.0))
    enough = np.where(release, TOLERANCE, np.maximum(threshold(state.sight, state.inventory), WORTH_LENDING * size))
    return np.where(handed >= enough, handed, 0.0)


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
            (grows & (target > plan.needed + TOLERANCE), Reason.SPARE_LENT),
            (grows, Reason.FORECAST_GROW),
            (np.full(len(size), state.node.reading.pressure), Reason.HOST_PRESSURE_SHRINK),
            (target < plan.keep - TOLERANCE, Reason.CONTENTION_SHRINK),
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
            (more & (plan.needed < size + band), Reason.NO_BUDGET),
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

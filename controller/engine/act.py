"""From plan to balloon changes: what passes the threshold, is safe now, and can be paid for now.

Shrinks come first; grows are given only from memory that is free already. Memory on its way back pays for grows of a
later step, which the balloon event of its arrival wakes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller import planner
from controller.engine.balloon import resting
from controller.engine.decision import Action
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.outlook import headroom
from controller.engine.plan import FRESH_TO_SHRINK, POOL, Plan, limits
from controller.engine.reasons import REASONS, Reason, first_that_applies
from controller.engine.snapshot import TOLERANCE
from controller.engine.state import State
from controller.engine.tables import plain
from controller.engine.tuning import Tuning

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GRAIN = 2**20
"""Bytes: targets are whole MiB, as people read them."""

ROUNDING = 0.5
"""Bytes that sums of floating-point sizes may be off by."""

NEWEST = 2.0
"""Seconds a sample may be old, at most, when memory is taken on its word; two shortest intervals where longer."""

OVERDRAFT = 0.01
"""Part of the budget by which allocations may exceed it (the host's own use varies) before small shrinks pay."""

UNFAIR = 0.5
"""Part of its fair slack that a domain must be missing before left-over memory is moved for its sake."""

EATEN = 0.5
"""Part of its headroom that the upper forecast of a domain may eat before the domain grows, whatever the threshold: a
threshold as large as the headroom would let it run dry."""

PROMPT = 3.0
"""Seconds in which a balloon gives what it was asked for, as a rule."""

WORTH_HOPING = 0.5
"""Part of what it hopes for that must be left over before a domain gets any of it: not drop by drop."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Balloon changes to make now, and what has to wait. Masks are (n,)."""

    shrink: Bools
    grow: Bools
    target: Floats
    """Bytes, where `shrink` or `grow`."""
    halt: Bools
    """Shrinks under way that end where they are: the guest has come under pressure, and no memory is free for it."""
    unverified: Bools
    """Shrinks wanted by domains whose newest sample is too old to shrink on."""
    unpaid: Bools
    """Grows wanted for which no memory is free now."""


def threshold(sight: Observation, inventory: Inventory) -> Floats:
    """(n,) bytes by which an allocation may be off before it is moved."""
    return np.maximum(inventory.threshold, inventory.threshold_fraction * sight.allocation)


def choose(plan: Plan, state: State, committed: Floats, now: float) -> Moves:
    """Balloon changes that bring the node closer to `plan` without the sum of allocations ever passing the budget."""
    motion, size = state.balloon, state.observation.allocation
    under_way = np.isfinite(motion.target)
    turning = state.pressure.pressed & (motion.target < size)
    base = np.where(under_way & ~turning, motion.target, size)
    wishes = _wishes(plan, state, base, now)
    free = state.host.budget - float(committed.sum())
    still = plan.movable & ~under_way & (wishes == 0)
    hopes = _hopes(plan, state, still)
    shrink, less = _shrinks(plan, state, still, wishes, hopes, free, now)
    verified = _verified(state, now)
    coming = bool((motion.target < size).any() or (shrink & verified).any())
    patient = coming & (now - motion.last_at < state.inventory.interval_minimum)
    granted = _grant(wishes, hopes, state, free, patient)
    more = np.floor((base + granted + ROUNDING) / GRAIN) * GRAIN
    grow = (granted > 0) & (more - base >= TOLERANCE)
    return Moves(
        shrink=shrink & verified & (less < size),
        grow=grow & ~shrink,
        target=np.where(shrink, less, more),
        halt=turning & plan.movable & ~grow,
        unverified=shrink & ~verified,
        unpaid=granted < wishes - TOLERANCE,
    )


def _wishes(plan: Plan, state: State, base: Floats, now: float) -> Floats:
    """(n,) bytes that domains are to grow by from `base`, where what they need is beyond the threshold, or they are in
    need, or left with too little headroom. They grow to their fair part at once: the next moves of a ramp are saved.
    """
    lacking = np.where(plan.movable, plan.needed - base, 0.0)
    lowest, _ = limits(state.inventory, state.observation)
    band = threshold(state.observation, state.inventory)
    narrow = _narrow(state, base, now)
    must = state.pressure.pressed | (base < lowest - TOLERANCE) | narrow
    worth = lacking > np.where(must, TOLERANCE, band)
    least = np.where(narrow, np.minimum(band, plan.top - base), lacking)
    sought = np.maximum(np.maximum(plan.fair - base, least), lacking)
    return np.where(worth, np.where(state.balloon.release, lacking, sought), 0.0)


def _narrow(state: State, base: Floats, now: float) -> Bools:
    """(n,) where the upper forecast has eaten into the headroom, and no spare memory is lent that would stand in."""
    upper, inventory = state.outlook.upper, state.inventory
    lent = inventory.share & state.host.lends(now)
    return np.asarray((base - upper < (1 - EATEN) * headroom(inventory, upper)) & ~lent)


def _hopes(plan: Plan, state: State, still: Bools) -> Floats:
    """(n,) bytes of left-over memory that domains are to get: where they have much less than their fair part of it."""
    size, release = state.observation.allocation, state.balloon.release
    missing = np.where(still, plan.fair - size, 0.0)
    enough = np.maximum(threshold(state.observation, state.inventory), UNFAIR * (plan.fair - plan.needed))
    return np.where(missing >= np.where(release, TOLERANCE, enough), missing, 0.0)


def _shrinks(
    plan: Plan, state: State, still: Bools, wishes: Floats, hopes: Floats, free: float, now: float
) -> tuple[Bools, Floats]:
    """Who is to shrink, (n,), and to what, bytes: domains that keep too much, and donors where grows cannot be paid.

    Donors are those with the most to spare for their weight, as few as will do: memory that nobody needs is no matter
    of fairness, moves are.
    """
    inventory, motion, pressure = state.inventory, state.balloon, state.pressure.pressed
    size = state.observation.allocation
    less = np.ceil(plan.keep / GRAIN) * GRAIN
    surplus = np.where(still, size - less, 0.0)
    over = size > plan.top + TOLERANCE
    shrink = surplus > np.where(over | motion.release, TOLERANCE, threshold(state.observation, inventory))
    given = free + float(surplus[shrink].sum())
    given += _coming(state, float(wishes[pressure].sum()) - given, now)
    wished = float(wishes.sum())
    hoped = float(np.where(motion.release, 0.0, hopes).sum())
    lacking = wished + hoped - given
    if lacking < (TOLERANCE if wished + hoped > 0 else OVERDRAFT * state.host.budget):
        return shrink, less
    least = np.where(motion.release | state.host.reading.pressure, plan.needed, np.maximum(plan.fair, plan.needed))
    starving = float(wishes[pressure].sum()) > given
    gift = np.where(starving, TOLERANCE, threshold(state.observation, inventory))
    return _Donors(least, shrink, less, still & (hopes == 0), gift).give(state, lacking + POOL * state.host.budget)


def _coming(state: State, lacking: float, now: float) -> float:
    """Bytes that balloons under way are to give back. `lacking`: bytes that guests in need wait for.

    These wait for no balloon that hardly moves. What counts for them is what was asked for just now, and later as much
    as has come so far, for a while more.
    """
    motion, size = state.balloon, state.observation.allocation
    left = np.maximum(size - motion.target, 0.0)
    elapsed = now - motion.last_at
    shown = np.maximum(motion.last_from - size, 0.0) * (PROMPT / np.maximum(elapsed, PROMPT))
    soon = float(np.nansum(np.where(elapsed <= PROMPT, left, np.minimum(left, shown))))
    return soon if lacking > soon else float(np.nansum(left))


@dataclass(frozen=True, slots=True)
class _Donors:
    """Shrinks decided on, and what `still` domains could be left with on top of that. All (n,), bytes."""

    least: Floats
    shrink: Bools
    less: Floats
    still: Bools
    gift: Floats
    """The least that a domain is asked for."""

    def give(self, state: State, lacking: float) -> tuple[Bools, Floats]:
        """More shrinks, until `lacking` bytes come together or nobody has any to spare."""
        least = np.ceil(self.least / GRAIN) * GRAIN
        rest = np.where(self.shrink, self.less, state.observation.allocation)
        spare = np.where(self.still, rest - least, 0.0)
        donors = np.flatnonzero(spare >= self.gift)
        donors = donors[np.argsort(-spare[donors] / state.inventory.weight[donors], kind="stable")]
        given_before = np.concatenate(([0.0], np.cumsum(spare[donors])))[:-1]
        donors = donors[given_before < lacking]
        given = np.minimum(spare[donors], np.maximum(lacking - given_before[: len(donors)], self.gift[donors]))
        shrink, less = self.shrink.copy(), self.less.copy()
        less[donors] = np.maximum(np.floor((rest[donors] - given) / GRAIN) * GRAIN, least[donors])
        shrink[donors] = True
        return shrink, less


def _verified(state: State, now: float) -> Bools:
    """(n,) True where the newest sample is new enough, and of the present allocation, to take memory on its word.

    A released domain is looked at seldom, and may send no statistics any more.
    """
    seen = state.observation
    newest = np.where(state.balloon.release, NEWEST, np.maximum(NEWEST, 2 * state.inventory.interval_minimum))
    young = (now - seen.reported_at <= newest) & (seen.fresh_at >= np.fmax(seen.moved_at, state.balloon.rest_from))
    return np.asarray(young & (seen.trouble == Reason.NONE))


def _grant(wishes: Floats, hopes: Floats, state: State, free: float, patient: Bools) -> Floats:
    """(n,) bytes of free memory: for guests under pressure first, then by weight, then, the pool apart, for hopes.

    No useless trifles: what is less than the threshold waits. A guest in need takes any, unless it is `patient`, (n,):
    it was moved just now, and more memory is on its way.
    """
    pressure, weights = state.pressure.pressed, state.inventory.weight
    levels = [np.zeros_like(wishes), np.where(pressure, wishes, 0.0), wishes]
    granted = planner.fill(levels, weights, max(free, 0.0))
    left = free - float(wishes.sum()) - POOL * state.host.budget
    if left > 0:
        granted = granted + planner.share(hopes, weights, left)
    enough = np.fmax(np.minimum(wishes, threshold(state.observation, state.inventory)), WORTH_HOPING * hopes)
    urgent = state.balloon.release | (pressure & ~patient)
    return np.where(granted >= np.where(urgent, TOLERANCE, enough), granted, 0.0)


def why_moved(plan: Plan, target: Floats, state: State) -> Ints:
    """(n,) `Reason` for moving each domain to `target`, were it moved."""
    motion, sight, inventory = state.balloon, state.observation, state.inventory
    size = sight.allocation
    lowest, top = limits(inventory, sight)
    grows = target > size
    return first_that_applies(
        [
            (motion.release, Reason.RELEASE_RESTORE),
            (grows & state.pressure.pressed, Reason.PRESSURE_GROW),
            ((size < lowest - TOLERANCE) | (size > top + TOLERANCE), Reason.LIMITS),
            (grows & inventory.share & (target > plan.needed + TOLERANCE), Reason.SPARE_LENT),
            (grows, Reason.FORECAST_GROW),
            (np.full(len(size), state.host.reading.pressure), Reason.HOST_PRESSURE_SHRINK),
            (target < plan.keep - TOLERANCE, Reason.CONTENTION_SHRINK),
        ],
        Reason.FORECAST_SHRINK,
    )


def why_kept(plan: Plan, moves: Moves, state: State, now: float) -> Ints:
    """(n,) `Reason` for leaving each domain as it is, were it left."""
    motion, sight, inventory = state.balloon, state.observation, state.inventory
    size = sight.allocation
    lowest, _ = limits(inventory, sight)
    wanted = np.maximum(state.outlook.wanted, lowest)
    band = threshold(sight, inventory)
    less = wanted < size - band
    more = np.minimum(wanted, plan.top) > size + band
    coming = bool(((motion.target < size) & ~moves.halt).any() or moves.shrink.any() or moves.unverified.any())
    return first_that_applies(
        [
            (inventory.obstacle != Reason.NONE, inventory.obstacle),
            (sight.trouble != Reason.NONE, sight.trouble),
            (sight.fresh_count == 0, Reason.WARMING_UP),
            (resting(motion, state.pressure.pressed, now, Tuning()), Reason.BUSY),
            (now < motion.retry_at, Reason.STUCK),
            (now < motion.hold_until, Reason.OUTSIDE_CHANGE),
            (np.isfinite(motion.target) & ~moves.halt, Reason.MOVING),
            (moves.unpaid | moves.halt, Reason.AWAITING_MEMORY if coming else Reason.NO_BUDGET),
            (more & (plan.needed < size + band), Reason.NO_BUDGET),
            (less & (sight.fresh_count < FRESH_TO_SHRINK), Reason.WARMING_UP),
            (less, Reason.STABILIZING),
        ],
        Reason.WITHIN_THRESHOLD,
    )


def actions(state: State, rows: Ints, target: Floats, reason: Ints) -> tuple[Action, ...]:
    """The changes of `rows` as the world outside sees them; `target` and `reason` are (n,)."""
    keys, names = state.inventory.keys, state.inventory.names
    sizes = state.observation.allocation[rows].astype(np.int64).tolist()
    targets = target[rows].astype(np.int64).tolist()
    reasons = [REASONS[code] for code in reason[rows].tolist()]
    demands, forecasts = plain(state.observation.demand[rows]), plain(state.outlook.forecast[rows])
    return tuple(
        Action(row, keys[row], names[row], *numbers)
        for row, *numbers in zip(rows.tolist(), sizes, targets, reasons, demands, forecasts, strict=True)
    )

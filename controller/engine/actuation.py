"""From plan to balloon changes: what is worth its price, is safe now, and can be paid for now.

Shrinks come first; grows are given only from memory that is free already. Memory on its way back pays for grows of a
later step, which the balloon event of its arrival wakes.
"""

from dataclasses import dataclass

import numpy as np

from controller.engine.allocation import FRESH_TO_SHRINK, Plan
from controller.engine.balloon import LATE_NEWS, resting
from controller.engine.known import Known
from controller.engine.reasons import Reason, first_that_applies
from controller.engine.snapshot import TOLERANCE
from controller.engine.tables import Bools, Floats, Ints, mask, rows_of, total

ROUNDING = 0.5
"""Bytes that sums of floating-point sizes may be off by."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Balloon changes to make now, and what has to wait. Masks are (n,)."""

    shrink: Bools
    grow: Bools
    target: Floats
    """Bytes, where `shrink` or `grow`; what each domain has elsewhere."""
    reason: Ints
    """`Reason` of every domain's move, or of its being left alone."""
    halt: Bools
    """Shrinks under way that end where they are: the guest has come into need, and no memory is free for it."""
    unverified: Bools
    """Shrinks wanted by domains whose newest sample is too old to shrink on."""


def choose(known: Known, plan: Plan, saving: Floats) -> Moves:
    """Balloon changes that bring the node closer to its plan without the sum of allocations passing the budget.

    `saving`: (n,) byte-seconds of shortfall that the plan saves, see `Exposure`.
    """
    size, base = known.observation.allocation, known.going_to
    wishes, hopes = _wishes(known, plan, saving, base)
    asks = (wishes > 0) | (hopes > 0)
    still = plan.movable & ~known.balloon.under_way & ~asks
    returns, shrink, less = _shrinks(known, plan, still, wishes)
    if not np.count_nonzero(asks | shrink | known.turning):  # mostly so
        reason = _reasons(known, plan, shrink, shrink, returns, shrink, known.gives)
        return Moves(shrink, shrink, size, reason, shrink, shrink)
    # Memory is taken on the word of a sample that is new enough, and of the present allocation. A released domain is
    # looked at seldom, and may send no statistics any more.
    seen, balloon, newest = known.observation, known.balloon, known.tuning.newest
    usual = np.where(balloon.release, newest, np.maximum(newest, 2 * known.inventory.interval_minimum))
    at_rest = seen.fresh_at >= np.fmax(seen.moved_at, balloon.rest_from)
    verified = (known.now - seen.reported_at <= usual) & at_rest & (seen.trouble == int(Reason.NONE))
    unverified, shrink = shrink & ~verified, shrink & verified
    coming = known.gives or bool(np.count_nonzero(shrink))
    granted = _grant(known, plan.free, wishes, hopes, coming)
    grain = known.inventory.grain
    more = np.floor((base + granted + ROUNDING) / grain) * grain
    cut, nearer = _cut_short(known, plan, wishes)
    grow, more = cut | ((granted > 0) & (more - base >= TOLERANCE)), np.where(cut, nearer, more)
    shrink = shrink & (less < size)
    halt = known.turning & plan.movable & ~grow
    waits, coming = (granted < wishes - TOLERANCE) | halt, coming or bool(np.count_nonzero(unverified))
    target = np.where(shrink, less, np.where(grow, more, size))
    return Moves(shrink, grow, target, _reasons(known, plan, shrink, grow, returns, waits, coming), halt, unverified)


def _wishes(known: Known, plan: Plan, saving: Floats, base: Floats) -> tuple[Floats, Floats]:
    """(n,) bytes by which domains are to grow to their plan from `base`: all of it, so that the next moves of a ramp
    are saved. First what memory is asked of others for: where the `saving` is worth the price of a move, or they are in
    need; then what they get only of memory that is left over.
    """
    in_need, lacking = known.in_need, plan.size - base
    able = plan.movable & (~known.shrinking | in_need)
    lacking = np.where(able & (lacking > np.where(in_need, known.useful, TOLERANCE)), lacking, 0.0)
    unmet = base < known.bounds.minimum - TOLERANCE
    narrow = plan.returns & ~np.any(unmet & plan.movable)  # beyond the plan, so that it comes after everybody's minimum
    if np.count_nonzero(narrow):
        near = (1.0 - known.tuning.safety) * known.inventory.headroom_on(known.estimate.upper)
        # Who has its part of too little grows no further: the next would, too, by turns.
        narrow = narrow & (base - known.estimate.upper < near) & (lacking > 0)
        least = np.minimum(known.bounds.threshold, known.bounds.top - base)
        lacking = np.where(narrow & ~known.shrinking & plan.movable, np.maximum(lacking, least), lacking)
    if not np.count_nonzero(lacking):
        return lacking, lacking
    must = in_need | unmet | known.balloon.release | narrow
    beyond = lacking > known.bounds.threshold
    worth = saving >= known.tuning.move_price * known.mean_demand
    asks = must | (beyond & (worth | plan.returns))
    return np.where(asks, lacking, 0.0), np.where(beyond & ~asks, lacking, 0.0)


def _shrinks(known: Known, plan: Plan, still: Bools, wishes: Floats) -> tuple[Bools, Bools, Floats]:
    """Who gives back what nobody asks for, who is to shrink at all, (n,), and to what, bytes.

    Donors are those with the most above their plan, as few as will do: moves have a price.
    """
    size, release, pool = known.observation.allocation, known.balloon.release, known.tuning.pool * known.host.budget
    pressed, wished = total(wishes[known.pressed]), total(wishes)
    nobody, paid = still & plan.returns, plan.free + _coming(known, pressed - plan.free)
    if not np.count_nonzero(nobody) and wished - paid < TOLERANCE:
        return nobody, nobody, size
    if pressed > paid:
        promised = np.minimum(plan.size, np.maximum(plan.wanted, known.bounds.minimum))
        held = np.where(known.inventory.share, plan.size, promised)
    else:
        held = np.maximum(plan.size, np.where(plan.returns, 0.0, np.fmin(known.estimate.firm, size)))
    grain = known.inventory.grain
    held = np.where(release, np.fmax(held, np.fmin(known.inventory.definition, size)), held)
    least = np.ceil(held / grain) * grain
    closest = (known.balloon.last_to <= least) & (size - known.balloon.last_to <= known.tuning.miss)
    spare = np.where(still & ~closest, size - least, 0.0)
    prompt = (size > known.bounds.top + TOLERANCE) | release
    returns = plan.returns & (spare > np.where(prompt, TOLERANCE, known.bounds.threshold))
    less = np.where(returns, least, size)
    given = plan.free + total(spare[returns])
    given += _coming(known, pressed - given)
    lacking = wished - given
    if lacking < TOLERANCE:
        return returns, returns, less
    lacking += pool
    gift = known.useful if pressed > given else known.bounds.threshold
    # What is a trifle to a huge donor may be all that a small guest in need waits for.
    trifle = np.minimum(gift, known.useful[known.pressed & (wishes > 0)].min(initial=np.inf))
    donors = rows_of(~returns & still & (spare >= np.maximum(trifle, TOLERANCE)) & ~release)
    donors = donors[np.argsort(-spare[donors], kind="stable")]
    before = np.concatenate(([0.0], np.cumsum(spare[donors])))[:-1]
    donors = donors[before < np.where(spare[donors] >= gift[donors], lacking, pressed - given)]
    gives = np.minimum(spare[donors], np.maximum(lacking - before[: len(donors)], gift[donors]))
    less[donors] = np.maximum(np.floor((size[donors] - gives) / grain[donors]) * grain[donors], least[donors])
    return returns, returns | mask(donors, len(size)), less


def _coming(known: Known, lacking: float) -> float:
    """Bytes that balloons under way are to give back. `lacking`: bytes that guests in need wait for.

    These wait for no balloon that hardly moves. What counts for them is what was asked for just now, and later as much
    as has come so far, for a while more.
    """
    balloon, size = known.balloon, known.observation.allocation
    if not np.count_nonzero(balloon.under_way):
        return 0.0
    left = np.maximum(size - balloon.target, 0.0)
    elapsed, prompt = known.now - balloon.last_at, known.tuning.prompt
    shown = np.maximum(balloon.last_from - size, 0.0) * (prompt / np.maximum(elapsed, prompt))
    soon = float(np.nansum(np.where(elapsed <= prompt, left, np.minimum(left, shown))))
    return soon if lacking > soon else float(np.nansum(left))


def _cut_short(known: Known, plan: Plan, wishes: Floats) -> tuple[Bools, Floats]:
    """Grows that take long and are to end sooner, (n,), and where, bytes: guests in need wait for memory that was
    promised to others, who have less of it by the plan now. As few as will do.

    None turns back: a balloon goes on at the speed that it has shown until it can have heard, and that can be known.
    """
    size, balloon, grain = known.observation.allocation, known.balloon, known.inventory.grain
    elapsed = known.now - balloon.last_at
    long = balloon.under_way & ~known.shrinking & ~known.in_need & plan.movable & (elapsed > known.tuning.prompt)
    pressed = total(wishes[known.pressed]) - plan.free
    lacking = pressed - _coming(known, pressed)
    if not np.count_nonzero(long) or lacking < TOLERANCE:
        return np.zeros_like(long), size
    passes = np.fmax(size - balloon.last_from, 0.0) * LATE_NEWS / np.maximum(elapsed, LATE_NEWS)
    nearer = np.ceil(np.maximum(size + passes, plan.size) / grain) * grain
    unused = np.where(long, balloon.target - nearer, 0.0)
    rows = rows_of(unused > known.bounds.threshold)
    rows = rows[np.argsort(-unused[rows], kind="stable")]
    return mask(rows[np.cumsum(unused[rows]) - unused[rows] < lacking], len(size)), nearer


def _grant(known: Known, free: float, wishes: Floats, hopes: Floats, coming: bool) -> Floats:
    """(n,) bytes of what is `free`: to guests in need first, then to others, then, the pool apart, to hopes. Of wishes
    the least by weight first, as many in full as it pays for, and what is left for the next: a part for everybody would
    have to be followed by another move of each. Whoever is on the way to a size gets more when it is there; one in need
    once it has set out, but then as much again at least: QEMU tells of sizes once a second.

    No useless trifles: what is less than the threshold waits. A guest in need takes less, unless it was moved just now,
    and more memory is on its way.
    """
    urgent, rows = known.in_need, rows_of(wishes > 0)
    rows = rows[np.lexsort((wishes[rows] / known.inventory.weight[rows], ~urgent[rows]))]
    asked, granted = wishes[rows], np.zeros(len(wishes))
    granted[rows] = np.minimum(asked, np.maximum(free - (np.cumsum(asked) - asked), 0.0))
    left = free - total(wishes) - known.tuning.pool * known.host.budget
    granted = granted + hopes * min(1.0, max(left, 0.0) / max(total(hopes), 1.0))
    patient = coming & (known.now - known.balloon.last_at < known.inventory.interval_minimum)
    trifle = np.where(urgent & ~patient, known.useful, known.bounds.threshold)
    least = np.where(known.balloon.release, TOLERANCE, np.minimum(wishes + hopes, trifle))
    size = known.observation.allocation
    again = urgent & (size > known.balloon.last_from) & (granted >= known.going_to - size)
    return np.where((~known.follows | again) & (granted >= np.maximum(least, ROUNDING)), granted, 0.0)


def _reasons(known: Known, plan: Plan, shrink: Bools, grow: Bools, returns: Bools, waits: Bools, coming: bool) -> Ints:
    """(n,) `Reason` of each domain's move, by the rule that moves it, or of its being left as it is."""
    seen, balloon, size = known.observation, known.balloon, known.observation.allocation
    threshold, foreseen, grain = known.bounds.threshold, known.foreseen, known.inventory.grain
    lacks = (plan.wanted > size + threshold) & (plan.size < size + threshold)
    cases: list[tuple[Bools, Reason | Ints]] = []
    if np.count_nonzero(shrink | grow):
        outside = (grow & (size < known.bounds.minimum - TOLERANCE)) | (shrink & (size > known.bounds.top + TOLERANCE))
        cases = [
            ((shrink | grow) & balloon.release, Reason.RELEASE_RESTORE),
            (grow & known.pressed, Reason.PRESSURE_GROW),
            (grow & known.growth.short, Reason.FELT_GROW),
            (outside, Reason.LIMITS),
            (grow & (size < plan.wanted), Reason.FORECAST_GROW),
            (grow, Reason.SPARE_LENT),
            (shrink & known.host.strained, Reason.HOST_PRESSURE_SHRINK),
            (shrink & ~returns, Reason.CONTENTION_SHRINK),
            (shrink, Reason.FORECAST_SHRINK),
        ]
    if np.count_nonzero(known.pressed | balloon.under_way | balloon.release | ~plan.movable):
        cases += [
            (known.inventory.obstacle != int(Reason.NONE), known.inventory.obstacle),
            (seen.trouble != int(Reason.NONE), seen.trouble),
            (seen.fresh_count == 0, Reason.WARMING_UP),
            (resting(balloon, known.pressed, known.now, known.tuning), Reason.REFUSED),
            (known.now < balloon.retry_at, Reason.STUCK),
            (known.now < balloon.hold_until, Reason.OUTSIDE_CHANGE),
            (known.turning & ~known.in_need, Reason.STABILIZING),
            (balloon.under_way & ~waits, Reason.MOVING),
        ]
        lacks |= known.pressed & (seen.told_size >= size - TOLERANCE)  # it has told so at this size, and gets no more
    full = known.going_to >= np.floor(known.bounds.top / grain) * grain - TOLERANCE
    cases.append((full & (known.pressed | (known.estimate.upper > known.bounds.top)), Reason.AT_MAXIMUM))
    if not plan.minimums_fit:
        cases.append((size < known.bounds.minimum - TOLERANCE, Reason.MINIMUM_UNMET))
    idle = np.fmax(foreseen, known.bounds.minimum) < size - threshold
    cases += [
        (waits, Reason.AWAITING_MEMORY if coming else Reason.NO_BUDGET),
        (known.fruitless, Reason.NOT_RETURNED),
        (lacks, Reason.NO_BUDGET),
        (idle & (seen.fresh_count < FRESH_TO_SHRINK), Reason.WARMING_UP),
        (idle & ~known.inventory.share & (plan.size >= foreseen), Reason.STABILIZING),
    ]
    return first_that_applies(cases, Reason.WITHIN_THRESHOLD)

"""From plan to balloon changes: what is worth its price, is safe now, and can be paid for now.

Shrinks come first; grows are given only from memory that is free already. Memory on its way back pays for grows of a
later step, which the balloon event of its arrival wakes.
"""

from dataclasses import dataclass

import numpy as np

from controller.engine.allocation import FRESH_TO_SHRINK, Exposure, Plan
from controller.engine.balloon import resting
from controller.engine.decision import Figures
from controller.engine.known import Known
from controller.engine.reasons import Reason, first_that_applies
from controller.engine.snapshot import TOLERANCE
from controller.engine.tables import Bools, Floats, Ints, mask, rows_of

ROUNDING = 0.5
"""Bytes that sums of floating-point sizes may be off by."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the choice of moves depends on, as the stages before have left it."""

    known: Known
    plan: Plan
    exposure: Exposure
    free: float
    """Bytes of the budget that nobody has or was promised, negative where more is given away."""
    price: float
    """Byte-seconds that a move has to save."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Balloon changes to make now, and what has to wait. Masks are (n,)."""

    shrink: Bools
    grow: Bools
    target: Floats
    """Bytes, where `shrink` or `grow`."""
    reason: Ints
    """`Reason` of every domain's move, or of its being left alone."""
    halt: Bools
    """Shrinks under way that end where they are: the guest has come into need, and no memory is free for it."""
    unverified: Bools
    """Shrinks wanted by domains whose newest sample is too old to shrink on."""


def figures(at: Situation) -> Floats:
    """(m, n) the numbers that decisions come from, in the order of `Figures`; nothing is moved yet."""
    known = at.known
    size, estimate = known.observation.allocation, known.estimate
    made = np.empty((len(Figures._fields), len(size)))
    made[:4] = known.observation.demand, estimate.forecast, estimate.upper, known.inventory.headroom_on(estimate.upper)
    made[4:8] = np.where(np.isfinite(estimate.foot), at.plan.wanted, np.nan), at.plan.size, size, size
    made[8:11] = known.bounds.threshold, at.exposure.excess, at.exposure.saving
    made[11:14] = np.array([at.price, known.host.budget, at.free])[:, None]
    made[14] = known.burst
    return made


def choose(at: Situation) -> Moves:
    """Balloon changes that bring the node closer to its plan without the sum of allocations passing the budget."""
    known, plan = at.known, at.plan
    size, base = known.observation.allocation, known.going_to
    wishes, hopes = _wishes(at, base)
    asks = (wishes > 0) | (hopes > 0)
    still = plan.movable & ~known.balloon.under_way & ~asks
    returns, shrink, less = _shrinks(at, still, wishes)
    if not np.count_nonzero(asks | shrink | known.turning):  # mostly so
        return Moves(shrink, shrink, size, _why_kept(at, shrink, known.gives), shrink, shrink)
    # Memory is taken on the word of a sample that is new enough, and of the present allocation. A released domain is
    # looked at seldom, and may send no statistics any more.
    seen, balloon, newest = known.observation, known.balloon, known.tuning.newest
    usual = np.where(balloon.release, newest, np.maximum(newest, 2 * known.inventory.interval_minimum))
    at_rest = seen.fresh_at >= np.fmax(seen.moved_at, balloon.rest_from)
    verified = (known.now - seen.reported_at <= usual) & at_rest & (seen.trouble == int(Reason.NONE))
    coming = known.gives or bool(np.count_nonzero(shrink & verified))
    granted = _grant(at, wishes, hopes, coming)
    grain = known.inventory.grain
    more = np.floor((base + granted + ROUNDING) / grain) * grain
    grow = (granted > 0) & (more - base >= TOLERANCE) & ~shrink
    shrink_now = shrink & verified & (less < size)
    halt = known.turning & plan.movable & ~grow
    waits = (granted < wishes - TOLERANCE) | halt
    unverified = shrink & ~verified
    reason = _why_kept(at, waits, coming or bool(np.count_nonzero(unverified)))
    moves, target = shrink_now | grow, np.where(shrink, less, more)
    if np.count_nonzero(moves):
        reason = np.where(moves, _why_moved(at, target, returns), reason)
    return Moves(shrink_now, grow, target, reason, halt, unverified)


def _wishes(at: Situation, base: Floats) -> tuple[Floats, Floats]:
    """(n,) bytes by which domains are to grow to their plan from `base`: all of it, so that the next moves of a ramp
    are saved. First what memory is asked of others for: where that is worth its price, or they are in need; then what
    they get only of memory that is left over.
    """
    known, plan, in_need = at.known, at.plan, at.known.in_need
    lacking = np.where(plan.movable & (~known.shrinking | in_need), plan.size - base, 0.0)
    lacking = np.where(lacking > np.where(in_need, known.useful, TOLERANCE), lacking, 0.0)
    unmet = base < known.bounds.minimum - TOLERANCE
    narrow = plan.returns & ~np.any(unmet & plan.movable)  # beyond the plan, so that it comes after everybody's minimum
    if np.count_nonzero(narrow):
        near = (1.0 - known.tuning.safety) * known.inventory.headroom_on(known.estimate.upper)
        narrow = narrow & (base - known.estimate.upper < near)
        least = np.minimum(known.bounds.threshold, known.bounds.top - base)
        lacking = np.where(narrow & ~known.shrinking & plan.movable, np.maximum(lacking, least), lacking)
    if not np.count_nonzero(lacking):
        return lacking, lacking
    must = in_need | unmet | known.balloon.release | narrow
    beyond = lacking > known.bounds.threshold
    worth = must | (beyond & ((at.exposure.saving >= at.price) | plan.returns))
    far = beyond & (base < known.tuning.far * plan.size) & ~(plan.returns | worth)
    return np.where(worth, lacking, 0.0), np.where(far, lacking, 0.0)


def _shrinks(at: Situation, still: Bools, wishes: Floats) -> tuple[Bools, Bools, Floats]:
    """Who gives back what nobody asks for, who is to shrink at all, (n,), and to what, bytes.

    Donors are those with the most above their plan, as few as will do: moves have a price.
    """
    known, plan = at.known, at.plan
    size, release, pool = known.observation.allocation, known.balloon.release, known.tuning.pool * known.host.budget
    pressed, wished = float(wishes[known.pressed].sum()), float(wishes.sum())
    short = TOLERANCE if wished > 0 else pool / 2
    nobody = still & plan.returns
    if not np.count_nonzero(nobody) and wished - at.free - _coming(at, pressed - at.free) < short:
        return nobody, nobody, size
    kept = np.where(plan.returns | (pressed > 0), 0.0, np.fmin(known.estimate.firm, size))
    held = np.maximum(plan.size, kept)
    if pressed > 0:
        promised = np.minimum(plan.size, np.maximum(plan.wanted, known.bounds.minimum))
        held = np.where(known.inventory.share, held, promised)
    grain = known.inventory.grain
    least = np.ceil(held / grain) * grain
    closest = (known.balloon.last_to <= least) & (size - known.balloon.last_to <= known.tuning.miss)
    spare = np.where(still & ~closest, size - least, 0.0)
    prompt = (size > known.bounds.top + TOLERANCE) | release
    returns = plan.returns & (spare > np.where(prompt, TOLERANCE, known.bounds.threshold))
    less = np.where(returns, least, size)
    given = at.free + float(spare[returns].sum())
    given += _coming(at, pressed - given)
    lacking = wished - given
    if lacking < short:
        return returns, returns, less
    lacking += pool
    gift = known.useful if pressed > given else known.bounds.threshold
    donors = rows_of(~returns & still & (spare >= np.maximum(gift, TOLERANCE)) & ~release)
    donors = donors[np.argsort(-spare[donors], kind="stable")]
    before = np.concatenate(([0.0], np.cumsum(spare[donors])))[:-1]
    donors = donors[before < lacking]
    gives = np.minimum(spare[donors], np.maximum(lacking - before[: len(donors)], gift[donors]))
    less[donors] = np.maximum(np.floor((size[donors] - gives) / grain[donors]) * grain[donors], least[donors])
    return returns, returns | mask(donors, len(size)), less


def _coming(at: Situation, lacking: float) -> float:
    """Bytes that balloons under way are to give back. `lacking`: bytes that guests in need wait for.

    These wait for no balloon that hardly moves. What counts for them is what was asked for just now, and later as much
    as has come so far, for a while more.
    """
    known = at.known
    balloon, size = known.balloon, known.observation.allocation
    if not np.count_nonzero(balloon.under_way):
        return 0.0
    left = np.maximum(size - balloon.target, 0.0)
    elapsed, prompt = known.now - balloon.last_at, known.tuning.prompt
    shown = np.maximum(balloon.last_from - size, 0.0) * (prompt / np.maximum(elapsed, prompt))
    soon = float(np.nansum(np.where(elapsed <= prompt, left, np.minimum(left, shown))))
    return soon if lacking > soon else float(np.nansum(left))


def _grant(at: Situation, wishes: Floats, hopes: Floats, coming: bool) -> Floats:
    """(n,) bytes of free memory: to guests under pressure first, then to others, then, the pool apart, to hopes.
    Whoever is on the way to a size gets more when it is there.

    No useless trifles: what is less than the threshold waits. A guest in need takes less, unless it was moved just now,
    and more memory is on its way.
    """
    known = at.known
    urgent, weight = known.in_need, known.inventory.weight
    granted = _in_turn(np.where(urgent, wishes, 0.0), weight, max(at.free, 0.0))
    granted = granted + _in_turn(np.where(urgent, 0.0, wishes), weight, max(at.free, 0.0) - float(granted.sum()))
    left = at.free - float(wishes.sum()) - known.tuning.pool * known.host.budget
    granted = granted + hopes * min(1.0, max(left, 0.0) / max(float(hopes.sum()), 1.0))
    patient = coming & (known.now - known.balloon.last_at < known.inventory.interval_minimum)
    trifle = np.where(urgent & ~patient, known.useful, known.bounds.threshold)
    least = np.where(known.balloon.release, TOLERANCE, np.minimum(wishes + hopes, trifle))
    return np.where(~known.follows & (granted >= np.maximum(least, ROUNDING)), granted, 0.0)


def _in_turn(wishes: Floats, weight: Floats, free: float) -> Floats:
    """(n,) bytes of `free` for `wishes`, (n,) bytes: the least by weight first, as many in full as it pays for, and
    what is left for the next. A part for everybody would have to be followed by another move of each.
    """
    order = np.argsort(wishes / weight, kind="stable")
    before = np.cumsum(wishes[order]) - wishes[order]
    granted = np.empty(len(wishes))
    granted[order] = np.minimum(wishes[order], np.maximum(free - before, 0.0))
    return granted


def _why_moved(at: Situation, target: Floats, returns: Bools) -> Ints:
    """(n,) `Reason` for moving each domain to `target`, were it moved: of the rule that moves it."""
    known = at.known
    size = known.observation.allocation
    grows = target > size
    outside = np.where(grows, size < known.bounds.minimum - TOLERANCE, size > known.bounds.top + TOLERANCE)
    cases = [
        (known.balloon.release, Reason.RELEASE_RESTORE),
        (grows & known.pressed, Reason.PRESSURE_GROW),
        (grows & known.growth.short, Reason.FELT_GROW),
        (outside, Reason.LIMITS),
        (grows & (size < at.plan.wanted), Reason.FORECAST_GROW),
        (grows, Reason.SPARE_LENT),
        (np.full(len(size), known.host.reading.pressure), Reason.HOST_PRESSURE_SHRINK),
        (~returns, Reason.CONTENTION_SHRINK),
    ]
    return first_that_applies(cases, Reason.FORECAST_SHRINK)


def _why_kept(at: Situation, waits: Bools, coming: bool) -> Ints:
    """(n,) `Reason` for leaving each domain as it is, were it left."""
    known, plan = at.known, at.plan
    seen, balloon, size = known.observation, known.balloon, known.observation.allocation
    threshold, foreseen = known.bounds.threshold, known.foreseen
    cases: list[tuple[Bools, Reason | Ints]] = []
    if np.count_nonzero(known.pressed | balloon.under_way | balloon.release | ~plan.movable):
        cases = [
            (known.inventory.obstacle != int(Reason.NONE), known.inventory.obstacle),
            (seen.trouble != int(Reason.NONE), seen.trouble),
            (seen.fresh_count == 0, Reason.WARMING_UP),
            (resting(balloon, known.pressed, known.now, known.tuning), Reason.REFUSED),
            (known.now < balloon.retry_at, Reason.STUCK),
            (known.now < balloon.hold_until, Reason.OUTSIDE_CHANGE),
            (balloon.under_way & ~waits, Reason.MOVING),
        ]
    grain = known.inventory.grain
    full = known.going_to >= np.floor(known.bounds.top / grain) * grain - TOLERANCE
    cases.append((full & (known.pressed | (known.estimate.upper > known.bounds.top)), Reason.AT_MAXIMUM))
    if not plan.minimums_fit:
        cases.append((size < known.bounds.minimum - TOLERANCE, Reason.MINIMUM_UNMET))
    lacks = (plan.wanted > size + threshold) & (plan.size < size + threshold)
    lacks |= known.pressed & (seen.told_size >= size - TOLERANCE)  # it has told so at this size, and gets no more
    idle = np.fmax(foreseen, known.bounds.minimum) < size - threshold
    holds = ~known.inventory.share & (plan.size >= foreseen)
    cases += [
        (waits, Reason.AWAITING_MEMORY if coming else Reason.NO_BUDGET),
        (known.fruitless, Reason.NOT_RETURNED),
        (lacks, Reason.NO_BUDGET),
        (idle & (seen.fresh_count < FRESH_TO_SHRINK), Reason.WARMING_UP),
        (holds & idle, Reason.STABILIZING),
    ]
    return first_that_applies(cases, Reason.WITHIN_THRESHOLD)

"""What each domain should have: the budget spread so that everyone's chance to outgrow its allocation is the same.

Everybody has its demand first, then the minimums, then the demand of a minute ago: who swings will need it in a minute.
What is left goes out in proportion to reach, by weight: for tails that differ in scale only that makes the expected
shortfall least (at the optimum all chances to be exceeded are equal).
Contention, spare memory, `Reclaim` and a host under pressure are this one rule with other tops.
"""

from dataclasses import dataclass

import numpy as np

from controller import planner
from controller.engine.guest_pressure import PressureLevel
from controller.engine.host import allowed
from controller.engine.known import Known
from controller.engine.reasons import Reason
from controller.engine.tables import Bools, Floats, Table, column, rows_of, total
from controller.forecast.tail import Tail

FRESH_TO_SHRINK = 3
"""Fresh samples of a domain, and so also after a restart, before any of its memory is taken."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Arrays of (n,), bytes."""

    size: Floats
    """What each domain should have."""
    need: Floats
    """Below which none is planned: what it uses, and what keeps it out of reclaim there."""
    wanted: Floats
    """Foot and headroom; what is above that is spare."""
    movable: Bools
    """Where False, the domain keeps what it has, or is getting."""
    returns: Bools
    """What it has above `size` goes back to the node, whether somebody asks for it or not."""
    minimums_fit: bool
    """All minimums are within the budget."""
    free: float
    """Bytes of the budget that nobody has or was promised, negative where more is given away."""


@dataclass(frozen=True)
class Exposure(Table):
    """What it costs that domains have not got their plan. Columns of (n,). Written by `expose` and `relieved` only."""

    excess: Floats = column(0.0)
    """Expected shortfall that begins in one shortest interval, as things are, and that memory could spare, bytes."""
    regret: Floats = column(0.0)
    """What the plan would have saved of that since the domain was last moved, or had it, byte-seconds."""
    saving: Floats = column(0.0)
    """That, and what it is expected to save from now on, byte-seconds."""
    moved_at: Floats = column(np.nan)
    """Of the domain's last move, monotonic seconds; NaN before it."""


def allocate(known: Known, committed: Floats, movable: Bools) -> Plan:
    """The plan for the `movable` domains; the others keep what they have, or are getting: `committed` (n,) bytes."""
    seen, inventory, bounds, host, tuning = known.observation, known.inventory, known.bounds, known.host, known.tuning
    need, searched, weight = _need(known), _searched(known), inventory.weight
    demand = np.maximum(need, np.fmin(known.demand, bounds.top))
    wanted = np.fmax(np.minimum(np.fmax(known.foreseen, known.eased), bounds.top), demand)
    returns, top = _tops(known, np.fmax(wanted, searched))
    foot = np.fmax(demand, np.fmin(known.estimate.peak_minute / (1.0 - tuning.low), top))
    if np.count_nonzero(known.in_need):
        # Who is short for a third sample has got too little: it gets twice as much of what others only may need again.
        foot = np.fmax(foot, np.fmin(searched, need + inventory.headroom_on(need) * _doubled(known, 2)))
    if np.count_nonzero(known.balloon.release):
        given_back = np.minimum(np.fmax(need, inventory.definition), np.fmax(need, top))
        foot = np.where(known.balloon.release, given_back, foot)
    planned, fits, rows = committed.copy(), True, rows_of(movable)
    if len(rows):
        reach = np.fmax(np.fmax(known.estimate.reach, tuning.search_reach * (searched - foot)), 1.0) * weight
        least = np.maximum(need, bounds.minimum)
        kept = np.where(known.in_need, np.maximum(need, known.going_to), need)
        levels = (kept, np.maximum(need, searched), least, np.maximum(foot, least), np.maximum(top, least))
        # Nobody can take minimums and present demand, nor what those have who are not Ballast's to move. A guest that
        # boots is about to give back what it does not need; what one took by itself is no claim on others' minimums.
        # It is the budget as the host is now that has to hold them, not less for what the host may come to use.
        boots = np.isnan(seen.demand) & (known.now - seen.booted_at < tuning.boot_time)
        told = known.pressed & ~known.pressure.deflated
        used = np.where(told, seen.allocation, np.where(boots, 0.0, known.used))
        most = max(host.budget, allowed(host, host.own_use, inventory.budget))

        def fit(used: Floats) -> bool:
            return total(np.where(inventory.acted_on, np.fmax(used, bounds.minimum), committed)) <= most

        fits = fit(used)
        alone = not fits and fit(np.where(told, 0.0, used))
        capacity = host.budget - total(committed[~movable])
        spread = min(capacity - tuning.pool * host.budget, capacity - host.budget + host.lendable)
        planned[rows] = _filled([each[rows] for each in (*levels, reach, weight)], fits, alone, capacity, spread)
        fits = fits or bool((least <= need)[rows].all())
    free = host.budget - total(committed)
    return Plan(planned, need, wanted, movable & (seen.allocation > 0), returns & movable, fits, free)


def _filled(levels: list[Floats], fits: bool, alone: bool, capacity: float, spread: float) -> Floats:
    """(m,) planned sizes of m domains. `levels`: (m,) bytes each, what all are served before any is served more, which
    is spread by the last two: need, with what a guest in need has already; need, with what it searches for; need and
    minimum; that, with demand of late; the most it may have; reach; weight.

    Where not all minimums fit, they are met in proportion, once everybody has what it needs and those in need what they
    search for. Those that would fit `alone`, beside the minimums of those in need, come before what these search for.
    """
    kept, sought, least, foot, top, reach, weight = levels
    if not fits:
        left = 0.0 if alone else max(capacity - total(kept), 0.0)
        served = kept + planner.share(np.maximum(sought - kept, 0.0), weight, left)
        lacking = np.maximum(least - served, 0.0)
        left = max(capacity - total(served), 0.0)
        met = served + lacking * min(1.0, left / max(total(lacking), 1.0))
        return np.asarray(met + planner.share(np.maximum(sought - met, 0.0), weight, capacity - total(met)))
    held = least + planner.share(foot - least, weight, capacity - total(least))
    more = np.maximum(kept - held, 0.0)
    return np.asarray(held + planner.level(more, np.maximum(top - held, more), reach, spread - total(held)))


def _need(known: Known) -> Floats:
    """(n,) bytes: present demand and what keeps a guest out of reclaim there; what it last told of while it is under
    pressure, and what eases it for a while after; what it is felt to use; all it has until enough samples came, and a
    forecast, and where the host gets nothing back.
    """
    seen = known.observation
    told = (seen.fresh_count >= FRESH_TO_SHRINK) & np.isfinite(known.estimate.at) & ~known.fruitless
    need = np.where(told, known.used, seen.allocation)
    if np.count_nonzero(known.pressed):
        need = np.where(known.pressed, known.told, need)
    # None is shorter than those were that had too little; or they cannot give it, as they have shown.
    shorter = np.count_nonzero(known.pressure.level > int(PressureLevel.LOW))
    need = np.fmax(need, np.where(known.pressure.deflated, known.eased, 0.0) if shorter else known.eased)
    return np.fmax(need, np.minimum(known.growth.least, seen.allocation))


def _searched(known: Known) -> Floats:
    """(n,) bytes that a guest in need is given, 0 elsewhere.

    One that wakes up is taken to be on its way to its peak of the last hour. One with nothing left that has never
    needed more tells its size, not its demand: it searches, by twice as much from sample to sample. One that is only
    felt to be in need is given what it is felt to take, or that peak.
    """
    if not np.count_nonzero(known.in_need):
        return np.zeros(len(known.in_need))
    pressure, tuning, peak, size = known.pressure, known.tuning, known.estimate.peak_hour, known.told
    felt = np.where(known.growth.short, np.fmax(known.growth.sought, peak), 0.0)
    silent = known.observation.trouble != int(Reason.NONE)
    lost = silent | ((pressure.level == int(PressureLevel.EXHAUSTED)) & (peak < size * (1.0 + tuning.low)))
    sought = size * (1.0 + np.where(lost, tuning.growth * _doubled(known, 1), tuning.growth_known))
    told = np.where(known.pressed, np.fmax(sought, peak), 0.0)
    return np.fmin(np.fmax(told, felt), known.bounds.top)


def _doubled(known: Known, samples: int) -> Floats:
    """(n,) 1 up to so many `samples` in a row that showed a guest short of memory, doubled by each further one."""
    return np.asarray(np.exp2((known.pressure.samples - samples).clip(0, known.tuning.most_doublings)))


def _tops(known: Known, wanted: Floats) -> tuple[Bools, Floats]:
    """Who gives back what it has above its plan, (n,), and the most that is planned for each, (n,) bytes.

    Where the spare is shared, all that a domain may have. Where it is kept (`Reclaim`), what was `wanted` (n,) in the
    last stabilisation windows, and all it has until one of these has passed. While the host is under pressure nobody
    gets more than is `wanted` now.
    """
    inventory, size, top = known.inventory, known.observation.allocation, known.bounds.top
    released = known.balloon.release
    shares = inventory.share & ~released
    if np.count_nonzero(shares) < len(shares):
        held = np.maximum(known.estimate.bucket, known.estimate.bucket_before)
        young = ~(known.now - known.estimate.since >= inventory.stabilization)
        kept = np.fmax(np.fmax(wanted, held), np.where(young, size, 0.0))
        top = np.where(shares, top, np.where(released, inventory.definition, kept))
    if known.host.strained:
        top = wanted
    elif known.now < known.host.lends_at:
        top = np.where(released, top, np.minimum(top, np.fmax(wanted, size)))
    returns = ~shares | (size > known.bounds.top) | known.host.strained
    return np.asarray(returns), np.fmin(top, known.bounds.top)


def expose(exposure: Exposure, plan: Plan, known: Known, tail: Tail, elapsed: float) -> Exposure:
    """What it costs, and has cost for `elapsed` seconds, that domains have not got their plan.

    The expected shortfall is the foot above the allocation, and the learnt tail beyond it, as far as memory could spare
    it: all that a domain may have, and the host has to give. Where memory is not free, a plan saves what is left when
    donors have borne their loss. A move is expected to save for as long as the domain has not been moved.
    """
    estimate, base = known.estimate, known.going_to
    room = np.array([base, plan.size, np.fmin(known.bounds.top, known.host.budget)]) - estimate.foot
    unit = np.fmax(estimate.reach, 1.0)
    beyond = unit * tail.excess(np.fmax(room, 0.0) / unit, known.tuning.borrowed, known.tuning.prior)
    as_is, as_planned, at_most = np.where(np.isfinite(estimate.reach), beyond + np.fmax(-room, 0.0), 0.0)
    lacking = plan.size - base
    short = plan.movable & (lacking > 0)
    gain = short * np.maximum(as_is - as_planned, 0.0)
    asked = total(lacking[gain > 0]) - max(plan.free, 0.0)
    if asked > 0:
        donors = plan.movable & (lacking < 0)
        part = min(asked / max(-total(lacking[donors]), 1.0), 1.0)
        lost = part * total(np.maximum(as_planned - as_is, 0.0)[donors])
        gain *= max(1.0 - lost / max(total(gain), 1e-9), 0.0)
    regret = short * (exposure.regret + gain * elapsed)
    lasting = np.fmax(known.now - np.fmax(estimate.since, exposure.moved_at), 0.0)
    return exposure.having(excess=np.maximum(as_is - at_most, 0.0), regret=regret, saving=regret + gain * lasting)


def relieved(exposure: Exposure, moved: Bools, now: float) -> Exposure:
    """The same once domains are `moved`, (n,): what they regret is counted from then on."""
    return exposure.put(moved, regret=0.0, moved_at=now)

"""What each domain should have: the budget spread so that everyone's chance to outgrow its allocation is the same.

Everybody has its demand first, then the minimums, then the demand of a minute ago: who swings will need it in a minute.
What is left goes out in proportion to reach, by weight: for tails that differ in scale only that makes the expected
shortfall least (at the optimum all chances to be exceeded are equal).
Contention, spare memory, `Reclaim` and a host under pressure are this one rule with other tops.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from controller import planner
from controller.engine.estimate import Estimate, headroom
from controller.engine.host import allowed
from controller.engine.known import Known
from controller.engine.reasons import Reason
from controller.engine.tables import Bools, Floats, Ints, Table, column, rows_of
from controller.engine.tuning import Tuning
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
    reach: Floats
    """The unit in which what is left was spread."""
    movable: Bools
    """Where False, the domain keeps what it has, or is getting."""
    returns: Bools
    """What it has above `size` goes back to the node, whether somebody asks for it or not."""
    minimums_fit: bool
    """All minimums are within the budget."""


@dataclass(frozen=True)
class Exposure(Table):
    """What it costs that domains have not got their plan. Columns of (n,). `expose` is its only writer."""

    excess: Floats = column(0.0)
    """Expected shortfall that begins in one shortest interval, as things are, and that memory could spare, bytes."""
    regret: Floats = column(0.0)
    """What the plan would have saved of that since the domain was last moved, or had it, byte-seconds."""
    saving: Floats = column(0.0)
    """That, and what it is expected to save from now on, byte-seconds."""
    moved_at: Floats = column(np.nan)
    """Of the domain's last move, monotonic seconds; NaN before it."""

    def moved(self, rows: Bools, now: float) -> "Exposure":
        """With a move of the domains in `rows` (n,)."""
        return self.put(rows, regret=0.0, moved_at=now)


class _Levels(NamedTuple):
    """Up to which each domain is served before any is served more. Arrays of (m,), bytes."""

    need: Floats
    kept: Floats
    """What a guest in need has already, wherever it is in its search."""
    sought: Floats
    """Need, and what a guest under pressure searches for."""
    least: Floats
    """Need, and the minimum."""
    foot: Floats
    """That, present demand and that of a minute ago; of a guest under pressure, headroom beyond what it has."""
    top: Floats
    reach: Floats
    weight: Floats

    def of(self, rows: Ints) -> "_Levels":
        return _Levels(*(values[rows] for values in self))


def allocate(known: Known, committed: Floats, movable: Bools) -> Plan:
    """The plan for the `movable` domains; the others keep what they have, or are getting: `committed` (n,) bytes."""
    seen, estimate, host, tuning, bounds = known.observation, known.estimate, known.host, known.tuning, known.bounds
    need = _need(known)
    demand = np.maximum(need, np.fmin(seen.demand, bounds.top))
    wanted = np.fmax(np.minimum(np.fmax(known.foreseen, known.eased), bounds.top), demand)
    searched = _searched(known)
    returns, top = _tops(known, np.fmax(wanted, searched))
    pressing = np.fmin(searched, need + headroom(known.inventory, need))
    foot = np.fmax(np.fmax(demand, np.fmin(estimate.peak_minute / (1.0 - tuning.low), top)), pressing)
    if np.count_nonzero(known.balloon.release):
        given_back = np.minimum(np.fmax(need, known.inventory.definition), np.fmax(need, top))
        foot = np.where(known.balloon.release, given_back, foot)
    reach = np.fmax(np.fmax(estimate.reach, tuning.search_reach * (searched - foot)), 1.0) * known.inventory.weight
    capacity = host.budget - float(committed[~movable].sum())
    spread = min(capacity - tuning.pool * host.budget, capacity - host.budget + host.lendable)
    planned, fits, rows = committed.copy(), True, rows_of(movable)
    if len(rows):
        least = np.maximum(need, bounds.minimum)
        levels = _Levels(
            need,
            np.where(known.in_need, np.maximum(need, known.going_to), need),
            np.maximum(need, searched),
            least,
            np.maximum(foot, least),
            np.maximum(top, least),
            reach,
            known.inventory.weight,
        )
        fits = float(_indispensable(known, committed).sum()) <= _present_budget(known)
        planned[rows] = _filled(levels.of(rows), fits, capacity, spread)
        fits = fits or bool((least <= need)[rows].all())
    return Plan(planned, need, wanted, reach, movable & (seen.allocation > 0), returns & movable, fits)


def _filled(levels: _Levels, fits: bool, capacity: float, spread: float) -> Floats:
    """(m,) planned sizes. Where not all minimums fit, they are met in proportion, once everybody has what it needs and
    those in need what they search for.
    """
    need, least, weight = levels.need, levels.least, levels.weight
    if not fits:
        need = levels.kept
        left = max(capacity - float(need.sum()), 0.0)
        served = need + planner.share(np.maximum(levels.sought - need, 0.0), weight, left)
        lacking = np.maximum(least - served, 0.0)
        left = max(capacity - float(served.sum()), 0.0)
        return served + lacking * min(1.0, left / max(float(lacking.sum()), 1.0))
    held = least + planner.share(levels.foot - least, weight, capacity - float(least.sum()))
    kept = np.maximum(levels.kept - held, 0.0)
    room = np.maximum(levels.top - held, kept)
    return held + planner.level(kept, room, levels.reach, spread - float(held.sum()))


def _need(known: Known) -> Floats:
    """(n,) bytes: present demand and what keeps a guest out of reclaim there; what it last told of while it is under
    pressure, and what eases it for a while after; what it is felt to use; all it has until enough samples came, and a
    forecast, and where the host gets nothing back.
    """
    seen = known.observation
    told = (seen.fresh_count >= FRESH_TO_SHRINK) & ~np.isnan(known.estimate.at) & ~known.fruitless
    need = np.where(told, _used(known), seen.allocation)
    if np.count_nonzero(known.pressed):
        need = np.where(known.pressed, _told(known), need)
    if known.pressure.mildly:
        need = np.fmax(need, known.eased)
    felt = np.minimum(known.growth.least, seen.allocation)
    return np.fmax(np.fmax(need, 0.0), felt)


def _told(known: Known) -> Floats:
    """(n,) bytes that each domain had when it last told of its memory, at most what it has."""
    seen = known.observation
    return np.where(known.pressure.samples > 0, np.fmin(seen.allocation, seen.told_size), seen.allocation)


def _used(known: Known) -> Floats:
    """(n,) bytes: present demand and what keeps a guest out of reclaim, as far as known; at most what it has."""
    return np.fmin(known.observation.demand / (1.0 - known.tuning.low), known.observation.allocation)


def _indispensable(known: Known, committed: Floats) -> Floats:
    """(n,) bytes that nobody can take: minimums and present demand, as far as it is known; all that those have who are
    not Ballast's to move.
    """
    used = _used(known)
    used = np.where(known.pressed, known.observation.allocation, np.where(np.isnan(used), 0.0, used))
    return np.where(known.inventory.acted_on, np.maximum(used, known.bounds.minimum), committed)


def _present_budget(known: Known) -> float:
    """Bytes of the budget as the host is now: nobody goes below a minimum for what the host may come to use."""
    return max(known.host.budget, allowed(known.host, known.host.own_use, known.inventory.budget))


def _searched(known: Known) -> Floats:
    """(n,) bytes that a guest in need is given, 0 elsewhere.

    One that wakes up is taken to be on its way to its peak of the last hour. One with nothing left that has never
    needed more tells its size, not its demand: it searches, by twice as much from sample to sample. One that is only
    felt to be in need is given what it is felt to take, or that peak.
    """
    if not np.count_nonzero(known.in_need):
        return np.zeros(len(known.in_need))
    seen, pressure, tuning, peak = known.observation, known.pressure, known.tuning, known.estimate.peak_hour
    felt = np.where(known.growth.short, np.fmax(known.growth.sought, peak), 0.0)
    size = _told(known)
    silent = seen.trouble != int(Reason.NONE)
    lost = silent | (pressure.exhausted & (peak < size * (1.0 + tuning.low)))
    doublings = np.exp2((pressure.samples - 1).clip(0, tuning.most_doublings))
    sought = size * (1.0 + np.where(lost, tuning.growth * doublings, tuning.growth_known))
    told = np.where(known.pressed, np.fmax(sought, peak), 0.0)
    return np.fmin(np.fmax(told, felt), known.bounds.top)


def _tops(known: Known, wanted: Floats) -> tuple[Bools, Floats]:
    """Who gives back what it has above its plan, (n,), and the most that is planned for each, (n,) bytes.

    Where the spare is shared, all that a domain may have. Where it is kept (`Reclaim`), what was `wanted` (n,) in the
    last stabilisation windows. While the host is under pressure nobody gets more than is `wanted` now.
    """
    inventory, size, top = known.inventory, known.observation.allocation, known.bounds.top
    released = known.balloon.release
    shares = inventory.share & ~released
    if np.count_nonzero(shares) < len(shares):
        top = np.where(shares, top, np.where(released, inventory.definition, _kept(known, wanted)))
    if known.host.reading.pressure:
        top = wanted
    elif not known.host.lends(known.now):
        top = np.where(released, top, np.minimum(top, np.fmax(wanted, size)))
    returns = ~shares | (size > known.bounds.top) | known.host.reading.pressure
    return np.asarray(returns), np.fmin(top, known.bounds.top)


def _kept(known: Known, wanted: Floats) -> Floats:
    """(n,) bytes that domains keep while spare memory is not shared: what was wanted in the last windows, and all they
    have until one of these has passed.
    """
    young = ~(known.now - known.estimate.since >= known.inventory.stabilization)
    return np.fmax(np.fmax(wanted, known.estimate.held), np.where(young, known.observation.allocation, 0.0))


def expose(exposure: Exposure, plan: Plan, known: Known, tail: Tail, free: float, elapsed: float) -> Exposure:
    """What it costs, and has cost for `elapsed` seconds, that domains have not got their plan.

    The expected shortfall is the foot above the allocation, and the learnt tail beyond it, as far as memory could spare
    it: all that a domain may have, and the host has to give. A move is expected to save for as long as the
    domain has not been moved.
    """
    estimate, base = known.estimate, known.going_to
    most = np.fmin(known.bounds.top, known.host.budget)
    as_is, as_planned, at_most = _excess(tail, estimate, np.array([base, plan.size, most]), known.tuning)
    short = plan.movable & (plan.size > base)
    gain = np.where(short, np.maximum(as_is - as_planned, 0.0), 0.0)
    if np.count_nonzero(gain):
        gain *= _net(plan, base, gain, as_planned - as_is, free)
    regret = np.where(short, exposure.regret + gain * elapsed, 0.0)
    lasting = np.fmax(known.now - np.fmax(estimate.since, exposure.moved_at), 0.0)
    return exposure.having(excess=np.maximum(as_is - at_most, 0.0), regret=regret, saving=regret + gain * lasting)


def _net(plan: Plan, base: Floats, gain: Floats, loss: Floats, free: float) -> float:
    """Part of the `gain` (n,) that is left when donors have borne their `loss` (n,), as far as memory is not free."""
    gives = plan.movable & (plan.size < base)
    spare = float((base - plan.size)[gives].sum())
    asked = float((plan.size - base)[gain > 0].sum()) - max(free, 0.0)
    if asked <= 0.0 or spare <= 0.0:
        return 1.0
    lost = float(np.maximum(loss[gives], 0.0).sum()) * min(asked / spare, 1.0)
    return max(1.0 - lost / max(float(gain.sum()), 1e-9), 0.0)


def _excess(tail: Tail, estimate: Estimate, size: Floats, tuning: Tuning) -> Floats:
    room, reach = size - estimate.foot, np.fmax(estimate.reach, 1.0)
    beyond = tail.excess(np.fmax(room, 0.0) / reach, tuning.borrowed, tuning.prior)
    return np.where(np.isfinite(estimate.reach), reach * beyond + np.fmax(-room, 0.0), 0.0)

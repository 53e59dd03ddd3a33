"""What each domain should have: the budget spread so that everyone's chance to outgrow its allocation is the same.

Everybody has its demand first, then the minimums. What is left goes out in proportion to reach, by weight: for tails that differ in scale only that makes the expected
shortfall least (at the optimum all chances to be exceeded are equal). Contention, spare memory, `Reclaim` and a host
under pressure are this one rule with other tops.
"""

from dataclasses import dataclass

import numpy as np

from controller import planner
from controller.engine.bounds import Bounds
from controller.engine.estimate import Estimate
from controller.engine.guest_pressure import GuestPressure
from controller.engine.host import Host
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.reasons import Reason
from controller.engine.tables import Bools, Floats, Table, column
from controller.engine.tuning import Tuning
from controller.forecast.tail import Tail, beyond

FRESH_TO_SHRINK = 3
"""Fresh samples of a domain, and so also after a restart, before any of its memory is taken."""

MOST_DOUBLINGS = 6
"""Of the growth of a guest under pressure: by then it has asked for forty times its size."""


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
    """Expected shortfall that begins in one shortest interval, as things are, bytes."""
    regret: Floats = column(0.0)
    """What the plan would have saved of that since it was last followed, byte-seconds."""


def allocate(
    inventory: Inventory,
    bounds: Bounds,
    observation: Observation,
    pressure: GuestPressure,
    balloon: Balloon,
    estimate: Estimate,
    host: Host,
    committed: Floats,
    movable: Bools,
    now: float,
    tuning: Tuning,
) -> Plan:
    """The plan for the `movable` domains; the others keep what they have, or are getting: `committed` (n,) bytes."""
    size, rows = observation.allocation, np.flatnonzero(movable)
    need = _need(observation, pressure, bounds, tuning)
    foot = np.maximum(need, np.fmin(observation.demand, bounds.top))
    wanted = np.fmax(np.fmin(estimate.wanted(inventory), bounds.top), foot)
    searched = _searched(observation, pressure, estimate, bounds, tuning)
    returns, top = _tops(inventory, bounds, observation, balloon, estimate, host, np.fmax(wanted, searched), now)
    foot = np.where(balloon.release, np.minimum(np.fmax(need, inventory.definition), np.fmax(need, top)), foot)
    reach = np.fmax(np.fmax(estimate.reach, tuning.search_reach * (searched - foot)), 1.0) * inventory.weight
    capacity = host.budget - float(committed[~movable].sum())
    spread = min(capacity - tuning.pool * host.budget, capacity - host.budget + host.lendable)
    planned, fits = committed.copy(), True
    if len(rows):
        least = np.maximum(need, bounds.minimum)
        planned[rows], fits = _filled(
            need[rows],
            np.maximum(need, searched)[rows],
            least[rows],
            np.maximum(foot, least)[rows],
            np.maximum(top, least)[rows],
            reach[rows],
            inventory.weight[rows],
            capacity,
            spread,
        )
    return Plan(planned, need, wanted, reach, movable & (size > 0), returns & movable, fits)


def _filled(
    need: Floats,
    sought: Floats,
    least: Floats,
    foot: Floats,
    top: Floats,
    reach: Floats,
    weight: Floats,
    capacity: float,
    spread: float,
) -> tuple[Floats, bool]:
    """(m,) planned sizes, and whether all minimums fit. Where they do not, they are met in proportion, once everybody
    has what it needs and those in need what they search for.
    """
    if float(least.sum()) > capacity:
        served = need + planner.share(sought - need, weight, max(capacity - float(need.sum()), 0.0))
        lacking = np.maximum(least - served, 0.0)
        left = max(capacity - float(served.sum()), 0.0)
        return served + lacking * min(1.0, left / max(float(lacking.sum()), 1.0)), bool((least <= need).all())
    held = least + planner.share(foot - least, weight, capacity - float(least.sum()))
    return held + planner.level(np.zeros_like(held), np.maximum(top - held, 0.0), reach, spread - float(held.sum())), True


def _need(observation: Observation, pressure: GuestPressure, bounds: Bounds, tuning: Tuning) -> Floats:
    """(n,) bytes: present demand and what keeps a guest out of reclaim there; all it has while it is
    under pressure, and until enough samples came.
    """
    size = observation.allocation
    need = np.fmin(observation.demand / (1.0 - tuning.low), np.fmin(size, bounds.top))
    known = (observation.fresh_count >= FRESH_TO_SHRINK) & ~pressure.pressed
    return np.nan_to_num(np.where(known, need, np.fmin(size, np.fmax(bounds.top, need))))


def _searched(
    observation: Observation, pressure: GuestPressure, estimate: Estimate, bounds: Bounds, tuning: Tuning
) -> Floats:
    """(n,) bytes that a guest under pressure is given, 0 elsewhere.

    One that wakes up is taken to be on its way to its peak of the last hour. One with nothing left that has never
    needed more tells its size, not its demand: it searches, by twice as much from sample to sample.
    """
    size = observation.allocation
    doublings = np.exp2(np.clip(pressure.samples - 1, 0, MOST_DOUBLINGS))
    size = np.where(pressure.samples > 0, np.fmin(size, observation.told_size), size)
    silent = observation.trouble != int(Reason.NONE)
    lost = silent | (pressure.exhausted & (estimate.peak_hour < size * (1.0 + tuning.low)))
    sought = size * (1.0 + np.where(lost, tuning.growth * doublings, tuning.growth_known))
    return np.where(pressure.pressed, np.fmin(np.fmax(sought, estimate.peak_hour), bounds.top), 0.0)


def _tops(
    inventory: Inventory,
    bounds: Bounds,
    observation: Observation,
    balloon: Balloon,
    estimate: Estimate,
    host: Host,
    wanted: Floats,
    now: float,
) -> tuple[Bools, Floats]:
    """Who gives back what it has above its plan, (n,), and the most that is planned for each, (n,) bytes.

    Where the spare is shared, all that a domain may have. Where it is kept (`Reclaim`), what was wanted in the last
    stabilisation windows. While the host is under pressure nobody gets more than is wanted now.
    """
    young = ~(now - estimate.since >= inventory.stabilization)
    held = np.fmax(np.fmax(wanted, estimate.held), np.where(young, observation.allocation, 0.0))
    shares, released = inventory.share & ~balloon.release, balloon.release
    top = np.where(shares, bounds.top, np.where(released, inventory.definition, held))
    if host.reading.pressure:
        top = wanted
    elif not host.lends(now):
        top = np.where(released, top, np.minimum(top, np.fmax(wanted, observation.allocation)))
    over = observation.allocation > bounds.top
    returns = ~shares | over | host.reading.pressure
    return np.asarray(returns), np.fmin(top, bounds.top)


def expose(
    exposure: Exposure, plan: Plan, base: Floats, estimate: Estimate, tail: Tail, elapsed: float, tuning: Tuning
) -> Exposure:
    """What it costs, and has cost for `elapsed` seconds, that domains have `base` (n,) bytes instead of their plan.

    The expected shortfall is the foot above the allocation, and the learnt tail beyond it.
    """
    table = tail.excess(tuning.borrowed, tuning.prior)
    as_is, as_planned = (_excess(table, estimate, size) for size in (base, plan.size))
    short = plan.movable & (plan.size > base)
    gain = np.where(short, np.maximum(as_is - as_planned, 0.0), 0.0)
    return Exposure(as_is, np.where(short, exposure.regret + gain * elapsed, 0.0))


def _excess(table: Floats, estimate: Estimate, size: Floats) -> Floats:
    room = np.nan_to_num(size - estimate.foot)
    reach = np.nan_to_num(np.maximum(estimate.reach, 1.0), nan=1.0)
    known = np.isfinite(estimate.reach)
    return np.where(known, reach * beyond(table, np.maximum(room, 0.0) / reach) + np.maximum(-room, 0.0), 0.0)

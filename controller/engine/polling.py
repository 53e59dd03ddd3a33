"""When each domain is looked at next: when what a look may tell is worth its price.

A shortfall that begins between two looks lasts until the next one. If it is expected to begin at a rate of e bytes a
shortest interval s, looks T apart cost e / s * T / 2 in shortfall, and c / T in looks of price c each. The sum is least
at T = sqrt(2 * c * s / e), as for any stock that is replenished in lots (F. Harris's economic order quantity, 1913).
"""

from dataclasses import dataclass

import numpy as np

from controller.engine.allocation import FRESH_TO_SHRINK, Exposure
from controller.engine.inventory import Inventory
from controller.engine.known import Known
from controller.engine.reasons import Reason
from controller.engine.tables import Bools, Floats, Ints, Table, column
from controller.forecast.bound import FOREVER

ROUNDING = 1e-6
"""Part of a shortest interval that sums of seconds may be off by."""


@dataclass(frozen=True)
class Polling(Table):
    """Columns of (n,), monotonic seconds. Written by `hand_over`, `poll` and `hasten` only."""

    next_look: Floats = column(-np.inf)
    """Due at once when new."""
    interval: Floats = column(0.0)
    phase: Floats = column(0.0)
    """Seconds by which looks come after multiples of the shortest interval: soon after the guest's reports."""
    stable: Bools = column(False)
    reallocations: Floats = column(0.0)
    """A sliding count: a move counts less by 1/e after each `advanced.stability.windowSeconds`."""
    counted_at: Floats = column(-np.inf)
    looks: Ints = column(0)
    fixed_looks: Floats = column(0.0)
    """Looks that a fixed interval of the shortest length would have taken."""


def hand_over(polling: Polling, inventory: Inventory, same: Ints, kept: Ints, released: Bools, now: float) -> Polling:
    """Polling in the rows of a new inventory: who ran before may have another policy, and is looked at soon; who is
    `released`, (n,), at once. `same` and `kept` are as in `balloon.hand_over`.
    """
    taken = polling.take(kept)
    soon = np.where(same >= 0, np.minimum(taken.next_look, now + inventory.interval_minimum), taken.next_look)
    return taken.having(next_look=np.where(released, now, soon))


def poll(polling: Polling, known: Known, exposure: Exposure, looked: Bools, price: float, elapsed: float) -> Polling:
    """Stability and next look of the domains `looked` at, (n,). `price`: of a look, byte-seconds; `elapsed`: seconds
    since the last step.
    """
    inventory, observation, pressure = known.inventory, known.observation, known.pressure
    tuning, now = known.tuning, known.now
    fixed_looks = polling.fixed_looks + inventory.acted_on * (elapsed / inventory.interval_minimum)
    faded = _faded(polling, inventory, observation.fresh, now).having(fixed_looks=fixed_looks)
    if not np.count_nonzero(looked):
        return faded
    shortest, longest = inventory.interval_minimum, inventory.interval_maximum
    worth = np.sqrt(2.0 * price * shortest / np.maximum(exposure.excess, 1.0))
    last = np.fmax(polling.interval, np.fmin(inventory.statistics_period, longest))
    calm = np.minimum(tuning.interval_growth * last, worth)
    calm = np.minimum(calm, tuning.safety * (known.estimate.exhausted_at - now))
    calm = np.where(_felt_first(known) & (observation.fresh_count >= FRESH_TO_SHRINK), longest, calm)
    short = pressure.pressed | pressure.paging
    interval = wait = np.where(short, shortest, np.minimum(np.maximum(calm, shortest), longest))
    # Calm enough by the policy's own measures: seldom moved for its own sake, demand that changes little.
    steady = np.abs(observation.change) <= inventory.stability_change * observation.allocation
    seldom = faded.reallocations <= inventory.stability_reallocations
    stable = steady & seldom & ~short
    fresh = observation.fresh
    if np.count_nonzero(fresh) < len(fresh):
        stable = np.where(fresh, stable, polling.stable)
        interval = np.where(fresh, interval, np.maximum(polling.interval, shortest))
        wait = np.where(fresh, wait, _until_news(known))
    wait = np.where(inventory.obstacle != int(Reason.NONE), longest, wait)
    phase = _phase(polling, known)
    next_look = aligned(now + wait, shortest, phase, tuning.grid)
    looks = polling.looks + 1
    return faded.put(looked, stable=stable, interval=interval, phase=phase, next_look=next_look, looks=looks)


def _phase(polling: Polling, known: Known) -> Floats:
    """(n,) seconds, where looks may be as frequent as reports: earlier by little, as long as reports may be older than
    a step of the grid when they are found; later by one step after a look that found none, as it came just before one.
    """
    observation, now, grid = known.observation, known.now, known.tuning.grid
    period = known.inventory.statistics_period
    awaited = (observation.trouble == int(Reason.NONE)) & (period >= known.inventory.interval_minimum)
    age = now - observation.sent_at
    early = observation.reported & (age >= grid)
    missed = ~observation.reported & (age >= period) & (now - observation.fresh_at <= period + grid / 2)
    return np.asarray(polling.phase + np.where(awaited, np.where(missed, grid, np.where(early, -grid / 16, 0.0)), 0.0))


def _until_news(known: Known) -> Floats:
    """(n,) seconds until a look may bring a sample that counts, where the last brought none."""
    observation, inventory, trouble = known.observation, known.inventory, known.observation.trouble
    troubled = (trouble != int(Reason.NONE)) & (trouble != int(Reason.MOVING))
    report_due = observation.sent_at + inventory.statistics_period - known.now
    awaited = np.where(troubled, known.tuning.rest_shortest, report_due)
    return np.maximum(np.minimum(awaited, inventory.interval_maximum), inventory.interval_minimum)


def _felt_first(known: Known) -> Bools:
    """(n,) domains whose demand is felt when it rises, before they come to need more than they have."""
    seen, growth, tuning = known.observation, known.growth, known.tuning
    silent, least = growth.silent(seen.demand), np.maximum(tuning.felt_least, tuning.felt_room * seen.allocation)
    left = seen.allocation - seen.demand - silent
    return np.asarray((silent <= least) & (left > least) & (known.now >= growth.doubted_until))


def hasten(polling: Polling, known: Known, moved: Bools, for_itself: Bools, unverified: Bools) -> Polling:
    """Domains that were `moved` are looked at after their shortest interval, those `unverified` (asked for memory on a
    word that is too old) as soon as there can be news. A move `for_itself` speaks for instability. Masks are (n,).
    """
    inventory, now = known.inventory, known.now
    if not np.count_nonzero(moved | unverified):
        return polling
    shortest = inventory.interval_minimum
    soon = np.minimum(polling.next_look, aligned(now + shortest, shortest, polling.phase, known.tuning.grid))
    counted = _faded(polling, inventory, moved, now)
    hurried = counted.put(
        moved, interval=shortest, next_look=soon, reallocations=counted.reallocations + (moved & for_itself)
    )
    seen_at, sent_at = known.observation.seen_at, known.observation.sent_at
    next_report = np.fmax(seen_at + shortest, np.minimum(sent_at, seen_at) + inventory.statistics_period)
    return hurried.put(unverified, next_look=np.minimum(hurried.next_look, np.fmax(now, next_report)))


def aligned(time: Floats, shortest: Floats, phase: Floats, grid: float) -> Floats:
    """(n,) seconds on the engine's clock: looks of many domains meet, at multiples of their shortest interval, and so
    many steps of `grid` seconds later.

    What is due together is one call to libvirt and one step. A look comes up to one shortest interval early for it.
    """
    later = np.floor(phase / grid + ROUNDING) * grid
    return np.asarray(np.floor((time - later) / shortest + ROUNDING) * shortest + later)


def _faded(polling: Polling, inventory: Inventory, where: Bools, now: float) -> Polling:
    """Old reallocations count less: at a steady rate of r a second the count settles at r * window."""
    count = polling.reallocations
    if np.count_nonzero(count):
        count = count * np.exp(-np.minimum(now - polling.counted_at, FOREVER) / inventory.stability_window)
    return polling.put(where, reallocations=count, counted_at=now)

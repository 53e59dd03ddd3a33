"""What the engine knows of each domain's memory, and how far that can be trusted.

Turns raw samples into demand. A sample counts as fresh only when the guest has sent new statistics since the last look,
and since the balloon came to rest. While it moves, neither number fits the other: `allocation` may be newer than the
guest's statistics, or older, as libvirt learns of it by events that QEMU sends at most once a second.

Guests stamp statistics with the wall clock, in whole seconds, rounded down. All times here are monotonic: a stamp is as
old as the wall clock says at the look that finds it, so a wall clock that is set spoils one report at most.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.phases import Balloon, PhaseEvent
from controller.engine.reasons import Reason, first_that_applies
from controller.engine.snapshot import EVENT_SPACING, TOLERANCE, RunState, Snapshot
from controller.engine.tables import Bools, Floats, Ints, Table, column, mask, spread
from controller.engine.tuning import Tuning

ROUNDING = 1.0
"""Seconds that a stamp may be older than the statistics it is of."""

FUTURE_TOLERANCE = 5.0
"""Seconds by which statistics may be ahead of the wall clock: rounding, and small corrections of the clock."""

_TROUBLE = np.array([Reason.NONE, Reason.PAUSED, Reason.NOT_RUNNING, Reason.BUSY, Reason.UNRESPONSIVE], dtype=np.int64)
"""By `RunState`."""


@dataclass(frozen=True)
class Observation(Table):
    """Columns of (n,); bytes and monotonic seconds. Written by `observe`, `doubt` and `accrue` only."""

    # The look.
    seen_at: Floats = column(np.nan)
    """Last look."""
    run_state: Ints = column(int(RunState.RUNNING))
    trouble: Ints = column(int(Reason.NONE))
    """`Reason` why the last look's numbers cannot be acted on."""
    absurd_since: Floats = column(np.nan)
    """Look from which on sizes and statistics do not fit; NaN while they do."""
    booted_at: Floats = column(np.nan)
    """Last start or reset of the guest, -inf where nobody saw it: statistics up to then are of another life."""

    # Sizes.
    allocation: Floats = column(np.nan)
    """Newest size of the balloon."""
    moved_at: Floats = column(-np.inf)
    """When that was seen to change last."""
    maximum: Floats = column(np.nan)
    """The live domain's maximum."""
    rss: Floats = column(np.nan)
    """Host memory that QEMU held when it was last told; a job in the domain hides it."""
    rss_size: Floats = column(np.nan)
    """Size of the balloon then."""
    rss_known: Bools = column(False)
    """That was at the last look."""

    # The newest statistics.
    stamp: Floats = column(np.nan)
    """The guest's own time of them, wall clock."""
    sent_at: Floats = column(-np.inf)
    """When they were sent, or up to `ROUNDING` before."""
    reported: Bools = column(False)
    """This step brought new ones."""
    heard_at: Floats = column(-np.inf)
    """Last look that brought statistics, new ones or not: others than those were sent after it."""
    available: Floats = column(np.nan)
    """The guest's own size."""
    used: Floats = column(np.nan)
    """Of that it used so much, whether its balloon moved or not."""
    spent: Bools = column(False)
    """It has next to nothing free: what its balloon gets now has to be reclaimed."""
    choked_at: Floats = column(np.nan)
    """When it was seen so a second time in a row, at the same size and since it was last asked to move; NaN: no."""
    promised: Floats = column(0.0)
    """Of what it counts as usable, so much is not free."""

    # The newest fresh sample: of a balloon at rest.
    fresh: Bools = column(False)
    """This step brought one."""
    fresh_at: Floats = column(-np.inf)
    """The look that brought it."""
    fresh_count: Ints = column(0)
    reported_at: Floats = column(-np.inf)
    """When its statistics were sent: memory is taken on a word of that age. -inf since it has told something else."""
    demand: Floats = column(np.nan)
    change: Floats = column(0.0)
    """Bytes by which demand differs from the fresh sample before."""
    used_then: Floats = column(np.nan)
    """`used` of it."""
    doubtful: Floats = column(0.0)
    """Of what it counts as usable, so much is neither free nor page cache (mostly slab, which a kernel frees object by
    object, and seldom whole pages as soon as a balloon asks for them), or could not be given up before."""
    owed: Floats = column(0.0)
    """So much could not be given up when it was asked for."""
    owed_until: Floats = column(-np.inf)
    """It may be believed again from then on."""
    doubted: Floats = column(0.0)
    """Seconds for which it was not believed the last time."""

    # The newest telling sample: a fresh one, or one that shows a shortage although the balloon moves.
    telling: Bools = column(False)
    """This step brought one."""
    told_at: Floats = column(-np.inf)
    """When its statistics were sent."""
    told_size: Floats = column(np.nan)
    """Size of the balloon at the look that brought it."""
    usable: Floats = column(np.nan)
    swap_in: Floats = column(np.nan)
    swap_out: Floats = column(np.nan)
    swapped: Floats = column(0.0)
    """What it had to swap out, see `_tell`, and has not read back: it wants that still, the less the longer it has done
    without."""
    swap_out_rate: Floats = column(0.0)
    """Bytes a second that it had to swap out since the telling sample before."""
    major_faults: Floats = column(np.nan)
    swap_in_rate: Floats = column(0.0)
    """Bytes a second since the telling sample before."""
    home_rate: Floats = column(0.0)
    """Of that, what it had been seen to swap out before."""
    fault_rate: Floats = column(0.0)
    """Major faults a second, likewise."""

    # Sums.
    shortfall_time: Floats = column(0.0)
    """Byte-seconds that demand was above the allocation, since the domain was first seen."""
    slack_time: Floats = column(0.0)
    """Byte-seconds that the allocation was above demand."""


class _Look(NamedTuple):
    """A look's samples, all (n,), NaN where a domain was not looked at. Sizes are the balloon's alone."""

    looked: Bools
    run_state: Ints
    actual: Floats
    maximum: Floats
    usable: Floats
    """What the guest could give up: `usable`; where it reports none, or 0 while pages are free, `unused`."""
    unused: Floats
    caches: Floats
    available: Floats
    swap_in: Floats
    swap_out: Floats
    major_faults: Floats
    rss: Floats
    stamp: Floats
    """Of statistics of this life of the guest: QEMU repeats what it told before a reset until it tells anew."""
    sent_at: Floats
    demand: Floats


def observe(observation: Observation, balloon: Balloon, snapshot: Snapshot, now: float, tuning: Tuning) -> Observation:
    """What is known after a look and the events since the last one. `balloon` is as before this step."""
    nobody = np.zeros(len(snapshot.inventory), dtype=np.bool_)
    choked = balloon.event == int(PhaseEvent.CHOKED)
    before = observation = doubt(observation.having(fresh=nobody, telling=nobody, reported=nobody), choked, now, tuning)
    if np.count_nonzero(np.isnan(observation.booted_at)):
        booted = np.maximum(snapshot.inventory.reset_at, snapshot.inventory.started_at)
        ago = np.maximum(snapshot.wall - booted, 0.0)  # not later than now, should the wall clock have been set back
        born = np.where(booted > 0, now - ago, -np.inf)
        before = observation = observation.put(np.isnan(observation.booted_at), booted_at=born)
    look = None
    if len(snapshot.samples.rows):
        look = _dense(snapshot, observation, now)
        observation = _measure(observation, look, snapshot.inventory, now)
    measured = observation
    if len(snapshot.events.rows):  # strictly after: an event that differs from the look came later
        sizes = np.minimum(spread(snapshot.events.rows, snapshot.events.actual, len(nobody)), snapshot.inventory.most)
        observation = _resized(observation, np.where(np.isnan(observation.allocation), np.nan, sizes), now)
    if look is None:
        return observation
    rest_from = np.fmax(observation.moved_at, balloon.rest_from)
    reports = np.isfinite(look.stamp)
    new_report = reports & (look.stamp != before.stamp)
    at_rest = (look.sent_at > rest_from) | (new_report & (before.heard_at >= rest_from))
    observation = _judge(observation, look, at_rest, snapshot.inventory, now, tuning)
    sound = new_report & (observation.trouble == int(Reason.NONE))
    under_way = balloon.under_way
    fresh = telling = sound & at_rest & ~under_way
    if np.count_nonzero(under_way):
        asked_ago = np.maximum(look.sent_at, before.heard_at) - balloon.last_at
        moving = under_way & (balloon.shrinks(before.allocation) | (asked_ago >= EVENT_SPACING))
        telling = fresh | (sound & moving)
    observation = _breathe(observation, look, new_report, balloon.last_at, now, tuning)
    observation = observation.put(reports, stamp=look.stamp, sent_at=look.sent_at, heard_at=now, reported=new_report)
    if len(snapshot.events.rows):
        observation = observation.put(observation.allocation != measured.allocation, heard_at=-np.inf)
    shrank = balloon.shrinks(before.allocation)
    shrank |= (balloon.last_to < balloon.last_from) & (balloon.last_at >= before.told_at)
    observation = _tell(observation, look, telling, shrank, tuning)
    squeezed = telling & shrank & (observation.swap_out_rate > much(look.actual, tuning))
    observation = doubt(observation, squeezed & (now >= observation.owed_until), now, tuning)
    return _freshen(observation, look, fresh, snapshot.inventory, now)


def accrue(observation: Observation, counted: Bools, elapsed: float) -> tuple[Observation, float, float]:
    """`elapsed` seconds of shortfall and slack as last seen. Returns the sums added too, byte-seconds.

    `counted`: (n,) the domains that this is done for; one whose demand or size is not known adds nothing.
    """
    lacking, lasted = observation.demand - observation.allocation, counted * elapsed
    shortfall, slack = np.fmax(lacking, 0.0) * lasted, np.fmax(-lacking, 0.0) * lasted
    shortfall_time, slack_time = observation.shortfall_time + shortfall, observation.slack_time + slack
    added = observation.having(shortfall_time=shortfall_time, slack_time=slack_time)
    return added, float(shortfall.sum()), float(slack.sum())


def _dense(snapshot: Snapshot, observation: Observation, now: float) -> _Look:
    samples, inventory = snapshot.samples, snapshot.inventory
    n, rows = len(observation.allocation), samples.rows
    given = np.isfinite(samples.usable) & ((samples.usable != 0) | ~(samples.unused > 0))
    actual = np.maximum(samples.actual - inventory.plugged[rows], 0.0)
    usable = np.where(given, samples.usable, samples.unused)
    numbers = [actual, np.minimum(samples.maximum, inventory.maximum[rows]), usable, samples.unused, samples.caches]
    numbers += [samples.available, samples.swap_in, samples.swap_out, samples.major_faults, samples.rss]
    found_before, sent_at = samples.updated == observation.stamp[rows], now - (snapshot.wall - samples.updated)
    sent_at = np.where(found_before, observation.sent_at[rows], sent_at)
    dense = spread(rows, np.array([*numbers, samples.updated, sent_at]), n)
    run_state = observation.run_state.copy()
    run_state[rows] = samples.run_state
    dense[-2:, ~(dense[-1] > observation.booted_at)] = np.nan
    return _Look._make((mask(rows, n), run_state, *dense, dense[0] - dense[2]))


def _resized(observation: Observation, size: Floats, now: float) -> Observation:
    """`size`: (n,) newest sizes, NaN where there is none. Less than `TOLERANCE` is no move."""
    moved = np.abs(size - observation.allocation) >= TOLERANCE
    return observation.put(moved | np.isnan(observation.allocation), allocation=size).put(moved, moved_at=now)


def _measure(observation: Observation, look: _Look, inventory: Inventory, now: float) -> Observation:
    size, stopped = np.minimum(look.actual, inventory.most), look.looked & (look.run_state == int(RunState.NOT_RUNNING))
    if np.count_nonzero(stopped):
        observation, size = observation.put(stopped, allocation=0.0), np.where(stopped, np.nan, size)
    observation = _resized(observation, size, now)
    return observation.put(np.isfinite(look.rss), rss=look.rss, rss_size=observation.allocation)


def _judge(
    observation: Observation, look: _Look, at_rest: Bools, inventory: Inventory, now: float, tuning: Tuning
) -> Observation:
    """What a look showed of each domain, and why its numbers cannot be acted on: the first cause that applies."""
    demand, age = look.demand, now - look.sent_at
    period = np.maximum(inventory.interval_minimum, inventory.statistics_period)
    missing = ~(np.isfinite(demand) & (look.stamp > 0)) | (look.available == 0)
    absurd = (at_rest & ((demand < 0) | (demand > look.actual))) | (look.available < 0) | ~(look.actual > 0)
    beyond = np.fmax(look.actual, look.available) > inventory.maximum + TOLERANCE
    wrong = absurd | beyond
    since = np.where(wrong, np.fmin(observation.absurd_since, now), np.nan)
    cases: list[tuple[Bools, IntEnum | Ints]] = [(look.run_state != int(RunState.RUNNING), _TROUBLE[look.run_state])]
    if np.count_nonzero(missing):
        booting = missing & (now - observation.booted_at < tuning.boot_time)
        cases += [(booting, Reason.BOOTING), (missing, Reason.NO_STATISTICS)]
    if np.count_nonzero(wrong):
        cases += [
            (now - since < EVENT_SPACING, Reason.MOVING),  # somebody may have set or plugged it: the event is to come
            (beyond, Reason.MEMORY_DEVICES),
            (absurd, Reason.INVALID_STATISTICS),
        ]
    cases += [
        (age < -FUTURE_TOLERANCE, Reason.FUTURE_STATISTICS),
        (age > np.maximum(tuning.stale_after, tuning.stale_periods * period), Reason.STALE_STATISTICS),
    ]
    return observation.put(
        look.looked,
        seen_at=now,
        run_state=look.run_state,
        trouble=first_that_applies(cases, Reason.NONE),
        absurd_since=since,
        maximum=np.where(np.isfinite(look.maximum), look.maximum, observation.maximum),
        rss_known=np.isfinite(look.rss),
    )


def _breathe(
    observation: Observation, look: _Look, new_report: Bools, asked_at: Floats, now: float, tuning: Tuning
) -> Observation:
    """What new statistics tell of free memory.

    The guest's own size follows its balloon at once, while libvirt learns of that by events that may be a second old.
    """
    spent = look.unused < tuning.low * look.actual
    same = np.abs(look.available - observation.available) < TOLERANCE / 2
    choked = spent & observation.spent & same & (observation.heard_at > asked_at)
    promised = np.fmax(look.usable - look.unused, 0.0)
    choked_at = np.where(choked, now, np.nan)
    used = np.where(np.isfinite(look.available), look.available, look.actual) - look.usable
    return observation.put(
        new_report, available=look.available, used=used, spent=spent, choked_at=choked_at, promised=promised
    )


def much(size: Floats, tuning: Tuning) -> Floats:
    """(n,) bytes a second that guests of `size`, (n,) bytes, read from disk, or write to it, when they are short."""
    return np.asarray(np.fmax(tuning.read_back_bytes, tuning.read_back * size))


def _tell(observation: Observation, look: _Look, telling: Bools, shrank: Bools, tuning: Tuning) -> Observation:
    """What a guest counts, and its rate between two telling samples; 0 where either did not tell.

    What it swaps out with memory to spare is its own choice. While it is to shrink (`shrank`, (n,)) only free memory is
    to spare: its kernel would rather keep what else it could give up. What it frees, it is taken to free of what is in
    memory and in swap alike.
    """
    elapsed, swapped = np.maximum(look.sent_at - observation.told_at, ROUNDING), observation.swapped
    back = np.fmax(look.swap_in - observation.swap_in, 0.0)
    gone = np.fmax(look.swap_out - observation.swap_out, 0.0)
    spare = np.where(shrank, np.fmin(look.unused, look.usable), look.usable)
    gone = np.where(spare < tuning.easy * look.actual, gone, 0.0)
    if np.count_nonzero(gone + swapped):
        used = observation.told_size - observation.usable
        left = ((look.demand + gone) / np.fmax(used + back, 1.0)).clip(0.0, 1.0)
        kept = swapped * np.exp2(-elapsed / tuning.swapped_half_life) * left
        swapped = np.fmin(np.fmax(kept + gone - back, 0.0), observation.maximum)
    return observation.put(
        telling,
        telling=True,
        reported_at=-np.inf,
        told_at=look.sent_at,
        told_size=look.actual,
        usable=look.usable,
        swap_in=look.swap_in,
        swap_out=look.swap_out,
        swapped=swapped,
        swap_out_rate=gone / elapsed,
        major_faults=look.major_faults,
        swap_in_rate=back / elapsed,
        home_rate=np.minimum(back, observation.swapped) / elapsed,
        fault_rate=np.fmax((look.major_faults - observation.major_faults) / elapsed, 0.0),
    )


def _freshen(observation: Observation, look: _Look, fresh: Bools, inventory: Inventory, now: float) -> Observation:
    """The newest fresh sample: demand, and what of it is not to be counted on."""
    owed = observation.owed
    if np.count_nonzero(owed):
        owed = np.where(now < observation.owed_until, np.minimum(owed, observation.promised), 0.0)
    demand = np.minimum(look.demand + observation.swapped, inventory.most)
    return observation.put(
        fresh,
        fresh=True,
        fresh_at=now,
        fresh_count=observation.fresh_count + 1,
        reported_at=np.minimum(look.sent_at, now),
        demand=demand,
        change=np.where(np.isnan(observation.demand), 0.0, demand - observation.demand),
        used_then=observation.used,
        owed=owed,
        doubtful=np.fmax(observation.promised - look.caches, owed),
    )


def doubt(observation: Observation, choked: Bools, now: float, tuning: Tuning) -> Observation:
    """Guests that could not give up what they promised, swapped out instead, or have not shown that they can, are not
    asked for it again for a while.
    """
    if not np.count_nonzero(choked):
        return observation
    doubted = (2 * observation.doubted).clip(tuning.doubt_first, tuning.doubt_longest)
    return observation.put(choked, owed=observation.promised, doubted=doubted, owed_until=now + doubted)

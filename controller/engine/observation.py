"""What the engine knows of each domain's memory, and how far that can be trusted.

Turns raw samples into demand. A sample counts as fresh only when the guest has sent new statistics since the last look,
and since the balloon came to rest. While it moves, neither number fits the other: `allocation` may be newer than the
guest's statistics, or older, as libvirt learns of it by events that QEMU sends at most once a second.

Guests stamp statistics with the wall clock, in whole seconds, rounded down. All times here are monotonic: a stamp is as
old as the wall clock says at the look that finds it, so a wall clock that is set spoils one report at most.
"""

from dataclasses import dataclass, replace

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.phases import Balloon, Event
from controller.engine.reasons import Reason, first_that_applies
from controller.engine.snapshot import EVENT_SPACING, TOLERANCE, Life, Samples, Snapshot
from controller.engine.tables import Bools, Floats, Ints, Table, column, mask, spread
from controller.engine.tuning import Tuning

ROUNDING = 1.0
"""Seconds that a stamp may be older than the statistics it is of."""

FUTURE_TOLERANCE = 5.0
"""Seconds by which statistics may be ahead of the wall clock: rounding, and small corrections of the clock."""

_LIFE_REASONS = {
    Life.PAUSED: Reason.PAUSED,
    Life.NOT_RUNNING: Reason.NOT_RUNNING,
    Life.BUSY: Reason.BUSY,
    Life.UNRESPONSIVE: Reason.UNRESPONSIVE,
}


@dataclass(frozen=True, slots=True)
class Observation(Table):
    """Columns of (n,); bytes and monotonic seconds. `observe` is its only writer, `accrue` of the last two columns."""

    # The look.
    seen_at: Floats = column(np.nan)
    """Last look."""
    life: Ints = column(int(Life.RUNNING))
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
    heard_at: Floats = column(-np.inf)
    """Last look that brought statistics, new ones or not: others than those were sent after it."""
    available: Floats = column(np.nan)
    """The guest's own size."""
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
    """When its statistics were sent: memory is taken on a word of that age."""
    demand: Floats = column(np.nan)
    change: Floats = column(0.0)
    """Bytes by which demand differs from the fresh sample before."""
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
    major_faults: Floats = column(np.nan)
    swap_in_rate: Floats = column(0.0)
    """Bytes a second since the telling sample before."""
    swap_out_rate: Floats = column(0.0)
    fault_rate: Floats = column(0.0)
    """Major faults a second, likewise."""

    # Sums.
    shortfall_time: Floats = column(0.0)
    """Byte-seconds that demand was above the allocation, since the domain was first seen."""
    slack_time: Floats = column(0.0)
    """Byte-seconds that the allocation was above demand."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A look's samples, all (n,), NaN where a domain was not looked at."""

    looked: Bools
    life: Ints
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

    @property
    def demand(self) -> Floats:
        return self.actual - self.usable


def observe(observation: Observation, balloon: Balloon, snapshot: Snapshot, now: float, tuning: Tuning) -> Observation:
    """What is known after a look and the events since the last one. `balloon` is as before this step."""
    idle = np.zeros(len(observation.fresh), dtype=np.bool_)
    observation = _doubt(replace(observation, fresh=idle, telling=idle), balloon.event == Event.CHOKED, now, tuning)
    observation = _born(observation, snapshot, now)
    if len(snapshot.samples.rows) == 0:
        return _hear(observation, snapshot, now)
    look = _dense(snapshot.samples, observation, snapshot.wall, now)
    before, measured = observation, _measure(observation, look, now)
    observation = _hear(measured, snapshot, now)  # strictly after: an event that differs from the look came later
    overtaken = observation.allocation != measured.allocation
    rest_from = np.fmax(observation.moved_at, balloon.rest_from)
    news = look.looked & np.isfinite(look.stamp) & (look.stamp != before.stamp)
    at_rest = (look.sent_at > rest_from) | (news & (before.heard_at >= rest_from))
    observation = _judge(observation, look, at_rest, snapshot.inventory, now, tuning)
    sound = news & (observation.trouble == Reason.NONE)
    fresh = sound & at_rest & ~balloon.under_way
    asked_ago = np.maximum(look.sent_at, before.heard_at) - balloon.last_at
    telling = fresh | (
        sound & balloon.under_way & ((balloon.target < before.allocation) | (asked_ago >= EVENT_SPACING))
    )
    observation = _breathe(observation, look, news, balloon.last_at, now, tuning)
    observation = replace(observation, heard_at=np.where(overtaken, -np.inf, observation.heard_at))
    observation = _tell(observation, look, telling)
    return _freshen(observation, look, fresh, now)


def silent_after(inventory: Inventory, tuning: Tuning) -> Floats:
    """(n,) seconds without new statistics after which a guest counts as silent."""
    period = np.maximum(inventory.interval_minimum, inventory.statistics_period)
    return np.maximum(tuning.stale_after, tuning.stale_periods * period)


def report_due(observation: Observation, inventory: Inventory) -> Floats:
    """(n,) the earliest time of the guest's next statistics: a look before that brings nothing new."""
    return np.asarray(observation.sent_at + inventory.statistics_period)


def accrue(observation: Observation, counted: Bools, elapsed: float) -> tuple[Observation, float, float]:
    """`elapsed` seconds of shortfall and slack as last seen. Returns the sums added too, byte-seconds.

    `counted`: (n,) the domains that this is done for; one whose demand or size is not known adds nothing.
    """
    short = np.where(counted, np.nan_to_num(observation.demand - observation.allocation) * elapsed, 0.0)
    shortfall, slack = np.maximum(short, 0.0), np.maximum(-short, 0.0)
    added = replace(
        observation,
        shortfall_time=observation.shortfall_time + shortfall,
        slack_time=observation.slack_time + slack,
    )
    return added, float(shortfall.sum()), float(slack.sum())


def _dense(samples: Samples, observation: Observation, wall: float, now: float) -> _Look:
    n, rows = len(observation.allocation), samples.rows
    given = np.isfinite(samples.usable) & ((samples.usable != 0) | ~(samples.unused > 0))
    numbers = [samples.actual, samples.maximum, np.where(given, samples.usable, samples.unused), samples.unused]
    numbers += [samples.caches, samples.available, samples.swap_in, samples.swap_out, samples.major_faults]
    dense = spread(rows, np.stack([*numbers, samples.rss, samples.updated]), n)
    life = observation.life.copy()
    life[rows] = samples.life
    sent_at = now - (wall - dense[-1])
    this_life = sent_at > observation.booted_at
    stamp, sent_at = np.where(this_life, dense[-1], np.nan), np.where(this_life, sent_at, np.nan)
    return _Look(mask(rows, n), life, *(*dense[:-1], stamp, sent_at))


def _born(observation: Observation, snapshot: Snapshot, now: float) -> Observation:
    """When each guest began to live, once for each; not later than now, should the wall clock have been set back."""
    new = np.isnan(observation.booted_at)
    if not new.any():
        return observation
    booted = np.maximum(snapshot.inventory.reset_at, snapshot.inventory.started_at)
    at = np.where(booted > 0, now - np.maximum(snapshot.wall - booted, 0.0), -np.inf)
    return replace(observation, booted_at=np.where(new, at, observation.booted_at))


def _resized(observation: Observation, size: Floats, now: float) -> Observation:
    """`size`: (n,) newest sizes, NaN where there is none. Less than `TOLERANCE` is no move."""
    before = observation.allocation
    moved = np.abs(size - before) >= TOLERANCE
    return replace(
        observation,
        allocation=np.where(moved | np.isnan(before), size, before),
        moved_at=np.where(moved, now, observation.moved_at),
    )


def _measure(observation: Observation, look: _Look, now: float) -> Observation:
    stopped = look.looked & (look.life == Life.NOT_RUNNING)
    observation = _resized(observation, np.where(stopped, np.nan, look.actual), now)
    allocation = np.where(stopped, 0.0, observation.allocation)
    known = np.isfinite(look.rss)
    return replace(
        observation,
        seen_at=np.where(look.looked, now, observation.seen_at),
        life=look.life,
        allocation=allocation,
        maximum=np.where(np.isfinite(look.maximum), look.maximum, observation.maximum),
        rss=np.where(known, look.rss, observation.rss),
        rss_size=np.where(known, allocation, observation.rss_size),
        rss_known=np.where(look.looked, known, observation.rss_known),
    )


def _hear(observation: Observation, snapshot: Snapshot, now: float) -> Observation:
    """Balloon events, of domains whose size is known."""
    if len(snapshot.events.rows) == 0:
        return observation
    sizes = spread(snapshot.events.rows, snapshot.events.actual, len(observation.allocation))
    return _resized(observation, np.where(np.isnan(observation.allocation), np.nan, sizes), now)


def _judge(
    observation: Observation, look: _Look, at_rest: Bools, inventory: Inventory, now: float, tuning: Tuning
) -> Observation:
    """Why each sample cannot be acted on, the first cause that applies."""
    demand, age = look.demand, now - look.sent_at
    missing = ~np.isfinite(demand) | ~(look.stamp > 0) | (look.available == 0)
    booting = missing & (now - observation.booted_at < tuning.boot_time)
    absurd = (at_rest & ((demand < 0) | (demand > look.actual))) | (look.available < 0) | ~(look.actual > 0)
    since = np.where(absurd, np.fmin(observation.absurd_since, now), np.nan)
    trouble = first_that_applies(
        [
            *((look.life == life, reason) for life, reason in _LIFE_REASONS.items()),
            (booting, Reason.BOOTING),
            (missing, Reason.NO_STATISTICS),
            (absurd & (now - since < EVENT_SPACING), Reason.MOVING),  # somebody may have set it: the event is to come
            (absurd, Reason.INVALID_STATISTICS),
            (age < -FUTURE_TOLERANCE, Reason.FUTURE_STATISTICS),
            (age > silent_after(inventory, tuning), Reason.STALE_STATISTICS),
        ],
        Reason.NONE,
    )
    return replace(
        observation,
        trouble=np.where(look.looked, trouble, observation.trouble),
        absurd_since=np.where(look.looked, since, observation.absurd_since),
    )


def _breathe(
    observation: Observation, look: _Look, news: Bools, asked_at: Floats, now: float, tuning: Tuning
) -> Observation:
    """What new statistics tell of free memory.

    The guest's own size follows its balloon at once, while libvirt learns of that by events that may be a second old.
    """
    spent = look.unused < tuning.low * look.actual
    same = np.abs(look.available - observation.available) < TOLERANCE / 2
    choked = spent & observation.spent & same & (observation.heard_at > asked_at)
    heard = np.isfinite(look.stamp)
    return replace(
        observation,
        spent=np.where(news, spent, observation.spent),
        choked_at=np.where(news, np.where(choked, now, np.nan), observation.choked_at),
        available=np.where(news, look.available, observation.available),
        promised=np.where(news, np.fmax(look.usable - look.unused, 0.0), observation.promised),
        stamp=np.where(heard, look.stamp, observation.stamp),
        sent_at=np.where(heard, look.sent_at, observation.sent_at),
        heard_at=np.where(heard, now, observation.heard_at),
    )


def _tell(observation: Observation, look: _Look, telling: Bools) -> Observation:
    """Rates of what the guest counts, between its last two telling samples; 0 where either did not tell."""
    elapsed = np.maximum(look.sent_at - observation.told_at, ROUNDING)

    def rate(count: Floats, before: Floats, last: Floats) -> Floats:
        return np.where(telling, np.fmax((count - before) / elapsed, 0.0), last)

    def newest(value: Floats, before: Floats) -> Floats:
        return np.where(telling, value, before)

    return replace(
        observation,
        telling=telling,
        told_at=newest(look.sent_at, observation.told_at),
        told_size=newest(look.actual, observation.told_size),
        usable=newest(look.usable, observation.usable),
        swap_in=newest(look.swap_in, observation.swap_in),
        swap_out=newest(look.swap_out, observation.swap_out),
        major_faults=newest(look.major_faults, observation.major_faults),
        swap_in_rate=rate(look.swap_in, observation.swap_in, observation.swap_in_rate),
        swap_out_rate=rate(look.swap_out, observation.swap_out, observation.swap_out_rate),
        fault_rate=rate(look.major_faults, observation.major_faults, observation.fault_rate),
    )


def _freshen(observation: Observation, look: _Look, fresh: Bools, now: float) -> Observation:
    """The newest fresh sample: demand, and what of it is not to be counted on."""
    change = np.where(np.isnan(observation.demand), 0.0, look.demand - observation.demand)
    owed = np.where(now < observation.owed_until, np.minimum(observation.owed, observation.promised), 0.0)
    doubtful = np.fmax(observation.promised - look.caches, owed)
    return replace(
        observation,
        fresh=fresh,
        fresh_at=np.where(fresh, now, observation.fresh_at),
        fresh_count=observation.fresh_count + fresh,
        reported_at=np.where(fresh, np.minimum(look.sent_at, now), observation.reported_at),
        demand=np.where(fresh, look.demand, observation.demand),
        change=np.where(fresh, change, observation.change),
        owed=np.where(fresh, owed, observation.owed),
        doubtful=np.where(fresh, doubtful, observation.doubtful),
    )


def _doubt(observation: Observation, choked: Bools, now: float, tuning: Tuning) -> Observation:
    """Guests that could not give up what they promised are not asked for it again for a while."""
    if not choked.any():
        return observation
    doubted = np.where(
        choked, np.clip(2 * observation.doubted, tuning.doubt_first, tuning.doubt_longest), observation.doubted
    )
    return replace(
        observation,
        owed=np.where(choked, observation.promised, observation.owed),
        doubted=doubted,
        owed_until=np.where(choked, now + doubted, observation.owed_until),
    )

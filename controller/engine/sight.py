"""What the engine knows of each domain's memory, and how far that can be trusted.

Turns raw samples into demand. A sample counts as fresh only when the guest has sent new statistics since the last look,
and since the balloon came to rest. While it moves, neither number fits the other: `actual` may be newer than the
guest's statistics, or older, as libvirt learns of it by events that QEMU sends at most once a second.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from controller.engine.columns import Columns, column
from controller.engine.inventory import Inventory
from controller.engine.reasons import Reason, first_that_applies
from controller.engine.snapshot import BalloonEvents, Life, Samples, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TOLERANCE = 2**20
"""Bytes. The balloon moves in pages, libvirt rounds to KiB: a smaller difference is no difference."""

EVENT_SPACING = 1.0
"""Seconds in which QEMU sends one balloon event at most: a size nobody here asked for may not be the last one."""

STALE_AFTER = 10.0
"""Seconds without new statistics, at least; three shortest intervals where those are longer."""

FUTURE_TOLERANCE = 5.0
"""Seconds by which statistics may be ahead of the wall clock: rounding and small corrections of the clock."""

BOOT_TIME = 120.0
"""Seconds a guest may take from its start or reset until its balloon driver reports."""

LOW_FREE = 0.03
"""A guest with less than this part of its allocation usable is about to reclaim in the path of its allocations; with
less than that unused it reclaims for whatever its balloon asks for."""

DOUBT_FIRST = 960.0
DOUBT_LONGEST = 86400.0
"""Seconds for which a guest is not believed that could not give up what it promised; doubled each time in between."""

EASY_FREE = 0.5
"""A guest with more than this part usable is not short of memory, whatever it reads back from swap."""

MAJOR_FAULTS_A_SECOND = 10.0
"""Major faults that count as thrashing when usable memory is also below `TIGHT_FREE`."""

TIGHT_FREE = 0.10

NOTHING_LEFT = 0.015
NOTHING_LEFT_BYTES = 8 * 2**20
"""A guest with less usable than this part of its allocation, or these bytes, may need any amount: it cannot tell more
than it has. Its kernel keeps a little free all the while, by swapping and reading programs again; a small one more.
"""

SWAP_IN_A_SECOND = 40 * 1024
"""Bytes a second read back from swap that show a guest to have been short of memory since the last look: ten pages."""

_LIFE_REASONS = {
    Life.PAUSED: Reason.PAUSED,
    Life.NOT_RUNNING: Reason.NOT_RUNNING,
    Life.BUSY: Reason.BUSY,
    Life.UNRESPONSIVE: Reason.UNRESPONSIVE,
}


@dataclass(slots=True)
class Sight(Columns):
    """Columns of (n,); bytes and seconds, monotonic unless named wall."""

    since: Floats = column(np.nan)
    """First seen."""
    seen: Floats = column(np.nan)
    """Last look."""
    life: Ints = column(int(Life.RUNNING))
    trouble: Ints = column(int(Reason.NONE))
    """`Reason` why the last look's numbers cannot be acted on."""
    allocation: Floats = column(np.nan)
    """Newest size of the balloon."""
    maximum: Floats = column(np.nan)
    """The live domain's maximum."""
    rss: Floats = column(np.nan)
    """Host memory that QEMU held when it was last told; a job in the domain hides it."""
    rss_at: Floats = column(np.nan)
    """Size of the balloon then."""
    rss_told: Bools = column(False)
    """That was at the last look."""
    demand: Floats = column(np.nan)
    """Of the newest fresh sample."""
    doubtful: Floats = column(0.0)
    """Of what that sample counts as usable, so much is neither free nor page cache (mostly slab, which a kernel frees
    object by object, and seldom whole pages as soon as a balloon asks for them), or could not be given up before."""
    promised: Floats = column(0.0)
    """Of what the newest statistics count as usable, so much is not free."""
    owed: Floats = column(0.0)
    """So much of that could not be given up when it was asked for."""
    owed_until: Floats = column(-np.inf)
    """It may be believed again from then on."""
    doubted: Floats = column(0.0)
    """Seconds for which it was not believed the last time."""
    change: Floats = column(0.0)
    """Bytes by which that sample differs from the fresh one before."""
    fresh_at: Floats = column(-np.inf)
    """Time of the look that brought the newest fresh sample."""
    fresh_count: Ints = column(0)
    booted: Floats = column(-np.inf)
    """Wall time of the guest's last reset: statistics up to then are of another life."""
    updated: Floats = column(np.nan)
    """Wall time of the guest's newest statistics, in whole seconds."""
    absurd_since: Floats = column(np.nan)
    """Look from which on sizes and statistics do not fit; NaN while they do."""
    told: Floats = column(-np.inf)
    """Last look that brought statistics, new ones or not: others than those were sent after it."""
    moved: Floats = column(-np.inf)
    """Wall time from which the balloon may be taken to be at rest."""
    moved_at: Floats = column(-np.inf)
    """The same by the monotonic clock."""
    swap_in: Floats = column(np.nan)
    major_faults: Floats = column(np.nan)
    available: Floats = column(np.nan)
    """The guest's own size, as it told last."""
    spent: Bools = column(False)
    """It told last that it has next to nothing free: what its balloon gets now has to be reclaimed."""
    choking: Bools = column(False)
    """It told so twice in a row, at the same size, since it was last asked to move."""
    pressure: Bools = column(False)
    """The guest is short of memory, and nothing has been done about that yet."""
    exhausted: Bools = column(False)
    """It told last that it has nothing left."""
    paging: Bools = column(False)
    """It was short of memory between its last two telling samples, whatever these say: it has read much back since."""
    heard_at: Floats = column(-np.inf)
    """Time of the look that brought the newest telling sample."""
    heard_size: Floats = column(np.nan)
    """Size of the balloon at that look."""
    pressed: Ints = column(0)
    """Telling samples in a row that showed it short of memory."""
    shortfall_time: Floats = column(0.0)
    """Byte-seconds that demand was above the allocation, since the domain was first seen."""
    slack_time: Floats = column(0.0)
    """Byte-seconds that the allocation was above demand."""


def see(sight: Sight, snapshot: Snapshot, course: Floats, asked: Floats, now: float) -> Ints:
    """Enter a look into `sight`, in place. Returns the rows that brought a fresh sample.

    `course`: (n,) bytes that each balloon still has to grow, negative where it shrinks, NaN at rest. `asked`: (n,) when
    it was last asked to move, monotonic seconds or NaN.
    """
    events, rows = snapshot.events, snapshot.samples.rows
    if len(rows) == 0:
        _hear(sight, events, snapshot.wall, now)
        return rows
    samples = _of_this_life(sight, snapshot.samples, snapshot.wall)
    sight.since[rows] = np.where(np.isnan(sight.since[rows]), now, sight.since[rows])
    sight.seen[rows] = now
    sight.life[rows] = samples.life
    _measure(sight, samples, snapshot.wall, now)
    overtaken = _hear(sight, events, snapshot.wall, now)  # strictly after: what differs from the look came later
    at_rest = _taken_at_rest(sight, samples)
    age = snapshot.wall - samples.updated
    patience = stale_after(snapshot.inventory, rows)
    left = _left(samples)
    demand = samples.actual - left
    sight.trouble[rows] = _trouble(sight, samples, demand, at_rest, age, patience, now)
    news = (sight.trouble[rows] == Reason.NONE) & (samples.updated != sight.updated[rows])
    fresh = news & at_rest & np.isnan(course[rows])
    since_asked = np.maximum(now - age, sight.told[rows]) - asked[rows]
    moving = (course[rows] < 0) | (since_asked >= EVENT_SPACING)
    _pressure(sight, samples, left, fresh | (news & moving & ~np.isnan(course[rows])), now)
    _breathe(sight, samples, left, asked[rows])
    known = np.isfinite(samples.updated)
    sight.updated[rows[known]] = samples.updated[known]
    sight.told[rows[known]] = now
    sight.told[overtaken] = -np.inf  # that look is older than its event
    where: Ints = rows[fresh]
    _remember(sight, where, demand[fresh], now)
    _mistrust(sight, where, samples.caches[fresh], now)
    return where


def stale_after(inventory: Inventory, rows: Ints) -> Floats:
    """(m,) seconds without new statistics after which the guests of `rows` count as silent."""
    return np.maximum(STALE_AFTER, 3 * inventory.interval_minimum[rows])


def doubt(sight: Sight, rows: Ints, now: float) -> None:
    """Enter that `rows` could not give up what they promised, in place: not asked for it again for a while."""
    sight.owed[rows] = sight.promised[rows]
    sight.doubted[rows] = np.clip(2 * sight.doubted[rows], DOUBT_FIRST, DOUBT_LONGEST)
    sight.owed_until[rows] = now + sight.doubted[rows]


def _of_this_life(sight: Sight, samples: Samples, wall: float) -> Samples:
    """The samples; QEMU repeats what a guest told before its reset until it tells anew: that has no time."""
    rows = samples.rows
    sight.booted[rows] = np.minimum(sight.booted[rows], wall)  # the wall clock may have been set back
    return replace(samples, updated=np.where(samples.updated > sight.booted[rows], samples.updated, np.nan))


def accrue(sight: Sight, counted: Bools, elapsed: float) -> tuple[float, float]:
    """Add `elapsed` seconds of shortfall and slack as last seen, in place. Returns the sums added, byte-seconds.

    `counted`: (n,) the domains that this is done for; one whose demand or size is not known adds nothing.
    """
    short = np.where(counted, np.nan_to_num(sight.demand - sight.allocation) * elapsed, 0.0)
    shortfall, slack = np.maximum(short, 0.0), np.maximum(-short, 0.0)
    sight.shortfall_time += shortfall
    sight.slack_time += slack
    return float(shortfall.sum()), float(slack.sum())


def _taken_at_rest(sight: Sight, samples: Samples) -> Bools:
    """(m,) True where statistics are newer than the last move of the balloon.

    Their time is in whole seconds, rounded down. But those that the last look did not find were sent after it.
    """
    rows = samples.rows
    after_last_look = (samples.updated != sight.updated[rows]) & (sight.told[rows] >= sight.moved_at[rows])
    return np.asarray((samples.updated > sight.moved[rows]) | after_last_look)


def _hear(sight: Sight, events: BalloonEvents, wall: float, now: float) -> Ints:
    """Enter what arrived between looks; the rows whose size differs by that."""
    known = np.isfinite(sight.allocation[events.rows])
    return _resize(sight, events.rows[known], events.actual[known], wall, now)


def _resize(sight: Sight, rows: Ints, actual: Floats, wall: float, now: float) -> Ints:
    """New balloon sizes, and the rows that moved; their statistics count again once they are newer than the move."""
    before = sight.allocation[rows]
    moved = np.abs(actual - before) >= TOLERANCE
    sight.allocation[rows] = np.where(moved | np.isnan(before), actual, before)
    sight.moved[rows[moved]] = wall
    sight.moved_at[rows[moved]] = now
    sight.moved[rows] = np.minimum(sight.moved[rows], wall + EVENT_SPACING)  # the wall clock may have been set back
    where: Ints = rows[moved]
    return where


def _measure(sight: Sight, samples: Samples, wall: float, now: float) -> None:
    rows = samples.rows
    stopped = samples.life == Life.NOT_RUNNING
    sight.allocation[rows[stopped]] = 0.0
    sized = ~stopped & np.isfinite(samples.actual)
    _resize(sight, rows[sized], samples.actual[sized], wall, now)
    sight.maximum[rows] = np.where(np.isfinite(samples.maximum), samples.maximum, sight.maximum[rows])
    told = np.isfinite(samples.rss)
    sight.rss[rows[told]] = samples.rss[told]
    sight.rss_at[rows[told]] = sight.allocation[rows[told]]
    sight.rss_told[rows] = told


def _left(samples: Samples) -> Floats:
    """What the guest could give up: `usable`; where it reports none, or 0 while pages are free, `unused`."""
    given = np.isfinite(samples.usable) & ((samples.usable != 0) | ~(samples.unused > 0))
    return np.where(given, samples.usable, samples.unused)


def _breathe(sight: Sight, samples: Samples, left: Floats, asked: Floats) -> None:
    """Enter what new statistics tell of free memory, in place. `asked`: (m,) when each balloon was last asked to move.

    The guest's own size follows its balloon at once, while libvirt learns of that by events that may be a second old.
    """
    rows = samples.rows
    spent = samples.unused < LOW_FREE * samples.actual
    same = np.abs(samples.available - sight.available[rows]) < TOLERANCE / 2
    news = np.isfinite(samples.updated) & (samples.updated != sight.updated[rows])
    choking = spent & sight.spent[rows] & same & (sight.told[rows] > asked)
    where = rows[news]
    sight.choking[where] = choking[news]
    sight.spent[where] = spent[news]
    sight.available[where] = samples.available[news]
    sight.promised[where] = np.fmax(left - samples.unused, 0.0)[news]


def _mistrust(sight: Sight, rows: Ints, caches: Floats, now: float) -> None:
    """Enter what of their promises is not to be counted on, in place. `caches`: (m,) bytes, NaN where not told."""
    doubted = now < sight.owed_until[rows]
    sight.owed[rows] = np.where(doubted, np.minimum(sight.owed[rows], sight.promised[rows]), 0.0)
    sight.doubtful[rows] = np.fmax(sight.promised[rows] - caches, sight.owed[rows])


def _trouble(
    sight: Sight, samples: Samples, demand: Floats, at_rest: Bools, age: Floats, patience: Floats, now: float
) -> NDArray[np.int64]:
    """Why each sample cannot be acted on, the first cause that applies."""
    missing = ~np.isfinite(demand) | ~(samples.updated > 0) | (samples.available == 0)
    booting = missing & (now - sight.since[samples.rows] < BOOT_TIME)
    absurd = (at_rest & ((demand < 0) | (demand > samples.actual))) | (samples.available < 0) | ~(samples.actual > 0)
    since = np.where(absurd, np.fmin(sight.absurd_since[samples.rows], now), np.nan)
    sight.absurd_since[samples.rows] = since
    lives = [(samples.life == life, reason) for life, reason in _LIFE_REASONS.items()]
    return first_that_applies(
        [
            *lives,
            (booting, Reason.BOOTING),
            (missing, Reason.NO_STATISTICS),
            (absurd & (now - since < EVENT_SPACING), Reason.MOVING),  # somebody may have set it: the event is to come
            (absurd, Reason.INVALID_STATISTICS),
            (age < -FUTURE_TOLERANCE, Reason.FUTURE_STATISTICS),
            (age > patience, Reason.STALE_STATISTICS),
        ],
        Reason.NONE,
    )


def _pressure(sight: Sight, samples: Samples, left: Floats, telling: Bools, now: float) -> None:
    """A guest is short of memory when little is usable, or when it reads back what it had to give up.

    A guest that is short while its balloon moves tells so, although its demand cannot be told: at once while it
    shrinks, and when it has had a second to grow. What it told holds as long as it has sent nothing newer.
    """
    rows = samples.rows
    part = left / np.maximum(samples.actual, 1.0)
    elapsed = np.maximum(now - sight.heard_at[rows], 1.0)
    read_back = samples.swap_in - sight.swap_in[rows]
    swapping = read_back > 0
    thrashing = (samples.major_faults - sight.major_faults[rows]) / elapsed > MAJOR_FAULTS_A_SECOND
    short = (part < LOW_FREE) | (swapping & (part < EASY_FREE)) | (thrashing & (part < TIGHT_FREE))
    where: Ints = rows[telling]
    untold = (samples.updated == sight.updated[rows]) & (sight.trouble[rows] == Reason.NONE)
    sight.pressure[rows] = (telling & short) | (untold & sight.pressure[rows])
    nothing = left < np.maximum(NOTHING_LEFT * samples.actual, NOTHING_LEFT_BYTES)
    sight.exhausted[rows] = (telling & short & nothing) | (untold & sight.exhausted[rows])
    sight.paging[where] = (thrashing | (read_back / elapsed > SWAP_IN_A_SECOND))[telling]
    sight.pressed[where] = np.where(short[telling], sight.pressed[where] + 1, 0)
    sight.swap_in[where] = samples.swap_in[telling]
    sight.major_faults[where] = samples.major_faults[telling]
    sight.heard_at[where] = now
    sight.heard_size[where] = samples.actual[telling]


def _remember(sight: Sight, rows: Ints, demand: Floats, now: float) -> None:
    before = sight.demand[rows]
    sight.change[rows] = np.where(np.isnan(before), 0.0, demand - before)
    sight.demand[rows] = demand
    sight.fresh_at[rows] = now
    sight.fresh_count[rows] += 1

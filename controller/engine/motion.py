"""What became of the balloon changes asked for: under way, arrived, stuck, or overruled from outside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.engine.columns import Columns, column
from controller.engine.inventory import Inventory
from controller.engine.reasons import Reason
from controller.engine.sight import EVENT_SPACING, TOLERANCE, Sight, doubt
from controller.engine.snapshot import Life, Outcome, Result

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DEADLINE = 5.0
"""Seconds without progress after which a balloon is stuck, as in Xen's squeezed; two shortest intervals if longer. One
in a guest that is choking is at once: that guest's kernel kills for the next page it needs."""

LATE_NEWS = 2 * EVENT_SPACING
"""Seconds after a request in which a size may still tell of what the balloon did before."""

RETRY_FIRST = 60.0
RETRY_LONGEST = 960.0
"""Seconds until a stuck balloon is tried again; doubled each time in between."""

REFUSAL_FIRST = 5.0
"""Seconds until libvirt is asked again after it has refused; doubled each time up to `RETRY_LONGEST`."""

REFUSAL_IN_NEED = 30.0
"""The most of these seconds for a guest under pressure: the job that holds its domain may end at any time."""

SETTLING = 5.0
"""Seconds from a guest's first statistics, and from every move after that, in which its balloon may move by itself: it
follows what was ordered before the guest booted anew, or before Ballast started."""

OUTSIDE_HOLD = 30.0
"""Seconds, at least, that an allocation set by someone else is left alone; the stabilisation window where longer."""


@dataclass(slots=True)
class Motion(Columns):
    """Columns of (n,); bytes and monotonic seconds."""

    target: Floats = column(np.nan)
    """Size asked for and not reached yet; NaN when nothing is under way."""
    progress: Floats = column(np.nan)
    """Size of the balloon when it last came closer to the target."""
    progress_at: Floats = column(-np.inf)
    settled: Floats = column(np.nan)
    """Size at which the balloon was last at rest; NaN before the first look."""
    settles_at: Floats = column(np.nan)
    """Moves that nobody here asked for are somebody's only from then on; NaN before the first statistics."""
    relief: Floats = column(np.nan)
    """Size up to which a guest may grow that was stuck, or was reset on its way there, as it was told."""
    retry_at: Floats = column(-np.inf)
    """A balloon that was stuck is not tried again before this time; a guest in need does not wait for it."""
    backoff: Floats = column(0.0)
    refused_at: Floats = column(-np.inf)
    """When libvirt refused an order last."""
    rest: Floats = column(0.0)
    """Seconds from then in which nothing is asked; fewer for a guest in need, see `resting`."""
    previous: Floats = column(np.nan)
    """`target` before the newest order: what QEMU still follows should libvirt refuse that one."""
    hold_until: Floats = column(-np.inf)
    """Left alone until then: someone else set this size."""
    release: Bools = column(False)
    """Its policy is gone and the definition's allocation is still to be given back."""
    release_until: Floats = column(-np.inf)
    """Time at which giving back is abandoned for lack of memory."""
    proposed: Floats = column(np.nan)
    """In Observe: the size that Enforce would have set."""
    proposed_reason: Ints = column(int(Reason.NONE))
    reallocations: Ints = column(0)
    last_at: Floats = column(np.nan)
    last_from: Floats = column(np.nan)
    last_to: Floats = column(np.nan)
    last_reason: Ints = column(int(Reason.NONE))


def take(motion: Motion, rows: Ints, same: Ints) -> Motion:
    """The motion with its rows moved, see `Columns.take`. A guest that was reset has a row in `same` only: of it stays
    what does not end with the guest's life, its release and the size that QEMU goes on to ask for.
    """
    taken, before = motion.take(rows), motion.take(same)
    taken.release, taken.release_until = before.release, before.release_until
    taken.relief = np.where(rows < 0, np.fmax(before.target, before.relief), taken.relief)
    return taken


def follow(motion: Motion, sight: Sight, inventory: Inventory, now: float) -> tuple[Ints, Ints]:
    """Compare requests with the newest sizes, in place. Returns the rows now stuck, and those changed from outside."""
    size = sight.allocation
    under_way = np.isfinite(motion.target)
    begun = np.isnan(motion.settles_at) & np.isfinite(sight.updated)
    motion.settles_at[begun] = now + SETTLING
    gap = np.abs(size - motion.target)
    gap_before = np.abs(motion.progress - motion.target)
    arrived = under_way & (gap < TOLERANCE)
    closer = under_way & (gap < gap_before - TOLERANCE / 2)
    receding = under_way & ~arrived & (gap > gap_before + TOLERANCE)
    late_news = receding & ((now - motion.last_at <= LATE_NEWS) | _settling(motion, now))
    away = receding & ~late_news
    changed = ~under_way & (np.abs(size - motion.settled) >= TOLERANCE)
    relieved = changed & (size > motion.settled) & (size < motion.relief + TOLERANCE)
    motion.settled[relieved] = size[relieved]
    motion.relief[relieved & (size > motion.relief - TOLERANCE)] = np.nan
    motion.progress[closer | late_news] = size[closer | late_news]
    motion.progress_at[closer] = now
    outside = _overruled(motion, sight, inventory, away | (changed & ~relieved), now)
    _settle(motion, arrived, size)
    motion.backoff[arrived] = 0.0
    motion.rest[arrived] = 0.0
    stuck = _stuck(motion, sight, inventory, under_way & ~arrived & ~away, now)
    new = np.isnan(motion.settled) & np.isfinite(size)
    motion.settled[new] = size[new]
    return stuck, outside


def _settling(motion: Motion, now: float) -> Bools:
    """(n,) balloons that may move by themselves."""
    return np.asarray(~(now >= motion.settles_at))


def _settle(motion: Motion, where: Bools | Ints, size: Floats) -> None:
    motion.settled[where] = size[where]
    motion.target[where] = np.nan
    motion.previous[where] = np.nan
    motion.relief[where] = np.nan


def _stop(motion: Motion, rows: Ints, size: Floats) -> None:
    """Balloons that are about to be told to stay where they are: should libvirt refuse that, they go on."""
    before = motion.target[rows]
    _settle(motion, rows, size)
    motion.previous[rows] = before


def _overruled(motion: Motion, sight: Sight, inventory: Inventory, where: Bools, now: float) -> Ints:
    """Sizes nobody here asked for: the balloon settles, the guest deflated it (pressure), or someone else set it (a new
    truth)."""
    if not where.any():
        return np.empty(0, dtype=np.int64)
    settling = _settling(motion, now)
    motion.settles_at = np.where(where & settling, np.maximum(motion.settles_at, now + SETTLING), motion.settles_at)
    before = np.where(np.isfinite(motion.target), motion.progress, motion.settled)
    deflated = where & ~settling & inventory.autodeflate & (sight.allocation > before)
    sight.pressure |= deflated
    outside = where & ~settling & ~deflated & (sight.allocation > 0) & (before > 0)
    motion.hold_until[outside] = now + np.maximum(inventory.stabilization[outside], OUTSIDE_HOLD)
    motion.proposed[where] = np.nan
    sight.moved[where] += EVENT_SPACING
    sight.moved_at[where] += EVENT_SPACING
    _settle(motion, where, sight.allocation)
    return np.flatnonzero(outside)


def _stuck(motion: Motion, sight: Sight, inventory: Inventory, where: Bools, now: float) -> Ints:
    if not where.any():
        return np.empty(0, dtype=np.int64)
    running = sight.life == Life.RUNNING
    motion.progress_at[where & ~running] = now  # paused or in another job: it cannot move yet
    deadline = np.maximum(DEADLINE, 2 * inventory.interval_minimum)
    choking = where & running & _choking(motion, sight, inventory)
    doubt(sight, np.flatnonzero(choking), now)
    rows = np.flatnonzero((where & (sight.seen - motion.progress_at > deadline)) | choking)
    motion.backoff[rows] = np.clip(2 * motion.backoff[rows], RETRY_FIRST, RETRY_LONGEST)
    motion.retry_at[rows] = now + motion.backoff[rows]
    _stop(motion, rows, sight.allocation)
    return rows


def _choking(motion: Motion, sight: Sight, inventory: Inventory) -> Bools:
    """(n,) guests that have given what was free, have to give more, and cannot. One whose balloon deflates by itself
    helps itself; and its own size does not tell of its balloon.
    """
    shrinks = (motion.target < sight.allocation) & (sight.allocation < motion.last_from - TOLERANCE)
    return np.asarray(sight.choking & shrinks & ~inventory.autodeflate)


def halt(motion: Motion, sight: Sight, rows: Ints, now: float) -> None:
    """The balloons of `rows`, which shrink, are about to be told to stop where they are, in place.

    They may have come further than is known, and come back.
    """
    _stop(motion, rows, sight.allocation)
    motion.settles_at[rows] = np.fmax(motion.settles_at[rows], now + SETTLING)


def request(motion: Motion, sight: Sight, rows: Ints, target: Floats, reason: Ints, now: float) -> None:
    """Enter balloon changes that are about to be carried out, in place; `target` and `reason` are those of `rows`."""
    size = sight.allocation[rows]
    sight.choking[rows] = False
    motion.previous[rows] = motion.target[rows]
    motion.target[rows] = target
    motion.relief[rows] = np.nan
    motion.progress[rows] = size
    motion.progress_at[rows] = now
    motion.reallocations[rows] += 1
    motion.last_at[rows] = now
    motion.last_from[rows] = size
    motion.last_to[rows] = target
    motion.last_reason[rows] = reason


def refuse(motion: Motion, outcomes: tuple[Outcome, ...], now: float) -> None:
    """Forget requests that libvirt did not take, in place; they are tried again later. What was asked before holds."""
    rows = np.array([each.row for each in outcomes if each.result is Result.REFUSED], dtype=np.int64)
    motion.target[rows] = motion.previous[rows]
    motion.progress_at[rows] = now
    motion.rest[rows] = np.clip(2 * motion.rest[rows], REFUSAL_FIRST, RETRY_LONGEST)
    motion.refused_at[rows] = now


def resting(motion: Motion, sight: Sight, now: float) -> Bools:
    """(n,) domains whose last order libvirt refused a moment ago."""
    rest = np.where(sight.pressure, np.minimum(motion.rest, REFUSAL_IN_NEED), motion.rest)
    return np.asarray(now - motion.refused_at < rest)


def held(motion: Motion, sight: Sight, inventory: Inventory, committed: Floats) -> tuple[float, float]:
    """Bytes of host memory in the hands of guests, at least and at most; what QEMU holds beyond their sizes is its own.

    What QEMU holds is known from each domain's last look; while a job hides it, it may be any more. A balloon that has
    moved since, or is on its way, may have changed that by as much, and nobody tells: guests touch what they get when
    they need it.
    """
    size, rss = np.nan_to_num(sight.allocation), np.where(inventory.resident, sight.rss, np.nan)
    highest = np.where(size > 0, committed, 0.0)
    least = np.fmin(np.fmin(size, motion.target), rss)
    most = np.where(sight.rss_told, np.fmin(highest, rss + np.fmax(highest - sight.rss_at, 0.0)), highest)
    return float(least.sum()), float(most.sum())


def committed(motion: Motion, sight: Sight, inventory: Inventory) -> Floats:
    """(n,) bytes each domain has, or will have once its balloon has followed: the larger of both.

    A domain not looked at yet counts with its maximum.
    """
    size = np.where(np.isnan(sight.allocation), inventory.maximum, sight.allocation)
    return np.fmax(size, np.fmax(motion.target, motion.relief))

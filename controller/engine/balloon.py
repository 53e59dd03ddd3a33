"""What became of the orders to each balloon: the stage that knows its phase, and who may be told what next."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon, Event, Phase, after
from controller.engine.snapshot import EVENT_SPACING, TOLERANCE, Life, Outcome, Result
from controller.engine.tables import Bools, Floats, Ints, mask
from controller.engine.tuning import Tuning

T = TypeVar("T", np.float64, np.int64)

LATE_NEWS = 2 * EVENT_SPACING
"""Seconds after an order in which a size may still tell of what the balloon did before."""

RELEASE_PATIENCE = 60.0
"""Seconds within which a released domain gets its memory back or, for lack of it, keeps what it has."""


def hand_over(balloon: Balloon, old: Inventory, new: Inventory, same: Ints, kept: Ints, now: float) -> Balloon:
    """The balloons in the rows of a new inventory.

    `same`: (n,) the row before of each domain, -1 where it was started since; `kept`: -1 also where its guest was
    reset. Of one that was reset stays what does not end with the guest's life: its release, and the size that QEMU goes
    on to ask for. Domains that lost an acting policy are released.
    """
    taken, before = balloon.take(kept), balloon.take(same)
    reset, unowned = (same >= 0) & (kept < 0), new.policy < 0
    earlier = np.where(before.phase == Phase.UNKNOWN, before.previous, np.nan)
    promised = np.fmax(np.fmax(before.target, before.allowance), earlier)
    lost = np.zeros_like(unowned)
    if len(old):
        lost = unowned & (same >= 0) & (old.policy[same] >= 0) & old.enforce[same] & old.restore[same]
    release_until = np.where(lost, now + RELEASE_PATIENCE, before.release_until)
    observed = new.acted_on & ~new.enforce
    return replace(
        taken,
        allowance=np.where(reset, promised, taken.allowance),
        release=lost | (before.release & unowned),
        release_until=release_until,
        proposed=np.where(observed, taken.proposed, np.nan),
    )


def answered(balloon: Balloon, outcomes: Sequence[Outcome], now: float, tuning: Tuning) -> Balloon:
    """What libvirt said since the last step. What it refused is tried again later; what was ordered before holds."""
    if not outcomes:
        return balloon
    results = np.full(len(balloon.phase), -1)
    results[[each.row for each in outcomes]] = [each.result for each in outcomes]
    refused, late = results == Result.REFUSED, results == Result.UNKNOWN
    event = np.select(
        [refused & np.isfinite(balloon.previous), refused, late, results == Result.DONE],
        [Event.RESUMED, Event.REFUSED, Event.UNANSWERED, Event.TAKEN],
        Event.NONE,
    )
    ended = late & ~balloon.under_way  # what is late is the order to a stuck balloon to stay where it is
    rest = np.clip(2 * balloon.refusal_rest, tuning.refusal_first, tuning.retry_longest)
    return replace(
        balloon,
        phase=after(balloon.phase, event),
        target=np.where(
            refused, balloon.previous, np.where(ended, np.fmax(balloon.settled, balloon.allowance), balloon.target)
        ),
        previous=np.where(refused, np.nan, balloon.previous),
        progress=np.where(ended, balloon.settled, balloon.progress),
        progress_at=np.where(event != Event.NONE, now, balloon.progress_at),
        refusal_rest=np.where(refused, rest, balloon.refusal_rest),
        refused_at=np.where(refused, now, balloon.refused_at),
    )


def follow(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Balloon:
    """Compare orders with the newest sizes: `phase` and `event` tell what became of them."""
    event = _events(balloon, observation, inventory, now, tuning)
    phase = after(balloon.phase, event)
    balloon = _track(balloon, observation, inventory, now, tuning)
    size = observation.allocation
    balloon = _arrive(balloon, event == Event.ARRIVED, size)
    balloon = _fail(balloon, np.isin(event, (Event.STALLED, Event.CHOKED, Event.REVERTED)), size, now, tuning)
    balloon = _surprise(balloon, event, observation, inventory, now, tuning)
    return replace(_come_home(balloon, event == Event.FOLLOWED, size), phase=phase, event=event)


def _events(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Ints:
    """(n,) what became of each balloon, the first that applies."""
    size, last_to = observation.allocation, balloon.last_to
    moving, unknown = balloon.phase == Phase.MOVING, balloon.phase == Phase.UNKNOWN
    gap, closest = np.abs(size - balloon.target), np.abs(balloon.progress - balloon.target)
    near = (gap < TOLERANCE) & (moving | (closest >= TOLERANCE))  # a late order to stay put shows in no size
    rested = observation.seen_at - balloon.progress_at
    missed = moving & (gap <= tuning.miss) & (gap >= closest - TOLERANCE / 2) & (rested >= LATE_NEWS)
    away = moving & (gap > closest + TOLERANCE) & ~_late_news(balloon, now)
    changed = ~balloon.under_way & ~unknown & (np.abs(size - balloon.settled) >= TOLERANCE)
    allowed = (size > balloon.settled) & (size < balloon.allowance + TOLERANCE)
    ours = changed & (allowed | (np.abs(size - last_to) <= tuning.miss))
    surprise = away | (changed & ~ours)
    before = _before(balloon)
    foreign = surprise & ~_settling(balloon, now) & (size > 0) & (before > 0)
    grew = foreign & (size > before)
    again = grew & _gave(balloon, now, tuning) & np.isfinite(balloon.reverted_at)
    late = rested > np.maximum(tuning.deadline, 2 * inventory.interval_minimum)
    running = moving & (observation.life == Life.RUNNING)
    choked = running & _choked(balloon, observation) & ~inventory.autodeflate
    waited = (now >= balloon.retry_at) & (now >= balloon.hold_until)
    cases = [
        (near | missed, Event.ARRIVED),
        (grew & inventory.autodeflate, Event.DEFLATED),
        (again, Event.REVERTED),
        (foreign, Event.RESIZED),
        (surprise, Event.DRIFTED),
        (ours, Event.FOLLOWED),
        (choked, Event.CHOKED),
        (running & late, Event.STALLED),
        (np.isin(balloon.phase, (Phase.STUCK, Phase.OVERRULED)) & waited, Event.EXPIRED),
    ]
    return np.select([case for case, _ in cases], [event for _, event in cases], Event.NONE)


def _before(balloon: Balloon) -> Floats:
    """(n,) size that each had until now, as far as it was ordered."""
    return np.where(balloon.under_way, balloon.progress, balloon.settled)


def _settling(balloon: Balloon, now: float) -> Bools:
    """(n,) balloons that may move by themselves."""
    return np.asarray(~(now >= balloon.settles_at))


def _late_news(balloon: Balloon, now: float) -> Bools:
    """(n,) balloons whose size may still tell of what they did before the newest order."""
    return np.asarray((now - balloon.last_at <= LATE_NEWS) | _settling(balloon, now))


def _gave(balloon: Balloon, now: float, tuning: Tuning) -> Bools:
    """(n,) balloons that have shrunk just now, as they were told."""
    shrunk = balloon.last_to < balloon.last_from
    return np.asarray(shrunk & (now - np.fmax(balloon.last_at, balloon.progress_at) <= tuning.outside_hold))


def _choked(balloon: Balloon, observation: Observation) -> Bools:
    """(n,) guests that have given what was free, have to give more, and cannot."""
    shrinks = (balloon.target < observation.allocation) & (observation.allocation < balloon.last_from - TOLERANCE)
    return np.asarray(shrinks & (observation.choked_at > balloon.last_at))


def _track(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Balloon:
    """Progress, the first sight of a balloon, and the end of releases."""
    size = observation.allocation
    gap, closest = np.abs(size - balloon.target), np.abs(balloon.progress - balloon.target)
    moving = balloon.phase == Phase.MOVING
    closer = moving & (gap < closest - TOLERANCE / 2)
    late_news = moving & (gap > closest + TOLERANCE) & _late_news(balloon, now)
    barred = moving & (observation.life != Life.RUNNING)  # paused or in another job: it cannot move yet
    begun = np.isnan(balloon.settles_at) & np.isfinite(observation.stamp)
    home = np.abs(size - inventory.definition) < TOLERANCE
    return replace(
        balloon,
        progress=np.where(closer | late_news, size, balloon.progress),
        progress_at=np.where(closer | barred, now, balloon.progress_at),
        settled=np.where(np.isnan(balloon.settled), size, balloon.settled),
        settles_at=np.where(begun, now + tuning.settling, balloon.settles_at),
        release=balloon.release & ~home & (now < balloon.release_until),
    )


def _settle(balloon: Balloon, where: Bools, size: Floats) -> Balloon:
    """Balloons that are at rest, whatever they were told."""
    return replace(
        balloon,
        target=np.where(where, np.nan, balloon.target),
        previous=np.where(where, np.nan, balloon.previous),
        settled=np.where(where, size, balloon.settled),
        allowance=np.where(where, np.nan, balloon.allowance),
    )


def _arrive(balloon: Balloon, where: Bools, size: Floats) -> Balloon:
    """One that stays short of a larger target by a page may get it yet: that much stays its own.

    Where the guest took back what it gave the last time, it has yet to be seen whether it gives.
    """
    short = where & (balloon.target - size >= TOLERANCE)
    settled = _settle(balloon, where, size)
    return replace(
        settled,
        allowance=np.where(short, balloon.target, settled.allowance),
        backoff=np.where(where & np.isneginf(balloon.reverted_at), 0.0, balloon.backoff),
        refusal_rest=np.where(where, 0.0, balloon.refusal_rest),
    )


def _fail(balloon: Balloon, where: Bools, size: Floats, now: float, tuning: Tuning) -> Balloon:
    """Balloons that are about to be told to stay where they are: should libvirt refuse that, they go on."""
    backoff = np.clip(2 * balloon.backoff, tuning.retry_first, tuning.retry_longest)
    return replace(
        _settle(balloon, where, size),
        previous=np.where(where, balloon.target, balloon.previous),
        backoff=np.where(where, backoff, balloon.backoff),
        retry_at=np.where(where, now + backoff, balloon.retry_at),
    )


def _surprise(
    balloon: Balloon, event: Ints, observation: Observation, inventory: Inventory, now: float, tuning: Tuning
) -> Balloon:
    """Sizes nobody here asked for: they may not be the last ones, and are left alone where someone else set them."""
    where = np.isin(event, (Event.RESIZED, Event.DEFLATED, Event.DRIFTED, Event.REVERTED))
    size, resized = observation.allocation, event == Event.RESIZED
    grew = resized & (size > _before(balloon)) & _gave(balloon, now, tuning)
    hold = now + np.maximum(inventory.stabilization, tuning.outside_hold)
    settling = where & _settling(balloon, now)
    return replace(
        _settle(balloon, where & (event != Event.REVERTED), size),
        settles_at=np.where(settling, np.fmax(balloon.settles_at, now + tuning.settling), balloon.settles_at),
        rest_from=np.where(where, now + EVENT_SPACING, balloon.rest_from),
        hold_until=np.where(resized, hold, balloon.hold_until),
        reverted_at=np.where(grew | (event == Event.REVERTED), now, balloon.reverted_at),
        proposed=np.where(where, np.nan, balloon.proposed),
    )


def _come_home(balloon: Balloon, where: Bools, size: Floats) -> Balloon:
    """Balloons that went on to where they had been told to go before."""
    complete = where & (size > balloon.allowance - TOLERANCE)
    return replace(
        balloon,
        settled=np.where(where, size, balloon.settled),
        allowance=np.where(complete, np.nan, balloon.allowance),
    )


def ordered(
    balloon: Balloon, observation: Observation, rows: Ints, targets: Floats, reasons: Ints, now: float
) -> Balloon:
    """Balloon changes that are about to be carried out; `targets` (bytes) and `reasons` are those of `rows`."""
    balloon = _told(balloon, observation, rows, targets, now)
    chosen = mask(rows, len(balloon.phase))
    stood = (balloon.last_to < balloon.last_from) & ~(balloon.reverted_at > balloon.last_at)
    return replace(
        balloon,
        reverted_at=np.where(chosen & stood, -np.inf, balloon.reverted_at),
        reallocations=balloon.reallocations + chosen,
        last_at=np.where(chosen, now, balloon.last_at),
        last_from=np.where(chosen, observation.allocation, balloon.last_from),
        last_to=_put(balloon.last_to, rows, targets),
        last_reason=_put(balloon.last_reason, rows, reasons),
    )


def halted(balloon: Balloon, observation: Observation, rows: Ints, now: float, tuning: Tuning) -> Balloon:
    """Balloons under way that are about to be told to stay where they are.

    They may have come further than is known, and come back.
    """
    balloon = _told(balloon, observation, rows, observation.allocation[rows], now)
    settles_at = np.fmax(balloon.settles_at[rows], now + tuning.settling)
    return replace(balloon, settles_at=_put(balloon.settles_at, rows, settles_at))


def relieved(balloon: Balloon, rows: Ints, sizes: Floats) -> Balloon:
    """Stuck balloons that are about to be told to stay as they are, or to grow to `sizes` if they can, bytes."""
    return replace(balloon, allowance=_put(balloon.allowance, rows, sizes))


def proposed(balloon: Balloon, rows: Ints, targets: Floats, reasons: Ints) -> Balloon:
    """What Enforce would have ordered."""
    return replace(
        balloon,
        proposed=_put(balloon.proposed, rows, targets),
        proposed_reason=_put(balloon.proposed_reason, rows, reasons),
    )


def _told(balloon: Balloon, observation: Observation, rows: Ints, targets: Floats, now: float) -> Balloon:
    chosen = mask(rows, len(balloon.phase))
    return replace(
        balloon,
        phase=after(balloon.phase, np.where(chosen, Event.ORDERED, Event.NONE)),
        target=_put(balloon.target, rows, targets),
        previous=np.where(chosen, balloon.target, balloon.previous),
        progress=np.where(chosen, observation.allocation, balloon.progress),
        progress_at=np.where(chosen, now, balloon.progress_at),
        allowance=np.where(chosen, np.nan, balloon.allowance),
    )


def _put(column: NDArray[T], rows: Ints, values: NDArray[T]) -> NDArray[T]:
    """A copy of `column` with `values` in `rows`."""
    filled = column.copy()
    filled[rows] = values
    return filled


def resting(balloon: Balloon, in_need: Bools, now: float, tuning: Tuning) -> Bools:
    """(n,) domains whose last order libvirt refused a moment ago."""
    rest = np.where(in_need, np.minimum(balloon.refusal_rest, tuning.refusal_in_need), balloon.refusal_rest)
    return np.asarray(now - balloon.refused_at < rest)


def free_to_move(balloon: Balloon, in_need: Bools, now: float, tuning: Tuning) -> Bools:
    """(n,) balloons that may be told a new size: none whose last order may yet take effect, unheard; none that waits
    after a failure, or was set by someone else just now. A guest in need waits after a refusal only.
    """
    waits = (now < balloon.retry_at) | (now < balloon.hold_until)
    unknown = balloon.phase == Phase.UNKNOWN
    return np.asarray(~unknown & ~resting(balloon, in_need, now, tuning) & (~waits | in_need))


def abandoned(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Bools:
    """(n,) balloons under way that are no longer Ballast's to move, and are to be told to stay where they are."""
    ours = inventory.enforce | balloon.release
    reachable = (observation.life == Life.RUNNING) & (observation.allocation > 0) & (balloon.phase == Phase.MOVING)
    staying = np.abs(balloon.target - observation.allocation) < TOLERANCE
    return np.asarray(reachable & ~ours & ~staying & ~resting(balloon, ~ours, now, tuning))


def committed(balloon: Balloon, observation: Observation, inventory: Inventory) -> Floats:
    """(n,) bytes each domain has, or may have once its balloon has followed what it was told: the largest.

    A domain not looked at yet counts with its maximum.
    """
    size = np.where(np.isnan(observation.allocation), inventory.maximum, observation.allocation)
    earlier = np.where(balloon.phase == Phase.UNKNOWN, balloon.previous, np.nan)
    return np.fmax(np.fmax(size, earlier), np.fmax(balloon.target, balloon.allowance))


def held(balloon: Balloon, observation: Observation, inventory: Inventory, committed: Floats) -> tuple[float, float]:
    """Bytes of host memory in the hands of guests, at least and at most; what QEMU holds beyond their sizes is its own.

    What QEMU holds is known from each domain's last look; while a job hides it, it may be any more. A balloon that has
    moved since, or is on its way, may have changed that by as much, and nobody tells: guests touch what they get when
    they need it. Memory that the kernel merged counts for each guest that holds it.
    """
    size, rss = np.nan_to_num(observation.allocation), np.where(inventory.resident, observation.rss, np.nan)
    highest = np.where(size > 0, committed, 0.0)
    earlier = np.where(balloon.phase == Phase.UNKNOWN, balloon.previous, np.nan)
    least = np.fmin(np.fmin(np.fmin(size, earlier), balloon.target), rss)
    grown = rss + np.fmax(highest - observation.rss_size, 0.0)
    most = np.where(observation.rss_known, np.fmin(highest, grown), highest)
    return float(least.sum()), float(most.sum())

"""What became of the orders to each balloon: the stage that knows its phase, and who may be told what next."""

from collections.abc import Sequence

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon, Event, Phase, after
from controller.engine.reasons import Reason, first_that_applies
from controller.engine.snapshot import EVENT_SPACING, TOLERANCE, Life, Outcome, Result
from controller.engine.tables import Bools, Floats, Ints
from controller.engine.tuning import Tuning

LATE_NEWS = 2 * EVENT_SPACING
"""Seconds after an order in which a size may still tell of what the balloon did before."""

RELEASE_PATIENCE = 60.0
"""Seconds within which a released domain gets its memory back or, for lack of it, keeps what it has."""


def hand_over(balloon: Balloon, old: Inventory, new: Inventory, same: Ints, kept: Ints, now: float) -> Balloon:
    """The balloons in the rows of a new inventory.

    `same`: (n,) the row before of each domain, -1 where it was started since; `kept`: -1 also where its guest was
    reset. Of one that was reset stays what does not end with the guest's life: its release, an order that is not
    answered yet, and the size that QEMU goes on to ask for, with the one from before. Domains that lost an acting
    policy are released.
    """
    taken, before = balloon.take(kept), balloon.take(same)
    reset, unowned = (same >= 0) & (kept < 0), new.policy < 0
    earlier = np.where(before.phase == int(Phase.UNKNOWN), before.previous, np.nan)
    promised = np.fmax(np.fmax(before.target, before.allowance), earlier)
    lost = np.zeros_like(unowned)
    if len(old):
        lost = unowned & (same >= 0) & (old.policy[same] >= 0) & old.enforce[same] & old.restore[same]
    release_until = np.where(lost, now + RELEASE_PATIENCE, before.release_until)
    observed = new.acted_on & ~new.enforce
    waiting = reset & (before.phase == int(Phase.UNKNOWN))
    taken = taken.put(waiting, phase=Phase.UNKNOWN, target=before.target, previous=before.previous)
    return taken.put(reset, allowance=promised, progress=before.progress, origin=before.origin).having(
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
    refused, late = results == int(Result.REFUSED), results == int(Result.UNKNOWN)
    cases = [
        (refused & np.isfinite(balloon.previous), Event.RESUMED),
        (refused, Event.REFUSED),
        (late, Event.UNANSWERED),
        (results == int(Result.DONE), Event.TAKEN),
    ]
    event = first_that_applies(cases, Event.NONE)
    balloon = balloon.having(phase=after(balloon.phase, event)).put(event != int(Event.NONE), progress_at=now)
    stays = late & ~balloon.under_way  # what is late is the order to a stuck balloon to stay where it is
    balloon = balloon.put(stays, target=np.fmax(balloon.settled, balloon.allowance), progress=balloon.settled)
    rest = (2 * balloon.refusal_rest).clip(tuning.deadline, tuning.rest_longest)
    return balloon.put(refused, target=balloon.previous, previous=np.nan, refusal_rest=rest, refused_at=now)


def follow(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Balloon:
    """Compare orders with the newest sizes: `phase` and `event` tell what became of them."""
    event, size = _events(balloon, observation, inventory, now, tuning), observation.allocation
    phase = after(balloon.phase, event)
    balloon = _track(balloon, observation, inventory, now, tuning).having(event=event, phase=phase)
    if not np.count_nonzero(event):
        return balloon
    balloon = _arrive(balloon, event == int(Event.ARRIVED), size)
    balloon = _fail(balloon, size, now, tuning)
    balloon = _surprise(balloon, observation, inventory, now, tuning)
    balloon = balloon.put(event == int(Event.EXPIRED), origin=np.nan)
    return _come_home(balloon, event == int(Event.FOLLOWED), size)


def _events(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Ints:
    """(n,) what became of each balloon, the first that applies."""
    size, last_to = observation.allocation, balloon.last_to
    changed = np.abs(size - balloon.settled) >= TOLERANCE
    if not np.count_nonzero(changed | balloon.under_way | (balloon.phase != int(Phase.IDLE))):
        return np.full(len(size), int(Event.NONE))
    moving = balloon.phase == int(Phase.MOVING)
    gap, closest = np.abs(size - balloon.target), np.abs(balloon.progress - balloon.target)
    near = (gap < TOLERANCE) & (moving | (closest >= TOLERANCE))  # a late order to stay put shows in no size
    rested = observation.seen_at - balloon.progress_at
    missed = moving & (gap <= tuning.miss) & (gap >= closest - TOLERANCE / 2) & (rested >= LATE_NEWS)
    away = moving & (gap > closest + TOLERANCE) & ~_late_news(balloon, now)
    changed &= ~balloon.under_way
    allowed = (size > balloon.settled) & (size < balloon.allowance + TOLERANCE)
    ours = changed & (allowed | (np.abs(size - last_to) <= tuning.miss))
    surprise = away | (changed & ~ours)
    before = _before(balloon)
    foreign = surprise & ~_settling(balloon, now) & (size > 0) & (before > 0)
    grew = foreign & (size > before)
    again = grew & _gave(balloon, now, tuning) & np.isfinite(balloon.reverted_at)
    late = rested > np.maximum(tuning.deadline, 2 * inventory.interval_minimum)
    running = moving & (observation.life == int(Life.RUNNING))
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
        (((balloon.phase == int(Phase.STUCK)) | (balloon.phase == int(Phase.OVERRULED))) & waited, Event.EXPIRED),
    ]
    return first_that_applies(cases, Event.NONE)


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
    size = observation.allocation
    gave = balloon.shrinks(size) & (size < balloon.last_from - TOLERANCE)
    return np.asarray(gave & (observation.choked_at > balloon.last_at))


def _track(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Balloon:
    """Progress, the first sight of a balloon, and the end of releases."""
    if np.count_nonzero(balloon.under_way):
        balloon = _progress(balloon, observation, now)
    begun = np.isnan(balloon.settles_at) & np.isfinite(observation.stamp)
    balloon = balloon.put(begun, settles_at=now + tuning.deadline)
    if np.count_nonzero(balloon.release):
        home = np.abs(observation.allocation - inventory.definition) < TOLERANCE
        balloon = balloon.put(balloon.release & (home | (now >= balloon.release_until)), release=False)
    return balloon.put(np.isnan(balloon.settled), settled=observation.allocation)


def _progress(balloon: Balloon, observation: Observation, now: float) -> Balloon:
    size, moving = observation.allocation, balloon.phase == int(Phase.MOVING)
    gap, closest = np.abs(size - balloon.target), np.abs(balloon.progress - balloon.target)
    closer = moving & (gap < closest - TOLERANCE / 2)
    late_news = moving & (gap > closest + TOLERANCE) & _late_news(balloon, now)
    elsewhere = (balloon.phase == int(Phase.UNKNOWN)) & (gap >= TOLERANCE)  # it may follow an earlier order
    barred = moving & (observation.life != int(Life.RUNNING))  # paused or in another job: it cannot move yet
    return balloon.put(closer | late_news | elsewhere, progress=size).put(closer | barred, progress_at=now)


def _settle(balloon: Balloon, where: Bools, size: Floats) -> Balloon:
    """Balloons that are at rest, whatever they were told."""
    return balloon.put(where, target=np.nan, previous=np.nan, origin=np.nan, settled=size, allowance=np.nan)


def _arrive(balloon: Balloon, where: Bools, size: Floats) -> Balloon:
    """One that stays short of a larger target by a page may get it yet: that much stays its own.

    Where the guest took back what it gave the last time, it has yet to be seen whether it gives.
    """
    short = where & (balloon.target - size >= TOLERANCE)
    settled = _settle(balloon, where, size).put(short, allowance=balloon.target).put(where, refusal_rest=0.0)
    return settled.put(where & np.isneginf(balloon.reverted_at), backoff=0.0)


def _fail(balloon: Balloon, size: Floats, now: float, tuning: Tuning) -> Balloon:
    """Balloons that are about to be told to stay where they are: should libvirt refuse that, they go on.

    What was given stays the guest's own, though it does not take it, until it is told otherwise.
    """
    where, backoff = balloon.failed, (2 * balloon.backoff).clip(tuning.rest_first, tuning.rest_longest)
    settled = _settle(balloon, where, size)
    settled = settled.put(where, previous=balloon.target, backoff=backoff, retry_at=now + backoff)
    given = where & (balloon.target > size)
    return settled.put(where & ~given, origin=balloon.origin).put(given, allowance=balloon.target)


def _surprise(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Balloon:
    """Sizes nobody here asked for: they may not be the last ones, and are left alone where someone else set them."""
    event, size = balloon.event, observation.allocation
    resized, reverted = event == int(Event.RESIZED), event == int(Event.REVERTED)
    drifted = (event == int(Event.DEFLATED)) | (event == int(Event.DRIFTED))
    grew = resized & (size > _before(balloon)) & _gave(balloon, now, tuning)
    settling = drifted & _settling(balloon, now)
    hold = now + np.maximum(inventory.stabilization, tuning.outside_hold)
    balloon = balloon.put(settling, settles_at=np.fmax(balloon.settles_at, now + tuning.deadline))
    balloon = balloon.put(resized, hold_until=hold).put(grew | reverted, reverted_at=now)
    origin = np.where(event == int(Event.DRIFTED), balloon.origin, np.nan)  # QEMU goes on to ask for what it was told
    balloon = _settle(balloon, resized | drifted, size).put(drifted, origin=origin)
    return balloon.put(resized | drifted | reverted, rest_from=now + EVENT_SPACING, proposed=np.nan)


def _come_home(balloon: Balloon, where: Bools, size: Floats) -> Balloon:
    """Balloons that went on to where they had been told to go before."""
    complete = where & (size > balloon.allowance - TOLERANCE)
    return balloon.put(where, settled=size).put(complete, allowance=np.nan)


def ordered(
    balloon: Balloon, observation: Observation, chosen: Bools, target: Floats, reason: Ints, now: float
) -> Balloon:
    """Balloons that are `chosen`, (n,), are about to be told to go to `target`, (n,) bytes, for a `reason`, (n,)."""
    size = observation.allocation
    stood = (balloon.last_to < balloon.last_from) & ~(balloon.reverted_at > balloon.last_at)
    told = _told(balloon, chosen, target, size, now).put(chosen & stood, reverted_at=-np.inf)
    told = told.put(chosen & (target < size), origin=size)
    count = balloon.reallocations + 1
    return told.put(chosen, last_at=now, last_from=size, last_to=target, last_reason=reason, reallocations=count)


def halted(
    balloon: Balloon, observation: Observation, chosen: Bools, target: Floats, now: float, tuning: Tuning
) -> Balloon:
    """Balloons whose shrink ends: they are about to be told to go to `target` (n,) bytes, where they are or have come
    from. They may have come further than is known, and come back.
    """
    settles_at = np.fmax(balloon.settles_at, now + tuning.deadline)
    told = _told(balloon, chosen, target, observation.allocation, now)
    return told.put(chosen, settles_at=settles_at)


def _told(balloon: Balloon, chosen: Bools, target: Floats, size: Floats, now: float) -> Balloon:
    if not np.count_nonzero(chosen):
        return balloon
    told = balloon.having(phase=after(balloon.phase, np.where(chosen, int(Event.ORDERED), int(Event.NONE))))
    return told.put(chosen, target=target, previous=balloon.target, progress=size, progress_at=now, allowance=np.nan)


def resting(balloon: Balloon, in_need: Bools, now: float, tuning: Tuning) -> Bools:
    """(n,) domains whose last order libvirt refused a moment ago."""
    since = now - balloon.refused_at
    rests = since < balloon.refusal_rest
    if np.count_nonzero(rests):
        rests &= ~in_need | (since < tuning.refusal_in_need)
    return rests


def free_to_move(balloon: Balloon, in_need: Bools, now: float, tuning: Tuning) -> Bools:
    """(n,) balloons that may be told a new size: none whose last order may yet take effect, unheard; none that waits
    after a failure, or was set by someone else just now. A guest in need waits after a refusal only.
    """
    waits = (now < balloon.retry_at) | (now < balloon.hold_until)
    unknown = balloon.phase == int(Phase.UNKNOWN)
    return np.asarray(~unknown & ~resting(balloon, in_need, now, tuning) & (~waits | in_need))


def abandoned(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Bools:
    """(n,) balloons that shrink, or could not shrink as far as they were told, and are no longer Ballast's to move.

    One that grows goes on: its size may be old news, and to stay there would take from its guest what it has by now.
    """
    size = observation.allocation
    strays = ~inventory.enforce & np.isfinite(balloon.origin) & (balloon.phase != int(Phase.UNKNOWN))
    if not np.count_nonzero(strays):
        return np.asarray(strays)
    goes_home = balloon.release & (balloon.last_reason == int(Reason.RELEASE_RESTORE))
    reachable = (observation.life == int(Life.RUNNING)) & (size > 0)
    gives = np.where(balloon.under_way, size - balloon.target, balloon.origin - size) > TOLERANCE
    return np.asarray(strays & ~goes_home & reachable & gives & ~resting(balloon, strays, now, tuning))


def committed(balloon: Balloon, observation: Observation, inventory: Inventory) -> Floats:
    """(n,) bytes each domain has, or may have once its balloon has followed what it was told: the largest.

    A domain not looked at yet counts with its maximum.
    """
    size = np.where(np.isnan(observation.allocation), inventory.maximum, observation.allocation)
    ordered = np.fmax(balloon.target, balloon.allowance)
    unanswered = balloon.phase == int(Phase.UNKNOWN)
    if np.count_nonzero(unanswered):
        ordered = np.fmax(ordered, np.where(unanswered, balloon.previous, np.nan))
    return np.fmax(size, ordered)

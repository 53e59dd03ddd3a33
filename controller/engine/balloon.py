"""What became of the orders to each balloon: the stage that knows its phase, and who may be told what next."""

from collections.abc import Sequence

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon, Phase, PhaseEvent, after
from controller.engine.reasons import Reason, first_that_applies
from controller.engine.snapshot import EVENT_SPACING, TOLERANCE, OrderOutcome, OrderResult, RunState
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
    sent = np.where(before.under_way, before.target, before.settled)
    return taken.put(reset, allowance=promised, progress=before.progress, origin=before.origin, home=sent).having(
        release=lost | (before.release & unowned),
        release_until=release_until,
        proposed=np.where(observed, taken.proposed, np.nan),
    )


def answered(balloon: Balloon, outcomes: Sequence[OrderOutcome], now: float, tuning: Tuning) -> Balloon:
    """What libvirt said since the last step. What it refused is tried again later, what it was not asked for at any
    time; what was ordered before holds.
    """
    if not outcomes:
        return balloon
    results = np.full(len(balloon.phase), -1)
    results[[each.row for each in outcomes]] = [each.result for each in outcomes]
    refused, late = results == int(OrderResult.REFUSED), results == int(OrderResult.UNKNOWN)
    never = refused | (results == int(OrderResult.WITHDRAWN))
    cases = [
        (never & np.isfinite(balloon.previous), PhaseEvent.RESUMED),
        (never, PhaseEvent.REFUSED),
        (late, PhaseEvent.UNANSWERED),
        (results == int(OrderResult.DONE), PhaseEvent.TAKEN),
    ]
    event = first_that_applies(cases, PhaseEvent.NONE)
    balloon = balloon.having(phase=after(balloon.phase, event)).put(event != int(PhaseEvent.NONE), progress_at=now)
    stays = late & ~balloon.under_way  # what is late is the order to a stuck balloon to stay where it is
    balloon = balloon.put(stays, target=np.fmax(balloon.settled, balloon.allowance), progress=balloon.settled)
    rest = (2 * balloon.refusal_rest).clip(tuning.rest_shortest, tuning.rest_longest)
    balloon = balloon.put(never, target=balloon.previous, previous=np.nan)
    return balloon.put(refused, refusal_rest=rest, refused_at=now)


def follow(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Balloon:
    """Compare orders with the newest sizes: `phase` and `event` tell what became of them."""
    event = _events(balloon, observation, inventory, now, tuning)
    phase = after(balloon.phase, event)
    balloon = _track(balloon, observation, inventory, now).having(event=event, phase=phase)
    return _conclude(balloon, observation, inventory, now, tuning) if np.count_nonzero(event) else balloon


def _events(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Ints:
    """(n,) what became of each balloon, the first that applies."""
    size, under_way, phase = observation.allocation, balloon.under_way, balloon.phase
    changed = np.abs(size - balloon.settled) >= TOLERANCE
    if not np.count_nonzero(changed | under_way | (phase != int(Phase.IDLE))):
        return np.full(len(size), int(PhaseEvent.NONE))
    moving = phase == int(Phase.MOVING)
    gap, closest = np.abs(size - balloon.target), np.abs(balloon.progress - balloon.target)
    near = (gap < TOLERANCE) & (moving | (closest >= TOLERANCE))  # a late order to stay put shows in no size
    rested = observation.seen_at - balloon.progress_at
    missed = moving & (gap <= tuning.miss) & (gap >= closest - TOLERANCE / 2) & (rested >= LATE_NEWS)
    away = moving & (gap > closest + TOLERANCE) & ~_late_news(balloon, now)
    changed &= ~under_way
    allowed = (size > balloon.settled) & (size < balloon.allowance + TOLERANCE)
    ours = changed & (allowed | (np.abs(size - balloon.last_to) <= tuning.miss))
    surprise = away | (changed & ~ours)
    before = np.where(under_way, balloon.progress, balloon.settled)
    # One whose guest boots goes to where libvirt, or Ballast before a reset, has sent it; on a busy host it takes long.
    home = np.where(np.isnan(balloon.home), inventory.definition, balloon.home)
    boots = np.isnan(balloon.last_at) & (now - observation.booted_at < tuning.boot_time)
    homeward = boots & (np.abs(size - home) < np.abs(before - home))
    foreign = surprise & ~homeward & (now >= balloon.settles_at) & (size > 0) & (before > 0)
    grew = foreign & (size > before)
    again = grew & _gave(balloon, now, tuning) & np.isfinite(balloon.reverted_at)
    late = rested > np.maximum(inventory.deadline, 2 * inventory.interval_minimum)
    running = moving & (observation.run_state == int(RunState.RUNNING))
    # Given what was free, and has to give more, and cannot.
    choked = balloon.shrinks(size) & (size < balloon.last_from - TOLERANCE) & (observation.choked_at > balloon.last_at)
    waited = (now >= balloon.retry_at) & (now >= balloon.hold_until)
    cases = [
        (near | missed, PhaseEvent.ARRIVED),
        (grew & inventory.autodeflate, PhaseEvent.DEFLATED),
        (again, PhaseEvent.REVERTED),
        (foreign, PhaseEvent.RESIZED),
        (surprise, PhaseEvent.DRIFTED),
        (ours, PhaseEvent.FOLLOWED),
        (running & choked & ~inventory.autodeflate, PhaseEvent.CHOKED),
        (running & late, PhaseEvent.STALLED),
        (((phase == int(Phase.STUCK)) | (phase == int(Phase.OVERRULED))) & waited, PhaseEvent.EXPIRED),
    ]
    return first_that_applies(cases, PhaseEvent.NONE)


def _late_news(balloon: Balloon, now: float) -> Bools:
    """(n,) balloons whose size may still tell of what they did before the newest order, or that move by themselves."""
    return np.asarray((now - balloon.last_at <= LATE_NEWS) | ~(now >= balloon.settles_at))


def _gave(balloon: Balloon, now: float, tuning: Tuning) -> Bools:
    """(n,) balloons that have shrunk just now, as they were told."""
    shrunk = balloon.last_to < balloon.last_from
    return np.asarray(shrunk & (now - np.fmax(balloon.last_at, balloon.progress_at) <= tuning.outside_hold))


def _track(balloon: Balloon, observation: Observation, inventory: Inventory, now: float) -> Balloon:
    """Progress, the first sight of a balloon, and the end of releases."""
    size = observation.allocation
    if np.count_nonzero(balloon.under_way):
        moving, unknown = balloon.phase == int(Phase.MOVING), balloon.phase == int(Phase.UNKNOWN)
        gap, closest = np.abs(size - balloon.target), np.abs(balloon.progress - balloon.target)
        closer = moving & (gap < closest - TOLERANCE / 2)
        old = moving & (gap > closest + TOLERANCE) & _late_news(balloon, now)
        elsewhere = unknown & (gap >= TOLERANCE)  # it may follow an earlier order
        barred = moving & (
            observation.run_state != int(RunState.RUNNING)
        )  # paused or in another job: it cannot move yet
        balloon = balloon.put(closer | old | elsewhere, progress=size).put(closer | barred, progress_at=now)
    begun = np.isnan(balloon.settles_at) & np.isfinite(observation.stamp)
    balloon = balloon.put(begun, settles_at=now + inventory.deadline)
    if np.count_nonzero(balloon.release):
        home = np.abs(size - inventory.definition) < TOLERANCE
        balloon = balloon.put(balloon.release & (home | (now >= balloon.release_until)), release=False)
    return balloon.put(np.isnan(balloon.settled), settled=size)


def _conclude(balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning) -> Balloon:
    """What follows from each balloon's event.

    One that has failed is about to be told to stay where it is: should libvirt refuse that, it goes on. What was given
    stays the guest's own though it does not take it, or all but a page, until it is told otherwise. Sizes that nobody
    here asked for may not be the last ones, and are left alone where someone else set them.
    """
    event, size, target, failed = balloon.event, observation.allocation, balloon.target, balloon.failed
    arrived, resized, followed = (
        event == int(each) for each in (PhaseEvent.ARRIVED, PhaseEvent.RESIZED, PhaseEvent.FOLLOWED)
    )
    by_itself = event == int(PhaseEvent.DRIFTED)  # QEMU goes on to ask for what it was told
    drifted, reverted = by_itself | (event == int(PhaseEvent.DEFLATED)), event == int(PhaseEvent.REVERTED)
    rose = size > np.where(balloon.under_way, balloon.progress, balloon.settled)
    took_back = rose & _gave(balloon, now, tuning)
    reverts = reverted | (resized & took_back)
    given = (arrived & (target - size >= TOLERANCE)) | (failed & (target > size))
    balloon = balloon.put(
        arrived | failed | resized | drifted,
        target=np.nan,
        previous=np.where(failed, target, np.nan),
        origin=np.where((failed & ~given) | by_itself, balloon.origin, np.nan),
        settled=size,
        allowance=np.where(given, target, np.nan),
    ).put(arrived, refusal_rest=0.0)
    # Where the guest took back what it gave the last time, it has yet to be seen whether it gives.
    balloon = balloon.put(arrived & np.isneginf(balloon.reverted_at), backoff=0.0)
    backoff = (2 * balloon.backoff).clip(tuning.rest_first, tuning.rest_longest)
    balloon = balloon.put(failed, backoff=backoff, retry_at=now + backoff)
    settling = drifted & ~(now >= balloon.settles_at) & ~took_back
    balloon = balloon.put(settling, settles_at=np.fmax(balloon.settles_at, now + inventory.deadline))
    balloon = balloon.put(resized, hold_until=now + np.maximum(inventory.stabilization, tuning.outside_hold))
    balloon = balloon.put(reverts, reverted_at=now)
    balloon = balloon.put(resized | drifted | reverted, rest_from=now + EVENT_SPACING, proposed=np.nan)
    balloon = balloon.put(event == int(PhaseEvent.EXPIRED), origin=np.nan).put(followed, settled=size)
    return balloon.put(followed & (size > balloon.allowance - TOLERANCE), allowance=np.nan)


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
    balloon: Balloon, observation: Observation, inventory: Inventory, chosen: Bools, target: Floats, now: float
) -> Balloon:
    """Balloons whose shrink ends: they are about to be told to go to `target` (n,) bytes, where they are or have come
    from. They may have come further than is known, and come back.
    """
    settles_at = np.fmax(balloon.settles_at, now + inventory.deadline)
    told = _told(balloon, chosen, target, observation.allocation, now)
    return told.put(chosen, settles_at=settles_at)


def _told(balloon: Balloon, chosen: Bools, target: Floats, size: Floats, now: float) -> Balloon:
    if not np.count_nonzero(chosen):
        return balloon
    told = balloon.having(phase=after(balloon.phase, np.where(chosen, int(PhaseEvent.ORDERED), int(PhaseEvent.NONE))))
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
    reachable = (observation.run_state == int(RunState.RUNNING)) & (size > 0)
    gives = np.where(balloon.under_way, size - balloon.target, balloon.origin - size) > TOLERANCE
    return np.asarray(strays & ~goes_home & reachable & gives & ~resting(balloon, strays, now, tuning))


def committed(balloon: Balloon, observation: Observation, inventory: Inventory) -> Floats:
    """(n,) bytes each domain has, or may have once its balloon has followed what it was told: the largest.

    A domain not looked at yet counts with its maximum, or with what its pod can hold.
    """
    unseen = np.fmin(inventory.maximum, inventory.most)
    size = np.where(np.isnan(observation.allocation), unseen, observation.allocation)
    ordered = np.fmax(balloon.target, balloon.allowance)
    unanswered = balloon.phase == int(Phase.UNKNOWN)
    if np.count_nonzero(unanswered):
        ordered = np.fmax(ordered, np.where(unanswered, balloon.previous, np.nan))
    return np.fmax(size, ordered)

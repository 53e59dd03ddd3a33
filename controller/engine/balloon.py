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
    before, reset, unowned = balloon.take(same), (same >= 0) & (kept < 0), new.policy < 0
    waits, lost = before.phase == int(Phase.UNKNOWN), np.zeros_like(unowned)
    if len(old):
        lost = unowned & (same >= 0) & (old.policy[same] >= 0) & old.enforce[same] & old.restore[same]
    promised = np.fmax(np.fmax(before.target, before.allowance), np.where(waits, before.previous, np.nan))
    sent = np.where(before.under_way & ~waits, before.target, before.home)
    sent = np.where(np.isnan(sent), before.settled, sent)
    taken = balloon.take(kept)
    taken = taken.put(reset & waits, phase=Phase.UNKNOWN, target=before.target, previous=before.previous)
    return taken.put(reset, allowance=promised, progress=before.progress, origin=before.origin, home=sent).having(
        release=lost | (before.release & unowned),
        release_until=np.where(lost, now + RELEASE_PATIENCE, before.release_until),
        proposed=np.where(new.acted_on & ~new.enforce, taken.proposed, np.nan),
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
    """Compare orders with the newest sizes: `phase` and `event` tell what became of them. Releases end, too."""
    size, event = observation.allocation, np.full(len(observation.allocation), int(PhaseEvent.NONE))
    if np.count_nonzero((size != balloon.settled) | balloon.under_way | (balloon.phase != int(Phase.IDLE))):
        taken = balloon.put(balloon.under_way & (balloon.phase == int(Phase.MOVING)), home=balloon.target)
        event, balloon = _moved(taken, observation, inventory, now, tuning)
    balloon = balloon.having(event=event, phase=after(balloon.phase, event))
    begun = np.isnan(balloon.settles_at) & np.isfinite(observation.stamp)
    balloon = balloon.put(begun, settles_at=now + inventory.deadline).put(np.isnan(balloon.settled), settled=size)
    if np.count_nonzero(balloon.release):
        home = np.abs(size - inventory.definition) < TOLERANCE
        balloon = balloon.put(balloon.release & (home | (now >= balloon.release_until)), release=False)
    return _conclude(balloon, observation, inventory, now, tuning) if np.count_nonzero(event) else balloon


def _moved(
    balloon: Balloon, observation: Observation, inventory: Inventory, now: float, tuning: Tuning
) -> tuple[Ints, Balloon]:
    """(n,) what became of each balloon, the first that applies, and the progress of those under way."""
    size, under_way, phase = observation.allocation, balloon.under_way, balloon.phase
    moving, running = phase == int(Phase.MOVING), observation.run_state == int(RunState.RUNNING)
    gap, closest = np.abs(size - balloon.target), np.abs(balloon.progress - balloon.target)
    # The size may still tell of what it did before the newest order, or it moves by itself.
    old_news = (now - balloon.last_at <= LATE_NEWS) | ~(now >= balloon.settles_at)
    near = (gap < TOLERANCE) & (moving | (closest >= TOLERANCE))  # a late order to stay put shows in no size
    rested = observation.seen_at - balloon.progress_at
    missed = moving & (gap <= tuning.miss) & (gap >= closest - TOLERANCE / 2) & (rested >= LATE_NEWS)
    away = moving & (gap > closest + TOLERANCE)
    changed = (np.abs(size - balloon.settled) >= TOLERANCE) & ~under_way
    allowed = (size > balloon.settled) & (size < balloon.allowance + TOLERANCE)
    ours = changed & (allowed | (np.abs(size - balloon.last_to) <= tuning.miss))
    surprise = (away & ~old_news) | (changed & ~ours)
    before = np.where(under_way, balloon.progress, balloon.settled)
    # One whose guest boots goes to where libvirt, or Ballast before a reset, has sent it; on a busy host it takes long.
    home = np.where(np.isnan(balloon.home), inventory.definition, balloon.home)
    boots = now - observation.booted_at < tuning.boot_time
    homeward = boots & (np.abs(size - home) < np.abs(before - home))
    foreign = surprise & ~homeward & (now >= balloon.settles_at) & (size > 0) & (before > 0)
    grew = foreign & (size > before)
    again = grew & _gave(balloon, now, tuning) & np.isfinite(balloon.reverted_at)
    late = rested > np.maximum(inventory.deadline, 2 * inventory.interval_minimum)
    # Given what was free, and has to give more, and cannot.
    choked = balloon.shrinks(size) & (size < balloon.last_from - TOLERANCE) & (observation.choked_at > balloon.last_at)
    waited = now >= np.maximum(balloon.retry_at, balloon.hold_until)
    cases = [
        (near | missed, PhaseEvent.ARRIVED),
        (grew & inventory.autodeflate, PhaseEvent.DEFLATED),
        (again, PhaseEvent.REVERTED),
        (foreign, PhaseEvent.RESIZED),
        (surprise, PhaseEvent.DRIFTED),
        (ours, PhaseEvent.FOLLOWED),
        (moving & running & choked & ~inventory.autodeflate, PhaseEvent.CHOKED),
        (moving & running & late, PhaseEvent.STALLED),
        (((phase == int(Phase.STUCK)) | (phase == int(Phase.OVERRULED))) & waited, PhaseEvent.EXPIRED),
    ]
    closer = moving & (gap < closest - TOLERANCE / 2)
    elsewhere = (phase == int(Phase.UNKNOWN)) & (gap >= TOLERANCE)  # it may follow an earlier order
    barred = moving & ~running  # paused or in another job: it cannot move yet
    balloon = balloon.put(closer | (away & old_news) | elsewhere, progress=size)
    return first_that_applies(cases, PhaseEvent.NONE), balloon.put(closer | barred, progress_at=now)


def _gave(balloon: Balloon, now: float, tuning: Tuning) -> Bools:
    """(n,) balloons that have shrunk just now, as they were told."""
    shrunk = balloon.last_to < balloon.last_from
    return np.asarray(shrunk & (now - np.fmax(balloon.last_at, balloon.progress_at) <= tuning.outside_hold))


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
    ).put(arrived, refusal_rest=0.0, home=target)
    # Where the guest took back what it gave the last time, it has yet to be seen whether it gives.
    balloon = balloon.put(arrived & np.isneginf(balloon.reverted_at), backoff=0.0)
    backoff = (2 * balloon.backoff).clip(tuning.rest_first, tuning.rest_longest)
    balloon = balloon.put(failed, backoff=backoff, retry_at=now + backoff)
    settling = drifted & ~(now >= balloon.settles_at) & ~took_back
    balloon = balloon.put(settling, settles_at=np.maximum(balloon.settles_at, now + inventory.deadline))
    rest = np.maximum(inventory.stabilization, tuning.outside_hold)
    balloon = balloon.put(resized, hold_until=now + rest, home=size)
    balloon = balloon.put(reverts, reverted_at=now)
    balloon = balloon.put(resized | drifted | reverted, rest_from=now + EVENT_SPACING, proposed=np.nan)
    balloon = balloon.put(event == int(PhaseEvent.EXPIRED), origin=np.nan).put(followed, settled=size)
    return balloon.put(followed & (size > balloon.allowance - TOLERANCE), allowance=np.nan)


def ordered(
    balloon: Balloon,
    observation: Observation,
    inventory: Inventory,
    chosen: Bools,
    target: Floats,
    reason: Ints,
    now: float,
) -> Balloon:
    """Balloons that are `chosen`, (n,), are about to be told to go to `target`, (n,) bytes, for a `reason`, (n,).

    One that is not moved for it has its shrink ended, where it is or has come from. It may have come further than is
    known, and come back.
    """
    size, moved = observation.allocation, chosen & (reason >= int(Reason.FORECAST_GROW))
    stood = (balloon.last_to < balloon.last_from) & ~(balloon.reverted_at > balloon.last_at)
    event = np.where(chosen, int(PhaseEvent.ORDERED), int(PhaseEvent.NONE))
    told = balloon.having(phase=after(balloon.phase, event))
    told = told.put(chosen, target=target, previous=balloon.target, progress=size, progress_at=now, allowance=np.nan)
    told = told.put(chosen & ~moved, settles_at=np.maximum(balloon.settles_at, now + inventory.deadline))
    told = told.put(moved & stood, reverted_at=-np.inf).put(moved & (target < size), origin=size)
    count = balloon.reallocations + 1
    return told.put(moved, last_at=now, last_from=size, last_to=target, last_reason=reason, reallocations=count)


def halted(balloon: Balloon, stuck: Bools, size: Floats) -> Balloon:
    """Balloons that are `stuck`, (n,), are about to be told to stay, or to grow to `size`, (n,) bytes, if possible."""
    return balloon.put(stuck, allowance=size, home=size)


def proposed(balloon: Balloon, chosen: Bools, target: Floats, reason: Ints) -> Balloon:
    """Balloons that are `chosen`, (n,), would be told to go to `target`, (n,) bytes, under Enforce."""
    return balloon.put(chosen, proposed=target, proposed_reason=reason)


def resting(balloon: Balloon, in_need: Bools, now: float, tuning: Tuning) -> Bools:
    """(n,) domains whose last order libvirt refused a moment ago."""
    rest = np.where(in_need, np.minimum(balloon.refusal_rest, tuning.refusal_in_need), balloon.refusal_rest)
    return now - balloon.refused_at < rest


def free_to_move(balloon: Balloon, in_need: Bools, now: float, tuning: Tuning) -> Bools:
    """(n,) balloons that may be told a new size: none whose last order may yet take effect, unheard; none that waits
    after a failure, or was set by someone else just now. A guest in need waits after a refusal only.
    """
    waited = (now >= np.maximum(balloon.retry_at, balloon.hold_until)) | in_need
    answered = balloon.phase != int(Phase.UNKNOWN)
    return np.asarray(waited & answered & ~resting(balloon, in_need, now, tuning))


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

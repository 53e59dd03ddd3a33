"""One step of the controller: (state, snapshot, now) -> (state, decision).

See, forecast, pace, plan, act. The same function runs live and in replay.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from controller import planner, schedule
from controller.engine import act, motion, node, outlook, plan, sight, tempo
from controller.engine.act import Moves
from controller.engine.decision import Action, Decision, Notice
from controller.engine.inventory import Inventory
from controller.engine.reasons import Reason
from controller.engine.snapshot import Life, Snapshot
from controller.engine.state import State, Totals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

COALESCE = 0.05
"""Seconds a look may come early to share a libvirt call with one that is due."""

NEVER = 2.0**62
"""Bytes no guest reaches: the exhaustion of an allocation that cannot grow is not watched for."""

TROUBLED_INTERVAL = 5.0
"""Seconds, at least, between looks at a domain whose statistics cannot be acted on."""

GAVE = np.isin(np.arange(max(Reason) + 1), [Reason.CONTENTION_SHRINK, Reason.HOST_PRESSURE_SHRINK])
"""By code of a reason: the domain shrank for the sake of others."""

FOR_OTHERS = GAVE | (np.arange(len(GAVE)) == Reason.SPARE_LENT)
"""By code of a reason: the move says nothing of the domain's own demand."""

RELEASE_PATIENCE = 60.0
"""Seconds within which a released domain gets its memory back or, for lack of it, keeps what it has."""


def step(state: State, snapshot: Snapshot, now: float) -> tuple[State, Decision]:
    """Take in what a look saw and decide. Neither argument is changed. `now`: monotonic seconds."""
    state = align(state, snapshot.inventory, now).copy()
    state.totals = _accrue(state, now)
    motion.refuse(state.motion, snapshot.outcomes, now)
    course = state.motion.target - state.sight.allocation
    fresh = sight.see(state.sight, snapshot, course, state.motion.last_at, now)
    stuck, outside = motion.follow(state.motion, state.sight, state.inventory, now)
    _end_releases(state, now)
    owned = fresh[state.inventory.policy[fresh] >= 0]
    _forecast(state, owned, now)
    _schedule(state, snapshot.samples.rows, now)
    committed = motion.committed(state.motion, state.sight, state.inventory)
    held = motion.held(state.motion, state.sight, state.inventory, committed)
    state.node = node.observe(state.node, snapshot.host, *held, now)
    state.budget = node.budget(state.node, state.inventory.budget)
    before = state.reason.copy()
    actions = _cancel(state, stuck, committed) + _enforce(state, committed, now)
    proposals = _observe(state, committed, now)
    notices = _notices(state, before, outside)
    state.totals = _count_up(state, snapshot.samples.rows, actions, now)
    return state, Decision(actions, proposals, notices)


def align(state: State, inventory: Inventory, now: float) -> State:
    """The state with its rows in the order of `inventory`; one that is new, was started anew or reset begins blank."""
    old = state.inventory
    if inventory is old:
        return state
    same, rows = _rows_before(old, inventory)
    aligned = replace(
        state,
        inventory=inventory,
        sight=state.sight.take(rows),
        history=state.history.select(rows, max(model.decision_points for model in inventory.models)),
        outlook=state.outlook.take(rows),
        motion=motion.take(state.motion, rows, same),
        tempo=state.tempo.take(rows),
        reason=np.where(rows >= 0, state.reason[rows], 0) if len(old) else np.zeros(len(rows), dtype=np.int64),
    )
    aligned.sight.booted = np.where(rows < 0, inventory.reset_at, aligned.sight.booted)
    _hand_over(aligned, old, same, now)
    return aligned


def _rows_before(old: Inventory, new: Inventory) -> tuple[Ints, Ints]:
    """(n,) the row that each domain of `new` had in `old`, -1 where it was started since; and the same with -1 also
    where its guest was reset since.
    """
    rows = np.array([old.index.get(key, -1) for key in new.keys], dtype=np.int64)
    if not len(old):
        return rows, rows
    same = np.where(old.incarnation[rows] == new.incarnation, rows, -1)
    return same, np.where(old.reset_at[rows] == new.reset_at, same, -1)


def _hand_over(state: State, old: Inventory, rows: Ints, now: float) -> None:
    """Domains whose policy changed are looked at soon; those that lost an acting one are released."""
    known = np.flatnonzero(rows >= 0)
    before = rows[known]
    new = state.inventory
    gone = (old.policy[before] >= 0) & (new.policy[known] < 0)
    released = known[gone & old.enforce[before] & old.restore[before]]
    state.motion.release[known] &= new.policy[known] < 0
    state.motion.release[released] = True
    state.motion.release_until[released] = now + RELEASE_PATIENCE
    observed = new.acted_on & ~new.enforce
    state.motion.proposed[known] = np.where(observed[known], state.motion.proposed[known], np.nan)
    state.tempo.next_look[known] = np.minimum(state.tempo.next_look[known], now + new.interval_minimum[known])
    state.tempo.next_look[known[state.motion.release[known]]] = now


def due(state: State, inventory: Inventory, now: float) -> list[str]:
    """Keys of the domains to look at now; new ones are due at once."""
    waits = align(state, inventory, now).tempo.next_look
    if not (waits <= now).any():
        return []
    return [inventory.keys[row] for row in np.flatnonzero(waits <= now + COALESCE)]


def next_due(state: State, inventory: Inventory, now: float) -> float:
    """Monotonic time of the earliest next look; infinite when there is nothing to look at."""
    return float(align(state, inventory, now).tempo.next_look.min(initial=np.inf))


def _end_releases(state: State, now: float) -> None:
    moves = state.motion
    if moves.release.any():
        done = np.abs(state.sight.allocation - state.inventory.definition) < sight.TOLERANCE
        moves.release &= ~done & (now < moves.release_until)


def _forecast(state: State, rows: Ints, now: float) -> None:
    """New decision points, stability and interval, and the forecast at the next look."""
    if len(rows) == 0:
        return
    inventory = state.inventory
    state.totals = replace(state.totals, merit=outlook.judge(state.outlook, state.sight, rows, state.totals.merit))
    state.history = state.history.append(rows, now, state.sight.demand[rows])
    fitted = outlook.fit(state.history, inventory, rows, now)
    line = outlook.calibrate(state.outlook, fitted, state.sight, inventory, rows)
    tempo.classify(state.tempo, state.sight, inventory, rows, now)
    size = state.sight.allocation[rows]
    lowest, top = plan.limits(inventory, state.sight)
    exhaustible = np.where(size < top[rows] - sight.TOLERANCE, size, NEVER)
    outlook.raise_peaks(state.outlook, state.sight, rows, now)
    lacking = inventory.share[rows] | GAVE[state.motion.last_reason[rows]]  # what it might need is with others
    lacking &= size < plan.attainable(state, lowest)[rows] - sight.TOLERANCE  # and could be had
    unknown = np.where(lacking, outlook.UNKNOWN * top[rows], 0.0)
    patience = outlook.patience(state.outlook, state.sight, exhaustible, unknown, rows)
    tempo.pace(state.tempo, line, exhaustible, patience, inventory, rows)
    outlook.look_ahead(state.outlook, line, state.sight, inventory, rows, state.tempo.interval[rows])
    outlook.want(state.outlook, state.sight, inventory, rows, top[rows], now)


def _schedule(state: State, rows: Ints, now: float) -> None:
    """When the domains just looked at are looked at again."""
    inventory, pace = state.inventory, state.tempo
    pace.looks[rows] += 1
    fresh = state.sight.fresh_at[rows] == now
    shortest, longest = inventory.interval_minimum[rows], inventory.interval_maximum[rows]
    trouble = state.sight.trouble[rows]
    troubled = (trouble != Reason.NONE) & (trouble != Reason.MOVING)
    untouchable = inventory.obstacle[rows] != Reason.NONE
    wait = np.where(fresh, pace.interval[rows], shortest)
    wait = np.where(troubled, np.clip(TROUBLED_INTERVAL, shortest, longest), wait)
    pace.interval[rows] = np.where(untouchable, longest, wait)
    pace.next_look[rows] = schedule.aligned(now + pace.interval[rows], shortest)


def _usable(state: State) -> Bools:
    """(n,) domains whose numbers may be acted on."""
    seen = state.sight
    return np.asarray(
        (seen.trouble == Reason.NONE) & (seen.life == Life.RUNNING) & (seen.fresh_count > 0) & (seen.allocation > 0)
    )


def _releasable(state: State) -> Bools:
    """(n,) domains that may be given back what they had. That needs no statistics, which may be off by now."""
    seen, untouched = state.sight, state.inventory.obstacle == Reason.NO_POLICY
    return np.asarray(state.motion.release & untouched & (seen.life == Life.RUNNING) & (seen.allocation > 0))


def _free_to_move(state: State, now: float) -> Bools:
    """(n,) not waiting after a failure, nor just set by someone else; a guest in need waits after a refusal only."""
    moves = state.motion
    waits = (now < moves.retry_at) | (now < moves.hold_until)
    return ~motion.resting(moves, state.sight, now) & (~waits | state.sight.pressure)


def _enforce(state: State, committed: Floats, now: float) -> tuple[Action, ...]:
    """Balloon changes to carry out, entered as under way; every domain's reason is renewed."""
    movable = (_releasable(state) | (state.inventory.enforce & _usable(state))) & _free_to_move(state, now)
    drawn = plan.draw(state, committed, movable, now)
    chosen = act.choose(drawn, state, committed, now)
    halted = np.flatnonzero(chosen.halt)
    motion.halt(state.motion, state.sight, halted, now)
    state.reason = act.why_kept(drawn, chosen, state, now)
    halts = act.actions(state, halted, state.sight.allocation, state.reason)
    _verify(state, chosen, now)
    rows = np.concatenate([np.flatnonzero(chosen.shrink), np.flatnonzero(chosen.grow)])
    if len(rows) == 0:
        return halts
    reasons = act.why_moved(drawn, chosen.target, state)
    actions = act.actions(state, rows, chosen.target, reasons)
    motion.request(state.motion, state.sight, rows, chosen.target[rows], reasons[rows], now)
    state.sight.pressure &= ~chosen.grow | chosen.unpaid
    _count(state, rows, reasons[rows], now)
    state.reason[rows] = reasons[rows]
    return halts + actions


def _verify(state: State, chosen: Moves, now: float) -> None:
    """Look at would-be donors before anything is taken from them: now, or as soon as there can be news."""
    rows = np.flatnonzero(chosen.unverified)
    soon = np.maximum(now, state.sight.seen[rows] + state.inventory.interval_minimum[rows])
    state.tempo.next_look[rows] = np.minimum(state.tempo.next_look[rows], soon)


def _count(state: State, rows: Ints, reasons: Ints, now: float) -> None:
    """A reallocation, or in Observe a proposal, speaks for looking again soon, and for instability unless it was made
    for the sake of others.
    """
    tempo.fade(state.tempo, state.inventory, rows, now)
    state.tempo.reallocations[rows] += ~FOR_OTHERS[reasons]
    tempo.hurry(state.tempo, state.inventory, rows, now)


def _cancel(state: State, stuck: Ints, committed: Floats) -> tuple[Action, ...]:
    """A stuck balloon's size becomes its target, so that an old order does not take effect at a bad moment.

    A guest that could not give more has nothing left: it gets its headroom back, as far as memory is free.
    """
    inventory, size = state.inventory, state.sight.allocation
    rows = stuck[inventory.enforce[stuck]]
    if len(rows) == 0:
        return ()
    _, top = plan.limits(inventory, state.sight)
    headroom = outlook.headroom(inventory, size)
    relief = np.clip(np.where(state.motion.last_to < size, headroom, 0.0), 0.0, np.maximum(top - size, 0.0))
    free = max(state.budget - float(committed.sum()), 0.0)
    target = size.copy()
    target[rows] += planner.share(relief[rows], inventory.weight[rows], free)
    state.motion.relief[rows] = target[rows]
    committed[rows] = np.maximum(committed[rows], target[rows])
    return act.actions(state, rows, target, np.full(len(state.reason), int(Reason.STUCK)))


def _observe(state: State, committed: Floats, now: float) -> tuple[Action, ...]:
    """What Enforce would do to domains under Observe, each change said once."""
    inventory, moves = state.inventory, state.motion
    observed = inventory.acted_on & ~inventory.enforce
    if not observed.any():
        return ()
    able = _usable(state) & _free_to_move(state, now)
    observed, acting = observed & able, inventory.enforce & able
    if not observed.any():
        return ()
    shadow, committed = _as_proposed(state, committed)
    drawn = plan.draw(shadow, committed, observed | acting, now)
    chosen = act.choose(drawn, shadow, committed, now)
    reasons = act.why_moved(drawn, chosen.target, shadow)
    rows = np.flatnonzero(observed & (chosen.shrink | chosen.grow))
    _verify(state, replace(chosen, unverified=chosen.unverified & observed), now)
    moves.proposed[rows] = chosen.target[rows]
    moves.proposed_reason[rows] = reasons[rows]
    standing = observed & (np.abs(moves.proposed - state.sight.allocation) >= sight.TOLERANCE)
    state.reason = np.where(standing, moves.proposed_reason, state.reason)
    _count(state, rows, reasons[rows], now)
    return act.actions(state, rows, chosen.target, reasons)


def _as_proposed(state: State, committed: Floats) -> tuple[State, Floats]:
    """The node as it would be had every proposal been carried out."""
    size, proposed = state.sight.allocation, state.motion.proposed
    done = np.isfinite(proposed)
    seen = state.sight.copy()
    seen.allocation = np.where(done, proposed, size)
    return replace(state, sight=seen), np.where(done, proposed, committed)


def _notices(state: State, before: Ints, outside: Ints) -> tuple[Notice, ...]:
    """What a person should hear about: domains newly skipped, and sizes set by someone else."""
    first, last = int(Reason.NO_POLICY), int(Reason.STUCK)
    skipped = (state.reason >= first) & (state.reason <= last) & (state.reason != before)
    inventory = state.inventory
    rows = [(int(row), Reason(int(state.reason[row]))) for row in np.flatnonzero(skipped)]
    rows += [(int(row), Reason.OUTSIDE_CHANGE) for row in outside]
    return tuple(Notice(inventory.keys[row], inventory.names[row], reason) for row, reason in rows)


def _accrue(state: State, now: float) -> Totals:
    """What was last seen has held since the last step."""
    elapsed = _elapsed(state.totals, now)
    shortfall, slack = sight.accrue(state.sight, state.inventory.acted_on & (state.sight.life == Life.RUNNING), elapsed)
    totals = state.totals
    return replace(totals, shortfall_time=totals.shortfall_time + shortfall, slack_time=totals.slack_time + slack)


def _elapsed(totals: Totals, now: float) -> float:
    """Seconds since the last step; 0 at the first."""
    return 0.0 if np.isnan(totals.at) else now - totals.at


def _count_up(state: State, looked: Ints, actions: tuple[Action, ...], now: float) -> Totals:
    inventory, totals = state.inventory, state.totals
    owned = inventory.acted_on
    fixed = np.where(owned, _elapsed(totals, now) / inventory.interval_minimum, 0.0)
    state.tempo.fixed_looks += fixed
    made = [change for change in actions if change.reason.moves]
    return replace(
        totals,
        at=now,
        looks=totals.looks + int(owned[looked].sum()),
        fixed_looks=totals.fixed_looks + float(fixed.sum()),
        reallocations=totals.reallocations + len(made),
        moved=totals.moved + sum(abs(change.target - change.before) for change in made),
    )

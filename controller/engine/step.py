"""One step of the controller: (state, snapshot, now) -> (state, decision).

Observe, follow, forecast, pace, plan, act. The same function runs live and in replay.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from controller import planner, schedule
from controller.engine import act, balloon, guest_pressure, host, observation, outlook, plan, tempo
from controller.engine.act import Moves
from controller.engine.decision import Action, Decision, Notice
from controller.engine.inventory import Inventory
from controller.engine.phases import Event
from controller.engine.reasons import Reason
from controller.engine.snapshot import TOLERANCE, Life, Snapshot
from controller.engine.state import State, Totals
from controller.engine.tuning import Tuning

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

DEFAULT = Tuning()


def step(state: State, snapshot: Snapshot, now: float, tuning: Tuning = DEFAULT) -> tuple[State, Decision]:
    """Take in what a look saw and decide. Neither argument is changed. `now`: monotonic seconds."""
    state = _take_in(_accrue(align(state, snapshot.inventory, now), now), snapshot, now, tuning).copy()
    owned = np.flatnonzero(state.observation.fresh & (state.inventory.policy >= 0))
    _forecast(state, owned, now)
    _schedule(state, snapshot.samples.rows, now)
    state.host = _account(state, snapshot, now, tuning)
    before = state.reason.copy()
    committed = balloon.committed(state.balloon, state.observation, state.inventory)
    actions = (*_hand_back(state, now, tuning), *_cancel(state, committed))
    actions = (*actions, *_enforce(state, committed, now, tuning))
    proposals = _observe(state, committed, now, tuning)
    notices = _notices(state, before)
    state.totals = _count_up(state, snapshot.samples.rows, actions, now)
    return state, Decision(actions, proposals, notices)


def _take_in(state: State, snapshot: Snapshot, now: float, tuning: Tuning) -> State:
    """What the step is told, stage by stage; each returns its own table."""
    answered = balloon.answered(state.balloon, snapshot.outcomes, now, tuning)
    observed = observation.observe(state.observation, answered, snapshot, now, tuning)
    followed = balloon.follow(answered, observed, state.inventory, now, tuning)
    pressure = guest_pressure.assess(state.pressure, observed, followed, now, tuning)
    return replace(state, observation=observed, balloon=followed, pressure=pressure)


def _account(state: State, snapshot: Snapshot, now: float, tuning: Tuning) -> host.Host:
    committed = balloon.committed(state.balloon, state.observation, state.inventory)
    held = balloon.held(state.balloon, state.observation, state.inventory, committed)
    return host.update(state.host, snapshot.host, held, state.inventory.budget, now, tuning)


def align(state: State, inventory: Inventory, now: float) -> State:
    """The state with its rows in the order of `inventory`; one that is new, was started anew or reset begins blank."""
    old = state.inventory
    if inventory is old:
        return state
    same, rows = _rows_before(old, inventory)
    aligned = replace(
        state,
        inventory=inventory,
        observation=state.observation.take(rows),
        pressure=state.pressure.take(rows),
        history=state.history.select(rows, max(model.decision_points for model in inventory.models)),
        outlook=state.outlook.take(rows),
        balloon=balloon.hand_over(state.balloon, old, inventory, same, rows, now),
        tempo=state.tempo.take(rows),
        reason=np.where(rows >= 0, state.reason[rows], 0) if len(old) else np.zeros(len(rows), dtype=np.int64),
    )
    return _look_soon(aligned, same, now)


def _rows_before(old: Inventory, new: Inventory) -> tuple[Ints, Ints]:
    """(n,) the row that each domain of `new` had in `old`, -1 where it was started since; and the same with -1 also
    where its guest was reset since.
    """
    rows = np.array([old.index.get(key, -1) for key in new.keys], dtype=np.int64)
    if not len(old):
        return rows, rows
    same = np.where(old.incarnation[rows] == new.incarnation, rows, -1)
    return same, np.where(old.reset_at[rows] == new.reset_at, same, -1)


def _look_soon(state: State, same: Ints, now: float) -> State:
    """Domains whose policy may have changed are looked at soon, those released at once."""
    soon = np.minimum(state.tempo.next_look, now + state.inventory.interval_minimum)
    due_at = np.where(same >= 0, soon, state.tempo.next_look)
    return replace(state, tempo=replace(state.tempo, next_look=np.where(state.balloon.release, now, due_at)))


def due(state: State, inventory: Inventory, now: float) -> list[str]:
    """Keys of the domains to look at now; new ones are due at once."""
    waits = align(state, inventory, now).tempo.next_look
    if not (waits <= now).any():
        return []
    return [inventory.keys[row] for row in np.flatnonzero(waits <= now + COALESCE)]


def next_due(state: State, inventory: Inventory, now: float) -> float:
    """Monotonic time of the earliest next look; infinite when there is nothing to look at."""
    return float(align(state, inventory, now).tempo.next_look.min(initial=np.inf))


def _forecast(state: State, rows: Ints, now: float) -> None:
    """New decision points, stability and interval, and the forecast at the next look."""
    if len(rows) == 0:
        return
    inventory = state.inventory
    state.totals = replace(
        state.totals, merit=outlook.judge(state.outlook, state.observation, rows, state.totals.merit)
    )
    state.history = state.history.append(rows, now, state.observation.demand[rows])
    fitted = outlook.fit(state.history, inventory, rows, now)
    line = outlook.calibrate(state.outlook, fitted, state.observation, inventory, rows)
    tempo.classify(state.tempo, state.observation, state.pressure, inventory, rows, now)
    size = state.observation.allocation[rows]
    lowest, top = plan.limits(inventory, state.observation)
    exhaustible = np.where(size < top[rows] - TOLERANCE, size, NEVER)
    outlook.raise_peaks(state.outlook, state.observation, rows, now)
    lacking = inventory.share[rows] | GAVE[state.balloon.last_reason[rows]]  # what it might need is with others
    lacking &= size < plan.attainable(state, lowest)[rows] - TOLERANCE  # and could be had
    unknown = np.where(lacking, outlook.UNKNOWN * top[rows], 0.0)
    patience = outlook.patience(state.outlook, state.observation, exhaustible, unknown, rows)
    tempo.pace(state.tempo, line, exhaustible, patience, inventory, rows)
    outlook.look_ahead(state.outlook, line, state.observation, inventory, rows, state.tempo.interval[rows])
    outlook.want(state.outlook, state.observation, state.pressure, inventory, rows, top[rows], now)


def _schedule(state: State, rows: Ints, now: float) -> None:
    """When the domains just looked at are looked at again."""
    inventory, pace = state.inventory, state.tempo
    pace.looks[rows] += 1
    fresh = state.observation.fresh_at[rows] == now
    shortest, longest = inventory.interval_minimum[rows], inventory.interval_maximum[rows]
    trouble = state.observation.trouble[rows]
    troubled = (trouble != Reason.NONE) & (trouble != Reason.MOVING)
    untouchable = inventory.obstacle[rows] != Reason.NONE
    report_due = observation.report_due(state.observation, inventory)[rows]
    awaited = np.maximum(shortest, np.minimum(report_due - now, longest))
    wait = np.where(fresh, pace.interval[rows], awaited)
    wait = np.where(troubled, np.clip(TROUBLED_INTERVAL, shortest, longest), wait)
    pace.interval[rows] = np.where(untouchable, longest, wait)
    pace.next_look[rows] = schedule.aligned(now + pace.interval[rows], shortest)


def _usable(state: State) -> Bools:
    """(n,) domains whose numbers may be acted on; a guest that fell silent in need may be grown on its last word."""
    seen = state.observation
    silent = np.isin(seen.trouble, (Reason.STALE_STATISTICS, Reason.NO_STATISTICS))
    told = (seen.trouble == Reason.NONE) | (silent & state.pressure.pressed)
    return np.asarray(told & (seen.life == Life.RUNNING) & (seen.fresh_count > 0) & (seen.allocation > 0))


def _releasable(state: State) -> Bools:
    """(n,) domains that may be given back what they had. That needs no statistics, which may be off by now."""
    seen, untouched = state.observation, state.inventory.obstacle == Reason.NO_POLICY
    return np.asarray(state.balloon.release & untouched & (seen.life == Life.RUNNING) & (seen.allocation > 0))


def _enforce(state: State, committed: Floats, now: float, tuning: Tuning) -> tuple[Action, ...]:
    """Balloon changes to carry out, entered as under way; every domain's reason is renewed."""
    free = balloon.free_to_move(state.balloon, state.pressure.pressed, now, tuning)
    movable = (_releasable(state) | (state.inventory.enforce & _usable(state))) & free
    drawn = plan.draw(state, committed, movable, now)
    chosen = act.choose(drawn, state, committed, now)
    halted = np.flatnonzero(chosen.halt)
    reason = act.why_kept(drawn, chosen, state, now)
    halts = act.actions(state, halted, state.observation.allocation, reason)
    state.reason = reason
    _verify(state, chosen, now)
    rows = np.concatenate([np.flatnonzero(chosen.shrink), np.flatnonzero(chosen.grow)])
    reasons = act.why_moved(drawn, chosen.target, state)
    actions = act.actions(state, rows, chosen.target, reasons)
    told = balloon.halted(state.balloon, state.observation, halted, now, tuning) if len(halted) else state.balloon
    if len(rows):
        told = balloon.ordered(told, state.observation, rows, chosen.target[rows], reasons[rows], now)
    state.balloon = told
    _count(state, rows, reasons[rows], now)
    state.reason[rows] = reasons[rows]
    return halts + actions


def _hand_back(state: State, now: float, tuning: Tuning) -> tuple[Action, ...]:
    """Orders under way end where they are when their domains are no longer to be changed."""
    rows = np.flatnonzero(balloon.abandoned(state.balloon, state.observation, state.inventory, now, tuning))
    if len(rows) == 0:
        return ()
    state.balloon = balloon.halted(state.balloon, state.observation, rows, now, tuning)
    reasons = np.full(len(state.reason), int(Reason.HANDED_OVER))
    return act.actions(state, rows, state.observation.allocation, reasons)


def _verify(state: State, chosen: Moves, now: float) -> None:
    """Look at would-be donors before anything is taken from them: now, or as soon as there can be news."""
    rows = np.flatnonzero(chosen.unverified)
    soon = np.maximum(now, state.observation.seen_at[rows] + state.inventory.interval_minimum[rows])
    state.tempo.next_look[rows] = np.minimum(state.tempo.next_look[rows], soon)


def _count(state: State, rows: Ints, reasons: Ints, now: float) -> None:
    """A reallocation, or in Observe a proposal, speaks for looking again soon, and for instability unless it was made
    for the sake of others.
    """
    tempo.fade(state.tempo, state.inventory, rows, now)
    state.tempo.reallocations[rows] += ~FOR_OTHERS[reasons]
    tempo.hurry(state.tempo, state.inventory, rows, now)


def _cancel(state: State, committed: Floats) -> tuple[Action, ...]:
    """A stuck balloon's size becomes its target, so that an old order does not take effect at a bad moment.

    A guest that could not give more has nothing left: it gets its headroom back, as far as memory is free.
    """
    inventory, size = state.inventory, state.observation.allocation
    rows = np.flatnonzero(state.balloon.failed & inventory.enforce)
    if len(rows) == 0:
        return ()
    _, top = plan.limits(inventory, state.observation)
    headroom = outlook.headroom(inventory, size)
    gave = (state.balloon.last_to < size) & (state.balloon.event != Event.REVERTED)
    relief = np.clip(np.where(gave, headroom, 0.0), 0.0, np.maximum(top - size, 0.0))
    free = max(state.host.budget - float(committed.sum()), 0.0)
    target = size.copy()
    target[rows] += planner.share(relief[rows], inventory.weight[rows], free)
    state.balloon = balloon.relieved(state.balloon, rows, target[rows])
    committed[rows] = np.maximum(committed[rows], target[rows])
    return act.actions(state, rows, target, np.full(len(state.reason), int(Reason.STUCK)))


def _observe(state: State, committed: Floats, now: float, tuning: Tuning) -> tuple[Action, ...]:
    """What Enforce would do to domains under Observe, each change said once."""
    inventory, moves = state.inventory, state.balloon
    observed = inventory.acted_on & ~inventory.enforce
    if not observed.any():
        return ()
    able = _usable(state) & balloon.free_to_move(moves, state.pressure.pressed, now, tuning)
    observed, acting = observed & able, inventory.enforce & able
    if not observed.any():
        return ()
    shadow, committed = _as_proposed(state, committed)
    drawn = plan.draw(shadow, committed, observed | acting, now)
    chosen = act.choose(drawn, shadow, committed, now)
    reasons = act.why_moved(drawn, chosen.target, shadow)
    rows = np.flatnonzero(observed & (chosen.shrink | chosen.grow))
    _verify(state, replace(chosen, unverified=chosen.unverified & observed), now)
    moves = balloon.proposed(moves, rows, chosen.target[rows], reasons[rows])
    state.balloon = moves
    standing = observed & (np.abs(moves.proposed - state.observation.allocation) >= TOLERANCE)
    state.reason = np.where(standing, moves.proposed_reason, state.reason)
    _count(state, rows, reasons[rows], now)
    return act.actions(state, rows, chosen.target, reasons)


def _as_proposed(state: State, committed: Floats) -> tuple[State, Floats]:
    """The node as it would be had every proposal been carried out."""
    size, proposed = state.observation.allocation, state.balloon.proposed
    done = np.isfinite(proposed)
    seen = replace(state.observation, allocation=np.where(done, proposed, size))
    return replace(state, observation=seen), np.where(done, proposed, committed)


def _notices(state: State, before: Ints) -> tuple[Notice, ...]:
    """What a person should hear about: domains newly skipped, and sizes set by someone else."""
    first, last = int(Reason.NO_POLICY), int(Reason.STUCK)
    skipped = (state.reason >= first) & (state.reason <= last) & (state.reason != before)
    inventory = state.inventory
    rows = [(int(row), Reason(int(state.reason[row]))) for row in np.flatnonzero(skipped)]
    rows += [(int(row), Reason.OUTSIDE_CHANGE) for row in np.flatnonzero(state.balloon.event == Event.RESIZED)]
    return tuple(Notice(inventory.keys[row], inventory.names[row], reason) for row, reason in rows)


def _accrue(state: State, now: float) -> State:
    """What was last seen has held since the last step."""
    elapsed = _elapsed(state.totals, now)
    counted = state.inventory.acted_on & (state.observation.life == Life.RUNNING)
    observed, shortfall, slack = observation.accrue(state.observation, counted, elapsed)
    totals = state.totals
    totals = replace(totals, shortfall_time=totals.shortfall_time + shortfall, slack_time=totals.slack_time + slack)
    return replace(state, observation=observed, totals=totals)


def _elapsed(totals: Totals, now: float) -> float:
    """Seconds since the last step; 0 at the first."""
    return 0.0 if np.isnan(totals.at) else now - totals.at


def _count_up(state: State, looked: Ints, actions: tuple[Action, ...], now: float) -> Totals:
    inventory, totals = state.inventory, state.totals
    owned = inventory.acted_on
    fixed = np.where(owned, _elapsed(totals, now) / inventory.interval_minimum, 0.0)
    state.tempo.fixed_looks[:] += fixed
    made = [change for change in actions if change.reason.moves]
    return replace(
        totals,
        at=now,
        looks=totals.looks + int(owned[looked].sum()),
        fixed_looks=totals.fixed_looks + float(fixed.sum()),
        reallocations=totals.reallocations + len(made),
        moved=totals.moved + sum(abs(change.target - change.before) for change in made),
    )

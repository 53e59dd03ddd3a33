"""One step of the controller: (state, snapshot, now) -> (state, decision).

Each stage takes what the ones before it have made and returns its own table. The same step runs live and in replay.
"""

from dataclasses import dataclass, replace

import numpy as np

from controller import planner
from controller.engine import actuation, balloon, effect, estimate, felt, guest_pressure, host, observation, polling
from controller.engine.actuation import Situation
from controller.engine.allocation import allocate, expose
from controller.engine.decision import Action, Decision, Notice
from controller.engine.grounds import grounds
from controller.engine.held import held
from controller.engine.inventory import Inventory
from controller.engine.known import Bounds, Known, bounds
from controller.engine.phases import Event
from controller.engine.reasons import REASONS, Reason
from controller.engine.snapshot import TOLERANCE, Life, Snapshot
from controller.engine.state import State, Totals
from controller.engine.tables import Bools, Floats, Ints, mask, rows_of
from controller.engine.tuning import Tuning

COALESCE = 0.05
"""Seconds a look may come early to share a libvirt call with one that is due."""

FOR_OTHERS = np.isin(
    np.arange(max(Reason) + 1), [Reason.CONTENTION_SHRINK, Reason.HOST_PRESSURE_SHRINK, Reason.SPARE_LENT]
)
"""By code of a reason: the move says nothing of the domain's own demand."""

DEFAULT = Tuning()


def step(state: State, snapshot: Snapshot, now: float, tuning: Tuning = DEFAULT) -> tuple[State, Decision]:
    """Take in what a look saw and decide. Neither argument is changed. `now`: monotonic seconds."""
    before = align(state, snapshot.inventory, now)
    elapsed = 0.0 if np.isnan(before.totals.at) else now - before.totals.at
    state = _estimate(_take_in(_accrue(before, elapsed), snapshot, now, tuning), now, tuning)
    limits = bounds(state.inventory, state.observation)
    state, ended = _end(state, limits, now, tuning)
    known = _known(state, limits, now, tuning)
    state, made = _enforce(state, known, elapsed)
    state, proposals = _propose(state, known, elapsed)
    looked = mask(snapshot.samples.rows, len(state.inventory))
    state = _poll(state, known, looked, made, proposals, elapsed)
    moved = {action.row for action in made.actions}
    actions = (*(action for action in ended if action.row not in moved), *made.actions)
    state = state.having(totals=_count_up(state, looked, actions, elapsed, now))
    return state, Decision(actions, proposals.actions, _notices(state, before))


def parting(state: State, now: float, tuning: Tuning = DEFAULT) -> tuple[Action, ...]:
    """Orders to leave with: nobody watches a shrink that goes on, so all are taken back as far as memory is free."""
    nobodys = replace(state.inventory, enforce=np.zeros(len(state.inventory), dtype=np.bool_))
    return _end(state.having(inventory=nobodys), bounds(nobodys, state.observation), now, tuning)[1]


def align(state: State, inventory: Inventory, now: float) -> State:
    """The state with its rows in the order of `inventory`; one that is new, was started anew or reset begins blank."""
    old = state.inventory
    if inventory is old:
        return state
    same, rows = _rows_before(old, inventory)
    aligned = state.having(
        inventory=inventory,
        observation=state.observation.take(rows),
        pressure=state.pressure.take(rows),
        history=state.history.select(rows, max(model.decision_points for model in inventory.models)),
        tail=state.tail.select(rows),
        estimate=state.estimate.take(rows),
        exposure=state.exposure.take(rows),
        balloon=balloon.hand_over(state.balloon, old, inventory, same, rows, now),
        effect=state.effect.take(rows),
        growth=state.growth.take(rows),
        polling=state.polling.take(rows),
        reason=np.where(rows >= 0, state.reason[rows], 0) if len(old) else np.zeros(len(rows), dtype=np.int64),
        grounds=state.grounds.take(rows),
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
    soon = np.minimum(state.polling.next_look, now + state.inventory.interval_minimum)
    due_at = np.where(same >= 0, soon, state.polling.next_look)
    next_look = np.where(state.balloon.release, now, due_at)
    return state.having(polling=state.polling.having(next_look=next_look))


def due(state: State, inventory: Inventory, now: float) -> list[str]:
    """Keys of the domains to look at now; new ones are due at once."""
    waits = align(state, inventory, now).polling.next_look
    if not (waits <= now).any():
        return []
    return [inventory.keys[row] for row in rows_of(waits <= now + COALESCE)]


def next_due(state: State, inventory: Inventory, now: float) -> float:
    """Monotonic time of the earliest next look; infinite when there is nothing to look at."""
    return float(align(state, inventory, now).polling.next_look.min(initial=np.inf))


def _accrue(state: State, elapsed: float) -> State:
    """What was last seen has held since the last step."""
    counted = state.inventory.acted_on & (state.observation.life == int(Life.RUNNING))
    observed, shortfall, slack = observation.accrue(state.observation, counted, elapsed)
    totals = state.totals
    totals = totals.having(shortfall_time=totals.shortfall_time + shortfall, slack_time=totals.slack_time + slack)
    return state.having(observation=observed, totals=totals)


def _take_in(state: State, snapshot: Snapshot, now: float, tuning: Tuning) -> State:
    """What the step is told, stage by stage; each returns its own table."""
    answered = balloon.answered(state.balloon, snapshot.outcomes, now, tuning)
    observed = observation.observe(state.observation, answered, snapshot, now, tuning)
    followed = balloon.follow(answered, observed, state.inventory, now, tuning)
    pressure = guest_pressure.assess(state.pressure, observed, followed, state.inventory, now, tuning)
    committed = balloon.committed(followed, observed, state.inventory)
    taken = held(followed, observed, state.inventory, committed)
    accounted = host.update(state.host, snapshot.host, taken, state.inventory.budget, now, tuning)
    shown = effect.assess(state.effect, observed, now, tuning)
    growth = felt.feel(state.growth, snapshot.felt, observed, followed, state.inventory, now, tuning)
    return state.having(
        observation=observed, balloon=followed, effect=shown, pressure=pressure, growth=growth, host=accounted
    )


def _estimate(state: State, now: float, tuning: Tuning) -> State:
    """What fresh samples tell of the next look, and of how far demand rises beyond what was foreseen."""
    rows = estimate.fresh(state.observation, state.inventory)
    if len(rows) == 0:
        return state
    seen, inventory = state.observation, state.inventory
    history = state.history.append(rows, now, seen.demand[rows])
    ahead = np.maximum(state.polling.interval, inventory.interval_minimum)
    return state.having(
        history=history,
        tail=estimate.learn(state.tail, state.estimate, seen, inventory, rows, now),
        estimate=estimate.update(state.estimate, history, seen, inventory, ahead, now, tuning),
        totals=state.totals.having(accuracy=estimate.judge(state.totals.accuracy, state.estimate, seen, rows)),
    )


def _usable(state: State) -> Bools:
    """(n,) domains whose numbers may be acted on; a guest that fell silent in need may be grown on its last word."""
    seen = state.observation
    told = seen.trouble == int(Reason.NONE)
    if np.count_nonzero(told) < len(told):
        silent = (seen.trouble == int(Reason.STALE_STATISTICS)) | (seen.trouble == int(Reason.NO_STATISTICS))
        told |= silent & state.pressure.pressed
    return np.asarray(told & (seen.life == int(Life.RUNNING)) & (seen.fresh_count > 0) & (seen.allocation > 0))


def _releasable(state: State) -> Bools:
    """(n,) domains that may be given back what they had. That needs no statistics, which may be off by now."""
    seen, release = state.observation, state.balloon.release
    if not np.count_nonzero(release):
        return release
    untouched = state.inventory.obstacle == int(Reason.NO_POLICY)
    return np.asarray(release & untouched & (seen.life == int(Life.RUNNING)) & (seen.allocation > 0))


def _end(state: State, limits: Bounds, now: float, tuning: Tuning) -> tuple[State, tuple[Action, ...]]:
    """Shrinks end that came to nothing, or whose domains are no longer to be changed: at another size than QEMU was
    told, so that an old order does not take effect at a bad moment.

    A guest that could not give more has nothing left: it gets its headroom back. One that is not Ballast's any more
    gets all it had. Both as far as memory is free.
    """
    inventory, size = state.inventory, state.observation.allocation
    handed = balloon.abandoned(state.balloon, state.observation, inventory, now, tuning)
    stuck = state.balloon.failed & inventory.enforce
    rows = rows_of(handed | stuck)
    if len(rows) == 0:
        return state, ()
    gave = (state.balloon.last_to < size) & (state.balloon.event != int(Event.REVERTED))
    headroom = np.where(gave, estimate.headroom(inventory, size), 0.0)
    relief = np.clip(headroom, 0.0, np.maximum(limits.top - size, 0.0))
    back = np.where(handed, balloon.owed(state.balloon, state.observation, inventory), relief)
    committed = balloon.committed(state.balloon, state.observation, inventory)
    free = max(state.host.budget - float(committed.sum()), 0.0)
    target = size.copy()
    target[rows] += planner.share(back[rows], inventory.weight[rows], free)
    told = balloon.relieved(state.balloon, rows_of(stuck), target[stuck])
    told = balloon.halted(told, state.observation, rows_of(handed), target[handed], now, tuning)
    reasons = np.where(handed, int(Reason.HANDED_OVER), int(Reason.STUCK))
    seen = observation.doubt(state.observation, handed, now, tuning)
    return state.having(balloon=told, observation=seen), _actions(state, rows, target, reasons)


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of the choice of moves."""

    actions: tuple[Action, ...]
    moved: Bools
    """(n,) domains that were, or would be, given a new size."""
    unverified: Bools
    """(n,) domains to look at before memory is taken from them."""


def _enforce(state: State, known: Known, elapsed: float) -> tuple[State, _Made]:
    """Balloon changes to carry out, entered as under way; every domain's reason and its grounds are renewed."""
    now, tuning = known.now, known.tuning
    free = balloon.free_to_move(state.balloon, known.pressed, now, tuning)
    movable = (_releasable(state) | (state.inventory.enforce & _usable(state))) & free
    committed = balloon.committed(state.balloon, state.observation, state.inventory)
    at = _situation(state, known, committed, movable, elapsed)
    chosen = actuation.choose(at)
    state = state.having(
        exposure=at.exposure, reason=chosen.reason, minimums_fit=at.plan.minimums_fit, grounds=grounds(at)
    )
    halted = rows_of(chosen.halt)
    rows = np.concatenate([rows_of(chosen.shrink), rows_of(chosen.grow)])
    halts = _actions(state, halted, state.observation.allocation, _why_halted(state, chosen.reason))
    actions = _actions(state, rows, chosen.target, chosen.reason)
    told = state.balloon
    if len(halted):
        sizes = state.observation.allocation[halted]
        told = balloon.halted(told, state.observation, halted, sizes, now, tuning)
    if len(rows):
        told = balloon.ordered(told, state.observation, rows, chosen.target[rows], chosen.reason[rows], now)
    moved = chosen.shrink | chosen.grow
    settled = at.exposure.moved(moved, known.now)
    return state.having(balloon=told, exposure=settled), _Made(halts + actions, moved, chosen.unverified)


def _why_halted(state: State, reason: Ints) -> Ints:
    """(n,) `Reason` of ending a shrink; `reason` (n,) where a policy may still change the domain."""
    return np.where(state.inventory.enforce, reason, int(Reason.HANDED_OVER))


def _propose(state: State, known: Known, elapsed: float) -> tuple[State, _Made]:
    """What Enforce would do to domains under Observe, each change said once."""
    inventory, nothing = state.inventory, np.zeros(len(state.inventory), dtype=np.bool_)
    observed = inventory.acted_on & ~inventory.enforce
    if not observed.any():
        return state, _Made((), nothing, nothing)
    able = _usable(state) & balloon.free_to_move(state.balloon, known.pressed, known.now, known.tuning)
    observed, acting = observed & able, inventory.enforce & able
    if not observed.any():
        return state, _Made((), nothing, nothing)
    done = np.isfinite(state.balloon.proposed)
    committed = balloon.committed(state.balloon, state.observation, inventory)
    seen = state.observation.put(done, allocation=state.balloon.proposed)
    shadow = state.having(observation=seen)
    committed = np.where(done, state.balloon.proposed, committed)
    known = replace(known, observation=seen, balloon=state.balloon)
    at = _situation(shadow, known, committed, observed | acting, elapsed)
    chosen = actuation.choose(at)
    moved = observed & (chosen.shrink | chosen.grow)
    rows = rows_of(moved)
    moves = balloon.proposed(state.balloon, rows, chosen.target[rows], chosen.reason[rows])
    standing = observed & (np.abs(moves.proposed - state.observation.allocation) >= TOLERANCE)
    reason = np.where(observed & ~moved, chosen.reason, state.reason)
    exposure = at.exposure.moved(moved, known.now)
    state = state.having(
        balloon=moves,
        reason=np.where(standing, moves.proposed_reason, reason),
        exposure=state.exposure.put(observed, **vars(exposure)),
        grounds=state.grounds.put(observed, **vars(grounds(at))),
    )
    actions = _actions(shadow.having(grounds=state.grounds), rows, chosen.target, chosen.reason)
    return state, _Made(actions, moved, chosen.unverified & observed)


def _known(state: State, limits: Bounds, now: float, tuning: Tuning) -> Known:
    return Known(
        state.inventory,
        limits,
        state.observation,
        state.pressure,
        state.balloon,
        state.effect,
        state.estimate,
        state.host,
        state.growth,
        now,
        tuning,
    )


def _situation(state: State, known: Known, committed: Floats, movable: Bools, elapsed: float) -> Situation:
    """The plan for the `movable` domains, and what it costs not to have it."""
    plan = allocate(known, committed, movable)
    free = known.host.budget - float(committed.sum())
    exposure = expose(state.exposure, plan, known, state.tail, free, elapsed)
    return Situation(known, plan, exposure, free, known.tuning.move_price * known.mean_demand)


def _poll(state: State, known: Known, looked: Bools, made: _Made, proposals: _Made, elapsed: float) -> State:
    """When everybody is looked at next."""
    price = known.tuning.look_price * known.mean_demand
    polled = polling.poll(state.polling, known, state.exposure, looked, price, elapsed)
    moved, unverified = made.moved | proposals.moved, made.unverified | proposals.unverified
    return state.having(polling=polling.hasten(polled, known, moved, ~FOR_OTHERS[state.reason], unverified))


def _actions(state: State, rows: Ints, target: Floats, reason: Ints) -> tuple[Action, ...]:
    """The changes of `rows` as the world outside sees them; `target` and `reason` are (n,)."""
    inventory, size = state.inventory, state.observation.allocation
    return tuple(
        Action(
            row,
            inventory.keys[row],
            inventory.names[row],
            int(size[row]),
            int(target[row]),
            REASONS[int(reason[row])],
            state.grounds.of(row)._replace(target=float(target[row])),
        )
        for row in rows.tolist()
    )


def _notices(state: State, before: State) -> tuple[Notice, ...]:
    """What a person should hear about: domains newly skipped, and sizes set by someone else."""
    inventory, reason = state.inventory, state.reason
    changed = rows_of(reason != before.reason)
    rows = [(int(row), REASONS[int(reason[row])]) for row in changed if REASONS[int(reason[row])].noticed]
    rows += [(int(row), Reason.OUTSIDE_CHANGE) for row in rows_of(state.balloon.event == int(Event.RESIZED))]
    return tuple(Notice(inventory.keys[row], inventory.names[row], why) for row, why in rows)


def _count_up(state: State, looked: Bools, actions: tuple[Action, ...], elapsed: float, now: float) -> Totals:
    owned, totals = state.inventory.acted_on, state.totals
    made = [change for change in actions if change.reason.moves]
    return totals.having(
        at=now,
        looks=totals.looks + int((owned & looked).sum()),
        fixed_looks=totals.fixed_looks + float((elapsed / state.inventory.interval_minimum)[owned].sum()),
        reallocations=totals.reallocations + len(made),
        moved=totals.moved + sum(abs(change.target - change.before) for change in made),
    )

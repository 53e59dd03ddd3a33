"""One step of the controller: (state, snapshot, now) -> (state, decision).

Each stage takes what the ones before it have made and returns its own table. The same step runs live and in replay.
"""

from dataclasses import fields, replace
from operator import attrgetter

import numpy as np

from controller import planner
from controller.api.policy import MEBIBYTE
from controller.engine import balloon, effect, estimate, felt, guest_pressure, host, observation, polling
from controller.engine.actuation import Moves, choose
from controller.engine.allocation import Exposure, allocate, expose, relieved
from controller.engine.decision import Action, Decision, Figures, Notice
from controller.engine.inventory import Inventory
from controller.engine.known import Bounds, Known, bounds
from controller.engine.phases import PhaseEvent
from controller.engine.reasons import Reason
from controller.engine.snapshot import TOLERANCE, RunState, Snapshot
from controller.engine.state import State
from controller.engine.tables import Bools, Floats, Ints, mask, rows_of, total
from controller.engine.tuning import Tuning
from controller.forecast.tail import Tail

COALESCE = 0.05
"""Seconds a look may come early to share a libvirt call with one that is due."""

FOR_OTHERS = mask(np.array([Reason.CONTENTION_SHRINK, Reason.HOST_PRESSURE_SHRINK, Reason.SPARE_LENT]), max(Reason) + 1)
"""By code of a reason: the move says nothing of the domain's own demand."""

DEFAULT = Tuning()

_KNOWN = attrgetter(*(item.name for item in fields(Known) if item.name not in ("bounds", "now", "tuning")))
_TAKEN = ("observation", "pressure", "estimate", "exposure", "effect", "growth")
"""Tables of which a domain keeps its row as long as its guest runs."""


def step(state: State, snapshot: Snapshot, now: float, tuning: Tuning = DEFAULT) -> tuple[State, Decision]:
    """Take in what a look saw and decide. Neither argument is changed. `now`: monotonic seconds."""
    before = align(state, snapshot.inventory, now)
    inventory, elapsed = before.inventory, 0.0 if np.isnan(before.totals.at) else now - before.totals.at
    state = _take_in(before, snapshot, elapsed, now, tuning)
    limits = bounds(inventory, state.observation)
    state, ended = _end(state, limits, now, tuning)
    known = Known(limits, now, tuning, *_KNOWN(state))
    state, actions, moved, unverified = _enforce(state, known, elapsed)
    state, proposals, proposed, unseen = _propose(state, known, before.exposure, elapsed)
    looked = mask(snapshot.samples.rows, len(inventory))
    polled = polling.poll(state.polling, known, state.exposure, looked, tuning.look_price * known.mean_demand, elapsed)
    polled = polling.hasten(polled, known, moved | proposed, ~FOR_OTHERS[state.reason], unverified | unseen)
    rows = {action.row for action in actions}
    actions = (*(action for action in ended if action.row not in rows), *actions)
    totals, made = state.totals, [action for action in actions if action.reason.moves]
    totals = totals.having(
        at=now,
        looks=totals.looks + int(np.count_nonzero(inventory.acted_on & looked)),
        fixed_looks=totals.fixed_looks + total((elapsed / inventory.interval_minimum)[inventory.acted_on]),
        reallocations=totals.reallocations + len(made),
        moved=totals.moved + sum(abs(action.target - action.before) for action in made),
    )
    return state.having(polling=polled, totals=totals), Decision(actions, proposals, _notices(state, before))


def parting(state: State, now: float, tuning: Tuning = DEFAULT) -> tuple[Action, ...]:
    """Orders to leave with: nobody watches a shrink that goes on, so all are taken back as far as memory is free."""
    nobodys = replace(state.inventory, enforce=np.zeros(len(state.inventory), dtype=np.bool_))
    return _end(state.having(inventory=nobodys), bounds(nobodys, state.observation), now, tuning)[1]


def stands(action: Action, state: State) -> bool:
    """Whether an order of an earlier step, which has waited for its turn, would not be wrong by what is known now.

    What ends a shrink, or takes it back as the domain is no longer to be changed, stands whatever came after.
    """
    row = state.inventory.index.get(action.key)
    if row is None:
        return False
    if action.reason is Reason.HANDED_OVER or action.target == action.before:
        return True
    if action.reason is Reason.RELEASE_RESTORE:
        return bool(state.inventory.obstacle[row] == int(Reason.NO_POLICY))
    if not state.inventory.enforce[row]:
        return False
    if action.grows:  # it may have become more than the policy, the domain or the pod allows
        return bool(action.target <= state.inventory.ceiling[row] + MEBIBYTE)
    promised = state.inventory.minimum[row] - MEBIBYTE if state.minimums_fit else 0.0
    known = Known(bounds(state.inventory, state.observation), state.totals.at, DEFAULT, *_KNOWN(state))
    return bool(action.target >= promised and not known.would_miss(float(action.target))[row])


def align(state: State, inventory: Inventory, now: float) -> State:
    """The state with its rows in the order of `inventory`; one that is new, was started anew or reset begins blank."""
    old = state.inventory
    if inventory is old:
        return state
    same = kept = np.array([old.index.get(key, -1) for key in inventory.keys], dtype=np.int64)
    if len(old):
        same = np.where(old.incarnation[same] == inventory.incarnation, same, -1)
        kept = np.where(old.reset_at[same] == inventory.reset_at, same, -1)
    known = rows_of(kept >= 0)
    figures, reason = np.full((len(Figures._fields), len(kept)), np.nan), np.zeros(len(kept), dtype=np.int64)
    figures[:, known], reason[known] = state.decision_inputs[:, kept[known]], state.reason[kept[known]]
    moves = balloon.hand_over(state.balloon, old, inventory, same, kept, now)
    return state.having(
        **{name: getattr(state, name).take(kept) for name in _TAKEN},
        inventory=inventory,
        history=state.history.select(kept, max(model.decision_points for model in inventory.models)),
        tail=state.tail.select(kept),
        balloon=moves,
        polling=polling.hand_over(state.polling, inventory, same, kept, moves.release, now),
        reason=reason,
        decision_inputs=figures,
    )


def due(state: State, inventory: Inventory, now: float) -> list[str]:
    """Keys of the domains to look at now; new ones are due at once."""
    waits = align(state, inventory, now).polling.next_look
    if not (waits <= now).any():
        return []
    return [inventory.keys[row] for row in rows_of(waits <= now + COALESCE)]


def next_due(state: State, inventory: Inventory, now: float) -> float:
    """Monotonic time of the earliest next look; infinite when there is nothing to look at."""
    return float(align(state, inventory, now).polling.next_look.min(initial=np.inf))


def alert_at(state: State, tuning: Tuning = DEFAULT) -> Floats:
    """(n,) resident bytes from which on growth that the host feels of a domain is a reason to look at it."""
    return state.growth.alert_at(state.observation, state.balloon, tuning)


def _take_in(state: State, snapshot: Snapshot, elapsed: float, now: float, tuning: Tuning) -> State:
    """What the step is told, and what fresh samples tell of the next look, stage by stage; each returns its own table.
    What was last seen has held until now.
    """
    inventory, totals, foreseen = state.inventory, state.totals, state.estimate
    counted = inventory.acted_on & (state.observation.run_state == int(RunState.RUNNING))
    seen, shortfall, slack = observation.accrue(state.observation, counted, elapsed)
    answered = balloon.answered(state.balloon, snapshot.outcomes, now, tuning)
    seen = observation.observe(seen, answered, snapshot, now, tuning)
    followed = balloon.follow(answered, seen, inventory, now, tuning)
    held = host.held(followed, seen, inventory, balloon.committed(followed, seen, inventory))
    totals = totals.having(shortfall_time=totals.shortfall_time + shortfall, slack_time=totals.slack_time + slack)
    state = state.having(
        observation=seen,
        balloon=followed,
        effect=effect.assess(state.effect, seen, now, tuning),
        pressure=guest_pressure.assess(state.pressure, seen, followed, inventory, now, tuning),
        growth=felt.feel(state.growth, snapshot.felt, seen, followed, inventory, now, tuning),
        host=host.update(state.host, snapshot.host, held, inventory.budget, now, tuning),
        totals=totals,
    )
    rows = rows_of(seen.fresh & (inventory.policy >= 0))
    if len(rows) == 0:
        return state
    history = state.history.append(rows, now, seen.demand[rows])
    ahead = np.maximum(state.polling.interval, inventory.interval_minimum)
    return state.having(
        history=history,
        tail=estimate.learn(state.tail, foreseen, seen, inventory, rows, now),
        estimate=estimate.update(foreseen, history, seen, inventory, ahead, now, tuning),
        totals=totals.having(accuracy=estimate.judge(totals.accuracy, foreseen, seen, rows)),
    )


def _end(state: State, limits: Bounds, now: float, tuning: Tuning) -> tuple[State, tuple[Action, ...]]:
    """Shrinks end that came to nothing, or whose domains are no longer to be changed: at another size than QEMU was
    told, so that an old order does not take effect at a bad moment.

    A guest that could not give more has nothing left: it gets its headroom back. One that is not Ballast's any more
    gets all it had. Both as far as memory is free.
    """
    inventory, moves, size = state.inventory, state.balloon, state.observation.allocation
    handed = balloon.abandoned(moves, state.observation, inventory, now, tuning)
    stuck = moves.failed & inventory.enforce
    rows = rows_of(handed | stuck)
    if len(rows) == 0:
        return state, ()
    gave = (moves.last_to < size) & (moves.event != int(PhaseEvent.REVERTED))
    headroom = np.where(gave, inventory.headroom_on(size), 0.0)
    relief = np.clip(headroom, 0.0, np.maximum(limits.top - size, 0.0))
    # What it has less than before its shrink; than its definition, where its domain is released.
    belongs = np.fmin(np.where(moves.release, inventory.definition, moves.origin), inventory.maximum)
    back = np.where(handed, np.fmax(belongs - size, 0.0), relief)
    free = max(state.host.budget - total(balloon.committed(moves, state.observation, inventory)), 0.0)
    target = size.copy()
    target[rows] += planner.share(back[rows], inventory.weight[rows], free)
    told = balloon.halted(moves, stuck, target)
    reasons = np.where(handed, int(Reason.HANDED_OVER), int(Reason.STUCK))
    told = balloon.ordered(told, state.observation, inventory, handed, target, reasons, now)
    seen = observation.doubt(state.observation, handed, now, tuning)
    return state.having(balloon=told, observation=seen), _actions(state, rows, target, reasons)


def _enforce(state: State, known: Known, elapsed: float) -> tuple[State, tuple[Action, ...], Bools, Bools]:
    """Balloon changes to carry out, entered as under way; every domain's reason and its grounds are renewed. Also
    domains that are moved, and that are to be looked at before memory is taken from them, (n,).
    """
    inventory, seen, told = state.inventory, state.observation, state.balloon
    movable = inventory.enforce & known.usable
    if np.count_nonzero(told.release):  # to give back what it had needs no statistics, which may be off by now
        untouched = told.release & (inventory.obstacle == int(Reason.NO_POLICY))
        movable = movable | (untouched & (seen.run_state == int(RunState.RUNNING)) & (seen.allocation > 0))
    movable = movable & balloon.free_to_move(told, known.pressed, known.now, known.tuning)
    committed = balloon.committed(told, seen, inventory)
    chosen, exposure, inputs, fit = _decide(state.exposure, state.tail, known, committed, movable, elapsed)
    moved = chosen.shrink | chosen.grow
    state = state.having(exposure=exposure, reason=chosen.reason, minimums_fit=fit, decision_inputs=inputs)
    actions: tuple[Action, ...] = ()
    if np.count_nonzero(moved | chosen.halt):
        why = np.where(moved | inventory.enforce, chosen.reason, int(Reason.HANDED_OVER))
        rows = np.concatenate([rows_of(each) for each in (chosen.halt, chosen.shrink, chosen.grow)])
        actions = _actions(state, rows, chosen.target, why)
        told = balloon.ordered(told, seen, inventory, moved | chosen.halt, chosen.target, chosen.reason, known.now)
    return state.having(balloon=told), actions, moved, chosen.unverified


def _propose(
    state: State, known: Known, before: Exposure, elapsed: float
) -> tuple[State, tuple[Action, ...], Bools, Bools]:
    """What Enforce would do to domains under Observe, each change said once; the rest as `_enforce` returns it.

    `before`: what it has cost until the last step.
    """
    inventory, moves, size = state.inventory, state.balloon, state.observation.allocation
    observed = inventory.acted_on & ~inventory.enforce
    if np.count_nonzero(observed):
        able = known.usable & balloon.free_to_move(moves, known.pressed, known.now, known.tuning)
        observed, acting = observed & able, inventory.enforce & able
    if not np.count_nonzero(observed):
        return state, (), observed, observed
    done = np.isfinite(moves.proposed)
    told = done & known.pressed & (moves.proposed > size)  # whether that would do is not to be seen
    committed = np.where(done, moves.proposed, balloon.committed(moves, state.observation, inventory))
    seen = state.observation.put(done, allocation=moves.proposed)
    imagined = replace(known, observation=seen, balloon=moves)
    movable = observed & ~told | acting
    chosen, exposure, inputs, fit = _decide(before, state.tail, imagined, committed, movable, elapsed)
    moved = observed & (chosen.shrink | chosen.grow)
    moves = balloon.proposed(moves, moved, chosen.target, chosen.reason)
    standing = observed & (np.abs(moves.proposed - size) >= TOLERANCE)
    reason = np.where(observed & ~moved, chosen.reason, state.reason)
    state = state.having(
        balloon=moves,
        reason=np.where(standing, moves.proposed_reason, reason),
        exposure=state.exposure.merged(observed, exposure),
        minimums_fit=state.minimums_fit and fit,
        decision_inputs=np.where(observed, inputs, state.decision_inputs),
    )
    actions = _actions(state.having(observation=seen), rows_of(moved), chosen.target, chosen.reason)
    return state, actions, moved, chosen.unverified & observed


def _decide(
    before: Exposure, tail: Tail, known: Known, committed: Floats, movable: Bools, elapsed: float
) -> tuple[Moves, Exposure, Floats, bool]:
    """What is moved of the `movable` domains, what it costs that they have not got their plan, the numbers that it came
    from, (m, n) in the order of `Figures` with nothing moved yet, and whether all minimums are within the budget.
    """
    plan = allocate(known, committed, movable)
    exposure = expose(before, plan, known, tail, elapsed)
    chosen = choose(known, plan, exposure.saving)
    seen, foreseen, size = known.observation, known.estimate, known.observation.allocation
    headroom, price = known.inventory.headroom_on(foreseen.upper), known.tuning.move_price * known.mean_demand
    wanted = np.where(np.isnan(foreseen.foot), np.nan, plan.wanted)
    figures: list[Floats | float] = [seen.demand, foreseen.forecast, foreseen.upper, headroom, wanted, plan.size, size]
    figures += [size, known.bounds.threshold, exposure.excess, exposure.saving, price, known.host.budget, plan.free]
    inputs = np.empty((len(Figures._fields), len(size)))
    figures += [known.burst, known.used, known.going_to, known.eased, known.growth.grew, known.growth.sought]
    for row, values in enumerate(figures):
        inputs[row] = values
    return chosen, relieved(exposure, chosen.shrink | chosen.grow, known.now), inputs, plan.minimums_fit


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
            Reason(int(reason[row])),
            state.figures(row)._replace(target=float(target[row])),
        )
        for row in rows.tolist()
    )


def _notices(state: State, before: State) -> tuple[Notice, ...]:
    """What a person should hear about: domains newly skipped, and sizes set by someone else."""
    inventory = state.inventory
    changed = rows_of(state.reason != before.reason)
    said = [(row, why) for row in changed.tolist() if (why := Reason(int(state.reason[row]))).noticed]
    said += [(row, Reason.OUTSIDE_CHANGE) for row in rows_of(state.balloon.event == int(PhaseEvent.RESIZED)).tolist()]
    return tuple(Notice(inventory.keys[row], inventory.names[row], why) for row, why in said)

"""What goes into a step and what comes out of it."""

import json
import pickle
from typing import Any

import numpy as np
import stages
from scripted_node import MIB, ScriptedGuest, ScriptedNode, node, policy

from controller.engine.allocation import Exposure
from controller.engine.decision import Decision, Figures
from controller.engine.effect import BalloonEffect
from controller.engine.estimate import Estimate
from controller.engine.felt import Growth
from controller.engine.guest_pressure import GuestPressure
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.polling import Polling
from controller.engine.reasons import Reason
from controller.engine.snapshot import HostReading, RunState, Samples, Snapshot
from controller.engine.state import State, Totals
from controller.engine.step import step
from controller.engine.view import view
from controller.forecast.history import History
from controller.forecast.tail import Tail

NOW = 1000.0


def test_a_step_changes_neither_state_nor_snapshot():
    world = node(ScriptedGuest("guest", 200, 2000)).tick(3)
    state, before = world.state, pickle.dumps(world.state)
    world.tick(30)
    assert pickle.dumps(state) == before


def test_an_action_tells_the_demand_and_the_forecast_it_rests_on():
    (action,) = node(ScriptedGuest("guest", 500, 300)).tick().actions()
    assert (action.figures.demand, action.figures.forecast) == (300 * MIB, 300 * MIB)


def test_what_is_seen_of_the_state_is_json():
    world = node(ScriptedGuest("guest", 200, 2000), ScriptedGuest("mute", 1, 1, obstacle=Reason.NO_BALLOON)).tick(30)
    assert json.loads(json.dumps(view(world.state, world.now)))["domains"][0]["policy"] == "default"


def test_as_many_points_are_kept_as_the_policy_asks_for_that_asks_for_most():
    models = {
        "long": {"type": "OLS", "ols": {"decisionPoints": 20}},
        "short": {"type": "OLS", "ols": {"decisionPoints": 5}},
    }
    policies = [
        policy(name, advanced={"model": model}, domainSelector={"names": [name]}) for name, model in models.items()
    ]
    world = node(*(ScriptedGuest(name, 200, 2000) for name in models), policies=policies).tick(30)
    assert world.state.history.count.tolist() == [20, 20]


def test_an_empty_node_needs_no_attention():
    assert ScriptedNode([]).tick(5).decisions == []


def standing(listed: Inventory, observed: dict[str, Any]) -> State:
    """Ten seconds after a step of which only the observation is left."""
    n = len(listed)
    return State(
        listed,
        stages.rows(Observation, n, **observed),
        *(stages.rows(kind, n) for kind in (GuestPressure, Balloon, BalloonEffect, Growth)),
        History.empty(n),
        Tail.empty(n),
        *(stages.rows(kind, n) for kind in (Estimate, Exposure, Polling)),
        np.zeros(n, dtype=np.int64),
        np.full((len(Figures._fields), n), np.nan),
        State.initial().host,
        totals=Totals(at=NOW - 10, looks=7, fixed_looks=2.0, shortfall_time=3.0, slack_time=5.0),
    )


def samples(*rows: int) -> Samples:
    """Of guests of 200 MiB that need half of it, told just now."""
    columns = {"actual": 200, "maximum": 1024, "usable": 100, "unused": 50, "caches": 50, "available": 200, "rss": 200}
    counters = dict.fromkeys(("swap_in", "swap_out", "major_faults"), np.zeros(len(rows)))
    sizes = {name: np.full(len(rows), size * MIB) for name, size in columns.items()}
    told = np.full(len(rows), 1.7e9)
    return Samples(np.array(rows), np.zeros(len(rows), dtype=np.int64), **sizes, **counters, updated=told)


OWNED = {"policy": [0, 0, -1, 0], "obstacle": [0, 0, int(Reason.NO_POLICY), 0]}


def test_shortfall_and_slack_last_from_step_to_step_of_domains_that_run_and_are_owned():
    listed = stages.inventory(4, **OWNED)
    observed = {
        "allocation": 200 * MIB,
        "demand": [250 * MIB, 180 * MIB, 100 * MIB, 100 * MIB],
        "run_state": [RunState.RUNNING, RunState.RUNNING, RunState.RUNNING, RunState.PAUSED],
    }
    snapshot = Snapshot(listed, Samples.empty(), HostReading(4096 * MIB, 2048 * MIB), wall=1.7e9)
    totals = step(standing(listed, observed), snapshot, NOW)[0].totals
    assert (totals.shortfall_time, totals.slack_time) == (3 + 500 * MIB, 5 + 200 * MIB)


def test_looks_count_of_domains_that_are_owned_beside_those_of_fixed_intervals():
    listed = stages.inventory(4, interval_minimum=[1.0, 2.0, 1.0, 5.0], **OWNED)
    snapshot = Snapshot(listed, samples(0, 2), HostReading(4096 * MIB, 2048 * MIB), wall=1.7e9)
    totals = step(standing(listed, {}), snapshot, NOW)[0].totals
    assert (totals.at, totals.looks, totals.fixed_looks) == (NOW, 7 + 1, 2 + 10 + 5 + 2)


def test_at_first_no_domain_is_known():
    state = State.initial()
    names = ("observation", "pressure", "balloon", "effect", "growth", "estimate", "exposure", "polling")
    assert {len(column) for name in names for column in stages.plain(getattr(state, name)).values()} == {0}
    assert state.decision_inputs.shape[1] == 0
    assert [len(state.inventory), len(state.history), len(state.tail.intervals), len(state.reason)] == [0] * 4


def test_a_step_that_is_told_of_nobody_decides_nothing():
    snapshot = Snapshot(stages.inventory(2), Samples.empty(), HostReading(64 * MIB, 48 * MIB), wall=1.7e9)
    state, decision = step(State.initial(), snapshot, 1000.0)
    assert decision == Decision()
    assert state.reason.tolist() == [Reason.WARMING_UP] * 2
    assert (state.inventory.keys, state.host.reading) == (("guest-0", "guest-1"), snapshot.host)
    assert state.host.history.values[0, 0] == 16 * MIB


def test_a_domain_that_must_not_be_touched_is_stable():
    listed = stages.inventory(2, obstacle=[int(Reason.NONE), int(Reason.OPTED_OUT)])
    state = State.initial().having(inventory=listed, polling=stages.rows(Polling, 2))
    assert state.stable.tolist() == [False, True]

"""What goes into a step and what comes out of it."""

import json

import stages
from scripted_node import MIB, Guest, Node, node

from controller.engine.decision import Decision
from controller.engine.polling import Polling
from controller.engine.reasons import Reason
from controller.engine.snapshot import HostReading, Samples, Snapshot
from controller.engine.state import State
from controller.engine.step import step
from controller.engine.view import view


def test_a_step_changes_neither_state_nor_snapshot():
    world = node(Guest("guest", 200, 2000)).tick(3)
    state, before = world.state, world.state.dump()
    world.tick(30)
    assert state.dump() == before


def test_an_action_tells_the_demand_and_the_forecast_it_rests_on():
    (action,) = node(Guest("guest", 500, 300)).tick().actions()
    assert (action.figures.demand, action.figures.forecast) == (300 * MIB, 300 * MIB)


def test_the_state_can_be_dumped_as_json():
    world = node(Guest("guest", 200, 2000), Guest("mute", 1, 1, obstacle=Reason.NO_BALLOON)).tick(30)
    assert json.loads(json.dumps(world.state.dump()))["keys"] == ["guest", "mute"]
    assert json.loads(json.dumps(view(world.state, world.now)))["domains"][0]["policy"] == "default"


def test_an_empty_node_needs_no_attention():
    assert Node([]).tick(5).decisions == []


def test_at_first_no_domain_is_known():
    state = State.initial()
    names = ("observation", "pressure", "balloon", "effect", "growth", "estimate", "exposure", "polling", "grounds")
    assert {len(column) for name in names for column in getattr(state, name).dump().values()} == {0}
    assert [len(state.inventory), len(state.history), len(state.tail.intervals), len(state.reason)] == [0] * 4


def test_a_step_that_is_told_of_nobody_decides_nothing():
    snapshot = Snapshot(stages.inventory(2), Samples.empty(), HostReading(64 * MIB, 48 * MIB), wall=1.7e9)
    state, decision = step(State.initial(), snapshot, 1000.0)
    assert decision == Decision()
    assert state.reason.tolist() == [Reason.WARMING_UP] * 2
    dumped = state.dump()
    assert (dumped["keys"], dumped["host"]["total"], dumped["host"]["available"]) == (
        ["guest-0", "guest-1"],
        64 * MIB,
        48 * MIB,
    )
    assert dumped["host"]["history"][0] == 16 * MIB


def test_a_domain_that_must_not_be_touched_is_stable():
    listed = stages.inventory(2, obstacle=[int(Reason.NONE), int(Reason.OPTED_OUT)])
    state = State.initial().having(inventory=listed, polling=stages.rows(Polling, 2))
    assert state.stable.tolist() == [False, True]

"""What goes into a step and what comes out of it."""

import json

from scripted_node import MIB, Guest, Node, node

from controller.engine.reasons import Reason
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

"""Rule 1: never below the minimum or present demand, never above the maximum."""

from scripted_node import MIB, Guest, node, policy


def test_an_idle_guest_shrinks_to_its_need_and_never_below_demand():
    world = node(Guest("idle", demand=500, actual=4000))
    world.tick(30)
    assert 500 <= world.guests["idle"].actual < 1000
    assert min(action.target for action in world.actions()) >= 500 * MIB


def test_an_idle_guest_keeps_its_minimum():
    world = node(Guest("idle", 50, 2000), policies=[policy(limits={"minimum": "1Gi", "minimumPercent": 1})])
    world.tick(30)
    assert world.guests["idle"].actual == 1024


def test_a_hungry_guest_gets_no_more_than_its_maximum():
    world = node(Guest("hungry", demand=2000, actual=1000, maximum=1500))
    world.tick(30)
    assert world.guests["hungry"].actual == 1500
    assert max(action.target for action in world.actions()) == 1500 * MIB

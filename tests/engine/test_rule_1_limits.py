"""Rule 1: never below the minimum or present demand, never above the maximum."""

from dataclasses import replace

import pytest
from scripted_node import MIB, ScriptedGuest, node, policy

from controller.api.wishes import Wishes
from controller.engine.ownership import NodeIdentity, assign


def test_an_idle_guest_shrinks_to_its_need_and_never_below_demand():
    world = node(ScriptedGuest("idle", demand=500, actual=4000))
    world.tick(30)
    assert 500 <= world.guests["idle"].actual < 1000
    assert min(action.target for action in world.actions()) >= 500 * MIB


def test_an_idle_guest_keeps_its_minimum():
    world = node(ScriptedGuest("idle", 50, 2000), policies=[policy(limits={"minimum": "1Gi", "minimumPercent": 1})])
    world.tick(30)
    assert world.guests["idle"].actual == 1024


def test_a_hungry_guest_gets_no_more_than_its_maximum():
    world = node(ScriptedGuest("hungry", demand=2000, actual=1000, maximum=1500))
    world.tick(30)
    assert world.guests["hungry"].actual == 1500
    assert max(action.target for action in world.actions()) == 1500 * MIB


def test_what_its_actuator_cannot_take_is_a_domains_own_whatever_the_policy_allows():
    facts = replace(ScriptedGuest("guest", 50, 2000).facts(), floor=1000 * MIB)
    inventory = assign([facts], [policy(limits={"maximum": "512Mi"})], NodeIdentity("node")).inventory
    assert [*inventory.minimum, *inventory.ceiling] == [1000 * MIB] * 2


class TestMinimum:
    """The largest of the policy's size, the policy's part of the maximum, and the guest's own wish."""

    @pytest.mark.parametrize(
        ("limits", "wish"),
        [
            ({"minimum": "1Gi", "minimumPercent": 1}, None),
            ({"minimum": "128Mi", "minimumPercent": 25}, None),
            ({"minimum": "128Mi", "minimumPercent": 1}, 1024 * MIB),
            ({"minimum": "1Gi", "minimumPercent": 1}, 256 * MIB),
        ],
    )
    def test_is_kept_by_an_idle_guest_and_no_more(self, limits, wish):
        world = node(
            ScriptedGuest("idle", 50, 3000, wishes=Wishes(minimum=wish)), policies=[policy(limits=limits)]
        ).tick(30)
        assert 1024 <= world.guests["idle"].actual < 1400
        assert world.domain("idle")["minimum"] == 1024 * MIB

    def test_above_the_maximum_is_the_maximum(self):
        world = node(ScriptedGuest("small", 50, 512, maximum=1000), policies=[policy(limits={"minimum": "2Gi"})]).tick(
            30
        )
        assert world.guests["small"].actual == 1000


class TestMaximum:
    """The least of the policy's size, the policy's part of the maximum, and the guest's own wish."""

    @pytest.mark.parametrize(
        ("limits", "wish"),
        [
            ({"maximum": "1Gi"}, None),
            ({"maximumPercent": 25}, None),
            ({}, 1024 * MIB),
            ({"maximum": "1Gi"}, 2048 * MIB),
            ({"maximum": "3Gi", "maximumPercent": 25}, 2048 * MIB),
        ],
    )
    def test_is_all_that_a_hungry_guest_gets(self, limits, wish):
        chosen = policy(limits={"minimumPercent": 1} | limits)
        world = node(ScriptedGuest("hungry", 2000, 800, wishes=Wishes(maximum=wish)), policies=[chosen]).tick(30)
        assert world.guests["hungry"].actual == 1024

"""Rule 7: Observe changes nothing and tells what Enforce would do."""

import pytest
from scripted_node import MIB, ScriptedGuest, node, policy, to_the_first_order

from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState
from controller.engine.view import view


def test_a_guest_under_observe_is_not_changed():
    world = node(ScriptedGuest("idle", 200, 4000), policies=[policy(mode="Observe")]).tick(120)
    assert world.actions() == []
    assert world.guests["idle"].actual == 4000


def test_a_guest_under_observe_is_told_once_what_enforce_would_do():
    world = node(ScriptedGuest("idle", 200, 4000), policies=[policy(mode="Observe")]).tick(120)
    acting = node(ScriptedGuest("idle", 200, 4000)).tick(120)
    assert [action.target for action in world.proposals()] == [action.target for action in acting.actions()]
    assert world.reason("idle") is Reason.FORECAST_SHRINK


def test_a_proposal_of_what_a_guest_has_is_no_move_of_it():
    world = node(ScriptedGuest("idle", 200, 4000, maximum=4000), policies=[policy(mode="Observe")]).tick(30)
    world.guests["idle"].demand = 3900
    while world.proposals()[-1].target < 4000 * MIB:
        world.tick()
    assert world.reason("idle") is Reason.AT_MAXIMUM


def test_guests_that_stay_short_are_proposed_more_once():
    """Whether they would be with that is not to be seen."""
    guests = [ScriptedGuest("a", 230, 154, maximum=256), ScriptedGuest("b", 310, 307, maximum=1024)]
    world = node(*guests, policies=[policy(mode="Observe", budget={"maximum": "820Mi"})])
    world.pressure = True
    world.tick(60)
    assert [(each.name, each.reason) for each in world.proposals()] == [
        ("a", Reason.PRESSURE_GROW),
        ("b", Reason.PRESSURE_GROW),
    ]


def test_a_proposal_is_forgotten_with_the_policy_that_made_it():
    world = node(
        ScriptedGuest("idle", 200, 4000), ScriptedGuest("other", 3000, 3500), policies=[policy(mode="Observe")]
    ).tick(30)
    assert world.reason("idle") is Reason.FORECAST_SHRINK
    world.policies = [policy("other", mode="Observe", domainSelector={"names": ["other"]})]
    world.tick(2)
    (idle, _) = view(world.state, world.now)["domains"]
    assert (idle["target"], idle["reason"]) == (4000 * MIB, str(Reason.NO_POLICY))


def test_a_proposal_does_not_hide_why_a_guest_could_not_be_changed_now():
    world = node(
        ScriptedGuest("calm", 200, 2000), ScriptedGuest("paused", 200, 2000), policies=[policy(mode="Observe")]
    ).tick(20)
    assert len(world.proposals()) == 2
    world.guests["paused"].run_state = RunState.PAUSED
    world.tick(5)
    assert (world.reason("calm"), world.reason("paused")) == (Reason.FORECAST_SHRINK, Reason.PAUSED)


PAUSE = policy("pause", mode="Pause", priority=-1000, domainSelector={"names": ["nobody"]})
"""Whatever its priority and its domains."""


def test_a_pause_leaves_every_policy_of_the_node_to_observe():
    world = node(ScriptedGuest("idle", 200, 4000), policies=[policy(), PAUSE]).tick(120)
    acting = node(ScriptedGuest("idle", 200, 4000)).tick(120)
    assert world.actions() == []
    assert [action.target for action in world.proposals()] == [action.target for action in acting.actions()]
    assert view(world.state, world.now)["domains"][0]["mode"] == "Observe"


def test_what_was_under_way_when_the_pause_came_is_taken_back_and_goes_on_after_it():
    world = node(ScriptedGuest("idle", 200, 4000, moves_at=50), policies=[policy()])
    while world.guests["idle"].actual > 3750:
        world.tick()
    world.policies = [policy(), PAUSE]
    stopped_at = world.tick().guests["idle"].target
    world.tick(60)
    assert stopped_at >= 3650
    assert world.guests["idle"].actual == pytest.approx(stopped_at, abs=1)
    world.policies = [policy()]
    assert world.tick(120).guests["idle"].actual < 1000


def test_a_pause_of_other_nodes_is_none_of_this_one():
    elsewhere = policy("pause", mode="Pause", nodeSelector={"names": ["elsewhere"]})
    assert node(ScriptedGuest("idle", 200, 4000), policies=[policy(), elsewhere]).tick(120).actions()


def test_a_pause_owns_no_domain():
    world = node(ScriptedGuest("idle", 200, 4000), policies=[policy("pause", mode="Pause", priority=1000)]).tick(5)
    assert world.reason("idle") is Reason.NO_POLICY


def test_the_budget_of_a_node_that_is_paused_is_that_of_those_who_would_act():
    layers = [policy("acts", budget={"maximum": "1Gi"}), policy("looks", mode="Observe", budget={"maximum": "512Mi"})]
    world = node(
        ScriptedGuest("idle", 200, 4000), policies=[*layers, policy("pause", mode="Pause", budget={"reserve": "8Gi"})]
    )
    assert world.tick(5).shown()["budget"] == 1024 * MIB


def test_what_is_made_of_a_guest_that_is_observed_says_nothing_of_one_that_is_changed():
    watches = policy("watches", mode="Observe", domainSelector={"names": ["watched"]}, priority=1)
    world = node(
        ScriptedGuest("watched", 200, 2000), ScriptedGuest("changed", 200, 2000), policies=[watches, policy("acts")]
    )
    to_the_first_order(world)
    assert (world.reason("changed"), world.actions()[0].reason) == (Reason.FORECAST_SHRINK, Reason.FORECAST_SHRINK)


def test_a_guest_is_looked_at_soon_after_a_proposal_as_after_a_change():
    seldom = {"advanced": {"monitoring": {"maximumIntervalSeconds": 60}, "shrink": {"stabilizationSeconds": 60}}}
    world = node(ScriptedGuest("idle", 200, 4000), policies=[policy(mode="Observe", **seldom)])
    while not world.proposals():
        world.tick()
    proposed = world.now
    assert proposed - world.looks[-2][0] > 1
    world.tick()
    assert world.looks[-1] == (proposed + 1, "idle")


def test_a_guest_that_is_observed_would_get_what_one_that_is_changed_does_not_need():
    whole = {"spare": "Share", "budget": {"reserve": "0", "reservePercent": 0}}
    watches = policy("watches", mode="Observe", domainSelector={"names": ["watched"]}, priority=1, **whole)
    world = node(
        ScriptedGuest("watched", 900, 1000),
        ScriptedGuest("changed", 200, 3000, maximum=3000),
        policies=[watches, policy("acts", **whole)],
        host_mib=4000,
    ).tick(20)
    world.guests["watched"].demand = 995
    world.tick(3)
    assert (world.reason("watched"), world.actions()) == (Reason.AWAITING_MEMORY, [])

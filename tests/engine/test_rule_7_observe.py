"""Rule 7: Observe changes nothing and tells what Enforce would do."""

from scripted_node import MIB, Guest, node, policy, to_the_first_order

from controller.engine.reasons import Reason
from controller.engine.snapshot import Life
from controller.engine.view import view


def test_a_guest_under_observe_is_not_changed():
    world = node(Guest("idle", 200, 4000), policies=[policy(mode="Observe")]).tick(120)
    assert world.actions() == []
    assert world.guests["idle"].actual == 4000


def test_a_guest_under_observe_is_told_once_what_enforce_would_do():
    world = node(Guest("idle", 200, 4000), policies=[policy(mode="Observe")]).tick(120)
    acting = node(Guest("idle", 200, 4000)).tick(120)
    assert [action.target for action in world.proposals()] == [action.target for action in acting.actions()]
    assert world.reason("idle") is Reason.FORECAST_SHRINK


def test_a_proposal_is_forgotten_with_the_policy_that_made_it():
    world = node(Guest("idle", 200, 4000), Guest("other", 3000, 3500), policies=[policy(mode="Observe")]).tick(30)
    assert world.reason("idle") is Reason.FORECAST_SHRINK
    world.policies = [policy("other", mode="Observe", domainSelector={"names": ["other"]})]
    world.tick(2)
    (idle, _) = view(world.state, world.now)["domains"]
    assert (idle["target"], idle["reason"]) == (4000 * MIB, str(Reason.NO_POLICY))


def test_a_proposal_does_not_hide_why_a_guest_could_not_be_changed_now():
    world = node(Guest("calm", 200, 2000), Guest("paused", 200, 2000), policies=[policy(mode="Observe")]).tick(20)
    assert len(world.proposals()) == 2
    world.guests["paused"].life = Life.PAUSED
    world.tick(5)
    assert (world.reason("calm"), world.reason("paused")) == (Reason.FORECAST_SHRINK, Reason.PAUSED)


def test_what_is_made_of_a_guest_that_is_observed_says_nothing_of_one_that_is_changed():
    watches = policy("watches", mode="Observe", domainSelector={"names": ["watched"]}, priority=1)
    world = node(Guest("watched", 200, 2000), Guest("changed", 200, 2000), policies=[watches, policy("acts")])
    to_the_first_order(world)
    assert (world.reason("changed"), world.actions()[0].reason) == (Reason.FORECAST_SHRINK, Reason.FORECAST_SHRINK)


def test_a_guest_is_looked_at_soon_after_a_proposal_as_after_a_change():
    seldom = {"monitoring": {"maximumIntervalSeconds": 60}, "shrink": {"stabilizationSeconds": 60}}
    world = node(Guest("idle", 200, 4000), policies=[policy(mode="Observe", **seldom)])
    while not world.proposals():
        world.tick()
    proposed = world.now
    assert proposed - world.looks[-2][0] > 1
    world.tick()
    assert world.looks[-1] == (proposed + 1, "idle")

"""What must hold whatever guests do: random guests under random policies, checked after every second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_node import MIB, ScriptedGuest, ScriptedNode, policy

from controller.engine.reasons import Reason

pytestmark = pytest.mark.slow

SECONDS = 40

guests = st.builds(
    ScriptedGuest,
    name=st.just(""),
    demand=st.integers(50, 1500),
    actual=st.integers(200, 1500),
    maximum=st.just(2000),
    autodeflate=st.booleans(),
    frozen=st.booleans(),
    stuck=st.booleans(),
    keeps=st.sampled_from([0, 0, 700]),
    moves_at=st.sampled_from([20, 300, 10_000]),
)
nodes = st.fixed_dictionaries(
    {
        "guests": st.lists(guests, min_size=1, max_size=5),
        "spare": st.sampled_from(["Share", "Reclaim"]),
        "headroom": st.integers(0, 50),
        "stabilization": st.integers(0, 20),
        "room": st.integers(0, 2000),
        "demands": st.lists(st.integers(50, 2000), min_size=SECONDS, max_size=SECONDS),
    }
)


def build(drawn, **spec):
    named = list(drawn["guests"])
    for number, guest in enumerate(named):
        guest.name = f"guest-{number}"
        guest.target = None
    budget = sum(guest.actual for guest in named) + drawn["room"]
    chosen = policy(
        spare=drawn["spare"],
        headroom={"percent": drawn["headroom"]},
        advanced={"shrink": {"stabilizationSeconds": drawn["stabilization"]}},
        budget={"maximum": f"{budget}Mi"},
        **spec,
    )
    return ScriptedNode(named, policies=[chosen]), budget


def live(world, demands):
    """Second by second, one guest after the other changes its demand; yields the actions of each second."""
    for second, demand in enumerate(demands):
        names = list(world.guests)
        guest = world.guests[names[second % len(names)]]
        guest.demand = demand
        known = {each.name: min(each.demand, each.actual, _aim(each)) for each in world.guests.values()}
        before = len(world.decisions)
        world.tick()
        yield known, [action for decision in world.decisions[before:] for action in decision.actions]


def _aim(guest):
    """Where its balloon was going already: an order of more than that takes nothing."""
    return guest.actual if guest.target is None else guest.target


@given(nodes)
def test_allocations_never_pass_the_budget(drawn):
    world, budget = build(drawn)
    for _ in live(world, drawn["demands"]):
        assert world.allocated() <= budget + 1


@given(nodes)
def test_no_target_is_below_demand_or_minimum_or_above_the_maximum(drawn):
    world, _ = build(drawn)
    for known, actions in live(world, drawn["demands"]):
        for action in actions:
            if not action.grows and action.reason is not Reason.STUCK and not world.guests[action.name].frozen:
                assert action.target >= known[action.name] * MIB - MIB
            assert 64 * MIB <= action.target <= 2000 * MIB


@given(nodes)
def test_frozen_guests_are_never_shrunk(drawn):
    world, _ = build(drawn)
    for guest in world.guests.values():
        guest.frozen = True
    assert all(action.grows for _, actions in live(world, drawn["demands"]) for action in actions)


@given(nodes)
def test_observe_never_acts(drawn):
    world, _ = build(drawn, mode="Observe")
    assert [action for _, actions in live(world, drawn["demands"]) for action in actions] == []

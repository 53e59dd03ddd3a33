"""The numbers that are kept of a decision are those that decided."""

import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, node, policy


@pytest.fixture
def world() -> ScriptedNode:
    """Spare memory is on its way to a guest whose balloon is slow."""
    slow, other = ScriptedGuest("slow", 300, 400, moves_at=20), ScriptedGuest("other", 300, 1000)
    whole = policy(spare="Share", budget={"reserve": "0", "reservePercent": 0})
    made = node(slow, other, policies=[whole], host_mib=3000).tick(10)
    assert slow.actual < slow.goal()
    return made


def test_a_grow_that_is_to_end_sooner_is_kept_with_where_it_was_going_to(world: ScriptedNode) -> None:
    promised = world.actions("slow")[-1].target
    world.guests["other"].demand = 1780
    figures = world.tick(5).actions("slow")[-1].figures
    assert (figures.target < figures.going_to, figures.going_to) == (True, promised)


def test_what_a_guest_has_come_to_use_while_its_balloon_moves_is_kept(world: ScriptedNode) -> None:
    world.guests["slow"].demand = 450
    figures = world.tick(2).state.figures(0)
    assert (figures.demand, figures.used) == (300 * MIB, pytest.approx(450 * MIB / 0.97))

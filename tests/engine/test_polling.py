"""How often a guest is looked at."""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, node, policy

from controller.engine.reasons import Reason
from controller.engine.step import due

PATIENT = policy(advanced={"monitoring": {"maximumIntervalSeconds": 60}, "shrink": {"stabilizationSeconds": 600}})


def test_a_calm_guest_is_looked_at_ever_more_rarely():
    world = node(ScriptedGuest("calm", 500, 600), policies=[PATIENT]).tick(3600)
    looks = np.array([when for when, _ in world.looks]) - 1000
    early, late = (np.count_nonzero((looks > start) & (looks <= start + 300)) for start in (300, 3300))
    assert early <= 300 / 2
    assert late <= early / 4


@pytest.mark.parametrize("seconds", [120, pytest.param(300, marks=pytest.mark.slow)])
def test_a_guest_whose_memory_others_took_is_calm_but_watched(seconds):
    world = node(
        ScriptedGuest("donor", 100, 2000, maximum=8192),
        ScriptedGuest("busy", 900, 1000),
        policies=[policy(spare="Share", advanced={"monitoring": {"maximumIntervalSeconds": 60}})],
        host_mib=3200,
    ).tick(seconds)
    for demand in (1400, 1900, 2300):
        world.guests["busy"].demand = demand
        world.tick(60)
    assert Reason.CONTENTION_SHRINK in {action.reason for action in world.actions("donor")}
    assert world.domain("donor")["stable"]
    assert len([when for when, name in world.looks if name == "donor" and when > world.now - 60]) >= 10


@pytest.mark.parametrize(("sign", "a_second"), [("swap_in", 2e5), ("major_faults", 50.0)])
@pytest.mark.parametrize("seconds", [120, pytest.param(300, marks=pytest.mark.slow)])
def test_a_guest_that_was_short_whenever_nobody_looked_is_unstable(sign, a_second, seconds):
    world = node(ScriptedGuest("guest", 200, 1000), policies=[PATIENT]).tick(seconds)
    assert world.domain("guest")["stable"]
    for second in range(120):
        world.guests["guest"].statistics = {sign: a_second * second}
        world.tick()
    assert not world.domain("guest")["stable"]
    assert len([when for when, _ in world.looks if when > world.now - 30]) >= 15


@pytest.mark.parametrize("seconds", [120, pytest.param(300, marks=pytest.mark.slow)])
def test_a_guest_that_reads_back_a_little_is_calm(seconds):
    def looks(swapped_in, faults):
        world = node(ScriptedGuest("guest", 630, 1000), policies=[PATIENT]).tick(seconds)
        for second in range(120):
            world.guests["guest"].statistics = {"swap_in": swapped_in * second, "major_faults": faults * second}
            world.tick()
        assert world.domain("guest")["stable"]
        assert world.actions() == []
        return world.looks

    assert looks(4096.0, 1.0) == looks(0.0, 0.0)


def test_an_unstable_guest_is_looked_at_every_few_shortest_intervals():
    world = node(ScriptedGuest("wild", 500, 2000), policies=[PATIENT]).tick(30)
    choice = np.random.default_rng(1)
    for _ in range(120):
        others = {300, 900, 1500} - {world.guests["wild"].demand}
        world.guests["wild"].demand = int(choice.choice(sorted(others)))
        world.tick()
    assert len([when for when, _ in world.looks if when > 1090]) >= 20


def test_a_guest_about_to_run_out_is_looked_at_in_time():
    world = node(ScriptedGuest("ramp", 500, 2000), policies=[PATIENT]).tick(60)
    for second in range(280):
        world.guests["ramp"].demand = 500 + 5 * second
        world.tick()
        assert world.guests["ramp"].demand <= world.guests["ramp"].actual


def test_a_guest_whose_size_is_about_to_be_told_is_looked_at_again_at_once():
    guest = ScriptedGuest("guest", 300, 350, maximum=8192, moves_at=0)
    world = node(guest, policies=[PATIENT]).tick(20)
    guest.demand = 350
    while world.domain("guest")["target"] == world.domain("guest")["allocation"]:
        world.tick()
    guest.statistics = {"usable": 900 * MIB, "unused": 900 * MIB, "available": 1300 * MIB}
    world.tick()
    assert world.reason("guest") is Reason.MOVING
    world.tick()
    assert [when for when, _ in world.looks][-2:] == [world.now - 1, world.now]


@pytest.mark.parametrize(("later", "both"), [(0.04, True), (0.06, False)])
def test_a_look_comes_a_twentieth_of_a_second_early_to_share_a_call(later, both):
    world = node(ScriptedGuest("a", 500, 1000), ScriptedGuest("b", 500, 1000)).tick()
    polling = world.state.polling.having(next_look=np.array([world.now, world.now + later]))
    state = world.state.having(polling=polling)
    assert due(state, world.inventory, world.now) == (["a", "b"] if both else ["a"])


def test_a_guest_that_nobody_owns_is_looked_at_once_a_minute():
    world = node(ScriptedGuest("guest", 500, 1000), policies=[]).tick(200)
    assert np.diff([at for at, _ in world.looks])[1:].tolist() == [60, 60, 60]


def test_looks_that_fall_due_together_are_one():
    world = node(*(ScriptedGuest(f"guest-{number}", 500, 600) for number in range(10))).tick(100)
    assert len({when for when, _ in world.looks}) * 10 == len(world.looks)


@pytest.mark.parametrize("seconds", [200, pytest.param(600, marks=pytest.mark.slow)])
def test_a_guest_that_moved_often_is_stable_again_a_while_after_the_last_move(seconds):
    """Moves fade within the window of the policy."""
    forgetful = policy(
        advanced={
            "monitoring": {"maximumIntervalSeconds": 60},
            "stability": {"windowSeconds": 30, "maximumReallocations": 1},
        },
    )
    world = node(ScriptedGuest("guest", 500, 2000), policies=[forgetful])
    for second in range(200):
        world.guests["guest"].demand = 1500 if second // 20 % 2 else 500
        world.tick()
    assert len(world.moves()) > 5
    assert not world.domain("guest")["stable"]
    world.tick(seconds)
    assert world.domain("guest")["stable"]


def test_a_guest_is_looked_at_soon_when_policies_change():
    world = node(
        ScriptedGuest("calm", 500, 600), policies=[policy(advanced={"monitoring": {"maximumIntervalSeconds": 60}})]
    ).tick(600)
    world.policies = [policy(advanced={"monitoring": {"maximumIntervalSeconds": 50}})]
    changed = world.now
    assert changed - world.looks[-2][0] > 2
    world.step()
    world.tick(2)
    assert [when - changed for when, _ in world.looks if when > changed] == [1]


@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
def test_a_guest_that_is_to_give_memory_is_looked_at_at_once_where_its_word_is_old(mode):
    whole = {"spare": "Share", "budget": {"reserve": "0", "reservePercent": 0}}
    seldom = policy(mode=mode, advanced={"monitoring": {"maximumIntervalSeconds": 60}}, **whole)
    guests = ScriptedGuest("idle", 200, 3000, maximum=3000), ScriptedGuest("needy", 500, 1000)
    world = node(*guests, policies=[seldom], host_mib=4000).tick(60)
    world.guests["needy"].demand = 995
    while world.reason("needy") is not Reason.AWAITING_MEMORY:
        world.tick()
    assert world.looks[-2:] == [(world.now, "needy"), (world.now, "idle")]

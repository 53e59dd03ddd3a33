"""Rule 4: present demand first, then minimums, the rest by weight; idle memory goes before used memory."""

import pytest
from scripted_node import ScriptedGuest, default_policy, node, policy

from controller.api.wishes import Wishes
from controller.engine.reasons import Reason


def test_idle_memory_goes_first_and_used_memory_never():
    world = node(
        ScriptedGuest("idle", 100, 900),
        ScriptedGuest("busy", 800, 900),
        ScriptedGuest("growing", 800, 900),
        policies=[policy(budget={"maximum": "2700Mi"}, advanced={"shrink": {"stabilizationSeconds": 3600}})],
    ).tick(5)
    world.guests["growing"].demand = 1500
    world.tick(20)
    assert world.guests["growing"].actual > 1200
    assert world.guests["busy"].actual >= 800
    assert world.guests["idle"].actual >= 128


def test_guests_that_swing_by_turns_keep_room_for_their_peaks():
    """Who is low for a moment is not robbed for forecasts beyond any peak: it is back at its own in seconds."""
    tight = policy(budget={"maximum": "4300Mi"}, advanced={"shrink": {"stabilizationSeconds": 60}})
    world = node(ScriptedGuest("even", 1500, 2000), ScriptedGuest("odd", 1500, 2000), policies=[tight]).tick(5)
    for second in range(240):
        low, high = ("even", "odd") if second // 2 % 2 else ("odd", "even")
        world.guests[low].demand, world.guests[high].demand = 900, 2000
        world.tick()
        if second > 120:  # until then they learn where their peaks are
            assert min(world.guests["even"].actual, world.guests["odd"].actual) >= 2000


def test_a_guest_that_is_merely_close_to_its_limit_does_not_take_what_others_come_back_to():
    tight = policy(budget={"maximum": "4100Mi"}, advanced={"shrink": {"stabilizationSeconds": 60}})
    world = node(ScriptedGuest("close", 1300, 1500), ScriptedGuest("swings", 2400, 2500), policies=[tight]).tick(20)
    for second in range(60):
        world.guests["swings"].demand = 1200 if second // 2 % 2 else 2400
        world.guests["close"].demand = 1300 if second < 20 else 1470
        world.tick()
        assert world.guests["swings"].actual >= 2400
    assert Reason.PRESSURE_GROW in {action.reason for action in world.actions("close")}


def test_a_guest_with_nothing_left_takes_what_others_come_back_to():
    tight = policy(budget={"maximum": "4100Mi"}, advanced={"shrink": {"stabilizationSeconds": 0}})
    world = node(ScriptedGuest("lost", 1400, 1500), ScriptedGuest("swings", 2400, 2500), policies=[tight]).tick(20)
    world.guests["swings"].demand, world.guests["lost"].demand = 1200, 2600
    world.tick(15)
    assert world.guests["lost"].actual >= 2600


def test_memory_beyond_demand_is_shared_by_weight():
    generous = policy(budget={"maximum": "5000Mi"}, headroom={"percent": 100})
    world = node(
        ScriptedGuest("heavy", 1500, 2000, wishes=Wishes(weight=300)),
        ScriptedGuest("light", 1500, 2000),
        policies=[generous],
    ).tick(60)
    heavy, light = world.guests["heavy"].actual, world.guests["light"].actual
    assert heavy - 1500 >= 1.5 * (light - 1500) > 0
    assert heavy + light >= 0.9 * 5000


@pytest.mark.parametrize("autodeflate", [True, False])
def test_a_guest_that_takes_memory_by_itself_takes_no_minimum_of_others(autodeflate):
    """Its root deflates the balloon after each order, whatever it needs, and more than the budget is given away."""
    taker = ScriptedGuest("taker", 100, 500, 2000, autodeflate=autodeflate)
    others = [ScriptedGuest(f"other-{number}", 100, 400, 400) for number in range(3)]
    promised = policy(budget={"maximum": "2000Mi"}, limits={"minimum": "400Mi"})
    world = node(taker, *others, policies=[promised]).tick(30)
    taker.deflates_to = 2000
    for _ in range(40):
        world.tick()
        assert [each.actual for each in others] == [400, 400, 400]
    assert world.allocated() > 2000


@pytest.mark.parametrize("spare", ["Share", "Reclaim"])
def test_a_guest_in_need_does_not_grow_by_minimums_that_the_host_took_for_a_while(spare):
    """What it has is its demand, as far as anybody knows, and that comes first; what it searches for comes last."""
    starving = ScriptedGuest("starving", 5000, 400, 4096)
    others = [ScriptedGuest(f"other-{number}", 100, 400, 400) for number in range(3)]
    promised = policy(spare=spare, limits={"minimum": "400Mi"}, budget={"reserve": "3000Mi", "reservePercent": 0})
    world = node(starving, *others, policies=[promised], host_mib=6000).tick(40)
    had = starving.actual
    for use in (200, 0):
        world.host_use_mib = use
        for _ in range(50):
            world.tick()
            assert starving.actual == had
        met = [round(each.actual) for each in others]
        assert met == [400] * 3 if use == 0 else min(met) >= 330


def test_a_small_guest_in_need_is_served_by_a_huge_one_for_which_that_is_next_to_nothing():
    huge, needy = ScriptedGuest("huge", 16000, 31900, maximum=65536), ScriptedGuest("needy", 300, 640, maximum=900)
    world = node(huge, needy, policies=[default_policy(budget={"maximum": "32540Mi"})]).tick(120)
    assert (huge.actual, needy.actual) == (31900, 640)
    needy.demand = 880
    assert world.tick(60).guests["needy"].actual >= 880


@pytest.mark.parametrize("part", [1.04, 1.06])
def test_guests_that_cannot_all_have_their_headroom_do_not_take_it_from_each_other_by_turns(part):
    demands = [1000.0 + 250 * number for number in range(6)]
    guests = [ScriptedGuest(f"g{number}", demand, 1.3 * demand, maximum=8192) for number, demand in enumerate(demands)]
    chosen = policy(advanced={"threshold": {"percent": 0}}, budget={"maximum": f"{int(sum(demands) * part)}Mi"})
    world = node(*guests, policies=[chosen]).tick(60)
    before = len(world.moves())
    world.tick(60)
    assert len(world.moves()) - before <= len(guests)

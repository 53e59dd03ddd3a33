"""What a whole node does: minimums that do not fit, lending beside a short host, merged pages."""

import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, default_policy, policy

from controller.engine.balance import unmet
from controller.engine.reasons import Reason

BUDGET = 6000


def overcommitted(**spec) -> ScriptedNode:
    """Twenty guests whose maximum is more than forty times their demand."""
    guests = [ScriptedGuest(f"calm-{number}", 200, 280, maximum=8192) for number in range(19)]
    starving = ScriptedGuest("starving", 1500, 400, maximum=8192)
    return ScriptedNode([*guests, starving], [default_policy(budget={"maximum": f"{BUDGET}Mi"}, **spec)])


@pytest.mark.parametrize("maximum", [512, 8192, 131072])
def test_minimums_that_nobody_asked_for_fit_however_large_the_maximums(maximum):
    guests = [ScriptedGuest(f"g{number}", 200, 280, maximum=maximum) for number in range(20)]
    world = ScriptedNode(guests, [default_policy(budget={"maximum": f"{BUDGET}Mi"})]).tick(20)
    assert world.shown()["minimums_fit"]


class TestMinimumsThatDoNotFit:
    """5 % of the maximums are more than the node has."""

    @pytest.fixture
    def world(self):
        return overcommitted(limits={"minimumPercent": 5})

    def test_are_told_of_the_node_and_of_the_guests(self, world):
        world.tick(60)
        assert not world.shown()["minimums_fit"]
        assert {world.domain(f"calm-{number}")["reason"] for number in range(19)} == {"MinimumUnmet"}

    def test_are_told_of_the_node_where_guests_are_observed(self):
        assert not overcommitted(limits={"minimumPercent": 5}, mode="Observe").tick(5).shown()["minimums_fit"]

    @pytest.mark.parametrize("mode", ["Enforce", "Observe"])
    def test_are_told_of_every_guest_all_the_time(self, mode):
        world = overcommitted(limits={"minimumPercent": 5}, mode=mode).tick(5)
        assert [int(unmet(world.tick(10).state).sum()) for _ in range(5)] == [19] * 5

    def test_keep_no_memory_from_a_guest_that_starves(self, world):
        assert world.tick(60).guests["starving"].actual >= 1500

    @pytest.mark.parametrize("seconds", [120, pytest.param(300, marks=pytest.mark.slow)])
    def test_leave_the_others_what_they_need(self, world, seconds):
        world.tick(seconds)
        assert min(guest.actual for guest in world.guests.values()) >= 200

    def test_stay_within_the_budget(self, world):
        for _ in range(120):
            assert world.tick().allocated() <= BUDGET

    @pytest.mark.parametrize("seconds", [150, pytest.param(600, marks=pytest.mark.slow)])
    def test_are_met_in_proportion_once_nobody_starves(self, world, seconds):
        """Of what is left beside demand nobody gets more than his minimum while others have less than theirs."""
        world.tick(seconds)
        sizes = [guest.actual for name, guest in world.guests.items() if name != "starving"]
        assert min(sizes) >= 200
        assert max(sizes) <= 410 * 1.1
        assert sum(sizes) + 1500 <= BUDGET

    def test_do_not_stop_what_a_policy_of_explicit_minimums_asks_for(self):
        held = policy(limits={"minimum": "1Gi", "minimumPercent": 1}, budget={"maximum": "2500Mi"})
        world = ScriptedNode(
            [ScriptedGuest("idle", 200, 800), ScriptedGuest("idle-too", 200, 800), ScriptedGuest("busy", 1400, 800)],
            [held],
        ).tick(60)
        assert world.guests["busy"].actual >= 1400
        assert min(guest.actual for guest in world.guests.values()) >= 200


class TestHarmOfAGuestThatComes:
    """It starts with its maximum, and so puts the host under pressure until others have given way."""

    @pytest.fixture
    def world(self):
        guests = [ScriptedGuest(f"g{number}", 500, 2000, maximum=4096) for number in range(4)]
        sharing = policy(spare="Share", budget={"reserve": "0", "reservePercent": 0})
        world = ScriptedNode(guests, [sharing], host_mib=8192).tick(200)
        world.guests["new"] = ScriptedGuest("new", 300, 2048, maximum=2048)
        for _ in range(10):
            world.pressure = world.allocated() > world.host_mib
            world.tick()
        return world

    def test_others_give_what_the_host_lacks_and_no_more(self, world):
        assert 0.9 * world.host_mib < world.allocated() <= world.host_mib

    def test_what_nobody_needs_is_lent_as_before(self, world):
        assert world.state.host.lends_at < world.now
        assert Reason.HOST_PRESSURE_SHRINK not in {action.reason for action in world.actions()}


class TestHarmOfLending:
    @pytest.mark.parametrize(
        ("own_use", "reserve"),
        [
            (0.7, {"reserve": "512Mi", "reservePercent": 3}),
            (0.5, {"reserve": "0", "reservePercent": 2}),
            (0.5, {"reserve": "512Mi", "reservePercent": 1}),
        ],
    )
    @pytest.mark.parametrize("seconds", [300, pytest.param(750, marks=pytest.mark.slow)])
    def test_does_not_bring_about_the_pressure_that_ends_it(self, seconds, own_use, reserve):
        guests = [ScriptedGuest(f"g{number}", 2000, 2500, maximum=16384) for number in range(4)]
        world = ScriptedNode(guests, [default_policy(budget=reserve)], host_mib=65536)
        world.host_use_mib, world.mark = own_use * 65536, 0.05
        world.tick(seconds)
        before = len(world.moves())
        world.tick(seconds)
        assert len(world.moves()) - before <= len(guests)

    def test_is_no_reason_for_what_a_guest_gets_while_the_host_is_under_pressure(self):
        sharing = policy(spare="Share", advanced={"threshold": {"percent": 15}})
        world = ScriptedNode([ScriptedGuest("ramp", 1000, 1300, maximum=8192)], [sharing], host_mib=8192)
        world.pressure = True
        world.tick(10)
        before = len(world.moves())
        for _ in range(100):
            world.guests["ramp"].demand += 8
            world.tick()
        reasons = {move.reason for move in world.moves()[before:]}
        assert reasons & {Reason.FORECAST_GROW, Reason.PRESSURE_GROW}
        assert not reasons & {Reason.SPARE_LENT, Reason.HOST_PRESSURE_SHRINK}


class TestMergedPages:
    """KSM: what guests hold is stored once, and counted in every QEMU."""

    def merging(self, **spec) -> ScriptedNode:
        guests = [ScriptedGuest(f"g{number}", 7000, 8192, maximum=16384, merged=4096) for number in range(3)]
        world = ScriptedNode(guests, [policy(**spec)], host_mib=40960)
        world.host_use_mib = 12288
        return world

    def test_do_not_hide_what_the_host_itself_uses(self):
        budget = self.merging().tick(30).shown()["budget"]
        assert budget <= (40960 - 12288 - 2048) * MIB

    def test_are_not_given_away(self):
        world = self.merging(spare="Share")
        for _ in range(120):
            assert world.tick().allocated() <= 40960 - 12288 - 2048

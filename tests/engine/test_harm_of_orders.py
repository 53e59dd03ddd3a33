"""Orders whose outcome is not known, that lose their right, or that a balloon obeys in its own way."""

import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, policy, to_the_first_order

from controller.api.wishes import Wishes
from controller.engine.reasons import Reason


class TestLateOrder:
    """libvirt answers after its deadline: the order may yet take effect."""

    @pytest.mark.parametrize(
        ("late", "refused"),
        [
            *((3, True), (8, False), (30, True)),
            *(pytest.param(*each, marks=pytest.mark.slow) for each in ((3, False), (8, True), (30, False))),
        ],
    )
    def test_to_grow_is_never_given_to_another_as_well(self, late, refused):
        one, two = (
            ScriptedGuest(name, 900, 1000, maximum=2000, late=late, late_refusal=refused) for name in ("one", "two")
        )
        world = ScriptedNode([one, two], [policy(budget={"maximum": "2600Mi"})]).tick(5)
        one.demand = 1550
        world.tick()
        assert world.actions("one")
        two.demand = 1550
        for _ in range(90):
            world.tick()
            assert world.allocated() <= 2600

    def test_to_grow_is_nobody_elses_change(self):
        world = ScriptedNode([ScriptedGuest("late", 900, 1000, late=4)]).tick(5)
        world.guests["late"].demand = 1500
        world.tick(60)
        assert world.guests["late"].actual >= 1500
        assert Reason.OUTSIDE_CHANGE not in world.notices()

    def test_to_shrink_is_remembered_and_made_good_when_the_guest_needs_more_by_then(self):
        world = ScriptedNode([ScriptedGuest("late", 500, 4000, late=8)])
        late = world.guests["late"]
        while not world.actions():
            world.tick()
        late.demand, late.late = 3000, 0
        world.tick(20)
        assert late.actual >= 3000
        assert Reason.OUTSIDE_CHANGE not in world.notices()

    def test_is_followed_by_no_other_until_it_is_answered(self):
        world = ScriptedNode([ScriptedGuest("late", 900, 1000, late=30)]).tick(5)
        world.guests["late"].demand = 1800
        world.tick(28)
        assert len(world.actions()) == 1

    def test_that_is_refused_in_the_end_frees_its_memory(self):
        one, two = ScriptedGuest("one", 900, 1000, late=5, late_refusal=True), ScriptedGuest("two", 900, 1000)
        world = ScriptedNode([one, two], [policy(budget={"maximum": "2600Mi"})]).tick(5)
        one.demand = 1500
        world.tick(2)
        one.demand, two.demand = 900, 1450
        world.tick(20)
        assert two.actual >= 1450


def test_an_order_to_shrink_that_waits_is_not_sent_to_a_guest_that_needs_more_by_then():
    guest = ScriptedGuest("guest", 500, 4000, waits=4)
    world = ScriptedNode([guest])
    to_the_first_order(world)
    guest.demand = 3000
    assert min(world.tick() and guest.actual for _ in range(10)) > 3000


class TestShrinkUnderWay:
    """From 4000 MiB to what the guest needs; at 3750 MiB Ballast loses its right to it."""

    @pytest.fixture
    def world(self):
        world = ScriptedNode([ScriptedGuest("guest", 500, 4000, moves_at=50)], [policy(release="Keep")])
        while world.guests["guest"].actual > 3750:
            world.tick()
        return world

    def check_stopped(self, world):
        stopped_at = world.tick().guests["guest"].target
        assert stopped_at >= 3650
        world.tick(60)
        assert world.guests["guest"].actual == pytest.approx(stopped_at, abs=1)

    def test_stops_when_the_policy_goes_to_observe(self, world):
        world.policies = [policy(mode="Observe")]
        self.check_stopped(world)

    def test_stops_when_the_policy_goes_and_keeps(self, world):
        world.policies = []
        self.check_stopped(world)

    def test_stops_when_the_guest_opts_out(self, world):
        world.guests["guest"].wishes = Wishes(opt_out=True)
        self.check_stopped(world)

    def test_is_stopped_once(self, world):
        before, world.policies = len(world.actions()), [policy(mode="Observe")]
        world.tick(60)
        assert len(world.actions()) == before + 1

    def test_that_has_arrived_is_followed_by_no_order(self):
        world = ScriptedNode([ScriptedGuest("guest", 500, 4000)]).tick(30)
        before, world.policies = len(world.actions()), [policy(mode="Observe")]
        world.tick(60)
        assert len(world.actions()) == before


class TestBalloonOfACoarseDriver:
    @pytest.mark.parametrize("coarse", [{"grain": 2}, {"misses": 1}, {"misses": 3}])
    def test_arrives_and_is_not_stuck(self, coarse):
        world = ScriptedNode([ScriptedGuest("coarse", 501, 2001, **coarse)]).tick(20)
        assert world.guests["coarse"].actual < 700
        world.guests["coarse"].demand = 1501
        world.tick(12)
        world.guests["coarse"].demand = 301
        world.tick(30)
        assert 301 <= world.guests["coarse"].actual < 500
        assert not {Reason.STUCK, Reason.OUTSIDE_CHANGE} & set(world.notices())


class TestGuestThatTakesItsMemoryBack:
    """It deflates its balloon against every order."""

    @pytest.fixture(scope="class", params=[300, pytest.param(900, marks=pytest.mark.slow)])
    @classmethod
    def world(cls, request):
        """After so many seconds."""
        limited = policy(
            limits={"maximum": "1Gi", "minimumPercent": 1}, domainSelector={"names": ["greedy"]}, priority=1
        )
        guests = [ScriptedGuest("greedy", 300, 1000, deflates_to=4096), ScriptedGuest("honest", 900, 1100)]
        return ScriptedNode(guests, [limited, policy("others", budget={"maximum": "3000Mi"})]).tick(request.param)

    def test_is_no_administrator(self, world):
        assert world.notices().count(Reason.OUTSIDE_CHANGE) <= 1
        assert world.reason("greedy") is Reason.STUCK

    def test_is_asked_again_and_not_hammered(self, world):
        orders = len(world.moves("greedy"))
        assert 2 <= orders <= 8

    def test_takes_nothing_that_others_need(self, world):
        assert world.guests["honest"].actual >= 900
        assert min(action.target for action in world.actions("honest") or world.actions()) >= 300 * MIB

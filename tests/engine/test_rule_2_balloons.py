"""Rule 2: a balloon that does not move, an order that is refused, and a size that nobody here asked for."""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, node, policy, to_the_first_order

from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState


class TestStuck:
    def test_a_balloon_that_does_not_move_is_stuck_and_not_hammered(self):
        world = node(ScriptedGuest("stiff", 200, 2000, stuck=True)).tick(60)
        assert world.reason("stiff") is Reason.STUCK
        asked = [action for action in world.actions() if action.reason is not Reason.STUCK]
        assert len(asked) == world.state.totals.reallocations == 1

    def test_a_balloon_that_does_not_grow_is_told_to_stay_as_it_is(self):
        world = node(ScriptedGuest("stiff", 1920, 2000, stuck=True)).tick(60)
        assert {action.target for action in world.actions() if action.reason is Reason.STUCK} == {2000 * MIB}

    def test_one_that_does_not_grow_and_is_in_need_is_told_its_next_size_only(self):
        world = node(ScriptedGuest("stiff", 2200, 2000, stuck=True)).tick(60)
        assert {action.reason for action in world.actions()} == {Reason.PRESSURE_GROW}

    @pytest.mark.parametrize("run_state", [RunState.PAUSED, RunState.BUSY, RunState.UNRESPONSIVE])
    def test_a_guest_that_cannot_move_its_balloon_now_is_not_stuck_and_not_touched(self, run_state):
        world = node(ScriptedGuest("guest", 500, 4000, moves_at=20)).tick(12)
        orders = len(world.actions())
        guest = world.guests["guest"]
        guest.run_state, guest.stuck = run_state, True
        world.tick(60)
        assert (orders, len(world.actions())) == (1, 1)
        guest.run_state, guest.stuck, guest.moves_at = RunState.RUNNING, False, np.inf
        world.tick(5)
        assert guest.actual < 1000

    @pytest.mark.parametrize("seconds", [200, pytest.param(400, marks=pytest.mark.slow)])
    def test_a_stuck_balloon_is_tried_again_ever_more_rarely(self, seconds):
        world = node(ScriptedGuest("stiff", 200, 2000, stuck=True)).tick(seconds)
        assert 2 <= len(world.moves()) <= 6


class TestUnwilling:
    def test_a_guest_that_could_give_no_more_gets_its_headroom_back(self):
        world = node(ScriptedGuest("stiff", 200, 2000, keeps=1900)).tick(20)
        (relief,) = [action.target / MIB for action in world.actions() if action.reason is Reason.STUCK]
        assert 1900 + 32 <= relief <= 2400
        assert world.guests["stiff"].actual == relief
        assert world.reason("stiff") is Reason.STUCK

    def test_that_headroom_is_within_what_the_guest_may_have(self):
        world = node(ScriptedGuest("guest", 500, 1000, 1000, keeps=980)).tick(25)
        ended = next(action for action in world.actions() if action.reason is Reason.STUCK)
        assert (ended.before / MIB, ended.target / MIB) == (980, 1000)

    def test_memory_that_is_neither_free_nor_page_cache_is_not_taken_at_once(self):
        world = node(ScriptedGuest("files", 200, 2000, slab=700)).tick(20)
        (action,) = world.actions()
        assert 200 + 700 <= action.target / MIB <= 1400

    def test_memory_that_is_neither_free_nor_page_cache_is_taken_when_others_need_it(self):
        chosen = policy(budget={"maximum": "2000Mi"})
        world = node(
            ScriptedGuest("files", 200, 1000, slab=700), ScriptedGuest("other", 900, 1000), policies=[chosen]
        ).tick(20)
        assert world.guests["files"].actual > 900
        world.guests["other"].demand = 1500
        world.tick(20)
        assert world.guests["files"].actual < 500
        assert world.guests["other"].actual >= 1500

    @pytest.mark.parametrize(("unused_mib", "soonest", "latest"), [(20, 1, 3), (200, 5, 15)])
    def test_a_shrink_that_stands_still_ends_at_once_in_a_guest_with_nothing_free(self, unused_mib, soonest, latest):
        world = node(ScriptedGuest("stiff", 200, 2000, keeps=1900, statistics={"unused": unused_mib * MIB}))
        to_the_first_order(world)
        ordered = world.now
        while len(world.actions()) == 1:
            world.tick()
        assert soonest <= world.now - ordered <= latest
        assert [action.reason for action in world.actions()] == [Reason.FORECAST_SHRINK, Reason.STUCK]

    @pytest.mark.parametrize("unlike", [{"autodeflate": True}, {"keeps": 2000}])
    def test_a_guest_that_helps_itself_or_has_not_begun_to_give_has_its_full_time(self, unlike):
        wanting = {"keeps": 1900, "statistics": {"unused": 20 * MIB, "available": 2000 * MIB}}
        world = node(ScriptedGuest("guest", 200, 2000, **wanting | unlike))
        to_the_first_order(world)
        world.tick(5)
        assert len(world.actions()) == 1

    def test_a_choking_guest_in_another_job_is_not_touched(self):
        world = node(ScriptedGuest("stiff", 200, 2000, keeps=1900, statistics={"unused": 20 * MIB}))
        to_the_first_order(world)
        world.tick()
        world.guests["stiff"].run_state = RunState.BUSY
        world.tick(10)
        assert len(world.actions()) == 1

    def test_memory_that_a_guest_promised_and_could_not_give_is_not_asked_for_again_for_a_while(self):
        unused = {"unused": 20 * MIB}
        world = node(ScriptedGuest("liar", 200, 2000, keeps=1900, statistics=unused)).tick(20)
        assert world.reason("liar") is Reason.STUCK
        size = world.guests["liar"].actual
        world.now += 300
        world.tick(30)
        assert (world.guests["liar"].actual, len(world.actions())) == (size, 2)
        world.now += 3600
        world.tick(60)
        assert [action.reason for action in world.actions()][2:] == [Reason.FORECAST_SHRINK, Reason.STUCK]
        world.now += 900  # longer than the first time
        world.tick(30)
        assert len(world.actions()) == 4

    def test_memory_that_a_doubted_guest_frees_is_taken(self):
        world = node(ScriptedGuest("liar", 200, 2000, keeps=1900, statistics={"unused": 20 * MIB})).tick(20)
        liar = world.guests["liar"]
        liar.keeps, liar.statistics = 0, {}
        world.tick(200)
        assert liar.actual < 1300

    def test_a_guest_with_nothing_free_that_reclaims_goes_on_shrinking(self):
        world = node(ScriptedGuest("slow", 200, 2000, moves_at=2, statistics={"unused": 20 * MIB})).tick(120)
        assert len(world.actions()) == 1
        assert world.guests["slow"].actual < 1800


class TestRefused:
    def test_a_guest_in_need_waits_seconds_after_a_refusal_however_long_its_balloon_was_stuck(self):
        guest = ScriptedGuest("guest", 200, 2000, keeps=1900, maximum=8192)
        world = node(guest).tick(250)
        assert world.reason("guest") is Reason.STUCK
        guest.demand, world.refuse_next = 4000, "guest"
        world.tick(10)
        assert guest.actual >= 4000

    def test_a_refused_guest_in_need_is_tried_again_at_least_every_half_minute(self):
        world = node(ScriptedGuest("guest", 500, 600))
        tries = []
        for _ in range(120):
            world.refuse_next = "guest"
            world.guests["guest"].demand = 600
            world.tick()
            tries += [] if world.refuse_next else [world.now]
        gaps = np.diff(tries).tolist()
        assert gaps == sorted(gaps)
        assert 3 <= gaps[0] < gaps[-1] <= 35

    def test_a_refused_shrink_is_tried_again_ever_more_rarely(self):
        world = node(ScriptedGuest("idle", 500, 4000))
        tries = []
        for _ in range(400):
            world.refuse_next = "idle"
            world.tick()
            tries += [] if world.refuse_next else [world.now]
        gaps = np.diff(tries).tolist()
        assert gaps == sorted(gaps)
        assert gaps[0] >= 3
        assert gaps[-1] >= 100

    def test_a_refused_change_is_tried_again_later(self):
        world = node(ScriptedGuest("guest", 200, 2000))
        world.refuse_next = "guest"
        world.tick(12)
        assert world.guests["guest"].actual == 2000
        world.tick(20)
        assert world.guests["guest"].actual < 500


class TestSizesFromOutside:
    def test_a_size_set_by_someone_else_is_a_new_truth_and_not_fought(self):
        world = node(ScriptedGuest("guest", 200, 2000)).tick(20)
        world.guests["guest"].target = world.guests["guest"].actual = 1500
        before = len(world.actions())
        world.tick(20)
        assert world.actions()[before:] == []
        assert world.reason("guest") is Reason.OUTSIDE_CHANGE

    def test_late_news_of_an_earlier_move_is_no_outside_change(self):
        late = ScriptedGuest("late", 500, 4000, moves_at=100)
        world = node(late, policies=[policy(advanced={"shrink": {"stabilizationSeconds": 20}})])
        to_the_first_order(world)
        world.tick(4)
        late.demand = late.actual
        while not world.actions()[-1].grows:
            world.tick()
        late.actual, late.demand = late.actual - 250, late.demand - 400  # the balloon had come further by then
        world.tick(8)
        assert Reason.OUTSIDE_CHANGE not in world.notices()


class TestFailuresOfThePast:
    """A balloon that has arrived is as good as one that never failed."""

    def test_do_not_lengthen_the_rest_after_a_later_refusal(self):
        world = node(ScriptedGuest("guest", 500, 4000))
        for _ in range(4):
            world.refuse_next = "guest"
            while world.refuse_next:
                world.tick()
        world.tick(200)
        assert world.guests["guest"].actual < 1000
        world.guests["guest"].demand = 3000
        world.tick(10)
        world.guests["guest"].demand, world.refuse_next = 500, "guest"
        while world.refuse_next:
            world.tick()
        assert world.tick(15).guests["guest"].actual < 1000

    def test_do_not_lengthen_the_wait_after_it_is_stuck_again(self):
        guest = ScriptedGuest("guest", 500, 4000, stuck=True)
        world = node(guest).tick(240)
        assert world.notices().count(Reason.STUCK) >= 2
        guest.stuck = False
        world.tick(300)
        assert guest.actual < 1000
        guest.demand = 3000
        world.tick(10)
        before, guest.demand, guest.stuck = world.notices().count(Reason.STUCK), 500, True
        while world.notices().count(Reason.STUCK) == before:
            world.tick()
        guest.stuck = False
        assert world.tick(90).guests["guest"].actual < 1000


class TestGuestThatBootsOnABusyHost:
    """Its driver tells of its memory long before it takes what the balloon is to hold: libvirt's size, or Ballast's."""

    def booted(self, resets):
        guest = ScriptedGuest("guest", 500, 2000, 4000, definition=600, moves_at=700)
        world = node(guest).tick(20)
        world.policies = [policy(spare="Share", budget={"maximum": "4500Mi"})]
        guest.stuck = True
        for _ in range(resets):
            world.reset(guest)
            world.tick(1)
        if not resets:
            guest.start_anew()
            guest.target, guest.started_at = 600, world.wall
        world.tick(8)
        guest.stuck = False
        return world

    @pytest.mark.parametrize("resets", [1, 2, 0], ids=["reset", "reset twice", "started"])
    def test_is_not_taken_for_set_by_somebody(self, resets):
        world = self.booted(resets).tick(20)
        assert Reason.OUTSIDE_CHANGE not in world.notices()

    def test_is_not_either_where_the_last_of_a_shrink_shows_after_its_reset(self):
        guest = ScriptedGuest("guest", 500, 2000, 4000, moves_at=300)
        world = node(guest).tick(20)
        world.reset(guest)
        size, guest.frozen, guest.stuck = guest.target, True, True
        for shown, seconds in ((size - 20, 1), (size - 30, 10), (guest.maximum, 1)):
            guest.actual = shown
            world.tick(seconds)
        guest.frozen = guest.stuck = False
        world.tick(20)
        assert Reason.OUTSIDE_CHANGE not in world.notices()

    def test_is_not_either_where_libvirt_has_refused_to_shrink_it(self):
        guest = ScriptedGuest("guest", 500, 2000, 4000, moves_at=700)
        world = node(guest).tick(20)
        world.reset(guest)
        guest.stuck, world.refuse_next = True, "guest"
        while world.refuse_next:
            world.tick()
        world.policies = [policy(spare="Share", budget={"maximum": "4500Mi"})]
        world.tick(9)
        guest.stuck = False
        world.tick(20)
        assert Reason.OUTSIDE_CHANGE not in world.notices()

    @pytest.mark.parametrize("resets", [1, 2, 0], ids=["reset", "reset twice", "started"])
    def test_may_be_set_by_somebody_all_the_same(self, resets):
        world = self.booted(resets).tick(15)
        guest = world.guests["guest"]
        guest.target = guest.actual = 3000
        world._decide(world.inventory, [], {"guest": 3000})
        assert world.reason("guest") is Reason.OUTSIDE_CHANGE

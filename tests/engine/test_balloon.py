"""What becomes of orders: phases and their transitions, and who may be told what next."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_node import MIB, Guest, Node, policy, to_the_first_order
from stages import inventory, plain, rows

from controller.api.wishes import Wishes
from controller.engine import balloon as stage
from controller.engine.host import held
from controller.engine.observation import Observation
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.phases import Balloon, Event, Phase, after
from controller.engine.reasons import Reason
from controller.engine.snapshot import Life, Outcome, Result
from controller.engine.tuning import Tuning

TUNING = Tuning()
NOW = 1000.0
ROW = np.array([0])
ALL = np.array([True])


class Desk:
    """One balloon of a guest of 2000 MiB, long at rest, through the stage alone. Sizes in MiB."""

    def __init__(self, **facts) -> None:
        self.inventory = assign(
            [Guest("guest", 500, 2000, **facts).facts()], [policy()], NodeIdentity("node")
        ).inventory
        self.now = NOW
        self.balloon = replace(Balloon.blank(1), settles_at=np.array([0.0]))
        self.follow(0, 2000)

    def seen(self, size: float, **columns) -> Observation:
        known = {"allocation": size * MIB, "seen_at": self.now, "stamp": 1.7e9} | columns
        return replace(Observation.blank(1), **{name: np.array([value]) for name, value in known.items()})

    def follow(self, seconds: float, size: float, **columns) -> Event:
        self.now += seconds
        observation = self.seen(size, **columns)
        self.balloon = stage.follow(self.balloon, observation, self.inventory, self.now, TUNING)
        return Event(int(self.balloon.event[0]))

    def order(self, target: float, size: float = 2000) -> None:
        reasons = np.array([int(Reason.FORECAST_SHRINK)])
        self.balloon = stage.ordered(self.balloon, self.seen(size), ALL, np.array([target * MIB]), reasons, self.now)

    def answer(self, result: Result) -> None:
        self.balloon = stage.answered(self.balloon, [Outcome(0, result)], self.now, TUNING)

    @property
    def phase(self) -> Phase:
        return Phase(int(self.balloon.phase[0]))

    def committed(self, size: float) -> float:
        return float(stage.committed(self.balloon, self.seen(size), self.inventory)[0] / MIB)

    def free(self, *, in_need: bool = False) -> bool:
        return bool(stage.free_to_move(self.balloon, np.array([in_need]), self.now, TUNING)[0])


class TestTransitions:
    @pytest.mark.parametrize(
        ("phase", "event", "then"),
        [
            (Phase.IDLE, Event.ORDERED, Phase.MOVING),
            (Phase.UNKNOWN, Event.ORDERED, Phase.UNKNOWN),
            (Phase.MOVING, Event.UNANSWERED, Phase.UNKNOWN),
            (Phase.UNKNOWN, Event.TAKEN, Phase.MOVING),
            (Phase.UNKNOWN, Event.STALLED, Phase.UNKNOWN),
            (Phase.MOVING, Event.STALLED, Phase.STUCK),
            (Phase.STUCK, Event.EXPIRED, Phase.IDLE),
            (Phase.MOVING, Event.EXPIRED, Phase.MOVING),
            (Phase.IDLE, Event.TAKEN, Phase.IDLE),
        ],
    )
    def test_an_event_counts_only_where_the_table_says(self, phase, event, then):
        assert after(np.array([phase]), np.array([event])).tolist() == [then]

    def test_an_order_is_under_way_until_its_size_is_seen(self):
        desk = Desk()
        desk.order(1000)
        assert (desk.follow(1, 1500), desk.phase) == (Event.NONE, Phase.MOVING)
        assert (desk.follow(1, 1000), desk.phase) == (Event.ARRIVED, Phase.IDLE)

    def test_an_order_without_progress_ends_stuck_after_the_deadline(self):
        desk = Desk()
        desk.order(1000)
        assert desk.follow(5, 2000) is Event.NONE
        assert (desk.follow(0.1, 2000), desk.phase) == (Event.STALLED, Phase.STUCK)
        assert not desk.free()
        assert desk.free(in_need=True)
        assert (desk.follow(60, 2000), desk.phase) == (Event.EXPIRED, Phase.IDLE)
        assert desk.free()

    def test_the_deadline_is_two_shortest_intervals_where_these_are_long(self):
        desk = Desk()
        desk.inventory = replace(desk.inventory, interval_minimum=np.array([4.0]))
        desk.order(1000)
        assert [desk.follow(8, 2000), desk.follow(0.1, 2000)] == [Event.NONE, Event.STALLED]

    @pytest.mark.parametrize(("before", "event"), [(1003.4, Event.ARRIVED), (1003.6, Event.NONE)])
    def test_a_balloon_that_still_creeps_closer_has_not_missed_yet(self, before, event):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, before)
        assert desk.follow(2, 1003) is event

    def test_a_paused_guest_is_not_stuck(self):
        desk = Desk()
        desk.order(1000)
        assert desk.follow(60, 2000, life=int(Life.PAUSED)) is Event.NONE

    def test_a_choking_guest_is_stuck_at_once(self):
        desk = Desk()
        desk.order(1000)
        assert desk.follow(2, 1900) is Event.NONE
        assert desk.follow(1, 1900, choked_at=NOW + 3) is Event.CHOKED

    def test_an_arrival_ends_the_growth_of_rests(self):
        desk = Desk()
        desk.order(1000)
        desk.answer(Result.REFUSED)
        desk.order(1000)
        desk.follow(6, 2000)
        assert (desk.balloon.backoff[0], desk.balloon.refusal_rest[0]) == (60, 5)
        desk.order(1000)
        desk.follow(1, 1000)
        assert (desk.balloon.backoff[0], desk.balloon.refusal_rest[0]) == (0, 0)

    @pytest.mark.parametrize(("answer", "free"), [(Result.REFUSED, False), (Result.WITHDRAWN, True)])
    def test_an_order_that_was_taken_back_is_no_refusal_to_rest_after(self, answer, free):
        desk = Desk()
        desk.order(1000)
        desk.answer(Result.UNKNOWN)
        desk.answer(answer)
        assert (desk.phase, desk.free(), desk.committed(2000)) == (Phase.IDLE, free, 2000)

    def test_a_size_set_by_someone_else_is_left_alone(self):
        desk = Desk()
        assert (desk.follow(1, 1500), desk.phase) == (Event.RESIZED, Phase.OVERRULED)
        assert not desk.free()
        assert (desk.follow(30, 1500), desk.phase) == (Event.EXPIRED, Phase.IDLE)

    def test_a_guest_that_may_deflate_its_balloon_is_no_administrator(self):
        desk = Desk(autodeflate=True)
        desk.order(1000)
        desk.follow(1, 1000)
        assert (desk.follow(1, 1200), desk.phase) == (Event.DEFLATED, Phase.IDLE)

    def test_late_news_of_what_the_balloon_did_before_is_nobodys_change(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1500)
        desk.order(1800, 1500)
        assert desk.follow(1.9, 1400) is Event.NONE
        assert desk.follow(0.2, 1300) is Event.RESIZED


class TestUnknownOutcomes:
    def test_both_sizes_stay_committed_until_libvirt_answers(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1500)
        desk.order(600, 1500)
        desk.answer(Result.UNKNOWN)
        assert (desk.phase, desk.free(in_need=True)) == (Phase.UNKNOWN, False)
        desk.follow(60, 800)
        assert (desk.phase, desk.committed(800)) == (Phase.UNKNOWN, 1000)
        desk.answer(Result.DONE)
        assert (desk.phase, desk.committed(800)) == (Phase.MOVING, 800)

    def test_a_late_refusal_leaves_what_was_ordered_before(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1500)
        desk.order(1900, 1500)
        desk.answer(Result.UNKNOWN)
        assert desk.committed(1500) == 1900
        desk.answer(Result.REFUSED)
        assert (desk.phase, desk.balloon.target[0] / MIB, desk.committed(1500)) == (Phase.MOVING, 1000, 1500)

    def test_meanwhile_it_may_follow_the_order_before(self):
        desk = Desk()
        desk.order(500)
        desk.follow(1, 1500)
        desk.order(1900, 1500)
        desk.answer(Result.UNKNOWN)
        assert desk.follow(10, 1000) is Event.NONE
        desk.answer(Result.DONE)
        assert desk.follow(1, 1000) is Event.NONE
        assert (desk.follow(1, 1900), desk.phase) == (Event.ARRIVED, Phase.IDLE)

    def test_a_guest_that_boots_anew_does_not_answer_for_libvirt(self):
        desk = Desk()
        desk.order(1000)
        desk.answer(Result.UNKNOWN)
        same, reset = np.array([0]), np.array([-1])
        desk.balloon = stage.hand_over(desk.balloon, desk.inventory, desk.inventory, same, reset, desk.now)
        assert (desk.phase, desk.free()) == (Phase.UNKNOWN, False)
        assert desk.committed(500) == 1000

    def test_a_look_that_shows_the_size_answers_too(self):
        desk = Desk()
        desk.order(1000)
        desk.answer(Result.UNKNOWN)
        assert (desk.follow(60, 1000), desk.phase) == (Event.ARRIVED, Phase.IDLE)

    def test_an_order_to_stay_put_is_not_answered_by_the_size(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1500)
        desk.balloon = stage.halted(desk.balloon, desk.seen(1500), ALL, np.array([1500.0 * MIB]), desk.now, TUNING)
        desk.answer(Result.UNKNOWN)
        assert (desk.follow(1, 1500), desk.phase) == (Event.NONE, Phase.UNKNOWN)
        desk.answer(Result.DONE)
        assert (desk.follow(1, 1500), desk.phase) == (Event.ARRIVED, Phase.IDLE)

    def test_a_late_order_is_not_given_twice(self):
        quick = policy(budget={"maximum": "2600Mi"}, shrink={"stabilizationSeconds": 3600})
        late, other = Guest("late", 960, 1000, late=6), Guest("other", 800, 1000)
        world = Node([late, other], policies=[quick])
        for second in range(60):
            late.demand = 960 if second < 5 else 1500
            other.demand = 800 if second < 6 else 1500
            world.tick()
            assert world.allocated() <= 2600
        assert late.actual > 1000
        assert Reason.OUTSIDE_CHANGE not in [each.reason for made in world.decisions for each in made.notices]

    def test_a_late_order_that_is_refused_is_free_for_others(self):
        quick = policy(budget={"maximum": "2600Mi"}, shrink={"stabilizationSeconds": 3600})
        late, other = Guest("late", 960, 1000, late=6), Guest("other", 800, 1000)
        world = Node([late, other], policies=[quick])
        while not world.late_orders:
            world.tick()
        world.refuse_next = "late"
        late.demand, other.demand = 200, 1500
        world.tick(30)
        assert other.actual >= 1500


def _observe(world: Node, _: Guest) -> None:
    world.policies = [policy(mode="Observe")]


def _delete(world: Node, _: Guest) -> None:
    world.policies = []


def _opt_out(_: Node, guest: Guest) -> None:
    guest.wishes = Wishes(opt_out=True)


def _pin(_: Node, guest: Guest) -> None:
    guest.obstacle = Reason.HOST_DEVICES


CHANGES = [_observe, _delete, _opt_out, _pin]
"""Every way for a domain to be no longer Ballast's to change; the policy has `release: Keep`."""


class TestOrdersEndWithTheRightToGiveThem:
    @pytest.mark.parametrize("change", CHANGES)
    def test_a_shrink_under_way_is_taken_back(self, change):
        slow = Guest("slow", 500, 4000, moves_at=50)
        world = Node([slow], policies=[policy(release="Keep")]).tick(12)
        assert (slow.target < 700, slow.actual < 3800) == (True, True)
        change(world, slow)
        world.tick(30)
        assert (slow.actual, slow.target) == (4000, 4000)
        assert [action.reason for action in world.actions()] == [Reason.FORECAST_SHRINK, Reason.HANDED_OVER]

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("seconds", [3, 20], ids=["in the step that finds it stuck", "stuck for long"])
    def test_what_a_guest_could_not_give_is_given_back_with_the_rest(self, change, seconds):
        stiff = Guest("stiff", 500, 4000, keeps=3000)
        world = Node([stiff], policies=[policy(release="Keep")])
        to_the_first_order(world)
        world.tick(seconds)
        assert stiff.actual < 3500
        change(world, stiff)
        world.tick(30)
        assert (stiff.actual, stiff.target) == (4000, 4000)
        assert world.actions()[-1].reason is Reason.HANDED_OVER

    @pytest.mark.parametrize(("budget", "given"), [(5000, 3700), (5200, 3900), (8000, 4000)])
    def test_what_others_have_by_now_is_not_taken_back(self, budget, given):
        bounded = policy(budget={"maximum": f"{budget}Mi"}, domainSelector={"names": ["other"]})
        slow, other = Guest("slow", 500, 4000, moves_at=50), Guest("other", 900, 1300)
        world = Node([slow, other], policies=[policy()]).tick(7)
        while slow.actual > 3700:
            world.tick()
        other.actual = other.target = 1300
        world.policies = [bounded, policy("seen", mode="Observe", domainSelector={"names": ["slow"]})]
        world.tick(30)
        assert slow.actual == given

    def test_two_share_what_is_free_by_weight(self):
        first = Guest("first", 500, 4000, moves_at=50, wishes=Wishes(weight=300))
        second = Guest("second", 500, 4000, moves_at=50)
        world = Node([first, second], policies=[policy()]).tick(7)
        while first.actual > 3600:
            world.tick()
        both = first.actual + second.actual
        world.policies = [policy(mode="Observe", budget={"maximum": f"{both + 300:.0f}Mi"})]
        world.tick(30)
        assert (first.actual, second.actual) == (3850, 3650)  # of 3550 each, when it is read

    def test_what_a_guest_has_not_shown_that_it_can_give_is_not_asked_for_again_at_once(self):
        liar = Guest("liar", 200, 2000, moves_at=50, statistics={"unused": 20 * MIB})
        world = Node([liar], policies=[policy()])
        to_the_first_order(world)
        world.tick()
        for mode in ("Observe", "Enforce"):
            world.policies = [policy(mode=mode)]
            world.tick(60)
        assert [action.reason for action in world.actions()] == [Reason.FORECAST_SHRINK, Reason.HANDED_OVER]
        world.now += TUNING.doubt_first
        world.tick(30)
        assert world.actions()[2].reason is Reason.FORECAST_SHRINK

    def test_a_released_domain_gets_its_definition_at_once(self):
        slow = Guest("slow", 500, 3000, definition=3500, moves_at=50)
        world = Node([slow], policies=[policy()]).tick(12)
        assert slow.actual < 2800
        world.policies = []
        world.tick(3)
        assert slow.target == 3500
        world.tick(30)
        assert slow.actual == 3500

    def test_a_shrink_to_the_definition_is_not_taken_back(self):
        slow = Guest("slow", 500, 4000, definition=2000, moves_at=50)
        world = Node([slow], policies=[policy(shrink={"stabilizationSeconds": 3600})]).tick(12)
        world.policies = []
        world.tick(20)
        assert [action.reason for action in world.actions()] == [Reason.RELEASE_RESTORE]

    def test_no_more_is_given_back_than_the_guest_can_have_by_now(self):
        slow = Guest("slow", 500, 4000, moves_at=200)
        world = Node([slow], policies=[policy()]).tick(15)
        assert slow.actual < 3000
        slow.maximum, world.policies = 3000, [policy(mode="Observe")]
        world.tick(30)
        assert slow.target == 3000

    def test_nothing_is_taken_back_before_libvirt_has_answered(self):
        late = Guest("late", 500, 4000, moves_at=50, late=6)
        world = Node([late], policies=[policy()])
        to_the_first_order(world)
        world.policies = [policy(mode="Observe")]
        world.tick(5)
        assert len(world.actions()) == 1
        world.tick(30)
        assert (late.actual, [action.reason for action in world.actions()][1:]) == (4000, [Reason.HANDED_OVER])

    def test_a_failure_that_is_over_is_forgotten(self):
        desk = Desk()
        desk.order(1000)
        assert desk.follow(6, 2000) is Event.STALLED
        assert desk.balloon.origin.tolist() == [2000 * MIB]
        assert desk.follow(60, 2000) is Event.EXPIRED
        assert np.isnan(desk.balloon.origin).all()

    def test_a_guest_that_boots_meanwhile_is_not_squeezed_by_the_old_order(self):
        slow = Guest("slow", 500, 4000, moves_at=50)
        world = Node([slow], policies=[policy()]).tick(12)
        world.reset(slow)
        world.policies = [policy(mode="Observe")]
        world.tick(30)
        assert (slow.actual, slow.target) == (4000, 4000)

    def test_one_that_does_not_take_it_is_given_it_once_and_it_stays_its_own(self):
        slow = Guest("slow", 500, 4000, moves_at=50)
        world = Node([slow], policies=[policy()]).tick(12)
        world.policies = [policy(mode="Observe")]
        slow.moves_at = 0
        world.tick(120)
        assert len(world.actions()) == 2
        assert world.state.balloon.allowance.tolist() == [4000 * MIB]

    def test_a_grow_under_way_goes_on(self):
        """Its size may be old news: told to stay there, its guest would lose what it has by now."""
        slow = Guest("slow", 500, 600, moves_at=20)
        world = Node([slow]).tick(10)
        slow.demand, before = 900, len(world.actions())
        while len(world.actions()) == before:
            world.tick()
        world.policies, target = [policy(mode="Observe")], slow.target
        world.tick(60)
        assert slow.actual == target
        assert Reason.HANDED_OVER not in {action.reason for action in world.actions()}

    def test_a_refused_end_is_asked_for_again(self):
        slow = Guest("slow", 500, 4000, moves_at=50)
        world = Node([slow]).tick(12)
        world.policies, world.refuse_next = [policy(mode="Observe")], "slow"
        world.tick(30)
        assert [action.reason for action in world.actions()][1:] == [Reason.HANDED_OVER] * 2
        assert slow.target == 4000

    def test_a_guest_that_cannot_be_reached_is_told_when_it_can(self):
        slow = Guest("slow", 500, 4000, moves_at=50)
        world = Node([slow]).tick(12)
        slow.life, slow.stuck = Life.PAUSED, True
        world.tick(2)
        world.policies = [policy(mode="Observe")]
        world.tick(10)
        assert len(world.actions()) == 1
        slow.life, slow.stuck = Life.RUNNING, False
        world.tick(10)
        assert [action.reason for action in world.actions()][1:] == [Reason.HANDED_OVER]


class TestGuestsThatTakeBack:
    def test_twice_in_a_row_it_does_not_give(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1000)
        assert (desk.follow(1, 2000), desk.phase) == (Event.RESIZED, Phase.OVERRULED)
        desk.follow(60, 2000)
        desk.order(1000)
        desk.follow(1, 1000)
        assert (desk.follow(1, 2000), desk.phase) == (Event.REVERTED, Phase.STUCK)
        assert (desk.committed(2000), desk.balloon.rest_from[0]) == (2000, desk.now + 1)

    def test_a_grow_in_between_does_not_begin_the_count_anew(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1000)
        desk.follow(1, 2000)
        for target in (2100, 1000):
            desk.follow(60, 2000 if target > 2000 else 2100)
            desk.order(target, float(desk.balloon.settled[0] / MIB))
            desk.follow(1, target)
        assert desk.follow(1, 2000) is Event.REVERTED

    def test_a_shrink_that_stands_begins_the_count_anew(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1000)
        desk.follow(1, 2000)
        for target, size in ((1000, 2000), (900, 1000)):
            desk.follow(60, size)
            desk.order(target, size)
            desk.follow(1, target)
        assert desk.follow(1, 2000) is Event.RESIZED

    def test_long_after_a_shrink_it_was_somebody_else(self):
        desk = Desk()
        for _ in range(2):
            desk.order(1000)
            desk.follow(1, 1000)
            assert desk.follow(31, 2000) is Event.RESIZED
            desk.follow(60, 2000)

    def test_such_a_guest_is_stuck_and_asked_ever_more_rarely(self):
        world = Node([Guest("grasping", 200, 2000, deflates_to=4096)]).tick(600)
        assert world.reason("grasping") is Reason.STUCK
        asked = [action for action in world.actions() if action.reason.moves]
        assert len(asked) <= 5


class TestGrain:
    @pytest.mark.parametrize("miss", [1, 2, 4])
    def test_a_balloon_that_misses_by_a_page_has_arrived(self, miss):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1000 + miss)
        assert desk.follow(2, 1000 + miss) is (Event.NONE if miss < 1 else Event.ARRIVED)
        assert desk.phase is Phase.IDLE

    def test_a_balloon_that_misses_by_more_is_stuck(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1005)
        assert desk.follow(2, 1005) is Event.NONE
        assert desk.follow(4, 1005) is Event.STALLED

    def test_what_a_grow_is_short_of_stays_committed_and_may_come(self):
        desk = Desk()
        desk.follow(0, 2000)
        desk.order(1500, 1000)
        desk.follow(1, 1497)
        assert desk.follow(2, 1497) is Event.ARRIVED
        assert desk.committed(1497) == 1500
        assert desk.follow(10, 1500) is Event.FOLLOWED
        assert desk.committed(1500) == 1500

    def test_what_a_shrink_was_short_of_may_come(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(1, 1003)
        desk.follow(2, 1003)
        assert desk.follow(10, 1000) is Event.FOLLOWED
        assert desk.follow(1, 1000) is Event.NONE

    @pytest.mark.parametrize("misses", [2, 3.5])
    def test_a_node_of_coarse_balloons_has_none_that_is_stuck(self, misses):
        world = Node([Guest("coarse", 500, 4000, misses=misses)])
        for demand in (500, 2000, 600, 2500):
            world.guests["coarse"].demand = demand
            world.tick(40)
        reasons = {each.reason for made in world.decisions for each in (*made.notices, *made.actions)}
        assert not {Reason.STUCK, Reason.OUTSIDE_CHANGE} & reasons


class TestSurprises:
    @pytest.mark.parametrize(
        ("facts", "since_boot", "event"),
        [({}, 1000, Event.RESIZED), ({"autodeflate": True}, 1000, Event.DEFLATED), ({}, 1, Event.DRIFTED)],
    )
    def test_statistics_count_again_a_second_later_and_proposals_are_void(self, facts, since_boot, event):
        desk = Desk(**facts)
        desk.balloon = replace(desk.balloon, proposed=np.array([1.0]))
        desk.balloon = replace(desk.balloon, settles_at=np.array([NOW + 5.0 - since_boot]))
        assert desk.follow(1, 2100) is event
        assert desk.balloon.rest_from[0] == desk.now + 1
        assert np.isnan(desk.balloon.proposed[0])
        assert desk.follow(0.5, 2100) is Event.NONE

    def test_each_move_of_a_booting_guest_prolongs_its_settling(self):
        desk = Desk()
        desk.balloon = replace(desk.balloon, settles_at=np.array([NOW + 5.0]))
        assert [desk.follow(4, size) for size in (1900, 1800, 1700)] == [Event.DRIFTED] * 3
        assert desk.follow(6, 1600) is Event.RESIZED

    def test_a_guest_that_stops_and_comes_again_is_nobodys_change(self):
        desk = Desk()
        assert [desk.follow(1, size) for size in (0, 1500)] == [Event.DRIFTED] * 2

    @pytest.mark.parametrize(
        ("size", "event"),
        [(2100, Event.FOLLOWED), (2200, Event.FOLLOWED), (2210, Event.RESIZED), (1900, Event.RESIZED)],
    )
    def test_what_a_stuck_guest_was_allowed_to_take_is_nobodys_change(self, size, event):
        desk = Desk()
        desk.balloon = replace(desk.balloon, allowance=np.array([2200.0 * MIB]))
        assert desk.committed(2000) == 2200
        assert desk.follow(1, size) is event

    @pytest.mark.parametrize(("target", "size"), [(1000, 2000), (1000, 1999), (2500, 2000)])
    def test_only_a_guest_that_has_begun_to_give_can_choke(self, target, size):
        desk = Desk()
        desk.order(target)
        assert desk.follow(3, size, choked_at=NOW + 3) is Event.NONE

    def test_one_that_helps_itself_does_not_choke(self):
        desk = Desk(autodeflate=True)
        desk.order(1000)
        desk.follow(2, 1900)
        assert desk.follow(1, 1900, choked_at=NOW + 3) is Event.NONE

    def test_an_unanswered_order_has_not_arrived_by_coming_close(self):
        desk = Desk()
        desk.order(1000)
        desk.answer(Result.UNKNOWN)
        assert [desk.follow(60, 1003), desk.follow(60, 1003)] == [Event.NONE] * 2

    def test_it_is_left_alone_until_both_times_are_over(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(6, 2000)
        desk.follow(50, 1500)
        assert (desk.phase, desk.follow(15, 1500)) == (Phase.OVERRULED, Event.NONE)
        assert desk.follow(15, 1500) is Event.EXPIRED


class TestRecords:
    def test_an_order_counts_once(self):
        desk = Desk()
        desk.order(1000)
        assert desk.balloon.reallocations.tolist() == [1]

    def test_a_balloon_that_comes_closer_is_not_stuck_however_long_it_takes(self):
        desk = Desk()
        desk.order(1000)
        assert [desk.follow(4, size) for size in (1800, 1600, 1400)] == [Event.NONE] * 3

    def test_a_size_that_somebody_sets_is_not_taken_back_by_the_guest(self):
        desk = Desk()
        desk.order(1000)
        desk.follow(2, 1000)
        assert desk.follow(100, 1500) is Event.RESIZED
        assert desk.balloon.reverted_at.tolist() == [-np.inf]


SEEN = {"seen_at": NOW, "stamp": 1.7e9}


class TestOneOfTwo:
    """What happens to a balloon says nothing of another."""

    def test_a_paused_guest_waits_for_no_balloon_of_its_neighbour(self):
        pair = rows(Balloon, 2, phase=[Phase.IDLE, Phase.MOVING], target=[np.nan, 15 * MIB], settled=20 * MIB)
        pair = replace(pair, progress=np.array([np.nan, 20 * MIB]), progress_at=np.full(2, NOW - 1))
        seen = rows(Observation, 2, allocation=20 * MIB, life=int(Life.PAUSED), **SEEN)
        followed = stage.follow(pair, seen, inventory(2), NOW, TUNING)
        assert followed.progress_at.tolist() == [NOW - 1, NOW]

    def test_what_one_was_allowed_stays_when_the_other_has_taken_it(self):
        pair = rows(Balloon, 2, settled=20 * MIB, allowance=[20 * MIB, 30 * MIB], settles_at=0.0)
        seen = rows(Observation, 2, allocation=[20 * MIB, 30 * MIB], **SEEN)
        followed = stage.follow(pair, seen, inventory(2), NOW, TUNING)
        assert (followed.allowance[0], np.isnan(followed.allowance[1])) == (20 * MIB, True)

    @pytest.mark.parametrize(("settles_at", "then"), [(0, NOW + 5), (np.nan, NOW + 5), (NOW + 9, NOW + 9)])
    def test_a_balloon_that_is_stopped_may_come_back_for_a_while(self, settles_at, then):
        pair = rows(Balloon, 2, phase=Phase.MOVING, target=15 * MIB, settles_at=settles_at)
        seen = rows(Observation, 2, allocation=20 * MIB)
        halted = stage.halted(pair, seen, np.array([False, True]), seen.allocation, NOW, TUNING)
        assert halted.settles_at[1] == then
        assert (halted.target / MIB).tolist() == [15, 20]


class TestRests:
    def after_each_refusal(self, *, in_need: bool) -> list[float]:
        """Seconds from every refusal until another order may be given."""
        desk, rests = Desk(), []
        for _ in range(11):
            desk.order(1000)
            desk.answer(Result.REFUSED)
            rests.append(self.rest(desk, in_need=in_need))
        return rests

    def rest(self, desk: Desk, *, in_need: bool) -> float:
        begun = desk.now
        while not desk.free(in_need=in_need):
            desk.now += 1
        return desk.now - begun

    def test_after_refusals_double_up_to_an_hour(self):
        assert self.after_each_refusal(in_need=False) == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]

    def test_of_a_guest_in_need_are_half_a_minute_at_most(self):
        assert self.after_each_refusal(in_need=True) == [5, 10, 20, *[30] * 8]

    def test_of_a_stuck_balloon_double_up_to_an_hour(self):
        desk, rests = Desk(), []
        for _ in range(8):
            desk.order(1000)
            assert desk.follow(6, 2000) is Event.STALLED
            rests.append(self.rest(desk, in_need=False))
            desk.follow(0, 2000)
        assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600]


class TestReleases:
    @pytest.mark.parametrize(
        ("size", "seconds", "goes_on"),
        [(2000, 59, True), (2000, 60, False), (4095, 1, True), (4095.1, 1, False)],
    )
    def test_one_ends_at_the_definition_or_after_a_minute(self, size, seconds, goes_on):
        desk = Desk()
        unowned = assign([Guest("guest", 500, 2000).facts()], [], NodeIdentity("node")).inventory
        desk.balloon = stage.hand_over(desk.balloon, desk.inventory, unowned, ROW, ROW, desk.now)
        desk.inventory = unowned
        assert desk.balloon.release.tolist() == [True]
        desk.follow(seconds, size)
        assert desk.balloon.release.tolist() == [goes_on]

    def test_a_domain_that_keeps_its_owner_is_not_released(self):
        desk = Desk()
        handed = stage.hand_over(desk.balloon, desk.inventory, desk.inventory, ROW, ROW, desk.now)
        assert handed.release.tolist() == [False]

    def test_a_domain_that_nobody_owned_is_not_released(self):
        unowned = assign([Guest("guest", 500, 2000).facts()], [], NodeIdentity("node")).inventory
        new, old = np.array([-1]), Desk()
        for before, same in ((old.inventory, new), (unowned, ROW)):
            handed = stage.hand_over(old.balloon, before, unowned, same, same, NOW)
            assert handed.release.tolist() == [False]


UNOWNED = {"policy": -1, "obstacle": int(Reason.NO_POLICY), "enforce": False}


class TestHandingOver:
    """To the rows of a new inventory."""

    def handed(self, *, kept: int = 0, old: dict | None = None, new: dict | None = None, **columns) -> dict:
        before = rows(Balloon, 1, **columns)
        made = stage.hand_over(before, inventory(1, **old or {}), inventory(1, **new or {}), ROW, np.array([kept]), NOW)
        return {name: values[0] for name, values in plain(made).items()}

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({"phase": Phase.MOVING, "target": 15, "previous": 18}, (Phase.IDLE, 15, None, None)),
            ({"phase": Phase.UNKNOWN, "target": 15, "previous": 18}, (Phase.UNKNOWN, 18, 15, 18)),
            ({"phase": Phase.UNKNOWN, "target": 15, "allowance": 17}, (Phase.UNKNOWN, 17, 15, None)),
            ({"phase": Phase.STUCK, "allowance": 17}, (Phase.IDLE, 17, None, None)),
            ({"phase": Phase.IDLE}, (Phase.IDLE, None, None, None)),
        ],
    )
    def test_a_guest_that_was_reset_may_grow_to_the_most_it_was_told_and_libvirt_still_owes_its_answer(
        self, before, after
    ):
        made = self.handed(kept=-1, progress=20, **before)
        assert (made["phase"], made["allowance"], made["target"], made["previous"]) == after
        assert made["progress"] == 20

    @pytest.mark.parametrize("phase", [Phase.MOVING, Phase.UNKNOWN])
    def test_one_that_was_not_goes_on_as_before(self, phase):
        made = self.handed(phase=phase, target=15, previous=18, progress=20)
        assert [made[name] for name in ("phase", "allowance", "target", "previous")] == [phase, None, 15, 18]

    @pytest.mark.parametrize(("new", "proposed"), [({"enforce": False}, 7), ({}, None), (UNOWNED, None)])
    def test_proposals_last_as_long_as_the_guest_is_observed(self, new, proposed):
        assert self.handed(new=new, proposed=7)["proposed"] == proposed

    @pytest.mark.parametrize(
        ("old", "new", "released"),
        [
            ({}, UNOWNED, True),
            ({"enforce": False}, UNOWNED, False),
            ({"restore": False}, UNOWNED, False),
            (UNOWNED, UNOWNED, False),
            ({}, {}, False),
        ],
    )
    def test_a_guest_is_released_that_an_acting_policy_gives_back(self, old, new, released):
        made = self.handed(old=old, new=new, release_until=3)
        assert (made["release"], made["release_until"]) == (released, NOW + 60 if released else 3)

    @pytest.mark.parametrize(("new", "goes_on"), [(UNOWNED, True), ({}, False)])
    def test_a_release_goes_on_as_long_as_nobody_owns_the_guest(self, new, goes_on):
        made = self.handed(old=UNOWNED, new=new, release=True, release_until=3)
        assert (made["release"], made["release_until"]) == (goes_on, 3)


class TestAbandonedOrders:
    @pytest.mark.parametrize(
        ("seen", "expected"),
        [
            ({}, True),
            ({"life": int(Life.PAUSED)}, False),
            ({"allocation": 0.0}, False),
            ({"allocation": 1000.0 * MIB}, False),
        ],
    )
    def test_they_end_as_soon_as_libvirt_would_take_it(self, seen, expected):
        desk = Desk()
        desk.order(1000)
        observed = desk.seen(1500, **seen)
        assert not stage.abandoned(desk.balloon, observed, desk.inventory, desk.now, TUNING)[0]
        observing = assign(
            [Guest("guest", 500, 2000).facts()], [policy(mode="Observe")], NodeIdentity("node")
        ).inventory
        assert stage.abandoned(desk.balloon, observed, observing, desk.now, TUNING)[0] == expected
        desk.answer(Result.REFUSED)
        desk.order(1000)
        assert not stage.abandoned(desk.balloon, observed, observing, desk.now, TUNING)[0]

    def test_one_that_ends_takes_no_other_with_it(self):
        going = {"phase": Phase.MOVING, "target": 10 * MIB, "origin": 30 * MIB, "last_reason": Reason.RELEASE_RESTORE}
        told = rows(Balloon, 3, release=[False, False, True], **going)
        seen, listed = rows(Observation, 3, allocation=20 * MIB), inventory(3, enforce=[False, True, False])
        assert stage.abandoned(told, seen, listed, NOW, TUNING).tolist() == [True, False, False]


class TestMemoryInTheHandsOfGuests:
    @pytest.mark.parametrize(
        ("seen", "least", "most"),
        [
            ({"rss": 800.0 * MIB, "rss_size": 1000.0 * MIB, "rss_known": True}, 800, 800),
            ({"rss": 800.0 * MIB, "rss_size": 900.0 * MIB, "rss_known": True}, 800, 900),
            ({"rss": 1200.0 * MIB, "rss_size": 1000.0 * MIB, "rss_known": True}, 1000, 1000),
            ({"rss": 800.0 * MIB, "rss_size": 1000.0 * MIB, "rss_known": False}, 800, 1000),
            ({"allocation": 0.0, "rss": 800.0 * MIB, "rss_known": True}, 0, 0),
        ],
    )
    def test_it_is_an_interval(self, seen, least, most):
        desk = Desk()
        observed = desk.seen(1000, **seen)
        committed = stage.committed(desk.balloon, observed, desk.inventory)
        assert held(desk.balloon, observed, desk.inventory, committed)[:2] == (least * MIB, most * MIB)

    def test_a_guest_that_has_ended_holds_nothing_whatever_it_was_told(self):
        told = rows(Balloon, 1, phase=Phase.MOVING, target=1000 * MIB)
        seen = rows(Observation, 1, allocation=0.0)
        assert held(told, seen, inventory(1), stage.committed(told, seen, inventory(1)))[:2] == (0, 0)

    def test_a_guest_may_have_followed_the_order_before_one_that_is_not_answered_and_no_other(self):
        told = rows(Balloon, 2, phase=[Phase.UNKNOWN, Phase.MOVING], target=1500 * MIB, previous=800 * MIB)
        seen = rows(Observation, 2, allocation=2000 * MIB, rss=2000 * MIB, rss_size=2000 * MIB, rss_known=True)
        assert held(told, seen, inventory(2), np.full(2, 2000 * MIB)).least == (800 + 1500) * MIB

"""What becomes of orders: phases and their transitions, and who may be told what next."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_node import ScriptedGuest, ScriptedNode, policy, to_the_first_order
from stages import MIB, inventory, plain, rows

from controller.api.wishes import Wishes
from controller.engine import balloon as stage
from controller.engine.host import held
from controller.engine.observation import Observation
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.phases import Balloon, Phase, PhaseEvent, after
from controller.engine.reasons import Reason
from controller.engine.snapshot import OrderOutcome, OrderResult, RunState
from controller.engine.tuning import Tuning

TUNING = Tuning()
NOW = 1000.0
ROW = np.array([0])
ALL = np.array([True])
HALTED = np.array([int(Reason.NO_BUDGET)])
"""Why a shrink ends where it is."""


class BalloonStage:
    """One balloon of a guest of 2000 MiB, long at rest, through the stage alone. Sizes in MiB."""

    def __init__(self, **facts) -> None:
        self.inventory = assign(
            [ScriptedGuest("guest", 500, 2000, **facts).facts()], [policy()], NodeIdentity("node")
        ).inventory
        self.now = NOW
        self.balloon = replace(Balloon.blank(1), settles_at=np.array([0.0]))
        self.follow(0, 2000)

    def seen(self, size: float, **columns) -> Observation:
        return rows(Observation, 1, **{"allocation": size * MIB, "seen_at": self.now, "stamp": 1.7e9} | columns)

    def follow(self, seconds: float, size: float, **columns) -> PhaseEvent:
        self.now += seconds
        observation = self.seen(size, **columns)
        self.balloon = stage.follow(self.balloon, observation, self.inventory, self.now, TUNING)
        return PhaseEvent(int(self.balloon.event[0]))

    def order(self, target: float, size: float = 2000) -> None:
        reasons = np.array([int(Reason.FORECAST_SHRINK)])
        sizes = np.array([float(target * MIB)])
        self.balloon = stage.ordered(self.balloon, self.seen(size), self.inventory, ALL, sizes, reasons, self.now)

    def answer(self, result: OrderResult) -> None:
        self.balloon = stage.answered(self.balloon, [OrderOutcome(0, result)], self.now, TUNING)

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
            (Phase.IDLE, PhaseEvent.ORDERED, Phase.MOVING),
            (Phase.UNKNOWN, PhaseEvent.ORDERED, Phase.UNKNOWN),
            (Phase.MOVING, PhaseEvent.UNANSWERED, Phase.UNKNOWN),
            (Phase.UNKNOWN, PhaseEvent.TAKEN, Phase.MOVING),
            (Phase.UNKNOWN, PhaseEvent.STALLED, Phase.UNKNOWN),
            (Phase.MOVING, PhaseEvent.STALLED, Phase.STUCK),
            (Phase.STUCK, PhaseEvent.EXPIRED, Phase.IDLE),
            (Phase.MOVING, PhaseEvent.EXPIRED, Phase.MOVING),
            (Phase.IDLE, PhaseEvent.TAKEN, Phase.IDLE),
        ],
    )
    def test_an_event_counts_only_where_the_table_says(self, phase, event, then):
        assert after(np.array([phase]), np.array([event])).tolist() == [then]

    def test_an_order_is_under_way_until_its_size_is_seen(self):
        driver = BalloonStage()
        driver.order(1000)
        assert (driver.follow(1, 1500), driver.phase) == (PhaseEvent.NONE, Phase.MOVING)
        assert (driver.follow(1, 1000), driver.phase) == (PhaseEvent.ARRIVED, Phase.IDLE)

    def test_an_order_without_progress_ends_stuck_after_the_deadline(self):
        driver = BalloonStage()
        driver.order(1000)
        assert driver.follow(5, 2000) is PhaseEvent.NONE
        assert (driver.follow(0.1, 2000), driver.phase) == (PhaseEvent.STALLED, Phase.STUCK)
        assert not driver.free()
        assert driver.free(in_need=True)
        assert (driver.follow(60, 2000), driver.phase) == (PhaseEvent.EXPIRED, Phase.IDLE)
        assert driver.free()

    @pytest.mark.parametrize("setting", [{"deadline": 8.0}, {"interval_minimum": 4.0}])
    def test_the_deadline_is_the_actuators_or_two_shortest_intervals_where_these_are_longer(self, setting):
        driver = BalloonStage()
        driver.inventory = replace(driver.inventory, **{name: np.array([value]) for name, value in setting.items()})
        driver.order(1000)
        assert [driver.follow(8, 2000), driver.follow(0.1, 2000)] == [PhaseEvent.NONE, PhaseEvent.STALLED]

    @pytest.mark.parametrize(("before", "event"), [(1003.4, PhaseEvent.ARRIVED), (1003.6, PhaseEvent.NONE)])
    def test_a_balloon_that_still_creeps_closer_has_not_missed_yet(self, before, event):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, before)
        assert driver.follow(2, 1003) is event

    def test_a_paused_guest_is_not_stuck(self):
        driver = BalloonStage()
        driver.order(1000)
        assert driver.follow(60, 2000, run_state=int(RunState.PAUSED)) is PhaseEvent.NONE

    def test_a_choking_guest_is_stuck_at_once(self):
        driver = BalloonStage()
        driver.order(1000)
        assert driver.follow(2, 1900) is PhaseEvent.NONE
        assert driver.follow(1, 1900, choked_at=NOW + 3) is PhaseEvent.CHOKED

    def test_an_arrival_ends_the_growth_of_rests(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.answer(OrderResult.REFUSED)
        driver.order(1000)
        driver.follow(6, 2000)
        assert (driver.balloon.backoff[0], driver.balloon.refusal_rest[0]) == (60, 5)
        driver.order(1000)
        driver.follow(1, 1000)
        assert (driver.balloon.backoff[0], driver.balloon.refusal_rest[0]) == (0, 0)

    @pytest.mark.parametrize(("answer", "free"), [(OrderResult.REFUSED, False), (OrderResult.WITHDRAWN, True)])
    def test_an_order_that_was_taken_back_is_no_refusal_to_rest_after(self, answer, free):
        driver = BalloonStage()
        driver.order(1000)
        driver.answer(OrderResult.UNKNOWN)
        driver.answer(answer)
        assert (driver.phase, driver.free(), driver.committed(2000)) == (Phase.IDLE, free, 2000)

    def test_a_size_set_by_someone_else_is_left_alone(self):
        driver = BalloonStage()
        assert (driver.follow(1, 1500), driver.phase) == (PhaseEvent.RESIZED, Phase.OVERRULED)
        assert not driver.free()
        assert (driver.follow(30, 1500), driver.phase) == (PhaseEvent.EXPIRED, Phase.IDLE)

    def test_a_guest_that_may_deflate_its_balloon_is_no_administrator(self):
        driver = BalloonStage(autodeflate=True)
        driver.order(1000)
        driver.follow(1, 1000)
        assert (driver.follow(1, 1200), driver.phase) == (PhaseEvent.DEFLATED, Phase.IDLE)

    def test_late_news_of_what_the_balloon_did_before_is_nobodys_change(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1500)
        driver.order(1800, 1500)
        assert driver.follow(1.9, 1400) is PhaseEvent.NONE
        assert driver.follow(0.2, 1300) is PhaseEvent.RESIZED


class TestUnknownOutcomes:
    def test_both_sizes_stay_committed_until_libvirt_answers(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1500)
        driver.order(600, 1500)
        driver.answer(OrderResult.UNKNOWN)
        assert (driver.phase, driver.free(in_need=True)) == (Phase.UNKNOWN, False)
        driver.follow(60, 800)
        assert (driver.phase, driver.committed(800)) == (Phase.UNKNOWN, 1000)
        driver.answer(OrderResult.DONE)
        assert (driver.phase, driver.committed(800)) == (Phase.MOVING, 800)

    def test_a_late_refusal_leaves_what_was_ordered_before(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1500)
        driver.order(1900, 1500)
        driver.answer(OrderResult.UNKNOWN)
        assert driver.committed(1500) == 1900
        driver.answer(OrderResult.REFUSED)
        assert (driver.phase, driver.balloon.target[0] / MIB, driver.committed(1500)) == (Phase.MOVING, 1000, 1500)

    def test_meanwhile_it_may_follow_the_order_before(self):
        driver = BalloonStage()
        driver.order(500)
        driver.follow(1, 1500)
        driver.order(1900, 1500)
        driver.answer(OrderResult.UNKNOWN)
        assert driver.follow(10, 1000) is PhaseEvent.NONE
        driver.answer(OrderResult.DONE)
        assert driver.follow(1, 1000) is PhaseEvent.NONE
        assert (driver.follow(1, 1900), driver.phase) == (PhaseEvent.ARRIVED, Phase.IDLE)

    def test_a_guest_that_boots_anew_does_not_answer_for_libvirt(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.answer(OrderResult.UNKNOWN)
        same, reset = np.array([0]), np.array([-1])
        driver.balloon = stage.hand_over(driver.balloon, driver.inventory, driver.inventory, same, reset, driver.now)
        assert (driver.phase, driver.free()) == (Phase.UNKNOWN, False)
        assert driver.committed(500) == 1000

    def test_a_look_that_shows_the_size_answers_too(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.answer(OrderResult.UNKNOWN)
        assert (driver.follow(60, 1000), driver.phase) == (PhaseEvent.ARRIVED, Phase.IDLE)

    def test_an_order_to_stay_put_is_not_answered_by_the_size(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1500)
        size = np.array([1500.0 * MIB])
        driver.balloon = stage.ordered(
            driver.balloon, driver.seen(1500), driver.inventory, ALL, size, HALTED, driver.now
        )
        driver.answer(OrderResult.UNKNOWN)
        assert (driver.follow(1, 1500), driver.phase) == (PhaseEvent.NONE, Phase.UNKNOWN)
        driver.answer(OrderResult.DONE)
        assert (driver.follow(1, 1500), driver.phase) == (PhaseEvent.ARRIVED, Phase.IDLE)

    def test_a_late_order_is_not_given_twice(self):
        quick = policy(budget={"maximum": "2600Mi"}, advanced={"shrink": {"stabilizationSeconds": 3600}})
        late, other = ScriptedGuest("late", 960, 1000, late=6), ScriptedGuest("other", 800, 1000)
        world = ScriptedNode([late, other], policies=[quick])
        for second in range(60):
            late.demand = 960 if second < 5 else 1500
            other.demand = 800 if second < 6 else 1500
            world.tick()
            assert world.allocated() <= 2600
        assert late.actual > 1000
        assert Reason.OUTSIDE_CHANGE not in [each.reason for made in world.decisions for each in made.notices]

    def test_a_late_order_that_is_refused_is_free_for_others(self):
        quick = policy(budget={"maximum": "2600Mi"}, advanced={"shrink": {"stabilizationSeconds": 3600}})
        late, other = ScriptedGuest("late", 960, 1000, late=6), ScriptedGuest("other", 800, 1000)
        world = ScriptedNode([late, other], policies=[quick])
        while not world.late_orders:
            world.tick()
        world.refuse_next = "late"
        late.demand, other.demand = 200, 1500
        world.tick(30)
        assert other.actual >= 1500


def _observe(world: ScriptedNode, _: ScriptedGuest) -> None:
    world.policies = [policy(mode="Observe")]


def _delete(world: ScriptedNode, _: ScriptedGuest) -> None:
    world.policies = []


def _opt_out(_: ScriptedNode, guest: ScriptedGuest) -> None:
    guest.wishes = Wishes(opt_out=True)


def _pin(_: ScriptedNode, guest: ScriptedGuest) -> None:
    guest.obstacle = Reason.HOST_DEVICES


CHANGES = [_observe, _delete, _opt_out, _pin]
"""Every way for a domain to be no longer Ballast's to change; the policy has `release: Keep`."""


class TestOrdersEndWithTheRightToGiveThem:
    @pytest.mark.parametrize("change", CHANGES)
    def test_a_shrink_under_way_is_taken_back(self, change):
        slow = ScriptedGuest("slow", 500, 4000, moves_at=50)
        world = ScriptedNode([slow], policies=[policy(release="Keep")]).tick(12)
        assert (slow.target < 700, slow.actual < 3800) == (True, True)
        change(world, slow)
        world.tick(30)
        assert (slow.actual, slow.target) == (4000, 4000)
        assert [action.reason for action in world.actions()] == [Reason.FORECAST_SHRINK, Reason.HANDED_OVER]

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("seconds", [3, 20], ids=["in the step that finds it stuck", "stuck for long"])
    def test_what_a_guest_could_not_give_is_given_back_with_the_rest(self, change, seconds):
        stiff = ScriptedGuest("stiff", 500, 4000, keeps=3000)
        world = ScriptedNode([stiff], policies=[policy(release="Keep")])
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
        slow, other = ScriptedGuest("slow", 500, 4000, moves_at=50), ScriptedGuest("other", 900, 1300)
        world = ScriptedNode([slow, other], policies=[policy()]).tick(7)
        while slow.actual > 3700:
            world.tick()
        other.actual = other.target = 1300
        world.policies = [bounded, policy("seen", mode="Observe", domainSelector={"names": ["slow"]})]
        world.tick(30)
        assert slow.actual == given

    def test_two_share_what_is_free_by_weight(self):
        first = ScriptedGuest("first", 500, 4000, moves_at=50, wishes=Wishes(weight=300))
        second = ScriptedGuest("second", 500, 4000, moves_at=50)
        world = ScriptedNode([first, second], policies=[policy()]).tick(7)
        while first.actual > 3600:
            world.tick()
        both = first.actual + second.actual
        world.policies = [policy(mode="Observe", budget={"maximum": f"{both + 300:.0f}Mi"})]
        world.tick(30)
        assert (first.actual, second.actual) == (3850, 3650)  # of 3550 each, when it is read

    def test_what_a_guest_has_not_shown_that_it_can_give_is_not_asked_for_again_at_once(self):
        liar = ScriptedGuest("liar", 200, 2000, moves_at=50, statistics={"unused": 20 * MIB})
        world = ScriptedNode([liar], policies=[policy()])
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
        slow = ScriptedGuest("slow", 500, 3000, definition=3500, moves_at=50)
        world = ScriptedNode([slow], policies=[policy()]).tick(12)
        assert slow.actual < 2800
        world.policies = []
        world.tick(3)
        assert slow.target == 3500
        world.tick(30)
        assert slow.actual == 3500

    def test_a_shrink_to_the_definition_is_not_taken_back(self):
        slow = ScriptedGuest("slow", 500, 4000, definition=2000, moves_at=50)
        world = ScriptedNode([slow], policies=[policy(advanced={"shrink": {"stabilizationSeconds": 3600}})]).tick(12)
        world.policies = []
        world.tick(20)
        assert [action.reason for action in world.actions()] == [Reason.RELEASE_RESTORE]

    def test_no_more_is_given_back_than_the_guest_can_have_by_now(self):
        slow = ScriptedGuest("slow", 500, 4000, moves_at=200)
        world = ScriptedNode([slow], policies=[policy()]).tick(15)
        assert slow.actual < 3000
        slow.maximum, world.policies = 3000, [policy(mode="Observe")]
        world.tick(30)
        assert slow.target == 3000

    def test_nothing_is_taken_back_before_libvirt_has_answered(self):
        late = ScriptedGuest("late", 500, 4000, moves_at=50, late=6)
        world = ScriptedNode([late], policies=[policy()])
        to_the_first_order(world)
        world.policies = [policy(mode="Observe")]
        world.tick(5)
        assert len(world.actions()) == 1
        world.tick(30)
        assert (late.actual, [action.reason for action in world.actions()][1:]) == (4000, [Reason.HANDED_OVER])

    def test_a_failure_that_is_over_is_forgotten(self):
        driver = BalloonStage()
        driver.order(1000)
        assert driver.follow(6, 2000) is PhaseEvent.STALLED
        assert driver.balloon.origin.tolist() == [2000 * MIB]
        assert driver.follow(60, 2000) is PhaseEvent.EXPIRED
        assert np.isnan(driver.balloon.origin).all()

    def test_a_guest_that_boots_meanwhile_is_not_squeezed_by_the_old_order(self):
        slow = ScriptedGuest("slow", 500, 4000, moves_at=50)
        world = ScriptedNode([slow], policies=[policy()]).tick(12)
        world.reset(slow)
        world.policies = [policy(mode="Observe")]
        world.tick(30)
        assert (slow.actual, slow.target) == (4000, 4000)

    def test_one_that_does_not_take_it_is_given_it_once_and_it_stays_its_own(self):
        slow = ScriptedGuest("slow", 500, 4000, moves_at=50)
        world = ScriptedNode([slow], policies=[policy()]).tick(12)
        world.policies = [policy(mode="Observe")]
        slow.moves_at = 0
        world.tick(120)
        assert len(world.actions()) == 2
        assert world.state.balloon.allowance.tolist() == [4000 * MIB]

    def test_a_grow_under_way_goes_on(self):
        """Its size may be old news: told to stay there, its guest would lose what it has by now."""
        slow = ScriptedGuest("slow", 500, 600, moves_at=20)
        world = ScriptedNode([slow]).tick(10)
        slow.demand, before = 900, len(world.actions())
        while len(world.actions()) == before:
            world.tick()
        world.policies, target = [policy(mode="Observe")], slow.target
        world.tick(60)
        assert slow.actual == target
        assert Reason.HANDED_OVER not in {action.reason for action in world.actions()}

    def test_a_refused_end_is_asked_for_again(self):
        slow = ScriptedGuest("slow", 500, 4000, moves_at=50)
        world = ScriptedNode([slow]).tick(12)
        world.policies, world.refuse_next = [policy(mode="Observe")], "slow"
        world.tick(30)
        assert [action.reason for action in world.actions()][1:] == [Reason.HANDED_OVER] * 2
        assert slow.target == 4000

    def test_a_guest_that_cannot_be_reached_is_told_when_it_can(self):
        slow = ScriptedGuest("slow", 500, 4000, moves_at=50)
        world = ScriptedNode([slow]).tick(12)
        slow.run_state, slow.stuck = RunState.PAUSED, True
        world.tick(2)
        world.policies = [policy(mode="Observe")]
        world.tick(10)
        assert len(world.actions()) == 1
        slow.run_state, slow.stuck = RunState.RUNNING, False
        world.tick(10)
        assert [action.reason for action in world.actions()][1:] == [Reason.HANDED_OVER]


class TestGuestsThatTakeBack:
    def test_twice_in_a_row_it_does_not_give(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1000)
        assert (driver.follow(1, 2000), driver.phase) == (PhaseEvent.RESIZED, Phase.OVERRULED)
        driver.follow(60, 2000)
        driver.order(1000)
        driver.follow(1, 1000)
        assert (driver.follow(1, 2000), driver.phase) == (PhaseEvent.REVERTED, Phase.STUCK)
        assert (driver.committed(2000), driver.balloon.rest_from[0]) == (2000, driver.now + 1)

    def test_a_grow_in_between_does_not_begin_the_count_anew(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1000)
        driver.follow(1, 2000)
        for target in (2100, 1000):
            driver.follow(60, 2000 if target > 2000 else 2100)
            driver.order(target, float(driver.balloon.settled[0] / MIB))
            driver.follow(1, target)
        assert driver.follow(1, 2000) is PhaseEvent.REVERTED

    def test_a_shrink_that_stands_begins_the_count_anew(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1000)
        driver.follow(1, 2000)
        for target, size in ((1000, 2000), (900, 1000)):
            driver.follow(60, size)
            driver.order(target, size)
            driver.follow(1, target)
        assert driver.follow(1, 2000) is PhaseEvent.RESIZED

    def test_long_after_a_shrink_it_was_somebody_else(self):
        driver = BalloonStage()
        for _ in range(2):
            driver.order(1000)
            driver.follow(1, 1000)
            assert driver.follow(31, 2000) is PhaseEvent.RESIZED
            driver.follow(60, 2000)

    @pytest.mark.parametrize("seconds", [200, pytest.param(600, marks=pytest.mark.slow)])
    def test_such_a_guest_is_stuck_and_asked_ever_more_rarely(self, seconds):
        world = ScriptedNode([ScriptedGuest("grasping", 200, 2000, deflates_to=4096)]).tick(seconds)
        assert world.reason("grasping") is Reason.STUCK
        asked = [action for action in world.actions() if action.reason.moves]
        assert len(asked) <= 5


class TestGrain:
    @pytest.mark.parametrize("miss", [1, 2, 4])
    def test_a_balloon_that_misses_by_a_page_has_arrived(self, miss):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1000 + miss)
        assert driver.follow(2, 1000 + miss) is (PhaseEvent.NONE if miss < 1 else PhaseEvent.ARRIVED)
        assert driver.phase is Phase.IDLE

    def test_a_balloon_that_misses_by_more_is_stuck(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1005)
        assert driver.follow(2, 1005) is PhaseEvent.NONE
        assert driver.follow(4, 1005) is PhaseEvent.STALLED

    def test_what_a_grow_is_short_of_stays_committed_and_may_come(self):
        driver = BalloonStage()
        driver.follow(0, 2000)
        driver.order(1500, 1000)
        driver.follow(1, 1497)
        assert driver.follow(2, 1497) is PhaseEvent.ARRIVED
        assert driver.committed(1497) == 1500
        assert driver.follow(10, 1500) is PhaseEvent.FOLLOWED
        assert driver.committed(1500) == 1500

    def test_what_a_shrink_was_short_of_may_come(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(1, 1003)
        driver.follow(2, 1003)
        assert driver.follow(10, 1000) is PhaseEvent.FOLLOWED
        assert driver.follow(1, 1000) is PhaseEvent.NONE

    @pytest.mark.parametrize("misses", [2, 3.5])
    def test_a_node_of_coarse_balloons_has_none_that_is_stuck(self, misses):
        world = ScriptedNode([ScriptedGuest("coarse", 500, 4000, misses=misses)])
        for demand in (500, 2000, 600, 2500):
            world.guests["coarse"].demand = demand
            world.tick(40)
        reasons = {each.reason for made in world.decisions for each in (*made.notices, *made.actions)}
        assert not {Reason.STUCK, Reason.OUTSIDE_CHANGE} & reasons

    @pytest.mark.parametrize(
        ("demand", "size", "limits", "reason"),
        [
            (3000, 512, {"maximum": "1Gi"}, Reason.AT_MAXIMUM),
            (980, 2048, {"maximum": "1Gi"}, Reason.WITHIN_THRESHOLD),
            (100, 512, {"minimum": "1Gi"}, Reason.WITHIN_THRESHOLD),
        ],
    )
    def test_one_that_was_sent_to_a_limit_is_not_sent_there_again(self, demand, size, limits, reason):
        world = ScriptedNode([ScriptedGuest("coarse", demand, size, misses=2)], [policy(limits=limits)]).tick(100)
        assert len(world.moves()) <= 2
        assert world.state.reason.tolist() == [reason]


class TestSurprises:
    @pytest.mark.parametrize(
        ("facts", "since_boot", "event"),
        [
            ({}, 1000, PhaseEvent.RESIZED),
            ({"autodeflate": True}, 1000, PhaseEvent.DEFLATED),
            ({}, 1, PhaseEvent.DRIFTED),
        ],
    )
    def test_statistics_count_again_a_second_later_and_proposals_are_void(self, facts, since_boot, event):
        driver = BalloonStage(**facts)
        driver.balloon = replace(driver.balloon, proposed=np.array([1.0]))
        driver.balloon = replace(driver.balloon, settles_at=np.array([NOW + 5.0 - since_boot]))
        assert driver.follow(1, 2100) is event
        assert driver.balloon.rest_from[0] == driver.now + 1
        assert np.isnan(driver.balloon.proposed[0])
        assert driver.follow(0.5, 2100) is PhaseEvent.NONE

    def test_each_move_of_a_booting_guest_prolongs_its_settling(self):
        driver = BalloonStage()
        driver.balloon = replace(driver.balloon, settles_at=np.array([NOW + 5.0]))
        assert [driver.follow(4, size) for size in (1900, 1800, 1700)] == [PhaseEvent.DRIFTED] * 3
        assert driver.follow(6, 1600) is PhaseEvent.RESIZED

    def test_one_that_takes_back_what_it_was_told_to_give_does_not(self):
        driver = BalloonStage()
        driver.balloon = replace(driver.balloon, settles_at=np.array([NOW + 6.0]))
        for event in (PhaseEvent.DRIFTED, PhaseEvent.RESIZED):
            driver.order(1500)
            assert driver.follow(1, 1500) is PhaseEvent.ARRIVED
            assert driver.follow(3, 2000) is event

    def test_a_guest_that_stops_and_comes_again_is_nobodys_change(self):
        driver = BalloonStage()
        assert [driver.follow(1, size) for size in (0, 1500)] == [PhaseEvent.DRIFTED] * 2

    @pytest.mark.parametrize(
        ("size", "event"),
        [
            (2100, PhaseEvent.FOLLOWED),
            (2200, PhaseEvent.FOLLOWED),
            (2210, PhaseEvent.RESIZED),
            (1900, PhaseEvent.RESIZED),
        ],
    )
    def test_what_a_stuck_guest_was_allowed_to_take_is_nobodys_change(self, size, event):
        driver = BalloonStage()
        driver.balloon = replace(driver.balloon, allowance=np.array([2200.0 * MIB]))
        assert driver.committed(2000) == 2200
        assert driver.follow(1, size) is event

    @pytest.mark.parametrize(("target", "size"), [(1000, 2000), (1000, 1999), (2500, 2000)])
    def test_only_a_guest_that_has_begun_to_give_can_choke(self, target, size):
        driver = BalloonStage()
        driver.order(target)
        assert driver.follow(3, size, choked_at=NOW + 3) is PhaseEvent.NONE

    def test_one_that_helps_itself_does_not_choke(self):
        driver = BalloonStage(autodeflate=True)
        driver.order(1000)
        driver.follow(2, 1900)
        assert driver.follow(1, 1900, choked_at=NOW + 3) is PhaseEvent.NONE

    def test_an_unanswered_order_has_not_arrived_by_coming_close(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.answer(OrderResult.UNKNOWN)
        assert [driver.follow(60, 1003), driver.follow(60, 1003)] == [PhaseEvent.NONE] * 2

    def test_it_is_left_alone_until_both_times_are_over(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(6, 2000)
        driver.follow(50, 1500)
        assert (driver.phase, driver.follow(15, 1500)) == (Phase.OVERRULED, PhaseEvent.NONE)
        assert driver.follow(15, 1500) is PhaseEvent.EXPIRED


class TestRecords:
    def test_an_order_counts_once(self):
        driver = BalloonStage()
        driver.order(1000)
        assert driver.balloon.reallocations.tolist() == [1]

    def test_a_balloon_that_comes_closer_is_not_stuck_however_long_it_takes(self):
        driver = BalloonStage()
        driver.order(1000)
        assert [driver.follow(4, size) for size in (1800, 1600, 1400)] == [PhaseEvent.NONE] * 3

    def test_a_size_that_somebody_sets_is_not_taken_back_by_the_guest(self):
        driver = BalloonStage()
        driver.order(1000)
        driver.follow(2, 1000)
        assert driver.follow(100, 1500) is PhaseEvent.RESIZED
        assert driver.balloon.reverted_at.tolist() == [-np.inf]


SEEN = {"seen_at": NOW, "stamp": 1.7e9}


class TestOneOfTwo:
    """What happens to a balloon says nothing of another."""

    def test_a_paused_guest_waits_for_no_balloon_of_its_neighbour(self):
        pair = rows(Balloon, 2, phase=[Phase.IDLE, Phase.MOVING], target=[np.nan, 15 * MIB], settled=20 * MIB)
        pair = replace(pair, progress=np.array([np.nan, 20 * MIB]), progress_at=np.full(2, NOW - 1))
        seen = rows(Observation, 2, allocation=20 * MIB, run_state=int(RunState.PAUSED), **SEEN)
        followed = stage.follow(pair, seen, inventory(2), NOW, TUNING)
        assert followed.progress_at.tolist() == [NOW - 1, NOW]

    def test_what_one_was_allowed_stays_when_the_other_has_taken_it(self):
        pair = rows(Balloon, 2, settled=20 * MIB, allowance=[20 * MIB, 30 * MIB], settles_at=0.0)
        seen = rows(Observation, 2, allocation=[20 * MIB, 30 * MIB], **SEEN)
        followed = stage.follow(pair, seen, inventory(2), NOW, TUNING)
        assert (followed.allowance[0], np.isnan(followed.allowance[1])) == (20 * MIB, True)

    @pytest.mark.parametrize(("settles_at", "then"), [(0, NOW + 5), (np.nan, np.nan), (NOW + 9, NOW + 9)])
    def test_a_balloon_that_is_stopped_may_come_back_for_a_while(self, settles_at, then):
        pair = rows(Balloon, 2, phase=Phase.MOVING, target=15 * MIB, settles_at=settles_at)
        seen = rows(Observation, 2, allocation=20 * MIB)
        halted = stage.ordered(pair, seen, inventory(2), np.array([False, True]), seen.allocation, HALTED, NOW)
        assert halted.settles_at[1] == pytest.approx(then, nan_ok=True)
        assert (halted.target / MIB).tolist() == [15, 20]


class TestRests:
    def after_each_refusal(self, *, in_need: bool) -> list[float]:
        """Seconds from every refusal until another order may be given."""
        driver, rests = BalloonStage(), []
        for _ in range(11):
            driver.order(1000)
            driver.answer(OrderResult.REFUSED)
            rests.append(self.rest(driver, in_need=in_need))
        return rests

    def rest(self, driver: BalloonStage, *, in_need: bool) -> float:
        begun = driver.now
        while not driver.free(in_need=in_need):
            driver.now += 1
        return driver.now - begun

    def test_after_refusals_double_up_to_an_hour(self):
        assert self.after_each_refusal(in_need=False) == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]

    def test_of_a_guest_in_need_are_half_a_minute_at_most(self):
        assert self.after_each_refusal(in_need=True) == [5, 10, 20, *[30] * 8]

    def test_of_a_stuck_balloon_double_up_to_an_hour(self):
        driver, rests = BalloonStage(), []
        for _ in range(8):
            driver.order(1000)
            assert driver.follow(6, 2000) is PhaseEvent.STALLED
            rests.append(self.rest(driver, in_need=False))
            driver.follow(0, 2000)
        assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600]


class TestReleases:
    @pytest.mark.parametrize(
        ("size", "seconds", "goes_on"),
        [(2000, 59, True), (2000, 60, False), (4095, 1, True), (4095.1, 1, False)],
    )
    def test_one_ends_at_the_definition_or_after_a_minute(self, size, seconds, goes_on):
        driver = BalloonStage()
        unowned = assign([ScriptedGuest("guest", 500, 2000).facts()], [], NodeIdentity("node")).inventory
        driver.balloon = stage.hand_over(driver.balloon, driver.inventory, unowned, ROW, ROW, driver.now)
        driver.inventory = unowned
        assert driver.balloon.release.tolist() == [True]
        driver.follow(seconds, size)
        assert driver.balloon.release.tolist() == [goes_on]

    def test_a_domain_that_keeps_its_owner_is_not_released(self):
        driver = BalloonStage()
        handed = stage.hand_over(driver.balloon, driver.inventory, driver.inventory, ROW, ROW, driver.now)
        assert handed.release.tolist() == [False]

    def test_a_domain_that_nobody_owned_is_not_released(self):
        unowned = assign([ScriptedGuest("guest", 500, 2000).facts()], [], NodeIdentity("node")).inventory
        new, old = np.array([-1]), BalloonStage()
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
            ({"run_state": int(RunState.PAUSED)}, False),
            ({"allocation": 0.0}, False),
            ({"allocation": 1000.0 * MIB}, False),
        ],
    )
    def test_they_end_as_soon_as_libvirt_would_take_it(self, seen, expected):
        driver = BalloonStage()
        driver.order(1000)
        observed = driver.seen(1500, **seen)
        assert not stage.abandoned(driver.balloon, observed, driver.inventory, driver.now, TUNING)[0]
        observing = assign(
            [ScriptedGuest("guest", 500, 2000).facts()], [policy(mode="Observe")], NodeIdentity("node")
        ).inventory
        assert stage.abandoned(driver.balloon, observed, observing, driver.now, TUNING)[0] == expected
        driver.answer(OrderResult.REFUSED)
        driver.order(1000)
        assert not stage.abandoned(driver.balloon, observed, observing, driver.now, TUNING)[0]

    def test_one_that_ends_takes_no_other_with_it(self):
        going = {"phase": Phase.MOVING, "target": 10 * MIB, "origin": 30 * MIB, "last_reason": Reason.RELEASE_RESTORE}
        told = rows(Balloon, 3, release=[False, False, True], **going)
        seen, listed = rows(Observation, 3, allocation=20 * MIB), inventory(3, enforce=[False, True, False])
        assert stage.abandoned(told, seen, listed, NOW, TUNING).tolist() == [True, False, False]

    @pytest.mark.parametrize(("size", "expected"), [(20, True), (30, False), (0, False)])
    def test_of_one_that_was_stuck_what_it_lacks_is_given_back_if_its_guest_has_a_size(self, size, expected):
        stuck = rows(Balloon, 1, phase=Phase.STUCK, origin=30 * MIB)
        seen, listed = rows(Observation, 1, allocation=size * MIB), inventory(1, enforce=False)
        assert stage.abandoned(stuck, seen, listed, NOW, TUNING)[0] == expected


class TestMemoryInTheHandsOfGuests:
    @pytest.mark.parametrize(
        ("seen", "least", "most"),
        [
            ({"rss": 800.0 * MIB, "rss_size": 1000.0 * MIB, "rss_known": True}, 800, 800),
            ({"rss": 800.0 * MIB, "rss_size": 900.0 * MIB, "rss_known": True}, 800, 900),
            ({"rss": 1200.0 * MIB, "rss_size": 1000.0 * MIB, "rss_known": True}, 1000, 1000),
            ({"rss": 800.0 * MIB, "rss_size": 1000.0 * MIB, "rss_known": False}, 800, 1000),
            ({"allocation": 0.0, "rss": 800.0 * MIB, "rss_known": True}, 0, 0),
            ({"allocation": np.nan}, 0, 0),
        ],
    )
    def test_it_is_an_interval(self, seen, least, most):
        driver = BalloonStage()
        observed = driver.seen(1000, **seen)
        committed = stage.committed(driver.balloon, observed, driver.inventory)
        assert held(driver.balloon, observed, driver.inventory, committed)[:2] == (least * MIB, most * MIB)

    def test_a_guest_that_has_ended_holds_nothing_whatever_it_was_told(self):
        told = rows(Balloon, 1, phase=Phase.MOVING, target=1000 * MIB)
        seen = rows(Observation, 1, allocation=0.0)
        assert held(told, seen, inventory(1), stage.committed(told, seen, inventory(1)))[:2] == (0, 0)

    def test_a_guest_may_have_followed_the_order_before_one_that_is_not_answered_and_no_other(self):
        told = rows(Balloon, 2, phase=[Phase.UNKNOWN, Phase.MOVING], target=1500 * MIB, previous=800 * MIB)
        seen = rows(Observation, 2, allocation=2000 * MIB, rss=2000 * MIB, rss_size=2000 * MIB, rss_known=True)
        assert held(told, seen, inventory(2), np.full(2, 2000 * MIB)).least == (800 + 1500) * MIB
        told, seen = told.having(previous=np.full(2, 2500 * MIB)), rows(Observation, 2, allocation=1000 * MIB)
        assert (stage.committed(told, seen, inventory(2)) / MIB).tolist() == [2500, 1500]

"""The rules that always hold, each by a scenario that would break it."""

import json

import numpy as np
import pytest
from scripted_node import MIB, Guest, Node, policy

from controller.api.policy import MemoryPolicy
from controller.api.wishes import Wishes
from controller.engine.guest_pressure import Level
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.snapshot import Life
from controller.engine.tuning import Tuning
from controller.engine.view import view

DOUBT_FIRST = Tuning().doubt_first


def node(*guests, **settings):
    return Node(list(guests), **settings)


def notices(world):
    return [notice.reason for decision in world.decisions for notice in decision.notices]


def to_the_first_order(world: Node, name: str | None = None) -> None:
    while not world.actions(name):
        world.tick()


class TestNeverBelowWhatIsNeeded:
    """Rule 1."""

    def test_an_idle_guest_shrinks_to_its_need_and_never_below_demand(self):
        world = node(Guest("idle", demand=500, actual=4000))
        world.tick(30)
        assert 500 <= world.guests["idle"].actual < 700
        assert min(action.target for action in world.actions()) >= 500 * MIB

    def test_never_below_minimum(self):
        world = node(Guest("idle", 50, 2000), policies=[policy(limits={"minimum": "1Gi", "minimumPercent": 1})])
        world.tick(30)
        assert world.guests["idle"].actual == 1024

    def test_never_above_the_maximum(self):
        world = node(Guest("hungry", demand=2000, actual=1000, maximum=1500))
        world.tick(30)
        assert world.guests["hungry"].actual == 1500
        assert max(action.target for action in world.actions()) == 1500 * MIB

    @pytest.mark.parametrize("missing", ["usable", "unused"])
    def test_without_usable_memory_unused_counts(self, missing):
        world = node(Guest("guest", 500, 4000, statistics={missing: np.nan}))
        world.tick(30)
        assert world.guests["guest"].actual >= 500

    def test_without_statistics_nothing_shrinks(self):
        world = node(Guest("mute", 500, 4000, statistics={"usable": np.nan, "unused": np.nan}))
        world.tick(300)
        assert world.actions() == []
        assert world.reason("mute") is Reason.NO_STATISTICS

    def test_frozen_statistics_do_not_shrink_a_guest(self):
        world = node(Guest("frozen", 500, 4000)).tick(2)
        world.guests["frozen"].frozen = True
        world.tick(60)
        assert world.actions() == []
        assert world.reason("frozen") is Reason.STALE_STATISTICS

    @pytest.mark.parametrize(
        ("statistics", "reason"),
        [
            ({"usable": -5.0, "unused": -5.0}, Reason.INVALID_STATISTICS),
            ({"usable": 9e15}, Reason.INVALID_STATISTICS),
            ({"available": 0.0}, Reason.NO_STATISTICS),
            ({"updated": 0.0}, Reason.NO_STATISTICS),
            ({"updated": np.nan}, Reason.NO_STATISTICS),
            ({"updated": 4e9}, Reason.FUTURE_STATISTICS),
            ({"updated": 1e9}, Reason.STALE_STATISTICS),
        ],
    )
    def test_absurd_statistics_are_not_acted_on(self, statistics, reason):
        world = node(Guest("odd", 500, 4000, statistics=statistics))
        world.tick(60)
        assert world.actions() == []
        assert world.reason("odd") is reason

    def test_statistics_that_know_of_a_move_before_libvirt_does_are_no_reason_to_complain(self):
        world = node(Guest("guest", 500, 2000)).tick(20)
        size, shrunk = world.guests["guest"].actual, len(world.actions())
        world.guests["guest"].statistics = {"usable": (size + 900) * MIB}  # somebody has given it 1400 MiB
        world.tick()
        assert (world.reason("guest"), notices(world), len(world.actions())) == (Reason.MOVING, [], shrunk)
        world.tick()
        assert notices(world) == [Reason.INVALID_STATISTICS]

    def test_zero_usable_with_free_pages_is_not_believed(self):
        world = node(Guest("old-kernel", 500, 4000, statistics={"usable": 0.0}))
        world.tick(30)
        assert all(not action.grows for action in world.actions())

    def test_a_sample_does_not_count_while_the_balloon_moves(self):
        """libvirt may learn of the size later than of the guest's statistics: QEMU sends one event a second."""
        world = node(Guest("slow", 500, 4000, moves_at=50)).tick(10)
        counted = world.state.observation.fresh_count[0]
        world.tick(10)
        assert world.reason("slow") is Reason.MOVING
        assert world.state.observation.fresh_count[0] == counted

    def test_a_guest_that_runs_short_while_it_shrinks_grows_at_once(self):
        world = node(Guest("slow", 500, 4000, moves_at=50)).tick(12)
        world.guests["slow"].demand = world.guests["slow"].actual
        world.tick(2)
        assert world.actions()[-1].reason is Reason.PRESSURE_GROW
        assert world.actions()[-1].target > world.guests["slow"].demand * MIB

    def test_its_shrink_ends_where_it_is_when_no_memory_is_free(self):
        """Else the balloon would take the first page the guest lets go, and then be stuck in one that is well."""
        chosen = policy(budget={"maximum": "6000Mi"}, shrink={"stabilizationSeconds": 0})
        world = node(Guest("slow", 500, 4000, moves_at=50), Guest("full", 1950, 2000), policies=[chosen])
        to_the_first_order(world, "slow")
        world.tick(2)
        slow, full = world.guests["slow"], world.guests["full"]
        world.policies = [policy(budget={"maximum": f"{int(slow.actual + full.actual) - 100}Mi"})]
        slow.demand, full.demand = slow.actual, full.actual
        world.tick()
        halt = world.actions("slow")[-1]
        assert (halt.reason, halt.before, halt.target) == (Reason.NO_BUDGET, slow.actual * MIB, slow.actual * MIB)
        slow.actual -= 40  # it had come further than was known
        world._step({"slow": slow.actual})
        world.tick(5)
        assert not {Reason.STUCK, Reason.OUTSIDE_CHANGE} & {*notices(world)}
        slow.demand, slow.moves_at = 500, np.inf
        world.tick(60)
        assert slow.actual < 1000

    def test_late_news_of_an_earlier_move_is_no_outside_change(self):
        world = node(Guest("late", 500, 2000, moves_at=100)).tick(8)
        late = world.guests["late"]
        late.demand, late.statistics = late.actual, {"swap_in": 1e6}
        world.state.pressure.level[:] = Level.LOW
        world.tick(1)
        late.actual -= 100
        world.tick(8)
        assert Reason.OUTSIDE_CHANGE not in notices(world)

    def test_a_sample_taken_before_the_balloon_moved_does_not_count(self):
        world = node(Guest("guest", 500, 4000)).tick(1)
        world.guests["guest"].actual = 2000
        world.guests["guest"].frozen = True
        world.tick(3)
        assert world.state.observation.fresh_count[0] == 1

    def test_statistics_that_the_look_after_a_move_did_not_find_count_although_their_time_is_rounded_down(self):
        world = node(Guest("guest", 500, 4000))
        guest = world.guests["guest"]
        counted = []
        for _ in range(12):
            guest.statistics = {"updated": world.now + world.wall_offset}  # sent half a second later, half before now
            world.tick()
            counted.append((guest.actual, int(world.state.observation.fresh_count[0])))
        arrived = next(look for look, (actual, _) in enumerate(counted) if actual < 4000)
        assert counted[arrived + 1][1] == counted[arrived][1] + 1

    def test_an_event_is_newer_than_the_look_it_came_with(self):
        world = node(Guest("guest", 500, 2000)).tick(2)
        world.guests["guest"].statistics = {"actual": 2000.0 * MIB}
        world.now += 1
        world._step({"guest": 1500.0})
        assert world.state.observation.allocation.tolist() == [1500 * MIB]


class TestBudget:
    """Rule 2."""

    def test_grows_wait_until_shrinks_have_returned_the_memory(self):
        world = node(
            Guest("donor", 200, 1000, moves_at=100),
            Guest("grower", 200, 1000),
            policies=[policy(budget={"maximum": "2000Mi"}, shrink={"stabilizationSeconds": 3600})],
        ).tick(5)
        for demand in range(200, 1300, 50):
            world.guests["grower"].demand = demand
            world.tick()
            assert world.allocated() <= 2000
        world.tick(20)
        assert world.guests["grower"].actual >= 1250
        assert world.allocated() <= 2000

    def test_unowned_domains_count_against_the_budget(self):
        chosen = policy(budget={"maximum": "2000Mi"}, domainSelector={"names": ["mine"]})
        world = node(Guest("mine", 900, 1000), Guest("other", 100, 900), policies=[chosen]).tick(5)
        world.guests["mine"].demand = 2000
        world.tick(30)
        assert world.allocated() <= 2000
        assert world.guests["other"].actual == 900

    def test_what_guests_are_given_between_looks_is_not_taken_for_the_hosts_own_use(self):
        settings = {"policies": [policy(monitoring={"maximumIntervalSeconds": 60})], "host_mib": 8192}
        world = node(Guest("calm", 500, 1000), Guest("waking", 500, 1000), **settings).tick(60)
        budgets = {world.state.host.budget}
        for demand in (1500, 3000, 400, 2500):
            world.guests["waking"].demand = demand
            for _ in range(10):
                world.tick()
                budgets.add(world.state.host.budget)
        assert len(world.actions("waking")) >= 4
        assert len(budgets) == 1

    def test_what_the_host_itself_uses_more_is_seen_while_guests_move(self):
        world = node(Guest("slow", 500, 4000, moves_at=20), host_mib=8192).tick(20)
        budget = world.state.host.budget
        world.host_use_mib += 1000
        world.tick(2)
        assert world.reason("slow") is Reason.MOVING
        assert world.state.host.budget <= budget - 900 * MIB

    def test_a_job_that_hides_what_a_guest_holds_changes_nothing_of_the_hosts_own_use(self):
        settings = {"policies": [policy(mode="Observe")], "host_mib": 16384}
        untouched = Guest("a", 1500, 8000, maximum=8192, statistics={"rss": 2000 * MIB})
        world = node(untouched, **settings)
        world.host_use_mib = 3000 - 6000
        budget = world.tick(30).state.host.budget
        assert budget == pytest.approx((16384 - 3000) * MIB - 0.05 * 16384 * MIB)
        untouched.life, untouched.statistics = Life.BUSY, dict.fromkeys(("rss", "usable", "unused", "updated"), np.nan)
        world.tick(30)
        assert world.reason("a") is Reason.BUSY
        assert world.state.host.budget == budget

    def test_what_a_guest_takes_while_a_job_hides_it_is_not_the_hosts_own_use(self):
        untouched = Guest("a", 1500, 8000, maximum=8192, statistics={"rss": 2000 * MIB})
        world = node(untouched, policies=[policy(mode="Observe")], host_mib=16384)
        world.host_use_mib = 3000 - 6000
        budget = world.tick(30).state.host.budget
        untouched.life, untouched.statistics = Life.BUSY, dict.fromkeys(("rss", "usable", "unused", "updated"), np.nan)
        world.tick(5)
        world.host_use_mib += 5000
        world.tick(30)
        assert world.state.host.budget == budget

    def test_huge_pages_are_the_guests_though_they_are_not_in_qemus_resident_memory(self):
        pool = Guest("pool", 1000, 8192, maximum=8192, resident=False, statistics={"rss": 200 * MIB})
        world = node(pool, policies=[], host_mib=32768).tick(30)
        assert world.state.host.own_use == 0

    def test_while_the_host_is_under_pressure_and_for_a_minute_after_it_nothing_is_lent(self):
        sharing = policy(spare="Share", monitoring={"maximumIntervalSeconds": 60})
        world = node(Guest("a", 500, 3000), Guest("b", 500, 3000), policies=[sharing], host_mib=8192).tick(30)
        before = len(world.actions())
        for _ in range(4):
            world.pressure = True
            world.tick(3)
            world.pressure = False
            world.tick(27)
        taken = world.actions()[before:]
        assert [(action.name, action.reason) for action in taken] == [
            ("a", Reason.HOST_PRESSURE_SHRINK),
            ("b", Reason.HOST_PRESSURE_SHRINK),
        ]
        world.tick(60)
        assert {action.reason for action in world.actions()[before + 2 :]} == {Reason.SPARE_LENT}

    def test_a_released_domain_gets_its_memory_back_when_the_host_has_some(self):
        others = policy("others", domainSelector={"names": ["other"]})
        world = node(Guest("guest", 200, 4000), Guest("other", 200, 300)).tick(30)
        size = world.guests["guest"].actual
        world.pressure, world.policies = True, [others]
        world.tick(20)
        assert world.guests["guest"].actual == size
        world.pressure = False
        world.tick(20)
        assert world.guests["guest"].actual == 4096

    def test_pressure_takes_nothing_on_an_old_sample_and_asks_a_guest_once(self):
        def sharing(budget: str) -> MemoryPolicy:
            patient = {"monitoring": {"maximumIntervalSeconds": 60}, "shrink": {"stabilizationSeconds": 120}}
            return policy(spare="Share", budget={"maximum": budget}, **patient)

        world = node(Guest("a", 500, 1000), Guest("b", 500, 1000), policies=[sharing("2000Mi")]).tick(400)
        while world.now - world.state.observation.fresh_at[0] < 5:
            world.tick()
        before = len(world.actions())
        world.policies, world.pressure, world.now = [sharing("8000Mi")], True, world.now + 0.5
        world.step()
        assert world.actions()[before:] == []
        world.tick()
        names = [action.name for action in world.actions()[before:]]
        assert sorted(names) == ["a", "b"]

    def test_what_was_asked_before_an_order_that_is_refused_is_not_given_to_others(self):
        slow, other = Guest("slow", 500, 600, moves_at=20, maximum=6000), Guest("other", 900, 1000, maximum=6000)
        world = node(slow, other, policies=[policy(budget={"maximum": "4000Mi"})]).tick(10)
        slow.demand = 2500
        world.tick(2)
        world.refuse_next = "slow"
        world.tick(3)
        assert world.refuse_next == ""
        other.demand = 3500
        for _ in range(60):
            world.tick()
            assert world.allocated() <= 4000
        assert other.actual == 2500
        assert Reason.OUTSIDE_CHANGE not in notices(world)

    def test_a_stuck_grow_that_libvirt_does_not_let_go_of_stays_the_guests(self):
        stiff, other = Guest("stiff", 960, 1000, stuck=True), Guest("other", 900, 1000)
        world = node(stiff, other, policies=[policy(budget={"maximum": "3000Mi"})])
        to_the_first_order(world, "stiff")
        world.tick(5)
        world.refuse_next = "stiff"
        world.tick()
        assert [action.reason for action in world.actions("stiff")] == [Reason.FORECAST_GROW, Reason.STUCK]
        other.demand = 2500
        world.tick(4)
        stiff.stuck = False
        world.tick(4)
        assert stiff.actual > 1000
        assert world.allocated() <= 3000

    def test_a_halt_that_is_refused_is_asked_for_again(self):
        giver, taker = Guest("giver", 300, 2000, moves_at=50), Guest("taker", 1900, 2000)
        world = node(giver, taker, policies=[policy(budget={"maximum": "4000Mi"})])
        to_the_first_order(world, "giver")
        world.tick(3)
        taker.demand = 3000
        world.tick(2)
        giver.demand, world.refuse_next = giver.actual, "giver"
        world.tick(2)
        assert world.refuse_next == ""
        assert giver.target == giver.actual
        assert Reason.OUTSIDE_CHANGE not in notices(world)

    def test_a_balloon_that_does_not_move_is_stuck_and_not_hammered(self):
        world = node(Guest("stiff", 200, 2000, stuck=True)).tick(60)
        assert world.reason("stiff") is Reason.STUCK
        asked = [action for action in world.actions() if action.reason is not Reason.STUCK]
        assert len(asked) == 1

    def test_a_balloon_that_does_not_grow_is_told_to_stay_as_it_is(self):
        world = node(Guest("stiff", 2200, 2000, stuck=True)).tick(60)
        assert {action.target for action in world.actions() if action.reason is Reason.STUCK} == {2000 * MIB}

    def test_a_guest_that_could_give_no_more_gets_its_headroom_back(self):
        world = node(Guest("stiff", 200, 2000, keeps=1900)).tick(20)
        assert [action.target for action in world.actions() if action.reason is Reason.STUCK] == [2090 * MIB]
        assert world.guests["stiff"].actual == 2090
        assert world.reason("stiff") is Reason.STUCK

    def test_what_is_neither_free_nor_page_cache_is_not_taken_at_once(self):
        world = node(Guest("files", 200, 2000, slab=700)).tick(20)
        (action,) = world.actions()
        assert action.target / MIB == pytest.approx((200 + 700) * 1.1, abs=1)

    def test_it_is_taken_when_others_need_it(self):
        chosen = policy(budget={"maximum": "2000Mi"})
        world = node(Guest("files", 200, 1000, slab=700), Guest("other", 900, 1000), policies=[chosen]).tick(20)
        assert world.guests["files"].actual > 900
        world.guests["other"].demand = 1500
        world.tick(20)
        assert world.guests["files"].actual < 500
        assert world.guests["other"].actual >= 1500

    @pytest.mark.parametrize(("unused_mib", "seconds"), [(20, 2), (200, 7)])
    def test_a_shrink_that_stands_still_ends_at_once_in_a_guest_with_nothing_free(self, unused_mib, seconds):
        world = node(Guest("stiff", 200, 2000, keeps=1900, statistics={"unused": unused_mib * MIB}))
        to_the_first_order(world)
        world.tick(seconds - 1)
        assert len(world.actions()) == 1
        world.tick()
        assert [action.reason for action in world.actions()] == [Reason.FORECAST_SHRINK, Reason.STUCK]

    @pytest.mark.parametrize("unlike", [{"autodeflate": True}, {"keeps": 2000}])
    def test_one_that_helps_itself_or_has_not_begun_to_give_has_its_full_time(self, unlike):
        wanting = {"keeps": 1900, "statistics": {"unused": 20 * MIB, "available": 2000 * MIB}}
        world = node(Guest("guest", 200, 2000, **wanting | unlike))
        to_the_first_order(world)
        world.tick(5)
        assert len(world.actions()) == 1

    def test_a_choking_guest_in_another_job_is_not_touched(self):
        world = node(Guest("stiff", 200, 2000, keeps=1900, statistics={"unused": 20 * MIB}))
        to_the_first_order(world)
        world.tick()
        world.guests["stiff"].life = Life.BUSY
        world.tick(10)
        assert len(world.actions()) == 1

    def test_what_a_guest_promised_and_could_not_give_up_is_not_asked_for_again_for_a_while(self):
        unused = {"unused": 20 * MIB}
        world = node(Guest("liar", 200, 2000, keeps=1900, statistics=unused)).tick(20)
        assert world.reason("liar") is Reason.STUCK
        size = world.guests["liar"].actual
        world.now += DOUBT_FIRST - 60
        world.tick(30)
        assert (world.guests["liar"].actual, len(world.actions())) == (size, 2)
        world.tick(60)
        assert [action.reason for action in world.actions()][2:] == [Reason.FORECAST_SHRINK, Reason.STUCK]
        world.now += 2 * DOUBT_FIRST - 200
        world.tick(30)
        assert len(world.actions()) == 4

    def test_what_it_frees_meanwhile_is_taken(self):
        world = node(Guest("liar", 200, 2000, keeps=1900, statistics={"unused": 20 * MIB})).tick(20)
        liar = world.guests["liar"]
        liar.keeps, liar.statistics = 0, {}
        world.tick(200)
        assert liar.actual < 1300

    def test_a_guest_with_nothing_free_that_reclaims_goes_on_shrinking(self):
        world = node(Guest("slow", 200, 2000, moves_at=2, statistics={"unused": 20 * MIB})).tick(120)
        assert len(world.actions()) == 1
        assert world.guests["slow"].actual < 1800

    @pytest.mark.parametrize("life", [Life.PAUSED, Life.BUSY, Life.UNRESPONSIVE])
    def test_a_guest_that_cannot_move_its_balloon_now_is_not_stuck_and_not_touched(self, life):
        world = node(Guest("guest", 500, 4000, moves_at=20)).tick(12)
        orders = len(world.actions())
        guest = world.guests["guest"]
        guest.life, guest.stuck = life, True
        world.tick(60)
        assert (orders, len(world.actions())) == (1, 1)
        guest.life, guest.stuck, guest.moves_at = Life.RUNNING, False, np.inf
        world.tick(5)
        assert guest.actual < 1000

    def test_a_stuck_balloon_is_tried_again_ever_more_rarely(self):
        world = node(Guest("stiff", 200, 2000, stuck=True)).tick(400)
        asked = [action for action in world.actions() if action.reason is not Reason.STUCK]
        assert len(asked) == 3


class TestGrowFastShrinkSlow:
    """Rule 3."""

    def test_a_guest_under_pressure_grows_at_the_next_look(self):
        world = node(Guest("guest", 500, 1000)).tick(20)
        before = world.guests["guest"].actual
        world.guests["guest"].demand = before
        world.tick(2)
        assert world.guests["guest"].actual > before

    def test_growth_finds_an_amount_that_cannot_be_seen(self):
        world = node(Guest("guest", 500, 1000)).tick(20)
        world.guests["guest"].demand = 3000
        world.tick(16)
        assert world.guests["guest"].actual >= 3000

    def test_a_guest_that_wakes_up_gets_at_once_what_it_used_of_late(self):
        world = node(Guest("napping", 3000, 3500)).tick(10)
        world.guests["napping"].demand = 100
        world.tick(30)
        assert world.guests["napping"].actual < 300
        world.guests["napping"].demand = 2800
        world.tick(3)
        assert world.guests["napping"].actual >= 2800

    def test_a_shrink_waits_for_the_stabilisation_window(self):
        slow = policy(shrink={"stabilizationSeconds": 60})
        world = node(Guest("guest", 1000, 1200), policies=[slow]).tick(5)
        world.guests["guest"].demand = 300
        world.tick(50)
        assert world.actions() == []
        assert world.reason("guest") is Reason.STABILIZING

    def test_a_starving_guest_grows_from_others_slack_although_the_host_is_under_pressure(self):
        world = node(
            Guest("idle", 200, 1800),
            Guest("starving", 600, 400),
            policies=[policy(shrink={"stabilizationSeconds": 3600})],
            host_mib=3000,
        )
        world.host_use_mib = 500
        world.pressure = True
        world.tick(20)
        assert world.guests["starving"].actual >= 600
        assert world.guests["idle"].actual >= 200

    def test_a_slow_ramp_is_grown_ahead_of_pressure_although_the_threshold_is_as_large_as_the_headroom(self):
        world = node(Guest("ramp", 500, 1000), policies=[policy(threshold={"percent": 10})]).tick(60)
        settled = len(world.actions())
        for _ in range(600):
            world.guests["ramp"].demand += 0.5
            world.tick()
        grows = world.actions()[settled:]
        assert {action.reason for action in grows} == {Reason.FORECAST_GROW}
        assert min(action.target - action.before for action in grows) >= 0.1 * 500 * MIB
        assert len(grows) <= 8

    def test_a_guest_that_deflated_its_own_balloon_grows(self):
        world = node(Guest("auto", 300, 1000, autodeflate=True)).tick(30)
        world.guests["auto"].actual += 200
        world.guests["auto"].target = None
        before = len(world.actions())
        world.tick(1)
        world._step({"auto": world.guests["auto"].actual})
        assert world.actions()[before:][0].reason is Reason.PRESSURE_GROW

    @pytest.mark.parametrize("sign", ["swap_in", "major_faults"])
    def test_swapping_and_thrashing_are_pressure(self, sign):
        world = node(Guest("guest", 920, 1000)).tick(3)
        for count in range(5):
            world.guests["guest"].statistics = {sign: 1e5 * (count + 1)}
            world.tick()
        assert Reason.PRESSURE_GROW in {action.reason for action in world.actions()}

    def test_a_guest_in_need_waits_seconds_after_a_refusal_however_long_its_balloon_was_stuck(self):
        guest = Guest("guest", 200, 2000, keeps=1900, maximum=8192)
        world = node(guest).tick(250)
        assert world.reason("guest") is Reason.STUCK
        guest.demand, world.refuse_next = 4000, "guest"
        world.tick(10)
        assert guest.actual >= 4000

    def test_refusals_are_tried_again_at_least_every_half_minute(self):
        world = node(Guest("guest", 500, 600))
        tries = []
        for _ in range(120):
            world.refuse_next = "guest"
            world.guests["guest"].demand = 600
            world.tick()
            tries += [] if world.refuse_next else [world.now]
        assert np.diff(tries).tolist()[:3] == [6, 11, 21]
        assert set(np.diff(tries)[3:]) == {31}

    def test_what_nobody_is_in_need_of_is_tried_again_ever_more_rarely(self):
        world = node(Guest("idle", 500, 4000))
        tries = []
        for _ in range(400):
            world.refuse_next = "idle"
            world.tick()
            tries += [] if world.refuse_next else [world.now]
        assert np.diff(tries).tolist() == [6, 11, 21, 41, 81, 161]

    def test_a_slow_donor_is_not_waited_for_while_another_has_memory_to_give(self):
        held = policy("held", budget={"maximum": "7000Mi"}, shrink={"stabilizationSeconds": 3600})
        quick = policy("quick", budget={"maximum": "7000Mi"}, domainSelector={"names": ["slow"]}, priority=1)
        slow, idle = Guest("slow", 300, 3000, moves_at=2), Guest("idle", 300, 3000)
        hungry = Guest("hungry", 600, 1000, maximum=2048)
        world = node(slow, idle, hungry, policies=[held, quick]).tick(12)
        assert world.reason("slow") is Reason.MOVING
        hungry.demand = 1900
        world.tick(8)
        assert hungry.actual >= 1900
        assert slow.actual > 2900

    def test_signs_of_pressure_count_as_they_come_while_a_balloon_shrinks_slowly(self):
        guest = Guest("guest", 500, 4000, moves_at=5)
        world = node(guest).tick(60)
        assert world.reason("guest") is Reason.MOVING
        for faults in range(3):
            left = 0.08 * guest.actual * MIB
            guest.statistics = {"major_faults": 100.0 * faults, "usable": left, "unused": left}
            world.tick()
        assert world.actions()[-1].reason is Reason.PRESSURE_GROW

    def test_a_guest_that_reports_seldom_is_in_need_until_it_reports_anew(self):
        needy, donor = Guest("needy", 900, 1000), Guest("donor", 300, 2000, moves_at=100)
        sharing = policy(budget={"maximum": "3000Mi"}, shrink={"stabilizationSeconds": 3600})
        world = node(needy, donor, policies=[sharing]).tick(10)
        needy.demand = 2000
        world.tick()
        needy.frozen = True
        needy.statistics = {"usable": 0.0, "unused": 0.0, "available": 1000 * MIB}
        before = len(world.actions("needy"))
        world.tick(8)
        assert {action.reason for action in world.actions("needy")[before:]} == {Reason.PRESSURE_GROW}
        assert needy.actual >= 1500

    @pytest.mark.parametrize("mode", ["Enforce", "Observe"])
    def test_a_guest_that_falls_silent_in_need_grows_by_its_last_report_and_no_further(self, mode):
        needy, donor = Guest("needy", 900, 1000, maximum=8192), Guest("donor", 300, 6000, maximum=8192, moves_at=200)
        quiet = {"shrink": {"stabilizationSeconds": 3600}, "budget": {"maximum": "7000Mi"}, "mode": mode}
        world = node(needy, donor, policies=[policy(monitoring={"minimumIntervalSeconds": 10}, **quiet)]).tick(50)
        needy.demand = 1020
        while not world.state.pressure.pressed[0] and not world.actions("needy"):
            world.tick()
        needy.frozen = True
        needy.statistics = {"usable": 0.0, "unused": 0.0, "available": 1000 * MIB}
        world.tick(60)
        assert needy.actual <= 2048
        assert len(world.proposals()) <= 2

    def test_without_lent_memory_to_stand_in_a_guest_keeps_its_headroom(self):
        sharing = policy(spare="Share", threshold={"percent": 15})
        world = node(Guest("ramp", 1000, 1300, maximum=8192), policies=[sharing], host_mib=8192)
        world.pressure = True
        world.tick(10)
        for _ in range(100):
            world.guests["ramp"].demand += 8
            world.tick()
        assert world.guests["ramp"].actual > world.guests["ramp"].demand
        assert Reason.PRESSURE_GROW not in {action.reason for action in world.actions()}

    def test_a_guest_that_reports_as_seldom_as_the_window_shrinks_all_the_same(self):
        guest = Guest("guest", 300, 4000)
        world = node(guest)
        for _ in range(12):
            guest.frozen = False
            world.tick()
            guest.frozen = True
            world.tick(9)
        assert guest.actual < 500

    @pytest.mark.parametrize("away", [{"frozen": True}, {"life": Life.PAUSED}])
    def test_after_a_long_gap_a_shrink_waits_for_the_whole_window_again(self, away):
        guest = Guest("guest", 3000, 3600)
        world = node(guest, policies=[policy(shrink={"stabilizationSeconds": 60})]).tick(190)
        before = len(world.actions())
        for name, value in away.items():
            setattr(guest, name, value)
        world.tick(150)
        guest.frozen, guest.life, guest.demand = False, Life.RUNNING, 300
        world.tick(59)
        assert len(world.actions()) == before
        world.tick(5)
        assert world.actions()[-1].reason is Reason.FORECAST_SHRINK


class TestContention:
    """Rule 4."""

    def test_idle_memory_goes_first_and_used_memory_never(self):
        world = node(
            Guest("idle", 100, 900),
            Guest("busy", 800, 900),
            Guest("growing", 800, 900),
            policies=[policy(budget={"maximum": "2700Mi"}, shrink={"stabilizationSeconds": 3600})],
        ).tick(5)
        world.guests["growing"].demand = 1500
        world.tick(20)
        assert world.guests["growing"].actual > 1200
        assert world.guests["busy"].actual >= 800
        assert world.guests["idle"].actual >= 128

    def test_guests_that_swing_by_turns_keep_room_for_their_peaks(self):
        """Who is low for a moment is not robbed for forecasts beyond any peak: it is back at its own in seconds."""
        tight = policy(budget={"maximum": "4300Mi"}, shrink={"stabilizationSeconds": 60})
        world = node(Guest("even", 1500, 2000), Guest("odd", 1500, 2000), policies=[tight]).tick(5)
        for second in range(240):
            low, high = ("even", "odd") if second // 2 % 2 else ("odd", "even")
            world.guests[low].demand, world.guests[high].demand = 900, 2000
            world.tick()
            if second > 120:  # until then they learn where their peaks are
                assert min(world.guests["even"].actual, world.guests["odd"].actual) >= 2000

    def test_one_that_is_merely_close_to_its_limit_does_not_take_what_others_come_back_to(self):
        tight = policy(budget={"maximum": "4100Mi"}, shrink={"stabilizationSeconds": 60})
        world = node(Guest("close", 1300, 1500), Guest("swings", 2400, 2500), policies=[tight]).tick(20)
        for second in range(60):
            world.guests["swings"].demand = 1200 if second // 2 % 2 else 2400
            world.guests["close"].demand = 1300 if second < 20 else 1470
            world.tick()
            assert world.guests["swings"].actual >= 2400
        assert Reason.PRESSURE_GROW in {action.reason for action in world.actions("close")}

    def test_one_with_nothing_left_does(self):
        tight = policy(budget={"maximum": "4100Mi"}, shrink={"stabilizationSeconds": 0})
        world = node(Guest("lost", 1400, 1500), Guest("swings", 2400, 2500), policies=[tight]).tick(20)
        world.guests["swings"].demand, world.guests["lost"].demand = 1200, 2600
        world.tick(15)
        assert world.guests["lost"].actual >= 2600

    def test_what_is_left_is_shared_by_weight(self):
        generous = policy(budget={"maximum": "5000Mi"}, headroom={"percent": 100})
        world = node(
            Guest("heavy", 1500, 2000, wishes=Wishes(weight=300)),
            Guest("light", 1500, 2000),
            policies=[generous],
        ).tick(60)
        assert world.guests["heavy"].actual == pytest.approx(3000, rel=0.05)
        assert world.guests["light"].actual == pytest.approx(2000, rel=0.05)


class TestLeftAlone:
    """Rule 5."""

    @pytest.mark.parametrize(
        "obstacle",
        [
            Reason.NO_BALLOON,
            Reason.HUGE_PAGES,
            Reason.LOCKED_MEMORY,
            Reason.HOST_DEVICES,
            Reason.CONFIDENTIAL,
        ],
    )
    def test_what_must_not_be_touched_is_skipped_with_its_reason(self, obstacle):
        world = node(Guest("guest", 100, 4000, obstacle=obstacle)).tick(120)
        assert world.actions() == []
        assert world.reason("guest") is obstacle

    @pytest.mark.parametrize(
        ("life", "reason"),
        [
            (Life.PAUSED, Reason.PAUSED),
            (Life.NOT_RUNNING, Reason.NOT_RUNNING),
            (Life.BUSY, Reason.BUSY),
            (Life.UNRESPONSIVE, Reason.UNRESPONSIVE),
        ],
    )
    def test_a_guest_that_does_not_run_freely_is_skipped(self, life, reason):
        world = node(Guest("guest", 100, 4000, life=life)).tick(120)
        assert world.actions() == []
        assert world.reason("guest") is reason

    def test_a_guest_opts_out(self):
        world = node(Guest("guest", 100, 4000, wishes=Wishes(opt_out=True))).tick(120)
        assert world.actions() == []
        assert world.reason("guest") is Reason.OPTED_OUT

    def test_wishes_that_make_no_sense_leave_the_guest_alone(self):
        world = node(Guest("guest", 100, 4000, wishes=Wishes(error="minimum: 'x' is no quantity"))).tick(120)
        assert world.actions() == []
        assert world.reason("guest") is Reason.INVALID_WISHES

    def test_a_skip_is_said_once(self):
        world = node(Guest("guest", 100, 4000, obstacle=Reason.HUGE_PAGES)).tick(300)
        notices = [notice for decision in world.decisions for notice in decision.notices]
        assert [(notice.name, notice.reason) for notice in notices] == [("guest", Reason.HUGE_PAGES)]


class TestOwnership:
    """Rule 6."""

    def test_priority_then_age_then_name_decides(self):
        old, new = (
            {"creationTimestamp": "2026-01-01T00:00:00Z"},
            {"creationTimestamp": "2026-02-01T00:00:00Z"},
        )
        policies = [
            policy("d-no-age"),
            policy("c-new", metadata=new),
            policy("b-old", metadata=old),
            policy("a-old", metadata=old),
            policy("z-first", priority=5, metadata=new),
        ]
        assigned = assign([Guest("guest", 1, 1).facts()], policies, NodeIdentity("node"))
        assert assigned.inventory.policies == ("z-first", "a-old", "b-old", "c-new", "d-no-age")
        assert assigned.inventory.policy.tolist() == [0]
        assert assigned.conflicted == dict.fromkeys(("a-old", "b-old", "c-new", "d-no-age"), ("guest",))


class TestObserve:
    """Rule 7."""

    def test_it_is_the_default_and_changes_nothing(self):
        world = node(Guest("idle", 200, 4000), policies=[policy(mode="Observe")]).tick(120)
        assert world.actions() == []
        assert world.guests["idle"].actual == 4000

    def test_it_reports_once_what_enforce_would_do(self):
        world = node(Guest("idle", 200, 4000), policies=[policy(mode="Observe")]).tick(120)
        acting = node(Guest("idle", 200, 4000)).tick(120)
        assert [action.target for action in world.proposals()] == [action.target for action in acting.actions()]
        assert world.reason("idle") is Reason.FORECAST_SHRINK

    def test_what_was_proposed_is_forgotten_with_the_policy_that_proposed_it(self):
        world = node(Guest("idle", 200, 4000), Guest("other", 3000, 3500), policies=[policy(mode="Observe")]).tick(30)
        assert world.reason("idle") is Reason.FORECAST_SHRINK
        world.policies = [policy("other", mode="Observe", domainSelector={"names": ["other"]})]
        world.tick(2)
        (idle, _) = view(world.state, world.now)["domains"]
        assert (idle["target"], idle["reason"]) == (4000 * MIB, str(Reason.NO_POLICY))


class TestContinuity:
    """Rule 8."""

    def test_after_a_restart_nothing_shrinks_until_there_are_fresh_samples(self):
        world = node(Guest("guest", 200, 4000), policies=[policy(shrink={"stabilizationSeconds": 0})]).tick(2)
        assert world.actions() == []
        assert world.reason("guest") is Reason.WARMING_UP
        world.tick(2)
        assert len(world.actions()) == 1

    def test_a_released_domain_gets_its_definition_back(self):
        world = node(Guest("guest", 200, 4000)).tick(30)
        assert world.guests["guest"].actual < 1000
        world.policies = []
        world.tick(5)
        assert world.guests["guest"].actual == 4096
        assert world.actions()[-1].reason is Reason.RELEASE_RESTORE

    def test_a_domain_released_while_it_shrinks_gets_all_of_it_back(self):
        world = node(Guest("guest", 200, 4096, moves_at=1)).tick(10)
        assert world.reason("guest") is Reason.MOVING
        world.policies = []
        world.guests["guest"].moves_at = np.inf
        world.tick(8)
        assert world.guests["guest"].actual == 4096

    def test_a_released_domain_without_fresh_statistics_gives_nothing_to_others(self):
        spare = {"spare": "Share", "monitoring": {"maximumIntervalSeconds": 60}}
        policies = [policy(name, domainSelector={"names": [name]}, **spare) for name in ("mine", "other")]
        mine, other = Guest("mine", 500, 3000, definition=1024), Guest("other", 500, 600)
        world = node(mine, other, policies=policies, host_mib=6000).tick(60)
        known = mine.sample()
        mine.statistics = {name: known[name] for name in ("usable", "unused", "caches")}
        mine.frozen = True
        world.tick(100)
        assert world.reason("mine") is Reason.STALE_STATISTICS
        size, mine.demand, other.demand = mine.actual, 2400, other.actual + 1500
        world.policies = policies[1:]
        world.tick(20)
        assert mine.actual == size

    def test_a_domain_released_right_after_a_start_gives_nothing_before_its_third_sample(self):
        policies = [policy(name, domainSelector={"names": [name]}) for name in ("mine", "other")]
        mine, other = Guest("mine", 500, 3000, definition=1024), Guest("other", 2000, 600)
        world = node(mine, other, policies=policies, host_mib=4200).tick()
        world.policies = policies[1:]
        world.tick()
        assert world.actions("mine") == []
        world.tick(20)
        assert world.actions("mine")[0].reason is Reason.RELEASE_RESTORE
        assert mine.actual < 3000 < other.actual + mine.actual

    @pytest.mark.parametrize("obstacle", [Reason.UNREADABLE, Reason.HUGE_PAGES])
    def test_a_released_domain_that_must_not_be_touched_is_left_alone_until_it_may(self, obstacle):
        world = node(Guest("guest", 200, 4000)).tick(30)
        size, before = world.guests["guest"].actual, len(world.actions())
        world.policies = []
        world.guests["guest"].obstacle = obstacle
        world.tick(30)
        assert (world.guests["guest"].actual, len(world.actions())) == (size, before)
        world.guests["guest"].obstacle = Reason.NONE
        world.tick(2)
        assert world.guests["guest"].actual == 4096

    def test_a_released_domain_that_wishes_to_be_left_alone_is(self):
        world = node(Guest("guest", 200, 4000)).tick(30)
        size = world.guests["guest"].actual
        world.policies = []
        world.guests["guest"].wishes = Wishes(opt_out=True)
        world.tick(90)
        assert world.guests["guest"].actual == size

    def test_release_keeps_when_told_so(self):
        world = node(Guest("guest", 200, 4000), policies=[policy(release="Keep")]).tick(30)
        size = world.guests["guest"].actual
        world.policies = []
        world.tick(60)
        assert world.guests["guest"].actual == size

    def test_release_stays_within_the_budget(self):
        world = node(Guest("one", 200, 1500), Guest("two", 1500, 2500), host_mib=5000).tick(30)
        world.policies = [policy(domainSelector={"names": ["two"]})]
        world.tick(120)
        assert world.allocated() <= 5000 - 512

    def test_a_changed_policy_does_not_forget_what_was_learned(self):
        world = node(Guest("guest", 200, 4000)).tick(30)
        world.policies = [policy(threshold={"percent": 50})]
        world.tick(2)
        assert world.state.observation.fresh_count[0] > 10

    def test_a_domain_started_anew_begins_without_history(self):
        world = node(Guest("guest", 200, 4000)).tick(30)
        world.guests["guest"].incarnation = 2
        world.tick(1)
        assert world.state.observation.fresh_count[0] == 1


class TestReset:
    """A guest that boots anew is as good as one just started, but QEMU goes on as it was told."""

    def test_it_begins_without_history(self):
        world = node(Guest("guest", 200, 4000)).tick(30)
        world.guests["guest"].reset_at = world.now + world.wall_offset
        world.tick()
        assert world.state.observation.fresh_count[0] == 1

    def test_it_boots_until_it_sends_statistics_for_those_of_before_do_not_count(self):
        world = node(Guest("guest", 200, 4000)).tick(5)
        guest = world.guests["guest"]
        world.now += 0.5
        world.reset(guest)
        guest.frozen = True
        world.tick(10)
        assert world.reason("guest") is Reason.BOOTING
        assert world.state.observation.fresh_count[0] == 0
        guest.frozen = False
        world.tick(6)
        assert world.reason("guest") is not Reason.BOOTING

    def test_it_boots_no_longer_because_the_clock_was_set_back(self):
        world = node(Guest("guest", 200, 4000)).tick(5)
        world.reset(world.guests["guest"])
        world.wall_offset -= 3600
        world.tick(8)
        assert world.state.observation.fresh_count[0] > 0

    def test_the_way_of_its_balloon_back_to_where_it_was_is_nobodys_change(self):
        world = node(Guest("guest", 200, 4000)).tick(30)
        guest = world.guests["guest"]
        size, guest.moves_at = guest.actual, 200
        world.reset(guest)
        world.tick(30)
        assert guest.actual == size
        assert notices(world) == []

    def test_once_settled_a_size_set_by_someone_else_counts_again(self):
        world = node(Guest("guest", 200, 2000)).tick(20)
        world.reset(world.guests["guest"])
        world.tick(20)
        world.guests["guest"].target = world.guests["guest"].actual = 1500
        world.tick()
        assert notices(world) == [Reason.OUTSIDE_CHANGE]

    def test_what_it_was_told_to_grow_to_stays_promised(self):
        one, two = Guest("one", 2000, 1000, stuck=True), Guest("two", 500, 500)
        world = node(one, two, policies=[policy(budget={"maximum": "3Gi"})]).tick(1)
        promised = one.target
        one.reset_at, one.frozen, two.demand = world.now + world.wall_offset, True, 2500
        world.tick(10)
        assert two.actual + promised <= 3072

    def test_a_release_goes_on(self):
        world = node(Guest("guest", 200, 4000)).tick(30)
        guest = world.guests["guest"]
        world.policies, guest.reset_at = [], world.now + world.wall_offset
        world.tick(5)
        assert guest.actual == 4096


class TestOutsideChanges:
    def test_a_size_set_by_someone_else_is_a_new_truth_and_not_fought(self):
        world = node(Guest("guest", 200, 2000)).tick(20)
        world.guests["guest"].target = world.guests["guest"].actual = 1500
        before = len(world.actions())
        world.tick(20)
        assert world.actions()[before:] == []
        assert world.reason("guest") is Reason.OUTSIDE_CHANGE

    def test_a_refused_change_is_tried_again_later(self):
        world = node(Guest("guest", 200, 2000))
        world.refuse_next = "guest"
        world.tick(12)
        assert world.guests["guest"].actual == 2000
        world.tick(20)
        assert world.guests["guest"].actual < 500

    def test_clock_jumps_do_no_harm(self):
        for jump in (3600, -3600):
            world = node(Guest("guest", 500, 2000)).tick(20)
            world.wall_offset += jump
            world.tick(30)
            assert world.guests["guest"].actual >= 500
            assert world.reason("guest") is Reason.WITHIN_THRESHOLD


class TestAttention:
    patient = policy(monitoring={"maximumIntervalSeconds": 60}, shrink={"stabilizationSeconds": 600})

    def test_a_calm_guest_is_looked_at_ever_more_rarely(self):
        world = node(Guest("calm", 500, 600), policies=[self.patient]).tick(600)
        assert len([when for when, _ in world.looks if when > 1300]) <= 6

    def test_a_guest_whose_memory_others_took_is_calm_but_watched(self):
        world = node(
            Guest("donor", 100, 2000, maximum=8192),
            Guest("busy", 900, 1000),
            policies=[policy(spare="Share", monitoring={"maximumIntervalSeconds": 60})],
            host_mib=3200,
        ).tick(300)
        for demand in (1400, 1900, 2300):
            world.guests["busy"].demand = demand
            world.tick(60)
        donor = next(row for row, name in enumerate(world.state.inventory.names) if name == "donor")
        taken = [action for action in world.actions() if action.name == "donor"]
        assert len(taken) > 2
        assert taken[-1].reason is Reason.CONTENTION_SHRINK
        assert world.state.tempo.stable[donor]
        assert len([when for when, name in world.looks if name == "donor" and when > world.now - 20]) >= 10

    @pytest.mark.parametrize(("sign", "a_second"), [("swap_in", 2e5), ("major_faults", 50.0)])
    def test_one_that_was_short_whenever_nobody_looked_is_unstable(self, sign, a_second):
        world = node(Guest("guest", 200, 1000), policies=[self.patient]).tick(300)
        assert world.state.tempo.stable[0]
        for second in range(120):
            world.guests["guest"].statistics = {sign: a_second * second}
            world.tick()
        assert not world.state.tempo.stable[0]
        assert len([when for when, _ in world.looks if when > world.now - 30]) >= 29

    def test_one_that_reads_back_a_little_is_calm(self):
        world = node(Guest("guest", 200, 1000), policies=[self.patient]).tick(300)
        for second in range(120):
            world.guests["guest"].statistics = {"swap_in": 4096.0 * second, "major_faults": 1.0 * second}
            world.tick()
        assert world.state.tempo.stable[0]
        assert len([when for when, _ in world.looks if when > world.now - 30]) <= 2

    def test_an_unstable_guest_is_looked_at_at_the_shortest_interval(self):
        world = node(Guest("wild", 500, 2000), policies=[self.patient]).tick(30)
        choice = np.random.default_rng(1)
        for _ in range(120):
            others = {300, 900, 1500} - {world.guests["wild"].demand}
            world.guests["wild"].demand = int(choice.choice(sorted(others)))
            world.tick()
        assert len([when for when, _ in world.looks if when > 1090]) >= 45

    def test_a_guest_about_to_run_out_is_looked_at_in_time(self):
        world = node(Guest("ramp", 500, 2000), policies=[self.patient]).tick(60)
        for second in range(280):
            world.guests["ramp"].demand = 500 + 5 * second
            world.tick()
            assert world.guests["ramp"].demand <= world.guests["ramp"].actual

    def test_a_guest_whose_size_is_about_to_be_told_is_looked_at_again_at_once(self):
        guest = Guest("guest", 300, 350, maximum=8192, moves_at=0)
        world = node(guest, policies=[self.patient]).tick(20)
        guest.demand = 350
        while not np.isfinite(world.state.balloon.target[0]):
            world.tick()
        guest.statistics = {"usable": 900 * MIB, "unused": 900 * MIB, "available": 1300 * MIB}
        world.tick()
        assert world.reason("guest") is Reason.MOVING
        world.tick()
        assert [when for when, _ in world.looks][-2:] == [world.now - 1, world.now]

    def test_looks_that_fall_due_together_are_one(self):
        world = node(*(Guest(f"guest-{number}", 500, 600) for number in range(10))).tick(100)
        assert len({when for when, _ in world.looks}) * 10 == len(world.looks)


def test_a_step_changes_neither_state_nor_snapshot():
    world = node(Guest("guest", 200, 2000)).tick(3)
    state, before = world.state, world.state.dump()
    world.tick(30)
    assert state.dump() == before


def test_an_action_tells_the_demand_and_the_forecast_it_rests_on():
    (action,) = node(Guest("guest", 500, 300)).tick().actions()
    assert (action.demand, action.forecast) == (300 * MIB, 300 * MIB)


def test_the_state_can_be_dumped_as_json():
    world = node(Guest("guest", 200, 2000), Guest("mute", 1, 1, obstacle=Reason.NO_BALLOON)).tick(30)
    assert json.loads(json.dumps(world.state.dump()))["keys"] == ["guest", "mute"]
    assert json.loads(json.dumps(view(world.state, world.now)))["domains"][0]["policy"] == "default"


def test_spare_memory_is_lent_and_given_up_again():
    sharing = policy(spare="Share", budget={"maximum": "4000Mi"})
    world = node(Guest("one", 500, 800), Guest("two", 500, 800), policies=[sharing]).tick(30)
    assert world.allocated() == pytest.approx(4000 * 0.95, rel=0.02)
    world.guests["one"].demand = 2800
    world.tick(20)
    assert world.guests["one"].actual >= 2800
    assert world.guests["two"].actual >= 500


def test_an_empty_node_needs_no_attention():
    assert Node([]).tick(5).decisions == []

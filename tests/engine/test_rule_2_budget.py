"""Rule 2: what the host itself uses and what guests are promised together stay within what there is."""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, node, policy, to_the_first_order

from controller.api.policy import MemoryPolicy
from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState


class TestPromises:
    def test_grows_wait_until_shrinks_have_returned_the_memory(self):
        world = node(
            ScriptedGuest("donor", 200, 1000, moves_at=100),
            ScriptedGuest("grower", 200, 1000),
            policies=[policy(budget={"maximum": "2000Mi"}, advanced={"shrink": {"stabilizationSeconds": 3600}})],
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
        world = node(ScriptedGuest("mine", 900, 1000), ScriptedGuest("other", 100, 900), policies=[chosen]).tick(5)
        world.guests["mine"].demand = 2000
        world.tick(30)
        assert world.allocated() <= 2000
        assert world.guests["other"].actual == 900

    def test_a_stuck_grow_that_libvirt_does_not_let_go_of_stays_the_guests(self):
        stiff, other = ScriptedGuest("stiff", 960, 1000, stuck=True), ScriptedGuest("other", 900, 1000)
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
        giver, taker = ScriptedGuest("giver", 300, 2000, moves_at=50), ScriptedGuest("taker", 1900, 2000)
        world = node(giver, taker, policies=[policy(budget={"maximum": "4000Mi"})])
        to_the_first_order(world, "giver")
        world.tick(3)
        taker.demand = 3000
        world.tick(2)
        giver.demand, world.refuse_next = giver.actual, "giver"
        world.tick(8)
        assert world.refuse_next == ""
        assert giver.target == giver.actual
        assert Reason.OUTSIDE_CHANGE not in world.notices()


class TestBudgetWithoutOwnUse:
    def test_what_guests_are_given_between_looks_is_not_taken_for_the_hosts_own_use(self):
        settings = {"policies": [policy(advanced={"monitoring": {"maximumIntervalSeconds": 60}})], "host_mib": 8192}
        world = node(ScriptedGuest("calm", 500, 1000), ScriptedGuest("waking", 500, 1000), **settings).tick(60)
        budgets = {world.shown()["budget"]}
        for demand in (1500, 3000, 400, 2500):
            world.guests["waking"].demand = demand
            for _ in range(10):
                world.tick()
                budgets.add(world.shown()["budget"])
        assert len(world.actions("waking")) >= 4
        assert len(budgets) == 1

    def test_what_the_host_itself_uses_more_is_seen_while_guests_move(self):
        world = node(ScriptedGuest("slow", 500, 4000, moves_at=20), host_mib=8192).tick(20)
        budget = world.shown()["budget"]
        world.host_use_mib += 1000
        world.tick(2)
        assert world.reason("slow") is Reason.MOVING
        assert world.shown()["budget"] <= budget - 900 * MIB

    def test_a_job_that_hides_what_a_guest_holds_changes_nothing_of_the_hosts_own_use(self):
        settings = {"policies": [policy(mode="Observe")], "host_mib": 16384}
        untouched = ScriptedGuest("a", 1500, 8000, maximum=8192, statistics={"rss": 2000 * MIB})
        world = node(untouched, **settings)
        world.host_use_mib = 3000 - 6000
        budget = world.tick(30).shown()["budget"]
        assert budget == pytest.approx((16384 - 3000) * MIB - 0.05 * 16384 * MIB)
        untouched.run_state, untouched.statistics = (
            RunState.BUSY,
            dict.fromkeys(("rss", "usable", "unused", "updated"), np.nan),
        )
        world.tick(30)
        assert world.reason("a") is Reason.BUSY
        assert world.shown()["budget"] == budget

    def test_what_a_guest_takes_while_a_job_hides_it_is_not_the_hosts_own_use(self):
        untouched = ScriptedGuest("a", 1500, 8000, maximum=8192, statistics={"rss": 2000 * MIB})
        world = node(untouched, policies=[policy(mode="Observe")], host_mib=16384)
        world.host_use_mib = 3000 - 6000
        budget = world.tick(30).shown()["budget"]
        untouched.run_state, untouched.statistics = (
            RunState.BUSY,
            dict.fromkeys(("rss", "usable", "unused", "updated"), np.nan),
        )
        world.tick(5)
        world.host_use_mib += 5000
        world.tick(30)
        assert world.shown()["budget"] == budget

    def test_huge_pages_are_the_guests_though_they_are_not_in_qemus_resident_memory(self):
        pool = ScriptedGuest("pool", 1000, 8192, maximum=8192, resident=False, statistics={"rss": 200 * MIB})
        world = node(pool, policies=[], host_mib=32768).tick(30)
        assert world.shown()["host_use"] == 0


class TestHostPressure:
    def test_nothing_is_lent_while_the_host_is_under_pressure_and_for_a_minute_after_it(self):
        sharing = policy(spare="Share", advanced={"monitoring": {"maximumIntervalSeconds": 60}})
        world = node(
            ScriptedGuest("a", 500, 3000), ScriptedGuest("b", 500, 3000), policies=[sharing], host_mib=8192
        ).tick(30)
        before = len(world.actions())
        for _ in range(4):
            world.pressure = True
            world.step()  # the host's pressure wakes the loop
            world.tick(3)
            world.pressure = False
            world.tick(27)
        taken = world.actions()[before:]
        assert sorted(action.name for action in taken) == ["a", "b"]
        assert {action.reason for action in taken} == {Reason.HOST_PRESSURE_SHRINK}
        world.tick(600)
        assert {action.reason for action in world.actions()[before + 2 :]} == {Reason.SPARE_LENT}

    def test_host_pressure_takes_nothing_on_an_old_sample_and_asks_a_guest_once(self):
        def sharing(budget: str) -> MemoryPolicy:
            patient = {
                "advanced": {"monitoring": {"maximumIntervalSeconds": 60}, "shrink": {"stabilizationSeconds": 120}}
            }
            return policy(spare="Share", budget={"maximum": budget}, **patient)

        world = node(ScriptedGuest("a", 500, 1000), ScriptedGuest("b", 500, 1000), policies=[sharing("2000Mi")]).tick(
            400
        )
        while world.now - max(when for when, name in world.looks if name == "a") < 5:
            world.tick()
        before = len(world.actions())
        world.policies, world.pressure, world.now = [sharing("8000Mi")], True, world.now + 0.5
        world.step()
        assert world.actions()[before:] == []
        world.tick()
        names = [action.name for action in world.actions()[before:]]
        assert sorted(names) == ["a", "b"]


def test_spare_memory_is_lent_and_given_up_again():
    sharing = policy(spare="Share", budget={"maximum": "4000Mi"})
    world = node(ScriptedGuest("one", 500, 800), ScriptedGuest("two", 500, 800), policies=[sharing]).tick(30)
    assert 0.85 * 4000 <= world.allocated() <= 4000
    world.guests["one"].demand = 2800
    world.tick(20)
    assert world.guests["one"].actual >= 2800
    assert world.guests["two"].actual >= 500

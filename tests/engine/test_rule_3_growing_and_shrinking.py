"""Rule 3: growing is fast, shrinking is slow."""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, default_policy, node, policy, to_the_first_order

from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState


class TestInNeed:
    def test_a_guest_under_pressure_grows_at_the_next_look(self):
        world = node(ScriptedGuest("guest", 500, 1000)).tick(20)
        before = world.guests["guest"].actual
        world.guests["guest"].demand = before
        world.tick(2)
        assert world.guests["guest"].actual > before

    def test_a_guest_in_need_gets_an_amount_that_cannot_be_seen(self):
        world = node(ScriptedGuest("guest", 500, 1000)).tick(20)
        world.guests["guest"].demand = 3000
        world.tick(16)
        assert world.guests["guest"].actual >= 3000

    def test_a_guest_that_wakes_up_gets_at_once_what_it_used_of_late(self):
        world = node(ScriptedGuest("napping", 3000, 3500)).tick(10)
        world.guests["napping"].demand = 100
        world.tick(30)
        assert world.guests["napping"].actual < 300
        world.guests["napping"].demand = 2800
        world.tick(3)
        assert world.guests["napping"].actual >= 2800

    def test_a_guest_that_deflated_its_own_balloon_grows(self):
        world = node(ScriptedGuest("auto", 300, 1000, autodeflate=True)).tick(30)
        world.guests["auto"].actual += 200
        world.guests["auto"].target = None
        before = len(world.actions())
        world.tick(1)
        world._step({"auto": world.guests["auto"].actual})
        assert world.actions()[before:][0].reason is Reason.PRESSURE_GROW

    def test_a_guest_under_pressure_is_shown_as_such_while_it_is_served(self):
        world = node(ScriptedGuest("guest", 500, 1000)).tick(20)
        world.guests["guest"].demand = 3000
        shown = []
        for _ in range(8):
            before = len(world.actions())
            world.tick()
            if Reason.PRESSURE_GROW in {action.reason for action in world.actions()[before:]}:
                shown.append(world.domain("guest")["pressure"])
        assert len(shown) >= 3
        assert all(shown)

    @pytest.mark.parametrize("sign", ["swap_in", "major_faults"])
    def test_a_guest_that_swaps_in_or_thrashes_grows(self, sign):
        world = node(ScriptedGuest("guest", 920, 1000)).tick(3)
        for count in range(5):
            world.guests["guest"].statistics = {sign: 1e5 * (count + 1)}
            world.tick()
        assert Reason.PRESSURE_GROW in {action.reason for action in world.actions()}

    def test_a_guest_whose_balloon_shrinks_slowly_grows_at_a_sign_of_pressure(self):
        guest = ScriptedGuest("guest", 500, 4000, moves_at=5)
        world = node(guest).tick(60)
        assert world.reason("guest") is Reason.MOVING
        for faults in range(3):
            left = 0.08 * guest.actual * MIB
            guest.statistics = {"major_faults": 100.0 * faults, "usable": left, "unused": left}
            world.tick()
        assert world.actions()[-1].reason is Reason.PRESSURE_GROW

    def test_a_guest_that_reports_seldom_is_in_need_until_it_reports_anew(self):
        needy, donor = ScriptedGuest("needy", 900, 1000), ScriptedGuest("donor", 300, 2000, moves_at=100)
        sharing = policy(budget={"maximum": "3000Mi"}, advanced={"shrink": {"stabilizationSeconds": 3600}})
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
        needy, donor = (
            ScriptedGuest("needy", 900, 1000, maximum=8192),
            ScriptedGuest("donor", 300, 6000, maximum=8192, moves_at=200),
        )
        quiet = {"shrink": {"stabilizationSeconds": 3600}, "monitoring": {"minimumIntervalSeconds": 10}}
        chosen = policy(mode=mode, budget={"maximum": "7000Mi"}, advanced=quiet)
        world = node(needy, donor, policies=[chosen]).tick(50)
        needy.demand = 1020
        while not world.domain("needy")["pressure"] and not world.actions("needy"):
            world.tick()
        needy.frozen = True
        needy.statistics = {"usable": 0.0, "unused": 0.0, "available": 1000 * MIB}
        world.tick(60)
        assert needy.actual <= 2048
        assert len(world.proposals()) <= 2

    def test_a_guest_that_runs_short_while_it_shrinks_grows_at_once(self):
        world = node(ScriptedGuest("slow", 500, 4000, moves_at=50)).tick(12)
        world.guests["slow"].demand = world.guests["slow"].actual
        world.tick(2)
        assert world.actions()[-1].reason is Reason.PRESSURE_GROW
        assert world.actions()[-1].target > world.guests["slow"].demand * MIB

    def test_a_shrink_of_one_that_runs_short_ends_where_it_is_when_no_memory_is_free(self):
        """Else the balloon would take the first page the guest lets go, and then be stuck in one that is well."""
        chosen = policy(budget={"maximum": "6000Mi"}, advanced={"shrink": {"stabilizationSeconds": 0}})
        world = node(
            ScriptedGuest("slow", 500, 4000, moves_at=50), ScriptedGuest("full", 1950, 2000), policies=[chosen]
        )
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
        assert not {Reason.STUCK, Reason.OUTSIDE_CHANGE} & {*world.notices()}
        slow.demand, slow.moves_at = 500, np.inf
        world.tick(60)
        assert slow.actual < 1000

    @pytest.mark.parametrize("used", [0.8, 0.1], ids=["with little to spare", "with page cache that is in use"])
    def test_a_shrink_ends_where_its_guest_swaps_out_and_it_is_not_asked_for_that_again(self, used):
        world = node(ScriptedGuest("slow", 500, 4000, moves_at=50)).tick(12)
        slow = world.guests["slow"]
        assert world.reason("slow") is Reason.MOVING
        slow.demand, slow.swap_out = used * slow.actual, 300 * MIB
        slow.statistics = {"unused": 0.05 * slow.actual * MIB, "caches": 0.95 * (1 - used) * slow.actual * MIB}
        world.tick(2)
        halt = world.actions("slow")[-1]
        assert (halt.before, halt.target) == (slow.actual * MIB, slow.actual * MIB)
        world.tick(300)
        assert slow.actual * MIB >= halt.target

    def test_a_slow_donor_is_not_waited_for_while_another_has_memory_to_give(self):
        held = policy("held", budget={"maximum": "7000Mi"}, advanced={"shrink": {"stabilizationSeconds": 3600}})
        quick = policy("quick", budget={"maximum": "7000Mi"}, domainSelector={"names": ["slow"]}, priority=1)
        slow, idle = ScriptedGuest("slow", 300, 3000, moves_at=2), ScriptedGuest("idle", 300, 3000)
        hungry = ScriptedGuest("hungry", 600, 1000, maximum=2048)
        world = node(slow, idle, hungry, policies=[held, quick]).tick(12)
        assert world.reason("slow") is Reason.MOVING
        hungry.demand = 1900
        world.tick(8)
        assert hungry.actual >= 1900
        assert slow.actual > 2900

    @pytest.mark.parametrize("spare", ["Share", "Reclaim"])
    def test_memory_that_was_promised_to_another_and_takes_long_to_come_is_not_waited_for(self, spare):
        """One has left, another grows by 100 GiB for minutes, of which it has no need (any more)."""
        large, needy = ScriptedGuest("large", 20000, 24000, 200000), ScriptedGuest("needy", 4000, 6000, maximum=60000)
        large.moves_at = 2000
        leaves = ScriptedGuest("leaves", 120000, 130000, maximum=160000)
        world = node(large, needy, leaves, policies=[default_policy(spare=spare)], host_mib=180000).tick(200)
        del world.guests["leaves"]
        large.demand = 24000 if spare == "Share" else 120000
        world.tick(12)
        assert large.target > large.actual + 60000
        large.demand, needy.demand = 20000, 50000
        world.tick(15)
        assert needy.actual >= 50000
        assert world.allocated() <= world.state.host.budget / MIB

    def test_a_starving_guest_grows_from_others_slack_although_the_host_is_under_pressure(self):
        world = node(
            ScriptedGuest("idle", 200, 1800),
            ScriptedGuest("starving", 600, 400),
            policies=[policy(advanced={"shrink": {"stabilizationSeconds": 3600}})],
            host_mib=3000,
        )
        world.host_use_mib = 500
        world.pressure = True
        world.tick(20)
        assert world.guests["starving"].actual >= 600
        assert world.guests["idle"].actual >= 200


class TestAhead:
    @pytest.mark.parametrize("seconds", [250, pytest.param(600, marks=pytest.mark.slow)])
    def test_a_slow_ramp_is_grown_ahead_of_pressure_although_the_threshold_is_as_large_as_the_headroom(self, seconds):
        world = node(ScriptedGuest("ramp", 500, 1000), policies=[policy(advanced={"threshold": {"percent": 10}})]).tick(
            60
        )
        settled = len(world.actions())
        for _ in range(seconds):
            world.guests["ramp"].demand += 0.5
            world.tick()
        grows = world.actions()[settled:]
        assert {action.reason for action in grows} == {Reason.FORECAST_GROW}
        assert min(action.target - action.before for action in grows) >= 0.1 * 500 * MIB
        assert len(grows) <= 8

    def test_a_guest_keeps_its_headroom_where_no_lent_memory_stands_in(self):
        sharing = policy(spare="Share", advanced={"threshold": {"percent": 15}})
        world = node(ScriptedGuest("ramp", 1000, 1300, maximum=8192), policies=[sharing], host_mib=8192)
        world.pressure = True
        world.tick(10)
        for _ in range(100):
            world.guests["ramp"].demand += 8
            world.tick()
        assert world.guests["ramp"].actual > world.guests["ramp"].demand
        assert Reason.PRESSURE_GROW not in {action.reason for action in world.actions()}


class TestStabilisation:
    def test_a_shrink_waits_for_the_stabilisation_window(self):
        slow = policy(advanced={"shrink": {"stabilizationSeconds": 60}})
        world = node(ScriptedGuest("guest", 1000, 1200), policies=[slow]).tick(5)
        world.guests["guest"].demand = 300
        world.tick(50)
        assert world.actions() == []
        assert world.reason("guest") is Reason.STABILIZING

    def test_the_window_holds_although_another_is_in_need_while_there_is_memory_for_it(self):
        calm, needy = ScriptedGuest("calm", 3000, 3400, maximum=8192), ScriptedGuest("needy", 500, 700, maximum=8192)
        world = node(calm, needy, policies=[policy(advanced={"shrink": {"stabilizationSeconds": 120}})]).tick(300)
        before = calm.actual
        calm.demand, needy.demand = 1000, 5000
        world.tick(60)
        assert needy.actual >= 5000
        assert calm.actual == before

    def test_a_guest_that_reports_as_seldom_as_the_window_shrinks_all_the_same(self):
        guest = ScriptedGuest("guest", 300, 4000)
        world = node(guest)
        for _ in range(12):
            guest.frozen = False
            world.tick()
            guest.frozen = True
            world.tick(9)
        assert guest.actual < 500

    @pytest.mark.parametrize("away", [{"frozen": True}, {"run_state": RunState.PAUSED}])
    def test_a_shrink_after_a_long_gap_waits_for_the_whole_window_again(self, away):
        guest = ScriptedGuest("guest", 3000, 3600)
        world = node(guest, policies=[policy(advanced={"shrink": {"stabilizationSeconds": 60}})]).tick(190)
        before = len(world.actions())
        for name, value in away.items():
            setattr(guest, name, value)
        world.tick(150)
        guest.frozen, guest.run_state, guest.demand = False, RunState.RUNNING, 300
        world.tick(59)
        assert len(world.actions()) == before
        world.tick(5)
        assert world.actions()[-1].reason is Reason.FORECAST_SHRINK

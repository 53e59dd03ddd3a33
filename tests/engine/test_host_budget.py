"""The host's own use and its budget, and when memory that nobody needs is lent."""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, policy

from controller.engine.host import Held, HostState, update
from controller.engine.inventory import NodeBudget
from controller.engine.snapshot import HostReading
from controller.engine.tuning import Tuning
from controller.forecast import bound
from controller.forecast.wls import WLS

GIB = 2.0**30
TUNING = Tuning()
LIMITS = NodeBudget(reserve=0.0, reserve_fraction=0.0)


def reading(
    available: float, *, pressure: bool = False, mark: float = 0.0, merged: float = 0.0, shared: float = 0.0
) -> HostReading:
    """Of a host of 64 GiB, in GiB."""
    return HostReading(64 * GIB, available * GIB, 0.0, pressure, mark * GIB, merged * GIB, shared * GIB)


def updated(host: HostState, seen: HostReading, held: tuple[float, ...], now: float = 1000.0) -> HostState:
    return update(host, seen, Held(*(size * GIB for size in held)), LIMITS, now, TUNING)


class TestOwnUse:
    def test_it_is_what_no_guest_holds(self):
        host = updated(HostState(), reading(24), (30, 30))
        assert (host.own_use / GIB, host.budget / GIB) == (10, 54)

    def test_what_may_be_the_guests_changes_nothing(self):
        host = updated(HostState(), reading(24), (30, 30))
        assert updated(host, reading(22), (30, 34), 1010.0).own_use == 10 * GIB
        assert updated(host, reading(18), (30, 34), 1020.0).own_use == 12 * GIB
        assert updated(host, reading(30), (30, 34), 1030.0).own_use == 4 * GIB

    def test_its_forecast_is_not_passed_in_ten_seconds_with_a_chance_of_95_percent(self):
        host = HostState()
        for second in range(20):
            host = updated(host, reading(24 - 0.1 * second - 0.02 * (second % 3)), (30, 30), 1000.0 + second)
        line = WLS().fit(host.history.points(1019.0, np.array([0])))
        assert host.own_forecast == pytest.approx(float(bound.upper(line, 10.0, 0.95)[0]))

    @pytest.mark.parametrize(("seconds", "forecast_at"), [(0.9, 1000.0), (1.0, 1001.0)])
    def test_its_forecast_is_made_anew_once_a_second(self, seconds, forecast_at):
        host = updated(HostState(), reading(24), (30, 30), 1000.0)
        assert updated(host, reading(25), (30, 30), 1000.0 + seconds).updated == forecast_at

    @pytest.mark.parametrize("merged", [0, 4, 16])
    def test_memory_that_was_merged_is_in_use_once_and_counted_in_several_guests(self, merged):
        host = updated(HostState(), reading(24 + merged, merged=merged), (30, 30))
        assert host.own_use == 10 * GIB

    def test_merged_memory_does_not_hide_the_hosts_own_use_from_the_budget(self):
        def budget(merged: float) -> float:
            guests = [ScriptedGuest(f"g{number}", 1000, 4000, maximum=4096, merged=merged / 4) for number in range(4)]
            world = ScriptedNode(guests, policies=[policy(mode="Observe")], host_mib=32768)
            world.host_use_mib = 8000
            return world.tick(10).state.host.budget

        assert budget(10000) == budget(0)

    @pytest.mark.parametrize(
        ("available", "shared"),
        [(54, 0), (24, 30), (34, 20), (24, 50)],
        ids=["on a disk", "in a tmpfs", "in both", "beside what others share"],
    )
    def test_of_guests_in_files_what_is_in_no_tmpfs_is_in_use_although_it_counts_as_available(self, available, shared):
        host = updated(HostState(), reading(available, shared=shared), (30, 30, 30))
        assert (host.own_use / GIB, host.budget / GIB) == (10, 54)

    def test_only_guests_in_files_are_looked_for_there(self):
        def own_use(**settings: bool) -> float:
            world = ScriptedNode([ScriptedGuest("g", 1000, 4000, **settings)], policies=[], host_mib=32768)
            return world.tick(10).state.host.own_use

        assert (own_use(), own_use(in_file=True) / MIB) == (0, 4000)


class TestMemoryDevices:
    def test_what_guests_hold_beside_their_balloons_is_not_given_away(self):
        host = updated(HostState(), reading(24, mark=3), (30, 38, 0, 8))
        assert (host.budget / GIB, host.lendable / GIB) == (64 - 2 - 8, pytest.approx(64 - 2 - 8 - 1.2 * 3))

    def test_it_is_taken_off_a_budget_of_the_policies_too(self):
        held = Held(0, 8 * GIB, 0, 8 * GIB)
        assert update(HostState(), reading(64), held, NodeBudget(0.0, 0.0, 20 * GIB), 1000.0, TUNING).budget == 12 * GIB

    def test_images_that_may_be_in_memory_or_not_do_not_make_it_the_hosts_own_use(self):
        image = ScriptedGuest("g", 1000, 4000, maximum=4096, devices=2000, statistics={"rss": 6000 * MIB})
        world = ScriptedNode([image], policies=[policy(mode="Observe")], host_mib=32768).tick(10)
        world.host_use_mib = 2000
        assert world.tick(60).state.host.own_use == 0
        world.host_use_mib = 5000
        assert world.tick(60).state.host.own_use == 3000 * MIB


class TestLending:
    def test_it_stays_clear_of_the_low_memory_mark(self):
        host = updated(HostState(), reading(24, mark=3), (30, 30))
        assert (host.budget / GIB, host.lendable / GIB) == (54, pytest.approx(54 - 1.2 * 3))

    def test_without_a_mark_all_of_the_budget_may_be_lent(self):
        host = updated(HostState(), reading(24), (30, 30))
        assert host.lendable == host.budget

    def test_pressure_ends_it_for_a_minute(self):
        host = updated(HostState(), reading(24, pressure=True), (30, 30), 1000.0)
        assert host.lends_at > 1059.9
        assert host.lends_at <= 1060.0

    @pytest.mark.parametrize(("given", "strained"), [(54, True), (55, False)])
    def test_pressure_does_not_end_it_while_guests_have_more_than_the_budget(self, given, strained):
        host = updated(HostState(), reading(24, pressure=True), (30, 30, 0, 0, given), 1000.0)
        assert (host.strained, host.lends_at > 0) == (strained, strained)

    @pytest.mark.parametrize(("seconds", "strained"), [(10.0, False), (10.1, True)])
    def test_pressure_that_lasts_longer_than_that_ends_it(self, seconds, strained):
        host = updated(HostState(), reading(24, pressure=True), (30, 30, 0, 0, 55), 1000.0)
        assert updated(host, reading(24, pressure=True), (30, 30, 0, 0, 54), 1000.0 + seconds).strained == strained

    def test_pressure_that_lasts_is_one_shortage(self):
        host = HostState()
        for second in range(200):
            host = updated(host, reading(24, pressure=second % 30 < 3), (30, 30), 1000.0 + second)
        assert host.backoff == 60

    def test_pressure_that_lending_brings_back_ends_it_for_longer_each_time(self):
        host, now, rests = HostState(), 1000.0, []
        for _ in range(8):
            host = updated(host, reading(24, pressure=True), (30, 30), now)
            rests.append(host.lends_at - now)
            now = host.lends_at + 5
        assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600]

    def test_pressure_within_twice_the_rest_before_is_the_same_shortage(self):
        host = updated(HostState(), reading(24, pressure=True), (30, 30), 1000.0)
        assert updated(host, reading(24, pressure=True), (30, 30), 1060.0 + 119).backoff == 120

    def test_pressure_after_a_long_calm_is_a_new_shortage(self):
        host = updated(HostState(), reading(24, pressure=True), (30, 30), 1000.0)
        host = updated(host, reading(24, pressure=True), (30, 30), 1060.0 + 120)
        assert host.backoff == 60

    @pytest.mark.parametrize("seconds", [120, pytest.param(600, marks=pytest.mark.slow)])
    def test_a_node_whose_reserve_is_below_the_mark_is_not_pumped(self, seconds):
        guests = [ScriptedGuest(f"g{number}", 1000, 2000, maximum=32768) for number in range(4)]
        sharing = policy(spare="Share", budget={"reserve": "512Mi", "reservePercent": 1})
        world = ScriptedNode(guests, policies=[sharing], host_mib=65536)
        world.host_use_mib, world.mark = 32768, 0.05
        world.tick(120)
        lent = len(world.actions())
        assert world.allocated() > 20000
        world.tick(seconds)
        assert len(world.actions()) == lent
        assert MIB * world.allocated() <= world.state.host.lendable

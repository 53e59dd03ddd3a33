"""Rule 8: what guests keep through starts, resets and the end of their policy."""

import numpy as np
import pytest
from scripted_node import ScriptedGuest, default_policy, node, policy, to_the_first_order

from controller.api.wishes import Wishes
from controller.engine.reasons import Reason


class TestStart:
    def test_a_guest_seen_for_the_first_time_does_not_shrink_before_its_third_sample(self):
        world = node(
            ScriptedGuest("guest", 200, 4000), policies=[policy(advanced={"shrink": {"stabilizationSeconds": 0}})]
        ).tick(2)
        assert world.actions() == []
        assert world.reason("guest") is Reason.WARMING_UP
        world.tick(2)
        assert len(world.actions()) == 1

    def test_a_changed_policy_does_not_forget_what_was_learned(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(30)
        world.policies, world.guests["guest"].demand = [policy(advanced={"shrink": {"stabilizationSeconds": 60}})], 50
        world.tick(2)
        assert world.reason("guest") is Reason.STABILIZING

    def test_a_domain_started_anew_begins_without_history(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(30)
        world.guests["guest"].start_anew()
        world.tick(2)
        assert world.reason("guest") is Reason.WARMING_UP

    def test_a_guest_that_was_watched_before_its_policy_was_known_keeps_what_it_has(self):
        """There are samples of it, and no forecast yet."""
        others = policy("others", domainSelector={"names": ["other"]})
        world = node(ScriptedGuest("guest", 300, 600), ScriptedGuest("other", 100, 200), policies=[others]).tick(70)
        world.policies = [policy()]
        world.step()
        world.tick(2)
        assert world.actions("guest") == []


class TestRelease:
    def test_a_released_domain_gets_its_memory_back_when_the_host_has_some(self):
        others = policy("others", domainSelector={"names": ["other"]})
        world = node(ScriptedGuest("guest", 200, 4000), ScriptedGuest("other", 200, 300)).tick(30)
        size = world.guests["guest"].actual
        world.pressure, world.policies = True, [others]
        world.tick(20)
        assert world.guests["guest"].actual == size
        world.pressure = False
        world.tick(20)
        assert world.guests["guest"].actual == 4096

    def test_a_released_domain_gets_its_definition_back(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(30)
        assert world.guests["guest"].actual < 1000
        world.policies = []
        world.tick(5)
        assert world.guests["guest"].actual == 4096
        assert world.actions()[-1].reason is Reason.RELEASE_RESTORE

    def test_a_domain_released_while_it_shrinks_gets_all_of_it_back(self):
        world = node(ScriptedGuest("guest", 200, 4096, moves_at=1)).tick(10)
        assert world.reason("guest") is Reason.MOVING
        world.policies = []
        world.guests["guest"].moves_at = np.inf
        world.tick(8)
        assert world.guests["guest"].actual == 4096

    def test_a_released_domain_that_comes_to_need_what_it_gives_back_keeps_it(self):
        world = node(
            ScriptedGuest("guest", 300, 1000, 1000, definition=500, moves_at=2), policies=[default_policy()]
        ).tick(10)
        world.policies = []
        to_the_first_order(world)
        world.guests["guest"].demand = 1000
        world.tick(9)
        assert [action.reason for action in world.actions()] == [Reason.RELEASE_RESTORE, Reason.HANDED_OVER]

    def test_a_released_domain_without_fresh_statistics_gives_nothing_to_others(self):
        spare = {"spare": "Share", "advanced": {"monitoring": {"maximumIntervalSeconds": 60}}}
        policies = [policy(name, domainSelector={"names": [name]}, **spare) for name in ("mine", "other")]
        mine, other = ScriptedGuest("mine", 500, 3000, definition=1024), ScriptedGuest("other", 500, 600)
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
        mine, other = ScriptedGuest("mine", 500, 3000, definition=1024), ScriptedGuest("other", 2000, 600)
        world = node(mine, other, policies=policies, host_mib=4200).tick()
        world.policies = policies[1:]
        world.tick()
        assert world.actions("mine") == []
        world.tick(20)
        assert world.actions("mine")[0].reason is Reason.RELEASE_RESTORE
        assert mine.actual < 3000 < other.actual + mine.actual

    @pytest.mark.parametrize("obstacle", [Reason.UNREADABLE, Reason.HUGE_PAGES])
    def test_a_released_domain_that_must_not_be_touched_is_left_alone_until_it_may(self, obstacle):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(30)
        size, before = world.guests["guest"].actual, len(world.actions())
        world.policies = []
        world.guests["guest"].obstacle = obstacle
        world.tick(30)
        assert (world.guests["guest"].actual, len(world.actions())) == (size, before)
        world.guests["guest"].obstacle = Reason.NONE
        world.tick(2)
        assert world.guests["guest"].actual == 4096

    def test_a_released_domain_that_wishes_to_be_left_alone_is(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(30)
        size = world.guests["guest"].actual
        world.policies = []
        world.guests["guest"].wishes = Wishes(opt_out=True)
        world.tick(90)
        assert world.guests["guest"].actual == size

    def test_a_released_domain_keeps_what_it_has_when_told_so(self):
        world = node(ScriptedGuest("guest", 200, 4000), policies=[policy(release="Keep")]).tick(30)
        size = world.guests["guest"].actual
        world.policies = []
        world.tick(60)
        assert world.guests["guest"].actual == size

    def test_a_released_domain_stays_within_the_budget(self):
        world = node(ScriptedGuest("one", 200, 1500), ScriptedGuest("two", 1500, 2500), host_mib=5000).tick(30)
        world.policies = [policy(domainSelector={"names": ["two"]})]
        world.tick(120)
        assert world.allocated() <= 5000 - 512


class TestReset:
    def test_a_reset_guest_begins_without_history(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(30)
        world.guests["guest"].reset_at, world.guests["guest"].demand = world.wall, 50
        world.tick(2)
        assert world.reason("guest") is Reason.WARMING_UP

    def test_a_reset_guest_boots_until_it_sends_statistics_of_its_own(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(5)
        guest = world.guests["guest"]
        world.now += 0.5
        world.reset(guest)
        guest.frozen = True
        world.tick(10)
        assert world.reason("guest") is Reason.BOOTING
        guest.frozen = False
        world.tick(6)
        assert world.reason("guest") is not Reason.BOOTING

    def test_a_reset_guest_boots_no_longer_because_the_clock_was_set_back(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(5)
        world.reset(world.guests["guest"])
        world.wall_offset -= 3600
        world.tick(8)
        assert world.reason("guest") is not Reason.BOOTING

    def test_a_reset_guests_balloon_goes_back_to_where_it_was_as_nobodys_change(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(30)
        guest = world.guests["guest"]
        size, guest.moves_at = guest.actual, 200
        world.reset(guest)
        world.tick(30)
        assert guest.actual == size
        assert world.notices() == []

    def test_a_size_set_by_someone_else_counts_again_once_a_reset_guest_has_settled(self):
        world = node(ScriptedGuest("guest", 200, 2000)).tick(20)
        world.reset(world.guests["guest"])
        world.tick(20)
        world.guests["guest"].target = world.guests["guest"].actual = 1500
        world.tick()
        assert world.notices() == [Reason.OUTSIDE_CHANGE]

    def test_memory_that_a_reset_guest_was_told_to_grow_to_stays_promised(self):
        one, two = ScriptedGuest("one", 2000, 1000, stuck=True), ScriptedGuest("two", 500, 500)
        world = node(one, two, policies=[policy(budget={"maximum": "3Gi"})]).tick(1)
        promised = one.target
        one.reset_at, one.frozen, two.demand = world.now + world.wall_offset, True, 2500
        world.tick(10)
        assert two.actual + promised <= 3072

    def test_a_release_goes_on_after_a_reset(self):
        world = node(ScriptedGuest("guest", 200, 4000)).tick(30)
        guest = world.guests["guest"]
        world.policies, guest.reset_at = [], world.now + world.wall_offset
        world.tick(5)
        assert guest.actual == 4096


def test_nothing_of_what_its_definition_has_is_taken_from_a_released_guest_however_full_the_host():
    guest = ScriptedGuest("guest", 500, 4000)
    world = node(guest).tick(30)
    size, guest.demand = guest.actual, 200
    world.host_use_mib, world.policies = world.host_mib, []
    world.tick(30)
    assert guest.actual >= size

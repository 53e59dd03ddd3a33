"""Sizes are the balloon's alone: memory devices are told apart in looks, events, orders and limits."""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, default_policy, node, policy
from stages import inventory, rows

from controller.engine.host import held
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.reasons import Reason


def test_nobody_is_lent_memory_that_only_a_device_may_hold():
    world = node(
        ScriptedGuest("g", 200, 512, maximum=512, devices=256), policies=[default_policy()], host_mib=65536
    ).tick(300)
    assert (world.actions(), world.domain("g")["maximum"]) == ([], 512 * MIB)
    assert world.state.observation.maximum.tolist() == [512 * MIB]  # what a recording tells
    assert world.reason("g") is Reason.WITHIN_THRESHOLD


def test_a_guest_with_an_nvdimm_is_moved_up_to_what_its_balloon_holds():
    world = node(
        ScriptedGuest("g", 400, 300, maximum=512, devices=256), policies=[default_policy()], host_mib=65536
    ).tick(60)
    assert world.guests["g"].actual == 512
    assert Reason.STUCK not in world.notices()


def test_a_percentage_of_the_maximum_is_one_of_the_balloons():
    held = policy(limits={"minimumPercent": 50, "maximumPercent": 100})
    world = node(ScriptedGuest("g", 100, 512, maximum=512, devices=512), policies=[held]).tick(30)
    assert world.domain("g")["minimum"] == 256 * MIB


def test_looks_and_balloon_events_of_virtio_mem_tell_the_same_size():
    guest = ScriptedGuest("g", 100, 400, maximum=512, devices=256, plugged=256, obstacle=Reason.MEMORY_DEVICES)
    world = node(guest).tick(70)
    before = world.domain("g")["allocation"]
    guest.obey(300)  # somebody else's order
    world.tick(2)
    assert (before, world.domain("g")["allocation"]) == (400 * MIB, 300 * MIB)
    assert world.tick(120).domain("g")["allocation"] == 300 * MIB


@pytest.mark.parametrize("seconds", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_virtio_mem_that_is_plugged_in_while_the_guest_runs_counts_at_once(seconds):
    each_second = default_policy(advanced={"monitoring": {"maximumIntervalSeconds": 1}})
    world = ScriptedNode(
        [ScriptedGuest("g", 100, 400, maximum=512), ScriptedGuest("other", 100, 400)], [each_second], 8192
    ).tick(60)
    budget = world.shown()["budget"]
    guest, orders = world.guests["g"], len(world.actions("g"))
    guest.devices = guest.plugged = 1024
    guest.obstacle = Reason.MEMORY_DEVICES
    world.host_use_mib -= 1024  # it is not touched yet
    world.tick(2)
    assert world.reason("g") is Reason.MEMORY_DEVICES
    assert world.shown()["budget"] == budget - 1024 * MIB
    world.tick(seconds)
    assert len(world.actions("g")) == orders


@pytest.mark.parametrize("of", ["available", "actual"])
def test_a_guest_with_more_than_its_maximum_has_memory_that_nobody_told_of(of):
    guest = ScriptedGuest("g", 100, 512, maximum=512)
    world = node(guest, policies=[policy()]).tick(2)
    guest.statistics = {of: 700 * MIB, "usable": 500 * MIB}
    world.tick(60)
    assert world.reason("g") is Reason.MEMORY_DEVICES
    assert world.actions() == []
    guest.statistics = {}
    world.tick(120)
    assert world.actions("g") != []


def test_a_size_that_does_not_fit_for_a_moment_is_no_such_memory():
    guest = ScriptedGuest("g", 100, 512, maximum=512)
    world = node(guest, policies=[policy(advanced={"monitoring": {"maximumIntervalSeconds": 1}})]).tick(10)
    guest.statistics = {"available": 700 * MIB}
    assert world.tick().reason("g") is Reason.MOVING
    assert world.tick().reason("g") is Reason.MEMORY_DEVICES


class TestSizesInTheHandsOfGuests:
    """Of one with 1000 MiB, whose QEMU holds 1100 MiB, unless said otherwise."""

    def held(self, rss: float = 1100, *, known: bool = True, **settings: object) -> list[float]:
        observed = rows(Observation, 1, allocation=1000 * MIB, rss=rss * MIB, rss_size=1000 * MIB, rss_known=known)
        made = held(rows(Balloon, 1), observed, inventory(1, **settings), observed.allocation)
        return [size / MIB for size in made[:4]]

    def test_an_image_may_be_in_memory_or_not(self):
        assert self.held(devices=300 * MIB) == [800, 1100, 0, 300]
        assert self.held(200, devices=300 * MIB) == [0, 200, 0, 300]

    def test_what_a_job_hides_may_be_all_of_it(self):
        assert self.held(known=False, devices=300 * MIB)[1] == 1300

    def test_virtio_mem_is_memory_as_any_other(self):
        assert self.held(devices=300 * MIB, plugged=300 * MIB) == [1000, 1100, 0, 300]

    def test_in_files_is_what_qemu_holds_of_the_guests_size(self):
        assert [self.held(rss, in_file=True)[2] for rss in (600, 1100)] == [600, 1000]


def test_a_dimm_that_is_plugged_in_may_be_used_once_the_inventory_has_it():
    guest = ScriptedGuest("g", 100, 512, maximum=512)
    world = node(guest, policies=[default_policy()]).tick(10)
    guest.maximum, guest.demand = 1024, 800
    world.tick(60)
    assert guest.actual > 800
    assert Reason.MEMORY_DEVICES not in world.notices()


def test_a_maximum_that_no_look_has_told_yet_is_not_used():
    guest = ScriptedGuest("g", 100, 512, maximum=512)
    world = node(guest, policies=[default_policy()]).tick(10)
    guest.maximum, guest.demand, guest.statistics = 1024, 800, {"maximum": np.nan}
    assert world.tick(60).domain("g")["maximum"] == 512 * MIB
    guest.statistics = {}
    assert world.tick(60).domain("g")["maximum"] == 1024 * MIB

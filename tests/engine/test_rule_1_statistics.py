"""Rule 1: memory is taken on statistics that are fresh, make sense, and fit the size they were sent at."""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, default_policy, node, to_the_first_order

from controller.engine.reasons import Reason


@pytest.mark.parametrize("missing", ["usable", "unused"])
def test_unused_memory_counts_where_usable_is_not_told(missing):
    world = node(ScriptedGuest("guest", 500, 4000, statistics={missing: np.nan}))
    world.tick(30)
    assert world.guests["guest"].actual >= 500


def test_a_guest_without_statistics_does_not_shrink():
    world = node(ScriptedGuest("mute", 500, 4000, statistics={"usable": np.nan, "unused": np.nan}))
    world.tick(300)
    assert world.actions() == []
    assert world.reason("mute") is Reason.NO_STATISTICS


def test_a_guest_with_frozen_statistics_does_not_shrink():
    world = node(ScriptedGuest("frozen", 500, 4000)).tick(2)
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
def test_absurd_statistics_are_not_acted_on(statistics, reason):
    world = node(ScriptedGuest("odd", 500, 4000, statistics=statistics))
    world.tick(60)
    assert world.actions() == []
    assert world.reason("odd") is reason


def test_statistics_that_know_of_a_move_before_libvirt_does_are_no_reason_to_complain():
    world = node(ScriptedGuest("guest", 500, 2000)).tick(20)
    size, shrunk = world.guests["guest"].actual, len(world.actions())
    world.guests["guest"].statistics = {"usable": (size + 900) * MIB}  # somebody has given it 1400 MiB
    world.tick()
    assert (world.reason("guest"), world.notices(), len(world.actions())) == (Reason.MOVING, [], shrunk)
    world.tick()
    assert world.notices() == [Reason.INVALID_STATISTICS]


def test_zero_usable_with_free_pages_is_not_believed():
    world = node(ScriptedGuest("old-kernel", 500, 4000, statistics={"usable": 0.0}))
    world.tick(30)
    assert all(not action.grows for action in world.actions())


def test_a_sample_does_not_count_while_the_balloon_moves_although_libvirt_knows_of_no_move_yet():
    guest = ScriptedGuest("guest", 500, 4000, moves_at=0)
    world = node(guest)
    to_the_first_order(world)
    guest.statistics = {"usable": 3400 * MIB}
    world.tick()
    assert world.domain("guest")["demand"] == 500 * MIB


def test_a_sample_does_not_count_while_the_balloon_moves():
    """libvirt may learn of the size later than of the guest's statistics: QEMU sends one event a second."""
    world = node(ScriptedGuest("slow", 500, 4000, moves_at=50)).tick(10)
    world.guests["slow"].demand = 510
    world.tick(10)
    assert world.reason("slow") is Reason.MOVING
    assert world.domain("slow")["demand"] == 500 * MIB


def test_a_shrink_ends_where_the_guest_comes_to_use_more_than_it_would_be_left_with():
    guest = ScriptedGuest("slow", 500, 4000, moves_at=200)
    world = node(guest)
    to_the_first_order(world)
    guest.demand = 1500
    assert min(world.tick() and guest.actual for _ in range(15)) >= 2500
    assert world.actions()[1].reason is Reason.STABILIZING  # there is room: it is no want of memory that ends it


def test_a_guest_whose_balloon_counts_as_used_goes_on_shrinking():
    world = node(ScriptedGuest("auto", 500, 4000, moves_at=200, autodeflate=True)).tick(30)
    assert world.guests["auto"].actual < 600
    assert len(world.actions()) == 1


def test_memory_is_not_taken_on_a_word_that_the_guest_took_back_while_its_balloon_was_to_move():
    """It gives nothing, needs all it has, is told to keep that, and says that it needs a little less once it is."""
    guest = ScriptedGuest("guest", 1200, 1576, 1576, moves_at=0)
    world = node(guest, policies=[default_policy()], host_mib=4096)
    world.tick(20)
    world.host_use_mib = 2300
    to_the_first_order(world)
    for guest.demand in (1576, 1528, 1528):
        world.tick()
    assert [action.reason for action in world.actions()] == [Reason.CONTENTION_SHRINK, Reason.AT_MAXIMUM]


def test_a_sample_taken_before_the_balloon_moved_does_not_count():
    world = node(ScriptedGuest("guest", 500, 4000)).tick()
    world.tick_unattended(1)
    world.guests["guest"].actual, world.guests["guest"].frozen = 3900, True
    world._step({})
    assert (world.domain("guest")["demand"], world.domain("guest")["allocation"]) == (500 * MIB, 3900 * MIB)


def test_statistics_that_the_look_after_a_move_did_not_find_count_although_their_time_is_rounded_down():
    world = node(ScriptedGuest("guest", 500, 4000))
    guest = world.guests["guest"]
    while guest.actual == 4000:
        guest.statistics = {"updated": world.wall}  # sent half a second later, half before now
        world.tick()
    guest.statistics, guest.demand = {"updated": world.wall}, 450
    world.tick()
    assert world.domain("guest")["demand"] == 450 * MIB


def test_an_event_is_newer_than_the_look_it_came_with():
    world = node(ScriptedGuest("guest", 500, 2000)).tick(2)
    world.guests["guest"].statistics = {"actual": 2000.0 * MIB}
    world.now += 1
    world._step({"guest": 1500.0})
    assert world.domain("guest")["allocation"] == 1500 * MIB


def test_clock_jumps_do_no_harm():
    for jump in (3600, -3600):
        world = node(ScriptedGuest("guest", 500, 2000)).tick(20)
        world.wall_offset += jump
        world.tick(30)
        assert world.guests["guest"].actual >= 500
        assert world.reason("guest") is Reason.WITHIN_THRESHOLD


@pytest.mark.parametrize("ahead", [20, 100, 400])
def test_statistics_that_are_ahead_of_the_clock_are_not_acted_on(ahead):
    world = node(ScriptedGuest("odd", 500, 4000))
    for _ in range(60):
        world.guests["odd"].statistics = {"updated": world.wall + 1 + ahead}
        world.tick()
    assert world.actions() == []
    assert world.reason("odd") is Reason.FUTURE_STATISTICS


def test_statistics_that_are_a_moment_ahead_of_the_clock_are_acted_on():
    world = node(ScriptedGuest("odd", 500, 4000))
    for _ in range(30):
        world.guests["odd"].statistics = {"updated": world.wall + 1 + 2}
        world.tick()
    assert world.guests["odd"].actual < 1000


@pytest.mark.parametrize(
    "statistics", [{"available": -1.0}, {"actual": -1.0 * MIB}, {"actual": 0.0, "usable": 0.0, "unused": 0.0}]
)
def test_statistics_of_impossible_sizes_are_not_acted_on(statistics):
    world = node(ScriptedGuest("odd", 500, 4000)).tick(2)
    world.guests["odd"].statistics = statistics
    world.tick(60)
    assert world.actions() == []
    assert world.reason("odd") is Reason.INVALID_STATISTICS


def test_statistics_count_soon_after_a_move_although_the_clock_was_set_back_meanwhile():
    world = node(ScriptedGuest("guest", 500, 4000))
    to_the_first_order(world)
    world.tick()
    world.wall_offset -= 3600
    world.tick(12)
    world.guests["guest"].demand = 450
    world.tick()
    assert world.domain("guest")["demand"] == 450 * MIB

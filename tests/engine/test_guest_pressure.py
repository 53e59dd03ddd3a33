"""How short of memory guests are: by a measure, whatever was done about it."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, policy

from controller.engine.guest_pressure import GuestPressure, PressureLevel, assess
from controller.engine.observation import Observation
from controller.engine.phases import Balloon, PhaseEvent
from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState
from controller.engine.tuning import Tuning

NOW = 1000.0
TUNING = Tuning()
INVENTORY = ScriptedNode(
    [ScriptedGuest("guest", demand=700, actual=1000)], [policy(advanced={"shrink": {"stabilizationSeconds": 120}})]
).inventory


def told(**columns) -> Observation:
    """One telling sample of a guest of 1000 MiB with 300 MiB usable, unless said otherwise."""
    known = {"telling": True, "told_size": 1000.0 * MIB, "usable": 300.0 * MIB} | columns
    return replace(Observation.blank(1), **{name: np.array([value]) for name, value in known.items()})


def after(*observations: Observation, balloon: Balloon | None = None, step: float = 1.0) -> GuestPressure:
    pressure = GuestPressure.blank(1)
    for number, observation in enumerate(observations):
        pressure = assess(pressure, observation, balloon or Balloon.blank(1), INVENTORY, NOW + number * step, TUNING)
    return pressure


@pytest.mark.parametrize(
    ("usable_mib", "size_mib", "read_back", "faults", "level"),
    [
        (300, 1000, 0, 0, PressureLevel.NONE),
        (240, 1000, 4096, 1, PressureLevel.NONE),
        (240, 1000, 100e3, 0, PressureLevel.LOW),
        (240, 1000, 0, 25, PressureLevel.LOW),
        (240, 1000, 60e3, 15, PressureLevel.NONE),
        (260, 1000, 100e6, 1000, PressureLevel.NONE),
        (10, 64, 39 * 1024, 0, PressureLevel.NONE),
        (10, 64, 41 * 1024, 0, PressureLevel.LOW),
        (31, 1000, 0, 0, PressureLevel.NONE),
        (29, 1000, 0, 0, PressureLevel.SHORT),
        (14, 1000, 0, 0, PressureLevel.EXHAUSTED),
        (9, 256, 0, 0, PressureLevel.NONE),
        (7.9, 256, 0, 0, PressureLevel.EXHAUSTED),
    ],
)
def test_a_level_takes_little_usable_memory_and_a_rate(usable_mib, size_mib, read_back, faults, level):
    seen = told(
        usable=usable_mib * MIB, told_size=size_mib * MIB, swap_in_rate=float(read_back), fault_rate=float(faults)
    )
    assert after(seen).level.tolist() == [level]


@pytest.mark.parametrize(
    ("usable", "swapped", "home", "faults", "level"),
    [
        (230, 200, 1e6, 0, PressureLevel.NONE),
        (230, 201, 1e6, 0, PressureLevel.LOW),
        (230, 200, 0.9e6, 0, PressureLevel.LOW),
        (230, 200, 1e6, 300, PressureLevel.LOW),
        (29, 0, 1e6, 0, PressureLevel.SHORT),
    ],
    ids=["room for all", "no room", "more than it swapped out", "files, too", "nothing left"],
)
def test_what_comes_home_from_swap_is_no_need_where_there_is_room_for_all_of_it(usable, swapped, home, faults, level):
    seen = told(usable=usable * MIB, swapped=swapped * MIB, swap_in_rate=1e6, home_rate=home, fault_rate=float(faults))
    assert after(seen).level.tolist() == [level]


def test_samples_in_a_row_are_counted_and_dated():
    short, well, silent = told(usable=20.0 * MIB), told(), told(telling=False)
    pressed = after(short, short, silent, short)
    assert (pressed.samples.tolist(), pressed.since.tolist()) == ([3], [NOW])
    calm = after(short, well)
    assert (calm.samples.tolist(), np.isnan(calm.since).tolist()) == ([0], [True])


def test_a_guest_that_falls_silent_in_need_stays_in_need_for_an_hour():
    short, silent = told(usable=20.0 * MIB), told(telling=False)
    assert after(short, silent, step=3600).level.tolist() == [PressureLevel.SHORT]
    assert after(short, silent, step=3601).level.tolist() == [PressureLevel.NONE]


def test_a_guest_that_stopped_needs_nothing():
    stopped = told(telling=False, run_state=int(RunState.NOT_RUNNING))
    assert after(told(usable=20.0 * MIB), stopped).level.tolist() == [PressureLevel.NONE]


def test_a_guest_that_deflated_its_own_balloon_is_short_until_it_tells_otherwise():
    deflated = replace(Balloon.blank(1), event=np.array([int(PhaseEvent.DEFLATED)]))
    pressure = after(told(), balloon=deflated)
    assert pressure.level.tolist() == [PressureLevel.LOW]
    assert assess(pressure, told(telling=False), Balloon.blank(1), INVENTORY, NOW + 5, TUNING).level.tolist() == [
        PressureLevel.LOW
    ]
    assert assess(pressure, told(), Balloon.blank(1), INVENTORY, NOW + 5, TUNING).level.tolist() == [PressureLevel.NONE]


@pytest.mark.parametrize(("usable", "still"), [(20.0, False), (900.0, True)])
def test_a_guest_that_deflated_its_balloon_needs_more_than_it_tells_until_it_tells_of_need(usable, still):
    deflated = after(told(), balloon=replace(Balloon.blank(1), event=np.array([int(PhaseEvent.DEFLATED)])))
    assert deflated.deflated.tolist() == [True]
    later = assess(deflated, told(usable=usable * MIB), Balloon.blank(1), INVENTORY, NOW + 5, TUNING)
    assert later.deflated.tolist() == [still]


def test_reading_much_back_is_paging_whatever_is_usable_now():
    assert after(told(usable=900.0 * MIB, swap_in_rate=1e6)).paging.tolist() == [True]
    assert after(told(swap_in_rate=4096.0)).paging.tolist() == [False]


@pytest.mark.parametrize(("rate", "robbed"), [(65536 * 1000 / 1024, False), (65537 * 1000 / 1024, True)])
def test_a_guest_that_has_to_swap_much_out_is_robbed(rate, robbed):
    assert after(told(swap_out_rate=rate)).robbed.tolist() == [robbed]
    assert after(told(swap_out_rate=rate), told()).robbed.tolist() == [False]


@pytest.mark.parametrize("spare", ["Share", "Reclaim"])
@pytest.mark.parametrize(
    ("every_s", "seconds"), [(5, 60), *(pytest.param(each, 200, marks=pytest.mark.slow) for each in (5, 60))]
)
def test_single_pages_read_back_from_swap_move_nothing(every_s, seconds, spare):
    guests = [ScriptedGuest(f"g{number}", 1000, 1600, maximum=4096) for number in range(3)]
    chosen = policy(budget={"maximum": "5088Mi"}, spare=spare, advanced={"shrink": {"stabilizationSeconds": 3600}})
    world = ScriptedNode(guests, policies=[chosen]).tick(60)
    before = len(world.actions())
    for second in range(seconds):
        for guest in guests:
            guest.statistics = {"swap_in": 4096.0 * (second // every_s), "major_faults": 1.0 * (second // every_s)}
        world.tick()
    assert world.actions()[before:] == []


def test_windows_that_reads_files_with_plenty_usable_moves_nothing():
    world = ScriptedNode(
        [ScriptedGuest("windows", 1000, 1600)], policies=[policy(advanced={"shrink": {"stabilizationSeconds": 3600}})]
    ).tick(60)
    for second in range(60):
        world.guests["windows"].statistics = {"swap_in": 50e6 * second}
        world.tick()
    assert world.actions() == []


@pytest.mark.parametrize("seconds", [150, pytest.param(600, marks=pytest.mark.slow)])
def test_a_guest_that_falls_silent_in_need_grows_when_memory_comes_free(seconds):
    chosen = policy(budget={"maximum": "3000Mi"}, advanced={"shrink": {"stabilizationSeconds": 3600}})
    needy, other = ScriptedGuest("needy", 1490, 1500, maximum=4096), ScriptedGuest("other", 1450, 1490)
    world = ScriptedNode([needy, other], policies=[chosen]).tick(30)
    needy.demand = 2500
    world.tick(2)
    needy.frozen = True
    needy.statistics = {"usable": 0.0, "unused": 0.0, "available": needy.actual * MIB}
    world.tick(30)
    assert needy.actual < 1600
    del world.guests["other"]
    world.tick(30)
    assert needy.actual > 2000
    grown = needy.actual
    world.tick(seconds)
    assert needy.actual == grown


@pytest.mark.parametrize(
    ("told", "grows"),
    [({"usable": np.nan, "unused": np.nan}, True), ({"usable": 9e15}, False)],
    ids=["none", "nonsense"],
)
def test_a_guest_in_need_is_grown_on_its_last_word_when_it_tells_nothing_more_but_not_when_it_tells_nonsense(
    told, grows
):
    needy, patient = ScriptedGuest("needy", 1490, 1500), {"shrink": {"stabilizationSeconds": 3600}}
    world = ScriptedNode([needy], policies=[policy(budget={"maximum": "1510Mi"}, advanced=patient)]).tick(5)
    needy.demand = 2500
    world.tick(2)
    needy.statistics = told
    world.tick(3)
    world.policies = [policy(advanced=patient)]
    world.step()
    world.tick(5)
    assert [action.reason for action in world.actions()] == [Reason.PRESSURE_GROW] * grows


@pytest.mark.parametrize("seconds", [150, pytest.param(300, marks=pytest.mark.slow)])
def test_a_silent_guest_in_need_is_never_shrunk(seconds):
    needy, other = ScriptedGuest("needy", 1490, 1500, maximum=4096), ScriptedGuest("other", 500, 600)
    world = ScriptedNode([needy, other], policies=[policy(budget={"maximum": "3000Mi"})]).tick(5)
    needy.demand = 1500
    world.tick(2)
    needy.frozen, needy.statistics = True, {"usable": 0.0, "unused": 0.0}
    other.demand = 2900
    before = len(world.actions("needy"))
    world.tick(seconds)
    assert all(action.grows or action.reason is Reason.STUCK for action in world.actions("needy")[before:])


def held_for(*short_at: float) -> list[float]:
    """Seconds for which it keeps what it was given, after each of the times at which it was short for a second."""
    pressure, holds = GuestPressure.blank(1), []
    for at in short_at:
        for second, usable in enumerate([20.0, 300.0]):
            seen = told(usable=usable * MIB)
            pressure = assess(pressure, seen, Balloon.blank(1), INVENTORY, NOW + at + second, TUNING)
        holds += pressure.hold.tolist()
        end = NOW + at + 1 + holds[-1]
        assert pressure.holds(end - 0.1).all()
        assert not pressure.holds(end).any()
    return holds


def test_what_was_given_is_kept_for_a_stabilisation_window_from_when_it_is_enough():
    assert held_for(0) == [120]
    short = told(usable=20 * MIB)
    assert after(short, short).ended_at == -np.inf


def test_who_is_short_as_soon_as_it_gave_that_back_keeps_it_twice_as_long():
    assert held_for(0, 121, 362) == [120, 240, 480]


def test_nobody_keeps_it_longer_than_an_hour():
    assert held_for(*np.cumsum([0, 122, 242, 482, 962, 1922, 3602]))[-2:] == [3600, 3600]


def test_who_is_short_again_while_it_keeps_it_has_shown_nothing():
    assert held_for(0, 50, 100) == [120, 120, 120]


def test_who_did_without_it_for_as_long_is_a_beginner_again():
    assert held_for(0, 122, 363 + 241) == [120, 240, 120]

"""A shrink that gives the host nothing is noticed, said and not repeated; nobody is blamed for what was never there."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, node, policy
from stages import rows

from controller.engine.effect import BalloonEffect, assess
from controller.engine.observation import Observation
from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState
from controller.engine.tuning import Tuning

TUNING = Tuning()


class ObservedDomain:
    """One domain, seen at times; sizes in MiB."""

    def __init__(self) -> None:
        self.effect, self.now = BalloonEffect.blank(1), 1000.0

    def see(self, size: float, rss: float, samples: int = 1, **seen: object) -> "ObservedDomain":
        for _ in range(samples):
            self.now += 1
            columns = {"fresh": True, "rss_known": True, "rss": rss * MIB, "rss_size": size * MIB} | seen
            self.effect = assess(self.effect, rows(Observation, 1, **columns), self.now, TUNING)
        return self

    @property
    def fruitless(self) -> bool:
        return bool(self.effect.fruitless(self.now)[0])


class TestAShrinkThatBringsNothing:
    def test_is_found_by_the_second_sample(self):
        watch = ObservedDomain().see(4000, 4060).see(1000, 4060)
        assert not watch.fruitless
        assert watch.see(1000, 4055).fruitless

    def test_is_found_after_one_that_worked(self):
        assert ObservedDomain().see(4000, 4000).see(2500, 2500).see(1500, 2500, 2).fruitless

    def test_is_found_where_it_was_made_in_small_steps(self):
        watch = ObservedDomain().see(1000, 1050)
        for size in range(990, 700, -10):
            watch.see(size, 1050, 2)
        assert watch.fruitless

    def test_is_found_in_the_size_of_a_small_guest(self):
        assert ObservedDomain().see(512, 560).see(206, 560, 2).fruitless

    def test_is_found_from_16_mib_on_that_have_to_come_back(self):
        assert ObservedDomain().see(512, 560).see(288, 560, 2).fruitless
        assert not ObservedDomain().see(512, 560).see(289, 560, 2).fruitless

    def test_is_found_where_less_than_a_quarter_came_back(self):
        assert ObservedDomain().see(4000, 4000).see(1744, 3501, 2).fruitless
        assert not ObservedDomain().see(4000, 4000).see(1744, 3499, 2).fruitless

    def test_is_found_in_what_it_has_grown_to(self):
        assert ObservedDomain().see(4000, 4060).see(1000, 4060).see(8000, 8060).see(5000, 8060, 2).fruitless

    def test_is_tried_again_later_and_ever_more_rarely(self):
        watch, rests = ObservedDomain().see(4000, 4000).see(3000, 4000, 2), []
        for size in range(2900, 2000, -100):
            rests.append(float(watch.effect.rest_until[0]) - watch.now)
            watch.now += rests[-1]
            assert not watch.see(size + 100, 4000).see(size, 4000).fruitless
            assert watch.see(size, 4000).fruitless
        assert rests == [960, 1920, 3840, 7680, 15360, 30720, 61440, 86400, 86400]

    def test_counts_its_samples_anew_each_time(self):
        watch = ObservedDomain().see(4000, 4000).see(3000, 4000, 2)
        rest_until = watch.effect.rest_until[0]
        assert watch.see(2900, 4000).effect.rest_until[0] == rest_until
        assert watch.see(2900, 4000).effect.rest_until[0] > rest_until

    def test_is_not_found_by_two_samples_with_a_better_one_between(self):
        assert not ObservedDomain().see(4000, 4060).see(1000, 4060).see(1000, 3060).see(1000, 4060).fruitless

    def test_is_forgiven_once_one_brings_something(self):
        watch = ObservedDomain().see(4000, 4000).see(3000, 4000, 2)
        watch.now += 960
        watch.see(3000, 4000).see(2500, 3450, 3)
        assert (watch.fruitless, watch.effect.rest[0]) == (False, 0)

    @pytest.mark.parametrize(("left", "forgiven"), [(3450, True), (3750, True), (3751, False)])
    def test_is_forgiven_at_once_when_somebody_else_makes_one_that_brings_half(self, left, forgiven):
        assert ObservedDomain().see(4000, 4000).see(3000, 4000, 2).see(2500, left).fruitless is not forgiven

    def test_is_not_forgiven_for_growing_again(self):
        assert ObservedDomain().see(4000, 4000).see(3000, 4000, 2).see(2900, 4000).see(3000, 4000, 3).fruitless


class TestNobodyIsBlamed:
    @pytest.mark.parametrize(
        ("size", "rss", "less", "left"),
        [
            (4000, 4060, 1000, 1060),  # all came back
            (4000, 4060, 1000, 1900),  # most did
            (4000, 4060, 1000, 3060),  # some did
            (4000, 1200, 1000, 1200),  # it had never touched the rest
            (4000, 900, 800, 900),  # likewise, and QEMU holds 100 MiB itself
            (4000, 450, 300, 450),  # likewise 250 MiB
            (4000, 4700, 1000, 1700),  # QEMU holds 700 MiB itself
            (1000, 1050, 900, 1050),  # too little to tell
            (1000, 1050, 784, 1050),  # likewise
            (4000, 300, 1000, 300),  # swapped out by the host, or in pages that are not QEMU's
        ],
    )
    def test_for(self, size, rss, less, left):
        assert not ObservedDomain().see(size, rss, 3).see(less, left, 10).fruitless

    @pytest.mark.parametrize("hidden", [{"rss_known": False}, {"fresh": False}])
    def test_for_what_is_not_told(self, hidden):
        assert not ObservedDomain().see(4000, 4000).see(1000, 4000, 10, **hidden).fruitless

    def test_for_a_single_look_in_the_middle(self):
        assert not ObservedDomain().see(4000, 4060).see(1000, 3900).see(1000, 1060, 3).see(1000, 4060).fruitless

    def test_for_a_little_after_it_has_failed_before(self):
        watch = ObservedDomain().see(4000, 4000).see(3000, 4000, 2)
        watch.now += 960
        assert not watch.see(3000, 4000).see(2990, 4000, 5).fruitless

    def test_for_growing_again_before_it_was_seen(self):
        watch = ObservedDomain().see(4000, 4060).see(1000, 4060).see(4000, 4060, 10)
        assert not watch.fruitless
        assert not watch.see(3950, 4060, 3).fruitless

    def test_for_touching_memory_that_it_gets_back(self):
        watch = ObservedDomain().see(4000, 4060).see(1000, 1060, 2)
        for size in range(1000, 4000, 100):
            assert not watch.see(size, size + 60).fruitless


CALM = policy(
    spare="Reclaim", advanced={"shrink": {"stabilizationSeconds": 5}, "monitoring": {"maximumIntervalSeconds": 5}}
)


def pinned(**guest):
    return node(ScriptedGuest("g", 1000, 4000, pinned=True, overhead=60, **guest), policies=[CALM])


@cache
def lived():
    """Two minutes with such a guest, in which it was told to shrink."""
    return pinned().tick(120)


class TestAGuestWhoseMemoryIsPinned:
    @pytest.mark.parametrize("seconds", [120, pytest.param(600, marks=pytest.mark.slow)])
    def test_is_shrunk_once_and_then_left_at_what_it_has(self, seconds):
        world = deepcopy(lived())
        (order,) = world.moves("g")
        assert world.reason("g") is Reason.NOT_RETURNED
        size = world.guests["g"].actual
        world.guests["g"].demand = 300
        assert world.tick(seconds).guests["g"].actual == size
        assert (world.moves("g"), order.target) == ([order], size * MIB)

    @pytest.mark.parametrize("seconds", [60, pytest.param(480, marks=pytest.mark.slow)])
    def test_is_said_once(self, seconds):
        assert deepcopy(lived()).tick(seconds).notices() == [Reason.NOT_RETURNED]

    def test_is_grown_all_the_same_when_it_needs_memory(self):
        world = deepcopy(lived())
        world.guests["g"].demand = 3000
        assert world.tick(30).guests["g"].actual >= 3000

    @pytest.mark.parametrize("seconds", [60, pytest.param(300, marks=pytest.mark.slow)])
    def test_is_kept_as_large_as_it_is_though_others_want_memory(self, seconds):
        world = node(
            ScriptedGuest("g", 1000, 4000, pinned=True, overhead=60),
            ScriptedGuest("other", 500, 600),
            policies=[CALM],
            host_mib=8192,
        ).tick(120)
        size = world.guests["g"].actual
        world.guests["g"].demand, world.guests["other"].demand = 200, 4000
        world.tick(seconds)
        assert world.guests["g"].actual == size

    @pytest.mark.slow
    def test_is_tried_again_when_its_rest_is_over(self):
        world = deepcopy(lived())
        guest = world.guests["g"]
        guest.pinned, guest.demand = False, 300
        world.tick(1100)
        assert guest.actual < 1000
        assert world.reason("g") is not Reason.NOT_RETURNED

    def test_is_not_the_guest_of_another_qemu(self):
        world = deepcopy(lived())
        guest = world.guests["g"]
        guest.start_anew()
        guest.pinned, guest.held = False, 0
        assert world.tick(60).reason("g") is not Reason.NOT_RETURNED

    @pytest.mark.parametrize("seconds", [120, pytest.param(300, marks=pytest.mark.slow)])
    def test_is_not_suspected_while_a_job_hides_what_qemu_holds(self, seconds):
        world = pinned(statistics={"rss": np.nan}).tick(seconds)
        assert world.reason("g") is not Reason.NOT_RETURNED
        world.guests["g"].run_state = RunState.BUSY
        assert world.tick(60).reason("g") is Reason.BUSY


@pytest.mark.parametrize(
    "guest",
    [
        {"touched": 1100, "overhead": 200},
        pytest.param({"overhead": 200}, marks=pytest.mark.slow),
        {"overhead": 60, "merged": 3000},
        pytest.param({"moves_at": 100}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("seconds", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_guests_that_give_back_what_they_have_are_shrunk_as_ever(guest, seconds):
    world = node(ScriptedGuest("g", 1000, 4000, **guest), policies=[CALM]).tick(120)
    world.guests["g"].demand = 500
    world.tick(seconds)
    assert world.guests["g"].actual < 800
    assert Reason.NOT_RETURNED not in world.notices()

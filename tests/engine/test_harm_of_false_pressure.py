"""Signs of need are taken by their measure: a page read back from swap moves no gigabytes, and no guest is robbed to
and fro.
"""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, default_policy, policy

from controller.engine.reasons import Reason

HOUR = 3600
WARM_UP = 300
"""Seconds in which the controller may still find the guests' sizes."""


def moves_after(world: ScriptedNode, seconds: int) -> list:
    """What is moved in so many seconds from now on."""
    before = len(world.moves())
    world.tick(seconds)
    return world.moves()[before:]


def roomy(page_every: float = np.inf) -> list[ScriptedGuest]:
    """Three guests with 37 % of their memory usable; they read back their pages by turns."""
    by_turns = page_every / 3 if np.isfinite(page_every) else 0
    return [ScriptedGuest(f"g{turn}", 1000, 1600, page_every=page_every, page_at=turn * by_turns) for turn in range(3)]


class TestPagesReadBack:
    @pytest.mark.parametrize("page_every", [30, pytest.param(300, marks=pytest.mark.slow)])
    def test_of_guests_with_room_move_next_to_nothing(self, page_every):
        world = ScriptedNode(roomy(page_every=page_every), [default_policy(budget={"maximum": "5088Mi"})]).tick(WARM_UP)
        assert len(moves_after(world, HOUR // 2)) <= 1

    def test_of_one_guest_rob_no_other(self):
        guests = roomy()
        guests[0].page_every = 1200
        world = ScriptedNode(guests, [default_policy(budget={"maximum": "5088Mi"})]).tick(WARM_UP)
        assert len(moves_after(world, HOUR)) <= 2

    @pytest.mark.parametrize("seconds", [HOUR // 6, pytest.param(HOUR // 2, marks=pytest.mark.slow)])
    def test_are_no_pressure_where_spare_memory_is_reclaimed(self, seconds):
        chosen = default_policy(spare="Reclaim", budget={"maximum": "5088Mi"})
        world = ScriptedNode(roomy(page_every=20), [chosen]).tick(WARM_UP)
        assert len(moves_after(world, seconds)) <= 1

    @pytest.mark.slow
    def test_every_second_do_not_pump_a_small_guest_up_and_down(self):
        guest = ScriptedGuest("cold", demand=290, actual=512, maximum=1536, page_every=1)
        world = ScriptedNode([guest], [policy(advanced={"shrink": {"stabilizationSeconds": 120}})]).tick(WARM_UP)
        assert len(moves_after(world, 1200)) <= 2

    @pytest.mark.parametrize("seconds", [200, pytest.param(540, marks=pytest.mark.slow)])
    def test_of_a_guest_that_is_lent_spare_do_not_pump_it_while_the_host_is_under_pressure(self, seconds):
        guests = [
            ScriptedGuest("cold", 3000, 4000, maximum=16384, page_every=60),
            ScriptedGuest("warm", 6000, 8000, maximum=16384),
        ]
        world = ScriptedNode(guests, [default_policy()]).tick(WARM_UP)
        world.pressure = True
        world.tick(60)
        assert sum(abs(move.target - move.before) for move in moves_after(world, seconds)) <= 1024 * MIB

    @pytest.mark.slow
    def test_from_files_as_windows_counts_them_are_no_pressure_while_plenty_is_usable(self):
        world = ScriptedNode(
            [ScriptedGuest("windows", demand=1200, actual=2000, reads=50 * MIB)], [default_policy()]
        ).tick(WARM_UP)
        assert Reason.PRESSURE_GROW not in {move.reason for move in world.moves()}
        assert len(moves_after(world, 1200)) <= 1

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("chosen", "budget", "pressed"),
        [("Reclaim", "3200Mi", False), ("Reclaim", "9Gi", True), ("Share", "9Gi", True)],
    )
    def test_from_files_of_a_guest_with_as_little_usable_as_it_is_left_do_not_pump_it(self, chosen, budget, pressed):
        """Growing it does not end that: what it does with the memory shows in no demand."""
        guests = [ScriptedGuest("files", demand=1200, actual=1600, reads=5 * MIB), ScriptedGuest("calm", 1200, 1600)]
        world = ScriptedNode(guests, [default_policy(budget={"maximum": budget}, spare=chosen)])
        world.pressure = pressed
        assert len(moves_after(world.tick(WARM_UP), 1200)) <= 6

    @pytest.mark.parametrize(
        ("chosen", "seconds"),
        [("Reclaim", 120), *(pytest.param(each, 600, marks=pytest.mark.slow) for each in ("Reclaim", "Share"))],
    )
    def test_from_files_do_not_make_guests_rob_each_other_by_turns(self, chosen, seconds):
        """Not all of them can have as much usable as ends it."""
        guests = [ScriptedGuest(f"g{turn}", demand=1200 + 50 * turn, actual=1600, reads=5 * MIB) for turn in range(5)]
        world = ScriptedNode(guests, [default_policy(budget={"maximum": "8000Mi"}, spare=chosen)]).tick(WARM_UP)
        assert len(moves_after(world, seconds)) <= seconds / 20


def pattern(choice: np.random.Generator) -> list[float]:
    """A minute's demand, second by second, that of the guest's kernel and programs included: 60 MiB."""
    seconds: list[float] = []
    while len(seconds) < 60:
        seconds += [60.0 + choice.choice([40, 60, 90, 120, 150])] * int(choice.integers(6, 26))
    return seconds[:60]


class Jumping:
    """Fourteen guests, each jumping by a minute's pattern of its own, with three quarters of the budget in use."""

    WARM_UP = 180
    MEASURED = 180

    def __init__(self) -> None:
        choice = np.random.default_rng(14)
        patterns = {f"g{number}": pattern(choice) for number in range(14)}
        self.guests = [ScriptedGuest(name, demands[0], 200, maximum=320) for name, demands in patterns.items()]
        world = ScriptedNode(self.guests, [default_policy(budget={"maximum": "2800Mi"})])
        self.moves = []
        self.robbed = 0
        """Shrinks after which the guest was short within three seconds."""
        for second in range(self.WARM_UP + self.MEASURED):
            for guest in self.guests:
                guest.demand = patterns[guest.name][second % 60]
            before = len(world.moves())
            world.tick()
            if second >= self.WARM_UP:
                self.moves += [(second, move) for move in world.moves()[before:]]
                short = {guest.name for guest in self.guests if guest.demand > guest.actual}
                donors = [move.name for when, move in self.moves if not move.grows and second - when == 3]
                self.robbed += len(short.intersection(donors))


@pytest.fixture(scope="module")
def jumping() -> Jumping:
    return Jumping()


def test_guests_that_jump_are_not_moved_to_and_fro(jumping):
    assert len(jumping.moves) <= 40 * len(jumping.guests) * jumping.MEASURED / HOUR


def test_guests_that_jump_are_not_robbed_of_what_they_need_a_moment_later(jumping):
    assert jumping.robbed <= 4


def test_a_guest_that_starves_at_its_maximum_asks_for_no_more():
    world = ScriptedNode([ScriptedGuest("capped", demand=900, actual=300, maximum=384)]).tick(60)
    assert world.guests["capped"].actual == 384
    assert max(action.target for action in world.actions()) == 384 * MIB
    assert world.domain("capped")["target"] == 384 * MIB


@pytest.mark.parametrize(
    "limited", [{"limits": {"maximum": "1500Mi", "minimumPercent": 1}}, {"limits": {"maximumPercent": 50}}, {}]
)
def test_a_guest_that_starves_at_its_maximum_is_said_to(limited):
    world = ScriptedNode([ScriptedGuest("capped", demand=9000, actual=1500, maximum=3000)], [policy(**limited)]).tick(
        60
    )
    assert world.domain("capped")["reason"] == "AtMaximum"


def test_a_guest_at_its_maximum_that_has_what_it_needs_is_not():
    world = ScriptedNode([ScriptedGuest("full", demand=1300, actual=1500, maximum=1500)]).tick(60)
    assert world.domain("full")["reason"] != "AtMaximum"


@pytest.mark.parametrize("seconds", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_a_guest_that_starves_beside_others_in_need_is_said_to_lack_budget(seconds):
    readers = [
        ScriptedGuest(f"reader-{turn}", demand=1200 + 50 * turn, actual=1600, reads=5 * MIB) for turn in range(5)
    ]
    world = ScriptedNode(
        [*readers, ScriptedGuest("starving", 300, 600)], [default_policy(budget={"maximum": "9000Mi"})]
    ).tick(seconds)
    world.guests["starving"].demand = 1500
    world.tick(60)
    assert world.guests["starving"].actual < 1500
    assert world.reason("starving") is Reason.NO_BUDGET


class TestGuestInNeedThatFallsSilent:
    @pytest.fixture
    def world(self):
        """It has fallen silent for want of memory that another has; that one leaves."""
        guests = [ScriptedGuest("needy", 900, 1000, silent_in_need=True), ScriptedGuest("other", 2900, 3000)]
        world = ScriptedNode(guests, [policy(budget={"maximum": "4050Mi"})]).tick(20)
        for _ in range(2):  # the first time there is a little left for it
            world.guests["needy"].demand = world.guests["needy"].actual - 5
            world.tick(3)
        world.guests["needy"].demand = 1500
        world.tick(15)
        assert world.guests["needy"].actual < 1500
        del world.guests["other"]
        return world

    @pytest.mark.parametrize("set_by", [0, 3600, -3600])
    def test_grows_when_memory_comes_free(self, world, set_by):
        """Also if the wall clock, by which its last report was stamped, is set meanwhile."""
        world.wall_offset += set_by
        assert world.tick(60).guests["needy"].actual >= 1500

    def test_is_back_to_normal_when_it_has_been_helped(self, world):
        world.tick(120)
        assert world.reason("needy") is not Reason.STALE_STATISTICS

    @pytest.mark.parametrize("seconds", [150, pytest.param(300, marks=pytest.mark.slow)])
    def test_never_shrinks(self, world, seconds):
        world.tick(seconds)
        assert all(action.grows or action.target >= 1500 * MIB for action in world.actions("needy")[-3:])


@pytest.mark.parametrize(
    ("demand", "minimum"),
    [
        (100, "64Mi"),
        (200, "1Gi"),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in ((100, "1Gi"), (200, "64Mi"))),
    ],
)
def test_a_small_guest_is_not_squeezed_so_far_that_it_counts_as_short(demand, minimum):
    guests = [ScriptedGuest("small", demand, 900), ScriptedGuest("starves", 900, 1000)]
    chosen = default_policy(limits={"minimum": minimum}, budget={"maximum": f"{1700 + demand}Mi"})
    world = ScriptedNode(guests, [chosen]).tick(60)
    guests[1].demand = 3600
    reasons = [move.reason for move in moves_after(world, 100) if move.name == "small"]
    assert reasons == [Reason.CONTENTION_SHRINK] * 2


class TestABalloonThatItsGuestDeflates:
    """As one does that reports memory as usable that it cannot give up, tmpfs for example."""

    @pytest.mark.parametrize(
        ("window", "seconds"), [(120, 150), *(pytest.param(each, 600, marks=pytest.mark.slow) for each in (5, 120))]
    )
    def test_is_not_pumped_up_and_down(self, window, seconds):
        guest = ScriptedGuest("tmpfs", demand=290, actual=1024, maximum=1536, autodeflate=True, deflates_to=600)
        world = ScriptedNode([guest], [policy(advanced={"shrink": {"stabilizationSeconds": window}})]).tick(WARM_UP)
        assert len(moves_after(world, seconds)) <= seconds / 75

    @pytest.mark.parametrize("autodeflate", [False, True])
    @pytest.mark.parametrize("seconds", [120, pytest.param(300, marks=pytest.mark.slow)])
    def test_nor_where_the_host_is_under_pressure_from_the_start(self, autodeflate, seconds):
        guest = ScriptedGuest("tmpfs", demand=400, actual=900, maximum=1024, autodeflate=autodeflate, deflates_to=900)
        world = ScriptedNode([guest], [default_policy()])
        world.pressure = True
        assert len(moves_after(world, seconds)) <= 5

    @pytest.mark.parametrize("seconds", [100, pytest.param(300, marks=pytest.mark.slow)])
    def test_nor_beside_one_that_starves(self, seconds):
        guest = ScriptedGuest("tmpfs", demand=180, actual=237, maximum=256, autodeflate=True, deflates_to=237)
        guests = [guest, ScriptedGuest("starves", demand=2400, actual=2048, maximum=4096)]
        world = ScriptedNode(guests, [default_policy(budget={"maximum": "2240Mi"})]).tick(30)
        assert len([move for move in moves_after(world, seconds) if move.name == "tmpfs"]) <= 4

    def test_keeps_all_it_has_for_a_while(self):
        guest = ScriptedGuest("tmpfs", demand=290, actual=1024, maximum=1536, autodeflate=True, deflates_to=600)
        world = ScriptedNode([guest], [policy(advanced={"shrink": {"stabilizationSeconds": 60}})])
        world.tick(70)
        assert [move.reason for move in world.moves()] == [Reason.FORECAST_SHRINK, Reason.PRESSURE_GROW]
        assert moves_after(world, 50) == []

    def test_is_believed_again_when_it_tells_of_its_need(self):
        guest = ScriptedGuest("grows", demand=290, actual=1024, maximum=1536, autodeflate=True, deflates_to=600)
        world = ScriptedNode([guest], [policy(advanced={"shrink": {"stabilizationSeconds": 60}})]).tick(70)
        guest.demand = 2000
        world.tick(5)
        assert not world.state.pressure.deflated.any()

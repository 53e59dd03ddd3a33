"""Which statistics count, and for how long: the stage that turns samples into demand."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, policy
from stages import plain, rows

from controller.engine.observation import Observation, accrue, observe
from controller.engine.phases import Balloon, PhaseEvent
from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState, Snapshot
from controller.engine.tuning import Tuning

NOW = 1000.0


class ObservationStage:
    """One guest's samples through the stage alone."""

    def __init__(self, guest: ScriptedGuest | None = None) -> None:
        self.world = ScriptedNode([guest or ScriptedGuest("guest", 500, 2000)])
        self.observation = Observation.blank(1)
        self.balloon = Balloon.blank(1)

    def look(self, now: float, *, wall: float = 1.7e9, events: dict[str, float] | None = None, **sample) -> Observation:
        """A look at `now`; `sample` overrides what the guest tells, `updated` is in seconds ago."""
        taken: list[Snapshot] = []
        guest = self.world.guests["guest"]
        sent = now - sample.pop("updated", 0.0)
        guest.statistics = {"updated": wall + sent, **sample}
        self.world.wall_offset, self.world.now = wall, now
        self.world._take = taken.append
        self.world._decide(self.world.inventory, ["guest"], events or {})
        self.observation = observe(self.observation, self.balloon, taken[0], now, Tuning())
        return self.observation


def one(column) -> object:
    return column.tolist()[0]


def test_a_sample_of_a_balloon_at_rest_tells_demand():
    seen = ObservationStage().look(NOW)
    assert (one(seen.fresh), one(seen.demand), one(seen.allocation)) == (True, 500 * MIB, 2000 * MIB)


def test_statistics_that_are_not_new_are_not_fresh():
    driver = ObservationStage()
    driver.look(NOW)
    seen = driver.look(NOW + 1, updated=1)
    assert (one(seen.fresh), one(seen.fresh_count), one(seen.trouble)) == (False, 1, Reason.NONE)


def test_a_sample_of_a_balloon_under_way_is_not_fresh():
    driver = ObservationStage()
    driver.balloon = replace(driver.balloon, target=np.array([1000 * MIB]), last_at=np.array([NOW]))
    assert not one(driver.look(NOW).fresh)


@pytest.mark.parametrize(("asked_ago", "telling"), [(0.5, False), (1.0, True)])
def test_a_sample_of_a_balloon_that_grows_tells_of_pressure_a_second_after_the_order(asked_ago, telling):
    driver = ObservationStage()
    driver.balloon = replace(driver.balloon, target=np.array([4000 * MIB]), last_at=np.array([NOW - asked_ago]))
    assert one(driver.look(NOW).telling) is telling


def test_old_statistics_tell_nothing_of_a_balloon_that_shrinks():
    driver = ObservationStage()
    driver.balloon = replace(driver.balloon, target=np.array([1000 * MIB]), last_at=np.array([NOW - 5]))
    assert [one(driver.look(NOW + second, updated=second).telling) for second in (0, 1)] == [True, False]


def test_a_guest_that_breaks_its_word_is_not_believed_for_twice_as_long_each_time():
    driver, waits = ObservationStage(), []
    for second in range(9):
        choked = np.array([int(PhaseEvent.CHOKED)])
        driver.balloon = replace(Balloon.blank(1), event=choked)
        waits.append(one(driver.look(NOW + second).owed_until) - NOW - second)
    assert waits == [960, 1920, 3840, 7680, 15360, 30720, 61440, 86400, 86400]


def test_a_guest_is_short_or_has_slack_never_both():
    seen = replace(ObservationStage().look(NOW), demand=np.array([2001.0 * MIB]))
    added, shortfall, slack = accrue(seen, np.array([True]), 2.0)
    assert (shortfall, slack) == (2 * MIB, 0)
    assert (one(added.shortfall_time), one(added.slack_time)) == (2 * MIB, 0)


def test_statistics_of_another_life_of_the_guest_do_not_count_and_what_qemu_holds_does():
    guest = ScriptedGuest("guest", 500, 2000, reset_at=1.7e9 + NOW)
    seen = ObservationStage(guest).look(NOW, updated=5)
    assert (np.isnan(one(seen.stamp)), one(seen.rss_known), one(seen.rss)) == (True, True, 2000 * MIB)


def test_a_guest_that_has_ended_has_no_size_and_hides_none():
    world = ScriptedNode([ScriptedGuest("ended", 500, 2000), ScriptedGuest("runs", 500, 1000)], policies=[policy()])
    world.guests["ended"].run_state = RunState.NOT_RUNNING
    assert world.tick().state.observation.allocation.tolist() == [0, 1000 * MIB]


def test_of_a_guest_that_does_not_count_or_has_told_nothing_no_shortfall_is_summed_up():
    seen = rows(Observation, 3, allocation=100 * MIB, demand=[101 * MIB, 101 * MIB, np.nan])
    added, shortfall, slack = accrue(seen, np.array([True, False, True]), 2.0)
    assert (shortfall, slack, added.shortfall_time.tolist()) == (2 * MIB, 0, [2 * MIB, 0, 0])


def test_a_sample_is_as_old_as_its_statistics_not_as_its_look():
    seen = ObservationStage().look(NOW, updated=7)
    assert (one(seen.fresh_at), one(seen.reported_at)) == (NOW, NOW - 7)


@pytest.mark.parametrize(("period", "age", "trouble"), [(1, 11, "stale"), (60, 170, "none"), (60, 181, "stale")])
def test_silence_is_measured_in_the_guests_own_periods(period, age, trouble):
    seen = ObservationStage(ScriptedGuest("guest", 500, 2000, period=period)).look(NOW, updated=age)
    assert one(seen.trouble) == (Reason.STALE_STATISTICS if trouble == "stale" else Reason.NONE)


@pytest.mark.parametrize(
    ("sample", "trouble"),
    [
        ({"updated": -5.0}, Reason.NONE),
        ({"updated": -6.0}, Reason.FUTURE_STATISTICS),
        ({"available": -1.0}, Reason.MOVING),
        ({"actual": 0.0}, Reason.MOVING),
        ({"usable": 2001.0 * MIB}, Reason.MOVING),
    ],
)
def test_numbers_that_cannot_be_are_not_acted_on(sample, trouble):
    assert one(ObservationStage().look(NOW, **sample).trouble) == trouble


@pytest.mark.parametrize("sample", [{"available": -1.0}, {"actual": 0.0}, {"usable": 2001.0 * MIB}])
def test_numbers_that_stay_impossible_are_invalid(sample):
    driver = ObservationStage()
    driver.look(NOW, **sample)
    assert one(driver.look(NOW + 1, **sample).trouble) == Reason.INVALID_STATISTICS


@pytest.mark.parametrize(
    ("started_ago", "reset_ago", "trouble"),
    [
        (None, None, Reason.NO_STATISTICS),
        (119, None, Reason.BOOTING),
        (120, None, Reason.NO_STATISTICS),
        (121, None, Reason.NO_STATISTICS),
        (500, 119, Reason.BOOTING),
    ],
)
def test_a_guest_boots_as_long_as_its_start_or_reset_is_recent(started_ago, reset_ago, trouble):
    wall = 1.7e9 + NOW
    guest = ScriptedGuest("guest", 500, 2000)
    guest.started_at = wall - started_ago if started_ago else 0.0
    guest.reset_at = wall - reset_ago if reset_ago else 0.0
    assert one(ObservationStage(guest).look(NOW, usable=np.nan, unused=np.nan).trouble) == trouble


def test_statistics_from_before_a_reset_are_of_another_life():
    guest = ScriptedGuest("guest", 500, 2000, reset_at=1.7e9 + NOW - 3)
    driver = ObservationStage(guest)
    assert one(driver.look(NOW, updated=4).trouble) == Reason.BOOTING
    assert one(driver.look(NOW + 1, updated=1).trouble) == Reason.NONE


@pytest.mark.parametrize(("elapsed", "counted"), [(4, 4), (1, 1), (0.5, 1)])  # stamps are whole seconds
def test_rates_are_those_between_two_telling_samples(elapsed, counted):
    driver = ObservationStage()
    driver.look(NOW, swap_in=0.0, major_faults=0.0)
    seen = driver.look(NOW + elapsed, swap_in=400.0, major_faults=40.0)
    assert (one(seen.swap_in_rate), one(seen.fault_rate)) == (400 / counted, 40 / counted)


def test_counters_that_begin_anew_have_no_rate():
    driver = ObservationStage()
    driver.look(NOW, swap_in=400.0, major_faults=40.0)
    seen = driver.look(NOW + 1, swap_in=0.0, major_faults=0.0)
    assert (one(seen.swap_in_rate), one(seen.fault_rate)) == (0, 0)


def test_a_change_is_that_of_demand_between_two_fresh_samples():
    driver = ObservationStage()
    changes = [
        one(driver.look(NOW + second, usable=left * MIB).change) for second, left in enumerate((1500, 1400, 1450))
    ]
    assert changes == [0, 100 * MIB, -50 * MIB]


@pytest.mark.parametrize(("change", "moved_at"), [(0.9, -np.inf), (1.0, NOW + 1)])
def test_less_than_a_mebibyte_is_no_move(change, moved_at):
    driver = ObservationStage()
    driver.look(NOW)
    assert one(driver.look(NOW + 1, actual=(2000 + change) * MIB).moved_at) == moved_at


def test_an_observation_is_never_written_into():
    driver = ObservationStage()
    before = driver.look(NOW)
    kept = plain(before)
    driver.look(NOW + 5, events={"guest": 1500.0})
    assert plain(before) == kept


def test_a_sample_of_a_balloon_that_shrinks_tells_of_pressure_at_once_and_ends_the_word_of_the_last_fresh_one():
    driver = ObservationStage()
    driver.look(NOW - 1)
    driver.balloon = replace(driver.balloon, target=np.array([500 * MIB]), last_at=np.array([NOW]))
    seen = driver.look(NOW)
    assert (one(seen.telling), one(seen.reported_at)) == (True, -np.inf)


def test_statistics_from_before_the_last_look_may_be_of_another_size_others_are_not():
    driver = ObservationStage()
    driver.look(NOW)
    driver.look(NOW + 1, actual=1500.0 * MIB)
    assert not one(driver.look(NOW + 1.5, actual=1500.0 * MIB, updated=0.5, usable=1000.0 * MIB).fresh)
    assert one(driver.look(NOW + 1.9, actual=1500.0 * MIB, updated=0.95, usable=1000.0 * MIB).fresh)


@pytest.mark.parametrize(
    ("sample", "left_mib"),
    [
        ({"usable": np.nan, "unused": 700.0 * MIB}, 700),
        ({"usable": 0.0, "unused": 700.0 * MIB}, 700),
        ({"usable": 0.0, "unused": 0.0}, 0),
        ({"usable": 900.0 * MIB, "unused": 700.0 * MIB}, 900),
    ],
)
def test_what_a_guest_could_give_up_is_what_it_calls_usable_unless_that_cannot_be(sample, left_mib):
    assert one(ObservationStage().look(NOW, **sample).usable) == left_mib * MIB


@pytest.mark.parametrize(
    ("second", "asked_ago", "chokes"),
    [
        ({}, 1, True),
        ({}, np.nan, False),
        ({}, 0, False),
        ({"unused": 100.0 * MIB}, 1, False),
        ({"available": 1990.0 * MIB}, 1, False),
        ({"updated": 1.0}, 1, False),
    ],
)
def test_a_guest_chokes_that_tells_twice_since_its_order_of_nothing_free_at_one_size(second, asked_ago, chokes):
    driver = ObservationStage()
    driver.balloon = replace(driver.balloon, last_at=np.array([NOW - asked_ago]))
    tight = {"unused": 20.0 * MIB, "available": 2000.0 * MIB}
    driver.look(NOW, **tight)
    assert np.isfinite(one(driver.look(NOW + 1, **tight | second).choked_at)) == chokes


def test_what_a_choking_guest_promised_is_doubted_for_a_while():
    driver = ObservationStage()
    full = {"usable": 1500.0 * MIB, "unused": 100.0 * MIB, "caches": 1400.0 * MIB}
    assert one(driver.look(NOW, **full).doubtful) == 0
    driver.balloon = replace(driver.balloon, event=np.array([int(PhaseEvent.CHOKED)]))
    assert one(driver.look(NOW + 1, **full).doubtful) == 1400 * MIB
    driver.balloon = Balloon.blank(1)
    assert one(driver.look(NOW + 960, **full).doubtful) == 1400 * MIB
    assert one(driver.look(NOW + 962, **full).doubtful) == 0


@pytest.mark.parametrize(("unused", "swapped"), [(600, 0), (400, 50), (np.nan, 0)], ids=["much", "little", "not told"])
def test_with_much_free_a_guest_that_shrinks_swaps_out_what_it_likes_as_windows_counts_files_written(unused, swapped):
    driver = ObservationStage()
    driver.balloon = replace(driver.balloon, target=np.array([1000.0 * MIB]), last_at=np.array([NOW - 5]))
    full = {"usable": 1500.0 * MIB, "unused": unused * MIB, "caches": 0.0}
    driver.look(NOW, swap_out=0.0, **full)
    assert one(driver.look(NOW + 2, swap_out=50.0 * MIB, **full).swapped) == swapped * MIB


@pytest.mark.parametrize(
    ("out", "last", "swapped", "doubtful"),
    [
        (50, {"last_from": 3000, "last_to": 2000}, 50, 1400),
        (0.2, {"last_from": 3000, "last_to": 2000}, 0.2, 0),
        (50, {"last_from": 1000, "last_to": 2000}, 0, 0),
        (50, {"last_from": 3000, "last_to": 2000, "ago": 3}, 0, 0),
        (50, {"last_from": 3000, "last_to": 1000, "target": 1000, "ago": 3}, 50, 1400),
    ],
    ids=["shrank", "little", "grew", "before", "shrinks"],
)
def test_what_a_guest_swaps_out_while_it_shrinks_is_wanted_still_and_what_it_had_to_spare_is_doubted_for_a_while(
    out, last, swapped, doubtful
):
    driver = ObservationStage()
    sizes = {name: np.array([size * MIB]) for name, size in last.items() if name != "ago"}
    driver.balloon = replace(driver.balloon, last_at=np.array([NOW + 1.5 - last.get("ago", 0)]), **sizes)
    full = {"usable": 1500.0 * MIB, "unused": 100.0 * MIB, "caches": 1400.0 * MIB}
    driver.look(NOW, swap_out=0.0, **full)
    assert one(driver.look(NOW + 2, swap_out=out * MIB, **full).swapped) == swapped * MIB
    driver.balloon = Balloon.blank(1)
    assert one(driver.look(NOW + 3, swap_out=out * MIB, **full).doubtful) == doubtful * MIB
    assert one(driver.look(NOW + 964, swap_out=out * MIB, **full).doubtful) == 0


def test_a_report_that_is_told_again_says_nothing_of_a_size_that_came_after_it():
    driver = ObservationStage()
    driver.look(NOW)
    before = {"actual": 1500.0 * MIB, "usable": 1800.0 * MIB}  # of 2000 MiB
    troubles = [one(driver.look(NOW + second, updated=second + 2, **before).trouble) for second in (1, 2)]
    assert troubles == [Reason.NONE] * 2


def test_statistics_that_were_sent_before_an_event_do_not_count_although_the_look_with_it_did_not_find_them():
    driver = ObservationStage()
    driver.look(NOW, events={"guest": 1500.0})
    assert not one(driver.look(NOW + 1, actual=1500.0 * MIB, updated=1.5).fresh)


def test_an_event_is_no_look_at_the_guest():
    driver, taken = ObservationStage(), []
    heard_at = driver.look(NOW).heard_at
    driver.world._take = taken.append
    driver.world._decide(driver.world.inventory, [], {"guest": 1500.0})
    seen = observe(driver.observation, driver.balloon, taken[0], NOW + 1, Tuning())
    assert (one(seen.allocation), one(seen.heard_at)) == (1500 * MIB, one(heard_at))


def test_a_balloon_on_its_way_makes_no_sample_of_another_telling():
    world, taken = ScriptedNode([ScriptedGuest("rests", 500, 2000), ScriptedGuest("moves", 500, 2000)]), []
    world._take = taken.append
    balloons = replace(Balloon.blank(2), target=np.array([np.nan, 1000 * MIB]), last_at=np.array([0.0, NOW]))
    seen, keys = Observation.blank(2), ["rests", "moves"]
    for now, size in ((NOW, 2000), (NOW + 1, 1500)):
        world.now = now
        world.guests["rests"].actual = size
        for guest in world.guests.values():
            guest.statistics = {"updated": world.wall - 0.5}
        world._decide(world.inventory, keys, {})
        seen = observe(seen, balloons, taken[-1], now, Tuning())
    assert seen.telling.tolist() == [False, True]


# Swap.


def swapping(*looks: tuple[float, float, float], apart: float = 1.0) -> Observation:
    """After looks at a guest of 1000 MiB, `apart` seconds; each (usable, swapped out, read back), MiB since boot."""
    driver = ObservationStage(ScriptedGuest("guest", 500, 1000))
    for number, (usable, out, back) in enumerate(looks):
        free, now = usable * MIB, NOW + number * apart
        seen = driver.look(now, usable=free, unused=free, swap_out=out * MIB, swap_in=back * MIB)
    return seen


def test_what_a_guest_had_to_swap_out_counts_as_demand():
    seen = swapping((100, 0, 0), (100, 50, 0))
    assert (one(seen.swapped), one(seen.demand), one(seen.change)) == (50 * MIB, 950 * MIB, 50 * MIB)


def test_what_it_had_to_swap_out_adds_up():
    assert one(swapping((100, 0, 0), (100, 50, 0), (100, 100, 0)).swapped) == pytest.approx(100 * MIB, rel=3e-3)


def test_what_it_had_swapped_out_before_anybody_looked_counts_as_nothing():
    assert one(swapping((100, 70, 0)).swapped) == 0


@pytest.mark.parametrize(("usable", "swapped"), [(249, 50), (250, 0)])
def test_what_a_guest_swaps_out_with_memory_to_spare_is_its_own_choice(usable, swapped):
    seen = swapping((usable, 0, 0), (usable, 50, 0))
    assert (one(seen.swapped), one(seen.swap_out_rate)) == (swapped * MIB, swapped * MIB)


def test_what_is_read_back_is_in_memory_again():
    seen = swapping((100, 0, 0), (100, 50, 0), (70, 50, 30))
    assert one(seen.swapped) == pytest.approx(20 * MIB, rel=3e-3)
    assert one(seen.demand) == pytest.approx(950 * MIB, rel=3e-3)


def test_more_read_back_than_swapped_out_leaves_nothing():
    assert one(swapping((100, 0, 0), (100, 50, 0), (20, 50, 80)).swapped) == 0


def test_what_it_has_done_without_for_ten_minutes_counts_half():
    assert one(swapping((100, 0, 0), (100, 64, 0), (100, 64, 0), apart=600.0).swapped) == 32 * MIB


def test_a_guest_that_frees_memory_frees_it_in_swap_alike():
    assert one(swapping((100, 0, 0), (100, 50, 0), (550, 50, 0)).swapped) == pytest.approx(25 * MIB, rel=3e-3)


def test_counters_that_go_back_take_nothing_away():
    assert one(swapping((100, 500, 400), (100, 0, 0)).swapped) == 0


def test_counters_beyond_all_bounds_count_as_all_it_may_have():
    seen = swapping((100, 0, 0), (100, 1e12, 0))
    assert one(seen.swapped) == one(seen.maximum)

"""The simulated host: how balloons move, what guests report, who is there."""

import numpy as np
import pytest
from made_traces import Script, trace

from controller.replay.run import replay
from controller.replay.trace import Series, Trace


def changes(result, row=0):
    """What the record holds of a domain: (time, MiB) of every change."""
    return list(zip(result.record.times[row].tolist(), result.record.allocations[row].tolist(), strict=True))


def test_domains_start_with_an_equal_share_but_never_more_than_their_maximum():
    small = Series(np.array([0.0, 1.0]), np.array([10.0, 10.0]), np.array([100.0, 100.0]))
    large = Series(np.array([0.0, 1.0]), np.array([10.0, 10.0]), np.array([5000.0, 5000.0]))

    result = replay(Trace(("small", "large"), (small, large)), Script({}), 1000)

    assert changes(result, 0) == [(0, 100)]
    assert changes(result, 1) == [(0, 500)]


def test_a_guest_grows_two_gib_a_second_recorded_as_one_step_half_way():
    result = replay(trace(a=[1] * 5), Script({1: {0: 4096}}), 1024)

    assert changes(result) == [(0, 1024), (1 + 0.75, 4096)]


def test_a_guest_shrinks_by_nine_tenths_of_a_gib_a_second():
    result = replay(trace(a=[1] * 5), Script({1: {0: 1024}}), 1024 + 921.6)

    assert changes(result) == [(0, 1945.6), (1.5, 1024)]


def test_a_new_order_takes_effect_where_the_balloon_is():
    result = replay(trace(a=[1] * 8), Script({1: {0: 5120}, 2: {0: 1536}}), 1024)

    down = 1536 / 921.6
    assert changes(result) == [(0, 1024), (1.5, 3072), (pytest.approx(2 + down / 2), 1536)]


def test_of_a_guest_that_grows_for_seconds_the_record_tells_how_far_it_has_come():
    result = replay(trace(a=[1] * 8), Script({1: {0: 7168}}), 1024)

    assert changes(result) == [(0, 1024), (1.75, 4096), (3.25, 7168)]


@pytest.mark.parametrize(("step", "parts"), [(1, 3), (5, 1)])
def test_it_tells_no_more_often_than_the_trace_does(step, parts):
    times = np.arange(8.0) * step
    one = Series(times, np.ones(8), np.full(8, 40000.0))

    result = replay(Trace(("a",), (one,)), Script({step: {0: 11264}}), 1024)

    assert len(changes(result)) == 1 + parts


def of_two(demand, orders, others_maximum):
    """Changes of a guest that begins with 8192 MiB of 16384, and another."""
    times = np.arange(float(len(demand)))
    mine = Series(times, np.array(demand, dtype=float), np.full(len(times), 40000.0))
    other = Series(times, np.ones(len(times)), np.full(len(times), float(others_maximum)))
    return changes(replay(Trace(("a", "b"), (mine, other)), Script(orders), 16384))


@pytest.mark.parametrize(("demand", "steps"), [(8192, [(2.5, 14336)]), (8193, [(1.75, 11264), (3.25, 14336)])])
@pytest.mark.parametrize("later", [0, 1])
def test_a_long_growth_is_one_step_unless_its_guest_misses_memory_meanwhile(demand, steps, later):
    demands = [1, 1 if later else demand, demand, demand, 1, 1, 1, 1]
    assert of_two(demands, {1: {0: 14336}}, 100) == [(0, 8192), *steps]


@pytest.mark.parametrize(
    ("orders", "steps"),
    [
        ({2: {0: 4505.6}}, [(4, 4505.6)]),
        ({0: {1: 7000}, 2: {0: 4505.6}, 3: {1: 8000}}, [(4, 4505.6)]),
        ({2: {0: 4505.6}, 3: {1: 8200}}, [(3, 6348.8), (5, 4505.6)]),
    ],
)
def test_a_long_shrink_is_one_step_unless_more_is_taken_meanwhile_than_was_free(orders, steps):
    seen = of_two([1] * 8, orders, 20000)
    assert seen == [(0, 8192), *((pytest.approx(at), pytest.approx(to)) for at, to in steps)]


def test_a_guest_that_comes_takes_as_one_that_grows():
    times = np.arange(12.0)
    here, there = (Series(times, np.ones(12), np.full(12, 20000.0)) for _ in range(2))
    comes = Series(times[6:], np.ones(6), np.full(6, 3000.0))
    orders = Script({1: {1: 16384}, 5: {0: 4505.6}})

    alone = changes(replay(Trace(("a", "b", "c"), (here, there, comes)), Script({5: {0: 4505.6}}), 24576))
    full = changes(replay(Trace(("a", "b", "c"), (here, there, comes)), orders, 24576))

    assert alone == [(0, 8192), (7, pytest.approx(4505.6))]
    assert full == [(0, 8192), (pytest.approx(6), pytest.approx(6348.8)), (pytest.approx(8), pytest.approx(4505.6))]


def test_what_two_guests_were_taking_at_the_end_is_counted_once():
    times = np.arange(6.0)
    guests = tuple(Series(times, np.ones(6), np.full(6, maximum)) for maximum in (40000.0, 40000.0, 100.0))

    result = replay(Trace(("a", "b", "c"), guests), Script({1: {0: 32000, 1: 32000}}), 65856)

    assert [changes(result, row) for row in (0, 1)] == 2 * [[(0, 21952), (3, 30144)]]


def test_a_guest_never_gives_up_what_it_uses_and_goes_on_when_it_uses_less():
    result = replay(trace(a=[900, 900, 900, 400, 400]), Script({1: {0: 300}}), 1000)

    assert [size for _, size in changes(result)] == [1000, 900, 400]
    assert changes(result)[2][0] == pytest.approx(3 + 500 / 921.6 / 2)


def test_a_guest_that_misses_memory_gives_up_none():
    result = replay(trace(a=[2000] * 5), Script({1: {0: 300}}), 1000)

    assert changes(result) == [(0, 1000)]


def test_orders_above_the_maximum_stop_there():
    result = replay(trace(a=[1] * 5, maximum=2000), Script({1: {0: 9000}}), 1000)

    assert [size for _, size in changes(result)] == [1000, 2000]


def test_without_autodeflate_demand_does_not_move_a_balloon():
    result = replay(trace(a=[0, 3000, 3000]), Script({}, hears=True), 1000)

    assert changes(result) == [(0, 1000)]


def test_autodeflate_grows_a_guest_by_itself_and_tells():
    script = Script({}, hears=True)

    result = replay(trace(a=[0, 3048, 3048, 0, 0]), script, 1000, autodeflate=True)

    assert changes(result) == [(0, 1000), (1.5, 3048)]
    assert script.heard == [(2.0, {0: 3048})]


def test_autodeflate_stops_at_the_maximum():
    result = replay(trace(a=[0, 9000, 9000, 9000], maximum=2000), Script({}), 1000, autodeflate=True)

    assert [size for _, size in changes(result)] == [1000, 2000]


def test_a_look_sees_demand_one_statistics_period_late():
    script = Script({}, looks=(1, 2, 3))

    replay(trace(a=[100, 200, 300, 400, 500]), script, 1000)

    assert [float(script.seen[time].used[0]) for time in (1, 2, 3)] == [100, 200, 300]
    assert [float(script.seen[time].updated[0]) for time in (1, 2, 3)] == [1, 2, 3]


def test_on_a_coarse_trace_statistics_are_as_coarse():
    script = Script({}, looks=(300, 450, 600))

    replay(trace(step=300, a=[100, 200, 300, 400]), script, 1000)

    assert [float(script.seen[time].used[0]) for time in (300, 450, 600)] == [100, 100, 200]
    assert [float(script.seen[time].updated[0]) for time in (300, 450, 600)] == [300, 300, 600]


def test_a_look_never_sees_demand_above_the_allocation():
    script = Script({}, looks=(2,))

    replay(trace(a=[5000] * 4), script, 1000)

    assert float(script.seen[2].used[0]) == 1000
    assert float(script.seen[2].unused[0]) == 0


@pytest.mark.parametrize(("demand", "rises"), [(969, False), (971, True)])
def test_pressure_shows_above_97_percent_of_the_allocation(demand, rises):
    script = Script({}, looks=(1, 2))

    replay(trace(a=[demand] * 4), script, 1000)

    assert (script.seen[2].swap_in[0] > script.seen[1].swap_in[0]) == rises
    assert (script.seen[2].major_faults[0] > script.seen[1].major_faults[0]) == rises


def test_in_a_gap_a_guest_sends_nothing():
    times = np.array([0.0, 1.0, 2.0, 8.0, 9.0, 10.0])
    script = Script({}, looks=(5, 7, 9))

    replay(Trace(("a",), (Series(times, np.full(6, 5.0), np.full(6, 99.0)),)), script, 100)

    assert [float(script.seen[time].updated[0]) for time in (5, 7, 9)] == [3, 3, 9]


def test_domains_are_there_from_their_first_to_their_last_sample():
    late = Series(np.array([2.0, 3.0]), np.array([10.0, 10.0]), np.array([100.0, 100.0]))
    whole = Series(np.arange(6.0), np.full(6, 10.0), np.full(6, 100.0))
    script = Script({}, looks=(1, 2, 3, 4))

    result = replay(Trace(("whole", "late"), (whole, late)), script, 100)

    assert [script.seen[time].rows.tolist() for time in (1, 2, 3, 4)] == [[0], [0, 1], [0], [0]]
    assert changes(result, 1) == [(2, 50)]


def test_a_maximum_that_falls_takes_the_allocation_with_it():
    series = Series(np.arange(4.0), np.full(4, 10.0), np.array([1000.0, 1000.0, 500.0, 500.0]))

    result = replay(Trace(("a",), (series,)), Script({}), 1000)

    assert [size for _, size in changes(result)] == [1000, 500]


def test_reports_that_fall_on_a_sample_but_for_rounding_come_before_it():
    times = np.array([0.0, 1.1, 2.2, 3.3000000000000003, 4.4])
    script = Script({}, looks=tuple(times[1:4].tolist()))

    replay(Trace(("a",), (Series(times, np.arange(1.0, 6.0), np.full(5, 9.0)),)), script, 9)

    assert [float(seen.used[0]) for seen in script.seen.values()] == [1, 2, 3]


def residents(demand, orders, looks, host_mib=1000, free_page_reporting=False):
    """What the domains hold at each of `looks`."""
    script = Script(orders, looks)
    replay(demand, script, host_mib, free_page_reporting=free_page_reporting)
    return [script.seen[time].resident.tolist() for time in looks]


def test_guests_that_were_there_before_hold_all_they_were_given_and_later_ones_what_they_use():
    whole = Series(np.arange(6.0), np.full(6, 10.0), np.full(6, 500.0))
    late = Series(np.arange(2.0, 6.0), np.full(4, 70.0), np.full(4, 500.0))

    assert residents(Trace(("whole", "late"), (whole, late)), {}, (1, 3)) == [[500], [500, 70]]


def test_a_guest_that_uses_more_than_ever_holds_it_at_once_and_keeps_it():
    late = Series(np.arange(1.0, 6.0), np.array([70.0, 300, 300, 40, 40]), np.full(5, 500.0))
    whole = Series(np.arange(7.0), np.full(7, 10.0), np.full(7, 500.0))

    held = residents(Trace(("whole", "late"), (whole, late)), {}, (1, 2, 3, 4))

    assert [row[1] for row in held] == [70, 300, 300, 300]


def test_a_guest_that_reports_free_pages_holds_what_it_uses():
    assert residents(trace(a=[400, 400, 90, 90]), {}, (0, 1, 2), free_page_reporting=True) == [[400], [400], [90]]


def test_a_balloon_that_inflates_takes_away_what_is_held_and_one_that_deflates_brings_nothing():
    orders = {1: {0: 300}, 3: {0: 900}}

    assert residents(trace(a=[50] * 6), orders, (1, 2, 4)) == [[1000], [300], [300]]


def test_a_balloon_takes_untouched_memory_first():
    late = Series(np.arange(1.0, 7.0), np.full(6, 70.0), np.full(6, 500.0))
    whole = Series(np.arange(7.0), np.full(7, 10.0), np.full(7, 500.0))

    held = residents(Trace(("whole", "late"), (whole, late)), {2: {1: 100}, 4: {1: 20}}, (3, 5))

    assert [row[1] for row in held] == [70, 70]


def test_a_guest_that_misses_memory_holds_all_it_has():
    assert residents(trace(a=[5000] * 4), {}, (1,), free_page_reporting=True) == [[1000]]


def recorded(resident, demand=50.0, maximum=1000.0):
    """A guest whose resident size was recorded."""
    n = len(resident)
    series = Series(np.arange(float(n)), np.full(n, demand), np.full(n, maximum), np.array(resident))
    return Trace(("a",), (series,))


def test_guests_take_and_give_back_what_they_did_when_they_were_recorded():
    assert residents(recorded([400.0, 400, 520, 300, 300]), {}, (0, 1, 2, 3)) == [[400], [400], [520], [300]]


def test_what_was_taken_then_is_taken_from_where_a_balloon_has_brought_the_guest():
    held = residents(recorded([400.0, 400, 400, 450, 450]), {0: {0: 200}, 2: {0: 900}}, (1, 2, 3))
    assert held == [[200], [200], [250]]


def test_a_guest_that_was_recorded_holds_what_it_uses_and_no_more_than_it_has():
    assert residents(recorded([10.0, 10, 5000, 5000]), {}, (1, 2)) == [[50], [1000]]


def test_samples_that_tell_nothing_of_what_was_held_change_nothing():
    held = residents(recorded([400.0, np.nan, 430, np.nan, np.nan]), {}, (0, 1, 2, 3))
    assert held == [[400], [400], [430], [430]]


def test_what_was_recorded_goes_before_free_page_reporting():
    held = residents(recorded([400.0, 400, 430, 430]), {}, (1, 2), free_page_reporting=True)
    assert held == [[400], [430]]


def test_a_guest_of_which_nothing_was_recorded_holds_what_the_world_makes_up():
    assert residents(recorded([np.nan] * 3), {}, (1,)) == [[1000]]


def test_a_recorded_guest_that_comes_later_holds_what_it_held():
    whole = Series(np.arange(6.0), np.full(6, 10.0), np.full(6, 500.0))
    late = Series(np.arange(2.0, 6.0), np.full(4, 70.0), np.full(4, 500.0), np.array([200.0, 210, 210, 210]))

    assert residents(Trace(("whole", "late"), (whole, late)), {}, (2, 3)) == [[500, 200], [500, 210]]


def test_what_guests_hold_changes_no_figure_of_who_does_not_feel_it():
    demand = trace(a=[400, 400, 90, 90, 2000, 2000])

    first, second = (replay(demand, Script({2: {0: 300}}), 1000, free_page_reporting=each) for each in (False, True))

    assert first.figures == second.figures

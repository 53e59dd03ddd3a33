"""The probe: what can be had without a forecast. Numbers by hand from its own description."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_traces import trace

from controller.replay.peers.probe import DemandMemory, Probe, Want, donations, movers, spread, turns
from controller.replay.run import replay
from controller.replay.trace import Series, Trace
from controller.replay.world import Readings


def mib(*values):
    return np.array(values, dtype=float)


class RecordingProbe(Probe):
    """Keeps what all balloons together have, and each of them, whenever it acts."""

    def start(self, world):
        super().start(world)
        self.sizes = {}

    def act(self, world):
        super().act(world)
        self.sizes[round(world.now, 3)] = world.allocation.copy()


def watched(demand, host_mib):
    probe = RecordingProbe()
    result = replay(demand, probe, host_mib)
    return probe.sizes, result


def test_a_spread_is_in_proportion_to_reach():
    assert spread(mib(100, 300), mib(0, 0), mib(9000, 9000), 1000).tolist() == pytest.approx([250, 750])


def test_a_spread_hands_on_what_a_guest_cannot_take():
    assert spread(mib(100, 300), mib(0, 0), mib(9000, 600), 1000).tolist() == pytest.approx([400, 600])


def test_a_spread_leaves_to_everybody_what_is_in_use():
    assert spread(mib(100, 300), mib(400, 10), mib(9000, 9000), 1000).tolist() == pytest.approx([400, 600])


def test_a_spread_of_too_little_is_in_proportion_to_what_is_in_use():
    assert spread(mib(1, 9), mib(800, 1200), mib(9000, 9000), 1000).tolist() == pytest.approx([400, 600])


def test_a_spread_never_exceeds_maxima():
    assert spread(mib(1, 9), mib(0, 0), mib(300, 400), 1000).tolist() == [300, 400]


SIZE = st.floats(1.0, 1e6)


@given(st.lists(st.tuples(SIZE, SIZE, SIZE), min_size=1, max_size=8), SIZE)
def test_a_spread_adds_up_to_the_total_wherever_bounds_allow(guests, total):
    reach, one, other = np.array(guests).T
    least, most = np.minimum(one, other), np.maximum(one, other)

    found = spread(reach, least, most, total)

    assert found.sum() == pytest.approx(min(total, most.sum()))
    if least.sum() <= total:
        assert (found >= least * (1 - 1e-9)).all()
        assert (found <= most * (1 + 1e-9)).all()


def test_donors_are_those_with_most_to_spare_and_as_few_as_will_do():
    assert donations(mib(50, 300, 0, 200), 400).tolist() == [False, True, False, True]
    assert donations(mib(50, 300, 0, 200), 300).tolist() == [False, True, False, False]


def test_nobody_donates_when_nothing_is_needed():
    assert donations(mib(50, 300), 0).tolist() == [False, False]


def want(*guests):
    """Of each guest what it should have, and whether it is under pressure."""
    soon, pressed = zip(*guests, strict=True)
    return Want(mib(*soon), mib(*soon), mib(*soon), np.array(pressed))


CALM, PRESSED = (500, False), (500, True)


def moves(guests, plan, goal, total):
    """Numbers of those who grow, and of those who give."""
    grows, gives = movers(want(*guests), mib(*plan), mib(*goal), total)
    return np.flatnonzero(grows).tolist(), np.flatnonzero(gives).tolist()


def test_guests_grow_that_are_pressed_or_short_or_have_much_less_than_their_part():
    guests = [CALM, PRESSED, (1001, False), (1000, False), CALM]

    assert moves(guests, [1690, 1100, 1100, 1100, 1640], [1000] * 5, 9000) == ([0, 1, 2], [])
    assert moves(guests, [1660, 1100, 1100, 1100, 1680], [1000] * 5, 9000) == ([1, 2, 4], [])


def test_guests_do_not_grow_by_less_than_a_twentieth():
    assert moves([PRESSED, PRESSED], [1049, 1051], [1000, 1000], 9000) == ([1], [])


def test_guests_give_when_what_is_free_does_not_do():
    assert moves([PRESSED, CALM], [1500, 1000], [1000, 1400], 2900) == ([0], [])
    assert moves([PRESSED, CALM], [1500, 1000], [1000, 1400], 2899) == ([0], [1])


def test_donors_fill_a_pool_besides():
    guests, plan = [PRESSED, CALM, CALM], [1500, 1000, 1000]

    assert moves(guests, plan, [1000, 1400, 1100], 3674) == ([0], [1])
    assert moves(guests, plan, [1000, 1400, 1100], 3673) == ([0], [1, 2])


def test_guests_under_pressure_give_nothing():
    assert moves([PRESSED, PRESSED, CALM], [1500, 1000, 1000], [1000, 1400, 1100], 3000) == ([0], [2])


def test_excess_of_less_than_a_twentieth_is_given_only_when_the_host_is_exceeded():
    assert moves([CALM, PRESSED], [1000, 1500], [1040, 1000], 2040) == ([1], [])
    assert moves([CALM, PRESSED], [1000, 1500], [1040, 1000], 2039) == ([1], [0])


def test_guests_under_pressure_are_served_first_then_those_who_may_run_short():
    guests = want(CALM, (1001, False), PRESSED, (1002, False), (1001, True))

    assert turns(guests, mib(*[1000] * 5)).tolist() == [4, 2, 1, 3, 0]


def test_the_probe_moves_nothing_while_everybody_has_enough():
    _, result = watched(trace(a=[100.0] * 60, b=[700.0] * 60), 3000)

    assert result.figures.reallocations_per_domain_hour == 0


def test_the_probe_reads_every_report():
    result = replay(trace(step=5, a=[100.0] * 721), Probe(), 4000)

    assert result.figures.looks_per_domain_hour == 720


def test_a_guest_under_pressure_gets_its_part_of_a_searched_reach_in_one_move():
    demand = trace(a=[400.0] * 10 + [700.0] * 20, b=[100.0] * 30)

    sizes, result = watched(demand, 1000)

    used, other, share = 500, 100, 500
    reach = mib(4 * 1.6 * used, 5 * other + share / 4)
    assert result.record.allocations[0].tolist() == [500, pytest.approx(980 * reach[0] / reach.sum(), abs=1e-5)]
    assert sizes[10.0][0] == 500


def look(used, size=1000.0, faults=0.0, maximum=8000.0):
    """What is read of one guest."""
    one = [mib(value) for value in (size, maximum, used, size - used, 0, 0, faults, size)]
    return Readings(np.array([0]), *one)


def learnt(*looks, every_s=1.0, share=400.0, arrived=True):
    """What the last of these looks tells."""
    memory = DemandMemory(1, every_s)
    return [memory.learn(each, np.array([arrived]), share) for each in looks][-1]


def test_a_reach_is_demand_with_its_peaks_and_a_quarter_of_an_equal_share():
    assert learnt(look(300)).reach.tolist() == [5 * 300 + 100]


def test_a_reach_holds_a_quarter_of_the_maximum_where_that_is_less():
    assert learnt(look(300, maximum=360)).reach.tolist() == [5 * 300 + 90]


def test_peaks_halve_in_a_minute_ten_an_hour_and_a_day():
    faded = learnt(look(512), *[look(0)] * 60).reach[0] - 100

    assert faded == pytest.approx(512 * (2**-1 + 2**-0.1 + 2 ** (-1 / 60) + 2 ** (-1 / 1440)))


def test_peaks_halve_in_no_less_than_twenty_looks():
    faded = learnt(look(512), *[look(0)] * 20, every_s=300).reach[0] - 100

    assert faded == pytest.approx(512 * (2**-1 + 2**-1 + 2**-1 + 2 ** (-6000 / 86400)))


def test_what_a_guest_should_have_is_a_tenth_more_and_its_largest_rise():
    assert learnt(look(300), look(420), look(420)).soon[0] == pytest.approx(1.1 * 420 + 120 * 2 ** (-1 / 600))


def test_a_need_under_pressure_is_searched_with_a_step_that_doubles():
    looks = [look(1000, faults=float(count)) for count in range(4)]

    found = [learnt(*looks[: count + 1]).reach[0] for count in range(4)]

    assert found == pytest.approx([5100, 4 * 1600, 4 * 2200, 4 * 3400])


def test_a_search_begins_with_the_peak_of_the_last_hour_and_ends_at_the_maximum():
    high = [look(3000, size=3000.0), *[look(500, size=500.0)] * 39, look(500, size=500.0, faults=1.0)]
    endless = [look(1000, faults=float(count)) for count in range(9)]

    assert learnt(*high, every_s=60).reach[0] == pytest.approx(4 * 3000 * 2 ** (-40 / 60))
    assert learnt(*endless).reach.tolist() == [4 * 8000]


def test_a_search_waits_for_the_balloon():
    looks = [look(1000), look(1000, faults=1.0), look(1000, faults=2.0)]

    assert learnt(*looks, arrived=False).reach.tolist() == [5100]


def test_the_donor_with_the_largest_excess_pays_alone():
    demand = trace(a=[900.0] * 30, b=[300.0] * 30, c=[600.0] * 30, d=[600.0] * 30)

    _, result = watched(demand, 3800)

    moves = [len(sizes) - 1 for sizes in result.record.allocations]
    assert moves[1] == 1
    assert moves[2:] == [0, 0]


def test_what_exceeds_the_host_is_taken_back_at_once():
    times = np.arange(40.0)
    old = [Series(times, np.full(40, 100.0), np.full(40, 8192.0)) for _ in range(2)]
    late = Series(times[20:], np.full(20, 100.0), np.full(20, 8192.0))
    grown = Series(times, np.concatenate([np.full(5, 100.0), np.full(35, 1500.0)]), np.full(40, 8192.0))

    sizes, _ = watched(Trace(("a", "b", "grown", "late"), (*old, grown, late)), 2400)

    assert sizes[20.0].sum() > 2400
    assert sizes[22.0].sum() <= 2400


@pytest.mark.parametrize("seed", range(5))
def test_the_probe_never_gives_out_more_than_the_host_has(seed):
    random = np.random.default_rng(seed)
    levels = np.repeat(random.uniform(50, 1200, (4, 30)), 10, axis=1)
    demand = trace(maximum=3000, **{name: row.tolist() for name, row in zip("abcd", levels, strict=True)})

    sizes, _ = watched(demand, 3000)

    assert max(float(each.sum()) for each in sizes.values()) <= 3000 + 1e-6


def uneven(**guests):
    """`name=(maximum, demand)`, a sample a second."""
    series = [
        Series(np.arange(len(demand), dtype=float), mib(*demand), np.full(len(demand), float(maximum)))
        for maximum, demand in guests.values()
    ]
    return Trace(tuple(guests), tuple(series))


def test_a_guest_in_need_gets_what_is_free_at_once_and_the_rest_when_donors_gave_it():
    demand = uneven(a=(8192, [1000.0] * 5 + [6000.0] * 10), b=(3000, [100.0] * 15))

    _, result = watched(demand, 10000)

    grown = result.record.allocations[0].tolist()
    assert grown[:2] == [5000, 7000]
    assert grown[-1] == 8192


def test_a_donor_that_comes_into_need_stops_shrinking():
    demand = uneven(a=(19000, [9000.0] * 3 + [11000.0] * 20), b=(19000, [100.0] * 6 + [3000.0] * 17))

    _, result = watched(demand, 20000)

    told_at = 7
    assert result.record.allocations[1].min() == pytest.approx(10000 - told_at * 921.6)

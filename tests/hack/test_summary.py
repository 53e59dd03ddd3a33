"""The demo's figures, on tracks made by hand."""

import pytest

from controller.replay.trace import read
from lab.sampling import Track, write_trace
from lab.summary import budget_exceeded_s, moved_mib, percentile, reactions


def track(allocations, wants=(), held=()):
    """One sample a second."""
    made = Track("guest", maximum=400, idle=60.0, wants=list(wants), held=list(held))
    made.times = [float(second) for second in range(len(allocations))]
    made.allocations = [float(mib) for mib in allocations]
    return made


def test_memory_counts_where_it_arrives():
    assert moved_mib(track([200, 150, 180, 180, 200])) == 50


def test_reaction_lasts_until_allocation_covers_and_workload_is_resident():
    step = [(0.5, 100), (2.5, 220)]
    assert reactions(track([200, 200, 200, 210, 240, 240], step, held=[(3.0, 220)])) == [1.5]
    assert reactions(track([200, 200, 200, 240, 240, 240], step, held=[(4.0, 220)])) == [1.5]


def test_step_within_the_allocation_needs_no_reaction():
    assert reactions(track([250] * 6, [(0.5, 100), (2.5, 220)], held=[(3.0, 220)])) == []


def test_step_taken_back_unanswered_counts_with_all_its_time():
    assert reactions(track([200] * 6, [(0.5, 100), (1.5, 220), (4.5, 100)])) == [3.0]


def test_step_cut_off_by_the_end_does_not_count():
    assert reactions(track([200] * 6, [(0.5, 100), (4.5, 220)])) == []


def test_ramp_is_no_step():
    ramp = [(second / 4, 100 + second) for second in range(40)]
    assert reactions(track([90] * 10, ramp)) == []


def test_budget_is_exceeded_from_one_sample_to_the_next():
    tracks = [track([100, 120, 120, 120, 100]), track([100] * 5)]
    assert budget_exceeded_s(tracks, 210) == 2
    assert budget_exceeded_s(tracks, 220) == 0


def test_memory_that_goes_to_another_guest_while_they_are_asked_is_not_had_twice():
    """The giver was asked before it gave, the taker after that."""
    giver, taker = track([150, 150, 100, 100]), track([100, 150, 150, 150])
    assert budget_exceeded_s([giver, taker], 250) == 0
    assert budget_exceeded_s([giver, taker], 249) == 3


@pytest.mark.parametrize(("values", "expected"), [([], None), ([3.0], 3.0), ([float(n) for n in range(1, 101)], 95.0)])
def test_percentile_is_a_value_that_happened(values, expected):
    assert percentile(values, 95) == expected


def test_demand_holds_while_the_balloon_is_not_at_rest():
    moved = track([200] * 8 + [150] * 8)
    moved.usable = [80.0] * 7 + [30.0] * 9
    assert moved.demands() == [120.0] * 16


def test_what_was_seen_makes_a_trace(tmp_path):
    calm, moved = track([200] * 4), track([200] * 4)
    calm.name = "calm"
    calm.usable, moved.usable = [80.0] * 4, [50.0] * 4
    write_trace([moved, calm], tmp_path / "demo.csv")
    trace = read(tmp_path / "demo.csv")
    assert dict(zip(trace.domains, (one.demand.tolist() for one in trace.series), strict=True)) == {
        "calm": [120.0] * 4,
        "guest": [150.0] * 4,
    }

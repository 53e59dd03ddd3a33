"""What the benchmarks compute and print; what they measure is not tested, and nothing here takes time."""

import pytest

from benchmarks.crowd import Crowd
from benchmarks.figures import Baseline, Figure, nearest_rank, number, rows
from benchmarks.recorded import Recorded
from benchmarks.stopwatch import Spent

REPLY = {
    "state.state": 1,
    "state.reason": 1,
    "balloon.current": 196608,
    "balloon.maximum": 393216,
    "balloon.swap_in": 0,
    "balloon.swap_out": 0,
    "balloon.major_fault": 0,
    "balloon.unused": 120000,
    "balloon.available": 157084,
    "balloon.usable": 125000,
    "balloon.last-update": 1795488260,
    "balloon.rss": 238468,
}


def figure(value: float, goal: float | None = None, baseline: float = 4.0) -> Figure:
    return Figure("part", "what", value, "s", Baseline("other", baseline), goal)


def test_a_figure_is_held_against_its_baseline_and_its_goal():
    assert figure(2.0, goal=2.0).as_json() == {
        "part": "part",
        "what": "what",
        "value": 2.0,
        "unit": "s",
        "baseline": {"what": "other", "value": 4.0},
        "goal": 2.0,
        "ratio": 0.5,
        "reached": True,
    }


def test_a_missed_goal_is_said_in_the_table():
    assert rows([figure(2.01, goal=2.0)]) == [("part", "what", "2.01 s", "<= 2 s", "MISSED", "other", "4 s", "0.502")]


def test_without_goal_nothing_is_reached_or_missed():
    assert figure(2.0).reached is None
    assert rows([figure(2.0)])[0][3:5] == ("", "")


def test_beside_a_baseline_of_zero_there_is_no_ratio():
    assert figure(2.0, baseline=0.0).ratio is None
    assert rows([figure(2.0, baseline=0.0)])[0][-1] == ""


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 s"), (0.004567, "0.00457 s"), (1.999, "2 s"), (187.6, "188 s"), (100000, "100000 s")]
)
def test_numbers_have_three_digits_and_all_of_those_before_the_point(value, text):
    assert number(value, "s") == text


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 10), (95, 19), (100, 20)])
def test_percentiles_are_values_that_were_measured(percent, value):
    assert nearest_rank(range(20, 0, -1), percent) == value


def test_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="nothing was measured"):
        nearest_rank([], 95)


def test_a_disturbed_run_does_not_change_the_typical_one():
    runs = [Spent(1.0, 2.0), Spent(90.0, 90.0), Spent(1.5, 2.5)]
    assert Spent.typical(runs).each(2) == Spent(0.75, 1.25)


def test_a_crowd_settles_and_a_surge_moves_part_of_it():
    crowd = Crowd(200, "Reclaim")
    crowd.run(30)
    before = crowd.state.totals.reallocations
    crowd.surge(0.5)
    crowd.run(1)
    assert 50 <= crowd.state.totals.reallocations - before <= 110


def test_a_recorded_node_is_looked_at_whole_every_second(tmp_path):
    recorded = Recorded([REPLY], 50, tmp_path)
    for _ in range(5):
        recorded.tick()
        assert recorded.look().looked == 50
    domains = recorded.status_store.document()["domains"]
    assert {domain["mode"] for domain in domains} == {"Enforce"}
    assert all(domain["demand"] > 0 for domain in domains)

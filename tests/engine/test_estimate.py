"""What each domain is expected to need, and how far its demand may rise."""

from dataclasses import replace
from math import exp, log, pi, sqrt
from typing import Any

import numpy as np
import pytest
from stages import MIB, NOW, inventory, mib, plain, rows

from controller.engine import estimate as estimating
from controller.engine.estimate import Accuracy, Estimate
from controller.engine.observation import Observation
from controller.engine.tables import Floats
from controller.engine.tuning import Tuning
from controller.forecast.history import History
from controller.forecast.last_value import LastValue
from controller.forecast.tail import Tail

PEAKS = ("peak_minute", "peak_minutes", "peak_hour", "peak_day")
PAST_ONLY = Tuning(unknown=0.0)


def seen(demand: Floats, **columns: Any) -> Observation:
    given = {"demand": demand, "allocation": 1024 * MIB, "maximum": np.nan, "fresh": True} | columns
    return rows(Observation, len(demand), **given)


def updated(
    before: Estimate, observed: Observation, tuning: Tuning = PAST_ONLY, *, ahead: float = 1.0, **settings: Any
) -> Estimate:
    """The estimates after one more look, at `NOW`."""
    n = len(observed.demand)
    history = History.empty(n).append(np.arange(n), NOW, observed.demand)
    listed = inventory(n, **settings)
    return estimating.update(before, history, observed, listed, np.full(n, ahead), NOW, tuning)


def of(n: int = 1, **columns: Any) -> Estimate:
    """Estimates of the same moment, of domains that have never needed anything."""
    return rows(Estimate, n, **{"at": NOW} | columns)


def test_a_look_tells_the_foot_and_a_forecast_that_is_not_below_it() -> None:
    made = updated(of(2), seen(mib(100, 200)))
    for column in (made.foot, made.forecast, made.upper):
        assert column == pytest.approx(mib(100, 200))
    assert made.at.tolist() == [NOW, NOW]


def test_domains_without_a_fresh_sample_or_a_policy_keep_their_estimates() -> None:
    before = of(3, foot=7.0, upper=9.0, peak_day=8.0, at=5.0, since=1.0)
    made = updated(before, seen(mib(100, 100, 100), fresh=[True, False, True]), policy=[0, 0, -1])
    for name in ("foot", "upper", "peak_day", "at", "since", "bucket"):
        assert getattr(made, name)[1:].tolist() == getattr(before, name)[1:].tolist()
    assert made.foot[0] == 100 * MIB


def test_error_is_what_was_seen_less_what_had_been_forecast() -> None:
    assert updated(of(forecast=70 * MIB), seen(mib(100))).error.tolist() == [30 * MIB]


@pytest.mark.parametrize(("upper", "width"), [(np.nan, 2.0), (90 * MIB, 2.095), (100 * MIB, 1.995)])
def test_width_of_upper_forecasts_follows_whether_the_last_one_held(upper: float, width: float) -> None:
    assert updated(of(upper=upper, width=2.0), seen(mib(100))).width == pytest.approx([width])


# Reach.


def test_reach_goes_to_the_mean_of_the_peaks() -> None:
    peaks = dict(zip(PEAKS, mib(140, 120, 100, 60), strict=True))
    assert updated(of(**peaks), seen(mib(100))).reach == pytest.approx(mib((40 + 20 + 0 + 0) / 4))


@pytest.mark.parametrize(("peak", "half_life"), [*zip(PEAKS, (60, 600, 3600, 86400), strict=True)])
def test_what_a_peak_was_above_demand_counts_half_after_its_half_life(peak: str, half_life: float) -> None:
    made = updated(of(**{peak: 400 * MIB, "at": NOW - half_life}), seen(mib(100)))
    assert getattr(made, peak) == pytest.approx(mib(250))


@pytest.mark.parametrize(("shortest", "left"), [(3, 250.0), (6, 100 + 300 * 2**-0.5), (12, 100 + 300 * 2**-0.25)])
def test_a_peak_lasts_twenty_looks_at_least(shortest: float, left: float) -> None:
    made = updated(of(peak_minute=400 * MIB, at=NOW - 60), seen(mib(100)), interval_minimum=shortest)
    assert made.peak_minute == pytest.approx(mib(left))


@pytest.mark.parametrize("base", [0, 10_000])
def test_a_swing_is_remembered_for_as_long_whatever_else_a_guest_holds(base: int) -> None:
    made = updated(of(peak_minute=(base + 400) * MIB, at=NOW - 60), seen(mib(base + 100)))
    assert made.peak_minute == pytest.approx(mib(base + 250))


def test_demand_above_all_peaks_is_the_new_peak_on_every_scale() -> None:
    made = updated(of(highest=90 * MIB), seen(mib(100)))
    assert [getattr(made, name)[0] for name in (*PEAKS, "highest")] == [100 * MIB] * 5


def test_reach_has_the_headroom_on_top() -> None:
    assert updated(of(), seen(mib(100)), headroom=16 * MIB).reach == pytest.approx(mib(16))
    assert updated(of(), seen(mib(100)), headroom=16 * MIB, headroom_fraction=0.2).reach == pytest.approx(mib(20))


def test_the_highest_of_all_counts_as_much_as_the_mean_of_the_fading_peaks() -> None:
    made = updated(of(highest=130 * MIB, peak_day=140 * MIB), seen(mib(100)))
    assert made.reach == pytest.approx(mib(30 + 40 / 4))


@pytest.mark.parametrize(("looks", "weight"), [(0, 4.0), (1000, 2.0), (3000, 1.0)])
def test_the_longer_a_domain_has_been_looked_at_the_less_is_expected_beyond_its_highest(
    looks: int, weight: float
) -> None:
    expected = 100 * exp(0.7 * sqrt(1 / 2) * sqrt(2 / pi)) - 100
    known_for = updated(of(since=NOW - 3 * looks, bucket_start=NOW), seen(mib(100)), Tuning(), interval_minimum=3.0)
    assert known_for.reach == pytest.approx(mib(weight * expected))


BESIDE = Tuning(unknown=1.0)
"""What is not known yet counts as much as the peaks."""


def test_what_is_not_known_yet_counts_four_times_as_much_as_peaks() -> None:
    expected = 100 * exp(0.7 * sqrt(1 / 2) * sqrt(2 / pi)) - 100
    assert updated(of(), seen(mib(100)), Tuning()).reach == pytest.approx(mib(4 * expected))


def test_a_domain_alone_may_come_to_half_more_than_its_highest() -> None:
    """Its score is 0, where the mean of what lies beyond is sqrt(2 / pi) deviations away: of two, one is assumed."""
    expected = 100 * exp(0.7 * sqrt(1 / 2) * sqrt(2 / pi)) - 100
    assert updated(of(), seen(mib(100)), BESIDE).reach == pytest.approx(mib(expected))


def test_domains_whose_maximums_agree_come_to_the_same_part_of_them() -> None:
    made = updated(of(2), seen(mib(250, 500)), BESIDE, maximum=mib(1000, 2000))
    assert made.reach == pytest.approx(mib(250, 500) * (exp(0.7 * sqrt(1 / 3) * sqrt(2 / pi)) - 1))


def test_the_more_domains_agree_the_less_they_are_expected_to_differ() -> None:
    made = updated(of(99), seen(np.full(99, 100 * MIB)), BESIDE, maximum=1000 * MIB)
    assert made.reach == pytest.approx(100 * MIB * (exp(0.07 * sqrt(2 / pi)) - 1))


def test_a_domain_far_below_the_others_part_is_expected_to_come_towards_it() -> None:
    made = updated(of(2), seen(mib(64, 1024)), BESIDE, maximum=1024 * MIB)
    mean, deviation = log(1 / 4), sqrt((2 * log(4) ** 2 + 0.7**2) / 3)
    score = -log(4) / deviation
    mills = (score + sqrt(score**2 + 8 / pi)) / 2
    assert made.reach[0] == pytest.approx(exp(mean + deviation * mills) * 1024 * MIB - 64 * MIB)


def test_far_out_a_domain_is_expected_to_stay_at_its_highest() -> None:
    """The mean of what lies beyond z deviations is z + 1 / z there, of which the approximation has two thirds."""
    n = 400
    demand = np.full(n, 10 * MIB)
    demand[0] = 1000 * MIB
    made = updated(of(n), seen(demand), BESIDE, maximum=4096 * MIB)
    part = np.log(demand / (4096 * MIB))
    deviation = sqrt((n * part.var() + 0.7**2) / (n + 1))
    score = (part[0] - part.mean()) / deviation
    assert score > 15
    assert made.reach[0] == pytest.approx(1000 * MIB * (exp(deviation / score) - 1), rel=0.5)


def test_no_domain_is_expected_above_its_maximum() -> None:
    made = updated(of(2), seen(mib(64, 1000)), BESIDE, maximum=1024 * MIB)
    assert made.reach[1] == pytest.approx(mib(24))


def test_the_smaller_of_the_two_maximums_counts() -> None:
    made = updated(of(2), seen(mib(64, 1000), maximum=mib(1024, 1010)), BESIDE, maximum=1024 * MIB)
    assert made.reach[1] == pytest.approx(mib(10))


def test_domains_not_seen_yet_say_nothing_of_what_maximums_mean() -> None:
    alone = updated(of(1), seen(mib(500)), Tuning(), maximum=1000 * MIB)
    made = updated(of(2), seen(np.array([500 * MIB, np.nan]), fresh=[True, False]), Tuning(), maximum=mib(1000, 4000))
    assert made.reach[0] == alone.reach[0]
    assert np.isnan(made.reach[1])


# What is to be held.


def test_memory_that_a_balloon_might_not_get_is_kept_with_its_headroom() -> None:
    made = updated(of(), seen(mib(100), doubtful=50 * MIB), headroom_fraction=0.1)
    assert made.firm == pytest.approx(mib(165))
    assert made.wanted(inventory(1, headroom_fraction=0.1)) == pytest.approx(mib(165))


@pytest.mark.parametrize(("doubtful", "size", "firm"), [(1, 1024, 0), (2, 1024, 102), (50, 120, 120)])
def test_firm_memory_is_within_what_the_domain_has_and_more_than_a_trifle(
    doubtful: float, size: float, firm: float
) -> None:
    made = updated(of(), seen(mib(100), doubtful=doubtful * MIB, allocation=size * MIB))
    assert made.firm == pytest.approx(mib(firm))


@pytest.mark.parametrize(
    ("passed", "bucket", "before", "held"),
    [(0, 300, 200, 300), (299, 300, 200, 300), (300, 110, 300, 300), (599, 110, 300, 300), (600, 110, 0, 110)],
)
def test_the_most_that_was_wanted_is_held_for_one_to_two_windows(
    passed: float, bucket: float, before: float, held: float
) -> None:
    start = of(bucket=300 * MIB, bucket_before=200 * MIB, bucket_start=NOW - passed)
    made = updated(start, seen(mib(100)), headroom_fraction=0.1)
    assert (made.bucket[0], made.bucket_before[0]) == pytest.approx((bucket * MIB, before * MIB))
    assert np.maximum(made.bucket, made.bucket_before) == pytest.approx(mib(held))


@pytest.mark.parametrize(
    ("passed", "longest", "since"), [(600, 60, 7.0), (601, 60, NOW), (1200, 600, 7.0), (1201, 600, NOW)]
)
def test_the_past_begins_anew_after_a_gap_of_two_windows_or_two_longest_intervals(
    passed: float, longest: float, since: float
) -> None:
    before = of(since=7.0, bucket_start=NOW - passed)
    assert updated(before, seen(mib(100)), interval_maximum=longest).since.tolist() == [since]


# What is learnt of forecasts.


def test_a_rise_is_learnt_as_a_part_of_the_reach_over_the_intervals_that_passed() -> None:
    before = of(3, foot=100 * MIB, reach=[40 * MIB, 40 * MIB, np.nan], at=[NOW - 9, NOW, NOW - 9])
    tail = estimating.learn(
        Tail.empty(3), before, seen(mib(111, 100, 200)), inventory(3, interval_minimum=3.0), np.arange(3), NOW
    )
    assert tail.intervals.tolist() == [3.0, 1.0, 0.0]
    assert (tail.risen > 0).sum(axis=1).tolist() == [9, 0, 0]  # a rise by 0.275 passes 2**-10 to 2**-2


def test_forecasts_are_judged_once_there_is_a_sample_of_their_time() -> None:
    before = of(3, forecast=[90 * MIB, 120 * MIB, np.nan], upper=[95 * MIB, 130 * MIB, np.nan])
    accuracy = estimating.judge(
        Accuracy(1, 2.0, 3.0, 4), before, seen(mib(100, 100, 100), change=[-7.0, 5.0, 9.0]), np.arange(3)
    )
    assert accuracy == Accuracy(3, 2.0 + 30 * MIB, 3.0 + 12.0, 5)


class Constant:
    """A model that expects `level` bytes, whatever was seen."""

    decision_points = 2

    def __init__(self, level: float) -> None:
        self.level = level

    def fit(self, points: Any) -> Any:
        line = LastValue().fit(points)
        return line._replace(level=np.full(len(line.level), self.level))


def test_each_domain_is_fitted_by_its_own_policys_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "BLOCK", 2)
    listed = replace(inventory(5, model=[0, 1, 0, 0, 1]), models=(Constant(10.0), Constant(20.0)))
    history = History.empty(5).append(np.arange(5), NOW, np.ones(5))
    line = estimating.fit(history, listed, np.array([4, 3, 2, 1, 0]), NOW)
    assert line.level.tolist() == [20.0, 10.0, 10.0, 20.0, 10.0]


def test_a_domain_between_those_that_are_fitted_is_left_out() -> None:
    history = History.empty(3).append(np.arange(3), NOW, mib(1, 2, 3))
    assert estimating.fit(history, inventory(3), np.array([0, 2]), NOW).level.tolist() == mib(1, 3).tolist()


@pytest.mark.parametrize(("level", "upper"), [(70, 100), (130, 130)])
def test_the_upper_forecast_is_not_below_present_demand(level: float, upper: float) -> None:
    listed = replace(inventory(1), models=(Constant(level * MIB),))
    history = History.empty(1).append(np.array([0]), NOW, mib(100))
    made = estimating.update(of(), history, seen(mib(100)), listed, np.ones(1), NOW, PAST_ONLY)
    assert (made.forecast[0], made.upper[0]) == pytest.approx((level * MIB, upper * MIB))
    assert made.exhausted_at.tolist() == [np.inf]


def test_the_allocation_is_exhausted_when_the_upper_forecast_reaches_it() -> None:
    assert updated(of(), seen(mib(100), allocation=100 * MIB)).exhausted_at.tolist() == [NOW]


def test_of_a_new_domain_nothing_is_known() -> None:
    new = {name: values[0] for name, values in plain(Estimate.blank(1)).items()}
    zero = ("firm", *PEAKS, "highest", "bucket", "bucket_before")
    unknown = ("at", "since", "forecast", "upper", "exhausted_at", "error", "foot", "reach", "bucket_start")
    assert new == dict.fromkeys(zero, 0.0) | dict.fromkeys(unknown) | {"width": 1.0}
    assert Accuracy() == Accuracy(forecasts=0, error=0.0, last_value_error=0.0, broken_bounds=0)

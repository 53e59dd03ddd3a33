"""What the loop counts as it happens."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.observe.loopcounters import LOOK, ORDER, LoopCounters

MIB = 2**20


class StoppedClock:
    """Stands still unless told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def loop_counters(clock: StoppedClock) -> LoopCounters:
    return LoopCounters(clock)


def action(before: int, target: int, reason: Reason, key: str = "a") -> Action:
    return Action(0, key, key, before * MIB, target * MIB, reason)


def scrape(loop_counters: LoopCounters) -> dict[str, float]:
    """Series that are not 0, by name with the values of its labels."""
    own = CollectorRegistry()
    own.register(loop_counters)
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in own.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_created", "_bucket"))
    }


def test_every_series_that_will_count_is_there_from_the_start_with_zero(loop_counters):
    series = {
        (sample.name, *sample.labels.values()): sample.value
        for each in loop_counters.collect()
        for sample in each.samples
    }
    assert series["ballast_reallocations_total", "ForecastGrow", "grow"] == 0
    assert series["ballast_skips_total", "Stuck"] == 0
    assert series["ballast_libvirt_call_duration_seconds_count", "look"] == 0
    assert scrape(loop_counters) == {}


def test_orders_count_by_reason_and_direction_with_the_memory_they_move(loop_counters):
    grow = action(100, 150, Reason.PRESSURE_GROW)
    shrink = action(200, 180, Reason.FORECAST_SHRINK)
    loop_counters.orders([shrink, grow, grow], {})
    assert scrape(loop_counters) == {
        "ballast_reallocations_total PressureGrow grow": 2,
        "ballast_reallocations_total ForecastShrink shrink": 1,
        "ballast_moved_bytes_total grow": 100 * MIB,
        "ballast_moved_bytes_total shrink": 20 * MIB,
    }


def test_what_libvirt_refused_is_no_reallocation(loop_counters):
    loop_counters.orders([action(100, 150, Reason.FORECAST_GROW, "busy")], {"busy": "another job is running"})
    assert scrape(loop_counters) == {"ballast_refused_orders_total": 1}


def test_a_balloon_that_is_told_to_stop_is_no_reallocation(loop_counters):
    loop_counters.orders([action(100, 90, Reason.STUCK)], {})
    assert scrape(loop_counters) == {"ballast_moved_bytes_total shrink": 10 * MIB}


def test_what_is_only_proposed_is_no_reallocation(loop_counters):
    loop_counters.proposals([action(100, 150, Reason.FORECAST_GROW)])
    assert scrape(loop_counters) == {"ballast_proposals_total ForecastGrow grow": 1}


def test_a_look_after_which_nothing_moves_counts_by_its_reason(loop_counters):
    loop_counters.looked(
        np.array([Reason.STUCK, Reason.WITHIN_THRESHOLD, Reason.STUCK, Reason.FORECAST_GROW], dtype=np.int64)
    )
    assert scrape(loop_counters) == {"ballast_skips_total Stuck": 2, "ballast_skips_total WithinThreshold": 1}


def test_what_was_felt_and_what_of_it_was_false_is_counted(loop_counters):
    for felt, stalled, false in ((3, 1, 0), (2, 3, 1)):
        loop_counters.alarms(felt, stalled)
        loop_counters.false_alarms(false)
    counted = {"ballast_felt_growths_total": 5, "ballast_felt_stalls_total": 4, "ballast_false_growths_total": 1}
    assert scrape(loop_counters) == counted


def test_durations_are_told_in_the_buckets_that_queries_know(loop_counters):
    bounds: dict[str, list[str]] = {}
    for sample in (sample for family in loop_counters.collect() for sample in family.samples):
        if sample.name.endswith("_bucket") and sample.labels.get("call", LOOK) == LOOK:
            bounds.setdefault(sample.name, []).append(sample.labels["le"])
    steps = "0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0"
    calls = "0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0"
    assert {name: " ".join(told) for name, told in bounds.items()} == {
        "ballast_step_duration_seconds_bucket": f"{steps} +Inf",
        "ballast_libvirt_call_duration_seconds_bucket": f"{calls} +Inf",
    }


def test_durations_are_measured(loop_counters, clock):
    clock.now = 100.0
    with loop_counters.step():
        clock.now += 0.25
    for kind in (LOOK, LOOK, ORDER):
        with loop_counters.call(kind):
            clock.now += 2
    assert scrape(loop_counters) == {
        "ballast_step_duration_seconds_count": 1,
        "ballast_step_duration_seconds_sum": 0.25,
        "ballast_libvirt_call_duration_seconds_count look": 2,
        "ballast_libvirt_call_duration_seconds_sum look": 4,
        "ballast_libvirt_call_duration_seconds_count order": 1,
        "ballast_libvirt_call_duration_seconds_sum order": 2,
    }

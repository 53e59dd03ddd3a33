"""The paper's experiment on small traces whose outcome is known."""

from dataclasses import replace

import numpy as np
import pytest
from made_traces import trace

from controller.api.policy import MemoryPolicy, Spec
from controller.cli.policyfile import DEFAULTS
from controller.replay.compare import CompareError, Quality, compare
from controller.replay.trace import Series, Trace

EVERY_MINUTE = MemoryPolicy.model_validate(
    {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "MemoryPolicy",
        "metadata": {"name": "every-minute"},
        "spec": {"advanced": {"monitoring": {"minimumIntervalSeconds": 60, "maximumIntervalSeconds": 60}}},
    }
)


def qualities(demand: Trace, *kinds: str, policy: MemoryPolicy = DEFAULTS) -> dict[str, Quality]:
    return {each.model: each for each in compare(demand, policy, kinds)}


@pytest.mark.usefixtures("one_processor")
def test_constant_demand_is_forecast_without_error_and_with_few_looks() -> None:
    (flat,) = qualities(trace(a=[500.0] * 5000), "OLS").values()

    assert (flat.mae.value, flat.rmse.value, flat.coverage.value, flat.pinball.value) == (0, 0, 1, 0)
    assert 60 <= flat.looks_per_domain_hour <= 150
    assert flat.reallocations_per_domain_hour == 0


@pytest.mark.parametrize("samples", [300, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("one_processor")
def test_a_policy_for_some_domains_is_compared_on_all_of_a_trace(samples: int) -> None:
    selecting = {"domainSelector": {"names": ["other"]}, "selectors": {"all": True}}
    some = DEFAULTS.model_copy(update={"spec": Spec.model_validate(selecting)})
    demand = trace(a=[500.0] * samples)
    assert qualities(demand, "OLS", policy=some) == qualities(demand, "OLS")


@pytest.mark.parametrize("samples", [120, pytest.param(240, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("one_processor")
def test_the_last_value_errs_by_what_a_ramp_rises_from_look_to_look(samples: int) -> None:
    ramp = trace(step=60, maximum=1e5, a=[100.0 + 10 * k for k in range(samples)])
    found = qualities(ramp, "LastValue", "OLS", policy=EVERY_MINUTE)

    assert found["LastValue"].mae.value == pytest.approx(10)
    assert found["OLS"].mae.value == pytest.approx(0, abs=1e-6)
    assert found["OLS"].mae_ratio.value == pytest.approx(0, abs=1e-6)
    assert found["LastValue"].mae_ratio.value == 1


@pytest.mark.parametrize("samples", [80, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("one_processor")
def test_intervals_hold_their_value_and_come_out_the_same_each_time(samples: int) -> None:
    demand = np.random.default_rng(1).uniform(100, 900, samples).tolist()
    first, again = (compare(trace(step=60, a=demand), DEFAULTS, ("LastValue", "Ridge")) for _ in range(2))

    assert first == again
    for each in first:
        for estimate in (each.mae, each.rmse, each.coverage, each.pinball, each.mae_ratio):
            assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.slow
@pytest.mark.usefixtures("one_processor")
def test_a_ratio_to_a_last_value_that_never_errs_has_an_infinite_end() -> None:
    """One jump before a block, which by then is seen whole: there only OLS, which remembers it, still errs."""
    jump = trace(step=60, a=[100.0] * 208 + [500.0] * 392)

    ratio = qualities(jump, "LastValue", "OLS", policy=EVERY_MINUTE)["OLS"].mae_ratio

    assert ratio.low <= ratio.value < ratio.high == np.inf


@pytest.mark.parametrize("samples", [300, pytest.param(600, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("one_processor")
def test_restless_demand_is_looked_at_more_often(samples: int) -> None:
    calm, restless = [500.0] * 3000, (np.random.default_rng(2).uniform(100, 900, samples)).tolist()
    looks = [qualities(trace(a=each), "LastValue")["LastValue"].looks_per_domain_hour for each in (calm, restless)]

    assert looks[1] > 5 * looks[0]


@pytest.mark.parametrize("night", [14400.0, pytest.param(86400.0, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("one_processor")
def test_a_look_that_would_bring_nothing_new_waits_for_the_next_sample(night: float) -> None:
    whole = trace(step=60, a=[500.0] * 120)
    (series,) = whole.series
    later = replace(series, times=series.times + night * (series.times > 3_600))

    (quality,) = qualities(Trace(whole.domains, (later,)), "LastValue").values()

    hours = (later.times[-1] - later.times[0]) / 3600
    assert quality.looks_per_domain_hour < 120 / (hours - night / 3600) < 61


def lasting(*parts: tuple[float, float], start: float = 0.0) -> Trace:
    """A domain for each (first, last) second, sampled every 10.003 s, of a trace that starts at `start`."""
    rng = np.random.default_rng(5)
    series = []
    for first, last in parts:
        times = start + np.arange(first, last, 10.003).round(3)
        series.append(Series(times, rng.uniform(100, 900, len(times)), np.full(len(times), 2048.0)))
    return Trace(tuple(f"guest-{k}" for k in range(len(parts))), tuple(series))


@pytest.mark.parametrize("factor", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("one_processor")
def test_when_a_trace_was_recorded_makes_no_difference(factor: int) -> None:
    parts = [(factor * first, factor * last) for first, last in ((0, 1000), (200.123, 400), (400, 800), (600, 605))]
    at_zero, lately = (compare(lasting(*parts, start=each), DEFAULTS, ("LastValue", "OLS")) for each in (0.0, 1.7e9))

    assert lately == at_zero


def test_a_trace_too_short_is_refused_with_a_remedy() -> None:
    refusal = r"ran for 1 s at most, too short for a forecast; give one with a domain that ran for more than 60 s"
    with pytest.raises(CompareError, match=refusal):
        compare(trace(a=[1.0, 2.0]), DEFAULTS, ("OLS",))


def test_a_long_trace_of_domains_that_all_ran_briefly_is_refused_for_their_sake() -> None:
    refusal = (
        r"its domains ran for 250 s at most, too short for a forecast; give one with a domain that ran for more than "
        r"360 s, or a shorter advanced.monitoring.maximumIntervalSeconds"
    )
    with pytest.raises(CompareError, match=refusal):
        compare(lasting(*((first, first + 255) for first in range(0, 1000, 237))), DEFAULTS, ("OLS",))


def test_samples_within_a_microsecond_are_no_trace_to_forecast() -> None:
    with pytest.raises(CompareError, match=r"ran for 0 s at most"):
        compare(trace(step=1e-8, a=[1.0, 2.0]), DEFAULTS, ("OLS",))


class CompareProgress:
    """Who watches."""

    announced = ended = 0

    def more(self, count: int) -> None:
        self.announced += count

    def done(self) -> None:
        self.ended += 1


@pytest.mark.usefixtures("one_processor")
def test_the_replay_of_each_domain_with_each_model_is_announced_and_told_when_it_ends() -> None:
    watcher = CompareProgress()

    compare(trace(step=60, a=[500.0] * 60, b=[500.0] * 60), DEFAULTS, ("LastValue", "OLS"), watcher)

    assert (watcher.announced, watcher.ended) == (4, 4)

"""The engine in the simulated world: what it sees, what it does there, and under which policy."""

import numpy as np
import pytest
from made_traces import trace

from controller.api.policy import MemoryPolicy
from controller.replay.ballast import ReplayedBallast, enforced, with_fixed_looks, with_model
from controller.replay.controllers import UnknownControllerError, make, names
from controller.replay.run import replay
from controller.replay.trace import Series, Trace


def policy(**spec):
    return MemoryPolicy.model_validate(
        {
            "apiVersion": "ballast.dev/v1alpha1",
            "kind": "MemoryPolicy",
            "metadata": {"name": "backtest"},
            "spec": {"budget": {"reserve": 0, "reservePercent": 0}} | spec,
        }
    )


def sizes(result, row):
    return result.record.allocations[row].tolist()


def test_a_guest_in_need_gets_what_an_idle_one_does_not_use():
    needs, idles = [300.0] * 60 + [1500.0] * 60, [100.0] * 120

    result = replay(trace(maximum=2000, needs=needs, idles=idles), ReplayedBallast(policy()), 2000)

    assert sizes(result, 0)[-1] > 1500
    assert sizes(result, 1)[-1] < 500
    assert result.figures.overcommit < 1e-6


def test_the_missing_amount_is_found_by_growing():
    result = replay(trace(maximum=9000, a=[5000.0] * 60, b=[10.0] * 60), ReplayedBallast(policy()), 9000)

    assert sizes(result, 0)[0] == 4500
    assert sizes(result, 0)[-1] > 5000


def test_a_policy_in_observe_is_replayed_as_if_it_acted():
    result = replay(trace(maximum=2000, a=[1500.0] * 60, b=[10.0] * 60), ReplayedBallast(policy(mode="Observe")), 2000)

    assert sizes(result, 0)[-1] > 1500


def test_autodeflate_is_pressure_that_ballast_hears_of():
    demand = trace(maximum=4000, a=[100.0] * 30 + [1800.0] * 30, b=[10.0] * 60)

    alone, heard = (replay(demand, ReplayedBallast(policy()), 2000, autodeflate=each).figures for each in (False, True))

    assert heard.shortfall < alone.shortfall


def test_intervals_are_never_shorter_than_the_statistics_period():
    monitoring = enforced(policy(), 300.0).spec.advanced.monitoring

    assert (monitoring.minimum_interval_seconds, monitoring.maximum_interval_seconds) == (300, 300)


@pytest.mark.slow
def test_a_recorders_jitter_leaves_looks_and_what_they_see_as_they_are():
    """Of those that are due: what is felt triggers more at moments of its own."""
    values = np.random.default_rng(4).uniform(100, 1500, (2, 300)).tolist()
    traces = [trace(step=step, maximum=2048, a=values[0], b=values[1]) for step in (1.0, 1.0005)]

    exact, late = (replay(each, ReplayedBallast(policy(), feels=False), 3000).figures for each in traces)

    assert late.looks_per_domain_hour == pytest.approx(exact.looks_per_domain_hour, rel=0.02)
    assert late.shortfall <= 2 * exact.shortfall  # chance: this demand is chaotic, and moves start others


def test_longer_intervals_of_the_policy_stay():
    given = policy(advanced={"monitoring": {"minimumIntervalSeconds": 5, "maximumIntervalSeconds": 900}})
    monitoring = enforced(given, 2.0).spec.advanced.monitoring

    assert (monitoring.minimum_interval_seconds, monitoring.maximum_interval_seconds) == (5, 900)


def test_a_calm_guest_is_looked_at_ever_more_rarely():
    result = replay(trace(a=[400.0] * 3601), ReplayedBallast(policy()), 1000)

    assert 60 <= result.figures.looks_per_domain_hour < 120


def test_domains_come_and_go():
    whole = Series(np.arange(200.0), np.full(200, 400.0), np.full(200, 2000.0))
    late = Series(np.arange(50.0, 120.0), np.full(70, 900.0), np.full(70, 2000.0))

    result = replay(Trace(("whole", "late"), (whole, late)), ReplayedBallast(policy()), 1600)

    assert result.record.times[1][0] == 50
    assert sizes(result, 1)[-1] > 900
    assert set(result.record.look_rows[result.record.look_times >= 120].tolist()) == {0}


@pytest.mark.parametrize("until", [1500.0, pytest.param(4000.0, marks=pytest.mark.slow)])
def test_nothing_shrinks_while_statistics_are_missing(until):
    times = np.concatenate([np.arange(20.0), np.arange(until, until + 20)])
    gap = Series(times, np.full(40, 100.0), np.full(40, 2000.0))

    result = replay(Trace(("a",), (gap,)), ReplayedBallast(policy()), 2000)

    assert not [time for time in result.record.times[0].tolist() if 60 < time < until]


@pytest.mark.parametrize("samples", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_the_same_replay_gives_the_same_record(samples):
    values = np.random.default_rng(3).integers(0, 1500, (2, samples)).astype(float).tolist()
    demand = trace(step=2, maximum=2048, a=values[0], b=values[1])

    first, second = (replay(demand, ReplayedBallast(policy()), 2500).record for _ in range(2))

    assert all(map(np.array_equal, first.allocations, second.allocations))
    assert np.array_equal(first.look_times, second.look_times)


def test_every_name_makes_a_controller():
    assert all(make(name, policy()) for name in names())


def test_a_model_may_be_named_in_place_of_the_policys_and_all_else_stays():
    given, rest = {"type": "Ridge", "upperPercentile": 80}, {"threshold": {"percent": 3}}
    named = with_model(policy(weight=5, advanced={"model": given, **rest}), "OLS")
    assert named == policy(weight=5, advanced={"model": given | {"type": "OLS"}, **rest})


def test_fixed_looks_are_at_the_shortest_interval_and_all_else_stays():
    given, rest = {"minimumIntervalSeconds": 5}, {"threshold": {"percent": 3}}
    fixed = with_fixed_looks(policy(weight=5, advanced={"monitoring": given, **rest}))
    assert fixed == policy(weight=5, advanced={"monitoring": given | {"maximumIntervalSeconds": 5}, **rest})


@pytest.mark.parametrize("name", ["xen", "ballast:", "ballast:magic", "mom:ols"])
def test_unknown_controllers_are_refused(name):
    with pytest.raises(UnknownControllerError, match="does not exist; use some of ballast, ballast:fixed, ballast:wls"):
        make(name, policy())

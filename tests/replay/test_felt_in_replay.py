"""Ballast in the simulated world, where the host feels what its guests hold."""

from functools import cache

import numpy as np
import pytest
from made_traces import trace

from controller.api.policy import MemoryPolicy
from controller.engine.step import step
from controller.replay import backtest, ballast
from controller.replay.backtest import ReplayJob, Setting, TraceSource
from controller.replay.ballast import MONOTONIC_START, ReplayedBallast
from controller.replay.controllers import FIXED, OURS, REPORTING, REPORTING_FIXED, UNFELT, guests_report, make
from controller.replay.run import replay
from controller.replay.trace import Series, Trace
from controller.replay.world import FELT_AFTER_S, SimulatedHost

CALM = {"monitoring": {"minimumIntervalSeconds": 1, "maximumIntervalSeconds": 60}}


def policy(**spec):
    return MemoryPolicy.model_validate(
        {
            "apiVersion": "ballast.dev/v1alpha1",
            "kind": "MemoryPolicy",
            "metadata": {"name": "felt"},
            "spec": {"budget": {"reserve": 0, "reservePercent": 0}, "spare": "Reclaim", "advanced": CALM} | spec,
        }
    )


@pytest.fixture(params=[240, pytest.param(400, marks=pytest.mark.slow)])
def rise(request):
    """The second at which a guest that has been calm since the beginning needs three times as much."""
    return request.param


@cache
def replayed(rise, *, feels: bool, reporting: bool = True):
    demand = trace(riser=[200.0] * rise + [600.0] * 100, idle=[100.0] * (rise + 100), maximum=2000)
    return replay(demand, ReplayedBallast(policy(), feels=feels), 1500, free_page_reporting=reporting)


def looks_after(result, time, seconds):
    """Times of looks at the first domain within so many seconds."""
    found = result.record.look_times[result.record.look_rows == 0]
    return [float(at) for at in found if time < at <= time + seconds]


def answered(result, rise):
    """Seconds after the rise until the guest has what it needs."""
    times, sizes = result.record.times[0], result.record.allocations[0]
    return next(float(at) for at, size in zip(times, sizes, strict=True) if at > rise and size >= 600) - rise


def test_a_guest_that_is_felt_to_grow_is_looked_at_a_moment_later(rise):
    assert looks_after(replayed(rise, feels=True), rise, 0.2) == [pytest.approx(rise + 0.15)]
    assert looks_after(replayed(rise, feels=False), rise, 0.2) == []


def test_growth_shows_a_moment_late_whenever_it_is_asked_for():
    world = SimulatedHost(trace(riser=[200.0] * 3 + [600.0] * 3, maximum=2000), 1500, free_page_reporting=True)
    felt = []
    for time in (1.0, 2.0, 3.0, 3.1, 3.0 + FELT_AFTER_S):
        world.advance(time)
        felt.append(world.feel().tolist())
    assert felt == [[200], [200], [200], [200], [600]]


def test_a_calm_guest_that_rises_has_its_memory_within_two_seconds(rise):
    assert answered(replayed(rise, feels=True), rise) < 2.0


def test_fewer_looks_do_less_harm_where_guests_report_free_pages(rise):
    felt, unfelt = (replayed(rise, feels=each).figures for each in (True, False))
    assert felt.shortfall < unfelt.shortfall
    assert felt.looks_per_domain_hour < unfelt.looks_per_domain_hour


def test_growth_that_was_recorded_is_felt_though_demand_stays(rise):
    """The guest reads files that are new to it, or QEMU needs memory for itself."""
    times = np.arange(rise + 100.0)
    resident = np.where(times < rise, 300.0, 1200.0)
    demand = Trace(("reader",), (Series(times, np.full(len(times), 200.0), np.full(len(times), 2000.0), resident),))
    read = replay(demand, ReplayedBallast(policy(spare="Share"), feels=True), 1500)
    assert looks_after(read, rise, 0.2) == [pytest.approx(rise + 0.15)]


def test_growth_that_wakes_nobody_takes_no_step(monkeypatch):
    """As live: a guest that grows by a MiB a second, with far more than that left."""
    steps = []
    monkeypatch.setattr(ballast, "step", lambda *given: steps.append(given[2]) or step(*given))
    creeping = np.concatenate((np.full(300, 200.0), 200.0 + np.arange(100.0)))
    demand = trace(creeper=creeping, maximum=4000)
    replay(demand, ReplayedBallast(policy(spare="Share")), 4000, free_page_reporting=True)
    assert len([time for time in steps if time >= MONOTONIC_START + 300]) < 20


def test_what_is_not_felt_decides_as_before(rise):
    assert replayed(rise, feels=False).figures == replayed(rise, feels=False, reporting=False).figures


def test_ballast_feels_unless_its_name_says_otherwise():
    assert [make(name, policy()).feels for name in (OURS, UNFELT, REPORTING)] == [True, False, True]
    assert [guests_report(name) for name in (OURS, UNFELT, REPORTING)] == [False, False, True]


def test_looks_at_guests_that_report_free_pages_can_be_fixed():
    calm = trace(idle=[100.0] * 100, maximum=2000)
    fixed, reporting, adaptive = (
        replay(calm, make(name, policy()), 4000, free_page_reporting=guests_report(name)).figures.looks_per_domain_hour
        for name in (FIXED, REPORTING_FIXED, REPORTING)
    )
    assert fixed == reporting > adaptive
    assert guests_report(REPORTING_FIXED)


@pytest.mark.parametrize(("controller", "report"), [(OURS, False), (REPORTING, True)])
def test_guests_report_free_pages_in_a_backtest_where_the_controller_says_so(controller, report, page_reporting):
    told = page_reporting(backtest)
    source = TraceSource("made", "made", trace(idle=[100.0] * 5, maximum=2000))
    backtest.run(ReplayJob(source, 4000.0, controller, Setting(policy())))
    assert told == [report]

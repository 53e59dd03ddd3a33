"""What the engine keeps to be judged by: forecasts against what came, shortfall and slack over time."""

import numpy as np
import pytest
from scripted_node import MIB, Guest, Node, policy

from controller.engine.observation import Observation, accrue
from controller.engine.outlook import Merit, Outlook, judge
from controller.engine.view import view


def seen(**columns) -> Observation:
    sight = Observation.blank(len(next(iter(columns.values()))))
    for name, values in columns.items():
        getattr(sight, name)[:] = values
    return sight


class TestForecasts:
    def test_their_errors_stand_beside_those_of_demand_that_stays_as_it_is(self):
        outlook = Outlook.blank(2)
        outlook.forecast[:], outlook.upper[:] = [100, 50], [120, 60]
        merit = judge(outlook, seen(demand=[130, 45], change=[40, -10]), np.array([0, 1]), Merit(1, 1.0, 1.0, 0))
        assert merit == Merit(forecasts=3, error=36.0, last_value_error=51.0, broken_bounds=1)
        assert outlook.error.tolist() == [30, -5]

    def test_without_a_forecast_nothing_is_judged(self):
        assert judge(Outlook.blank(1), seen(demand=[130], change=[0]), np.array([0]), Merit()) == Merit()

    def test_a_calm_guest_is_foretold_without_error(self):
        totals = Node([Guest("calm", demand=500, actual=1000)]).tick(10).state.totals
        assert totals.merit.forecasts >= 5
        assert totals.merit.error == pytest.approx(0, abs=1)
        assert totals.merit.broken_bounds == 0


class TestIntegrals:
    def test_what_was_seen_counts_for_as_long_as_it_held(self):
        sight = seen(demand=[300, 100, np.nan, 100], allocation=[200, 150, 150, 500])
        sight, *sums = accrue(sight, np.array([True, True, True, False]), 2.0)
        assert sums == [200.0, 100.0]
        assert sight.shortfall_time.tolist() == [200, 0, 0, 0]
        assert sight.slack_time.tolist() == [0, 100, 0, 0]

    def test_slack_of_a_guest_adds_up_and_stays_when_it_is_gone(self):
        world = Node([Guest("idle", demand=500, actual=1000)], policies=[policy(mode="Observe")]).tick(11)
        (domain,) = view(world.state, world.now)["domains"]
        assert domain["slack_byte_seconds"] == 10 * 500 * MIB
        world.guests.clear()
        world._decide(world.inventory, [], {})
        assert view(world.state, world.now)["node"]["slack_byte_seconds_total"] == 10 * 500 * MIB

    def test_a_domain_without_a_policy_counts_for_nothing(self):
        world = Node([Guest("free", demand=500, actual=1000)], policies=[]).tick(10)
        assert world.state.totals.slack_time == 0

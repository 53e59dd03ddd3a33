"""What the engine is judged by: forecasts against what came, shortfall and slack over time."""

import pytest
from scripted_node import MIB, ScriptedGuest, node, policy


class TestForecasts:
    def test_of_a_calm_guest_are_without_error(self):
        shown = node(ScriptedGuest("calm", demand=500, actual=1000)).tick(10).shown()
        assert shown["forecasts_total"] >= 5
        assert shown["forecast_error_total"] == pytest.approx(0, abs=1)
        assert shown["broken_bounds_total"] == 0

    def test_stand_beside_those_of_demand_that_stays_as_it_is(self):
        world = node(ScriptedGuest("ramp", demand=500, actual=1000), policies=[policy(mode="Observe")])
        for _ in range(40):
            world.guests["ramp"].demand += 5
            world.tick()
        shown = world.shown()
        assert shown["last_value_error_total"] == pytest.approx(5 * shown["forecasts_total"] * MIB, rel=0.05)
        assert shown["forecast_error_total"] < shown["last_value_error_total"] / 2

    def test_that_a_jump_passes_are_counted_as_broken_and_by_how_much(self):
        world = node(ScriptedGuest("jump", demand=500, actual=1000), policies=[policy(mode="Observe")]).tick(20)
        before = world.shown()
        world.guests["jump"].demand = 800
        world.tick()
        after = world.shown()
        assert after["broken_bounds_total"] == before["broken_bounds_total"] + 1
        error = after["forecast_error_total"] - before["forecast_error_total"]
        assert error == pytest.approx(300 * MIB, rel=0.01)

    def test_are_not_made_of_a_guest_without_a_policy(self):
        assert (
            node(ScriptedGuest("free", demand=500, actual=1000), policies=[]).tick(10).shown()["forecasts_total"] == 0
        )


class TestTimeIntegrals:
    def test_of_slack_add_up_and_stay_when_the_guest_is_gone(self):
        world = node(ScriptedGuest("idle", demand=500, actual=1000), policies=[policy(mode="Observe")]).tick(11)
        assert world.domain("idle")["slack_byte_seconds"] == 10 * 500 * MIB
        assert world.domain("idle")["shortfall_byte_seconds"] == 0
        world.guests.clear()
        world.step()
        assert world.shown()["slack_byte_seconds_total"] == 10 * 500 * MIB

    def test_of_shortfall_count_what_is_seen_of_it(self):
        """A guest that is short tells no more than its size: what it wants beyond that shows as it grows."""
        world = node(ScriptedGuest("short", demand=500, actual=1000), policies=[policy(mode="Observe")]).tick(11)
        world.guests["short"].demand = 3000
        world.tick(10)
        assert world.domain("short")["shortfall_byte_seconds"] == 0
        assert world.domain("short")["slack_byte_seconds"] == pytest.approx(11 * 500 * MIB, rel=0.1)

    def test_of_a_domain_without_a_policy_are_nothing(self):
        world = node(ScriptedGuest("free", demand=500, actual=1000), policies=[]).tick(10)
        assert world.shown()["slack_byte_seconds_total"] == 0

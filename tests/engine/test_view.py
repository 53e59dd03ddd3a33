"""What a person is shown of the node, its policies and its domains."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_node import ScriptedGuest, default_policy, node
from stages import MIB, NOW, inventory, rows

from controller.api.wishes import Wishes
from controller.engine.decision import Figures
from controller.engine.effect import BalloonEffect
from controller.engine.estimate import Accuracy, Estimate
from controller.engine.guest_pressure import GuestPressure, PressureLevel
from controller.engine.host import HostState
from controller.engine.inventory import NodeBudget
from controller.engine.observation import Observation
from controller.engine.phases import Balloon, Phase
from controller.engine.polling import Polling
from controller.engine.reasons import Reason
from controller.engine.snapshot import HostReading
from controller.engine.state import State, Totals
from controller.engine.view import view


def state(**parts: object) -> State:
    """Three domains: one that grows under Enforce, one under Observe, and one that nobody owns or has looked at."""
    listed = inventory(
        3,
        policy=[0, 1, -1],
        enforce=[True, False, False],
        obstacle=[int(Reason.NONE), int(Reason.NONE), int(Reason.NO_POLICY)],
        minimum=[64 * MIB, 32 * MIB, 0.0],
        maximum=[1024 * MIB, 512 * MIB, 256 * MIB],
    )
    listed = replace(
        listed, policies=("acts", "watches"), modes=("Enforce", "Observe"), budget=NodeBudget(100 * MIB, 0.0, np.inf)
    )
    given = {
        "inventory": listed,
        "observation": rows(
            Observation,
            3,
            allocation=[200 * MIB, 300 * MIB, np.nan],
            demand=[220 * MIB, 100 * MIB, np.nan],
            maximum=[1024 * MIB, 512 * MIB, np.nan],
            shortfall_time=[7.0, 0.0, 0.0],
            slack_time=[0.0, 9.0, 0.0],
        ),
        "pressure": rows(GuestPressure, 3, level=[int(PressureLevel.LOW), 0, 0]),
        "balloon": rows(
            Balloon,
            3,
            phase=[Phase.MOVING, Phase.IDLE, Phase.IDLE],
            target=[400 * MIB, np.nan, np.nan],
            proposed=[np.nan, 150 * MIB, np.nan],
            reallocations=[4, 0, 0],
            last_at=[NOW - 2, np.nan, np.nan],
            last_from=[200 * MIB, np.nan, np.nan],
            last_to=[400 * MIB, np.nan, np.nan],
            last_reason=[int(Reason.PRESSURE_GROW), 0, 0],
        ),
        "estimate": rows(Estimate, 3, forecast=[230 * MIB, 1, np.nan], upper=[250 * MIB, 1, np.nan], error=[6.0, 1, 1]),
        "polling": rows(
            Polling, 3, interval=[1.0, 2.0, 0.0], next_look=[NOW + 1.5, NOW + 2, -np.inf], stable=[False, True, False]
        ),
        "effect": BalloonEffect.blank(3),
        "decision_inputs": np.full((len(Figures._fields), 3), np.nan),
        "reason": np.array([int(Reason.MOVING), int(Reason.FORECAST_SHRINK), int(Reason.NO_POLICY)]),
        "host": HostState(
            HostReading(2048 * MIB, 900 * MIB), own_use=48 * MIB, own_forecast=50 * MIB, budget=1000 * MIB
        ),
        "totals": Totals(NOW, 5, 7.6, 4, 1.0, 7.0, 9.0, Accuracy(3, 2.0, 4.0, 1)),
    }
    return State.initial().having(**given | parts)


def domain(name: str, **parts: object) -> dict:
    return next(each for each in view(state(**parts), NOW)["domains"] if each["name"] == name)


def test_the_node_is_shown_with_its_memory_and_what_was_done():
    assert view(state(), NOW)["node"] == {
        "total": 2048 * MIB,
        "available": 900 * MIB,
        "host_use": 48 * MIB,
        "host_forecast": 50 * MIB,
        "reserve": 100 * MIB,
        "budget": 1000 * MIB,
        "allocated": 500 * MIB,
        "spare": (1000 - 400 - 300 - 256) * MIB,
        "demand": (220 + 100) * MIB,
        "short": 0,
        "reclaimable": 0,
        "pressure": False,
        "minimums_fit": True,
        "stable": False,
        "domains": 3,
        "stable_domains": 2,
        "looks_total": 5,
        "fixed_looks_total": 8,
        "reallocations_total": 4,
        "moved_total": 1,
        "shortfall_byte_seconds_total": 7,
        "slack_byte_seconds_total": 9,
        "forecasts_total": 3,
        "forecast_error_total": 2,
        "last_value_error_total": 4,
        "broken_bounds_total": 1,
    }


def test_nothing_is_spare_where_more_was_given_away_than_there_is():
    assert view(state(host=HostState(budget=900 * MIB)), NOW)["node"]["spare"] == 0


def test_policies_are_shown_with_their_own_domains():
    assert view(state(), NOW)["policies"] == [
        {"name": "acts", "mode": "Enforce", "domains": 1, "stable_domains": 0},
        {"name": "watches", "mode": "Observe", "domains": 1, "stable_domains": 1},
    ]


def test_a_domain_is_shown_with_what_it_needs_has_and_is_to_have():
    assert domain("guest-0") == {
        "key": "guest-0",
        "name": "guest-0",
        "uuid": "guest-0",
        "policy": "acts",
        "mode": "Enforce",
        "demand": 220 * MIB,
        "forecast": 230 * MIB,
        "upper": 250 * MIB,
        "forecast_error": 6,
        "allocation": 200 * MIB,
        "target": 400 * MIB,
        "minimum": 64 * MIB,
        "maximum": 1024 * MIB,
        "interval_s": 1.0,
        "next_look_in_s": 1.5,
        "stable": False,
        "reason": "Moving",
        "reason_text": "the balloon is moving",
        "pressure": True,
        "looks": 0,
        "reallocations": 4,
        "last_action": {
            "age_s": 2.0,
            "from": 200 * MIB,
            "to": 400 * MIB,
            "reason": "PressureGrow",
            "reason_text": "the guest is under memory pressure",
        },
        "shortfall": 20 * MIB,
        "slack": 0,
        "shortfall_byte_seconds": 7,
        "slack_byte_seconds": 0,
    }


@pytest.mark.parametrize(("proposed", "target"), [(150, 150), (np.nan, 300)])
def test_a_domain_that_is_observed_is_to_have_what_enforce_would_have_set(proposed, target):
    shown = domain("guest-1", balloon=rows(Balloon, 3, proposed=proposed * MIB))
    assert (shown["target"], shown["policy"], shown["mode"]) == (target * MIB, "watches", "Observe")
    assert (shown["shortfall"], shown["slack"], shown["pressure"]) == (0, 200 * MIB, False)


def test_a_domain_that_acts_is_not_shown_a_proposal_of_before():
    idle = rows(Balloon, 3, proposed=150 * MIB)
    assert domain("guest-0", balloon=idle)["target"] == 200 * MIB


def test_a_domain_that_is_left_alone_is_shown_to_be_looked_at_as_rarely_as_it_is():
    world = node(ScriptedGuest("guest", 100, 4000), policies=[default_policy()]).tick(5)
    world.guests["guest"].wishes = Wishes(opt_out=True)
    before = world.tick(65).state.polling.looks[0]
    (shown,) = view(world.state, world.now)["domains"]
    assert (shown["reason"], shown["interval_s"]) == ("OptedOut", 60.0)
    assert world.tick(120).state.polling.looks[0] == before + 2


def test_what_is_not_known_of_a_domain_is_none():
    shown = domain("guest-2")
    unknown = {"policy", "mode", "demand", "forecast", "upper", "allocation", "target", "next_look_in_s", "last_action"}
    assert {name for name, value in shown.items() if value is None} >= unknown
    assert (shown["maximum"], shown["stable"], shown["reason"]) == (256 * MIB, True, "NoPolicy")

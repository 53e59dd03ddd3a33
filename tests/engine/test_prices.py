"""What a move and a look have to be worth: parts of a second of the mean demand of those that are acted on."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, default_policy, node

from controller.engine.decision import Figures
from controller.engine.reasons import Reason

MEAN = 300 * MIB


@cache
def calm() -> ScriptedNode:
    """Two guests that need 500 and 100 MiB, and one that nobody may touch, seen for twenty minutes."""
    guests = [
        ScriptedGuest("big", 500, 600),
        ScriptedGuest("small", 100, 2000),
        ScriptedGuest("pinned", 900, 1000, obstacle=Reason.LOCKED_MEMORY),
    ]
    patient = default_policy(advanced={"monitoring": {"minimumIntervalSeconds": 1, "maximumIntervalSeconds": 600}})
    return node(*guests, policies=[patient], host_mib=8192).tick(1200)


def test_a_move_costs_three_tenths_of_a_second_of_the_mean_demand() -> None:
    assert calm().state.decision_inputs[Figures._fields.index("price"), :2] == pytest.approx([0.3 * MEAN] * 2)


def test_a_look_costs_seven_ten_thousandths_of_a_second_of_the_mean_demand() -> None:
    world = deepcopy(calm())
    while not (world.state.observation.fresh[0] and world.state.polling.interval[0] > 2):
        world.tick()
    state = world.state
    assert state.polling.interval[0] == pytest.approx((2 * 0.0007 * MEAN / state.exposure.excess[0]) ** 0.5)


@pytest.mark.parametrize("mode", ["Enforce", "Observe"])
def test_a_move_starts_the_regret_anew(mode: str) -> None:
    guests = ScriptedGuest("guest", 900, 1000, maximum=7000), ScriptedGuest("other", 500, 7000, maximum=7000)
    whole = default_policy(mode=mode, budget={"reserve": "0", "reservePercent": 0})
    world = node(*guests, policies=[whole], host_mib=8120)  # what is free is less than the pool: nothing is left over
    regret, last = [], np.nan
    while np.isnan(last) and len(regret) < 1000:
        regret.append(world.state.exposure.regret.sum())
        last = world.tick().state.exposure.moved_at[0]
    assert (last, regret[-1] > 0, world.state.exposure.regret[0]) == (world.now, True, 0.0)

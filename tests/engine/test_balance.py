"""What the guests of a node need together, when it counts as short, and what they could give back."""

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, ScriptedNode, node, policy
from stages import NOW, inventory, rows

from controller.engine.balance import Shortage, balance, shortage, unmet
from controller.engine.decision import Figures
from controller.engine.guest_pressure import GuestPressure, PressureLevel
from controller.engine.host import HostState
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.reasons import Reason
from controller.engine.state import State


def state(demand: list[float], *, budget: float = 1000, **columns: object) -> State:
    """Domains of 512 MiB each that want what they need; sizes in MiB."""
    n = len(demand)
    given = {"allocation": 512 * MIB, "demand": np.array(demand) * MIB, "maximum": 1024 * MIB, "fresh_count": 3}
    return State.initial().having(
        inventory=inventory(n, **columns),
        observation=rows(Observation, n, **given),
        decision_inputs=np.array(Figures(wanted=1.0))[:, None] * np.array(demand) * MIB,
        pressure=GuestPressure.blank(n),
        effect=State.initial().effect.take(np.full(n, -1)),
        balloon=State.initial().balloon.take(np.full(n, -1)),
        reason=np.full(n, int(Reason.WITHIN_THRESHOLD)),
        host=HostState(budget=budget * MIB),
        totals=State.initial().totals.having(at=NOW),
    )


def test_a_node_is_short_of_what_demand_exceeds_its_budget():
    assert balance(state([400, 500]))[:2] == (900 * MIB, 0)
    assert balance(state([400, 700]))[:2] == (1100 * MIB, 100 * MIB)


def test_a_guest_that_does_not_tell_needs_all_it_has():
    assert balance(state([400, np.nan])).demand == (400 + 512) * MIB


def test_a_guest_that_nobody_may_touch_needs_all_it_has():
    locked = state([100, 100], obstacle=[int(Reason.NONE), int(Reason.LOCKED_MEMORY)])
    assert balance(locked).demand == (100 + 512) * MIB
    assert balance(locked).reclaimable == 412 * MIB


def test_reclaimable_ends_at_the_minimum():
    assert balance(state([100, 500], minimum=[300 * MIB, 0])).reclaimable == (212 + 12) * MIB


@pytest.mark.parametrize(
    ("size", "moves", "is_unmet"),
    [
        (498, {}, True),
        (500, {}, False),
        (498, {"target": 500}, False),
        (600, {"target": 498}, True),
        (600, {"proposed": 498}, True),
        (498, {"proposed": 600}, False),
        (0, {}, False),
        (np.nan, {}, False),
    ],
)
def test_a_domain_that_is_to_have_less_than_its_minimum_as_not_all_fit_is_unmet(size, moves, is_unmet):
    seen = state([100.0], minimum=500 * MIB).having(
        observation=rows(Observation, 1, allocation=size * MIB, maximum=1024 * MIB),
        balloon=rows(Balloon, 1, **{name: to * MIB for name, to in moves.items()}),
    )
    assert unmet(seen.having(minimums_fit=False)).tolist() == [is_unmet]
    assert not unmet(seen).any()


def test_a_domain_that_nobody_may_touch_was_promised_no_minimum():
    seen = state([100.0] * 3, minimum=600 * MIB, obstacle=[0, int(Reason.LOCKED_MEMORY), int(Reason.NO_POLICY)])
    assert unmet(seen.having(minimums_fit=False)).tolist() == [True, False, False]


def test_nothing_is_reclaimable_of_a_guest_that_is_short():
    pressed = rows(GuestPressure, 2, level=[int(PressureLevel.LOW), 0])
    assert balance(state([100, 500]).having(pressure=pressed)).reclaimable == 12 * MIB


def test_nothing_is_reclaimable_of_a_guest_of_which_nothing_is_known():
    assert balance(state([100.0]).having(decision_inputs=np.full((len(Figures._fields), 1), np.nan))).reclaimable == 0


@pytest.mark.parametrize("spare", ["Share", "Reclaim"])
def test_observe_tells_what_enforce_could_give_back(spare):
    world = node(ScriptedGuest("idle", 200, 4000), policies=[policy(mode="Observe", spare=spare)]).tick(120)
    wanted = world.state.figures(0).wanted
    assert balance(world.state).reclaimable == 4000 * MIB - wanted > 3000 * MIB


def test_what_was_taken_back_is_no_longer_reclaimable():
    world = node(ScriptedGuest("idle", 200, 4000)).tick(300)
    assert world.guests["idle"].actual < 500
    assert balance(world.state).reclaimable < 64 * MIB


def after(world: ScriptedNode, shortage: Shortage, seconds: int) -> Shortage:
    for _ in range(seconds):
        world.tick()
        shortage = shortage.extended(world.state, world.now)
    return shortage


def test_a_node_whose_guests_need_too_much_for_three_minutes_is_short():
    world = node(ScriptedGuest("a", 3000, 3000), ScriptedGuest("b", 3000, 3000), host_mib=5000)
    lasting = after(world, Shortage(), 175)
    assert not lasting.lasts
    assert after(world, lasting, 10).lasts


def short_at(*times: float) -> Shortage:
    made = Shortage()
    for at in times:
        made = made.extended(state([700, 700]), at)
    return made


def test_a_moment_of_relief_does_not_end_a_shortage():
    made = short_at(0.0, 179.0).extended(state([100, 100]), 180.0)
    assert made.extended(state([700, 700]), 181.0).lasts


def test_a_node_that_has_had_enough_for_a_minute_is_short_no_more():
    made = short_at(0.0, 180.0)
    assert made.extended(state([100, 100]), 239.9).lasts
    assert made.extended(state([100, 100]), 240.0) == Shortage()


def test_a_guest_in_need_that_gets_nothing_makes_the_node_short_whatever_the_sum_says():
    starved = state([500.0]).having(reason=np.array([int(Reason.NO_BUDGET)]))
    made = Shortage().extended(starved, 0.0).extended(starved, 180.0)
    assert made.lasts
    assert shortage(starved).startswith("the guests cannot have what they need within the budget of 1000 MiB")


def test_the_shortage_is_told_in_one_line_with_its_size():
    assert shortage(state([700, 700])).startswith("the guests need 400 MiB more than the budget of 1000 MiB")

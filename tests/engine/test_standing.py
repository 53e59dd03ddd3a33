"""Whether an order that waits for its turn would still be given: what may have changed since its decision."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_node import MIB, ScriptedGuest, policy

from controller.api.wishes import Wishes
from controller.engine.decision import Action
from controller.engine.guest_pressure import PressureLevel
from controller.engine.inventory import Pod
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import align, stands

ENFORCE = policy("all", mode="Enforce", limits={"minimum": "256Mi"})
OBSERVE = policy("all", mode="Observe")
GROW, SHRINK = (1024, 1500, Reason.FORECAST_GROW), (1024, 512, Reason.FORECAST_SHRINK)
NEED = (1024, 1500, Reason.PRESSURE_GROW)
HALT, BACK = (1024, 1024, Reason.PRESSURE_GROW), (1024, 1500, Reason.HANDED_OVER)
RESTORE = (1024, 2048, Reason.RELEASE_RESTORE)


def node(*policies: object, level: PressureLevel = PressureLevel.NONE, **facts: object) -> State:
    """One domain, `db`, of 2 GiB."""
    domain = replace(ScriptedGuest("db", 2048, 2048).facts(), **facts)
    state = align(State.initial(), assign([domain], policies, NodeIdentity("node")).inventory, 0.0)
    state.pressure.level[:] = int(level)
    return state


def order(before: int, target: int, reason: Reason) -> Action:
    return Action(0, "db", "db", before * MIB, target * MIB, reason)


@pytest.mark.parametrize("decided", [GROW, SHRINK, NEED, HALT, BACK])
def test_an_order_stands_while_nothing_has_changed(decided):
    assert stands(order(*decided), node(ENFORCE))


CHANGES = {
    "Observe": node(OBSERVE),
    "Pause": node(ENFORCE, policy("stop", mode="Pause")),
    "no policy": node(),
    "rollout": node(policy("all", mode="Enforce", rollout={"maximumNodes": 1})),
    "Off": node(ENFORCE, wishes=Wishes(opt_out=True)),
    "observed by its owner": node(ENFORCE, wishes=Wishes(observe=True)),
    "host devices": node(ENFORCE, obstacle=Reason.HOST_DEVICES),
    "Guaranteed": node(ENFORCE, pod=Pod("u", "ns", "p", qos="Guaranteed")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("decided", [GROW, SHRINK, NEED])
def test_nothing_stands_for_a_domain_that_is_no_longer_to_be_changed(decided, change):
    assert not stands(order(*decided), CHANGES[change])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("decided", [HALT, BACK])
def test_what_ends_a_shrink_or_takes_it_back_stands_all_the_same(decided, change):
    assert stands(order(*decided), CHANGES[change])


def test_nothing_stands_for_a_domain_that_is_gone():
    assert not stands(replace(order(*BACK), key="web"), node(ENFORCE))


@pytest.mark.parametrize(("decided", "standing"), [(SHRINK, False), (GROW, True), (NEED, True)])
def test_of_a_guest_that_has_come_into_need_a_shrink_does_not_stand(decided, standing):
    assert stands(order(*decided), node(ENFORCE, level=PressureLevel.SHORT)) is standing


@pytest.mark.parametrize(("decided", "standing"), [(SHRINK, False), (GROW, True), (HALT, True)])
def test_of_a_guest_that_is_felt_to_become_short_a_shrink_does_not_stand(decided, standing):
    state = node(ENFORCE)
    felt = replace(state, growth=state.growth.having(short=np.array([True])))
    assert stands(order(*decided), felt) is standing


@pytest.mark.parametrize(("minimum", "standing"), [("512Mi", True), ("514Mi", False)])
def test_a_shrink_below_what_is_promised_by_now_does_not_stand(minimum, standing):
    raised = policy("all", mode="Enforce", limits={"minimum": minimum})
    assert stands(order(*SHRINK), node(raised)) is standing


def test_where_the_minimums_are_more_than_the_budget_a_shrink_below_one_stands():
    raised = node(policy("all", mode="Enforce", limits={"minimum": "1Gi"}))
    assert stands(order(*SHRINK), replace(raised, minimums_fit=False))


@pytest.mark.parametrize(("maximum", "standing"), [("1500Mi", True), ("1498Mi", False)])
def test_a_grow_above_what_is_allowed_by_now_does_not_stand(maximum, standing):
    lowered = policy("all", mode="Enforce", limits={"minimum": "256Mi", "maximum": maximum})
    assert stands(order(*NEED), node(lowered)) is standing


def test_a_grow_above_what_its_pod_has_room_for_by_now_does_not_stand():
    pod = Pod("u", "ns", "p", limit=1500 * MIB, qos="Burstable")
    assert not stands(order(*NEED), node(ENFORCE, pod=pod))


@pytest.mark.parametrize(
    ("now", "standing"),
    [
        (node(), True),
        (node(ENFORCE), False),
        (node(OBSERVE), False),
        (node(wishes=Wishes(opt_out=True)), False),
        (node(obstacle=Reason.HOST_DEVICES), False),
    ],
)
def test_a_release_stands_while_nobody_owns_the_domain_and_nothing_forbids_to_touch_it(now, standing):
    assert stands(order(*RESTORE), now) is standing

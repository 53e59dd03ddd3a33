"""Rule 5: domains that must not be touched are skipped, with a reason that a user can read."""

import pytest
from scripted_node import ScriptedGuest, node, policy

from controller.api.wishes import Wishes
from controller.engine.inventory import Pod
from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState

pytestmark = pytest.mark.parametrize("seconds", [60, pytest.param(300, marks=pytest.mark.slow)])


@pytest.mark.parametrize(
    "obstacle",
    [
        Reason.NO_BALLOON,
        Reason.HUGE_PAGES,
        Reason.LOCKED_MEMORY,
        Reason.HOST_DEVICES,
        Reason.CONFIDENTIAL,
        Reason.MEMORY_DEVICES,
        Reason.COMMAND_LINE,
    ],
)
def test_a_guest_that_must_not_be_touched_is_skipped_with_its_reason(obstacle, seconds):
    world = node(ScriptedGuest("guest", 100, 4000, obstacle=obstacle)).tick(seconds)
    assert world.actions() == []
    assert world.reason("guest") is obstacle


@pytest.mark.parametrize(
    ("run_state", "reason"),
    [
        (RunState.PAUSED, Reason.PAUSED),
        (RunState.NOT_RUNNING, Reason.NOT_RUNNING),
        (RunState.BUSY, Reason.BUSY),
        (RunState.UNRESPONSIVE, Reason.UNRESPONSIVE),
    ],
)
def test_a_guest_that_does_not_run_freely_is_skipped(run_state, reason, seconds):
    world = node(ScriptedGuest("guest", 100, 4000, run_state=run_state)).tick(seconds)
    assert world.actions() == []
    assert world.reason("guest") is reason


def test_a_guest_that_opts_out_is_left_alone(seconds):
    world = node(ScriptedGuest("guest", 100, 4000, wishes=Wishes(opt_out=True))).tick(seconds)
    assert world.actions() == []
    assert world.reason("guest") is Reason.OPTED_OUT


def test_a_guest_whose_wishes_make_no_sense_is_left_alone(seconds):
    world = node(ScriptedGuest("guest", 100, 4000, wishes=Wishes(error="minimum: 'x' is no quantity"))).tick(seconds)
    assert world.actions() == []
    assert world.reason("guest") is Reason.INVALID_WISHES


def test_a_guest_that_was_promised_all_of_its_memory_is_left_alone(seconds):
    world = node(ScriptedGuest("guest", 100, 4000, pod=Pod("u", "n", "p", qos="Guaranteed"))).tick(seconds)
    assert world.actions() == []
    assert world.reason("guest") is Reason.GUARANTEED


@pytest.mark.parametrize(("mode", "reason"), [("Off", Reason.OPTED_OUT), ("off", Reason.INVALID_WISHES)])
def test_a_guest_whose_pod_says_so_is_left_alone(mode, reason, seconds):
    pod = Pod("u", "n", "p", annotations={"ballast.dev/mode": mode})
    world = node(ScriptedGuest("guest", 100, 4000, pod=pod)).tick(seconds)
    assert world.actions() == []
    assert world.reason("guest") is reason


def test_a_guest_whose_pod_asks_to_be_observed_is_not_moved(seconds):
    asking = ScriptedGuest("asking", 100, 4000, pod=Pod("u", "n", "p", annotations={"ballast.dev/mode": "Observe"}))
    world = node(asking, ScriptedGuest("other", 100, 4000), policies=[policy(spare="Reclaim")], host_mib=16384).tick(
        seconds
    )
    assert {action.name for action in world.actions()} == {"other"}
    assert "asking" in {proposal.name for proposal in world.proposals()}


def test_a_skip_is_said_once(seconds):
    world = node(ScriptedGuest("guest", 100, 4000, obstacle=Reason.HUGE_PAGES)).tick(seconds)
    notices = [notice for decision in world.decisions for notice in decision.notices]
    assert [(notice.name, notice.reason) for notice in notices] == [("guest", Reason.HUGE_PAGES)]

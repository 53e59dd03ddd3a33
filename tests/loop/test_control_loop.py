"""The control loop on a node without libvirt, time or threads."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_loop import MIB, FakeConnection, LoopHarness

from controller.api.policy import Metadata
from controller.api.wishes import Wishes
from controller.engine.inventory import Pod
from controller.engine.ownership import NodeIdentity
from controller.engine.reasons import Reason
from controller.engine.snapshot import OrderOutcome, OrderResult, Samples
from controller.host.looker import LOOK_S
from controller.host.meminfo import MeminfoError
from controller.host.mover import MOVE_S
from controller.loop import control
from controller.observe.statusstore import SILENCE_S

UNIT = Path(__file__).parents[2] / "manifests/systemd/ballast.service"

CALM = "{advanced: {monitoring: {minimumIntervalSeconds: 5, maximumIntervalSeconds: 5}}}"
ENFORCE = "{mode: Enforce, spare: Reclaim}"


def test_new_domains_are_looked_at_at_once_in_one_call():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.host.add("b")
    harness.loop.iterate()
    assert harness.host.looks == [["a", "b"]]


def test_nobody_is_looked_at_before_the_look_is_due():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.loop.iterate()
    harness.clock.now += 4
    harness.loop.iterate()
    harness.clock.now += 1
    harness.loop.iterate()
    assert harness.host.looks == [["a"], ["a"]]


def test_waits_until_the_next_look_is_due():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.loop.iterate()
    assert harness.loop.pause() == 5


def test_a_node_without_domains_is_checked_at_every_heartbeat():
    harness = LoopHarness(CALM)
    harness.loop.iterate()
    assert harness.host.looks == []
    assert harness.loop.pause() == 10


def test_heartbeats_come_before_anybody_takes_the_loop_for_dead():
    turn = sum(LOOK_S) + MOVE_S
    (watchdog,) = re.findall(r"^WatchdogSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert 2 * (control.HEARTBEAT_S + turn) <= SILENCE_S
    assert int(watchdog) >= 2 * SILENCE_S


def test_a_loop_that_has_not_turned_yet_has_its_first_turn_soon():
    assert LoopHarness(CALM).loop.pause() == 1


def test_never_turns_faster_than_the_gap():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.loop.iterate()
    harness.clock.now += 4.95
    assert harness.loop.pause() == 0.1


def test_a_domain_that_appears_is_looked_at_alone_and_at_once():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.loop.iterate()
    harness.host.add("b")
    harness.loop.iterate()
    assert harness.host.looks == [["a"], ["b"]]


def test_a_domain_that_vanished_is_asked_no_more():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.host.add("b")
    harness.turn()
    harness.host.remove("a")
    harness.turn()
    assert harness.host.looks == [["a", "b"], ["b"]]
    assert [each["key"] for each in harness.status_store.document()["domains"]] == ["b"]


def test_ownership_is_worked_out_only_when_facts_or_policies_change(monkeypatch):
    harness = LoopHarness(CALM)
    harness.host.add("a")
    built = []
    assign = control.assign
    monkeypatch.setattr(control, "assign", lambda *inputs, **options: built.append(1) or assign(*inputs, **options))
    harness.turn(3)
    assert len(built) == 1
    harness.source.set(ENFORCE)
    harness.turn()
    assert len(built) == 2
    harness.host.add("b")
    harness.turn()
    assert len(built) == 3


def test_a_guest_that_needs_memory_gets_it_under_enforce():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    harness.turn(3)
    assert harness.host.actual["a"] > 512 * MIB
    assert [action.grows for action in harness.host.applied] == [True] * len(harness.host.applied)
    assert harness.domain("a")["last_action"]["to"] == harness.host.actual["a"]


def test_observe_changes_nothing_at_all():
    harness = LoopHarness("{mode: Observe}")
    harness.host.add("a", actual=512, demand=505)
    harness.turn(5)
    assert (harness.host.applied, harness.host.ensured, harness.host.restored) == ([], {}, [])
    assert harness.domain("a")["target"] > 512 * MIB


def test_a_pause_stops_what_is_enforced_with_the_next_turn_and_says_so(caplog):
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    harness.turn(3)
    applied = list(harness.host.applied)
    harness.source.set(ENFORCE, "{mode: Pause}")
    harness.host.add("b", actual=512, demand=505)
    harness.turn(10)
    assert (harness.host.applied, harness.status_store.document()["node"]["paused"]) == (applied, True)
    assert [warning for warning in harness.status_store.document()["warnings"] if "pauses this node" in warning] != []
    assert "nothing is enforced until it is deleted" in caplog.text
    harness.source.set(ENFORCE)
    harness.turn(10)
    assert (harness.host.applied != applied, harness.status_store.document()["node"]["paused"]) == (True, False)


def test_where_a_rollout_has_not_come_nothing_is_changed_and_the_domain_says_why(caplog):
    caplog.set_level("INFO")
    harness = LoopHarness(ENFORCE.replace("{", "{rollout: {maximumNodes: 1}, ", 1))
    harness.host.add("a", actual=512, demand=505)
    harness.turn(5)
    assert (harness.host.applied, harness.host.ensured) == ([], {})
    domain = harness.domain("a")
    assert (domain["mode"], domain["target"] > 512 * MIB) == ("Observe", True)
    assert domain["advice"].startswith("its policy's rollout does not name this node")
    assert "MemoryPolicy p0 says Enforce, and is only observed here" in caplog.text
    harness.source.set(ENFORCE)
    harness.turn(5)
    assert (harness.host.applied != [], harness.domain("a")["advice"]) == (True, "")


def test_a_ballast_started_to_observe_changes_nothing_and_says_which_policies_it_overrules():
    harness = LoopHarness(ENFORCE, "{mode: Observe, domainSelector: {names: [z]}}", observe=True)
    harness.host.add("a", actual=512, demand=505)
    harness.turn(5)
    harness.loop.release()
    assert (harness.host.applied, harness.host.ensured, harness.host.restored) == ([], {}, [])
    assert (harness.domain("a")["mode"], harness.domain("a")["target"] > 512 * MIB) == ("Observe", True)
    overruled = [each for each in harness.status_store.document()["warnings"] if "started to change nothing" in each]
    assert overruled == ["MemoryPolicy p0 says Enforce, and is only observed: Ballast was started to change nothing"]


def test_a_ballast_started_to_observe_says_nothing_of_policies_that_observe_anyhow():
    harness = LoopHarness("{mode: Observe}", observe=True)
    harness.host.add("a")
    harness.turn()
    assert harness.status_store.document()["warnings"] == []


def test_a_ballast_started_to_observe_releases_nothing_of_an_earlier_run():
    harness = LoopHarness(observe=True)
    inherit(harness, "{mode: Enforce}")
    harness.host.add("a", actual=700)
    harness.turn(3)
    assert (harness.host.applied, harness.host.ensured, harness.host.restored) == ([], {}, [])


def test_statistics_are_asked_for_where_ballast_may_act_at_the_shortest_interval():
    harness = LoopHarness("{mode: Enforce, advanced: {monitoring: {minimumIntervalSeconds: 3}}}")
    harness.host.add("a")
    harness.turn()
    assert harness.host.ensured == {"a": 3}


def test_a_guest_that_may_be_looked_at_every_second_is_asked_for_statistics_as_often():
    harness = LoopHarness("{mode: Enforce, advanced: {monitoring: {minimumIntervalSeconds: 1}}}")
    harness.host.add("a")
    harness.turn()
    assert harness.host.ensured == {"a": 1}


def test_the_statistics_of_a_domain_that_cannot_be_moved_are_left_alone():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.host.facts = (replace(harness.host.facts[0], obstacle=Reason.NO_BALLOON),)
    harness.turn()
    assert harness.host.ensured == {}


def test_a_domain_that_is_let_go_gets_its_statistics_period_back():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.turn()
    harness.source.set("{mode: Observe}")
    harness.turn(2)
    assert harness.host.restored == ["a"]


def test_the_statistics_period_of_a_domain_that_is_gone_is_not_put_back():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.turn()
    harness.host.remove("a")
    harness.turn(2)
    assert harness.host.restored == []


def test_a_statistics_period_is_put_back_once():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.turn()
    harness.loop.release()
    harness.loop.release()
    assert harness.host.restored == ["a"]


def test_a_shrink_under_way_is_taken_back_at_the_end(caplog):
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.host.stuck.add("a")
    while not harness.host.applied:
        harness.turn()
    harness.clock.stopped = True
    with caplog.at_level("INFO"):
        harness.loop.run()
    shrink, back = harness.host.applied
    assert (shrink.target < 1024 * MIB, back.target, back.reason) == (True, 1024 * MIB, Reason.HANDED_OVER)
    assert Reason.HANDED_OVER.text in caplog.text


def test_a_guest_at_rest_is_left_alone_at_the_end():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    while not harness.host.applied:
        harness.turn()
    harness.turn()
    harness.loop.release()
    assert len(harness.host.applied) == 1


def test_balloon_events_reach_the_engine_and_strangers_do_not(snapshots):
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.host.add("b")
    harness.host.events = {"stranger": 1, "b": 700 * MIB}
    harness.loop.iterate()
    events = snapshots[0].events
    assert events.rows.tolist() == [1]
    assert events.actual.tolist() == [700 * MIB]


def test_a_refusal_is_told_to_the_engine_once_and_by_the_domain_it_was_about(snapshots):
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.host.add("b", actual=512, demand=505)
    harness.host.refusing = {"b": "device busy"}
    while not (outcome := harness.loop.iterate()).refused:
        harness.clock.now += 1
    assert outcome.refused == {"b": "device busy"}
    harness.host.remove("a")
    harness.loop.iterate()
    assert snapshots[-1].outcomes == (OrderOutcome(0, OrderResult.REFUSED, "device busy"),)
    harness.loop.iterate()
    assert snapshots[-1].outcomes == ()
    assert harness.host.applied == []


def test_a_late_answer_reaches_the_engine(snapshots):
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.host.answers = {"a": (OrderResult.REFUSED, "device busy"), "stranger": (OrderResult.DONE, "")}
    harness.loop.iterate()
    assert snapshots[-1].outcomes == (OrderOutcome(0, OrderResult.REFUSED, "device busy"),)


def test_an_order_that_is_taken_late_is_ours_and_nothing_is_given_twice():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    harness.host.late = {"a"}
    while not harness.host.pending:
        harness.turn()
    harness.turn(3)
    harness.host.take("a")
    harness.turn(2)
    assert [action.key for action in harness.host.applied] == ["a"]
    assert harness.domain("a")["allocation"] == harness.host.actual["a"] > 512 * MIB
    assert harness.domain("a")["reason"] not in {"OutsideChange", "Refused"}


def test_an_order_without_an_answer_is_no_refusal():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    harness.host.late = {"a"}
    refused = []
    while not harness.host.pending:
        refused.append(harness.loop.iterate().refused)
        harness.clock.now += 1
    latest = harness.status_store.latest
    assert latest is not None
    assert ({*map(len, refused)}, latest.refusals) == ({0}, {})


def held_up(demand: int) -> LoopHarness:
    """A site whose order for `a`, of 1024 MiB, waits for its turn: a shrink where little is demanded, else a grow."""
    harness = LoopHarness("{mode: Enforce, spare: Reclaim, advanced: {shrink: {stabilizationSeconds: 0}}}")
    harness.host.add("a", actual=1024, demand=demand)
    harness.host.late = {"a"}
    for _ in range(60):
        harness.turn()
        if harness.host.pending:
            break
    assert (harness.host.pending["a"].grows, harness.host.applied) == (demand > 512, [])
    return harness


NO_LONGER = {
    "Observe": lambda harness: harness.source.set("{spare: Reclaim}"),
    "Pause": lambda harness: harness.source.set("{mode: Enforce}", "{mode: Pause}"),
    "opt-out": lambda harness: harness.host.change("a", wishes=Wishes(opt_out=True)),
    "observed by its owner": lambda harness: harness.host.change("a", wishes=Wishes(observe=True)),
    "no policy": lambda harness: harness.source.set(),
}


@pytest.mark.parametrize("demand", [200, 1000], ids=["shrink", "grow"])
@pytest.mark.parametrize("change", NO_LONGER)
def test_an_order_that_waits_is_taken_back_when_its_domain_is_no_longer_to_be_changed(change, demand):
    harness = held_up(demand)
    looks = len(harness.host.looks)
    NO_LONGER[change](harness)
    harness.host.withdrawn_at = None
    harness.loop.iterate()
    left = [action for action in harness.host.pending.values() if action.reason is not Reason.RELEASE_RESTORE]
    assert (left, harness.host.applied) == ([], [])
    assert harness.host.withdrawn_at == looks


def test_a_shrink_that_waits_is_taken_back_when_its_guest_comes_into_need():
    harness = held_up(demand=200)
    harness.host.demand["a"] = 1020 * MIB
    while not harness.status_store.latest.state.pressure.pressed[0]:
        assert not harness.host.pending["a"].grows
        harness.turn()
    assert [action for action in harness.host.pending.values() if not action.grows] == []


def test_a_guest_in_need_whose_shrink_was_taken_back_grows_at_once():
    harness = held_up(demand=200)
    harness.host.demand["a"] = 1020 * MIB
    while harness.host.pending:
        harness.turn()
    harness.host.late = set()
    harness.loop.iterate()
    assert [(action.key, action.grows) for action in harness.host.applied] == [("a", True)]


def test_an_order_that_waits_is_given_once_it_is_its_turn_while_nothing_changes():
    harness = held_up(demand=200)
    harness.turn()
    harness.host.take("a")
    harness.turn()
    assert [action.key for action in harness.host.applied] == ["a"]


def test_what_a_late_order_may_give_is_given_to_nobody_else():
    harness = LoopHarness("{mode: Enforce, spare: Reclaim, budget: {maximum: 1600Mi}}")
    for name in "ab":
        harness.host.add(name, actual=512, demand=505, maximum=4096)
    harness.host.late = {"a"}
    while not harness.host.pending:
        harness.turn()
    harness.turn(3)
    promised = harness.host.pending["a"].target
    assert promised + harness.host.actual["b"] <= 1600 * MIB


def test_domains_that_do_not_answer_are_asked_again_after_the_retry_time_not_at_once():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.host.connection = FakeConnection(connected=False, error="libvirtd went away")
    harness.loop.iterate()
    assert harness.loop.pause() == 1


def test_an_outage_of_libvirt_is_survived_and_the_guests_keep_what_they_have():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=1024, demand=256)
    harness.turn(3)
    sizes = dict(harness.host.actual)
    harness.host.connection = FakeConnection(connected=False, error="libvirtd went away")
    harness.turn(30)
    assert harness.host.actual == sizes
    assert harness.status_store.readiness().reasons == ("libvirtd went away",)
    harness.host.connection = FakeConnection()
    harness.turn()
    assert harness.status_store.readiness().ok


def test_the_loop_is_ready_when_connected_and_looked_not_before():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    assert harness.status_store.readiness().reasons == ("the loop has not run yet",)
    harness.host.connection = FakeConnection(connected=False, error="no socket")
    harness.loop.iterate()
    assert harness.status_store.readiness().reasons == ("no socket", "the first look is not done")
    harness.host.connection = FakeConnection()
    harness.loop.iterate()
    assert harness.status_store.readiness().ok


def test_a_node_whose_first_look_brings_no_answer_is_not_ready(monkeypatch):
    harness = LoopHarness(CALM)
    harness.host.add("a")
    with monkeypatch.context() as away:
        away.setattr(harness.host, "look", lambda _: Samples.empty())
        harness.loop.iterate()
    assert harness.status_store.readiness().reasons == ("the first look is not done",)
    harness.clock.wait(60, 60)
    harness.loop.iterate()
    assert harness.status_store.readiness().ok


def test_a_node_whose_domains_are_not_known_yet_has_not_been_looked_at():
    harness = LoopHarness(CALM)
    harness.host.connection = FakeConnection(connected=False, error="no socket")
    harness.loop.iterate()
    assert harness.status_store.readiness().reasons == ("no socket", "the first look is not done")


def test_a_node_that_has_nothing_to_connect_to_is_ready(monkeypatch):
    harness = LoopHarness(CALM)
    monkeypatch.setattr(harness.host, "status", lambda: ())
    harness.loop.iterate()
    assert harness.status_store.readiness().ok


def test_a_node_is_ready_while_one_of_its_connections_works(monkeypatch):
    harness = LoopHarness(CALM)
    harness.host.add("a")
    lost = FakeConnection("lxc:///", connected=False, error="no socket")
    monkeypatch.setattr(harness.host, "status", lambda: (FakeConnection(), lost))
    harness.loop.iterate()
    assert harness.status_store.readiness().ok


def test_a_node_without_domains_is_ready_too():
    harness = LoopHarness(CALM)
    harness.loop.iterate()
    assert harness.status_store.readiness().ok


def test_run_ends_when_stopped_puts_statistics_back_and_moves_nothing_more():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=1024, demand=256)
    turns = iter(range(3))

    def stop_after_the_third_turn() -> float | None:
        if next(turns) == 2:
            harness.clock.stopped = True
        return None

    harness.clock.interrupt = stop_after_the_third_turn
    harness.loop.run()
    sizes = dict(harness.host.actual)
    assert len(harness.clock.waits) == 3
    assert harness.host.restored == ["a"]
    assert harness.host.actual == sizes


def test_run_stopped_before_it_began_does_nothing():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.clock.stopped = True
    harness.loop.run()
    assert (harness.host.looks, harness.host.applied, harness.host.restored) == ([], [], [])


def test_being_woken_early_costs_a_step_but_no_look():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.clock.interrupt = lambda: 1.0
    for _ in range(5):
        harness.loop.iterate()
        harness.clock.wait(control.GAP_S, harness.loop.pause())
    assert harness.host.looks == [["a"]]
    assert harness.clock.waits == [(control.GAP_S, 5 - turn) for turn in range(5)]


def test_problems_of_policies_are_published():
    harness = LoopHarness(CALM)
    harness.source.problems = ("bad.yaml:1: not valid YAML",)
    harness.loop.iterate()
    assert harness.status_store.document()["problems"] == ["bad.yaml:1: not valid YAML"]


def test_an_outage_of_the_source_is_published_and_is_no_refusal():
    harness = LoopHarness(CALM)
    harness.source.outage = "MemoryPolicies: connection refused"
    harness.loop.iterate()
    document = harness.status_store.document()
    assert (document["outage"], document["problems"]) == ("MemoryPolicies: connection refused", [])


def test_wishes_that_cannot_be_understood_are_explained_on_the_domain_and_in_the_log(caplog):
    harness = LoopHarness(CALM)
    harness.host.add("a")
    (facts,) = harness.host.facts
    harness.host.facts = (replace(facts, wishes=Wishes(error="weight 'x': not a weight")),)
    harness.turn()
    assert (harness.domain("a")["reason"], harness.domain("a")["advice"]) == (
        "InvalidWishes",
        "weight 'x': not a weight",
    )
    assert "not valid: weight 'x': not a weight [InvalidWishes]" in caplog.text


def test_an_annotation_of_its_pod_that_cannot_be_understood_is_explained_on_the_domain():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    (facts,) = harness.host.facts
    harness.host.facts = (replace(facts, pod=Pod("u", "n", "p", annotations={"ballast.dev/mode": "off"})),)
    harness.turn()
    told = "ballast.dev/mode 'off': not what an owner can ask for; use Off or Observe; only a policy enforces"
    assert (harness.domain("a")["reason"], harness.domain("a")["advice"]) == ("InvalidWishes", told)


def test_policies_without_effect_are_published_with_their_conflicts(caplog):
    harness = LoopHarness("{priority: 1}", "{priority: 1}", CALM, "{domainSelector: {names: [nobody]}}")
    harness.host.add("a")
    harness.turn()
    document = harness.status_store.document()
    assert [policy["conflicted_domains"] for policy in document["policies"]] == [0, 1, 0, 0]
    assert [policy["overridden_domains"] for policy in document["policies"]] == [0, 0, 1, 0]
    assert [line.split(";")[0] for line in document["warnings"]] == [
        "MemoryPolicy p1 is Conflicted: MemoryPolicy p0 owns a (of the same priority, and older or first by name)",
        "MemoryPolicy p3 selects no domain of this node",
    ]
    assert [message.split(";")[0] for message in caplog.messages][:1] == [
        "MemoryPolicy p1 is Conflicted: MemoryPolicy p0 owns a (of the same priority, and older or first by name)"
    ]


def test_while_policies_are_awaited_nothing_is_said_of_them_and_it_is_not_ready(caplog):
    harness = LoopHarness()
    harness.host.add("a")
    harness.source.awaited = "the first list of MemoryPolicies"
    harness.turn()
    assert harness.status_store.readiness().reasons == ("waiting for the first list of MemoryPolicies",)
    assert "no MemoryPolicy is in force" not in caplog.text
    assert harness.host.applied == []
    assert harness.domain("a")["reason"] == "AwaitingPolicies"
    harness.source.awaited = ""
    harness.source.set(CALM)
    harness.turn()
    assert harness.status_store.readiness().ok
    assert harness.domain("a")["policy"] == "p0"


def test_a_domain_that_no_policy_selects_is_said_once_the_policies_are_known_and_not_before(caplog):
    caplog.set_level("INFO", "controller")
    harness = LoopHarness()
    harness.host.add("a")
    harness.source.awaited = "the first list of MemoryPolicies"
    harness.turn(3)
    assert caplog.messages == []
    assert harness.status_store.latest.decision_history.entries == {}
    harness.source.awaited = ""
    harness.source.set()
    harness.turn(3)
    assert [message for message in caplog.messages if "NoPolicy" in message] == [
        "a: no MemoryPolicy selects this domain [NoPolicy]"
    ]


def inherit(harness: LoopHarness, spec: str, *now: str) -> None:
    """An earlier run ended with this policy in force; these are in force now."""
    harness.source.set(spec)
    harness.source.inherited = harness.source.policies
    harness.source.set(*now)


def test_a_policy_deleted_while_nobody_ran_releases_what_it_acted_on_without_statistics():
    harness = LoopHarness()
    inherit(harness, "{mode: Enforce, domainSelector: {names: [a]}}")
    harness.source.awaited = "the first list of MemoryPolicies"
    for name in "ab":
        harness.host.silent.add(harness.host.add(name, actual=700))
    harness.turn(3)
    assert harness.host.applied == []
    harness.source.awaited = ""
    harness.source.set()
    harness.turn(3)
    assert [(action.name, action.target) for action in harness.host.applied] == [("a", 2048 * MIB)]
    assert harness.host.applied[0].reason is Reason.RELEASE_RESTORE
    assert (harness.host.ensured, harness.host.restored) == ({}, ["a"])


def test_what_an_earlier_run_left_is_asked_for_once_the_policies_are_known():
    harness = LoopHarness()
    harness.source.awaited = "the first list of MemoryPolicies"
    harness.host.add("a", actual=700)
    harness.turn()
    harness.source.awaited = ""
    inherit(harness, "{mode: Enforce}")
    harness.turn(3)
    assert [(action.name, action.reason) for action in harness.host.applied] == [("a", Reason.RELEASE_RESTORE)]


def test_domains_whose_libvirt_comes_later_are_released_too_but_not_those_that_were_started_since():
    harness = LoopHarness()
    inherit(harness, "{mode: Enforce}")
    harness.host.add("as it began", actual=700, started_at=harness.clock.wall())
    harness.turn()
    harness.host.add("a", actual=700)
    harness.turn(3)
    harness.host.add("b", actual=700)
    harness.host.add("c", actual=700, started_at=harness.clock.wall())
    harness.turn(3)
    assert [action.name for action in harness.host.applied] == ["a", "b"]
    assert harness.host.restored == ["a", "b"]


def test_a_domain_that_comes_as_another_loses_its_policy_keeps_that_one_from_nothing():
    harness = LoopHarness()
    inherit(harness, "{mode: Enforce}", "{mode: Enforce, spare: Reclaim}")
    harness.host.add("started since", actual=700, started_at=harness.clock.wall())
    harness.turn(3)
    harness.host.add("a", actual=700)
    harness.source.set()
    harness.turn(3)
    released = [action.name for action in harness.host.applied if action.reason is Reason.RELEASE_RESTORE]
    assert sorted(released) == ["a", "started since"]


def test_who_was_started_to_change_nothing_releases_nothing():
    harness = LoopHarness(observe=True)
    inherit(harness, "{mode: Enforce}")
    harness.host.add("a", actual=700)
    harness.turn(3)
    assert (harness.host.applied, harness.host.restored) == ([], [])


def test_a_domain_that_comes_later_changes_nothing_for_those_that_are_there():
    harness = LoopHarness()
    inherit(harness, "{mode: Enforce, domainSelector: {names: [b]}}", "{mode: Enforce, domainSelector: {names: [a]}}")
    for name in "ab":
        harness.host.add(name, actual=700)
        harness.turn(5)
    balloon = harness.loop._state.balloon
    assert np.isneginf(balloon.release_until).tolist() == [True, False]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("{mode: Enforce}", "{mode: Observe}"),
        ("{mode: Enforce, release: Keep}", None),
        ("{mode: Observe}", None),
    ],
)
def test_what_still_has_a_policy_or_was_to_keep_its_memory_is_not_released(before, now):
    harness = LoopHarness()
    inherit(harness, before, *filter(None, [now]))
    harness.host.add("a", actual=700)
    harness.turn(3)
    assert harness.host.applied == []
    assert harness.host.restored == (["a"] if "Enforce" in before else [])


def test_a_change_of_the_nodes_labels_counts_at_once():
    harness = LoopHarness("{nodeSelector: {matchLabels: {tier: gold}}}")
    harness.host.add("a")
    harness.turn()
    assert harness.domain("a")["policy"] is None
    harness.source.node = NodeIdentity("node", {"tier": "gold"})
    harness.source.version += 1
    harness.turn()
    assert harness.domain("a")["policy"] == "p0"


def test_the_metadata_of_the_policies_in_force_is_published():
    harness = LoopHarness(CALM)
    harness.loop.iterate()
    latest = harness.status_store.latest
    assert latest is not None
    assert latest.in_force == {"p0": Metadata(name="p0")}


def test_the_looks_a_fixed_interval_would_take_are_counted_for_each_domain():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.host.add("b")
    harness.turn(5)
    latest = harness.status_store.latest
    assert latest is not None
    counted = latest.state.polling.fixed_looks
    assert counted[0] == counted[1] > 0
    assert counted.sum() == pytest.approx(latest.state.totals.fixed_looks)


def test_a_look_leaves_no_line_in_the_log_and_an_action_leaves_one(caplog):
    caplog.set_level("DEBUG")
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=300, demand=256)
    harness.turn(20)
    assert caplog.messages == []
    harness.host.demand["a"] = 295 * MIB
    harness.turn(3)
    assert len(caplog.messages) == len(harness.host.applied) > 0


def test_what_happens_is_counted_for_the_metrics():
    harness = LoopHarness(ENFORCE)
    for name in ("grown", "refused"):
        harness.host.add(name, actual=512, demand=505)
    harness.host.refusing = {"refused": "device busy"}
    while not harness.loop.iterate().refused:
        harness.clock.now += 1
    counts = {
        (sample.name, sample.labels.get("call") or sample.labels.get("direction")): sample.value
        for family in harness.loop.loop_counters.collect()
        for sample in family.samples
        if sample.name.endswith(("_count", "moved_bytes_total", "orders_total"))
    }
    assert counts["ballast_step_duration_seconds_count", None] == len(harness.host.looks)
    assert counts["ballast_libvirt_call_duration_seconds_count", "look"] == len(harness.host.looks)
    assert counts["ballast_libvirt_call_duration_seconds_count", "order"] == 1
    assert (
        counts["ballast_moved_bytes_total", "grow"]
        == sum(each.target - each.before for each in harness.host.applied)
        > 0
    )
    assert counts["ballast_refused_orders_total", None] == 1


def test_a_turn_without_an_order_is_no_order():
    harness = LoopHarness(CALM)
    harness.host.add("a")
    harness.turn(3)
    calls = [
        sample.value
        for family in harness.loop.loop_counters.collect()
        for sample in family.samples
        if sample.name == "ballast_libvirt_call_duration_seconds_count" and sample.labels["call"] == "order"
    ]
    assert sum(calls) == 0


def told(harness: LoopHarness, name: str) -> dict[str, float]:
    """Sums of the series of this name that are not 0, by reason."""
    samples = [each for family in harness.loop.loop_counters.collect() for each in family.samples if each.name == name]
    return {each.labels["reason"]: each.value for each in samples if each.value}


def test_looks_that_move_nothing_are_counted_by_their_reason():
    harness = LoopHarness(CALM)
    harness.host.add("a", maximum=1024)
    harness.turn(20)
    skips = told(harness, "ballast_skips_total")
    assert sum(skips.values()) == len(harness.host.looks)
    assert skips[str(Reason.WITHIN_THRESHOLD)] > 0


def test_what_enforce_would_do_is_counted_and_said_under_observe(caplog):
    caplog.set_level("INFO", "controller")
    harness = LoopHarness("{mode: Observe}")
    harness.host.add("a", actual=512, demand=505)
    harness.turn(5)
    assert sum(told(harness, "ballast_proposals_total").values()) == 1
    (said,) = [message for message in caplog.messages if "would change" in message]
    assert said.startswith("a: would change 512 MiB -> ")


def test_decisions_and_charts_are_published():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    harness.turn(5)
    latest = harness.status_store.latest
    assert latest is not None
    assert len(latest.decision_history.entries["a"]) == len(harness.host.applied) > 0
    assert latest.time_series.of("a")[2, -1] > 0


@pytest.mark.parametrize(
    ("mode", "advice"),
    [
        ("Enforce", "is the guest's virtio_balloon driver loaded, and the guest alive?"),
        ("Observe", "Observe turns no statistics on; if they are off: virsh dommemstat a --period 5 --live"),
    ],
)
def test_what_can_be_done_about_a_silent_guest_is_logged(caplog, mode, advice):
    harness = LoopHarness(f"{{mode: {mode}}}")
    harness.host.silent.add(harness.host.add("a"))
    harness.turn(40)
    (said,) = [message for message in caplog.messages if "[NoStatistics]" in message]
    assert advice in said


def test_a_refusal_of_a_domain_that_was_away_is_said_again(caplog):
    harness = LoopHarness(ENFORCE)
    harness.host.refusing = {"a": "device busy"}
    for _ in range(2):
        harness.host.add("a", actual=512, demand=505)
        harness.turn(4)
        harness.host.remove("a")
        harness.turn()
    assert len([message for message in caplog.messages if "libvirt refused" in message]) == 2


def unreadable(monkeypatch, harness: LoopHarness, error: Exception) -> pytest.MonkeyPatch:
    def read():
        raise error

    monkeypatch.setattr(harness.host, "read", read)


@pytest.mark.parametrize("error", [MeminfoError("/proc/meminfo cannot be read"), OSError("too many open files")])
def test_a_hosts_memory_that_cannot_be_read_is_as_it_was_last_and_that_is_said_once(
    monkeypatch, caplog, snapshots, error
):
    caplog.set_level("INFO", "controller")
    harness = LoopHarness(ENFORCE)
    harness.host.add("a")
    harness.turn()
    with monkeypatch.context() as away:
        unreadable(away, harness, error)
        harness.turn(3)
    harness.turn()
    assert {snapshot.host for snapshot in snapshots} == {harness.host.read()}
    assert len(snapshots) == 5
    assert [message for message in caplog.messages if "read" in message] == [
        f"{error}; going on with what was read last",
        "the host's memory can be read again",
    ]


def test_nothing_is_decided_before_the_hosts_memory_is_known(monkeypatch, snapshots):
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    with monkeypatch.context() as away:
        unreadable(away, harness, MeminfoError("no field MemAvailable"))
        harness.turn(3)
    assert (snapshots, harness.host.applied) == ([], [])
    assert harness.status_store.health().ok
    harness.turn(3)
    assert harness.host.applied != []


def test_what_libvirt_said_is_why_a_domain_is_left_alone_after_a_refusal():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    harness.host.refusing = {"a": "cannot set memory higher than max memory"}
    harness.turn(4)
    domain = harness.domain("a")
    assert (domain["reason"], domain["advice"]) == ("Refused", "cannot set memory higher than max memory")


def test_what_libvirt_said_of_a_domain_is_forgotten_with_it():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    harness.host.refusing = {"a": "device busy"}
    harness.turn(4)
    harness.host.remove("a")
    harness.turn()
    latest = harness.status_store.latest
    assert latest is not None
    assert latest.refusals == {}


def test_a_late_refusal_is_told_too():
    harness = LoopHarness(ENFORCE)
    harness.host.add("a", actual=512, demand=505)
    harness.host.late = {"a"}
    harness.turn(2)
    harness.host.answers = {"a": (OrderResult.REFUSED, "device busy")}
    harness.turn()
    assert (harness.domain("a")["reason"], harness.domain("a")["advice"]) == ("Refused", "device busy")


@pytest.mark.parametrize(
    ("period", "until"),
    [(5, 1300), *(pytest.param(each, 1900, marks=pytest.mark.slow) for each in (5, 10, 15, 60, 300))],
)
def test_a_guest_that_reports_seldom_is_neither_looked_at_more_often_nor_taken_for_silent(period, until):
    looks = {}
    for seconds in (1, period):
        harness = LoopHarness("{mode: Observe}")
        harness.host.add("a", actual=1024, demand=600)
        harness.host.periods["a"] = seconds
        harness.host.facts = (replace(harness.host.facts[0], statistics_period=seconds),)
        while harness.clock.now < until:
            harness.turn()
            assert harness.domain("a")["reason"] in {"WarmingUp", "WithinThreshold", "SpareLent"}
        looks[seconds] = len(harness.host.looks)
    assert looks[period] <= looks[1]

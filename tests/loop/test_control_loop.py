"""The control loop on a node without libvirt, time or threads."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_site import MIB, FakeConnection, Site

from controller.api.policy import Metadata
from controller.api.wishes import Wishes
from controller.engine.inventory import Pod
from controller.engine.ownership import NodeIdentity
from controller.engine.reasons import Reason
from controller.engine.snapshot import Outcome, Result
from controller.host.look import Look
from controller.host.looker import LOOK_SECONDS
from controller.host.meminfo import MeminfoError
from controller.host.mover import MOVE_SECONDS
from controller.loop import control
from controller.observe.board import SILENCE_S

UNIT = Path(__file__).parents[2] / "manifests/systemd/ballast.service"

CALM = "{monitoring: {minimumIntervalSeconds: 5, maximumIntervalSeconds: 5}}"
ENFORCE = "{mode: Enforce, spare: Reclaim}"


def test_new_domains_are_looked_at_at_once_in_one_call():
    site = Site(CALM)
    site.host.add("a")
    site.host.add("b")
    site.loop.iterate()
    assert site.host.looks == [["a", "b"]]


def test_nobody_is_looked_at_before_the_look_is_due():
    site = Site(CALM)
    site.host.add("a")
    site.loop.iterate()
    site.clock.now += 4
    site.loop.iterate()
    site.clock.now += 1
    site.loop.iterate()
    assert site.host.looks == [["a"], ["a"]]


def test_waits_until_the_next_look_is_due():
    site = Site(CALM)
    site.host.add("a")
    site.loop.iterate()
    assert site.loop.pause() == 5


def test_a_node_without_domains_is_checked_at_every_heartbeat():
    site = Site(CALM)
    site.loop.iterate()
    assert site.host.looks == []
    assert site.loop.pause() == 10


def test_heartbeats_come_before_anybody_takes_the_loop_for_dead():
    turn = sum(LOOK_SECONDS) + MOVE_SECONDS
    (watchdog,) = re.findall(r"^WatchdogSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert 2 * (control.HEARTBEAT_S + turn) <= SILENCE_S
    assert int(watchdog) >= 2 * SILENCE_S


def test_a_loop_that_has_not_turned_yet_has_its_first_turn_soon():
    assert Site(CALM).loop.pause() == 1


def test_never_turns_faster_than_the_gap():
    site = Site(CALM)
    site.host.add("a")
    site.loop.iterate()
    site.clock.now += 4.95
    assert site.loop.pause() == 0.1


def test_a_domain_that_appears_is_looked_at_alone_and_at_once():
    site = Site(CALM)
    site.host.add("a")
    site.loop.iterate()
    site.host.add("b")
    site.loop.iterate()
    assert site.host.looks == [["a"], ["b"]]


def test_a_domain_that_vanished_is_asked_no_more():
    site = Site(CALM)
    site.host.add("a")
    site.host.add("b")
    site.turn()
    site.host.remove("a")
    site.turn()
    assert site.host.looks == [["a", "b"], ["b"]]
    assert [each["key"] for each in site.board.document()["domains"]] == ["b"]


def test_ownership_is_worked_out_only_when_facts_or_policies_change(monkeypatch):
    site = Site(CALM)
    site.host.add("a")
    built = []
    assign = control.assign
    monkeypatch.setattr(control, "assign", lambda *inputs, **options: built.append(1) or assign(*inputs, **options))
    site.turn(3)
    assert len(built) == 1
    site.source.set(ENFORCE)
    site.turn()
    assert len(built) == 2
    site.host.add("b")
    site.turn()
    assert len(built) == 3


def test_a_guest_that_needs_memory_gets_it_under_enforce():
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    site.turn(3)
    assert site.host.actual["a"] > 512 * MIB
    assert [action.grows for action in site.host.applied] == [True] * len(site.host.applied)
    assert site.domain("a")["last_action"]["to"] == site.host.actual["a"]


def test_observe_changes_nothing_at_all():
    site = Site("{mode: Observe}")
    site.host.add("a", actual=512, demand=505)
    site.turn(5)
    assert (site.host.applied, site.host.ensured, site.host.restored) == ([], {}, [])
    assert site.domain("a")["target"] > 512 * MIB


def test_a_pause_stops_what_is_enforced_with_the_next_turn_and_says_so(caplog):
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    site.turn(3)
    applied = list(site.host.applied)
    site.source.set(ENFORCE, "{mode: Pause}")
    site.host.add("b", actual=512, demand=505)
    site.turn(10)
    assert (site.host.applied, site.board.document()["node"]["paused"]) == (applied, True)
    assert [warning for warning in site.board.document()["warnings"] if "pauses this node" in warning] != []
    assert "nothing is enforced until it is deleted" in caplog.text
    site.source.set(ENFORCE)
    site.turn(10)
    assert (site.host.applied != applied, site.board.document()["node"]["paused"]) == (True, False)


def test_where_a_rollout_has_not_come_nothing_is_changed_and_the_domain_says_why(caplog):
    caplog.set_level("INFO")
    site = Site(ENFORCE.replace("{", "{rollout: {maximumNodes: 1}, ", 1))
    site.host.add("a", actual=512, demand=505)
    site.turn(5)
    assert (site.host.applied, site.host.ensured) == ([], {})
    domain = site.domain("a")
    assert (domain["mode"], domain["target"] > 512 * MIB) == ("Observe", True)
    assert domain["advice"].startswith("its policy's rollout does not name this node")
    assert "MemoryPolicy p0 says Enforce, and is only observed here" in caplog.text
    site.source.set(ENFORCE)
    site.turn(5)
    assert (site.host.applied != [], site.domain("a")["advice"]) == (True, "")


def test_a_ballast_started_to_observe_changes_nothing_and_says_which_policies_it_overrules():
    site = Site(ENFORCE, "{mode: Observe, domainSelector: {names: [z]}}", observe=True)
    site.host.add("a", actual=512, demand=505)
    site.turn(5)
    site.loop.release()
    assert (site.host.applied, site.host.ensured, site.host.restored) == ([], {}, [])
    assert (site.domain("a")["mode"], site.domain("a")["target"] > 512 * MIB) == ("Observe", True)
    overruled = [each for each in site.board.document()["warnings"] if "started to change nothing" in each]
    assert overruled == ["MemoryPolicy p0 says Enforce, and is only observed: Ballast was started to change nothing"]


def test_a_ballast_started_to_observe_says_nothing_of_policies_that_observe_anyhow():
    site = Site("{mode: Observe}", observe=True)
    site.host.add("a")
    site.turn()
    assert site.board.document()["warnings"] == []


def test_a_ballast_started_to_observe_releases_nothing_of_an_earlier_run():
    site = Site(observe=True)
    inherit(site, "{mode: Enforce}")
    site.host.add("a", actual=700)
    site.turn(3)
    assert (site.host.applied, site.host.ensured, site.host.restored) == ([], {}, [])


def test_statistics_are_asked_for_where_ballast_may_act_at_the_shortest_interval():
    site = Site("{mode: Enforce, monitoring: {minimumIntervalSeconds: 3}}")
    site.host.add("a")
    site.turn()
    assert site.host.ensured == {"a": 3}


def test_a_guest_that_may_be_looked_at_every_second_is_asked_for_statistics_as_often():
    site = Site("{mode: Enforce, monitoring: {minimumIntervalSeconds: 1}}")
    site.host.add("a")
    site.turn()
    assert site.host.ensured == {"a": 1}


def test_the_statistics_of_a_domain_that_cannot_be_moved_are_left_alone():
    site = Site(ENFORCE)
    site.host.add("a")
    site.host.facts = (replace(site.host.facts[0], obstacle=Reason.NO_BALLOON),)
    site.turn()
    assert site.host.ensured == {}


def test_a_domain_that_is_let_go_gets_its_statistics_period_back():
    site = Site(ENFORCE)
    site.host.add("a")
    site.turn()
    site.source.set("{mode: Observe}")
    site.turn(2)
    assert site.host.restored == ["a"]


def test_the_statistics_period_of_a_domain_that_is_gone_is_not_put_back():
    site = Site(ENFORCE)
    site.host.add("a")
    site.turn()
    site.host.remove("a")
    site.turn(2)
    assert site.host.restored == []


def test_a_statistics_period_is_put_back_once():
    site = Site(ENFORCE)
    site.host.add("a")
    site.turn()
    site.loop.release()
    site.loop.release()
    assert site.host.restored == ["a"]


def test_a_shrink_under_way_is_taken_back_at_the_end(caplog):
    site = Site(ENFORCE)
    site.host.add("a")
    site.host.stuck.add("a")
    while not site.host.applied:
        site.turn()
    site.clock.stopped = True
    with caplog.at_level("INFO"):
        site.loop.run()
    shrink, back = site.host.applied
    assert (shrink.target < 1024 * MIB, back.target, back.reason) == (True, 1024 * MIB, Reason.HANDED_OVER)
    assert Reason.HANDED_OVER.text in caplog.text


def test_a_guest_at_rest_is_left_alone_at_the_end():
    site = Site(ENFORCE)
    site.host.add("a")
    while not site.host.applied:
        site.turn()
    site.turn()
    site.loop.release()
    assert len(site.host.applied) == 1


def test_balloon_events_reach_the_engine_and_strangers_do_not(snapshots):
    site = Site(CALM)
    site.host.add("a")
    site.host.add("b")
    site.host.events = {"stranger": 1, "b": 700 * MIB}
    site.loop.iterate()
    events = snapshots[0].events
    assert events.rows.tolist() == [1]
    assert events.actual.tolist() == [700 * MIB]


def test_a_refusal_is_told_to_the_engine_once_and_by_the_domain_it_was_about(snapshots):
    site = Site(ENFORCE)
    site.host.add("a")
    site.host.add("b", actual=512, demand=505)
    site.host.refusing = {"b": "device busy"}
    while not (outcome := site.loop.iterate()).refused:
        site.clock.now += 1
    assert outcome.refused == {"b": "device busy"}
    site.host.remove("a")
    site.loop.iterate()
    assert snapshots[-1].outcomes == (Outcome(0, Result.REFUSED, "device busy"),)
    site.loop.iterate()
    assert snapshots[-1].outcomes == ()
    assert site.host.applied == []


def test_a_late_answer_reaches_the_engine(snapshots):
    site = Site(ENFORCE)
    site.host.add("a")
    site.host.answers = {"a": (Result.REFUSED, "device busy"), "stranger": (Result.DONE, "")}
    site.loop.iterate()
    assert snapshots[-1].outcomes == (Outcome(0, Result.REFUSED, "device busy"),)


def test_an_order_that_is_taken_late_is_ours_and_nothing_is_given_twice():
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    site.host.late = {"a"}
    while not site.host.pending:
        site.turn()
    site.turn(3)
    site.host.take("a")
    site.turn(2)
    assert [action.key for action in site.host.applied] == ["a"]
    assert site.domain("a")["allocation"] == site.host.actual["a"] > 512 * MIB
    assert site.domain("a")["reason"] not in {"OutsideChange", "Refused"}


def test_an_order_without_an_answer_is_no_refusal():
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    site.host.late = {"a"}
    refused = []
    while not site.host.pending:
        refused.append(site.loop.iterate().refused)
        site.clock.now += 1
    latest = site.board.latest
    assert latest is not None
    assert ({*map(len, refused)}, latest.refusals) == ({0}, {})


def held_up(demand: int) -> Site:
    """A site whose order for `a`, of 1024 MiB, waits for its turn: a shrink where little is demanded, else a grow."""
    site = Site("{mode: Enforce, spare: Reclaim, shrink: {stabilizationSeconds: 0}}")
    site.host.add("a", actual=1024, demand=demand)
    site.host.late = {"a"}
    for _ in range(60):
        site.turn()
        if site.host.pending:
            break
    assert (site.host.pending["a"].grows, site.host.applied) == (demand > 512, [])
    return site


NO_LONGER = {
    "Observe": lambda site: site.source.set("{spare: Reclaim}"),
    "Pause": lambda site: site.source.set("{mode: Enforce}", "{mode: Pause}"),
    "opt-out": lambda site: site.host.change("a", wishes=Wishes(opt_out=True)),
    "observed by its owner": lambda site: site.host.change("a", wishes=Wishes(observe=True)),
    "no policy": lambda site: site.source.set(),
}


@pytest.mark.parametrize("demand", [200, 1000], ids=["shrink", "grow"])
@pytest.mark.parametrize("change", NO_LONGER)
def test_an_order_that_waits_is_taken_back_when_its_domain_is_no_longer_to_be_changed(change, demand):
    site = held_up(demand)
    looks = len(site.host.looks)
    NO_LONGER[change](site)
    site.host.withdrawn_at = None
    site.loop.iterate()
    left = [action for action in site.host.pending.values() if action.reason is not Reason.RELEASE_RESTORE]
    assert (left, site.host.applied) == ([], [])
    assert site.host.withdrawn_at == looks


def test_a_shrink_that_waits_is_taken_back_when_its_guest_comes_into_need():
    site = held_up(demand=200)
    site.host.demand["a"] = 1020 * MIB
    while not site.board.latest.state.pressure.pressed[0]:
        assert not site.host.pending["a"].grows
        site.turn()
    assert [action for action in site.host.pending.values() if not action.grows] == []


def test_a_guest_in_need_whose_shrink_was_taken_back_grows_at_once():
    site = held_up(demand=200)
    site.host.demand["a"] = 1020 * MIB
    while site.host.pending:
        site.turn()
    site.host.late = set()
    site.loop.iterate()
    assert [(action.key, action.grows) for action in site.host.applied] == [("a", True)]


def test_an_order_that_waits_is_given_once_it_is_its_turn_while_nothing_changes():
    site = held_up(demand=200)
    site.turn()
    site.host.take("a")
    site.turn()
    assert [action.key for action in site.host.applied] == ["a"]


def test_what_a_late_order_may_give_is_given_to_nobody_else():
    site = Site("{mode: Enforce, spare: Reclaim, budget: {maximum: 1600Mi}}")
    for name in "ab":
        site.host.add(name, actual=512, demand=505, maximum=4096)
    site.host.late = {"a"}
    while not site.host.pending:
        site.turn()
    site.turn(3)
    promised = site.host.pending["a"].target
    assert promised + site.host.actual["b"] <= 1600 * MIB


def test_domains_that_do_not_answer_are_asked_again_after_the_retry_time_not_at_once():
    site = Site(CALM)
    site.host.add("a")
    site.host.connection = FakeConnection(connected=False, error="libvirtd went away")
    site.loop.iterate()
    assert site.loop.pause() == 1


def test_an_outage_of_libvirt_is_survived_and_the_guests_keep_what_they_have():
    site = Site(ENFORCE)
    site.host.add("a", actual=1024, demand=256)
    site.turn(3)
    sizes = dict(site.host.actual)
    site.host.connection = FakeConnection(connected=False, error="libvirtd went away")
    site.turn(30)
    assert site.host.actual == sizes
    assert site.board.readiness().reasons == ("libvirtd went away",)
    site.host.connection = FakeConnection()
    site.turn()
    assert site.board.readiness().ok


def test_the_loop_is_ready_when_connected_and_looked_not_before():
    site = Site(CALM)
    site.host.add("a")
    assert site.board.readiness().reasons == ("the loop has not run yet",)
    site.host.connection = FakeConnection(connected=False, error="no socket")
    site.loop.iterate()
    assert site.board.readiness().reasons == ("no socket", "the first look is not done")
    site.host.connection = FakeConnection()
    site.loop.iterate()
    assert site.board.readiness().ok


def test_a_node_whose_first_look_brings_no_answer_is_not_ready(monkeypatch):
    site = Site(CALM)
    site.host.add("a")
    with monkeypatch.context() as away:
        away.setattr(site.host, "look", lambda _: Look())
        site.loop.iterate()
    assert site.board.readiness().reasons == ("the first look is not done",)
    site.clock.wait(60, 60)
    site.loop.iterate()
    assert site.board.readiness().ok


def test_a_node_whose_domains_are_not_known_yet_has_not_been_looked_at():
    site = Site(CALM)
    site.host.connection = FakeConnection(connected=False, error="no socket")
    site.loop.iterate()
    assert site.board.readiness().reasons == ("no socket", "the first look is not done")


def test_a_node_that_has_nothing_to_connect_to_is_ready(monkeypatch):
    site = Site(CALM)
    monkeypatch.setattr(site.host, "status", lambda: ())
    site.loop.iterate()
    assert site.board.readiness().ok


def test_a_node_is_ready_while_one_of_its_connections_works(monkeypatch):
    site = Site(CALM)
    site.host.add("a")
    lost = FakeConnection("lxc:///", connected=False, error="no socket")
    monkeypatch.setattr(site.host, "status", lambda: (FakeConnection(), lost))
    site.loop.iterate()
    assert site.board.readiness().ok


def test_a_node_without_domains_is_ready_too():
    site = Site(CALM)
    site.loop.iterate()
    assert site.board.readiness().ok


def test_run_ends_when_stopped_puts_statistics_back_and_moves_nothing_more():
    site = Site(ENFORCE)
    site.host.add("a", actual=1024, demand=256)
    turns = iter(range(3))

    def stop_after_the_third_turn() -> float | None:
        if next(turns) == 2:
            site.clock.stopped = True
        return None

    site.clock.interrupt = stop_after_the_third_turn
    site.loop.run()
    sizes = dict(site.host.actual)
    assert len(site.clock.waits) == 3
    assert site.host.restored == ["a"]
    assert site.host.actual == sizes


def test_run_stopped_before_it_began_does_nothing():
    site = Site(ENFORCE)
    site.host.add("a")
    site.clock.stopped = True
    site.loop.run()
    assert (site.host.looks, site.host.applied, site.host.restored) == ([], [], [])


def test_being_woken_early_costs_a_step_but_no_look():
    site = Site(CALM)
    site.host.add("a")
    site.clock.interrupt = lambda: 1.0
    for _ in range(5):
        site.loop.iterate()
        site.clock.wait(control.GAP_S, site.loop.pause())
    assert site.host.looks == [["a"]]
    assert site.clock.waits == [(control.GAP_S, 5 - turn) for turn in range(5)]


def test_problems_of_policies_are_published():
    site = Site(CALM)
    site.source.problems = ("bad.yaml:1: not valid YAML",)
    site.loop.iterate()
    assert site.board.document()["problems"] == ["bad.yaml:1: not valid YAML"]


def test_an_outage_of_the_source_is_published_and_is_no_refusal():
    site = Site(CALM)
    site.source.outage = "MemoryPolicies: connection refused"
    site.loop.iterate()
    document = site.board.document()
    assert (document["outage"], document["problems"]) == ("MemoryPolicies: connection refused", [])


def test_wishes_that_cannot_be_understood_are_explained_on_the_domain_and_in_the_log(caplog):
    site = Site(CALM)
    site.host.add("a")
    (facts,) = site.host.facts
    site.host.facts = (replace(facts, wishes=Wishes(error="weight 'x': not a weight")),)
    site.turn()
    assert (site.domain("a")["reason"], site.domain("a")["advice"]) == ("InvalidWishes", "weight 'x': not a weight")
    assert "not valid: weight 'x': not a weight [InvalidWishes]" in caplog.text


def test_an_annotation_of_its_pod_that_cannot_be_understood_is_explained_on_the_domain():
    site = Site(CALM)
    site.host.add("a")
    (facts,) = site.host.facts
    site.host.facts = (replace(facts, pod=Pod("u", "n", "p", annotations={"ballast.dev/mode": "off"})),)
    site.turn()
    told = "ballast.dev/mode 'off': not what an owner can ask for; use Off or Observe; only a policy enforces"
    assert (site.domain("a")["reason"], site.domain("a")["advice"]) == ("InvalidWishes", told)


def test_policies_without_effect_are_published_with_their_conflicts(caplog):
    site = Site("{priority: 1}", "{priority: 1}", CALM, "{domainSelector: {names: [nobody]}}")
    site.host.add("a")
    site.turn()
    document = site.board.document()
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
    site = Site()
    site.host.add("a")
    site.source.awaited = "the first list of MemoryPolicies"
    site.turn()
    assert site.board.readiness().reasons == ("waiting for the first list of MemoryPolicies",)
    assert "no MemoryPolicy is in force" not in caplog.text
    assert site.host.applied == []
    assert site.domain("a")["reason"] == "AwaitingPolicies"
    site.source.awaited = ""
    site.source.set(CALM)
    site.turn()
    assert site.board.readiness().ok
    assert site.domain("a")["policy"] == "p0"


def test_a_domain_that_no_policy_selects_is_said_once_the_policies_are_known_and_not_before(caplog):
    caplog.set_level("INFO", "controller")
    site = Site()
    site.host.add("a")
    site.source.awaited = "the first list of MemoryPolicies"
    site.turn(3)
    assert caplog.messages == []
    assert site.board.latest.chronicle.entries == {}
    site.source.awaited = ""
    site.source.set()
    site.turn(3)
    assert [message for message in caplog.messages if "NoPolicy" in message] == [
        "a: no MemoryPolicy selects this domain [NoPolicy]"
    ]


def inherit(site: Site, spec: str, *now: str) -> None:
    """An earlier run ended with this policy in force; these are in force now."""
    site.source.set(spec)
    site.source.inherited = site.source.policies
    site.source.set(*now)


def test_a_policy_deleted_while_nobody_ran_releases_what_it_acted_on_without_statistics():
    site = Site()
    inherit(site, "{mode: Enforce, domainSelector: {names: [a]}}")
    site.source.awaited = "the first list of MemoryPolicies"
    for name in "ab":
        site.host.silent.add(site.host.add(name, actual=700))
    site.turn()
    assert site.host.applied == []
    site.source.awaited = ""
    site.source.set()
    site.turn(3)
    assert [(action.name, action.target) for action in site.host.applied] == [("a", 2048 * MIB)]
    assert site.host.applied[0].reason is Reason.RELEASE_RESTORE
    assert (site.host.ensured, site.host.restored) == ({}, ["a"])


def test_what_an_earlier_run_left_is_asked_for_once_the_policies_are_known():
    site = Site()
    site.source.awaited = "the first list of MemoryPolicies"
    site.host.add("a", actual=700)
    site.turn()
    site.source.awaited = ""
    inherit(site, "{mode: Enforce}")
    site.turn(3)
    assert [(action.name, action.reason) for action in site.host.applied] == [("a", Reason.RELEASE_RESTORE)]


def test_domains_whose_libvirt_comes_later_are_released_too_but_not_those_that_were_started_since():
    site = Site()
    inherit(site, "{mode: Enforce}")
    site.turn()
    site.host.add("a", actual=700)
    site.turn(3)
    site.host.add("b", actual=700)
    site.host.add("c", actual=700, started_at=site.clock.wall())
    site.turn(3)
    assert [action.name for action in site.host.applied] == ["a", "b"]
    assert site.host.restored == ["a", "b"]


def test_a_domain_that_comes_later_changes_nothing_for_those_that_are_there():
    site = Site()
    inherit(site, "{mode: Enforce, domainSelector: {names: [b]}}", "{mode: Enforce, domainSelector: {names: [a]}}")
    for name in "ab":
        site.host.add(name, actual=700)
        site.turn(5)
    balloon = site.loop._state.balloon
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
    site = Site()
    inherit(site, before, *filter(None, [now]))
    site.host.add("a", actual=700)
    site.turn(3)
    assert site.host.applied == []
    assert site.host.restored == (["a"] if "Enforce" in before else [])


def test_a_change_of_the_nodes_labels_counts_at_once():
    site = Site("{nodeSelector: {matchLabels: {tier: gold}}}")
    site.host.add("a")
    site.turn()
    assert site.domain("a")["policy"] is None
    site.source.node = NodeIdentity("node", {"tier": "gold"})
    site.source.version += 1
    site.turn()
    assert site.domain("a")["policy"] == "p0"


def test_the_metadata_of_the_policies_in_force_is_published():
    site = Site(CALM)
    site.loop.iterate()
    latest = site.board.latest
    assert latest is not None
    assert latest.in_force == {"p0": Metadata(name="p0")}


def test_the_looks_a_fixed_interval_would_take_are_counted_for_each_domain():
    site = Site(CALM)
    site.host.add("a")
    site.host.add("b")
    site.turn(5)
    latest = site.board.latest
    assert latest is not None
    counted = latest.state.polling.fixed_looks
    assert counted[0] == counted[1] > 0
    assert counted.sum() == pytest.approx(latest.state.totals.fixed_looks)


def test_a_look_leaves_no_line_in_the_log_and_an_action_leaves_one(caplog):
    caplog.set_level("DEBUG")
    site = Site(ENFORCE)
    site.host.add("a", actual=300, demand=256)
    site.turn(20)
    assert caplog.messages == []
    site.host.demand["a"] = 295 * MIB
    site.turn(3)
    assert len(caplog.messages) == len(site.host.applied) > 0


def test_what_happens_is_counted_for_the_metrics():
    site = Site(ENFORCE)
    for name in ("grown", "refused"):
        site.host.add(name, actual=512, demand=505)
    site.host.refusing = {"refused": "device busy"}
    while not site.loop.iterate().refused:
        site.clock.now += 1
    counts = {
        (sample.name, sample.labels.get("call") or sample.labels.get("direction")): sample.value
        for family in site.loop.tally.collect()
        for sample in family.samples
        if sample.name.endswith(("_count", "moved_bytes_total", "orders_total"))
    }
    assert counts["ballast_step_duration_seconds_count", None] == len(site.host.looks)
    assert counts["ballast_libvirt_call_duration_seconds_count", "look"] == len(site.host.looks)
    assert counts["ballast_libvirt_call_duration_seconds_count", "order"] == 1
    assert (
        counts["ballast_moved_bytes_total", "grow"] == sum(each.target - each.before for each in site.host.applied) > 0
    )
    assert counts["ballast_refused_orders_total", None] == 1


def test_a_turn_without_an_order_is_no_order():
    site = Site(CALM)
    site.host.add("a")
    site.turn(3)
    calls = [
        sample.value
        for family in site.loop.tally.collect()
        for sample in family.samples
        if sample.name == "ballast_libvirt_call_duration_seconds_count" and sample.labels["call"] == "order"
    ]
    assert sum(calls) == 0


def told(site: Site, name: str) -> dict[str, float]:
    """Sums of the series of this name that are not 0, by reason."""
    samples = [each for family in site.loop.tally.collect() for each in family.samples if each.name == name]
    return {each.labels["reason"]: each.value for each in samples if each.value}


def test_looks_that_move_nothing_are_counted_by_their_reason():
    site = Site(CALM)
    site.host.add("a")
    site.turn(20)
    skips = told(site, "ballast_skips_total")
    assert sum(skips.values()) == len(site.host.looks)
    assert skips[str(Reason.WITHIN_THRESHOLD)] > 0


def test_what_enforce_would_do_is_counted_and_said_under_observe(caplog):
    caplog.set_level("INFO", "controller")
    site = Site("{mode: Observe}")
    site.host.add("a", actual=512, demand=505)
    site.turn(5)
    assert sum(told(site, "ballast_proposals_total").values()) == 1
    (said,) = [message for message in caplog.messages if "would change" in message]
    assert said.startswith("a: would change 512 MiB -> ")


def test_decisions_and_charts_are_published():
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    site.turn(5)
    latest = site.board.latest
    assert latest is not None
    assert len(latest.chronicle.entries["a"]) == len(site.host.applied) > 0
    assert latest.trail.of("a")[2, -1] > 0


@pytest.mark.parametrize(
    ("mode", "advice"),
    [
        ("Enforce", "is the guest's virtio_balloon driver loaded, and the guest alive?"),
        ("Observe", "Observe turns no statistics on; if they are off: virsh dommemstat a --period 5 --live"),
    ],
)
def test_what_can_be_done_about_a_silent_guest_is_logged(caplog, mode, advice):
    site = Site(f"{{mode: {mode}}}")
    site.host.silent.add(site.host.add("a"))
    site.turn(40)
    (said,) = [message for message in caplog.messages if "[NoStatistics]" in message]
    assert advice in said


def test_a_refusal_of_a_domain_that_was_away_is_said_again(caplog):
    site = Site(ENFORCE)
    site.host.refusing = {"a": "device busy"}
    for _ in range(2):
        site.host.add("a", actual=512, demand=505)
        site.turn(4)
        site.host.remove("a")
        site.turn()
    assert len([message for message in caplog.messages if "libvirt refused" in message]) == 2


def unreadable(monkeypatch, site: Site, error: Exception) -> pytest.MonkeyPatch:
    def read():
        raise error

    monkeypatch.setattr(site.host, "read", read)


@pytest.mark.parametrize("error", [MeminfoError("/proc/meminfo cannot be read"), OSError("too many open files")])
def test_a_hosts_memory_that_cannot_be_read_is_as_it_was_last_and_that_is_said_once(
    monkeypatch, caplog, snapshots, error
):
    caplog.set_level("INFO", "controller")
    site = Site(ENFORCE)
    site.host.add("a")
    site.turn()
    with monkeypatch.context() as away:
        unreadable(away, site, error)
        site.turn(3)
    site.turn()
    assert {snapshot.host for snapshot in snapshots} == {site.host.read()}
    assert len(snapshots) == 5
    assert [message for message in caplog.messages if "read" in message] == [
        f"{error}; going on with what was read last",
        "the host's memory can be read again",
    ]


def test_nothing_is_decided_before_the_hosts_memory_is_known(monkeypatch, snapshots):
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    with monkeypatch.context() as away:
        unreadable(away, site, MeminfoError("no field MemAvailable"))
        site.turn(3)
    assert (snapshots, site.host.applied) == ([], [])
    assert site.board.health().ok
    site.turn(3)
    assert site.host.applied != []


def test_what_libvirt_said_is_why_a_domain_is_left_alone_after_a_refusal():
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    site.host.refusing = {"a": "cannot set memory higher than max memory"}
    site.turn(4)
    domain = site.domain("a")
    assert (domain["reason"], domain["advice"]) == ("Refused", "cannot set memory higher than max memory")


def test_what_libvirt_said_of_a_domain_is_forgotten_with_it():
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    site.host.refusing = {"a": "device busy"}
    site.turn(4)
    site.host.remove("a")
    site.turn()
    latest = site.board.latest
    assert latest is not None
    assert latest.refusals == {}


def test_a_late_refusal_is_told_too():
    site = Site(ENFORCE)
    site.host.add("a", actual=512, demand=505)
    site.host.late = {"a"}
    site.turn(2)
    site.host.answers = {"a": (Result.REFUSED, "device busy")}
    site.turn()
    assert (site.domain("a")["reason"], site.domain("a")["advice"]) == ("Refused", "device busy")


@pytest.mark.parametrize("period", [5, *(pytest.param(each, marks=pytest.mark.slow) for each in (10, 15, 60)), 300])
def test_a_guest_that_reports_seldom_is_neither_looked_at_more_often_nor_taken_for_silent(period):
    looks = {}
    for seconds in (1, period):
        site = Site("{mode: Observe}")
        site.host.add("a", actual=1024, demand=600)
        site.host.periods["a"] = seconds
        site.host.facts = (replace(site.host.facts[0], statistics_period=seconds),)
        while site.clock.now < 1000 + 900:
            site.turn()
            assert site.domain("a")["reason"] in {"WarmingUp", "WithinThreshold", "SpareLent"}
        looks[seconds] = len(site.host.looks)
    assert looks[period] <= looks[1]

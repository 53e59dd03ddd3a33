"""What a node reports, how large it may be, and when it is written."""

import copy
import json
import random
import uuid
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from fake_api import AWAY, FakeApi

from controller.api.nodestate import NodeMemoryState
from controller.api.policy import MemoryPolicy, Metadata
from controller.api.printable import SHOWN_NAME
from controller.cluster import reporter
from controller.cluster.errors import ApiError
from controller.cluster.findings import HOST_PRESSURE, NOTE_BYTES, Finding, findings
from controller.cluster.nodeevents import QUIET_S, REPEAT_S, NodeEvents
from controller.cluster.report import MAXIMUM_SIZE, Context, report, settled, urgent
from controller.cluster.reporter import (
    GAP_S,
    HERD_S,
    REFRESH_S,
    SETTLED_S,
    SHORT_LABEL,
    STANDS_S,
    URGENT_S,
    Reporter,
    ReportInput,
)
from controller.cluster.resources import NODE_MEMORY_STATES
from controller.cluster.retry import FIRST_S
from controller.engine.decision import Figures
from controller.engine.guest_pressure import PressureLevel
from controller.engine.host import HostState
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.snapshot import HostReading
from controller.engine.state import State
from controller.engine.step import align
from controller.observe.machinenotes import MachineNote

MIB = 2**20
WANTED = Figures._fields.index("wanted")
AT = "2026-01-31T12:00:00Z"


def policy(name: str, glob: str, **spec: Any) -> MemoryPolicy:
    head = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": name}}
    return MemoryPolicy.model_validate(head | {"spec": spec | {"domainSelector": {"names": [glob]}}})


def facts(name: str, number: int, obstacle: Reason = Reason.NONE) -> DomainFacts:
    uuid = f"00000000-0000-0000-0000-{number:012d}"
    return DomainFacts(uuid, uuid, name, 1, maximum=1024 * MIB, definition=1024 * MIB, obstacle=obstacle)


def state(names: list[str], policies: list[MemoryPolicy]) -> State:
    """Every domain has 512 MiB, needs 256, is stable and well."""
    domains = [facts(name, number) for number, name in enumerate(names)]
    made = align(State.initial(), assign(domains, policies, NodeIdentity("here")).inventory, 0.0)
    made = replace(made, host=HostState(HostReading(8192 * MIB, 4096 * MIB), budget=7000.0 * MIB))
    made.observation.allocation[:] = 512 * MIB
    made.observation.demand[:] = 256 * MIB
    made.polling.stable[:] = True
    made.reason[:] = Reason.WITHIN_THRESHOLD
    return made


def unmet(seen: State, *rows: int) -> State:
    """All minimums are more than the budget, and the domains of these rows have less than theirs of 512 MiB."""
    seen.inventory.minimum[:] = 512 * MIB
    seen.observation.allocation[list(rows)] = 500 * MIB
    return seen.having(minimums_fit=False)


def context(seen: State, conflicted: dict[str, int] | None = None, **generations: int) -> Context:
    """Of the state's policies, each of generation 1 if none is given."""
    in_force = {name: metadata(name, generations.get(name, 1)) for name in seen.inventory.policies}
    return Context("here", "node-uid", in_force, conflicted or {}, {"db": 2})


def metadata(name: str, generation: int, uid: str = "") -> Metadata:
    return Metadata(name=name, uid=uid or f"uid-{name}"[:36], generation=generation)


def condition(kind: str, status: str, reason: str, message: str, since: str = AT) -> dict[str, str]:
    return {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}


def test_the_whole_report():
    seen = state(["a", "b", "db"], [policy("web", "[ab]", mode="Enforce"), policy("db", "db")])
    seen.observation.demand[1] = 600 * MIB
    seen.reason[1] = Reason.STUCK
    seen.polling.stable[1] = False
    seen.polling.looks[:] = [10, 20, 3]
    seen.polling.fixed_looks[:] = [100.2, 30.1, 2.0]
    seen.balloon.reallocations[:] = [1, 2, 0]
    web = {
        "name": "web",
        "uid": "uid-web",
        "observedGeneration": 7,
        "mode": "Enforce",
        "domains": 2,
        "stableDomains": 1,
        "conflictedDomains": 1,
        "overriddenDomains": 0,
        "stuckDomains": 1,
        "unmetDomains": 0,
        "reallocations": 3,
        "looks": 30,
        "looksSaved": 100,
        "shortfall": "88Mi",
    }
    db = dict.fromkeys(web, 0) | {
        "name": "db",
        "uid": "uid-db",
        "observedGeneration": 1,
        "mode": "Observe",
        "shortfall": "0Mi",
    }
    db |= {"domains": 1, "overriddenDomains": 2, "stableDomains": 1, "looks": 3}
    stuck = {"name": "b", "uuid": seen.inventory.uuids[1], "reason": "Stuck"}
    assert report(seen, context(seen, {"web": 1}, web=7), AT) == {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "NodeMemoryState",
        "metadata": {
            "name": "here",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "here", "uid": "node-uid"}],
        },
        "status": {
            "observedTime": AT,
            "conditions": [
                condition("HostMemoryPressure", "False", "AsExpected", ""),
                condition("GuestMemoryShort", "False", "AsExpected", ""),
                condition("Paused", "False", "AsExpected", ""),
            ],
            "memory": {
                "total": "8192Mi",
                "reserve": "512Mi",
                "budget": "7000Mi",
                "allocated": "1536Mi",
                "demand": "1112Mi",
                "short": "0Mi",
                "reclaimable": "0Mi",
            },
            "domains": 3,
            "stableDomains": 2,
            "policies": [web, db],
            "briefPolicies": {},
            "policiesLeftOut": 0,
            "policyCount": 2,
            "worstDomains": [stuck | {"shortfall": "88Mi", "allocation": "512Mi"}],
        },
    }


def test_conditions_say_what_is_so_and_what_to_do():
    seen = state(["a"], [])
    seen = seen.having(host=replace(seen.host, reading=replace(seen.host.reading, pressure=True)))
    told = report(seen, context(seen)._replace(short="need more" * 100, paused="stop pauses"), AT)["status"][
        "conditions"
    ]
    assert told == [
        condition("HostMemoryPressure", "True", "HostStalls", HOST_PRESSURE),
        condition("GuestMemoryShort", "True", "DemandAboveBudget", ("need more" * 100)[:317] + "…"),
        condition("Paused", "True", "PolicyOfModePause", "stop pauses"),
    ]


def test_domains_that_no_policy_owns_are_nobodys_trouble():
    seen = state(["a"], [])
    seen.reason[:] = Reason.NO_STATISTICS
    assert report(seen, context(seen), AT)["status"]["worstDomains"] == []


def test_what_is_not_known_yet_is_reported_as_nothing():
    seen = state(["a"], [policy("all", "*")])
    seen.observation.allocation[:] = np.nan
    seen.observation.demand[:] = np.nan
    status = report(seen, context(seen), AT)["status"]
    assert status["memory"]["allocated"] == "0Mi"
    assert status["policies"][0]["shortfall"] == "0Mi"


@pytest.mark.parametrize("domains", [0, 1, 10, 1000])
@pytest.mark.parametrize("policies", [0, 1, 10, 100])
def test_a_report_fits_whatever_there_is(domains, policies):
    names = [f"{number}-{'ü' * 200}" for number in range(domains)]
    seen = state(names, [policy(f"{number}-{'x' * 200}", f"{number}-*") for number in range(policies)])
    seen.reason[:] = Reason.STUCK
    told = report(seen, context(seen), AT)
    assert len(json.dumps(told).encode()) <= 2 * MAXIMUM_SIZE
    assert len(json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()) <= MAXIMUM_SIZE
    status = NodeMemoryState.model_validate(told).status
    told = len(status.policies) + len(status.brief_policies)
    assert told + status.policies_left_out == status.policy_count == policies
    assert status.domains == domains


def crowded(policies: int) -> tuple[State, Context]:
    """A node with so many policies of a domain each, the last of which is stuck; UIDs as the API server gives them."""
    names = [f"{number}-domain" for number in range(policies)]
    seen = state(names, [policy(f"{number}-{'x' * 20}", f"{number}-*") for number in range(policies)])
    seen.reason[-1] = Reason.STUCK
    in_force = {
        name: metadata(name, number + 1, str(uuid.UUID(int=number << 88, version=4)))
        for number, name in enumerate(seen.inventory.policies)
    }
    return seen, Context("here", "node-uid", in_force, {}, dict.fromkeys(in_force, 3))


def test_a_report_fits_however_much_room_its_other_parts_leave():
    seen, about = crowded(6)
    seen.reason[:] = Reason.STUCK
    for length in range(0, 320, 4):  # the room for one more policy comes and goes
        told = report(seen, about._replace(short="x" * length), AT)
        assert len(json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()) <= MAXIMUM_SIZE


def test_of_policies_for_which_there_is_no_room_generation_and_domains_are_told_in_brief():
    seen, about = crowded(60)
    status = report(seen, about, AT)["status"]
    assert status["policies"][0]["name"].startswith("59-")
    assert (status["policyCount"], status["policiesLeftOut"], status["worstDomains"]) == (60, 0, [])
    full = {each["uid"][:13] for each in status["policies"]}
    assert len(full) > 1
    brief = {each.uid[:13]: [each.generation, 1, 1, 0, 3] for each in about.in_force.values()}
    assert status["briefPolicies"] == {key: value for key, value in brief.items() if key not in full}
    assert len(full) + len(status["briefPolicies"]) == 60


def test_policies_stand_in_the_order_in_which_a_person_should_look_at_them():
    seen = state(list("abcde"), [policy(f"p{name}", name) for name in "abcde"])
    seen.reason[3] = Reason.STUCK
    seen = unmet(seen, 4)
    seen.observation.demand[2] = 600 * MIB
    about = context(seen, {"pb": 1})
    names = [each["name"] for each in report(seen, about, AT)["status"]["policies"]]
    assert names == ["pd", "pe", "pc", "pb", "pa"]


def test_a_report_counts_bytes_and_not_how_json_could_spell_them():
    seen = state([f"{number}-{'ü' * 45}" for number in range(10)], [policy("all", "*")])
    seen.observation.demand[:] = 600 * MIB
    assert len(report(seen, context(seen), AT)["status"]["worstDomains"]) == 10


@pytest.mark.parametrize("policies", [49, 58, 67])
def test_a_report_of_which_the_brief_ones_fill_the_room_does_not_exceed_it(policies):
    """With so many there is less left than one of them takes."""
    told = json.dumps(report(*crowded(policies), AT), separators=(",", ":"), ensure_ascii=False)
    assert len(told.encode()) <= MAXIMUM_SIZE


def test_domains_are_left_out_before_policies_are_told_in_brief():
    seen = state([f"{number}-{'x' * 90}" for number in range(10)], [policy(f"p{n}", f"{n}-*") for n in range(5)])
    seen.observation.demand[:] = 600 * MIB
    status = report(seen, context(seen), AT)["status"]
    assert (len(status["policies"]), status["briefPolicies"]) == (5, {})
    assert 2 < len(status["worstDomains"]) < 10


def test_there_is_room_for_seventy_policies_and_those_beyond_are_counted():
    seen, about = crowded(70)
    assert report(seen, about, AT)["status"]["policiesLeftOut"] == 0
    seen, about = crowded(300)
    status = report(seen, about, AT)["status"]
    assert status["policies"][0]["name"].startswith("299-")
    assert len(status["policies"]) + len(status["briefPolicies"]) + status["policiesLeftOut"] == 300
    assert status["policiesLeftOut"] > 0


def test_where_there_is_room_for_nothing_else_all_are_told_in_brief():
    seen, about = crowded(76)
    seen.reason[:] = Reason.WITHIN_THRESHOLD
    status = report(seen, about, AT)["status"]
    assert (status["policies"], len(status["briefPolicies"]), status["policiesLeftOut"]) == ([], 76, 0)


def test_a_policy_with_something_wrong_is_not_told_in_brief():
    seen, about = crowded(40)
    seen.reason[:] = Reason.STUCK
    status = report(seen, about, AT)["status"]
    assert (status["briefPolicies"], status["policiesLeftOut"]) == ({}, 40 - len(status["policies"]))


def test_a_generation_that_is_told_in_brief_is_told_at_once():
    seen, about = crowded(60)
    before = report(seen, about, AT)
    key = min(before["status"]["briefPolicies"])
    name = next(each.name for each in about.in_force.values() if each.uid.startswith(key))
    newer = about.in_force[name].model_copy(update={"generation": 99})
    after = report(seen, about._replace(in_force={**about.in_force, name: newer}), AT)
    assert urgent(after) != urgent(before)


def test_of_what_is_told_in_brief_generation_and_conflicts_are_told_at_once_and_counts_of_domains_in_their_time():
    before = report(*crowded(60), AT)
    key = min(before["status"]["briefPolicies"])
    soon = []
    for place in range(5):
        after = copy.deepcopy(before)
        after["status"]["briefPolicies"][key][place] += 1
        assert settled(after) != settled(before)
        soon.append(urgent(after) != urgent(before))
    assert soon == [True, False, False, True, False]


class ManualReporter:
    """A Reporter whose thread does not run."""

    def __init__(self, *, label_node: bool = False) -> None:
        self.now = 1000.0
        self.labels: dict[str, str] = {}
        self.api = FakeApi()
        self.state = state(["a", "b"], [policy("all", "*", mode="Enforce")])
        self.context = context(self.state)
        self.found: list[Finding] = []
        self.notes: list[MachineNote] = []
        self.reporter = Reporter(self.api, "here", self._report_input, lambda: self.now, label_node=label_node)

    def after(self, seconds: float, step: float = 1.0) -> list[str]:
        """What is written in that time, with a publication every `step` seconds."""
        before = len(self.api.written)
        end = self.now + seconds
        while self.now < end:
            self.now += min(step, end - self.now)
            self.reporter.turn()
        return [what for what, _ in self.api.written[before:]]

    def _report_input(self) -> ReportInput:
        return ReportInput(self.state, self.context, self.found, self.labels, self.notes)


STATE = "apply nodememorystates/status"
MADE = "apply nodememorystates"


@pytest.fixture
def manual() -> ManualReporter:
    made = ManualReporter()
    assert made.after(1) == [MADE, STATE]
    return made


def test_nothing_is_written_before_something_is_known(manual):
    idle = Reporter(manual.api, "here", lambda: None, lambda: 0.0, label_node=False)
    before = list(manual.api.written)
    idle.turn()
    assert manual.api.written == before


def test_at_rest_it_is_written_every_few_minutes(manual):
    writes = manual.after(3600, step=10)
    assert 3600 / (REFRESH_S * 1.2) - 1 <= len(writes) <= 3600 / (REFRESH_S * 0.8) + 1
    assert len(writes) / 3600 <= 0.02


def test_counters_and_sizes_that_drift_are_no_change(manual):
    manual.state.polling.looks[:] += 100
    manual.state.observation.allocation[:] += 8 * MIB
    manual.state = replace(manual.state, host=replace(manual.state.host, budget=manual.state.host.budget - MIB))
    assert manual.after(REFRESH_S * 0.8 - 2) == []


@pytest.mark.parametrize("seen", ["allocation", "demand"])
def test_sums_that_are_a_tenth_from_what_was_told_are_told_within_a_minute(manual, seen):
    column = getattr(manual.state.observation, seen)
    column[:] += 50 * MIB  # of 512 each
    assert manual.after(REFRESH_S * 0.8 - 2) == []
    column[:] += 2 * MIB
    assert manual.after(GAP_S) == [STATE]


def test_what_enforce_would_give_back_is_told_within_a_minute_of_when_it_is_known(manual):
    manual.state.decision_inputs[WANTED] = 300 * MIB
    assert manual.after(SETTLED_S - 1) == []
    assert manual.after(GAP_S) == [STATE]
    assert manual.api.written[-1][1]["status"]["memory"]["reclaimable"] == "424Mi"


def test_a_new_generation_is_told_soon(manual):
    manual.context = context(manual.state, all=2)
    assert manual.after(URGENT_S - 2) == []
    assert manual.after(2) == [STATE]
    assert manual.api.written[-1][1]["status"]["policies"][0]["observedGeneration"] == 2


def test_a_policy_made_anew_is_told_as_soon_though_its_generation_is_the_same(manual):
    manual.context = manual.context._replace(in_force={"all": metadata("all", 1, uid="anew")})
    assert manual.after(URGENT_S) == [STATE]
    (told,) = manual.api.written[-1][1]["status"]["policies"]
    assert (told["uid"], told["observedGeneration"]) == ("anew", 1)


def test_what_is_held_back_is_told_in_its_time_even_if_nothing_more_is_published(manual):
    manual.context = context(manual.state, all=2)
    manual.now += GAP_S
    manual.now += manual.reporter.turn()
    manual.reporter.turn()
    assert manual.now == 1001.0 + URGENT_S
    assert manual.api.written[-1][1]["status"]["policies"][0]["observedGeneration"] == 2


def test_after_a_while_of_rest_a_change_is_told_within_seconds(manual):
    manual.after(SETTLED_S)
    manual.context = context(manual.state, all=2)
    assert manual.after(HERD_S + GAP_S) == [STATE]


@pytest.mark.parametrize("nodes", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_what_all_nodes_have_to_say_at_once_is_spread(monkeypatch, nodes):
    monkeypatch.setattr(reporter, "part_of", partial(random.Random(1).uniform, 0.0))  # noqa: S311 - no secret
    desks = [ManualReporter() for _ in range(nodes)]
    for manual in desks:
        manual.after(SETTLED_S, step=URGENT_S)
        manual.context = context(manual.state, all=2)
    told = [sum(len(manual.after(GAP_S)) for manual in desks) for _ in range(int(HERD_S / GAP_S) + 1)]
    assert sum(told) == len(desks)
    assert max(told) <= len(desks) / 2


def test_a_change_that_was_taken_back_does_not_hasten_the_next(manual, monkeypatch):
    monkeypatch.setattr(reporter, "part_of", lambda seconds: seconds)
    manual.after(SETTLED_S)
    for generation, seconds in ((2, GAP_S), (1, HERD_S), (3, GAP_S)):
        manual.context = context(manual.state, all=generation)
        assert manual.after(seconds) == []
    assert manual.after(HERD_S) == [STATE]


def test_domains_that_are_never_at_rest_cost_a_write_a_minute(manual):
    written = 0
    for _ in range(360):
        manual.state.polling.stable[0] = not manual.state.polling.stable[0]
        written += len(manual.after(10, step=10))
    assert written / 3600 <= 0.02


def test_a_node_made_anew_owns_the_next_report(manual):
    manual.context = manual.context._replace(uid="another")
    manual.after(URGENT_S)
    assert [what for what, _ in manual.api.written[-2:]] == [MADE, STATE]
    (stored,) = manual.api.objects[NODE_MEMORY_STATES]
    assert stored["metadata"]["ownerReferences"][0]["uid"] == "another"


def test_a_state_that_was_deleted_is_made_anew_when_there_is_news(manual):
    manual.after(URGENT_S)
    manual.api.objects[NODE_MEMORY_STATES] = []
    manual.context = context(manual.state, all=2)
    assert manual.after(HERD_S + 3 * GAP_S + FIRST_S) == [MADE, STATE]


def conditions(manual: ManualReporter) -> dict[str, tuple[str, str]]:
    (stored,) = manual.api.objects[NODE_MEMORY_STATES]
    return {each["type"]: (each["status"], each["lastTransitionTime"]) for each in stored["status"]["conditions"]}


def test_a_condition_keeps_the_time_at_which_it_came_to_be_as_it_is(manual, monkeypatch):
    before = conditions(manual)
    monkeypatch.setattr("controller.cluster.reporter._wall", lambda _: "2031-01-31T12:00:00Z")
    manual.context = manual.context._replace(short="the guests need more")
    assert manual.after(URGENT_S) == [STATE]
    turned = {"GuestMemoryShort": ("True", "2031-01-31T12:00:00Z")}
    assert conditions(manual) == before | turned
    monkeypatch.setattr("controller.cluster.reporter._wall", lambda _: "2032-01-31T12:00:00Z")
    restarted = Reporter(manual.api, "here", manual._report_input, lambda: manual.now, label_node=False)
    restarted.turn()
    assert conditions(manual) == before | turned


def test_an_api_server_that_is_away_gets_the_newest_state_when_it_is_back(manual, caplog):
    manual.api.fails = AWAY
    manual.context = context(manual.state, all=2)
    manual.after(120)
    manual.context = context(manual.state, all=3)
    manual.after(120)
    assert sum("NodeMemoryState" in record.message or "state" in record.message for record in caplog.records) == 1
    manual.api.fails = None
    assert manual.after(20) == [STATE]
    assert manual.api.written[-1][1]["status"]["policies"][0]["observedGeneration"] == 3


def test_an_api_server_that_asks_to_be_left_alone_is_not_written_to_meanwhile(manual):
    asked = []

    def apply(*_: Any, **__: Any) -> None:
        asked.append(manual.now)
        raise ApiError(429, "TooManyRequests", "later", 60.0)

    manual.api.apply = apply
    manual.context = context(manual.state, all=2)
    manual.after(50)
    assert len(asked) == 1
    manual.after(50)
    assert len(asked) == 2


def test_a_state_that_somebody_deletes_is_written_again_within_a_minute(manual):
    manual.api.objects[NODE_MEMORY_STATES] = []
    assert manual.after(STANDS_S - 1) == []
    assert manual.after(1) == [MADE, STATE]
    assert manual.after(STANDS_S) == []


def test_a_state_of_before_the_last_write_is_written_again_within_a_minute(manual):
    manual.after(SETTLED_S)
    older = manual.api.objects[NODE_MEMORY_STATES]
    manual.context = context(manual.state, all=2)
    manual.after(HERD_S + GAP_S)
    manual.api.objects[NODE_MEMORY_STATES] = older  # the cluster was restored from a backup
    assert manual.after(STANDS_S) == [MADE, STATE]
    assert manual.api.written[-1][1]["status"]["policies"][0]["observedGeneration"] == 2


def test_whether_the_state_stands_is_asked_again_once_the_api_server_answers(manual, caplog):
    manual.api.objects[NODE_MEMORY_STATES] = []
    manual.api.fails = AWAY
    manual.after(STANDS_S + 60)
    manual.api.fails = None
    assert manual.after(20) == [MADE, STATE]
    assert len(caplog.records) == 1


def test_a_storm_of_publications_is_looked_at_once_a_second(manual):
    manual.now += GAP_S
    manual.reporter.turn()
    assert 0 < manual.reporter.turn() <= GAP_S


LABELLED = "merge nodes here"


def label_of(manual: ManualReporter) -> dict[str, str | None]:
    """As the newest patch of the Node has it; the watch tells of it from now on."""
    patch = next(body for what, body in reversed(manual.api.written) if what == LABELLED)
    manual.labels = {key: value for key, value in patch["metadata"]["labels"].items() if value is not None}
    assert list(patch) == ["metadata"]
    return dict(patch["metadata"]["labels"])


def test_a_node_that_stays_short_has_a_label_for_as_long_if_it_is_wanted():
    manual = ManualReporter(label_node=True)
    assert LABELLED not in manual.after(60)
    manual.context = manual.context._replace(short="guests need more")
    assert LABELLED in manual.after(GAP_S)
    assert label_of(manual) == {SHORT_LABEL: "true"}
    assert LABELLED not in manual.after(60)
    manual.context = manual.context._replace(short="")
    assert LABELLED in manual.after(GAP_S)
    assert label_of(manual) == {SHORT_LABEL: None}
    assert LABELLED not in manual.after(60)


@pytest.mark.parametrize(
    ("short", "found", "right"),
    [("", {SHORT_LABEL: "true"}, None), ("short", {}, "true"), ("short", {SHORT_LABEL: "false"}, "true")],
)
def test_a_label_that_somebody_changed_or_that_was_left_behind_is_put_right(short, found, right):
    manual = ManualReporter(label_node=True)
    manual.labels = found
    manual.context = manual.context._replace(short=short)
    assert LABELLED in manual.after(GAP_S)
    assert label_of(manual) == {SHORT_LABEL: right}


def test_a_label_is_not_written_again_before_the_node_can_have_told_of_it():
    manual = ManualReporter(label_node=True)
    manual.context = manual.context._replace(short="guests need more")
    assert manual.after(URGENT_S).count(LABELLED) == 1
    assert LABELLED in manual.after(GAP_S)


def test_a_node_is_not_labelled_unless_that_is_wanted(manual):
    manual.context = manual.context._replace(short="guests need more")
    assert LABELLED not in manual.after(600)


def test_a_label_without_the_right_to_it_is_said_once_and_keeps_nothing_else_back(caplog):
    manual = ManualReporter(label_node=True)

    def merge(*_: Any, **__: Any) -> None:
        raise ApiError(403, "Forbidden", "nodes is forbidden")

    manual.api.merge = merge
    manual.context = manual.context._replace(short="guests need more")
    assert STATE in manual.after(60)
    assert [record.message.startswith("labelling the Node: nodes is forbidden") for record in caplog.records] == [True]


def test_events_about_machines_that_are_refused_are_said_once_and_keep_nothing_else_back(manual, caplog):
    asked = []

    def create(_resource: object, event: dict, *, namespace: str) -> None:
        asked.append(event["regarding"]["name"])
        raise ApiError(403, "Forbidden", f"events is forbidden in {namespace}")

    manual.api.create = create
    manual.notes = [MachineNote(f"{key}@shop/pod", 1.0, "ForecastShrink", "less", warning=False) for key in "abc"]
    assert manual.after(60) == []
    assert asked == []
    manual.reporter = Reporter(
        manual.api,
        "here",
        manual._report_input,
        lambda: manual.now,
        label_node=False,
        machines=lambda: {"shop/pod": {"name": "web"}},
    )
    assert STATE in manual.after(QUIET_S * 5)
    assert asked == ["web"] * 3
    assert [record.message for record in caplog.records] == [
        "writing events about virtual machines: events is forbidden in shop; apply "
        "manifests/components/kubevirt/rbac.yaml, which lets agents create events; tried again until it works"
    ]


EVENT = "create events in default"


def test_a_finding_becomes_an_event_of_the_node(manual):
    manual.found = [Finding("Stuck", "a: the balloon did not move", 0.0)]
    assert manual.after(1) == [EVENT]
    event = manual.api.written[-1][1]
    assert event["metadata"]["name"].startswith("here.")
    assert event["regarding"] == {"apiVersion": "v1", "kind": "Node", "name": "here", "uid": "node-uid"}
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "Stuck", "a: the balloon did not move")


def test_what_lasts_is_one_event_with_a_count(manual):
    manual.found = [Finding("Stuck", "a", 0.0)]
    writes = [what for what in manual.after(4000, step=10) if what != STATE]
    name = next(body["metadata"]["name"] for what, body in manual.api.written if what == EVENT)
    assert writes == [EVENT, *[f"merge events {name} in default"] * 2]
    counted = [body["series"]["count"] for _, body in manual.api.written if "series" in body]
    assert counted == [2, 3]


def test_what_has_changed_is_an_event_of_its_own_after_a_while(manual):
    manual.found = [Finding("Stuck", "a", 0.0)]
    manual.after(10)
    manual.found = [Finding("Stuck", "a, b", 0.0)]
    assert EVENT not in manual.after(280, step=10)
    assert manual.after(30, step=10).count(EVENT) == 1
    assert [body["note"] for what, body in manual.api.written if what == EVENT] == ["a", "a, b"]


def test_whether_the_state_stands_is_asked_about_once_a_minute(manual):
    get, asked = manual.api.get, []

    def counted(*arguments: Any, **options: Any) -> Any:
        asked.append(manual.now)
        return get(*arguments, **options)

    manual.api.get = counted
    manual.after(200)
    assert len(asked) == 3


def test_what_flaps_does_not_flood(manual):
    writes: list[str] = []
    for turn in range(360):
        manual.found = [Finding("GuestPressure", f"a{turn % 7}", 0.0)] if turn % 2 else []
        writes += manual.after(10, step=10)
    assert sum(what != STATE for what in writes) <= 3600 / 300 + 1


def test_what_passes_soon_is_not_worth_an_event(manual):
    manual.found = [Finding("LibvirtUnreachable", "libvirt", 30.0)]
    assert manual.after(25) == []
    manual.found = []
    manual.after(1)
    manual.found = [Finding("LibvirtUnreachable", "libvirt", 30.0)]
    assert manual.after(25) == []
    assert manual.after(10) == [EVENT]


def test_events_that_could_not_be_written_do_not_keep_the_state_back(manual):
    manual.found = [Finding("Stuck", "a", 0.0)]
    create, manual.api.create = manual.api.create, lambda *_, **__: (_ for _ in ()).throw(AWAY)
    manual.context = context(manual.state, all=2)
    assert manual.after(URGENT_S) == [STATE]
    manual.api.create = create
    assert EVENT in manual.after(20)


def test_events_that_cannot_be_written_are_said_again_after_some_that_could(manual, caplog):
    create = manual.api.create
    for found in "Stuck", "LibvirtUnreachable":
        manual.found = [Finding(found, "a", 0.0)]
        manual.api.create = lambda *_, **__: (_ for _ in ()).throw(AWAY)
        manual.after(GAP_S)
        manual.api.create = create
        assert EVENT in manual.after(20)
    assert [message.startswith("writing events: ") for message in caplog.messages] == [True, True]


@pytest.mark.parametrize("error", [ApiError(422, "Invalid", "too long"), ApiError(403, "Forbidden", "no")])
def test_an_event_that_is_not_taken_keeps_no_other_from_being_written(manual, error, caplog):
    create, told = manual.api.create, []

    def refuse(resource: Any, body: Any, *, namespace: str) -> Any:
        told.append(body["reason"])
        if body["reason"] == "Stuck":
            raise error
        return create(resource, body, namespace=namespace)

    manual.api.create = refuse
    manual.found = [Finding(reason, "a", 0.0) for reason in ("Stuck", "LibvirtUnreachable", "Conflicted")]
    manual.after(60)
    assert [each for each in told if each != "Stuck"] == ["LibvirtUnreachable", "Conflicted"]
    assert 2 < told.count("Stuck") < 20
    (said,) = [record.message for record in caplog.records if "writing events" in record.message]
    assert ("rights to events in the namespace default" in said) is error.forbidden


HOSTILE = ["vm" + "\u4e2d" * 61, "\x9b2J\u202emv", "a\nb", "\U0001f600" * 60, "z\x1b]0;owned\x07"]


def test_names_of_any_kind_leave_notes_that_the_api_server_takes():
    names = [f"{number}{name}" for number, name in enumerate(HOSTILE * 3)]
    seen = state(names, [policy("all", "*")])
    seen = unmet(seen, *range(len(names)))
    for reason in (Reason.STUCK, Reason.NO_STATISTICS, Reason.AT_MAXIMUM):
        seen.reason[:] = reason
        seen.pressure.level[:] = PressureLevel.SHORT
        found = findings(seen, [f"qemu:///{name}" for name in names], [f"all is Conflicted: {', '.join(names)}"] * 2)
        assert found
        assert [each.note for each in found if not each.note.isprintable()] == []
        assert max(len(each.note.encode()) for each in found) <= NOTE_BYTES


def test_names_of_any_kind_are_reported_on_one_line_and_cut():
    seen = state(HOSTILE, [policy("all", "*")])
    seen.reason[:] = Reason.STUCK
    shown = {each["name"] for each in report(seen, context(seen), AT)["status"]["worstDomains"]}
    assert len(shown) == len(HOSTILE)
    assert {"\\x9b2J\\u202emv", "a\\nb", "z\\x1b]0;owned\\x07"} <= shown
    assert max(len(name.encode()) for name in shown) <= SHOWN_NAME


def test_nothing_is_found_on_a_node_that_is_well():
    assert findings(state(["a"], [policy("all", "*")]), [], []) == []


def test_guests_that_no_policy_owns_are_no_trouble_of_the_node():
    assert findings(state(["a"], []), [], []) == []


def test_many_domains_of_one_trouble_are_one_finding():
    seen = state([f"d{number}" for number in range(8)], [policy("all", "*")])
    seen.reason[:7] = Reason.STUCK
    (found,) = findings(seen, [], [])
    assert found.reason == "Stuck"
    assert found.note.startswith("d0, d1, d2, d3, d4 and 2 more: the balloon did not move")


def test_a_lost_libvirt_is_told_and_so_are_many_silent_guests():
    seen = state(["a", "b", "c"], [policy("all", "*")])
    assert [each[:2] for each in findings(seen, ["qemu:///system: refused"], [])] == [
        ("LibvirtUnreachable", "qemu:///system: refused")
    ]
    seen.reason[0] = Reason.NO_STATISTICS
    assert findings(seen, [], []) == []
    seen.reason[1] = Reason.STALE_STATISTICS
    assert [each.reason for each in findings(seen, [], [])] == ["StatisticsMissing"]


def test_domains_that_lack_what_they_were_promised_or_need_are_found_with_the_remedy():
    seen = state(["a", "b", "c"], [policy("all", "*")])
    seen.reason[1] = Reason.AT_MAXIMUM
    below, capped = findings(unmet(seen, 0, 2), [], [])
    assert below == Finding(
        "MinimumUnmet",
        "a, c: the minimums on this node are more than its budget and are met in proportion; "
        "lower limits.minimum or minimumPercent of the policies here, or move a domain away",
        10.0,
    )
    assert (capped.reason, capped.hold_s) == ("AtMaximum", 60.0)
    assert capped.note.startswith("b: the guest has all it may have, and needs more; raise limits.maximum")


@pytest.mark.parametrize("shown", [Reason.MINIMUM_UNMET, Reason.LIMITS])
def test_domains_below_their_minimum_are_counted_by_policy_and_among_the_worst(shown):
    """Also under Observe, where the reason of a proposal that stands is shown."""
    seen = state(["a", "b", "db"], [policy("web", "[ab]"), policy("db", "db")])
    seen.reason[:] = [Reason.WITHIN_THRESHOLD, Reason.WITHIN_THRESHOLD, shown]
    seen = unmet(seen, 2)
    status = report(seen, context(seen), AT)["status"]
    assert [(each["name"], each["unmetDomains"]) for each in status["policies"]] == [("db", 1), ("web", 0)]
    assert [(each["name"], each["reason"]) for each in status["worstDomains"]] == [("db", str(shown))]
    assert [each.reason for each in findings(seen, [], [])] == ["MinimumUnmet"]


def test_a_long_conflict_leaves_room_for_how_many_there_are_more():
    (found,) = findings(state(["a"], [policy("p", "a")]), [], ["x" * 2 * NOTE_BYTES] * 3)
    assert len(found.note.encode()) <= NOTE_BYTES // 2 + len(" (and 2 more conflicts)")
    assert found.note.endswith(" (and 2 more conflicts)")


def test_a_node_that_stays_short_is_found():
    (found,) = findings(state(["a"], [policy("all", "*")]), [], [], "the guests need more")
    assert found == Finding("GuestMemoryShort", "the guests need more", 0.0)


def test_conflicts_and_pressure_are_found():
    seen = state(["a"], [policy("all", "*")])
    seen.pressure.level[:] = PressureLevel.SHORT
    found = findings(seen, [], ["p is Conflicted: q owns a", "r is Conflicted: q owns a"])
    assert [(each.reason, each.note) for each in found] == [
        ("Conflicted", "p is Conflicted: q owns a (and 1 more conflicts)"),
        ("GuestPressure", "a: the guest is under memory pressure"),
    ]


def test_worst_domains_stand_in_the_order_in_which_a_person_should_look_at_them():
    seen = state(
        ["pressed", "short", "stuck", "nearly", "shorter", "nobodys"], [policy("all", "[!n]*"), policy("n", "nearly")]
    )
    seen.observation.demand[:] = np.array([256, 513, 256, 512.5, 600, 256]) * MIB
    seen.reason[[2, 5]] = Reason.STUCK
    seen.pressure.level[0] = PressureLevel.SHORT
    told = report(seen, context(seen), AT)["status"]["worstDomains"]
    assert [(each["name"], each["shortfall"]) for each in told] == [
        ("shorter", "88Mi"),
        ("short", "1Mi"),
        ("stuck", "0Mi"),
        ("pressed", "0Mi"),
    ]


def test_no_more_than_ten_domains_are_the_worst():
    seen = state([f"d{number:02}" for number in range(12)], [policy("all", "*")])
    seen.reason[:] = Reason.STUCK
    told = report(seen, context(seen), AT)["status"]["worstDomains"]
    assert [each["name"] for each in told] == [f"d{number:02}" for number in range(10)]


def test_looks_at_domains_that_cannot_be_moved_are_not_those_of_a_policy():
    seen = state(["a", "b"], [policy("all", "*")])
    seen.inventory.obstacle[1] = Reason.NO_BALLOON
    seen.polling.looks[:] = [10, 500]
    seen.polling.fixed_looks[:] = [30, 900]
    (told,) = report(seen, context(seen), AT)["status"]["policies"]
    assert (told["domains"], told["looks"], told["looksSaved"]) == (2, 10, 20)


def test_findings_last_as_long_as_is_told_before_they_are(page):
    seen = state(["a"], [policy("all", "*")])
    seen = seen.having(host=replace(seen.host, reading=replace(seen.host.reading, pressure=True)))
    seen.pressure.level[:] = PressureLevel.SHORT
    found = findings(seen, ["qemu:///system: refused"], ["p is Conflicted: q owns a"])
    seen.reason[:] = Reason.STUCK
    found += findings(seen, [], [])[:1]
    seen.reason[:] = Reason.NO_STATISTICS
    found += findings(seen, [], [])[:1]
    holds = [(each.reason, each.hold_s) for each in found]
    assert holds == [
        ("LibvirtUnreachable", 30.0),
        ("Conflicted", 0.0),
        ("HostPressure", 10.0),
        ("GuestPressure", 10.0),
        ("Stuck", 0.0),
        ("StatisticsMissing", 60.0),
    ]
    assert [
        row for row in (f"| `{reason}` | {hold:g} s |" for reason, hold in holds) if row not in page("crds/README.md")
    ] == []


def test_one_conflict_is_not_counted_and_as_many_domains_as_are_named_neither():
    seen = state([f"d{number}" for number in range(5)], [policy("all", "*")])
    seen.reason[:] = Reason.STUCK
    stuck, conflict = findings(seen, [], ["p is Conflicted: q owns a"])
    assert stuck.note.startswith("d0, d1, d2, d3, d4: ")
    assert conflict.note == "p is Conflicted: q owns a"


@pytest.mark.parametrize(("silent", "told"), [(1, False), (2, True), (4, True)])
def test_half_of_the_domains_without_statistics_are_the_nodes_trouble(silent, told):
    seen = state(["a", "b", "c", "d", "nobodys"], [policy("all", "[a-d]")])
    seen.reason[:silent] = Reason.INVALID_STATISTICS
    seen.reason[4] = Reason.NO_STATISTICS
    assert [each.reason for each in findings(seen, [], [])] == ["StatisticsMissing"] * told


class Events:
    """NodeEvents of a node, and what they write; `refusing` is raised by the next merge."""

    def __init__(self, node: str = "here") -> None:
        self.events = NodeEvents(self, node)
        self.created: list[dict] = []
        self.counts: list[int] = []
        self.refusing: ApiError | None = None

    def create(self, _resource: object, event: dict, *, namespace: str) -> None:
        assert namespace == "default"
        self.created.append(event)

    def merge(self, _resource: object, name: str, body: dict, *, namespace: str) -> None:
        assert (name, namespace) == (self.created[-1]["metadata"]["name"], "default")
        if self.refusing is not None:
            raise self.refusing
        self.counts.append(body["series"]["count"])

    def at(self, now: float, *found: Finding) -> tuple[int, list[int]]:
        """Events made, and the counts of those told again, until now."""
        self.events.send(found, "uid", now, "now")
        return len(self.created), self.counts


STUCK, HELD = Finding("Stuck", "a", 0.0), Finding("LibvirtUnreachable", "libvirt", 30.0)


def test_what_has_to_last_is_told_at_the_end_of_that_time():
    events = Events()
    assert [events.at(at, HELD)[0] for at in (100.0, 129.0, 130.0)] == [0, 0, 1]


def test_what_comes_back_is_told_again_after_a_while_of_quiet():
    events = Events()
    events.at(0.0, STUCK)
    events.at(1.0)
    assert events.at(QUIET_S - 1, STUCK) == (1, [])
    assert events.at(QUIET_S, STUCK) == (1, [2])
    assert events.at(QUIET_S + 1, STUCK) == (1, [2])


def test_what_lasts_is_told_again_after_half_an_hour():
    events = Events()
    events.at(0.0, STUCK)
    assert events.at(REPEAT_S - 1, STUCK) == (1, [])
    assert events.at(REPEAT_S, STUCK) == (1, [2])
    assert events.at(2 * REPEAT_S - 1, STUCK) == (1, [2])
    assert events.at(2 * REPEAT_S, STUCK) == (1, [2, 3])


def test_an_event_that_the_api_server_has_forgotten_is_made_anew():
    events = Events()
    events.at(0.0, STUCK)
    events.refusing = ApiError(404, "NotFound", "gone")
    assert events.at(REPEAT_S, STUCK) == (2, [])
    events.refusing = None
    assert events.at(2 * REPEAT_S, STUCK) == (2, [2])


def test_names_in_an_event_are_no_longer_than_they_may_be():
    events = Events("n" * 229 + ".-" + "m" * 22)
    events.at(0.0, STUCK)
    (event,) = events.created
    assert event["metadata"]["name"].startswith("n" * 229 + ".")
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["reportingInstance"]) == 128


def test_an_api_server_that_is_away_is_not_asked_for_each_event():
    events = Events()
    asked = []

    def away(_resource: object, event: dict, *, namespace: str) -> None:
        asked.append((event["reason"], namespace))
        raise AWAY

    events.create = away
    with pytest.raises(ApiError):
        events.at(0.0, STUCK, Finding("Conflicted", "p", 0.0))
    assert asked == [("Stuck", "default")]

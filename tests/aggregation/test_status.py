"""The status that is written: its shape, its size, its times, and when it is worth a write."""

import json

import pytest
from watched_objects import FIGURES, state

from controller.aggregation.contribution import Contribution, NodeProblem, PolicyCounts, contribution
from controller.aggregation.decode import decode_state
from controller.aggregation.rollup import Policy, PolicySummary
from controller.aggregation.status import STATUS_BYTES, Difference, difference, render, turned
from controller.api.documents import MAXIMUM_VALUES
from controller.api.policy import NodeSelector
from controller.api.policystatus import PolicyStatus

T1, T2 = "2026-01-31T12:00:00Z", "2026-01-31T12:05:00Z"
WELL = PolicyCounts(
    nodes=3, reporting_nodes=3, domains=12, stable_domains=9, looks=900, looks_saved=8000, reallocations=40
)


def summary(
    figures: PolicyCounts = WELL, *worst: Contribution, generation: int = 4, problem: str = ""
) -> PolicySummary:
    return PolicySummary(Policy("all", "uid", generation, NodeSelector(), problem), figures, worst)


def long_name(number: int) -> str:
    """As long as a Node's name may be."""
    return ".".join([f"{number}" * 62] * 4) + ".x"


def transitions(status: dict) -> dict[str, str]:
    return {each["type"]: each["lastTransitionTime"] for each in status["conditions"]}


def test_the_whole_status():
    stuck = Contribution(
        "a", PolicyCounts(domains=4, stable_domains=1, stuck_domains=1, shortfall_mebibytes=7), (NodeProblem.STUCK,)
    )
    unknown = Contribution("b", PolicyCounts(nodes=1, unknown_nodes=1), (NodeProblem.UNKNOWN,), T1)
    status = render(summary(WELL, unknown, stuck), None, T2)
    conditions = status.pop("conditions")
    assert status == {
        "observedGeneration": 4,
        "nodes": 3,
        "reportingNodes": 3,
        "unknownNodes": 0,
        "domains": 12,
        "stableDomains": 9,
        "conflictedDomains": 0,
        "overriddenDomains": 0,
        "stuckDomains": 0,
        "reallocations": 40,
        "looks": 900,
        "looksSaved": 8000,
        "shortfall": "0Mi",
        "stable": "9/12",
        "lastChangeTime": T2,
        "worstNodes": [
            {
                "name": "b",
                "reason": "Unknown",
                "unknown": True,
                "lastReportTime": T1,
                "domains": 0,
                "stableDomains": 0,
                "stuckDomains": 0,
                "shortfall": "0Mi",
            },
            {
                "name": "a",
                "reason": "Stuck",
                "unknown": False,
                "domains": 4,
                "stableDomains": 1,
                "stuckDomains": 1,
                "shortfall": "7Mi",
            },
        ],
    }
    assert conditions[0] == {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 4,
        "lastTransitionTime": T2,
        "reason": "AllNodesFollow",
        "message": "3 of 3 nodes follow generation 4",
    }


def test_the_same_again_is_the_same_whatever_the_time():
    first = render(summary(), None, T1)
    assert render(summary(), first, T2) == first


def test_only_the_condition_that_turned_gets_a_new_time():
    first = render(summary(), None, T1)
    second = render(summary(WELL._replace(stable_domains=12)), first, T2)
    assert transitions(second) == dict.fromkeys(("Ready", "Degraded", "Conflicted"), T1) | {"Stable": T2}
    assert second["lastChangeTime"] == T2


def test_a_new_message_or_generation_alone_is_no_transition():
    first = render(summary(), None, T1)
    second = render(summary(WELL._replace(stable_domains=8), generation=5), first, T2)
    assert set(transitions(second).values()) == {T1}
    assert {each["observedGeneration"] for each in second["conditions"]} == {5}


def test_counts_that_never_rest_do_not_make_a_change():
    first = render(summary(), None, T1)
    second = render(summary(WELL._replace(looks=901, looks_saved=8001)), first, T2)
    assert (second["looks"], second["lastChangeTime"]) == (901, T1)
    assert difference(second, first) is Difference.COUNTS


@pytest.mark.parametrize("field", ["reallocations", "pending_nodes", "domains", "stuck_domains", "conflicted_domains"])
def test_everything_else_does(field):
    first = render(summary(), None, T1)
    second = render(summary(WELL._replace(**{field: 99})), first, T2)
    assert difference(second, first) is Difference.CONTENT
    assert second["lastChangeTime"] == T2


def test_nothing_differs_from_itself():
    first = render(summary(), None, T1)
    assert difference(first, json.loads(json.dumps(first))) is Difference.NOTHING


def test_what_a_policy_has_no_more_differs():
    first = render(summary(), None, T1)
    assert difference(first, first | {"enforcing": "1/3"}) is Difference.CONTENT


def test_a_status_that_is_missing_differs():
    assert difference(render(summary(), None, T1), None) is Difference.CONTENT


@pytest.mark.parametrize("broken", [{}, {"conditions": 7}, {"nodes": "many"}])
def test_a_status_that_makes_no_sense_is_replaced(broken):
    assert render(summary(), broken, T1) == render(summary(), None, T1)
    assert difference(render(summary(), broken, T1), broken) is Difference.CONTENT


def test_a_status_without_end_is_not_judged():
    endless = render(summary(), None, "2026-01-01T00:00:00Z") | {"more": [0] * (MAXIMUM_VALUES + 1)}
    assert render(summary(), endless, T1) == render(summary(), None, T1)


def test_a_fault_that_begins_or_ends_is_what_people_are_told_of():
    well, stuck = render(summary(), None, T1), render(summary(WELL._replace(stuck_domains=1)), None, T1)
    assert [(each["type"], each["status"]) for each in turned(stuck, well)] == [("Degraded", "True")]
    assert [(each["type"], each["status"]) for each in turned(well, stuck)] == [("Degraded", "False")]
    assert [each["type"] for each in turned(stuck, None)] == ["Degraded"]
    assert turned(well, None) == turned(well, {"conditions": 7}) == turned(stuck, stuck) == ()


def test_a_status_stays_small_with_the_longest_names_and_the_worst_problems():
    everything = PolicyCounts(*(10**9 for _ in PolicyCounts._fields))
    worst = [Contribution(long_name(number), everything, tuple(NodeProblem), T1) for number in range(10)]
    status = render(summary(everything, *worst, problem="x" * 9000), None, T1)
    assert len(json.dumps(status, separators=(",", ":"))) <= STATUS_BYTES
    assert status["worstNodes"][0]["name"] == long_name(0)
    PolicyStatus.model_validate(status)


def test_the_most_that_5000_nodes_can_say_is_shown_as_far_as_it_is_taken():
    most = {name: 10**6 if "omains" in name else 2**50 for name in FIGURES}
    total = contribution("all", "uid-all", 1, decode_state(state("a", **most)), stale=False).figures
    figures = PolicyCounts(*(5000 * each for each in total))
    status = render(summary(figures), None, T1)
    assert status["stable"] == "5000000000/5000000000"
    assert status["domains"] == 5000000000
    assert status["looks"] == status["looksSaved"] == status["reallocations"] == 2**50


def test_ten_nodes_of_usual_names_fit():
    worst = [Contribution(f"node-{number:04}.example.org", WELL, (NodeProblem.SHORTFALL,)) for number in range(10)]
    for problem in ("", "\u0436" * 200):
        assert len(render(summary(WELL, *worst, problem=problem), None, T1)["worstNodes"]) == 10


@pytest.mark.parametrize(
    ("short", "told"), [(7, "7Mi"), (2**50, "1125899906842624Mi"), (10**4 * 2**50, "1125899906842624Mi")]
)
def test_a_size_is_a_quantity_however_much_nodes_claim(short, told):
    worst = Contribution("a", PolicyCounts(shortfall_mebibytes=short), (NodeProblem.SHORTFALL,))
    status = render(summary(WELL._replace(shortfall_mebibytes=short, short_nodes=1), worst), None, T1)
    assert (status["shortfall"], status["worstNodes"][0]["shortfall"]) == (told, told)
    assert render(summary(WELL._replace(shortfall_mebibytes=short, short_nodes=1), worst), status, T2) == status

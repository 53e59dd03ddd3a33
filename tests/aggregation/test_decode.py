"""Objects as the API server sends them, and whatever else might stand there."""

import pytest
from watched_objects import MEMORY

from controller.aggregation.contribution import NodeReport
from controller.aggregation.decode import age_s, decode_labels, decode_policy, decode_state, written_at
from controller.aggregation.rollup import Policy
from controller.api.documents import MAXIMUM_VALUES
from controller.api.policy import NodeSelector

AT = "2026-01-31T12:00:00Z"
POLICY = {
    "apiVersion": "ballast.dev/v1alpha1",
    "kind": "MemoryPolicy",
    "metadata": {"name": "all", "uid": "u1", "generation": 3},
    "spec": {"nodeSelector": {"names": ["a*"]}},
    "status": {"nodes": 1},
}
STATE = {
    "apiVersion": "ballast.dev/v1alpha1",
    "kind": "NodeMemoryState",
    "metadata": {
        "name": "a",
        "resourceVersion": "77",
        "managedFields": [
            {"manager": "ballast-agent", "time": "2026-01-31T12:00:00Z"},
            {"manager": "kubectl-label", "time": "2026-01-31T11:00:00Z"},
            {"manager": "without-time"},
        ],
    },
    "status": {
        "observedTime": "2031-01-31T12:00:00Z",
        "memory": MEMORY,
        "conditions": [
            {
                "type": "HostMemoryPressure",
                "status": "True",
                "lastTransitionTime": AT,
                "reason": "HostStalls",
                "message": "",
            }
        ],
        "domains": 12,
        "stableDomains": 11,
    },
}


def test_a_policy():
    assert decode_policy(POLICY) == Policy("all", "u1", 3, NodeSelector(names=("a*",)))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"mode": "Dream"}, "spec.mode: 'Dream': not a value of this field; use Observe, Enforce or Pause"),
        ({"priority": 0.5}, "spec.priority: '0.5': "),
        ({"a\nb": 1}, r"spec['a\nb']: '1': unknown field"),
    ],
)
def test_a_policy_that_this_version_cannot_read_says_field_value_and_remedy(spec, problem):
    read = decode_policy(POLICY | {"spec": spec})
    assert (read.name, read.uid, read.generation, read.selector) == ("all", "u1", 3, None)
    assert read.problem.startswith(problem)


def test_a_value_that_is_a_list_of_any_length_is_not_repeated():
    problem = decode_policy(POLICY | {"spec": {"priority": ["long"]}}).problem
    assert (problem.startswith("spec.priority: "), "long" in problem) == (True, False)


MANY = [{}] * (MAXIMUM_VALUES + 1)


def test_a_policy_with_more_values_than_can_be_told_of_says_so():
    read = decode_policy(POLICY | {"spec": {"nodeSelector": {"matchExpressions": MANY}}} | dict.fromkeys("abc"))
    assert read.problem == f"spec: more than {MAXIMUM_VALUES} values; use fewer"


def test_a_state_with_more_values_than_can_be_told_of_says_so():
    read = decode_state(STATE | {"status": {"policies": MANY}})
    assert (read.policies, read.problem) == (None, f"status: more than {MAXIMUM_VALUES} values; use fewer")


def test_a_state_says_how_many_policies_it_has_no_room_for():
    assert decode_state(STATE | {"status": STATE["status"] | {"policiesLeftOut": 3}}).left_out == 3


def test_a_state():
    assert decode_state(STATE) == NodeReport("a", "2031-01-31T12:00:00Z", "2026-01-31T12:00:00Z", True, {})


@pytest.mark.parametrize("broken", [{}, {"status": {}}, {"status": {**STATE["status"], "domains": -1}}])
def test_a_state_that_this_version_cannot_read_says_why(broken):
    read = decode_state({"metadata": STATE["metadata"]} | broken)
    assert (read.node, read.mark, read.reported_at, read.policies) == ("a", "77", "2026-01-31T12:00:00Z", None)
    assert read.problem.startswith("status")


@pytest.mark.parametrize("figure", [2**63 - 1, 10**6 + 1])
def test_a_node_that_tells_of_more_domains_than_can_be_is_not_summed_up(figure):
    read = decode_state(STATE | {"status": {**STATE["status"], "domains": figure}})
    assert read.policies is None
    assert read.problem.startswith(f"status.domains: '{figure}': ")


def test_labels_may_be_missing():
    assert decode_labels({"metadata": {"name": "a"}}) == {}
    assert decode_labels({"metadata": {"name": "a", "labels": {"tier": "gold"}}}) == {"tier": "gold"}


def test_an_object_without_managed_fields_does_not_say_when_it_was_written():
    assert written_at({"metadata": {"name": "a"}}) == ""
    assert written_at({"metadata": {"name": "a", "managedFields": [{"time": None}]}}) == ""


@pytest.mark.parametrize(
    ("written", "now", "age"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:05:00Z", 300.0),
        ("2026-01-31T12:05:00Z", "2026-01-31T12:00:00Z", 0.0),
        ("", "2026-01-31T12:00:00Z", 0.0),
        ("2026-01-31T12:00:00Z", "", 0.0),
    ],
)
def test_an_age_is_between_two_times_of_the_api_server(written, now, age):
    assert age_s(written, now) == age

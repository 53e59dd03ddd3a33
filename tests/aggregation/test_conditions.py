"""What sums mean: conditions with a reason for programs and a message that tells a person what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.aggregation.conditions import conditions
from controller.aggregation.contribution import Contribution, NodeProblem, PolicyCounts
from controller.aggregation.rollup import Policy, PolicySummary
from controller.api.nodestate import MESSAGE_CHARACTERS
from controller.api.policy import NodeSelector

WELL = PolicyCounts(nodes=3, reporting_nodes=3, domains=12, stable_domains=12)


def summary(figures: PolicyCounts, worst: tuple[Contribution, ...] = (), problem: str = "") -> PolicySummary:
    selector = None if problem else NodeSelector()
    return PolicySummary(Policy("all", "uid", 4, selector, problem), figures, worst)


def ill(node: str, *troubles: NodeProblem) -> Contribution:
    return Contribution(node, PolicyCounts(nodes=1), troubles)


def judged(figures: PolicyCounts, *worst: Contribution, problem: str = "") -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {each.type: (each.status, each.reason) for each in conditions(summary(figures, worst, problem))}


def message(kind: str, figures: PolicyCounts, *worst: Contribution, problem: str = "") -> str:
    return next(each.message for each in conditions(summary(figures, worst, problem)) if each.type == kind)


def test_all_is_well():
    assert judged(WELL) == {
        "Ready": ("True", "AllNodesFollow"),
        "Stable": ("True", "AllDomainsStable"),
        "Degraded": ("False", "AsExpected"),
        "Conflicted": ("False", "NoConflict"),
    }
    assert message("Ready", WELL) == "3 of 3 nodes follow generation 4"
    assert message("Ready", PolicyCounts(nodes=1, reporting_nodes=1)) == "1 of 1 node follows generation 4"
    assert message("Stable", WELL) == "all of 12 domains are stable"


def test_a_policy_for_no_node_is_not_ready():
    assert judged(PolicyCounts()) == {
        "Ready": ("False", "NoNodes"),
        "Stable": ("Unknown", "NoNodes"),
        "Degraded": ("False", "AsExpected"),
        "Conflicted": ("Unknown", "NoNodes"),
    }
    assert "check spec.nodeSelector" in message("Ready", PolicyCounts())


def test_a_policy_that_owns_no_domain_is_ready_and_stable_and_says_so():
    figures = PolicyCounts(nodes=3, reporting_nodes=3)
    assert judged(figures) | {"Stable": ("True", "NoDomains")} == judged(figures)
    assert judged(figures)["Ready"] == ("True", "AllNodesFollow")
    assert "check spec.domainSelector" in message("Stable", figures)


def test_nodes_that_have_not_taken_up_this_generation_keep_it_from_being_ready():
    figures = WELL._replace(pending_nodes=1)
    assert judged(figures) == judged(WELL) | {"Ready": ("False", "NodesPending")}
    assert message("Ready", figures, ill("a", NodeProblem.PENDING)) == (
        "1 of 3 nodes has not taken up generation 4 yet: a; agents need seconds: after a minute, see their logs"
    )


def test_a_node_that_stopped_reporting_leaves_stability_open():
    figures = WELL._replace(nodes=4, unknown_nodes=1)
    assert judged(figures) == {
        "Ready": ("False", "NodesUnknown"),
        "Stable": ("Unknown", "NodesUnknown"),
        "Degraded": ("True", "NodesUnknown"),
        "Conflicted": ("Unknown", "NodesUnknown"),
    }
    assert message("Degraded", figures, ill("a", NodeProblem.UNKNOWN)) == (
        "1 of 4 nodes has stopped reporting: a; see their agents' pods and logs, or delete Nodes that are gone for good"
    )


def test_one_unstable_domain_is_enough_whatever_is_unknown():
    figures = WELL._replace(nodes=4, unknown_nodes=1, stable_domains=11)
    assert judged(figures)["Stable"] == ("False", "DomainsUnstable")
    assert message("Stable", figures).startswith("1 of 12 domains need memory moved often")


def test_states_of_another_version_are_unreadable_and_said_to_be():
    figures = WELL._replace(nodes=4, unreadable_nodes=1)
    assert {reason for _, reason in judged(figures).values()} == {"StatesUnreadable"}
    assert "run agents and aggregator of one version" in message("Degraded", figures)


def test_a_policy_of_another_version_is_unreadable_and_says_which_field():
    problem = "spec.mode: 'Dream': not a value of this field; use Observe, Enforce or Pause"
    assert judged(PolicyCounts(), problem=problem) == {
        "Ready": ("False", "PolicyUnreadable"),
        "Stable": ("Unknown", "PolicyUnreadable"),
        "Degraded": ("True", "PolicyUnreadable"),
        "Conflicted": ("Unknown", "PolicyUnreadable"),
    }
    assert message("Ready", PolicyCounts(), problem=problem).endswith(problem)


def test_a_shortfall_degrades():
    figures = WELL._replace(shortfall_mebibytes=640, short_nodes=2)
    assert judged(figures) == judged(WELL) | {"Degraded": ("True", "Shortfall")}
    worst = ill("a", NodeProblem.SHORTFALL), ill("b", NodeProblem.SHORTFALL, NodeProblem.STUCK)
    assert message("Degraded", figures, *worst).startswith("domains on 2 nodes need 640 MiB more than they have: a, b;")


def test_a_stuck_domain_degrades():
    figures = WELL._replace(stuck_domains=1, stuck_nodes=1)
    assert judged(figures) == judged(WELL) | {"Degraded": ("True", "DomainsStuck")}
    assert message("Degraded", figures, ill("a", NodeProblem.SHORTFALL, NodeProblem.STUCK)) == (
        "the balloon of 1 domain does not move, on a; see `kubectl describe nodememorystate` for which, "
        "and the balloon driver in the guest"
    )


def test_minimums_that_do_not_fit_a_node_degrade():
    figures = WELL._replace(unmet_domains=2, unmet_nodes=1)
    assert judged(figures) == judged(WELL) | {"Degraded": ("True", "MinimumsUnmet")}
    assert message("Degraded", figures, ill("a", NodeProblem.UNMET)) == (
        "2 domains cannot have the minimum, as all minimums together are more than the budget of a; "
        "lower spec.limits.minimum or minimumPercent, or move domains away"
    )


def test_several_faults_are_all_told_under_the_worst_ones_reason():
    figures = WELL._replace(nodes=4, unknown_nodes=1, shortfall_mebibytes=1, short_nodes=1, stuck_domains=1)
    assert judged(figures)["Degraded"] == ("True", "NodesUnknown")
    told = message("Degraded", figures)
    assert [part in told for part in ("stopped reporting", "need 1 MiB more", "does not move")] == [True] * 3


def test_domains_of_an_equal_policy_are_a_conflict():
    figures = WELL._replace(conflicted_domains=5, conflicted_nodes=2)
    assert judged(figures) == judged(WELL) | {"Conflicted": ("True", "OwnedByOthers")}
    assert message("Conflicted", figures, ill("a", NodeProblem.CONFLICTED)) == (
        "5 domains that this policy selects too: another policy of the same priority owns them, on a and 1 more; "
        "narrow spec.domainSelector or spec.selectors, or change spec.priority"
    )


def test_domains_of_a_policy_of_higher_priority_are_no_conflict():
    figures = WELL._replace(overridden_domains=5)
    assert judged(figures) == judged(WELL) | {"Conflicted": ("False", "Overridden")}
    assert message("Conflicted", figures) == "policies of higher priority own 5 domains that this one selects"
    assert message("Stable", figures._replace(domains=0, stable_domains=0)) == (
        "the policy owns no domain; policies of higher priority own 5 that it selects; "
        "raise spec.priority, if it should"
    )


def test_what_nodes_have_no_room_to_say_is_not_made_up():
    figures = WELL._replace(left_out_nodes=1)
    assert judged(figures) == dict.fromkeys(judged(WELL), ("Unknown", "PoliciesLeftOut"))
    assert message("Ready", figures, ill("a", NodeProblem.LEFT_OUT)) == (
        "1 of 3 nodes has no room for this policy in the state: a; have fewer policies for each node, by "
        "spec.nodeSelector or by putting several into one"
    )


def test_what_is_known_to_be_wrong_outweighs_what_is_not_known():
    figures = WELL._replace(left_out_nodes=1, stuck_domains=1, stable_domains=11, conflicted_domains=1, pending_nodes=1)
    assert judged(figures) == {
        "Ready": ("False", "NodesPending"),
        "Stable": ("False", "DomainsUnstable"),
        "Degraded": ("True", "DomainsStuck"),
        "Conflicted": ("True", "OwnedByOthers"),
    }


def test_a_policy_without_domains_is_not_said_to_own_none_before_all_nodes_follow():
    assert judged(PolicyCounts(nodes=3, reporting_nodes=3, pending_nodes=1))["Stable"] == ("Unknown", "NodesPending")


def test_few_nodes_are_named():
    ill_in_turn = (NodeProblem.UNKNOWN, NodeProblem.STUCK)
    worst = tuple(ill(f"n{number}", ill_in_turn[number % 2]) for number in range(10))
    figures = WELL._replace(nodes=40, unknown_nodes=20)
    assert "20 of 40 nodes have stopped reporting: n0, n2, n4 and 17 more;" in message("Ready", figures, *worst)


def test_nodes_with_another_trouble_are_not_named():
    worst = (ill("stuck", NodeProblem.STUCK), ill("lost", NodeProblem.UNKNOWN))
    figures = WELL._replace(nodes=40, unknown_nodes=1)
    assert "1 of 40 nodes has stopped reporting: lost;" in message("Ready", figures, *worst)


@pytest.mark.parametrize("kind", ["Ready", "Stable", "Degraded", "Conflicted"])
def test_no_message_is_longer_than_a_condition_takes(kind):
    everything = PolicyCounts(*(2 for _ in PolicyCounts._fields))
    worst = tuple(ill(f"{number}" * 253, *NodeProblem) for number in range(10))
    for problem in ("long " * 1000, "\U0001f600" * 1000):
        assert len(message(kind, everything, *worst, problem=problem).encode()) <= MESSAGE_CHARACTERS


@given(st.builds(PolicyCounts, *(st.integers(0, 3) for _ in PolicyCounts._fields)))
def test_conditions_never_contradict_each_other(figures):
    told = judged(figures)
    assert list(told) == ["Ready", "Stable", "Degraded", "Conflicted"]
    if told["Ready"][0] == "True":
        unknown = figures.unknown_nodes, figures.unreadable_nodes, figures.left_out_nodes
        assert (figures.pending_nodes, *unknown) == (0, 0, 0, 0)
        assert figures.nodes > 0
    if told["Stable"][0] == "True":
        assert figures.stable_domains >= figures.domains
    assert (told["Degraded"][0] == "True") is bool(
        figures.unknown_nodes
        or figures.unreadable_nodes
        or figures.shortfall_mebibytes
        or figures.stuck_domains
        or figures.unmet_domains
    )

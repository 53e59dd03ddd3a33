"""Sums over nodes: one node's events changes that node's part, and the rest stays what it was."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.aggregation.contribution import Contribution, NodeProblem, NodeReport, PolicyCounts, contribution
from controller.aggregation.rollup import OUTAGE_S, STALE_AFTER_S, Policy, Rollup
from controller.api.nodestate import BriefPolicy, PolicyState
from controller.api.policy import NodeSelector
from controller.api.policystatus import WORST_NODES
from controller.api.selectors import matches_node

EVERYWHERE = NodeSelector()
GOLD = NodeSelector(matchLabels={"tier": "gold"})


def policy(name: str = "all", generation: int = 1, selector: NodeSelector | None = EVERYWHERE, uid: str = "") -> Policy:
    return Policy(name, uid or f"uid-{name}", generation, selector, "" if selector else "spec.mode: not readable")


def state(name: str = "all", generation: int = 1, uid: str = "", **figures: int) -> PolicyState:
    given_ = {
        "domains": 4,
        "stable_domains": 4,
        "conflicted_domains": 0,
        "overridden_domains": 0,
        "stuck_domains": 0,
        "unmet_domains": 0,
        "reallocations": 7,
        "looks": 100,
        "looks_saved": 900,
        "shortfall": 0,
    }
    identity = {"name": name, "uid": uid or f"uid-{name}", "observed_generation": generation}
    return PolicyState.model_construct(**identity, mode="Enforce", **(given_ | figures))


def report(node: str, *states: PolicyState, mark: str = "1", pressure: bool = False) -> NodeReport:
    return NodeReport(node, mark, f"written-{mark}", pressure, {each.name: each for each in states})


@pytest.fixture
def rollup() -> Rollup:
    """One policy for all nodes, two nodes that report."""
    rollup = Rollup()
    rollup.put_policy(policy())
    for node in ("a", "b"):
        rollup.put_node(node, {})
        rollup.put_report(report(node, state()), 0.0)
    rollup.take_changed()
    return rollup


def figures(rollup: Rollup, name: str = "all") -> PolicyCounts:
    summary = rollup.summary(name)
    assert summary is not None
    return summary.figures


def troubles(rollup: Rollup, name: str = "all") -> list[tuple[str, NodeProblem]]:
    summary = rollup.summary(name)
    assert summary is not None
    return [(each.node, each.troubles[0]) for each in summary.worst]


TWO_NODES = PolicyCounts(
    nodes=2, reporting_nodes=2, domains=8, stable_domains=8, reallocations=14, looks=200, looks_saved=1800
)
ONE_NODE = PolicyCounts(
    nodes=1, reporting_nodes=1, domains=4, stable_domains=4, reallocations=7, looks=100, looks_saved=900
)


def test_figures_of_nodes_sum_up(rollup):
    assert figures(rollup) == TWO_NODES


def test_the_order_in_which_things_become_known_is_of_no_matter():
    rollup = Rollup()
    rollup.put_report(report("a", state()), 0.0)
    rollup.put_node("a", {})
    rollup.put_policy(policy())
    assert figures(rollup) == ONE_NODE


def test_events_of_a_node_replaces_what_it_said_before(rollup):
    rollup.put_report(report("b", state(domains=1, stable_domains=0), mark="2"), 10.0)
    assert figures(rollup) == TWO_NODES._replace(domains=5, stable_domains=4)
    assert rollup.take_changed() == {"all"}


@pytest.mark.parametrize(
    ("said", "summed", "counted", "trouble"),
    [
        ("shortfall", "shortfall_mebibytes", "short_nodes", NodeProblem.SHORTFALL),
        ("stuck_domains", "stuck_domains", "stuck_nodes", NodeProblem.STUCK),
        ("unmet_domains", "unmet_domains", "unmet_nodes", NodeProblem.UNMET),
        ("conflicted_domains", "conflicted_domains", "conflicted_nodes", NodeProblem.CONFLICTED),
    ],
)
def test_a_node_is_in_trouble_from_the_first_domain_on(rollup, said, summed, counted, trouble):
    rollup.put_report(report("b", state(**{said: 1}), mark="2"), 10.0)
    assert figures(rollup) == TWO_NODES._replace(**{summed: 1, counted: 1})
    assert troubles(rollup) == [("b", trouble)]


def test_a_policy_that_nodes_do_not_tell_of_is_pending_there(rollup):
    rollup.put_policy(policy("other"))
    assert figures(rollup, "other") == PolicyCounts(nodes=2, reporting_nodes=2, pending_nodes=2)
    assert rollup.take_changed() == {"other"}


def test_a_policy_for_which_a_state_has_no_room_is_not_known_there(rollup):
    rollup.put_policy(policy("other"))
    rollup.put_report(replace(report("a", state(), mark="2"), left_out=3), 10.0)
    assert figures(rollup, "other") == PolicyCounts(nodes=2, reporting_nodes=2, pending_nodes=1, left_out_nodes=1)
    assert troubles(rollup, "other") == [("b", NodeProblem.PENDING), ("a", NodeProblem.LEFT_OUT)]


def test_a_policy_told_in_brief_is_followed_if_its_generation_is_the_present_one(rollup):
    rollup.put_policy(policy("other", generation=7, uid="11111111-2222-3333-4444-555555555555"))
    brief = {"11111111-2222": BriefPolicy(7, 5, 4, 1, 1), "99999999-9999": BriefPolicy(7, 9, 9, 9, 9)}
    rollup.put_report(replace(report("a", state(), mark="2"), brief=brief, left_out=3), 10.0)
    there = PolicyCounts(nodes=2, reporting_nodes=2, pending_nodes=1, conflicted_nodes=1, domains=5, stable_domains=4)
    there = there._replace(conflicted_domains=1, overridden_domains=1)
    assert figures(rollup, "other") == there
    assert troubles(rollup, "other") == [("b", NodeProblem.PENDING), ("a", NodeProblem.CONFLICTED)]
    rollup.put_policy(policy("other", generation=8, uid="11111111-2222-3333-4444-555555555555"))
    assert figures(rollup, "other") == there._replace(pending_nodes=2)
    brief |= {"11111111-2222": BriefPolicy(8, 5, 4, 0, 1)}
    rollup.put_report(replace(report("a", state(), mark="3"), brief=brief, left_out=3), 11.0)
    assert figures(rollup, "other") == there._replace(conflicted_domains=0, conflicted_nodes=0)


def test_a_new_generation_is_pending_until_nodes_observe_it(rollup):
    rollup.put_policy(policy(generation=2))
    assert figures(rollup) == TWO_NODES._replace(pending_nodes=2)
    rollup.put_report(report("a", state(generation=2), mark="2"), 10.0)
    assert figures(rollup) == TWO_NODES._replace(pending_nodes=1)
    assert troubles(rollup) == [("b", NodeProblem.PENDING)]


def test_only_nodes_that_the_selector_matches_count(rollup):
    rollup.put_policy(policy("gold", selector=GOLD))
    assert figures(rollup, "gold") == PolicyCounts()
    rollup.put_node("b", {"tier": "gold"})
    assert figures(rollup, "gold") == PolicyCounts(nodes=1, reporting_nodes=1, pending_nodes=1)
    rollup.put_node("b", {"tier": "tin"})
    assert figures(rollup, "gold") == PolicyCounts()


def test_a_selector_that_changes_counts_nodes_anew(rollup):
    rollup.put_policy(policy(selector=NodeSelector(names=("a",))))
    assert figures(rollup) == ONE_NODE


def test_a_node_that_never_had_a_state_runs_no_agent_and_does_not_count(rollup):
    rollup.put_node("control-plane", {})
    assert figures(rollup) == TWO_NODES
    assert rollup.take_changed() == frozenset()


def test_a_node_whose_node_object_is_gone_does_not_count_even_before_its_state_is_gone(rollup):
    rollup.drop_node("b")
    assert figures(rollup) == ONE_NODE
    rollup.drop_report("b")
    assert figures(rollup) == ONE_NODE
    assert (rollup.nodes(), rollup.reports()) == ({"a"}, {"a"})


def test_a_node_whose_state_is_gone_does_not_count(rollup):
    rollup.drop_report("b")
    assert figures(rollup) == ONE_NODE
    assert (rollup.nodes(), rollup.reports()) == ({"a", "b"}, {"a"})


def test_a_node_that_stops_reporting_becomes_unknown_and_says_since_when(rollup):
    rollup.put_report(report("b", state(), mark="2"), 300.0)
    rollup.take_changed()
    rollup.expire(STALE_AFTER_S - 0.001)
    assert rollup.take_changed() == frozenset()
    rollup.expire(STALE_AFTER_S)
    summary = rollup.summary("all")
    assert summary is not None
    assert summary.figures == ONE_NODE._replace(nodes=2, unknown_nodes=1)
    assert summary.worst == (
        Contribution("a", PolicyCounts(nodes=1, unknown_nodes=1), (NodeProblem.UNKNOWN,), "written-1"),
    )
    assert rollup.take_changed() == {"all"}


def test_every_node_becomes_unknown_in_its_time(rollup):
    rollup.put_report(report("b", state(), mark="2"), 300.0)
    rollup.expire(STALE_AFTER_S)
    rollup.expire(STALE_AFTER_S + 299.9)
    assert figures(rollup).unknown_nodes == 1
    rollup.expire(STALE_AFTER_S + 300.0)
    assert figures(rollup) == PolicyCounts(nodes=2, unknown_nodes=2)


def test_a_node_that_reports_again_is_known_again(rollup):
    rollup.expire(STALE_AFTER_S)
    rollup.put_report(report("a", state(), mark="2"), STALE_AFTER_S + 1)
    assert figures(rollup) == ONE_NODE._replace(nodes=2, unknown_nodes=1)


def test_a_state_told_again_is_no_sign_of_life(rollup):
    rollup.put_report(report("a", state()), 800.0)
    rollup.put_report(replace(report("a", state()), pressure=True), 800.0)
    rollup.expire(STALE_AFTER_S)
    assert figures(rollup).unknown_nodes == 2


def test_time_in_which_nobody_could_be_heard_is_held_against_nobody(rollup):
    rollup.excuse_outage(60.0, 400.0)
    rollup.expire(STALE_AFTER_S + 59.0)
    assert figures(rollup).unknown_nodes == 0
    rollup.expire(STALE_AFTER_S + 60.0)
    assert figures(rollup).unknown_nodes == 2


def test_a_time_of_silence_as_long_as_an_outage_is_one(rollup):
    rollup.excuse_outage(OUTAGE_S, 400.0)
    rollup.expire(400.0 + STALE_AFTER_S - 1.0)
    assert figures(rollup).unknown_nodes == 0
    rollup.expire(400.0 + STALE_AFTER_S)
    assert figures(rollup).unknown_nodes == 2


def test_of_a_node_that_is_gone_nothing_is_kept(rollup):
    for node in ("a", "b"):
        rollup.drop_node(node)
        rollup.drop_report(node)
    assert rollup._nodes == {}


def test_after_an_outage_every_node_has_all_the_time_again_and_who_was_silent_stays_so(rollup):
    rollup.put_report(report("b", state(), mark="2"), 800.0)
    rollup.expire(STALE_AFTER_S)
    rollup.excuse_outage(600.0, 1600.0)
    assert figures(rollup).unknown_nodes == 1
    rollup.put_report(report("b", state(), mark="3"), 1100.0)  # so old was it when it could be heard again
    rollup.expire(1600.0 + STALE_AFTER_S - 1.0)
    assert figures(rollup).unknown_nodes == 1
    rollup.expire(1600.0 + STALE_AFTER_S)
    assert figures(rollup).unknown_nodes == 2


def test_a_state_that_cannot_be_read_counts_as_such(rollup):
    rollup.put_report(NodeReport("b", "2", "", problem="status.domains: missing"), 10.0)
    assert figures(rollup) == ONE_NODE._replace(nodes=2, unreadable_nodes=1)
    assert troubles(rollup) == [("b", NodeProblem.UNREADABLE)]


def test_a_policy_that_cannot_be_read_is_for_no_node(rollup):
    rollup.put_policy(policy(generation=2, selector=None))
    assert figures(rollup) == PolicyCounts()


def test_a_policy_that_is_gone_has_no_summary(rollup):
    rollup.put_policy(policy("other"))
    rollup.drop_policy("other")
    assert rollup.summary("other") is None
    rollup.put_node("a", {"some": "label"})
    assert rollup.take_changed() == frozenset()


def test_what_nodes_say_of_a_predecessor_of_the_same_name_does_not_count(rollup):
    rollup.drop_policy("all")
    rollup.put_policy(policy(uid="anew"))
    assert figures(rollup) == PolicyCounts(nodes=2, reporting_nodes=2, pending_nodes=2)
    assert rollup.take_changed() == {"all"}
    rollup.put_report(report("a", state(uid="anew"), mark="2"), 1.0)
    assert troubles(rollup) == [("b", NodeProblem.PENDING)]
    rollup.put_report(report("b", state(uid="anew"), mark="2"), 1.0)
    assert figures(rollup) == TWO_NODES


def test_a_predecessor_is_pending_also_where_a_state_has_no_room_for_all(rollup):
    rollup.put_report(replace(report("a", state(uid="before"), mark="2"), left_out=1), 1.0)
    assert troubles(rollup) == [("a", NodeProblem.PENDING)]


def test_what_is_told_again_changes_nothing(rollup):
    rollup.put_policy(policy())
    rollup.put_node("a", {})
    rollup.put_report(report("a", state()), 5.0)
    rollup.drop_node("never seen")
    rollup.drop_report("never seen")
    rollup.drop_policy("never seen")
    assert rollup.take_changed() == frozenset()


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"shortfall": 1, "stable_domains": 3}, {"stable_domains": 0}),  # the worst of its troubles counts
        ({"shortfall": 2}, {"shortfall": 1, "stuck_domains": 4, "stable_domains": 0}),
        ({"stuck_domains": 2}, {"stuck_domains": 1}),
        ({"stuck_domains": 1, "stable_domains": 1}, {"stuck_domains": 2, "stable_domains": 2}),  # more of either kind
        ({"stable_domains": 2}, {"domains": 9, "stable_domains": 8}),
        ({"unmet_domains": 1}, {"unmet_domains": 1}),
    ],
)
def test_of_two_nodes_in_trouble_the_worse_comes_first_and_else_the_first_by_name(rollup, worse, better):
    rollup.put_report(report("a", state(**(worse if worse == better else better)), mark="2"), 1.0)
    rollup.put_report(report("b", state(**worse), mark="2"), 1.0)
    assert [node for node, _ in troubles(rollup)] == (["a", "b"] if worse == better else ["b", "a"])


def test_no_more_domains_are_stable_than_there_are(rollup):
    rollup.put_report(report("b", state(stable_domains=5), mark="2"), 1.0)
    assert figures(rollup) == TWO_NODES
    rollup.put_policy(policy("other", uid="11111111-2222-3333-4444-555555555555"))
    brief = {"11111111-2222": BriefPolicy(1, 5, 6, 0, 0)}
    rollup.put_report(replace(report("a", state(), mark="2"), brief=brief), 1.0)
    assert figures(rollup, "other").stable_domains == 5


def test_the_worst_nodes_come_first_and_are_few():
    rollup = Rollup()
    rollup.put_policy(policy())
    ill = [
        (state(stable_domains=3), NodeProblem.UNSTABLE),
        (state(conflicted_domains=1), NodeProblem.CONFLICTED),
        (state(generation=0), NodeProblem.PENDING),
        (state(unmet_domains=1), NodeProblem.UNMET),
        (state(stuck_domains=1, stable_domains=1), NodeProblem.STUCK),
        (state(shortfall=5), NodeProblem.SHORTFALL),
        (state(shortfall=50), NodeProblem.SHORTFALL),
    ]
    for number, (each, _) in enumerate(ill):
        rollup.put_node(f"n{number}", {})
        rollup.put_report(report(f"n{number}", each), 0.0)
    rollup.put_node("well", {})
    rollup.put_report(report("well", state()), 0.0)
    assert troubles(rollup) == [
        ("n6", NodeProblem.SHORTFALL),
        ("n5", NodeProblem.SHORTFALL),
        ("n4", NodeProblem.STUCK),
        ("n3", NodeProblem.UNMET),
        ("n2", NodeProblem.PENDING),
        ("n1", NodeProblem.CONFLICTED),
        ("n0", NodeProblem.UNSTABLE),
    ]
    for number in range(20):
        rollup.put_node(f"x{number:02}", {})
        rollup.put_report(report(f"x{number:02}", state(stable_domains=0)), 0.0)
    assert len(troubles(rollup)) == WORST_NODES
    assert troubles(rollup)[6] == ("x00", NodeProblem.UNSTABLE)


def test_a_host_short_of_memory_is_a_trouble_where_the_policy_has_domains():
    rollup = Rollup()
    rollup.put_policy(policy())
    for node, domains in (("full", 1), ("empty", 0)):
        rollup.put_node(node, {})
        rollup.put_report(report(node, state(domains=domains, stable_domains=domains), pressure=True), 0.0)
    assert troubles(rollup) == [("full", NodeProblem.PRESSURE)]


names = st.sampled_from(["n1", "n2", "n3"])
policies = st.sampled_from(["p", "q"])
selectors = st.sampled_from([EVERYWHERE, GOLD, NodeSelector(names=("n1", "n2")), None])
counts = st.integers(0, 3)
parts = st.fixed_dictionaries({"stable_domains": counts, "stuck_domains": counts})
uids = st.sampled_from(["", "another"])


@st.composite
def events(draw):  # noqa: PLR0911 - one a kind of event
    """Something that happens to a cluster: the name of the rollup's method and its arguments."""
    kind = draw(
        st.sampled_from(["policy", "no policy", "node", "no node", "report", "no report", "time", "excuse_outage"])
    )
    match kind:
        case "policy":
            return "put_policy", (policy(draw(policies), draw(counts), draw(selectors), draw(uids)),)
        case "no policy":
            return "drop_policy", (draw(policies),)
        case "node":
            return "put_node", (draw(names), draw(st.sampled_from([{}, {"tier": "gold"}])))
        case "no node":
            return "drop_node", (draw(names),)
        case "report":
            states = [
                state(
                    name, draw(counts), draw(uids), domains=3, stable_domains=draw(counts), stuck_domains=draw(counts)
                )
                for name in draw(st.sets(policies))
            ]
            made = report(draw(names), *states, mark=str(draw(counts)), pressure=draw(st.booleans()))
            return "put_report", (replace(made, policies=None) if draw(st.integers(0, 9)) == 0 else made,)
        case "no report":
            return "drop_report", (draw(names),)
        case _:
            return kind, (draw(st.sampled_from([1.0, STALE_AFTER_S / 2, STALE_AFTER_S])),)


class ReferenceRollup:
    """The same cluster without any sums: what is there now, summed up afresh when asked."""

    def __init__(self) -> None:
        self.policies: dict[str, Policy] = {}
        self.nodes: dict[str, dict[str, str]] = {}
        self.reports: dict[str, NodeReport] = {}
        self.heard: dict[str, float] = {}
        self.stale: set[str] = set()

    def happen(self, kind: str, arguments: tuple, now: float) -> None:
        first = arguments[0]
        match kind:
            case "put_policy":
                self.policies[first.name] = first
            case "drop_policy":
                self.policies.pop(first, None)
            case "put_node":
                self.nodes[first] = arguments[1]
            case "drop_node":
                self.nodes.pop(first, None)
            case "put_report":
                before = self.reports.get(first.node)
                if before is None or before.mark != first.mark:
                    self.heard[first.node] = now
                    self.stale.discard(first.node)
                self.reports[first.node] = first
            case "drop_report":
                self.reports.pop(first, None)
            case "excuse_outage":
                self.heard = {node: now if first >= OUTAGE_S else at + first for node, at in self.heard.items()}
        if kind == "time":
            self.stale |= {node for node in self.reports if now - self.heard[node] >= STALE_AFTER_S}

    def fresh(self, name: str) -> tuple[PolicyCounts, list[Contribution]]:
        policy_ = self.policies[name]
        shares = [
            contribution(name, policy_.uid, policy_.generation, self.reports[node], node in self.stale)
            for node, labels in self.nodes.items()
            if node in self.reports and policy_.selector and matches_node(policy_.selector, node, labels)
        ]
        total = (
            PolicyCounts(*map(sum, zip(*(each.figures for each in shares), strict=True))) if shares else PolicyCounts()
        )
        return total, sorted((each for each in shares if each.troubles), key=lambda each: each.badness)


@settings(max_examples=4 * settings().max_examples)
@given(st.lists(events(), max_size=40))
def test_incremental_sums_are_fresh_sums_after_any_events_in_any_order(happened):
    rollup, model, now = Rollup(), ReferenceRollup(), 0.0
    told: dict[str, object] = {}
    for kind, arguments in happened:
        if kind in {"time", "excuse_outage"}:
            now += arguments[0]
        model.happen(kind, arguments, now)
        if kind == "time":
            rollup.expire(now)
        elif kind in {"put_report", "excuse_outage"}:
            getattr(rollup, kind)(*arguments, now)
        else:
            getattr(rollup, kind)(*arguments)
        changed = rollup.take_changed()
        assert rollup.policies() == model.policies.keys()
        for name in model.policies:
            summary = rollup.summary(name)
            assert summary is not None
            assert (summary.figures, list(summary.worst)) == model.fresh(name)
            assert name in changed or summary == told.get(name)
            told[name] = summary
        told = {name: summary for name, summary in told.items() if name in model.policies}
    assert (rollup.nodes(), rollup.reports()) == (model.nodes.keys(), model.reports.keys())

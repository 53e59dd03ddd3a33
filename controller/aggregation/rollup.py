"""One sum a policy over all nodes, kept up to date: an event of one node touches only what that node adds."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.aggregation.contribution import Contribution, NodeReport, PolicyCounts, contribution
from controller.api.policy import NodeSelector, Rollout
from controller.api.policystatus import WORST_NODES
from controller.api.selectors import matches_node

STALE_AFTER_S = 900.0
"""Seconds without a report after which a node is Unknown: an agent reports every 5 minutes, so three are missing."""
OUTAGE_S = 90.0
"""Seconds in which nothing could be heard that make an outage. The API server says something every minute."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, as far as sums need it."""

    name: str
    uid: str
    generation: int
    selector: NodeSelector | None
    """None when the policy cannot be read: then it is for no node."""
    problem: str = ""
    """Why the policy cannot be read: one line that names field, value and remedy."""
    rollout: Rollout | None = None
    """How many of its nodes enforce it; None where all of them may, or none."""


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """What is known of one policy on all its nodes."""

    policy: Policy
    figures: PolicyCounts
    worst: tuple[Contribution, ...]
    """Shares of the nodes that a person should look at, the worst first, at most WORST_NODES."""
    nodes: tuple[str, ...] = ()
    """Names of all of its nodes, under a rollout."""
    reporting: tuple[str, ...] = ()
    """Of these, the ones that report."""


@dataclass(slots=True)
class _Node:
    labels: Mapping[str, str] | None = None
    """None without a Node object."""
    report: NodeReport | None = None
    heard_at: float = float("-inf")
    stale: bool = False
    matched: set[str] = field(default_factory=set)
    """Policies that are for this node."""


@dataclass(slots=True)
class _PolicyRollup:
    policy: Policy
    figures: PolicyCounts = field(default_factory=PolicyCounts)
    shares: dict[str, Contribution] = field(default_factory=dict)
    troubled: dict[str, Contribution] = field(default_factory=dict)


class Rollup:
    """The sums. Times are seconds of one clock of the caller's that never jumps.

    A node counts for a policy when there is a Node object that the policy selects and a state of that node. A Node that
    never had a state runs no agent (control planes, nodes without libvirt) and is not waited for; one that had an
    agent keeps its state, and so keeps counting, until the Node is deleted.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._rollups: dict[str, _PolicyRollup] = {}
        self._changed: set[str] = set()

    def put_policy(self, policy: Policy) -> None:
        """A policy is there, or changed."""
        rollup = self._rollups.get(policy.name)
        if rollup is not None and rollup.policy == policy:
            return
        if rollup is None or rollup.policy.selector != policy.selector:
            self._match(policy)
        self._rollups[policy.name] = rollup = _PolicyRollup(policy)
        for name, node in self._nodes.items():
            self._recount(rollup, name, node)
        self._changed.add(policy.name)

    def drop_policy(self, name: str) -> None:
        """A policy is gone."""
        if self._rollups.pop(name, None) is not None:
            for node in self._nodes.values():
                node.matched.discard(name)
            self._changed.discard(name)

    def put_node(self, name: str, labels: Mapping[str, str]) -> None:
        """A Node is there, or its labels changed."""
        node = self._nodes.setdefault(name, _Node())
        if node.labels == labels:
            return
        node.labels = dict(labels)
        before, node.matched = node.matched, self._selecting(name, node.labels)
        self._recount_all(name, node, before | node.matched)

    def drop_node(self, name: str) -> None:
        """A Node is gone: it counts no more, even while its state is still there."""
        node = self._nodes.get(name)
        if node is None:
            return
        node.labels = None
        before, node.matched = node.matched, set()
        self._recount_all(name, node, before)
        self._forget(name, node)

    def put_report(self, report: NodeReport, heard_at: float) -> None:
        """A node's state is there, or changed. A state that is merely told again is no sign of life."""
        node = self._nodes.setdefault(report.node, _Node())
        if node.report == report:
            return
        if node.report is None or node.report.mark != report.mark:
            known = node.report is not None and not node.stale
            node.heard_at, node.stale = max(heard_at, node.heard_at) if known else heard_at, False
        node.report = report
        self._recount_all(report.node, node, node.matched)

    def drop_report(self, name: str) -> None:
        """A node's state is gone."""
        node = self._nodes.get(name)
        if node is None:
            return
        node.report = None
        self._recount_all(name, node, node.matched)
        self._forget(name, node)

    def expire(self, now: float) -> None:
        """Nodes not heard of for STALE_AFTER_S are silent from now on. Of 10,000 nodes it takes a millisecond."""
        for name, node in self._nodes.items():
            if not node.stale and now - node.heard_at >= STALE_AFTER_S:
                node.stale = True
                self._recount_all(name, node, node.matched)

    def excuse_outage(self, seconds: float, now: float) -> None:
        """For so long nobody could be heard, until `now`: it is held against no node.

        After an outage every node has all the time again: agents could not report either, and come back one by one.
        """
        for node in self._nodes.values():
            node.heard_at = now if seconds >= OUTAGE_S else node.heard_at + seconds

    def take_changed(self) -> frozenset[str]:
        """Policies whose sums may have changed since the last call."""
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def figures(self) -> dict[str, PolicyCounts]:
        """The sums of every policy, by name."""
        return {name: rollup.figures for name, rollup in self._rollups.items()}

    def rollouts(self) -> tuple[Policy, ...]:
        """Policies that some of their nodes enforce at a time."""
        return tuple(rollup.policy for rollup in self._rollups.values() if rollup.policy.rollout)

    def policies(self) -> frozenset[str]:
        """Names of all policies."""
        return frozenset(self._rollups)

    def nodes(self) -> frozenset[str]:
        """Names of all Nodes."""
        return frozenset(name for name, node in self._nodes.items() if node.labels is not None)

    def reports(self) -> frozenset[str]:
        """Names of all nodes that have a state."""
        return frozenset(name for name, node in self._nodes.items() if node.report is not None)

    def summary(self, name: str) -> PolicySummary | None:
        """What is known of a policy; None when it is gone."""
        rollup = self._rollups.get(name)
        if rollup is None:
            return None
        worst = heapq.nsmallest(WORST_NODES, rollup.troubled.values(), key=lambda each: each.badness)
        shares = rollup.shares if rollup.policy.rollout else {}
        reporting = tuple(name for name, each in shares.items() if each.figures.reporting_nodes)
        return PolicySummary(rollup.policy, rollup.figures, tuple(worst), tuple(shares), reporting)

    def _match(self, policy: Policy) -> None:
        for name, node in self._nodes.items():
            if node.labels is not None and _selects(policy, name, node.labels):
                node.matched.add(policy.name)
            else:
                node.matched.discard(policy.name)

    def _selecting(self, name: str, labels: Mapping[str, str]) -> set[str]:
        policies = (rollup.policy for rollup in self._rollups.values())
        return {policy.name for policy in policies if _selects(policy, name, labels)}

    def _recount_all(self, name: str, node: _Node, policies: set[str]) -> None:
        for policy in policies:
            self._recount(self._rollups[policy], name, node)

    def _recount(self, rollup: _PolicyRollup, name: str, node: _Node) -> None:
        """Replace what the node adds to the policy."""
        policy = rollup.policy
        before, after = rollup.shares.get(name), None
        if node.report is not None and policy.name in node.matched:
            after = contribution(policy.name, policy.uid, policy.generation, node.report, node.stale)
        if before == after:
            return
        rollup.shares.pop(name, None)
        rollup.troubled.pop(name, None)
        if before is not None:
            rollup.figures = rollup.figures.minus(before.figures)
        if after is not None:
            rollup.figures = rollup.figures.plus(after.figures)
            rollup.shares[name] = after
            if after.troubles:
                rollup.troubled[name] = after
        self._changed.add(policy.name)

    def _forget(self, name: str, node: _Node) -> None:
        if node.labels is None and node.report is None:
            del self._nodes[name]


def _selects(policy: Policy, name: str, labels: Mapping[str, str]) -> bool:
    return policy.selector is not None and matches_node(policy.selector, name, labels)

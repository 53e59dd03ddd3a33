"""One sum a policy over all nodes, kept up to date: news of one node touches only what that node adds."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.aggregation.figures import Figures, Report, Share, share
from controller.api.policy import NodeSelector, Rollout
from controller.api.policystatus import WORST_NODES
from controller.api.selectors import matches_node

SILENCE_S = 900.0
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
class Summary:
    """What is known of one policy on all its nodes."""

    policy: Policy
    figures: Figures
    worst: tuple[Share, ...]
    """Shares of the nodes that a person should look at, the worst first, at most WORST_NODES."""
    nodes: tuple[str, ...] = ()
    """Names of all of its nodes, under a rollout."""
    reporting: tuple[str, ...] = ()
    """Of these, the ones that report."""


@dataclass(slots=True)
class _Node:
    labels: Mapping[str, str] | None = None
    """None without a Node object."""
    report: Report | None = None
    heard_at: float = 0.0
    silent: bool = False
    matched: set[str] = field(default_factory=set)
    """Policies that are for this node."""


@dataclass(slots=True)
class _Account:
    policy: Policy
    figures: Figures = field(default_factory=Figures)
    shares: dict[str, Share] = field(default_factory=dict)
    troubled: dict[str, Share] = field(default_factory=dict)


class Ledger:
    """The sums. Times are seconds of one clock of the caller's that never jumps.

    A node counts for a policy when there is a Node object that the policy selects and a state of that node. A Node that
    never had a state runs no agent (control planes, nodes without libvirt) and is not waited for; one that had an
    agent keeps its state, and so keeps counting, until the Node is deleted.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._accounts: dict[str, _Account] = {}
        self._changed: set[str] = set()
        self._next_silence = float("inf")

    def put_policy(self, policy: Policy) -> None:
        """A policy is there, or changed."""
        account = self._accounts.get(policy.name)
        if account is not None and account.policy == policy:
            return
        if account is None or account.policy.selector != policy.selector:
            self._match(policy)
        self._accounts[policy.name] = account = _Account(policy)
        for name, node in self._nodes.items():
            self._book(account, name, node)
        self._changed.add(policy.name)

    def drop_policy(self, name: str) -> None:
        """A policy is gone."""
        if self._accounts.pop(name, None) is not None:
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
        self._rebook(name, node, before | node.matched)

    def drop_node(self, name: str) -> None:
        """A Node is gone: it counts no more, even while its state is still there."""
        node = self._nodes.get(name)
        if node is None:
            return
        node.labels = None
        before, node.matched = node.matched, set()
        self._rebook(name, node, before)
        self._forget(name, node)

    def put_report(self, report: Report, heard_at: float) -> None:
        """A node's state is there, or changed. A state that is merely told again is no sign of life."""
        node = self._nodes.setdefault(report.node, _Node())
        if node.report == report:
            return
        if node.report is None or node.report.mark != report.mark:
            known = node.report is not None and not node.silent
            node.heard_at, node.silent = max(heard_at, node.heard_at) if known else heard_at, False
            self._next_silence = min(self._next_silence, node.heard_at + SILENCE_S)
        node.report = report
        self._rebook(report.node, node, node.matched)

    def drop_report(self, name: str) -> None:
        """A node's state is gone."""
        node = self._nodes.get(name)
        if node is None or node.report is None:
            return
        node.report = None
        self._rebook(name, node, node.matched)
        self._forget(name, node)

    def expire(self, now: float) -> None:
        """Nodes not heard of for SILENCE_S are silent from now on. Cheap while none can be."""
        if now < self._next_silence:
            return
        self._next_silence = float("inf")
        for name, node in self._nodes.items():
            if node.report is None or node.silent:
                continue
            if now - node.heard_at >= SILENCE_S:
                node.silent = True
                self._rebook(name, node, node.matched)
            else:
                self._next_silence = min(self._next_silence, node.heard_at + SILENCE_S)

    def deaf(self, seconds: float, now: float) -> None:
        """For so long nobody could be heard, until `now`: it is held against no node.

        After an outage every node has all the time again: agents could not report either, and come back one by one.
        """
        for node in self._nodes.values():
            node.heard_at = now if seconds >= OUTAGE_S else node.heard_at + seconds

    def take_changed(self) -> frozenset[str]:
        """Policies whose sums may have changed since the last call."""
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def figures(self) -> dict[str, Figures]:
        """The sums of every policy, by name."""
        return {name: account.figures for name, account in self._accounts.items()}

    def policies(self) -> frozenset[str]:
        """Names of all policies."""
        return frozenset(self._accounts)

    def nodes(self) -> frozenset[str]:
        """Names of all Nodes."""
        return frozenset(name for name, node in self._nodes.items() if node.labels is not None)

    def reports(self) -> frozenset[str]:
        """Names of all nodes that have a state."""
        return frozenset(name for name, node in self._nodes.items() if node.report is not None)

    def summary(self, name: str) -> Summary | None:
        """What is known of a policy; None when it is gone."""
        account = self._accounts.get(name)
        if account is None:
            return None
        worst = heapq.nsmallest(WORST_NODES, account.troubled.values(), key=lambda each: each.badness)
        shares = account.shares if account.policy.rollout else {}
        reporting = tuple(name for name, each in shares.items() if each.figures.reporting_nodes)
        return Summary(account.policy, account.figures, tuple(worst), tuple(shares), reporting)

    def _match(self, policy: Policy) -> None:
        for name, node in self._nodes.items():
            if node.labels is not None and _selects(policy, name, node.labels):
                node.matched.add(policy.name)
            else:
                node.matched.discard(policy.name)

    def _selecting(self, name: str, labels: Mapping[str, str]) -> set[str]:
        policies = (account.policy for account in self._accounts.values())
        return {policy.name for policy in policies if _selects(policy, name, labels)}

    def _rebook(self, name: str, node: _Node, policies: set[str]) -> None:
        for policy in policies:
            self._book(self._accounts[policy], name, node)

    def _book(self, account: _Account, name: str, node: _Node) -> None:
        """Replace what the node adds to the policy."""
        policy = account.policy
        before, after = account.shares.get(name), None
        if node.report is not None and policy.name in node.matched:
            after = share(policy.name, policy.uid, policy.generation, node.report, node.silent)
        if before == after:
            return
        account.shares.pop(name, None)
        account.troubled.pop(name, None)
        if before is not None:
            account.figures = account.figures.minus(before.figures)
        if after is not None:
            account.figures = account.figures.plus(after.figures)
            account.shares[name] = after
            if after.troubles:
                account.troubled[name] = after
        self._changed.add(policy.name)

    def _forget(self, name: str, node: _Node) -> None:
        if node.labels is None and node.report is None:
            del self._nodes[name]


def _selects(policy: Policy, name: str, labels: Mapping[str, str]) -> bool:
    return policy.selector is not None and matches_node(policy.selector, name, labels)

"""What one node adds to one policy: numbers that sum up, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from operator import add, sub
from typing import NamedTuple

from controller.api.nodestate import BriefPolicy, PolicyState, brief_key


class PolicyCounts(NamedTuple):
    """Numbers of one node, or of many. A node that does not report adds nothing but itself."""

    nodes: int = 0
    reporting_nodes: int = 0
    unknown_nodes: int = 0
    """Stopped reporting."""
    unreadable_nodes: int = 0
    """Report what this version cannot read."""
    pending_nodes: int = 0
    """Report, but have not taken up the policy's present generation."""
    left_out_nodes: int = 0
    """Report, but have no room for this policy: what it does there is not known."""
    short_nodes: int = 0
    """Have a domain whose demand is above its allocation."""
    stuck_nodes: int = 0
    """Have a domain whose balloon does not move."""
    unmet_nodes: int = 0
    """Have a domain with less than its minimum, for which there is no room."""
    conflicted_nodes: int = 0
    """Have a domain that another policy of the same priority owns."""
    domains: int = 0
    stable_domains: int = 0
    conflicted_domains: int = 0
    overridden_domains: int = 0
    stuck_domains: int = 0
    unmet_domains: int = 0
    reallocations: int = 0
    looks: int = 0
    looks_saved: int = 0
    shortfall_mebibytes: int = 0

    def plus(self, other: "PolicyCounts") -> "PolicyCounts":
        """The sum, number by number."""
        return PolicyCounts(*map(add, self, other))

    def minus(self, other: "PolicyCounts") -> "PolicyCounts":
        """The difference, number by number."""
        return PolicyCounts(*map(sub, self, other))


class NodeProblem(Enum):
    """Why a person should look at a node, the worst first."""

    UNKNOWN = "Unknown"
    UNREADABLE = "Unreadable"
    SHORTFALL = "Shortfall"
    STUCK = "Stuck"
    UNMET = "Unmet"
    PRESSURE = "Pressure"
    PENDING = "Pending"
    LEFT_OUT = "LeftOut"
    CONFLICTED = "Conflicted"
    UNSTABLE = "Unstable"


_RANK = {trouble: rank for rank, trouble in enumerate(NodeProblem)}


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The newest state of one node, as far as sums need it."""

    node: str
    mark: str
    """Differs from report to report: the node's own clock, which is compared with nothing else."""
    reported_at: str
    """RFC 3339 time of the API server's clock at which the state was written; empty where it is not known."""
    pressure: bool = False
    """The host itself is short of memory."""
    policies: Mapping[str, PolicyState] | None = None
    """By name; None when the state cannot be read."""
    brief: Mapping[str, BriefPolicy] = field(default_factory=dict)
    """By `brief_key`, further policies, of which less is said."""
    left_out: int = 0
    """Policies in force on the node of which the state says nothing, for want of room."""
    problem: str = ""
    """Why the state cannot be read."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one node adds to one policy."""

    node: str
    figures: PolicyCounts
    troubles: tuple[NodeProblem, ...] = ()
    """The worst first."""
    reported_at: str = ""
    """When an Unknown node last reported."""

    @property
    def badness(self) -> tuple[int, int, int, str]:
        """Sorts shares with troubles, the worst first: by kind of trouble, by how much, then by name."""
        figures = self.figures
        unstable = figures.domains - figures.stable_domains
        return _RANK[self.troubles[0]], -figures.shortfall_mebibytes, -max(figures.stuck_domains, unstable), self.node


def contribution(policy: str, uid: str, generation: int, report: NodeReport, stale: bool) -> Contribution:
    """What the node of `report` adds to a policy that is for it.

    `stale` nodes have not been heard for too long: what they last said is no knowledge of the present. Nor is it known
    what a policy does that a state does not name, where the state has no room for all. What is said of a policy with
    another `uid` is about a predecessor of the same name, and tells nothing of this one.
    """
    if stale:
        return Contribution(
            report.node, PolicyCounts(nodes=1, unknown_nodes=1), (NodeProblem.UNKNOWN,), report.reported_at
        )
    if report.policies is None:
        return Contribution(report.node, PolicyCounts(nodes=1, unreadable_nodes=1), (NodeProblem.UNREADABLE,))
    figures = _figures(report.policies.get(policy), report, uid, generation)
    return Contribution(report.node, figures, _troubles(figures, report.pressure))


def _figures(state: PolicyState | None, report: NodeReport, uid: str, generation: int) -> PolicyCounts:
    """Of a node that reports, what it says of the policy: its `state`, or in brief."""
    brief = report.brief.get(brief_key(uid))
    if state is not None and state.uid == uid:
        return _of_state(state, pending=state.observed_generation != generation)
    if brief is not None:
        return _of_brief(brief, pending=brief.observed_generation != generation)
    if state is None and report.left_out:
        return PolicyCounts(nodes=1, reporting_nodes=1, left_out_nodes=1)
    return PolicyCounts(nodes=1, reporting_nodes=1, pending_nodes=1)


def _of_brief(brief: BriefPolicy, pending: bool) -> PolicyCounts:
    return PolicyCounts(
        nodes=1,
        reporting_nodes=1,
        pending_nodes=int(pending),
        conflicted_nodes=int(brief.conflicted_domains > 0),
        domains=brief.domains,
        stable_domains=min(brief.stable_domains, brief.domains),
        conflicted_domains=brief.conflicted_domains,
        overridden_domains=brief.overridden_domains,
    )


def _of_state(state: PolicyState, pending: bool) -> PolicyCounts:
    return PolicyCounts(
        nodes=1,
        reporting_nodes=1,
        pending_nodes=int(pending),
        short_nodes=int(state.shortfall > 0),
        stuck_nodes=int(state.stuck_domains > 0),
        unmet_nodes=int(state.unmet_domains > 0),
        conflicted_nodes=int(state.conflicted_domains > 0),
        domains=state.domains,
        stable_domains=min(state.stable_domains, state.domains),
        conflicted_domains=state.conflicted_domains,
        overridden_domains=state.overridden_domains,
        stuck_domains=state.stuck_domains,
        unmet_domains=state.unmet_domains,
        reallocations=state.reallocations,
        looks=state.looks,
        looks_saved=state.looks_saved,
        shortfall_mebibytes=state.shortfall,
    )


def _troubles(figures: PolicyCounts, pressure: bool) -> tuple[NodeProblem, ...]:
    has = {
        NodeProblem.SHORTFALL: figures.short_nodes > 0,
        NodeProblem.STUCK: figures.stuck_nodes > 0,
        NodeProblem.UNMET: figures.unmet_nodes > 0,
        NodeProblem.PRESSURE: pressure and figures.domains > 0,
        NodeProblem.PENDING: figures.pending_nodes > 0,
        NodeProblem.LEFT_OUT: figures.left_out_nodes > 0,
        NodeProblem.CONFLICTED: figures.conflicted_nodes > 0,
        NodeProblem.UNSTABLE: figures.stable_domains < figures.domains,
    }
    return tuple(trouble for trouble, present in has.items() if present)

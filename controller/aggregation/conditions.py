"""What the sums of a policy mean: the conditions, each with a reason and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from controller.aggregation.contribution import NodeProblem, PolicyCounts
from controller.aggregation.rollup import PolicySummary
from controller.api.nodestate import MESSAGE_CHARACTERS, ConditionStatus
from controller.api.policystatus import ConditionType
from controller.api.printable import cut

NAMED = 3
"""Nodes named in a message; `worstNodes` has more of them."""


@dataclass(frozen=True, slots=True)
class UntimedCondition:
    """A condition without its times."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str


def conditions(summary: PolicySummary) -> tuple[UntimedCondition, ...]:
    """All conditions of a policy, always the same four, in the same order."""
    return tuple(_cut(judge(summary)) for judge in (_ready, _stable, _degraded, _conflicted))


def _ready(summary: PolicySummary) -> UntimedCondition:
    """Every node that should run the policy has taken it up."""
    policy, figures = summary.policy, summary.figures
    hindrance = next(_hindrances(summary), None)
    if hindrance is not None:
        return UntimedCondition("Ready", "False", *hindrance)
    if figures.nodes == 0:
        return UntimedCondition("Ready", "False", "NoNodes", _NO_NODES)
    if figures.pending_nodes:
        message = (
            f"{_have(figures.pending_nodes, figures.nodes)} not taken up generation {policy.generation} yet: "
            f"{_names(summary, NodeProblem.PENDING, figures.pending_nodes)}; agents need seconds: after a minute, "
            "see their logs"
        )
        return UntimedCondition("Ready", "False", "NodesPending", message)
    if figures.left_out_nodes:
        return UntimedCondition("Ready", "Unknown", *_left_out(summary))
    follow = "follows" if figures.nodes == 1 else "follow"
    message = f"{figures.nodes} of {_plural(figures.nodes, 'node')} {follow} generation {policy.generation}"
    return UntimedCondition("Ready", "True", "AllNodesFollow", message)


def _stable(summary: PolicySummary) -> UntimedCondition:
    """Every domain is stable, as far as anybody knows."""
    figures = summary.figures
    unstable = figures.domains - figures.stable_domains
    if unstable:
        message = (
            f"{unstable} of {_plural(figures.domains, 'domain')} need memory moved often and are looked at often; "
            "if they do so for long, raise spec.advanced.threshold or spec.headroom, or accept it in "
            "spec.advanced.stability"
        )
        return UntimedCondition("Stable", "False", "DomainsUnstable", message)
    gap = next(_gaps(summary), None)
    if gap is not None:
        return UntimedCondition("Stable", "Unknown", *gap)
    if figures.domains == 0:
        return UntimedCondition(
            "Stable", "True", "NoDomains", f"the policy owns no domain; {_why_none(figures)}, if it should"
        )
    return UntimedCondition(
        "Stable", "True", "AllDomainsStable", f"all of {_plural(figures.domains, 'domain')} are stable"
    )


def _degraded(summary: PolicySummary) -> UntimedCondition:
    """Something is wrong that does not mend by itself."""
    faults = [*_hindrances(summary), *_shortages(summary)]
    if not faults and summary.figures.left_out_nodes:
        return UntimedCondition("Degraded", "Unknown", *_left_out(summary))
    if not faults:
        return UntimedCondition("Degraded", "False", "AsExpected", "nothing needs a person")
    return UntimedCondition("Degraded", "True", faults[0][0], "; ".join(message for _, message in faults))


def _conflicted(summary: PolicySummary) -> UntimedCondition:
    """Another policy of the same priority owns domains that this one selects."""
    figures, gap = summary.figures, next(_gaps(summary), None)
    if not figures.conflicted_domains and gap is not None:
        return UntimedCondition("Conflicted", "Unknown", *gap)
    if not figures.conflicted_domains:
        return UntimedCondition("Conflicted", "False", *_no_conflict(figures))
    message = (
        f"{_plural(figures.conflicted_domains, 'domain')} that this policy selects too: another policy of the same "
        f"priority owns them, on {_names(summary, NodeProblem.CONFLICTED, figures.conflicted_nodes)}; "
        "narrow spec.domainSelector or spec.selectors, or change spec.priority"
    )
    return UntimedCondition("Conflicted", "True", "OwnedByOthers", message)


def _gaps(summary: PolicySummary) -> Iterator[tuple[str, str]]:
    """Why nobody knows whether all domains are stable, or are some other policy's, or whether there are any."""
    figures = summary.figures
    yield from _hindrances(summary)
    if figures.nodes == 0:
        yield "NoNodes", _NO_NODES
    if figures.left_out_nodes:
        yield _left_out(summary)
    if figures.domains == 0 and figures.pending_nodes:
        yield "NodesPending", "not every node has taken up the policy yet"


def _why_none(figures: PolicyCounts) -> str:
    if figures.overridden_domains:
        return f"policies of higher priority own {figures.overridden_domains} that it selects; raise spec.priority"
    return "check spec.domainSelector, spec.selectors and spec.priority"


def _no_conflict(figures: PolicyCounts) -> tuple[str, str]:
    if not figures.overridden_domains:
        return "NoConflict", "no other policy owns a domain that this one selects"
    message = f"policies of higher priority own {_plural(figures.overridden_domains, 'domain')} that this one selects"
    return "Overridden", message


def _left_out(summary: PolicySummary) -> tuple[str, str]:
    """Why nobody knows how the policy does on some nodes: more policies than their states have room for."""
    figures = summary.figures
    message = (
        f"{_have(figures.left_out_nodes, figures.nodes)} no room for this policy in the state: "
        f"{_names(summary, NodeProblem.LEFT_OUT, figures.left_out_nodes)}; have fewer policies for each node, by "
        "spec.nodeSelector or by putting several into one"
    )
    return "PoliciesLeftOut", message


_NO_NODES = (
    "no node with an agent is selected; check spec.nodeSelector, and with `kubectl get nodememorystates` "
    "that agents run where guests run"
)


def _hindrances(summary: PolicySummary) -> Iterator[tuple[str, str]]:
    """What keeps anybody from knowing how the policy does: reason and message each, the worst first."""
    policy, figures = summary.policy, summary.figures
    if policy.problem:
        yield "PolicyUnreadable", f"this version of Ballast cannot read the policy: {policy.problem}"
    if figures.unknown_nodes:
        yield (
            "NodesUnknown",
            f"{_have(figures.unknown_nodes, figures.nodes)} stopped reporting: "
            f"{_names(summary, NodeProblem.UNKNOWN, figures.unknown_nodes)}; see their agents' pods and logs, "
            "or delete Nodes that are gone for good",
        )
    if figures.unreadable_nodes:
        yield (
            "StatesUnreadable",
            f"{_have(figures.unreadable_nodes, figures.nodes)} a state that this version cannot read: "
            f"{_names(summary, NodeProblem.UNREADABLE, figures.unreadable_nodes)}; "
            "run agents and aggregator of one version",
        )


def _shortages(summary: PolicySummary) -> Iterator[tuple[str, str]]:
    figures = summary.figures
    if figures.shortfall_mebibytes:
        yield (
            "Shortfall",
            f"domains on {_plural(figures.short_nodes, 'node')} need {figures.shortfall_mebibytes} MiB more than they "
            f"have: {_names(summary, NodeProblem.SHORTFALL, figures.short_nodes)}; raise spec.limits, lower the "
            "nodes' reserve, or move domains away",
        )
    if figures.stuck_domains:
        yield (
            "DomainsStuck",
            f"the balloon of {_plural(figures.stuck_domains, 'domain')} does not move, on "
            f"{_names(summary, NodeProblem.STUCK, figures.stuck_nodes)}; see `kubectl describe nodememorystate` for "
            "which, and the balloon driver in the guest",
        )
    if figures.unmet_domains:
        yield (
            "MinimumsUnmet",
            f"{_plural(figures.unmet_domains, 'domain')} cannot have the minimum, as all minimums together are more "
            f"than the budget of {_names(summary, NodeProblem.UNMET, figures.unmet_nodes)}; lower spec.limits.minimum "
            "or minimumPercent, or move domains away",
        )


def _names(summary: PolicySummary, trouble: NodeProblem, total: int) -> str:
    """Some of the `total` nodes that have this trouble, and how many more there are."""
    known = [share.node for share in summary.worst if trouble in share.troubles][:NAMED]
    if not known:
        return _plural(total, "node")
    shown = ", ".join(known)
    return f"{shown} and {total - len(known)} more" if total > len(known) else shown


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _have(number: int, total: int) -> str:
    return f"{number} of {_plural(total, 'node')} {'has' if number == 1 else 'have'}"


def _cut(verdict: UntimedCondition) -> UntimedCondition:
    """Counted in bytes: what is quoted of a policy may have four a character."""
    return replace(verdict, message=cut(verdict.message, MESSAGE_CHARACTERS))

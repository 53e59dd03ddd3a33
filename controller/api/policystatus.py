"""The status of a `MemoryPolicy`: the sum over its nodes, at most 4 KiB whatever their number.

Written by the aggregator alone, read by people and by tools that know Kubernetes' conditions. Unknown fields are
ignored: while versions are mixed, an older aggregator reads what a newer one wrote.
"""

from typing import Annotated, Literal

from pydantic import Field

from controller.api.nodestate import MESSAGE_CHARACTERS, ConditionStatus, Count, Mebibytes, Reason, StatePart, Timestamp
from controller.api.policy import Name

WORST_NODES = 10
"""Most nodes named in one status; the rest is for the metrics."""

NAMED_NODES = 256
"""Most nodes of a rollout: names of one character, with what JSON puts around them, in a KiB."""

ConditionType = Literal["Ready", "Stable", "Degraded", "Conflicted"]


class Condition(StatePart):
    """A condition as Kubernetes defines it (metav1.Condition); at most one of each type."""

    type: ConditionType
    status: ConditionStatus
    observed_generation: Count
    """`metadata.generation` of the policy that the condition is about."""
    last_transition_time: Timestamp
    """When `status` changed last."""
    reason: Reason
    message: Annotated[str, Field(max_length=MESSAGE_CHARACTERS)]
    """What is so, and what to do about it, for a person."""


class WorstNode(StatePart):
    """A node that a person should look at. Its figures are this policy's alone."""

    name: Name
    reason: Reason
    """Why the node is named: `Unknown`, `Stuck`, `Shortfall` and the like."""
    unknown: bool = False
    """The node stopped reporting; then its figures are 0, for nobody knows them."""
    last_report_time: Timestamp | None = None
    """When an unknown node reported last; its age says for how long nothing has been heard."""
    domains: Count = 0
    stable_domains: Count = 0
    stuck_domains: Count = 0
    shortfall: Mebibytes = 0


class PolicyStatus(StatePart):
    """What a policy does on all of its nodes. One that stopped reporting adds to `nodes` and `unknown_nodes` only."""

    observed_generation: Count
    """`metadata.generation` of the policy that the sums are about."""
    conditions: Annotated[tuple[Condition, ...], Field(strict=False, max_length=8)] = ()
    nodes: Count
    """Nodes that should run the policy."""
    reporting_nodes: Count
    unknown_nodes: Count
    """Nodes that should run the policy but stopped reporting."""
    domains: Count
    """Domains the policy owns."""
    stable_domains: Count
    conflicted_domains: Count
    """Domains the policy selects but another one of the same priority owns."""
    overridden_domains: Count = 0
    """Domains the policy selects but one of higher priority owns."""
    stuck_domains: Count
    reallocations: Count
    """Since each agent started, as are the next two."""
    looks: Count
    looks_saved: Count
    """Against looking at the minimum interval all the time."""
    shortfall: Mebibytes
    """Demand above allocation, over all domains."""
    stable: Annotated[str, Field(max_length=32)]
    """Stable domains of all domains for people, such as `9/12`."""
    last_change_time: Timestamp | None = None
    """When a sum changed last."""
    enforcing: Annotated[str, Field(max_length=32)] | None = None
    """Under a rollout, nodes that may enforce of all nodes for people, such as `2/12`."""
    enforcing_nodes: Annotated[tuple[Name, ...], Field(strict=False, max_length=NAMED_NODES)] | None = None
    """Under a rollout, names of the nodes that may enforce, sorted."""
    worst_nodes: Annotated[tuple[WorstNode, ...], Field(strict=False, max_length=WORST_NODES)] = ()

"""The `NodeMemoryState` resource: what one node's agent reports, a few KiB whatever the number of domains.

Written by each agent for its own node, read by the aggregator. Unknown fields are ignored: while versions are
mixed, an older aggregator reads what a newer agent wrote.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, computed_field

from controller.api.policy import ApiVersion, Metadata, Mode, Name, Part
from controller.api.problems import InvalidValueError

WORST_DOMAINS = 10
"""Most domains named in one state; the rest is for the metrics."""

BRIEF_UID = 13
"""Characters of a UID, of which 12 are hexadecimal digits: no two policies of a cluster are alike in them."""

MOST = 2**50
"""Of whatever is counted; more MiB than all computers have, and an integer that every reader of JSON keeps exact."""
Count = Annotated[int, Field(ge=0, le=MOST)]

_MEBI = "Mi"
_QUANTITY = re.compile(f"[0-9]{{1,16}}{_MEBI}")


def _mebibytes(value: Any) -> Any:
    """What stands before `Mi`, for pydantic to judge; numbers are none of JSON's."""
    if isinstance(value, str):
        if not _QUANTITY.fullmatch(value):
            raise InvalidValueError(value, "not a quantity in MiB", "write it like 512Mi")
        return int(value.removesuffix(_MEBI))
    return value


Mebibytes = Annotated[
    Count,
    BeforeValidator(_mebibytes),
    PlainSerializer(lambda value: f"{value}{_MEBI}", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "maxLength": 18}),
]
"""MiB; in JSON a quantity with that unit always, so that columns of `kubectl get` can be compared by eye."""

DomainCount = Annotated[int, Field(ge=0, le=10**6)]
"""Far more domains than a node can have: sums are shown to people."""


def _rfc3339(value: str) -> str:
    """Text as Kubernetes writes times; kept as text, so that it survives a round trip unchanged."""
    try:
        aware = "T" in value and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise InvalidValueError(value, "not an RFC 3339 time", "use a form such as 2026-01-31T12:00:00Z")
    return value


Timestamp = Annotated[str, AfterValidator(_rfc3339)]
"""A point in time with its zone."""


class StatePart(Part):
    """A part of a state: like any part of the contract, but open to fields of later versions."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)


ConditionStatus = Literal["True", "False", "Unknown"]
Reason = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$")]
"""One word in CamelCase for programs; what it means is said in the message beside it."""
MESSAGE_CHARACTERS = 320
"""Longest message of a condition. Kubernetes allows 32768; four of these keep a status within its 4 KiB."""

NodeConditionType = Literal["HostMemoryPressure", "GuestMemoryShort", "Paused"]


class NodeCondition(StatePart):
    """A condition as Kubernetes defines it (metav1.Condition), one of each type; False where it is well."""

    type: Annotated[str, Field(max_length=316)]
    """A `NodeConditionType`; of later versions there may be others."""
    status: ConditionStatus
    last_transition_time: Timestamp
    """When `status` changed last."""
    reason: Reason
    message: Annotated[str, Field(max_length=MESSAGE_CHARACTERS)]
    """What is so, and what to do about it, for a person; empty where nothing is."""


class NodeMemory(StatePart):
    """Memory of the node and of its guests together."""

    total: Mebibytes
    reserve: Mebibytes
    """What the node keeps free: the most careful of its own setting and its policies'."""
    budget: Mebibytes
    """What the node may give to its domains together."""
    allocated: Mebibytes
    """What its domains have."""
    demand: Mebibytes
    """What they need: of one that does not tell, or that nobody may touch, all it has."""
    short: Mebibytes
    """How much of that is above the budget."""
    reclaimable: Mebibytes
    """What they have above what they want: Enforce could give it back."""


class PolicyState(StatePart):
    """What one policy does on this node."""

    name: Name
    uid: Annotated[str, Field(max_length=64)]
    """`metadata.uid` of the policy that is in force: one that was deleted and made anew is another."""
    observed_generation: Count
    """`metadata.generation` of the policy that is in force."""
    mode: Mode
    domains: DomainCount
    """Domains the policy owns here."""
    stable_domains: DomainCount
    conflicted_domains: DomainCount
    """Domains the policy selects here but another one of the same priority owns."""
    overridden_domains: DomainCount = 0
    """Domains the policy selects here but one of higher priority owns."""
    stuck_domains: DomainCount
    unmet_domains: DomainCount
    """Domains with less than their minimum: the minimums on this node are more than its budget."""
    reallocations: Count
    """Since the agent started."""
    looks: Count
    """Since the agent started."""
    looks_saved: Count
    """Against looking at the minimum interval all the time, since the agent started."""
    shortfall: Mebibytes
    """Demand above allocation, over the policy's domains."""


class BriefPolicy(NamedTuple):
    """What there is to know of a policy that is in force here and whose domains are well, in this order."""

    observed_generation: int
    domains: int
    stable_domains: int
    conflicted_domains: int
    overridden_domains: int


BriefNumber = Annotated[int, Field(ge=0, le=10**9)]
"""Far more than generations and domains come to, and little enough for sums over nodes to be shown."""
BriefNumbers = Annotated[tuple[BriefNumber, ...], Field(strict=False, min_length=5, max_length=5)]
"""A `BriefPolicy` in JSON."""


def brief_key(uid: str) -> str:
    """What stands for a policy's UID in a list of many: enough of it to tell any two policies of a cluster apart."""
    return uid[:BRIEF_UID]


class WorstDomain(StatePart):
    """A domain that a person should look at."""

    name: str
    uuid: str
    reason: str
    """Name of a `Reason`."""
    shortfall: Mebibytes
    allocation: Mebibytes


class NodeStatus(StatePart):
    """The node as its agent last saw it."""

    observed_time: Timestamp
    conditions: Annotated[tuple[NodeCondition, ...], Field(strict=False, max_length=8)] = ()
    memory: NodeMemory
    domains: DomainCount
    stable_domains: DomainCount
    policies: Annotated[tuple[PolicyState, ...], Field(strict=False)] = ()
    brief_policies: Annotated[dict[str, BriefNumbers], Field(max_length=1024, default_factory=dict)]
    """By `brief_key`, policies in force on the node for which there is no room in `policies`."""
    policies_left_out: Count = 0
    """Policies in force on the node for which there is no room at all: nobody knows what they do here."""
    worst_domains: Annotated[tuple[WorstDomain, ...], Field(strict=False, max_length=WORST_DOMAINS)] = ()

    def holds(self, condition: NodeConditionType) -> bool:
        """Whether a condition is so."""
        return any(each.type == condition and each.status == "True" for each in self.conditions)

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator on top of property
    @property
    def policy_count(self) -> int:
        """Policies in force on the node: a column of `kubectl get` cannot count."""
        return len(self.policies) + len(self.brief_policies) + self.policies_left_out


class NodeMemoryState(StatePart):
    """One `NodeMemoryState`, named after its node. It has no spec: nobody asks anything of it."""

    api_version: ApiVersion = "ballast.dev/v1alpha1"
    kind: Literal["NodeMemoryState"] = "NodeMemoryState"
    metadata: Metadata
    status: NodeStatus

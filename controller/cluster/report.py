"""What a node says of itself in its `NodeMemoryState`: a few KiB, whatever the number of domains and policies. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from controller.api.nodestate import (
    MESSAGE_CHARACTERS,
    WORST_DOMAINS,
    BriefPolicy,
    ConditionStatus,
    NodeCondition,
    NodeConditionType,
    NodeMemory,
    NodeMemoryState,
    NodeStatus,
    PolicyState,
    WorstDomain,
    brief_key,
)
from controller.api.policy import MEBIBYTE, Metadata, Mode
from controller.api.printable import cut, shown_name
from controller.cluster.findings import HOST_PRESSURE
from controller.cluster.resources import Object
from controller.engine.balance import balance, unmet
from controller.engine.reasons import Reason
from controller.engine.state import State

MAXIMUM_SIZE = 3296
"""Bytes of JSON: 4 KiB for the object as the API server keeps it, which adds 720 of its own (UID, versions, times, who
owns which field). All states of 10,000 nodes together are then the 40 MiB that its cache bears."""
NEWS_PART = 0.1
"""Of what its domains have: sums of memory that differ by less are no news. It is a policy's threshold, for less than
which no domain is moved, if the policy says nothing else.
"""
DIGITS = 16
"""Bytes that the two counts of policies may take more than in a state without any policy."""

_TROUBLES = np.array(
    [
        Reason.INVALID_WISHES,
        Reason.UNRESPONSIVE,
        Reason.NO_STATISTICS,
        Reason.INVALID_STATISTICS,
        Reason.STALE_STATISTICS,
        Reason.FUTURE_STATISTICS,
        Reason.STUCK,
        Reason.UNREADABLE,
        Reason.NO_BUDGET,
        Reason.AT_MAXIMUM,
        Reason.MINIMUM_UNMET,
    ]
)
"""Reasons that a person should look into; the others are a domain's ordinary life."""


class Context(NamedTuple):
    """What a report needs besides the engine's state."""

    node: str
    uid: str
    """Of the Node object, which owns the report: they go together."""
    in_force: Mapping[str, Metadata]
    """By name, the metadata of the policies in force."""
    conflicted: Mapping[str, int]
    """By name of the policies, how many domains they select and another one of the same priority owns."""
    overridden: Mapping[str, int]
    """By name of the policies, how many domains they select and one of higher priority owns."""
    short: str = ""
    """That the node stays short, and what to do about it; empty while it does not."""
    paused: str = ""
    """That no policy is enforced, and until when; empty while they are."""


def report(state: State, context: Context, observed_time: str) -> Object:
    """The object to apply, at most MAXIMUM_SIZE bytes of JSON. `observed_time`: RFC 3339.

    Domains are left out before policies. Policies with which something is wrong come first; of the others those for
    which there is no room are told in brief, which is all there is to say of them but counts of looks. What does not go
    even so is left out, and `policiesLeftOut` counts it.
    """
    whole = _status(state, context, observed_time)
    everything = _object(whole, context)
    return everything if _size(everything) <= MAXIMUM_SIZE else _object(_shortened(whole, context), context)


def _shortened(whole: NodeStatus, context: Context) -> NodeStatus:
    """As much as there is room for."""
    bare = _object(whole.model_copy(update={"policies": (), "worst_domains": ()}), context)
    room = MAXIMUM_SIZE - DIGITS - _size(bare)
    full, brief = _division(whole.policies, room)
    told = whole.policies[:full]
    room -= sum(map(_entry_size, told))
    domains = 0 if full < len(whole.policies) else _fitting(map(_entry_size, whole.worst_domains), room)
    kept = {
        "policies": told,
        "brief_policies": {brief_key(each.uid): _brief(each) for each in brief},
        "policies_left_out": len(whole.policies) - full - len(brief),
        "worst_domains": whole.worst_domains[:domains],
    }
    return whole.model_copy(update=kept)


def _division(policies: Sequence[PolicyState], room: int) -> tuple[int, Sequence[PolicyState]]:
    """How many of the policies are told in full, and which ones of the others in brief, in so many bytes."""
    wrong = sum(map(_is_wrong, policies))
    full = np.cumsum([0, *map(_entry_size, policies)])
    brief = np.cumsum([0, *map(_brief_size, policies)])
    least = _fitting(map(_entry_size, policies[:wrong]), room)
    fitting = np.flatnonzero(full + brief[-1] - brief <= room)
    if least == wrong and fitting.size and fitting[-1] >= wrong:
        return int(fitting[-1]), policies[int(fitting[-1]) :]
    others = policies[wrong:]
    return least, others[: _fitting(map(_brief_size, others), room - int(full[least]))]


def _fitting(sizes: Iterable[int], room: int) -> int:
    """How many of the first things go into the room."""
    return sum(1 for total in accumulate(sizes) if total <= room)


def _is_wrong(policy: PolicyState) -> bool:
    return any((policy.stuck_domains, policy.unmet_domains, policy.shortfall))


def _brief(policy: PolicyState) -> BriefPolicy:
    return BriefPolicy(
        policy.observed_generation,
        policy.domains,
        policy.stable_domains,
        policy.conflicted_domains,
        policy.overridden_domains,
    )


def _entry_size(entry: PolicyState | WorstDomain) -> int:
    """Bytes that it takes in a list."""
    return _size(entry.model_dump(mode="json", by_alias=True)) + 1


def _brief_size(policy: PolicyState) -> int:
    """Bytes that it takes in brief."""
    return _size({brief_key(policy.uid): _brief(policy)}) - 1


def urgent(told: Object) -> Any:
    """The part of a report that others act on: its change is told at once."""
    status = told["status"]
    fields = ("name", "uid", "observedGeneration", "mode", "conflictedDomains", "stuckDomains", "unmetDomains")
    policies = [{field: policy[field] for field in fields} for policy in status["policies"]]
    generations = {uid: (brief[0], brief[3]) for uid, brief in status["briefPolicies"].items()}
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    return told["metadata"], policies, generations, status["policyCount"], conditions


def settled(told: Object) -> Any:
    """The part of a report that does not drift while nothing happens: counts, and which domains are in trouble."""
    status = told["status"]
    counts = ("name", "domains", "stableDomains", "overriddenDomains")
    policies = [{field: policy[field] for field in counts} for policy in status["policies"]]
    worst = sorted((domain["uuid"], domain["reason"]) for domain in status["worstDomains"])
    return urgent(told), policies, status["briefPolicies"], worst, status["domains"], status["stableDomains"]


def drifted(told: Object, before: Object) -> bool:
    """What domains have, need or could give back is so far from what was told that it misleads who reads it."""
    now, then = (NodeMemory.model_validate(each["status"]["memory"]) for each in (told, before))
    least = NEWS_PART * then.allocated
    differences = (now.allocated - then.allocated, now.demand - then.demand, now.reclaimable - then.reclaimable)
    return any(abs(each) > least for each in differences)


def aged(told: Object, before: Object) -> Object:
    """The report with the times at which its conditions came to be as they are, where `before` knew them so already."""
    try:
        conditions = NodeMemoryState.model_validate(before).status.conditions
    except ValidationError:  # nothing was told before, or by another version
        return told
    since = {(each.type, each.status): each.last_transition_time for each in conditions}
    kept = [
        condition
        | {"lastTransitionTime": since.get((condition["type"], condition["status"]), condition["lastTransitionTime"])}
        for condition in told["status"]["conditions"]
    ]
    return told | {"status": told["status"] | {"conditions": kept}}


def _object(status: NodeStatus, context: Context) -> Object:
    state = NodeMemoryState(metadata=Metadata(name=context.node), status=status)
    body: Object = state.model_dump(mode="json", by_alias=True, exclude={"metadata"})
    owner = {"apiVersion": "v1", "kind": "Node", "name": context.node, "uid": context.uid}
    return body | {"metadata": {"name": context.node, "ownerReferences": [owner]}}


def _size(body: Mapping[str, Any]) -> int:
    """Bytes, as the API server keeps it."""
    return len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def _status(state: State, context: Context, observed_time: str) -> NodeStatus:
    sums = balance(state)
    return NodeStatus(
        observed_time=observed_time,
        conditions=tuple(_conditions(state, context, observed_time)),
        memory=NodeMemory(
            total=_mebibytes(state.host.reading.total),
            reserve=_mebibytes(state.inventory.budget.kept(state.host.reading.total)),
            budget=_mebibytes(state.host.budget),
            allocated=_mebibytes(np.nansum(state.observation.allocation)),
            demand=_mebibytes(sums.demand),
            short=_mebibytes(sums.short),
            reclaimable=_mebibytes(sums.reclaimable),
        ),
        domains=len(state.inventory),
        stable_domains=int(state.stable.sum()),
        policies=_policies(state, context),
        worst_domains=_worst(state),
    )


def _conditions(state: State, context: Context, now: str) -> Iterator[NodeCondition]:
    """All of them, with the text for those that hold."""
    told: dict[NodeConditionType, tuple[str, str]] = {
        "HostMemoryPressure": ("HostStalls", HOST_PRESSURE if state.host.reading.pressure else ""),
        "GuestMemoryShort": ("DemandAboveBudget", context.short),
        "Paused": ("PolicyOfModePause", context.paused),
    }
    for kind, (reason, message) in told.items():
        status: ConditionStatus = "True" if message else "False"
        yield NodeCondition(
            type=kind,
            status=status,
            last_transition_time=now,
            reason=reason if message else "AsExpected",
            message=cut(message, MESSAGE_CHARACTERS),
        )


def _policies(state: State, context: Context) -> tuple[PolicyState, ...]:
    """Those that a person should look at first, then by their number of domains."""

    def order(policy: PolicyState) -> tuple[int, int, int, int, int, str]:
        shortfall, conflicted = policy.shortfall, policy.conflicted_domains
        return (
            -policy.stuck_domains,
            -policy.unmet_domains,
            -int(shortfall > 0),
            -conflicted,
            -policy.domains,
            policy.name,
        )

    return tuple(sorted(_unordered(state, context), key=order))


def _unordered(state: State, context: Context) -> Iterator[PolicyState]:
    inventory, polling = state.inventory, state.polling
    owned = inventory.policy >= 0

    def sums(values: NDArray[Any]) -> list[float]:
        """Over the domains of each policy."""
        weights = values[owned].astype(np.float64)
        return list(map(float, np.bincount(inventory.policy[owned], weights, minlength=len(inventory.policies))))

    acted_on = inventory.obstacle == Reason.NONE
    domains, stable = sums(np.ones(len(inventory))), sums(state.stable)
    stuck, below_minimum = sums(state.reason == Reason.STUCK), sums(unmet(state))
    looks, fixed_looks = sums(polling.looks * acted_on), sums(polling.fixed_looks * acted_on)
    moved, short = sums(state.balloon.reallocations), sums(_shortfall(state))
    for number, name in enumerate(inventory.policies):
        metadata = context.in_force[name]
        yield PolicyState(
            name=name,
            uid=metadata.uid,
            observed_generation=metadata.generation,
            mode=cast(Mode, inventory.modes[number]),
            domains=int(domains[number]),
            stable_domains=int(stable[number]),
            conflicted_domains=context.conflicted.get(name, 0),
            overridden_domains=context.overridden.get(name, 0),
            stuck_domains=int(stuck[number]),
            unmet_domains=int(below_minimum[number]),
            reallocations=int(moved[number]),
            looks=int(looks[number]),
            looks_saved=max(round(fixed_looks[number]) - int(looks[number]), 0),
            shortfall=_mebibytes(short[number]),
        )


def _worst(state: State) -> tuple[WorstDomain, ...]:
    """The domains that a person should look at, the largest shortfall first."""
    shortfall = _shortfall(state)
    troubled = (np.isin(state.reason, _TROUBLES) | unmet(state)) & (state.inventory.policy >= 0)
    rows = np.flatnonzero(troubled | (shortfall >= MEBIBYTE) | state.pressure.pressed)
    inventory = state.inventory
    worst = sorted(rows.tolist(), key=lambda row: (-shortfall[row], not troubled[row], inventory.names[row]))
    return tuple(
        WorstDomain(
            name=shown_name(inventory.names[row]),
            uuid=inventory.uuids[row],
            reason=str(Reason(int(state.reason[row]))),
            shortfall=_mebibytes(shortfall[row]),
            allocation=_mebibytes(state.observation.allocation[row]),
        )
        for row in worst[:WORST_DOMAINS]
    )


def _shortfall(state: State) -> NDArray[np.float64]:
    """(n,) bytes of demand above the allocation; 0 where one of the two is not known."""
    short = np.nan_to_num(state.observation.demand - state.observation.allocation, nan=0.0)
    return np.maximum(short, 0.0)


def _mebibytes(size: float) -> int:
    return int(size // MEBIBYTE) if np.isfinite(size) else 0

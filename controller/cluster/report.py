"""What a node says of itself in its `NodeMemoryState`: a few KiB, whatever the number of domains and policies. Pure."""

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from controller.api.nodestate import WORST_DOMAINS, NodeMemoryState, NodeStatus, NodeTotals, PolicyState, WorstDomain
from controller.api.policy import MEBIBYTE, Metadata, Mode
from controller.cluster.resources import Object
from controller.engine.reasons import Reason
from controller.engine.state import State

MAXIMUM_SIZE = 3456
"""Bytes of JSON: 4 KiB for the object as the API server keeps it, which adds 560 of its own (UID, versions, times, who
owns which field). All states of 10,000 nodes together are then the 40 MiB that its cache bears."""
SHOWN_NAME = 64
"""Characters of a domain's name; libvirt sets no bound."""

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
    """By name of the policies, how many domains they select and another one owns."""


def report(state: State, context: Context, observed_at: str) -> Object:
    """The object to apply, at most MAXIMUM_SIZE bytes of JSON. `observed_at`: RFC 3339.

    Domains are left out before policies, and policies without trouble before those with; `policiesLeftOut` counts.
    """
    whole = _status(state, context, observed_at)

    def with_domains(count: int) -> Object:
        return _object(whole.model_copy(update={"worst_domains": whole.worst_domains[:count]}), context)

    def with_policies(count: int) -> Object:
        left_out = len(whole.policies) - count
        kept = {"policies": whole.policies[:count], "policies_left_out": left_out, "worst_domains": ()}
        return _object(whole.model_copy(update=kept), context)

    everything = with_domains(len(whole.worst_domains))
    if _size(everything) <= MAXIMUM_SIZE:
        return everything
    domains = _most(len(whole.worst_domains), with_domains)
    if domains is not None:
        return with_domains(domains)
    return with_policies(_most(len(whole.policies), with_policies) or 0)


def _most(count: int, made: Callable[[int], Object]) -> int | None:
    """The largest number up to `count` with which what is made fits; None if it does not even without any."""
    fitting = bisect_right(range(count + 1), MAXIMUM_SIZE, key=lambda number: _size(made(number)))
    return fitting - 1 if fitting else None


def urgent(told: Object) -> Any:
    """The part of a report that others act on: its change is told at once."""
    status = told["status"]
    fields = ("name", "uid", "observedGeneration", "mode", "conflictedDomains", "stuckDomains", "unmetDomains")
    policies = [{field: policy[field] for field in fields} for policy in status["policies"]]
    return told["metadata"], policies, status["policyCount"], status["pressure"]


def settled(told: Object) -> Any:
    """The part of a report that does not drift while nothing happens: counts, and which domains are in trouble."""
    status = told["status"]
    policies = [
        {field: policy[field] for field in ("name", "domains", "stableDomains")} for policy in status["policies"]
    ]
    worst = sorted((domain["uuid"], domain["reason"]) for domain in status["worstDomains"])
    return urgent(told), policies, worst, status["stable"], status["domains"], status["stableDomains"]


def _object(status: NodeStatus, context: Context) -> Object:
    state = NodeMemoryState(metadata=Metadata(name=context.node), status=status)
    body: Object = state.model_dump(mode="json", by_alias=True, exclude={"metadata"})
    owner = {"apiVersion": "v1", "kind": "Node", "name": context.node, "uid": context.uid}
    return body | {"metadata": {"name": context.node, "ownerReferences": [owner]}}


def _size(body: Object) -> int:
    """Bytes, as the API server keeps it."""
    return len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def _status(state: State, context: Context, observed_at: str) -> NodeStatus:
    return NodeStatus(
        observed_at=observed_at,
        node=NodeTotals(
            total_mebibytes=_mebibytes(state.host.reading.total),
            budget_mebibytes=_mebibytes(state.host.budget),
            allocated_mebibytes=_mebibytes(np.nansum(state.observation.allocation)),
        ),
        pressure=bool(state.host.reading.pressure),
        stable=bool(state.stable.all()),
        domains=len(state.inventory),
        stable_domains=int(state.stable.sum()),
        policies=_policies(state, context),
        worst_domains=_worst(state),
    )


def _policies(state: State, context: Context) -> tuple[PolicyState, ...]:
    """Those that a person should look at first, then by their number of domains."""
    policies = [_policy(state, number, context) for number in range(len(state.inventory.policies))]

    def order(policy: PolicyState) -> tuple[int, int, int, int, int, str]:
        shortfall, conflicted = policy.shortfall_mebibytes, policy.conflicted_domains
        return (
            -policy.stuck_domains,
            -policy.unmet_domains,
            -int(shortfall > 0),
            -conflicted,
            -policy.domains,
            policy.name,
        )

    return tuple(sorted(policies, key=order))


def _policy(state: State, number: int, context: Context) -> PolicyState:
    inventory, polling = state.inventory, state.polling
    mine = inventory.policy == number
    acted_on = mine & (inventory.obstacle == Reason.NONE)
    name = inventory.policies[number]
    metadata = context.in_force[name]
    looks = int(polling.looks[acted_on].sum())
    return PolicyState(
        name=name,
        uid=metadata.uid,
        observed_generation=metadata.generation,
        mode=cast(Mode, inventory.modes[number]),
        domains=int(mine.sum()),
        stable_domains=int(state.stable[mine].sum()),
        conflicted_domains=context.conflicted.get(name, 0),
        stuck_domains=int((state.reason[mine] == Reason.STUCK).sum()),
        unmet_domains=int((state.reason[mine] == Reason.MINIMUM_UNMET).sum()),
        reallocations=int(state.balloon.reallocations[mine].sum()),
        looks=looks,
        looks_saved=max(round(float(polling.fixed_looks[acted_on].sum())) - looks, 0),
        shortfall_mebibytes=_mebibytes(_shortfall(state)[mine].sum()),
    )


def _worst(state: State) -> tuple[WorstDomain, ...]:
    """The domains that a person should look at, the largest shortfall first."""
    shortfall = _shortfall(state)
    troubled = np.isin(state.reason, _TROUBLES) & (state.inventory.policy >= 0)
    rows = np.flatnonzero(troubled | (shortfall >= MEBIBYTE) | state.pressure.pressed)
    inventory = state.inventory
    worst = sorted(rows.tolist(), key=lambda row: (-shortfall[row], not troubled[row], inventory.names[row]))
    return tuple(
        WorstDomain(
            name=_shown(inventory.names[row]),
            uuid=inventory.uuids[row],
            reason=str(Reason(int(state.reason[row]))),
            shortfall_mebibytes=_mebibytes(shortfall[row]),
            allocation_mebibytes=_mebibytes(state.observation.allocation[row]),
        )
        for row in worst[:WORST_DOMAINS]
    )


def _shortfall(state: State) -> NDArray[np.float64]:
    """(n,) bytes of demand above the allocation; 0 where one of the two is not known."""
    short = np.nan_to_num(state.observation.demand - state.observation.allocation, nan=0.0)
    return np.maximum(short, 0.0)


def _shown(name: str) -> str:
    return name if len(name) <= SHOWN_NAME else name[: SHOWN_NAME - 1] + "…"


def _mebibytes(size: float) -> int:
    return int(size // MEBIBYTE) if np.isfinite(size) else 0

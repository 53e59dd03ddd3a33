"""Which policy owns which domain, and what it asks of it: facts and policies become one `Inventory`.

One policy owns a domain: highest `priority`, then oldest, then name (rule 6). Others that select it are overridden
there if their priority is lower, as layers are meant to be, and conflicted if it is the same.

A policy of mode Pause owns nothing: wherever it is for the node, no other enforces. One with a rollout observes: who
brings policies takes the rollout off where it has come to this node.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from controller.api.policy import ForecastModel, MemoryPolicy, Mode, Spec
from controller.api.selectors import Candidate, Candidates, matches_node
from controller.api.wishes import Wishes
from controller.engine.inventory import Bools, Budget, DomainFacts, Floats, Ints, Inventory
from controller.engine.pods import promised_by_pod, room_in_pod
from controller.engine.reasons import Reason
from controller.forecast import registry
from controller.forecast.model import Model

UNOWNED_INTERVAL = 60.0
"""Seconds between looks at domains that no policy owns: their size counts against the budget."""

_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """The node as selectors see it, and what Kubernetes asks of it. Sizes in bytes."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    withheld: int = 0
    """Memory that pods do not get, for the system and the kubelet need it."""
    eviction: int = 0
    """Available memory below which the kubelet evicts pods; 0 without a kubelet."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The inventory, and what a user should know about how it came about."""

    inventory: Inventory
    conflicted: Mapping[str, tuple[str, ...]]
    """By policy name, the keys of the domains it selects and another policy of the same priority owns."""
    overridden: Mapping[str, tuple[str, ...]]
    """By policy name, the keys of the domains it selects and a policy of higher priority owns."""
    unmatched: tuple[str, ...]
    """Names of the policies that are for this node and select no domain."""
    pausing: tuple[str, ...] = ()
    """Names of the policies that keep all others of this node from enforcing."""
    overruled: tuple[str, ...] = ()
    """Names of the policies of this node that would enforce, and may not as it was started to observe."""
    held: tuple[str, ...] = ()
    """Names of the policies of this node that enforce on others for now."""


def assign(
    facts: Sequence[DomainFacts],
    policies: Sequence[MemoryPolicy],
    node: NodeIdentity,
    unowned: Reason = Reason.NO_POLICY,
    *,
    observe: bool = False,
) -> Assignment:
    """Give every domain its owner and its settings; `unowned` is why a domain that gets no owner has none.

    `observe`: nothing is enforced, whatever a policy's mode; the budget is what it would be if it were.
    """
    here = [policy for policy in policies if matches_node(policy.spec.node_selector, node.name, node.labels)]
    held = tuple(policy.metadata.name for policy in here if _held(policy.spec))
    ranked = sorted(map(_observed_if_held, here), key=_rank)
    pausing = tuple(policy.metadata.name for policy in ranked if policy.spec.mode == "Pause")
    overruled = tuple(policy.metadata.name for policy in ranked if observe and policy.spec.mode == "Enforce")
    owners, lost, matched = _owners(facts, ranked)
    modes = [_mode(policy.spec, paused=observe or bool(pausing)) for policy in ranked]
    specs = [
        *(policy.spec.model_copy(update={"mode": mode}) for policy, mode in zip(ranked, modes, strict=True)),
        _UNOWNED,
    ]
    models: dict[Model, int] = {}
    shared = [_of_policy(spec, models) for spec in specs]
    columns = [
        shared[owner] | _of_domain(domain, specs[owner], Reason.NONE if owner >= 0 else unowned)
        for domain, owner in zip(facts, owners.tolist(), strict=True)
    ]
    arrays: dict[str, Any] = {
        name: np.array([column[name] for column in columns], dtype=kind) for name, kind in _COLUMNS.items()
    }
    inventory = Inventory(
        keys=tuple(domain.key for domain in facts),
        names=tuple(domain.name for domain in facts),
        uuids=tuple(domain.uuid for domain in facts),
        policies=tuple(policy.metadata.name for policy in ranked),
        modes=tuple(modes),
        models=tuple(models),
        budget=replace(node_budget(ranked), least=_least(facts, node)),
        index={domain.key: row for row, domain in enumerate(facts)},
        policy=owners,
        **arrays,
    )
    unmatched = tuple(
        name for number, name in enumerate(inventory.policies) if number not in matched and modes[number] != "Pause"
    )
    return Assignment(inventory, *_losses(facts, ranked, owners, lost), unmatched, pausing, overruled, held)


def _held(spec: Spec) -> bool:
    """Whether it says Enforce, but not on this node yet."""
    return spec.mode == "Enforce" and spec.rollout is not None


def _observed_if_held(policy: MemoryPolicy) -> MemoryPolicy:
    if not _held(policy.spec):
        return policy
    return policy.model_copy(update={"spec": policy.spec.model_copy(update={"mode": "Observe"})})


def _mode(spec: Spec, *, paused: bool) -> Mode:
    """The mode in force: whatever a policy says, a pause, or a start to observe, leaves it to observe."""
    return "Observe" if paused and spec.mode == "Enforce" else spec.mode


def _rank(policy: MemoryPolicy) -> tuple[int, datetime, str]:
    metadata = policy.metadata
    return -policy.spec.priority, metadata.creation_timestamp or _LATEST, metadata.name


def _owners(facts: Sequence[DomainFacts], ranked: Sequence[MemoryPolicy]) -> tuple[Ints, dict[int, Ints], set[int]]:
    """(n,) places in `ranked` of each domain's owner (-1: none), the rows each policy lost, and who selects any."""
    candidates = Candidates([_candidate(domain) for domain in facts])
    owners = np.full(len(facts), -1, dtype=np.int64)
    lost: dict[int, Ints] = {}
    matched: set[int] = set()
    for number, policy in enumerate(ranked):
        if policy.spec.mode == "Pause":
            continue
        selected = candidates.selected(policy.spec.domain_selector, policy.spec.selectors)
        if not selected:
            continue
        matched.add(number)
        rows = np.fromiter(selected, np.int64, len(selected))
        free = owners[rows] < 0
        owners[rows[free]] = number
        if not free.all():
            lost[number] = rows[~free]
    return owners, lost, matched


def _candidate(domain: DomainFacts) -> Candidate:
    name, uuid, labels, pod = domain.name, domain.uuid, domain.wishes.labels, domain.pod
    return (
        Candidate(name, uuid, labels)
        if pod is None
        else Candidate(name, uuid, labels, pod.labels, pod.namespace_labels)
    )


def _losses(
    facts: Sequence[DomainFacts], ranked: Sequence[MemoryPolicy], owners: Ints, lost: Mapping[int, Ints]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Keys of the domains that policies select and others own, by name: to their equals, and to their betters."""
    keys = np.array([domain.key for domain in facts], dtype=object)
    priorities = np.array([policy.spec.priority for policy in ranked], dtype=np.int64)
    conflicted, overridden = {}, {}
    for number, rows in lost.items():
        equal = priorities[owners[rows]] == priorities[number]
        if equal.any():
            conflicted[ranked[number].metadata.name] = tuple(keys[rows[equal]])
        if not equal.all():
            overridden[ranked[number].metadata.name] = tuple(keys[rows[~equal]])
    return conflicted, overridden


_DTYPES: dict[Any, type] = {Floats: np.float64, Ints: np.int64, Bools: np.bool_}
_COLUMNS = {
    each.name: _DTYPES[each.type]
    for each in fields(Inventory)
    if each.type in _DTYPES and each.init and each.name != "policy"
}
"""Settings of domains, with their types: the arrays of `Inventory` but for who owns what."""

_UNOWNED = MemoryPolicy.model_validate(
    {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "MemoryPolicy",
        "metadata": {"name": "unowned"},
        "spec": {
            "monitoring": {
                "minimumIntervalSeconds": int(UNOWNED_INTERVAL),
                "maximumIntervalSeconds": int(UNOWNED_INTERVAL),
            }
        },
    }
).spec


def _of_policy(spec: Spec, models: dict[Model, int]) -> dict[str, float]:
    """Settings that all domains of a policy have in common; its model is entered in `models`."""
    return {
        "model": models.setdefault(forecaster(spec.model), len(models)),
        "share": spec.spare == "Share",
        "restore": spec.release == "Restore",
        "percentile": spec.model.upper_percentile / 100,
        "threshold": spec.threshold.quantity,
        "threshold_fraction": spec.threshold.percent / 100,
        "headroom": spec.headroom.quantity,
        "headroom_fraction": spec.headroom.percent / 100,
        "stabilization": spec.shrink.stabilization_seconds,
        "interval_minimum": spec.monitoring.minimum_interval_seconds,
        "interval_maximum": spec.monitoring.maximum_interval_seconds,
        "stability_window": spec.stability.window_seconds,
        "stability_reallocations": spec.stability.maximum_reallocations,
        "stability_change": spec.stability.maximum_change_percent / 100,
    }


def _of_domain(domain: DomainFacts, spec: Spec, unowned: Reason) -> dict[str, float]:
    """Settings of one domain: what it is, and what its own wishes and its pod leave of the policy's limits."""
    wishes = domain.asked
    obstacle = _obstacle(domain, wishes, unowned)
    limits, promised = spec.limits, promised_by_pod(domain)
    minimum = max(limits.minimum, limits.minimum_percent * domain.maximum // 100, wishes.minimum or 0, promised)
    ceilings = (limits.maximum, limits.maximum_percent * domain.maximum // 100, wishes.maximum)
    allowed = min(np.inf if value is None or value == domain.maximum else float(value) for value in ceilings)
    ceiling = min(max(allowed, promised), room_in_pod(domain))
    return {
        "incarnation": domain.incarnation,
        "reset_at": domain.reset_at,
        "started_at": domain.started_at,
        "statistics_period": domain.statistics_period,
        "maximum": domain.maximum,
        "definition": domain.definition,
        "autodeflate": domain.autodeflate,
        "resident": domain.resident,
        "in_file": domain.in_file,
        "devices": domain.devices,
        "plugged": domain.plugged,
        "obstacle": obstacle,
        "enforce": obstacle is Reason.NONE and spec.mode == "Enforce" and not wishes.observe,
        "minimum": min(minimum, ceiling),
        "ceiling": ceiling,
        "weight": min(wishes.weight or spec.weight, wishes.heaviest or np.inf),
    }


def _obstacle(domain: DomainFacts, wishes: Wishes, unowned: Reason) -> Reason:
    """The first thing that keeps Ballast from touching a domain; a wish to be left alone outranks all."""
    if wishes.opt_out:
        return Reason.OPTED_OUT
    if domain.obstacle is not Reason.NONE:
        return domain.obstacle
    if domain.pod is not None and domain.pod.qos == "Guaranteed":
        return Reason.GUARANTEED
    if wishes.error:
        return Reason.INVALID_WISHES
    return unowned


def forecaster(choice: ForecastModel) -> Model:
    """The forecaster that a policy chose, with the block of parameters of that name."""
    return registry.model(choice.type, **choice.chosen.model_dump())


def _least(facts: Sequence[DomainFacts], node: NodeIdentity) -> float:
    """Bytes that are kept whatever policies say: of domains in pods also what their node gives to no pod.

    What other pods use really is in the host's own use, and what the system uses is too: where it has a reservation in
    Kubernetes that counts once more, which is careful.
    """
    in_pods = any(domain.pod is not None for domain in facts)
    return float(max(node.eviction, node.withheld if in_pods else 0))


def node_budget(policies: Sequence[MemoryPolicy]) -> Budget:
    """The most careful of the policies that act; of all, where none does; as by default, where there is none."""
    owning = [policy for policy in policies if policy.spec.mode != "Pause"]
    acting = [policy for policy in owning if policy.spec.mode == "Enforce"] or owning
    budgets = [policy.spec.budget for policy in acting] or [_UNOWNED.budget]
    return Budget(
        reserve=max(budget.reserve for budget in budgets),
        reserve_fraction=max(budget.reserve_percent for budget in budgets) / 100,
        maximum=min(np.inf if budget.maximum is None else float(budget.maximum) for budget in budgets),
    )

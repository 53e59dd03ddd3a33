"""Which policy owns which domain, and what it asks of it: facts and policies become one `Inventory`.

One policy owns a domain: highest `priority`, then oldest, then name (rule 6). Others that select it are overridden
there if their priority is lower, as layers are meant to be, and conflicted if it is the same.

A policy of mode Pause owns nothing: wherever it is for the node, no other enforces. One with a rollout observes: who
brings policies takes the rollout off where it has come to this node.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from controller.api.policy import RESERVE, RESERVE_PERCENT, Budget, ForecastModel, MemoryPolicy, Mode, Spec
from controller.api.quantity import SMALLEST_BARE
from controller.api.selectors import SelectorSubject, SelectorSubjects, matches_node
from controller.api.wishes import Wishes
from controller.engine.inventory import SETTING, DomainFacts, Inventory, NodeBudget
from controller.engine.reasons import Reason
from controller.engine.tables import Bools, Floats, Ints
from controller.forecast.model import Model
from controller.forecast.registry import KINDS

UNOWNED_INTERVAL = 60
"""Seconds between looks at domains that no policy owns: their size counts against the budget."""

_LATEST = datetime.max.replace(tzinfo=UTC)

_PAGE_TABLES = 512
"""A page of 4 KiB takes an entry of 8 bytes: that part of a guest's memory, as KubeVirt reckons too."""
_BESIDE = 64 * 2**20
"""Bytes that QEMU and libvirt's daemon take beside the guest at least: 30 and 35 MiB in KubeVirt's own sum."""
_LEAST_BOUND = 2**30
"""Bytes. KubeVirt adds a few hundred MiB for itself, QEMU and libvirt, and 8 MiB a vCPU."""
_LARGE_GUEST = 64
"""Guests of more than 64 GiB have more vCPUs and page tables: up to this part of their memory is overhead."""


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """The node as selectors see it, and what is kept of it. Sizes in bytes."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    withheld: int = 0
    """Memory that pods do not get, for the system and the kubelet need it."""
    eviction: int = 0
    """Available memory below which the kubelet evicts pods; 0 without a kubelet."""
    budget: Budget = field(default_factory=Budget)
    """What its administrator set; no policy makes it larger."""


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
    rolled_out = [policy.spec.mode != "Enforce" or policy.spec.rollout is None for policy in here]
    ranked = sorted(
        (
            policy if there else policy.model_copy(update={"spec": policy.spec.model_copy(update={"mode": "Observe"})})
            for policy, there in zip(here, rolled_out, strict=True)
        ),
        key=lambda policy: (
            -policy.spec.priority,
            policy.metadata.creation_timestamp or _LATEST,
            policy.metadata.name,
        ),
    )
    held = tuple(policy.metadata.name for policy, there in zip(here, rolled_out, strict=True) if not there)
    pausing = tuple(policy.metadata.name for policy in ranked if policy.spec.mode == "Pause")
    overruled = tuple(policy.metadata.name for policy in ranked if observe and policy.spec.mode == "Enforce")
    owners, lost, matched = _owners(facts, ranked)
    modes: list[Mode] = [policy.spec.mode for policy in ranked]
    if observe or pausing:
        modes = ["Observe" if mode == "Enforce" else mode for mode in modes]
    specs = [
        *(policy.spec.model_copy(update={"mode": mode}) for policy, mode in zip(ranked, modes, strict=True)),
        _UNOWNED,
    ]
    models, columns = _settings(facts, specs, owners, unowned)
    in_pods = any(domain.pod is not None for domain in facts)
    inventory = Inventory(
        keys=tuple(domain.key for domain in facts),
        names=tuple(domain.name for domain in facts),
        uuids=tuple(domain.uuid for domain in facts),
        policies=tuple(policy.metadata.name for policy in ranked),
        modes=tuple(modes),
        models=models,
        # What pods do not get counts once more where the system uses it, as that is in the host's own use: careful.
        budget=replace(
            node_budget(ranked, node.budget), least=float(max(node.eviction, node.withheld if in_pods else 0))
        ),
        index={domain.key: row for row, domain in enumerate(facts)},
        **columns,
    )
    unmatched = tuple(
        name for number, name in enumerate(inventory.policies) if number not in matched and modes[number] != "Pause"
    )
    return Assignment(inventory, *_losses(facts, ranked, owners, lost), unmatched, pausing, overruled, held)


def _settings(
    facts: Sequence[DomainFacts], specs: Sequence[Spec], owners: Ints, unowned: Reason
) -> tuple[tuple[Model, ...], dict[str, Any]]:
    """The models of `specs`, and the inventory's columns: of each owner's spec, the last where there is none."""
    models: dict[Model, int] = {}
    shared = [_of_policy(spec, models) for spec in specs]
    settings = [
        {"policy": owner} | shared[owner] | _of_domain(domain, specs[owner], Reason.NONE if owner >= 0 else unowned)
        for domain, owner in zip(facts, owners.tolist(), strict=True)
    ]
    columns: dict[str, Any] = {
        name: np.array([each[name] for each in settings], dtype=kind) for name, kind in _COLUMNS.items()
    }
    return tuple(models), columns


def _owners(facts: Sequence[DomainFacts], ranked: Sequence[MemoryPolicy]) -> tuple[Ints, dict[int, Ints], set[int]]:
    """(n,) places in `ranked` of each domain's owner (-1: none), the rows each policy lost, and who selects any."""
    named = [SelectorSubject(each.name, each.uuid, each.wishes.labels) for each in facts]
    for row, pod in ((row, each.pod) for row, each in enumerate(facts) if each.pod is not None):
        named[row] = named[row]._replace(pod_labels=pod.labels, namespace_labels=pod.namespace_labels)
    candidates = SelectorSubjects(named)
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
_COLUMNS = {item.name: _DTYPES[item.type] for item in fields(Inventory) if item.init and item.type in _DTYPES}
_FACTS = _COLUMNS.keys() & {item.name for item in fields(DomainFacts)}
"""Columns that are facts as they are."""
_SETTINGS = {item.name: item.metadata[SETTING] for item in fields(Inventory) if SETTING in item.metadata}

_UNOWNED = Spec.model_validate(
    {"advanced": {"monitoring": dict.fromkeys(("minimumIntervalSeconds", "maximumIntervalSeconds"), UNOWNED_INTERVAL)}}
)


def _of_policy(spec: Spec, models: dict[Model, int]) -> dict[str, float]:
    """Settings that all domains of a policy have in common; its model is entered in `models`."""
    return {
        "model": models.setdefault(forecaster(spec.advanced.model), len(models)),
        "share": spec.spare == "Share",
        "restore": spec.release == "Restore",
    } | {name: setting(spec) for name, setting in _SETTINGS.items()}


def _of_domain(domain: DomainFacts, spec: Spec, unowned: Reason) -> dict[str, float]:
    """Settings of one domain: what it is, and what its own wishes and its pod leave of the policy's limits."""
    wishes = domain.asked
    obstacle = _obstacle(domain, wishes, unowned)
    limits, promised = spec.limits, max(promised_by_pod(domain), domain.floor)
    minimum = max(limits.minimum, limits.minimum_percent * domain.maximum // 100, wishes.minimum or 0, promised)
    ceilings = (limits.maximum, limits.maximum_percent * domain.maximum // 100, wishes.maximum)
    allowed = min(np.inf if value is None or value == domain.maximum else float(value) for value in ceilings)
    ceiling = min(max(allowed, promised), room_in_pod(domain))
    most = np.inf if domain.pod is None or domain.pod.limit is None else float(domain.pod.limit)
    return {name: getattr(domain, name) for name in _FACTS} | {
        "devices": min(domain.devices, most),
        "most": most,
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
    return KINDS[choice.type](**choice.chosen.model_dump())


def node_budget(policies: Sequence[MemoryPolicy], node: Budget) -> NodeBudget:
    """The most careful of what the node and the policies that act say (of all policies, where none acts)."""
    owning = [policy for policy in policies if policy.spec.mode != "Pause"]
    acting = [policy for policy in owning if policy.spec.mode == "Enforce"] or owning
    said = [node, *(policy.spec.budget for policy in acting)]
    reserves = (budget.reserve for budget in said if budget.reserve is not None)
    percents = (budget.reserve_percent for budget in said if budget.reserve_percent is not None)
    return NodeBudget(
        reserve=max(reserves, default=RESERVE),
        reserve_fraction=max(percents, default=RESERVE_PERCENT) / 100,
        maximum=min((float(budget.maximum) for budget in said if budget.maximum is not None), default=np.inf),
    )


def promised_by_pod(domain: DomainFacts) -> int:
    """Bytes of its maximum that the scheduler guarantees: its pod's request less the overhead; 0 outside of a pod.

    The overhead is what the pod's limit, or its request where it has none, exceeds the guest's memory by. That tells
    nothing where it is below 0, as with requests of less than the guest, or more than KubeVirt ever adds, as with a
    limit of a user's own: there all of the request counts, which is the careful reading.
    """
    pod = domain.pod
    if pod is None:
        return 0
    guest = domain.maximum + domain.devices
    beyond = (pod.request if pod.limit is None else pod.limit) - guest
    overhead = beyond if 0 <= beyond <= max(_LEAST_BOUND, guest // _LARGE_GUEST) else 0
    return min(max(pod.request - overhead - domain.devices, 0), domain.maximum)


def room_in_pod(domain: DomainFacts) -> float:
    """Bytes that the balloon may give at most, so that the kernel kills nothing in its pod; inf where that is all."""
    if domain.pod is None or domain.pod.limit is None:
        return math.inf
    room = domain.pod.limit - _BESIDE - (domain.maximum + domain.devices) // _PAGE_TABLES - domain.devices
    return math.inf if room >= domain.maximum else float(max(room, SMALLEST_BARE))

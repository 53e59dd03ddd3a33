"""What a user should know about who owns which domain: policies without effect, and what to do about them."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from controller.engine.ownership import Assignment

NAMED_DOMAINS = 5
"""Domains that one remark names; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One line, as it stands in the log, in `/state` and above the table."""

    event: str
    """`conflict`, `unmatched`, `elsewhere` or `no policy`."""
    policy: str
    """Name of the MemoryPolicy it is about; empty without one."""
    text: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """Outcome of an assignment, for people."""

    conflicted: Mapping[str, int] = field(default_factory=dict)
    """By policy, how many domains it selects and another policy owns."""
    remarks: tuple[Remark, ...] = ()


def ownership(assignment: Assignment, policies: Collection[str], node: str) -> Ownership:
    """What became of `policies`, by name, on the node called `node`."""
    conflicted = {policy: len(keys) for policy, keys in assignment.conflicted.items()}
    return Ownership(conflicted, tuple(_remarks(assignment, policies, node)))


def _remarks(assignment: Assignment, policies: Collection[str], node: str) -> Iterator[Remark]:
    if not policies:
        yield Remark("no policy", "", "no MemoryPolicy is in force: every domain is left alone")
    for policy, keys in sorted(assignment.conflicted.items()):
        yield from (_conflict(policy, owner, names) for owner, names in _by_owner(assignment, keys).items())
    if assignment.inventory.keys:
        for policy in sorted(assignment.unmatched):
            text = f"MemoryPolicy {policy} selects no domain of this node; check its domainSelector"
            yield Remark("unmatched", policy, text)
    for policy in sorted(set(policies) - set(assignment.inventory.policies)):
        text = f"MemoryPolicy {policy} is not for this node, {node}; check its nodeSelector, if that is not meant"
        yield Remark("elsewhere", policy, text)


def _by_owner(assignment: Assignment, keys: Sequence[str]) -> dict[str, list[str]]:
    """Names of the domains, by the policy that owns them."""
    inventory, owned = assignment.inventory, defaultdict(list)
    for key in keys:
        row = inventory.index[key]
        owned[inventory.policies[int(inventory.policy[row])]].append(inventory.names[row])
    return owned


def _conflict(policy: str, owner: str, names: list[str]) -> Remark:
    shown = ", ".join(names[:NAMED_DOMAINS])
    rest = f" and {len(names) - NAMED_DOMAINS} more" if len(names) > NAMED_DOMAINS else ""
    text = (
        f"MemoryPolicy {policy} is Conflicted: MemoryPolicy {owner} owns {shown}{rest} (higher priority, older, or "
        "first by name); narrow one domainSelector, or change spec.priority"
    )
    return Remark("conflict", policy, text)

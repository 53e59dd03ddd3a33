"""What a user should know about who owns which domain: policies without effect, and what to do about them."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from controller.api.printable import shown_name
from controller.engine.ownership import Assignment

NAMED = 5
"""Domains or policies that one remark names, and conflicts that have a remark each; the rest is counted."""

_HELD = "rollout has not come to this node, as status.enforcingNodes does not name it; only a cluster has a status"


@dataclass(frozen=True, slots=True)
class Remark:
    """One line, as it stands in the log, in `/state` and above the table."""

    event: str
    """`paused`, `conflict`, `overridden`, `overruled`, `held`, `unmatched`, `elsewhere` or `no policy`."""
    policy: str
    """Name of the MemoryPolicy it is about; empty without one, or with several."""
    text: str

    @property
    def ordinary(self) -> bool:
        """As it is meant to be, where policies are layers or for other nodes: worth a line in the log, and no more."""
        return self.event in {"overridden", "held", "elsewhere"}


@dataclass(frozen=True, slots=True)
class Ownership:
    """Outcome of an assignment, for people."""

    conflicted: Mapping[str, int] = field(default_factory=dict)
    """By policy, how many domains it selects and another policy of the same priority owns."""
    overridden: Mapping[str, int] = field(default_factory=dict)
    """By policy, how many domains it selects and a policy of higher priority owns."""
    remarks: tuple[Remark, ...] = ()
    held: frozenset[str] = frozenset()
    """Names of the policies that enforce on other nodes for now."""

    @property
    def paused(self) -> str:
        """That nothing is enforced, and by whom; empty while policies are."""
        return "".join(remark.text for remark in self.remarks if remark.event == "paused")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should mend, a line each."""
        return tuple(remark.text for remark in self.remarks if not remark.ordinary)


def ownership(assignment: Assignment, policies: Collection[str], node: str) -> Ownership:
    """What became of `policies`, by name, on the node called `node`."""
    return Ownership(
        conflicted={policy: len(keys) for policy, keys in assignment.conflicted.items()},
        overridden={policy: len(keys) for policy, keys in assignment.overridden.items()},
        remarks=tuple(_remarks(assignment, policies, node)),
        held=frozenset(assignment.held),
    )


def _remarks(assignment: Assignment, policies: Collection[str], node: str) -> Iterator[Remark]:
    """Few lines, however many policies there are."""
    if not policies:
        yield Remark("no policy", "", "no MemoryPolicy is in force: every domain is left alone")
    yield from _of_all(
        "paused",
        assignment.pausing,
        "pauses this node: nothing is enforced until it is deleted",
        "pause this node: nothing is enforced until they are deleted",
    )
    yield from _of_all(
        "overruled",
        assignment.overruled,
        "says Enforce, and is only observed: Ballast was started to change nothing",
        "say Enforce, and are only observed: Ballast was started to change nothing",
    )
    yield from _of_all(
        "held",
        assignment.held,
        f"says Enforce, and is only observed here: its {_HELD}",
        f"say Enforce, and are only observed here: their {_HELD}",
    )
    yield from _conflicts(assignment)
    if assignment.inventory.keys:
        yield from _of_all(
            "unmatched",
            assignment.unmatched,
            "selects no domain of this node; check its selectors",
            "select no domain of this node; check their selectors",
        )
    yield from _of_all(
        "overridden",
        assignment.overridden,
        "is overridden: a policy of higher priority owns domains that it selects",
        "are overridden: policies of higher priority own domains that they select",
    )
    yield from _of_all(
        "elsewhere",
        set(policies) - set(assignment.inventory.policies),
        f"is not for this node, {node}; check its nodeSelector, if that is not meant",
        f"are not for this node, {node}; check their nodeSelectors, if that is not meant",
    )


def _of_all(event: str, policies: Collection[str], one: str, several: str) -> Iterator[Remark]:
    """One remark about all of them; none about none."""
    match sorted(policies):
        case [name]:
            yield Remark(event, name, f"MemoryPolicy {name} {one}")
        case [_, _, *_] as names:
            yield Remark(event, "", f"MemoryPolicies {_listed(names)} {several}")


def _conflicts(assignment: Assignment) -> Iterator[Remark]:
    """Of each policy and the one that owns its domains; those beyond the first few are counted."""
    found = [
        _conflict(policy, owner, names)
        for policy, keys in sorted(assignment.conflicted.items())
        for owner, names in _by_owner(assignment, keys).items()
    ]
    yield from found[:NAMED]
    if len(found) > NAMED:
        rest = f"{len(found) - NAMED} more conflicts of MemoryPolicies"
        yield Remark("conflict", "", f"{rest}; narrow what they select, or change spec.priority")


def _by_owner(assignment: Assignment, keys: Sequence[str]) -> dict[str, list[str]]:
    """Names of the domains, by the policy that owns them."""
    inventory, owned = assignment.inventory, defaultdict(list)
    for key in keys:
        row = inventory.index[key]
        owned[inventory.policies[int(inventory.policy[row])]].append(inventory.names[row])
    return owned


def _conflict(policy: str, owner: str, names: list[str]) -> Remark:
    text = (
        f"MemoryPolicy {policy} is Conflicted: MemoryPolicy {owner} owns {_listed(names)} (of the same priority, and "
        "older or first by name); narrow what one of them selects, or change spec.priority"
    )
    return Remark("conflict", policy, text)


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(shown_name, names[:NAMED])) + rest

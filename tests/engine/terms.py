"""What the policies of a node say of each guest and of the node, worked out from the documents alone.

The judge's own reading of rules 1, 4 and 6: it shares no code with the engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from controller.api.policy import MemoryPolicy, Spec
from controller.engine.inventory import DomainFacts
from controller.engine.reasons import Reason

MIB = 2**20
UNOWNED_INTERVAL = 60
"""Seconds between looks at a guest that no policy owns."""


@dataclass(frozen=True)
class PolicyTerms:
    """What is agreed on one guest. Sizes in bytes."""

    owner: Spec | None
    obstacle: Reason
    """Why it is left alone whatever its policy says."""
    minimum: float
    ceiling: float
    """The most it may have, its own maximum apart."""
    observed: bool = False
    """Whatever its policy does to others, nothing is done to it: it asks for that, or a policy pauses all."""

    @property
    def acts(self) -> bool:
        """Its policy changes guests of this node."""
        return self.owner is not None and acts(self.owner) and not self.observed

    @property
    def enforced(self) -> bool:
        return self.acts and self.obstacle is Reason.NONE

    @property
    def restores(self) -> bool:
        """What it had is given back when this policy goes."""
        return self.acts and self.owner is not None and self.owner.release == "Restore"

    @property
    def shortest(self) -> int:
        """Seconds between two looks, at least."""
        return self.owner.advanced.monitoring.minimum_interval_seconds if self.owner else UNOWNED_INTERVAL

    @property
    def longest(self) -> int:
        return self.owner.advanced.monitoring.maximum_interval_seconds if self.owner else UNOWNED_INTERVAL


def terms(facts: DomainFacts, policies: Sequence[MemoryPolicy]) -> PolicyTerms:
    """The owner is the highest priority, then the oldest, then the first by name."""
    paused = any(policy.spec.mode == "Pause" for policy in policies)
    owning = [policy for policy in policies if policy.spec.mode != "Pause" and _selects(policy, facts)]
    owner = min(owning, key=_rank, default=None)
    obstacle = _obstacle(facts)
    if owner is None:
        return PolicyTerms(None, obstacle, 0.0, float("inf"))
    limits, wishes = owner.spec.limits, facts.wishes
    ceilings = [facts.maximum * limits.maximum_percent // 100, limits.maximum, wishes.maximum]
    ceiling = min(size for size in ceilings if size is not None)
    minimum = max(limits.minimum, facts.maximum * limits.minimum_percent // 100, wishes.minimum or 0)
    unlimited = ceiling >= facts.maximum  # memory that is plugged in later is the guest's, too
    most = float("inf") if unlimited else ceiling
    return PolicyTerms(owner.spec, obstacle, min(minimum, ceiling), most, paused or wishes.observe)


def acts(spec: Spec) -> bool:
    """A rollout that has not come to this node is as Observe."""
    return spec.mode == "Enforce" and spec.rollout is None


def budget(policies: Sequence[MemoryPolicy], total: float) -> tuple[float, float]:
    """What a node of `total` bytes keeps for itself, and the most it gives to its guests together.

    The most careful of what the policies that act say; where none acts, all. 512 MiB and 5 % where none says anything.
    """
    acting = [policy.spec.budget for policy in policies if acts(policy.spec)]
    acting = acting or [policy.spec.budget for policy in policies if policy.spec.mode != "Pause"]
    sizes = [each.reserve for each in acting if each.reserve is not None] or [512 * MIB]
    percents = [each.reserve_percent for each in acting if each.reserve_percent is not None] or [5]
    reserve = max(*sizes, *(percent * total / 100 for percent in percents))
    return reserve, min((each.maximum for each in acting if each.maximum is not None), default=float("inf"))


def _selects(policy: MemoryPolicy, facts: DomainFacts) -> bool:
    selector = policy.spec.domain_selector
    labels = facts.wishes.labels
    return (
        (not selector.names or any(fnmatchcase(facts.name, name) for name in selector.names))
        and (not selector.uuids or facts.uuid in selector.uuids)
        and all(labels.get(key) == value for key, value in selector.match_labels.items())
    )


def _rank(policy: MemoryPolicy) -> tuple[int, datetime, str]:
    return (
        -policy.spec.priority,
        policy.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC),
        policy.metadata.name,
    )


def _obstacle(facts: DomainFacts) -> Reason:
    if facts.wishes.opt_out:
        return Reason.OPTED_OUT
    if facts.obstacle is Reason.NONE and facts.wishes.error:
        return Reason.INVALID_WISHES
    return facts.obstacle

"""When to write which policy's status: soon after a change, never in a rush, ever later while writing fails."""

from collections.abc import Collection
from dataclasses import dataclass, field

from controller.aggregation.identity import PolicyIdentity

GATHER_S = 0.5
"""Seconds from a change to its write: changes of many nodes come together and make one write."""
SPACING_S = 5.0
"""Least seconds between two writes of one policy, however many nodes change."""
LONGEST_BACKOFF_S = 60.0
"""Most seconds between two tries of a write that fails."""


@dataclass(slots=True)
class _Limit:
    due: float | None = None
    """None while nothing is to be written."""
    last: float = float("-inf")
    """When it was last tried."""
    spacing: float = SPACING_S
    """Seconds from then to the next try, at least."""

    @property
    def earliest(self) -> float:
        """No try before this."""
        return self.last + self.spacing


@dataclass(slots=True)
class RateLimiter:
    """Due times by policy. Times are seconds of one clock of the caller's that never jumps."""

    _limits: dict[PolicyIdentity, _Limit] = field(default_factory=dict)

    def touch(self, policy: PolicyIdentity, now: float, within: float = GATHER_S) -> None:
        """There is something to write, within so many seconds if the spacing allows it."""
        turn = self._limits.setdefault(policy, _Limit())
        due = max(now + within, turn.earliest)
        turn.due = due if turn.due is None else min(turn.due, due)

    def take(self, now: float) -> PolicyIdentity | None:
        """The policy that is due and waits longest, once; None when none is due."""
        due = [(turn.due, policy) for policy, turn in self._limits.items() if turn.due is not None and turn.due <= now]
        if not due:
            return None
        _, policy = min(due)
        self._limits[policy].due = None
        return policy

    def since(self, policy: PolicyIdentity, now: float) -> float:
        """Seconds since it was last tried to be written; infinite if it never was."""
        turn = self._limits.get(policy)
        return float("inf") if turn is None else now - turn.last

    def wrote(self, policy: PolicyIdentity, now: float) -> None:
        """It was written."""
        turn = self._limits.setdefault(policy, _Limit())
        turn.last, turn.spacing = now, SPACING_S

    def failed(self, policy: PolicyIdentity, now: float) -> None:
        """It could not be written: try again, later each time."""
        turn = self._limits.setdefault(policy, _Limit())
        turn.last, turn.spacing = now, min(2 * turn.spacing, LONGEST_BACKOFF_S)
        turn.due = turn.earliest

    def keep(self, policies: Collection[PolicyIdentity]) -> None:
        """Forget all but these: the others are gone."""
        self._limits = {policy: turn for policy, turn in self._limits.items() if policy in policies}

    @property
    def next_due(self) -> float:
        """When the next policy is due; infinite when nothing is."""
        return min((turn.due for turn in self._limits.values() if turn.due is not None), default=float("inf"))

"""What one step decided: the engine's only output besides its own state."""

from dataclasses import dataclass

from controller.engine.grounds import UNKNOWN, Figures
from controller.engine.reasons import Reason


@dataclass(frozen=True, slots=True)
class Action:
    """One balloon change to carry out now, in the order given. Sizes in bytes."""

    row: int
    key: str
    name: str
    before: int
    target: int
    reason: Reason
    figures: Figures = UNKNOWN
    """The numbers that it came from."""

    @property
    def grows(self) -> bool:
        """True when the guest gets memory."""
        return self.target > self.before


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should hear about once: a domain became Stuck, was skipped, was changed from outside."""

    key: str
    name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Decision:
    """Result of one step. `actions` are real, shrinks first; `proposals` are what Enforce would do (Observe)."""

    actions: tuple[Action, ...] = ()
    proposals: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()

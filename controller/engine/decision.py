"""What one step decided: the engine's only output besides its own state."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from controller.engine.reasons import Reason


class Figures(NamedTuple):
    """Of one domain; bytes, NaN where unknown."""

    demand: float = np.nan
    """As last seen."""
    forecast: float = np.nan
    """Demand expected at the next look."""
    upper: float = np.nan
    """The quantile of it that decisions use."""
    headroom: float = np.nan
    wanted: float = np.nan
    """Upper forecast (or memory that a balloon might not get) and headroom, or demand and burst, within the limits."""
    planned: float = np.nan
    """What it should have by its share of the budget."""
    allocation: float = np.nan
    """Before the decision."""
    target: float = np.nan
    """As decided; the allocation where nothing was changed."""
    threshold: float = np.nan
    """By which the two differ at least where the domain is moved."""
    excess: float = np.nan
    """Shortfall expected to begin in one shortest interval, as things were."""
    saving: float = np.nan
    """What the plan would have saved of that so far, and is expected to save, byte-seconds."""
    price: float = np.nan
    """What that has to come to for a move, byte-seconds."""
    budget: float = np.nan
    free: float = np.nan
    """Of the budget, before the decisions of the step; negative where more was given away."""
    burst: float = np.nan
    """What it may take before memory can arrive that is sent because of it."""
    used: float = np.nan
    """Demand, with what is known to have been added since, and what keeps it out of reclaim; at most what it has."""
    going_to: float = np.nan
    """Where its balloon was going, or was: what `planned` is compared with."""
    eased: float = np.nan
    """What it keeps for a while as it was short of memory, of what it has; 0 elsewhere."""
    grew: float = np.nan
    """What the host has felt it take into use since its statistics; 0 where nothing was felt."""
    sought: float = np.nan
    """What it is to have for that; 0 where it does not run short by it."""


@dataclass(frozen=True, slots=True)
class Action:
    """One balloon change to carry out now, in the order given. Sizes in bytes."""

    row: int
    key: str
    name: str
    before: int
    target: int
    reason: Reason
    figures: Figures = field(default_factory=Figures)
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

"""The numbers that the newest decision about each domain came from: what logs, `explain` and the page tell."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from controller.engine.estimate import headroom
from controller.engine.tables import Floats, Table, column

if TYPE_CHECKING:
    from controller.engine.actuation import Situation


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
    """Upper forecast (or memory that a balloon might not get) and headroom, within the limits."""
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


UNKNOWN = Figures()
"""Of a domain of which nothing is known."""


@dataclass(frozen=True)
class Grounds(Table):
    """Columns of (n,), as those of `Figures`."""

    demand: Floats = column(np.nan)
    forecast: Floats = column(np.nan)
    upper: Floats = column(np.nan)
    headroom: Floats = column(np.nan)
    wanted: Floats = column(np.nan)
    planned: Floats = column(np.nan)
    allocation: Floats = column(np.nan)
    target: Floats = column(np.nan)
    threshold: Floats = column(np.nan)
    excess: Floats = column(np.nan)
    saving: Floats = column(np.nan)
    price: Floats = column(np.nan)
    budget: Floats = column(np.nan)
    free: Floats = column(np.nan)

    def of(self, row: int) -> Figures:
        """Those of one domain."""
        return Figures(*(float(getattr(self, name)[row]) for name in Figures._fields))


def grounds(at: "Situation") -> Grounds:
    """Those of every domain in a situation; nothing is moved yet."""
    size, everyone = at.known.observation.allocation, np.ones(len(at.known.inventory))
    return Grounds(
        demand=at.known.observation.demand,
        forecast=at.known.estimate.forecast,
        upper=at.known.estimate.upper,
        headroom=headroom(at.known.inventory, at.known.estimate.upper),
        wanted=np.where(np.isfinite(at.known.estimate.foot), at.plan.wanted, np.nan),
        planned=at.plan.size,
        allocation=size,
        target=size,
        threshold=at.known.bounds.threshold,
        excess=at.exposure.excess,
        saving=at.exposure.saving,
        price=at.price * everyone,
        budget=at.known.host.budget * everyone,
        free=at.free * everyone,
    )

"""How the engine spreads a node's budget: the levels of three guests, and what they get as the budget grows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from controller.api.documents import load
from controller.engine.allocation import FRESH_TO_SHRINK, allocate
from controller.engine.effect import BalloonEffect
from controller.engine.estimate import Estimate
from controller.engine.felt import Growth
from controller.engine.guest_pressure import GuestPressure
from controller.engine.host import HostState
from controller.engine.inventory import DomainFacts, Inventory
from controller.engine.known import Known, bounds
from controller.engine.observation import Observation
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.phases import Balloon
from controller.engine.tuning import Tuning

Floats = NDArray[np.float64]

MIB = 2**20
MAXIMUM_MIB = 3072


@dataclass(frozen=True, slots=True)
class DrawnGuest:
    """A guest and what is known of its needs, MiB."""

    name: str
    weight: int
    demand: float
    minimum: float
    reach: float
    """How far demand may rise."""


GUESTS = (
    DrawnGuest("db", 200, demand=1000, minimum=1500, reach=400),
    DrawnGuest("web", 100, demand=600, minimum=1000, reach=400),
    DrawnGuest("batch", 100, demand=400, minimum=500, reach=1200),
)
BUDGETS_MIB = (2600, 3500, 6000)
"""Too little for all minimums; for those and a little more; for much of where demand may come to."""


@dataclass(frozen=True, slots=True)
class Filled:
    """One budget, spread by the engine. All (n,), MiB."""

    budget: float
    need: Floats
    """What nobody may take: present demand, and what keeps it out of reclaim."""
    size: Floats
    """What each guest is to have."""


def filled(budgets: Sequence[float] = BUDGETS_MIB) -> list[Filled]:
    """What the engine plans for GUESTS with each budget."""
    most = MAXIMUM_MIB * MIB
    facts = [DomainFacts(guest.name, guest.name, guest.name, 1, most, most) for guest in GUESTS]
    policies = load("---".join(map(_policy, GUESTS)), "picture").policies
    inventory = assign(facts, policies, NodeIdentity("picture")).inventory
    return [_filled(inventory, budget) for budget in budgets]


def _filled(inventory: Inventory, budget_mib: float) -> Filled:
    """GUESTS as the engine knows them after a while, each by a policy of its own."""
    n, everyone = len(GUESTS), np.ones(len(GUESTS), dtype=np.bool_)
    demand, reach = _sizes("demand") * MIB, _sizes("reach") * MIB
    observation = Observation.blank(n).having(
        allocation=2 * demand,
        demand=demand,
        maximum=np.full(n, MAXIMUM_MIB * MIB),
        fresh_count=FRESH_TO_SHRINK * np.ones(n),
    )
    known = Known(
        bounds(inventory, observation),
        0.0,
        Tuning(),
        inventory,
        observation,
        GuestPressure.blank(n),
        Balloon.blank(n),
        BalloonEffect.blank(n),
        Estimate.blank(n).having(at=np.zeros(n), upper=demand, foot=demand, reach=reach, since=np.full(n, -np.inf)),
        HostState(budget=budget_mib * MIB, lendable=budget_mib * MIB),
        Growth.blank(n),
    )
    plan = allocate(known, observation.allocation, everyone)
    return Filled(budget_mib, plan.need / MIB, plan.size / MIB)


def _sizes(name: str) -> Floats:
    """(n,) of a field of GUESTS."""
    return np.array([float(getattr(guest, name)) for guest in GUESTS])


def _policy(guest: DrawnGuest) -> str:
    return f"""
apiVersion: ballast.dev/v1alpha1
kind: MemoryPolicy
metadata: {{name: {guest.name}}}
spec:
  mode: Enforce
  domainSelector: {{names: [{guest.name}]}}
  weight: {guest.weight}
  limits: {{minimum: {guest.minimum}Mi}}
"""


COLOURS = ("#08519c", "#6baed6", "#fdd0a2")
"""From what a guest cannot do without to what it may come to need. They differ in grey, too."""


def draw(budgets: Sequence[Filled], path: Path) -> None:
    """Write a PNG. Raises OSError."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, len(budgets), sharey=True)
    for axes, one in zip(panels, budgets, strict=True):
        _panel(axes, one)
    panels[0].set_ylabel("MiB")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _panel(axes: Axes, one: Filled) -> None:
    places = np.arange(len(GUESTS))
    minimum, most = _sizes("minimum"), np.full(len(GUESTS), float(MAXIMUM_MIB))
    bottom = np.zeros(len(GUESTS))
    names = ("present demand", "up to the minimum", "in proportion to reach and weight")
    for top, colour, name in zip((one.need, minimum, most), COLOURS, names, strict=True):
        given = np.clip(one.size, bottom, np.maximum(top, bottom))
        axes.bar(places, given - bottom, 0.6, bottom, color=colour, label=name)
        bottom = given
    axes.bar(places, minimum, 0.6, color="none", edgecolor="black", linewidth=1, linestyle="--", label="minimum")
    for place, size in zip(places, np.maximum(one.size, minimum), strict=True):
        axes.annotate(f"{one.size[place]:.0f}", (place, size), (0, 3), textcoords="offset points", ha="center")
    axes.set_title(f"budget {one.budget:.0f} MiB", loc="left", fontweight="bold")
    axes.set_xticks(places, [f"{guest.name}\nweight {guest.weight}\nreach {guest.reach:.0f}" for guest in GUESTS])
    axes.spines[["top", "right"]].set_visible(False)

"""How the planner fills a node's budget: the levels of three guests, and what they get as the budget grows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from controller.api.documents import load
from controller.engine import plan
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.state import State
from controller.engine.step import align

Floats = NDArray[np.float64]

MIB = 2**20
MAXIMUM_MIB = 3072


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest and what it is known to need, MiB."""

    name: str
    weight: int
    demand: float
    upper: float
    wanted: float


GUESTS = (
    Guest("db", 200, demand=1000, upper=1500, wanted=1650),
    Guest("web", 100, demand=600, upper=1100, wanted=1210),
    Guest("batch", 100, demand=400, upper=800, wanted=880),
)
BUDGETS_MIB = (2600, 3550, 6000)
"""Too little for all upper forecasts; for those but not for all headroom; more than anybody asks for."""


@dataclass(frozen=True, slots=True)
class Filled:
    """One budget, shared by the engine. All (n,), MiB."""

    budget: float
    least: Floats
    """What nobody may take: minimum and present demand."""
    needed: Floats
    """What is given to those who need it."""
    fair: Floats
    """The same with what nobody needs lent out."""


def filled(budgets: Sequence[float] = BUDGETS_MIB) -> list[Filled]:
    """What the engine plans for GUESTS with each budget."""
    state = _state()
    least = _plan(state, 1.0).needed / MIB
    plans = [_plan(state, budget) for budget in budgets]
    return [
        Filled(budget, least, drawn.needed / MIB, drawn.fair / MIB)
        for budget, drawn in zip(budgets, plans, strict=True)
    ]


def _plan(state: State, budget_mib: float) -> plan.Plan:
    state.host = replace(state.host, budget=budget_mib * MIB, lendable=budget_mib * MIB)
    movable = np.ones(len(GUESTS), dtype=np.bool_)
    return plan.draw(state, state.observation.allocation, movable, 0.0)


def _state() -> State:
    """GUESTS as the engine knows them after a while, each by a policy of its own."""
    most = MAXIMUM_MIB * MIB
    facts = [DomainFacts(guest.name, guest.name, guest.name, 1, most, most) for guest in GUESTS]
    policies = load("---".join(map(_policy, GUESTS)), "picture").policies
    state = align(State.initial(), assign(facts, policies, NodeIdentity("picture")).inventory, 0.0).copy()
    state.observation.fresh_count[:] = plan.FRESH_TO_SHRINK
    state.observation.maximum[:] = most
    state.observation.allocation[:] = [guest.upper * MIB for guest in GUESTS]
    state.observation.demand[:] = [guest.demand * MIB for guest in GUESTS]
    state.outlook.upper[:] = [guest.upper * MIB for guest in GUESTS]
    state.outlook.wanted[:] = [guest.wanted * MIB for guest in GUESTS]
    state.outlook.since[:] = -np.inf
    return state


def _policy(guest: Guest) -> str:
    return f"""
apiVersion: ballast.dev/v1alpha1
kind: MemoryPolicy
metadata: {{name: {guest.name}}}
spec: {{mode: Enforce, domainSelector: {{names: [{guest.name}]}}, weight: {guest.weight}}}
"""


GIVEN, LENT = ("#08519c", "#4292c6", "#9ecae1"), "#fdd0a2"
"""From what a guest cannot do without to its headroom; and the spare memory. They differ in grey, too."""


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
    upper, wanted = (np.array([getattr(guest, name) for guest in GUESTS]) for name in ("upper", "wanted"))
    bottom = np.zeros(len(GUESTS))
    names = ("minimum and demand", "up to the upper forecast", "headroom")
    for top, colour, name in zip((one.least, upper, wanted), GIVEN, names, strict=True):
        given = np.clip(one.needed, bottom, np.maximum(top, bottom))
        axes.bar(places, given - bottom, 0.6, bottom, color=colour, label=name)
        bottom = given
    axes.bar(places, one.fair - one.needed, 0.6, one.needed, color=LENT, label="spare, lent")
    axes.bar(places, wanted, 0.6, color="none", edgecolor="black", linewidth=1, linestyle="--", label="wanted")
    for place, size in zip(places, np.maximum(one.fair, wanted), strict=True):
        axes.annotate(f"{one.fair[place]:.0f}", (place, size), (0, 3), textcoords="offset points", ha="center")
    axes.set_title(f"budget {one.budget:.0f} MiB", loc="left", fontweight="bold")
    axes.set_xticks(places, [f"{guest.name}\nweight {guest.weight}" for guest in GUESTS])
    axes.spines[["top", "right"]].set_visible(False)

"""How long one step of the engine takes, for ever more domains."""

from collections.abc import Callable
from statistics import median

import numpy as np

from benchmarks.crowd import Crowd
from benchmarks.figures import Baseline, Figure
from benchmarks.shared_guests import SharedGuests
from benchmarks.stopwatch import Spent
from controller.engine.decision import Decision
from controller.engine.state import State
from controller.engine.step import step

PART = "engine"
SIZES = (50, 1_000, 10_000, 100_000)
GOAL_MS = {50: 0.5, 10_000: 10.0, 100_000: 100.0}
"""CPU of one step, by size: 0.5 ms for a host, 10 ms for 10,000 domains, and linear from there."""
WARM_UP_STEPS = 30
"""Until every domain has all the decision points its model uses, and allocations have settled."""
STEPS = 15
STORM = 0.09
"""Part of the domains that a storm gives more demand at once: about 7 % of all are then out of their threshold."""
CALM_STEPS = 3
"""Between two storms."""

POLYFIT_DOMAINS = 1_000
POINTS = 12
"""Decision points of the default model."""


def measure(_shared: SharedGuests) -> list[Figure]:
    """Of every size: a calm node under the default policy, and a node that keeps nothing spare and is hit by storms."""
    each = _polyfit_ms()
    figures = []
    for size in SIZES:
        baseline = Baseline(f"numpy.polyfit in a loop (1,000 domains, x{size / POLYFIT_DOMAINS:g})", each * size)
        for name, (spent, moved) in (("steady", _steady(size)), ("storm", _storm(size))):
            what = f"step, {size:,} domains, {name} ({moved / size:.1%} moved)"
            figures.append(Figure(PART, f"{what}, CPU", spent.cpu, "ms", baseline, GOAL_MS.get(size)))
            figures.append(Figure(PART, f"{what}, wall", spent.wall, "ms", baseline))
    return figures


def _steady(size: int) -> tuple[Spent, float]:
    crowd = Crowd(size, "Share")
    crowd.run(WARM_UP_STEPS)
    return _typical(crowd, lambda: None)


def _storm(size: int) -> tuple[Spent, float]:
    crowd = Crowd(size, "Reclaim")
    crowd.run(WARM_UP_STEPS)

    def gather() -> None:
        crowd.run(CALM_STEPS)
        crowd.surge(STORM)

    return _typical(crowd, gather)


def _typical(crowd: Crowd, prepare: Callable[[], None]) -> tuple[Spent, float]:
    """Medians over STEPS steps, each prepared: time, and how many domains were moved."""
    timed = []
    for _ in range(STEPS):
        prepare()
        timed.append(_step(crowd))
    return Spent.typical([spent for spent, _ in timed]), median(moved for _, moved in timed)


def _step(crowd: Crowd) -> tuple[Spent, int]:
    arguments = crowd.next()
    outcome: list[tuple[State, Decision]] = []
    spent = Spent.on(lambda: outcome.append(step(*arguments)))
    return spent, crowd.take(outcome[0])


def _polyfit_ms() -> float:
    """CPU of one weighted line through one domain's points."""
    times = -np.arange(float(POINTS))
    weights = np.sqrt(np.exp2(times / 60))
    demands = np.random.default_rng(1).uniform(1e9, 1.1e9, (POLYFIT_DOMAINS, POINTS))

    def fit_all() -> None:
        for demand in demands:
            np.polyfit(times, demand, 1, w=weights)

    return Spent.typical([Spent.on(fit_all) for _ in range(STEPS)]).each(POLYFIT_DOMAINS).cpu

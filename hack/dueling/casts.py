"""Who plays: guests, what their workloads want, and the budget they share. Workloads repeat every minute."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab import scenario
from lab.guest import GuestSpec
from lab.scenario import ScenarioPart

SHORTEST_S, LONGEST_S = 6, 25
"""How long a workload of the fourteen stays as it is."""
AMOUNTS_MIB = (40, 60, 90, 120, 150)
"""What it jumps between."""
PERIOD_S = 60
FOURTEEN_SEED = 14
"""Of their pattern, which is the same each time."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Guests that share a budget."""

    name: str
    parts: tuple[ScenarioPart, ...]
    budget_mib: int
    policy: str
    """Ballast's, YAML."""


def jumps(count: int, seed: int) -> list[tuple[tuple[float, int], ...]]:
    """`count` workloads of PERIOD_S, (second, MiB) points, that jump at moments of their own."""
    chance = np.random.default_rng(seed)

    def one() -> tuple[tuple[float, int], ...]:
        points: list[tuple[float, int]] = []
        begin = 0
        while begin < PERIOD_S:
            length, amount = int(chance.integers(SHORTEST_S, LONGEST_S + 1)), int(chance.choice(AMOUNTS_MIB))
            end = min(begin + length, PERIOD_S)
            points += [(begin, amount), (end, amount)]
            begin = end
        return tuple(points)

    return [one() for _ in range(count)]


def default_policy(budget_mib: int) -> str:
    """Ballast's defaults for all guests; its peers keep no reserve either."""
    return f"""
apiVersion: ballast.dev/v1alpha1
kind: MemoryPolicy
metadata: {{name: duel}}
spec:
  mode: Enforce
  domainSelector: {{names: ["*"]}}
  budget: {{maximum: {budget_mib}Mi, reserve: "0", reservePercent: 0}}
"""


def _fourteen() -> Cast:
    budget = 2800
    parts = [
        ScenarioPart(GuestSpec(f"jumper-{number:02d}", maximum=320, current=budget // 14, swap=192), workload)
        for number, workload in enumerate(jumps(14, FOURTEEN_SEED))
    ]
    return Cast("fourteen", tuple(parts), budget, default_policy(budget))


SERVICES = (
    ((0, 40), (60, 40)),
    ((0, 60), (60, 60)),
    ((0, 30), (30, 70), (60, 30)),
    ((0, 70), (30, 30), (60, 70)),
    ((0, 30), (20, 30), (20, 70), (40, 70), (40, 30), (60, 30)),
    ((0, 50), (15, 30), (45, 70), (60, 50)),
    ((0, 70), (50, 70), (50, 30), (60, 30)),
)
BUILD = ((0, 30), (10, 30), (11.2, 380), (30, 380), (30, 30), (42, 30), (42.8, 250), (50, 250), (50, 30), (60, 30))
"""From nothing to 350 MiB more at 300 MiB a second, and once more by less."""


def _builder() -> Cast:
    """A host of half the sum of the maxima. All that is ever wanted, the guests' kernels included, fits."""
    budget = (7 * 320 + 640) // 2
    share = budget // 8
    parts = [
        ScenarioPart(GuestSpec(f"service-{number}", maximum=320, current=share, swap=192), workload)
        for number, workload in enumerate(SERVICES)
    ]
    parts.append(ScenarioPart(GuestSpec("builder", maximum=640, current=share, swap=512), BUILD))
    return Cast("builder", tuple(parts), budget, default_policy(budget))


def _files() -> Cast:
    """Guests whose kernels would rather swap than do without the files that they read. The host has room for all."""
    budget = 1600

    def jump(second: int) -> tuple[tuple[float, int], ...]:
        return ((0, 30), (second + 2, 30), (second + 2, 150), (second + 17, 150), (second + 17, 30), (60, 30))

    parts = [
        ScenarioPart(
            GuestSpec(f"reader-{number}", maximum=384, current=budget // 6, swap=256),
            jump(20 * number) if number < 3 else ((0, 40), (60, 40)),
            cold=40,
            files=60,
        )
        for number in range(6)
    ]
    return Cast("files", tuple(parts), budget, default_policy(budget))


CASTS: Sequence[Cast] = (
    Cast("demo", scenario.CAST, scenario.BUDGET_MIB, scenario.POLICY.read_text()),
    _fourteen(),
    _builder(),
    _files(),
)

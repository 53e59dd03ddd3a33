"""The demo's guests and what they do: reproducible, each with a shape of demand of its own.

Workloads repeat every minute, so that one minute shows all of it. What they need together fits the budget at
every moment, though the guests' maxima do not: a test holds the parts to that.
"""

from dataclasses import dataclass
from pathlib import Path

from lab.guest import GuestSpec

POLICY = Path(__file__).parent / "policies" / "demo.yaml"
BUDGET_MIB = 1152
"""`budget.maximum` of the policy."""
START_MIB = BUDGET_MIB // 5
"""What every guest starts with: an equal share."""


@dataclass(frozen=True, slots=True)
class ScenarioPart:
    """A guest and its workload: (second, MiB) points, joined by lines, that start over after the last."""

    spec: GuestSpec
    workload: tuple[tuple[float, int], ...]
    cold: int = 0
    """MiB beside that it holds and hardly touches."""
    files: int = 0
    """MiB that it reads again each second: page cache in use."""


CAST = (
    ScenarioPart(GuestSpec("calm", maximum=256, current=START_MIB), ((0, 40), (60, 40))),
    ScenarioPart(
        GuestSpec("ramp", maximum=384, current=START_MIB, swap=256),
        ((0, 40), (8, 40), (31, 220), (36, 220), (48, 40), (60, 40)),
    ),
    ScenarioPart(
        GuestSpec("step", maximum=384, current=START_MIB, swap=256),
        ((0, 40), (4, 40), (4, 160), (14, 160), (14, 40), (46, 40), (46, 160), (56, 160), (56, 40), (60, 40)),
    ),
    ScenarioPart(
        GuestSpec("saw-tooth", maximum=384, current=START_MIB, swap=256),
        ((0, 40), (14, 160), (14, 40), (42, 40), (58, 160), (58, 40), (60, 40)),
    ),
    ScenarioPart(
        GuestSpec("elastic", maximum=384, current=START_MIB, autodeflate=True, swap=256),
        ((0, 40), (24, 40), (24, 150), (36, 150), (36, 40), (60, 40)),
    ),
)
MAXIMA_MIB = sum(part.spec.maximum for part in CAST)
"""What the guests could ask for together; more than the budget."""

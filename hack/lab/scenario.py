"""The demo's guests and what they do: reproducible, each with a shape of demand of its own.

Workloads repeat every minute, so that one minute shows all of it. Their sum, with what the guests' kernels
need and the policy's headroom, fits the budget at every moment; the guests' maxima do not.
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
class Part:
    """A guest and its workload: (second, MiB) points, joined by lines, that start over after the last."""

    spec: GuestSpec
    workload: tuple[tuple[float, int], ...]


CAST = (
    Part(GuestSpec("calm", maximum=256, current=START_MIB), ((0, 40), (60, 40))),
    Part(
        GuestSpec("ramp", maximum=384, current=START_MIB, swap=256),
        ((0, 40), (10, 40), (35, 220), (40, 220), (55, 40), (60, 40)),
    ),
    Part(
        GuestSpec("step", maximum=384, current=START_MIB, swap=256),
        ((0, 40), (5, 40), (5, 160), (22, 160), (22, 40), (35, 40), (35, 160), (50, 160), (50, 40), (60, 40)),
    ),
    Part(
        GuestSpec("saw-tooth", maximum=384, current=START_MIB, swap=256),
        ((0, 40), (18, 160), (18, 40), (38, 40), (58, 160), (58, 40), (60, 40)),
    ),
    Part(
        GuestSpec("elastic", maximum=384, current=START_MIB, autodeflate=True, swap=256),
        ((0, 40), (26, 40), (26, 150), (46, 150), (46, 40), (60, 40)),
    ),
)
MAXIMA_MIB = sum(part.spec.maximum for part in CAST)
"""What the guests could ask for together; more than the budget."""

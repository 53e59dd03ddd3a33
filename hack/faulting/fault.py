"""What every fault is, whatever it needs for it: it is carried out, and yields a result."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class FaultResult:
    """What became of it; the JSON's fields."""

    fault: str
    done: str
    guests_harmed: int
    """Out of memory, panicked, dead, or ordered below their demand."""
    actions_lost: int
    """Orders that neither the balloon nor Ballast's word shows, and orders given twice."""
    recovered_s: float | None
    """From the end of the fault until all was as it should be again; None: not within the deadline."""
    seen: str

    @property
    def good(self) -> bool:
        """Nobody harmed, nothing lost, all recovered."""
        return not self.guests_harmed and not self.actions_lost and self.recovered_s is not None

    def as_json(self) -> dict[str, Any]:
        """One entry of `faults`."""
        return asdict(self)


class Fault(Protocol):
    """A fault that knows its own stage."""

    @property
    def name(self) -> str:
        """What `--only` takes."""

    @property
    def done(self) -> str:
        """What is done, for a person; says what of it is made up."""

    def carry_out(self) -> FaultResult:
        """Set the stage, make the fault, judge, clear away. Raises LabError only when the stage cannot be set."""

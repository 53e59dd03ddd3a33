"""All the engine remembers between steps: one dataclass of arrays keyed by domain."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from controller.engine.allocation import Exposure
from controller.engine.decision import Figures
from controller.engine.effect import BalloonEffect
from controller.engine.estimate import Accuracy, Estimate
from controller.engine.felt import Growth
from controller.engine.guest_pressure import GuestPressure
from controller.engine.host import HostState
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.phases import Balloon
from controller.engine.polling import Polling
from controller.engine.reasons import Reason
from controller.engine.tables import Bools, Floats, Frozen, Ints, Table
from controller.forecast.history import History
from controller.forecast.tail import Tail


@dataclass(frozen=True)
class Totals(Frozen):
    """Counted since the start, over all domains that a policy owns or owned."""

    at: float = np.nan
    """Monotonic time of the last step."""
    looks: int = 0
    fixed_looks: float = 0.0
    """Looks that fixed intervals of the shortest length would have taken."""
    reallocations: int = 0
    moved: float = 0.0
    """Bytes asked of balloons, both ways."""
    shortfall_time: float = 0.0
    """Byte-seconds that demand was above the allocation."""
    slack_time: float = 0.0
    """Byte-seconds that the allocation was above demand."""
    accuracy: Accuracy = field(default_factory=Accuracy)
    """How forecasts have done."""


@dataclass(frozen=True)
class State(Frozen):
    """Rows follow `inventory`. `step` never changes the state it is given."""

    inventory: Inventory
    observation: Observation
    pressure: GuestPressure
    balloon: Balloon
    effect: BalloonEffect
    growth: Growth
    history: History
    tail: Tail
    estimate: Estimate
    exposure: Exposure
    polling: Polling
    reason: Ints
    """(n,) `Reason` of each domain's newest decision."""
    decision_inputs: Floats
    """(m, n) the m numbers that decision came from, as in `Figures`."""
    host: HostState
    minimums_fit: bool = True
    """All minimums were within the budget at the last step; where not, they are met in proportion."""
    totals: Totals = Totals()

    @classmethod
    def initial(cls) -> "State":
        """Nothing known, no domains."""
        tables: dict[str, Any] = {
            item.name: item.type.blank(0)
            for item in fields(cls)
            if isinstance(item.type, type) and issubclass(item.type, Table)
        }
        return cls(
            inventory=assign((), (), NodeIdentity("")).inventory,
            history=History.empty(0),
            tail=Tail.empty(0),
            reason=np.empty(0, dtype=np.int64),
            decision_inputs=np.empty((len(Figures._fields), 0)),
            host=HostState(),
            **tables,
        )

    def figures(self, row: int) -> Figures:
        """The numbers that the newest decision about one domain came from."""
        return Figures._make(self.decision_inputs[:, row].tolist())

    @property
    def stable(self) -> Bools:
        """(n,) domains that are stable; one that must not be touched is, whatever its demand does."""
        return np.asarray(self.polling.stable | (self.inventory.obstacle != int(Reason.NONE)))

"""What the guests of a node need together and lack, whose minimum is not met, and what they could give back."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from controller.api.policy import MEBIBYTE
from controller.engine.decision import Figures
from controller.engine.known import bounds
from controller.engine.reasons import Reason
from controller.engine.snapshot import TOLERANCE, RunState
from controller.engine.state import State
from controller.engine.tables import Bools, total

LASTS_S = 180.0
"""Seconds of shortage after which the node counts as short: what balloons and a busy guest do is over by then, and a
virtual machine that is moved away for less comes back."""
RELIEF_S = 60.0
"""Seconds without shortage that end it: one look at which the guests just fit is no relief."""


_WANTED = Figures._fields.index("wanted")


class Balance(NamedTuple):
    """Sums over the domains of a node, bytes."""

    demand: float
    """What the guests need: of one that does not tell, or that nobody may touch, all it has."""
    short: float
    """How much of that is above the budget."""
    reclaimable: float
    """What Enforce could take back, now or in the end, and no guest would miss: allocation above what is wanted."""


def balance(state: State) -> Balance:
    """As of the newest step. No guest gives that is short, has told too little, or whose memory does not come back."""
    seen, owned = state.observation, state.inventory.acted_on
    told = np.where(owned & np.isfinite(seen.demand), seen.demand, np.fmax(np.fmax(seen.allocation, seen.demand), 0.0))
    gives = owned & (seen.run_state == int(RunState.RUNNING)) & (seen.trouble == int(Reason.NONE))
    gives &= ~(state.pressure.pressed | state.effect.fruitless(state.totals.at) | state.balloon.failed)
    kept = np.maximum(state.decision_inputs[_WANTED], bounds(state.inventory, seen).minimum)
    spare = np.where(gives & np.isfinite(kept), np.fmax(seen.allocation - kept, 0.0), 0.0)
    demand = total(told)
    return Balance(demand, max(demand - state.host.budget, 0.0), total(spare))


def unmet(state: State) -> Bools:
    """(n,) domains that have less than their minimum, or would have under Enforce, as not all fit the budget."""
    moves, size = state.balloon, state.observation.allocation
    going_to = np.where(np.isfinite(moves.proposed), moves.proposed, np.where(moves.under_way, moves.target, size))
    lacks = going_to < bounds(state.inventory, state.observation).minimum - TOLERANCE
    return np.asarray(state.inventory.acted_on & (size > 0) & lacks & (not state.minimums_fit))


@dataclass(frozen=True, slots=True)
class Shortage:
    """For how long the guests have needed more than there is. Monotonic seconds."""

    since: float = np.nan
    """NaN while they do not."""
    last: float = -np.inf
    """The newest step at which they did."""
    lasts: bool = False
    """It has lasted: the node is short."""

    def extended(self, state: State, now: float) -> "Shortage":
        """With one more step: the demand is above the budget, or a guest in need gets nothing as all of it is used."""
        if not (balance(state).short > 0 or np.any(state.reason == int(Reason.NO_BUDGET))):
            return self if now - self.last < RELIEF_S else Shortage()
        since = now if np.isnan(self.since) else self.since
        return Shortage(since, now, self.lasts or now - since >= LASTS_S)


def shortage(state: State) -> str:
    """What a person should know of a node that is short, in one line."""
    short = round(balance(state).short / MEBIBYTE)
    need = f"need {short} MiB more than" if short else "cannot have what they need within"
    budget = f"the budget of {round(state.host.budget / MEBIBYTE)} MiB"
    return f"the guests {need} {budget}, and have for minutes; move one to another node, or give this one more memory"

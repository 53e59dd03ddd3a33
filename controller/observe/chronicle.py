"""What was decided about each domain of late, with the numbers it came from: a bounded memory, for `ballast explain`.

Only what happened is kept: a change made, proposed or refused, and a notice; never a look that changed nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.engine import balloon
from controller.engine.act import threshold
from controller.engine.decision import Action, Decision
from controller.engine.outlook import headroom
from controller.engine.reasons import Reason
from controller.engine.state import State

DECISIONS = 12
"""Entries a domain keeps; some 200 bytes each."""


Floats = NDArray[np.float64]


class Outcome(StrEnum):
    """What became of a decision."""

    DONE = "done"
    """libvirt took the change."""
    PROPOSED = "proposed"
    """Observe: Enforce would have made the change."""
    REFUSED = "refused"
    """libvirt would not take the change."""
    NOTED = "noted"
    """No change: something a person should know."""


class Figures(NamedTuple):
    """Numbers behind a decision: bytes, NaN where unknown."""

    demand: float
    forecast: float
    upper: float
    headroom: float
    doubtful: float
    """Of what the guest counts as available, neither free nor page cache."""
    wanted: float
    """Upper forecast and headroom; more than that for a guest under pressure, or with much that is doubtful."""
    allocation: float
    """Before the decision."""
    target: float
    """As decided; the allocation where nothing was changed."""
    threshold: float
    budget: float
    spare: float
    """Of the budget, once the step's decisions are carried out."""


_FORM = Struct(f"{len(Figures._fields)}f")


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision about one domain."""

    at: float
    """Monotonic seconds."""
    outcome: Outcome
    reason: Reason
    packed: bytes
    """The figures as float32: exact to a few KiB, and small."""
    error: str = ""
    """libvirt's message, of a refusal."""

    @property
    def figures(self) -> Figures:
        """The numbers it came from."""
        return Figures(*_FORM.unpack(self.packed))

    @property
    def grows(self) -> bool:
        """True when the guest gets memory."""
        seen = self.figures
        return seen.target > seen.allocation


@dataclass(frozen=True, slots=True)
class Chronicle:
    """Entries by key, oldest first. Immutable: readers in other threads get a consistent whole."""

    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    def extended(self, state: State, decision: Decision, refused: Mapping[str, str], now: float) -> "Chronicle":
        """With a step's decision; itself where nothing happened. `refused`: libvirt's messages by key.

        Domains that are gone are forgotten when something next happens.
        """
        if not (decision.actions or decision.proposals or decision.notices):
            return self
        known, numbers = state.inventory.index, table(state)
        entries = {key: kept for key, kept in self.entries.items() if key in known}
        for notice in decision.notices:
            seen = figures(numbers, known[notice.key])
            _append(entries, notice.key, Entry(now, Outcome.NOTED, notice.reason, _FORM.pack(*seen)))
        for action in decision.proposals:
            _append(entries, action.key, _change(numbers, action, Outcome.PROPOSED, now))
        for action in decision.actions:
            error = refused.get(action.key, "")
            outcome = Outcome.REFUSED if error else Outcome.DONE
            _append(entries, action.key, replace(_change(numbers, action, outcome, now), error=error))
        return Chronicle(entries)


def table(state: State) -> Floats:
    """(figures, n) as they stand after a step: a row for each field of `Figures`, a column for each domain."""
    inventory, outlook, size = state.inventory, state.outlook, state.observation.allocation
    committed = float(balloon.committed(state.balloon, state.observation, inventory).sum())
    everyone = np.ones(len(inventory))
    columns = {
        "demand": state.observation.demand,
        "forecast": outlook.forecast,
        "upper": outlook.upper,
        "headroom": headroom(inventory, outlook.upper),
        "doubtful": state.observation.doubtful,
        "wanted": outlook.wanted,
        "allocation": size,
        "target": size,
        "threshold": threshold(state.observation, inventory),
        "budget": state.host.budget * everyone,
        "spare": max(state.host.budget - committed, 0.0) * everyone,
    }
    return np.stack([columns[name] for name in Figures._fields])


def figures(numbers: Floats, row: int) -> Figures:
    """One domain's, of a `table`."""
    return Figures(*numbers[:, row].tolist())


def _change(numbers: Floats, action: Action, outcome: Outcome, now: float) -> Entry:
    seen = figures(numbers, action.row)._replace(allocation=float(action.before), target=float(action.target))
    return Entry(now, outcome, action.reason, _FORM.pack(*seen))


def _append(entries: dict[str, tuple[Entry, ...]], key: str, entry: Entry) -> None:
    """Changes all count; what is only said again, a refusal or a notice, takes the place of what was said before."""
    kept = entries.get(key, ())
    if entry.outcome in {Outcome.REFUSED, Outcome.NOTED}:
        said = (entry.outcome, entry.reason, entry.error)
        kept = tuple(each for each in kept if (each.outcome, each.reason, each.error) != said)
    entries[key] = (*kept[-(DECISIONS - 1) :], entry)

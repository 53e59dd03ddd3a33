"""What was decided about each domain of late, with the numbers it came from: a bounded memory, for `ballast explain`.

Only what happened is kept: a change made, proposed or refused, and a notice; never a look that changed nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.engine import motion
from controller.engine.act import threshold
from controller.engine.decision import Decision
from controller.engine.reasons import Reason
from controller.engine.state import State

DECISIONS = 12
"""Entries a domain keeps; some 200 bytes each."""


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
    wanted: float
    """Upper forecast and headroom; more than that for a guest under pressure."""
    allocation: float
    """Before the decision."""
    target: float
    """As decided; the allocation where nothing was changed."""
    threshold: float
    budget: float
    spare: float
    """Of the budget, once the step's decisions are carried out."""


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
        return Figures(*np.frombuffer(self.packed, dtype=np.float32).tolist())

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
        known = state.inventory.index
        entries = {key: kept for key, kept in self.entries.items() if key in known}
        for notice in decision.notices:
            _append(entries, notice.key, _entry(state, known[notice.key], None, Outcome.NOTED, notice.reason, now))
        for action in decision.proposals:
            made = _entry(state, action.row, (action.before, action.target), Outcome.PROPOSED, action.reason, now)
            _append(entries, action.key, made)
        for action in decision.actions:
            error = refused.get(action.key, "")
            outcome = Outcome.REFUSED if error else Outcome.DONE
            made = _entry(state, action.row, (action.before, action.target), outcome, action.reason, now)
            _append(entries, action.key, replace(made, error=error))
        return Chronicle(entries)


def figures(state: State, row: int) -> Figures:
    """The numbers as they stand after a step, of one domain."""
    inventory, outlook = state.inventory, state.outlook
    upper, size = float(outlook.upper[row]), float(state.sight.allocation[row])
    committed = float(motion.committed(state.motion, state.sight, inventory).sum())
    return Figures(
        demand=float(state.sight.demand[row]),
        forecast=float(outlook.forecast[row]),
        upper=upper,
        headroom=max(float(inventory.headroom[row]), float(inventory.headroom_fraction[row]) * upper),
        wanted=float(outlook.wanted[row]),
        allocation=size,
        target=size,
        threshold=float(threshold(state.sight, inventory)[row]),
        budget=state.budget,
        spare=max(state.budget - committed, 0.0),
    )


def _entry(
    state: State, row: int, change: tuple[int, int] | None, outcome: Outcome, reason: Reason, now: float
) -> Entry:
    seen = figures(state, row)
    if change is not None:
        seen = seen._replace(allocation=float(change[0]), target=float(change[1]))
    return Entry(now, outcome, reason, _packed(seen))


def _packed(seen: Figures) -> bytes:
    values: NDArray[np.float32] = np.array(seen, dtype=np.float32)
    return values.tobytes()


def _append(entries: dict[str, tuple[Entry, ...]], key: str, entry: Entry) -> None:
    """A refusal that is only tried again takes the place of the last one."""
    kept = entries.get(key, ())
    if kept and entry.outcome is Outcome.REFUSED and (kept[-1].outcome, kept[-1].error) == (entry.outcome, entry.error):
        kept = kept[:-1]
    entries[key] = (*kept[-(DECISIONS - 1) :], entry)

"""What was decided about each domain of late, with the numbers it came from: a bounded memory, for `ballast explain`.

Only what happened is kept: a change made, proposed or refused, and a notice; never a look that changed nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from struct import Struct

from controller.api.printable import bounded
from controller.engine.decision import Action, Decision, Figures
from controller.engine.reasons import Reason
from controller.engine.state import State

DECISIONS = 12
"""Entries a domain keeps; some 200 bytes each."""


class DecisionOutcome(StrEnum):
    """What became of a decision."""

    DONE = "done"
    """libvirt took the change."""
    PROPOSED = "proposed"
    """Observe: Enforce would have made the change."""
    REFUSED = "refused"
    """libvirt would not take the change."""
    NOTED = "noted"
    """No change: something a person should know."""


_FORM = Struct(f"{len(Figures._fields)}f")


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision about one domain."""

    at: float
    """Monotonic seconds."""
    outcome: DecisionOutcome
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
class DecisionHistory:
    """Entries by key, oldest first. Immutable: readers in other threads get a consistent whole."""

    entries: Mapping[str, tuple[DecisionRecord, ...]] = field(default_factory=dict)

    def extended(self, state: State, decision: Decision, refused: Mapping[str, str], now: float) -> "DecisionHistory":
        """With a step's decision; itself where nothing happened. `refused`: libvirt's messages by key.

        Domains that are gone are forgotten when something next happens. What a change says is not noted besides, and of
        a halt that another order follows at once only the latter is told: it alone takes effect.
        """
        if not (decision.actions or decision.proposals or decision.notices):
            return self
        known = state.inventory.index
        entries = {key: kept for key, kept in self.entries.items() if key in known}
        actions = {action.key: action for action in decision.actions}.values()
        told = {(change.key, change.reason) for change in (*actions, *decision.proposals)}
        for notice in decision.notices:
            if (notice.key, notice.reason) not in told:
                seen = state.figures(known[notice.key])
                _append(
                    entries, notice.key, DecisionRecord(now, DecisionOutcome.NOTED, notice.reason, _FORM.pack(*seen))
                )
        for action in decision.proposals:
            _append(entries, action.key, _change(action, DecisionOutcome.PROPOSED, now))
        for action in actions:
            error = refused.get(action.key, "")
            outcome = DecisionOutcome.REFUSED if error else DecisionOutcome.DONE
            _append(entries, action.key, _change(action, outcome, now, error))
        return DecisionHistory(entries)


def _change(action: Action, outcome: DecisionOutcome, now: float, error: str = "") -> DecisionRecord:
    """A halt is decided on what the step before has left: only what was halted, and where, is newer."""
    seen = action.figures._replace(allocation=float(action.before), target=float(action.target))
    return DecisionRecord(now, outcome, action.reason, _FORM.pack(*seen), bounded(error))


def _append(entries: dict[str, tuple[DecisionRecord, ...]], key: str, entry: DecisionRecord) -> None:
    """Changes all count; what is only said again, a refusal or a notice, takes the place of what was said before."""
    kept = entries.get(key, ())
    if entry.outcome in {DecisionOutcome.REFUSED, DecisionOutcome.NOTED}:
        said = (entry.outcome, entry.reason, entry.error)
        kept = tuple(each for each in kept if (each.outcome, each.reason, each.error) != said)
    entries[key] = (*kept[-(DECISIONS - 1) :], entry)

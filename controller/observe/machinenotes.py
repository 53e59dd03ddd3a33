"""What became of domains of late, for the owners of virtual machines: the substance of events about those. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from controller.engine.reasons import Reason
from controller.observe.advice import advice
from controller.observe.decisionhistory import DecisionOutcome, DecisionRecord
from controller.observe.eventlog import WARNINGS
from controller.observe.statusstore import StatusSnapshot
from controller.observe.text import change


class MachineNote(NamedTuple):
    """The newest thing that is worth an owner's time."""

    key: str
    """Of the domain."""
    at: float
    """Monotonic seconds."""
    reason: str
    """In one word, as events have it."""
    text: str
    warning: bool
    """It is not what Ballast has done, but what keeps it from doing so."""


def machine_notes(latest: StatusSnapshot) -> Iterator[MachineNote]:
    """One a domain at most. What Observe proposes is done by nobody, and so is no news."""
    for key, records in latest.decision_history.entries.items():
        newest = next((each for each in reversed(records) if _is_news(each)), None)
        if newest is not None and key in latest.state.inventory.index:
            text = _text(latest, key, newest)
            yield MachineNote(key, newest.at, str(newest.reason), text, newest.outcome is not DecisionOutcome.DONE)


def _is_news(record: DecisionRecord) -> bool:
    if record.outcome is DecisionOutcome.NOTED:
        return record.reason in WARNINGS or record.reason is Reason.AT_MAXIMUM
    return record.outcome is not DecisionOutcome.PROPOSED


def _text(latest: StatusSnapshot, key: str, record: DecisionRecord) -> str:
    inventory = latest.state.inventory
    row = inventory.index[key]
    owner = int(inventory.policy[row])
    policy, mode = (inventory.policies[owner], inventory.modes[owner]) if owner >= 0 else ("", None)
    by = f" (MemoryPolicy {policy})" if policy else ""
    if record.outcome is DecisionOutcome.NOTED:
        wrong = latest.wishes_errors.get(key, "")
        told = advice(str(record.reason), inventory.names[row], mode, wrong)
        return f"{record.reason.text}{by}{': ' if told else ''}{told}"
    moved = f"{change(record.figures.allocation, record.figures.target)}: {record.reason.text}{by}"
    return f"libvirt refused {moved}: {record.error}" if record.error else moved

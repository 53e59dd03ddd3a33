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


HOLD_S = 60.0
"""What keeps Ballast from its work is told when it has lasted so long: guests boot, and busy hosts answer late."""


def machine_notes(latest: StatusSnapshot) -> Iterator[MachineNote]:
    """One at most of each domain that a policy owns. What Observe proposes is done by nobody, and so is no news."""
    inventory = latest.state.inventory
    for key, records in latest.decision_history.entries.items():
        row = inventory.index.get(key)
        if row is None or inventory.policy[row] < 0:
            continue
        reason = latest.state.reason[row]
        newest = next((each for each in reversed(records) if _is_news(each, reason, latest.at)), None)
        if newest is not None:
            text = _text(latest, row, newest)
            yield MachineNote(key, newest.at, str(newest.reason), text, newest.outcome is not DecisionOutcome.DONE)


def _is_news(record: DecisionRecord, reason: int, now: float) -> bool:
    """`reason`: of the last decision about the domain."""
    if record.outcome is DecisionOutcome.NOTED:
        matters = record.reason in WARNINGS or record.reason is Reason.AT_MAXIMUM
        return matters and record.reason == reason and now - record.at >= HOLD_S
    return record.outcome is not DecisionOutcome.PROPOSED


def _text(latest: StatusSnapshot, row: int, record: DecisionRecord) -> str:
    inventory = latest.state.inventory
    owner = int(inventory.policy[row])
    by = f" (MemoryPolicy {inventory.policies[owner]})"
    if record.outcome is DecisionOutcome.NOTED:
        wrong = latest.wishes_errors.get(inventory.keys[row], "")
        told = advice(str(record.reason), inventory.names[row], inventory.modes[owner], wrong)
        return f"{record.reason.text}{by}{': ' if told else ''}{told}"
    moved = f"{change(record.figures.allocation, record.figures.target)}: {record.reason.text}{by}"
    return f"libvirt refused {moved}: {record.error}" if record.error else moved

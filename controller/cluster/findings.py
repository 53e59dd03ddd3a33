"""What a person on duty must know of a node, as its state tells: the substance of events. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from controller.api.printable import cut, printable, shown_name
from controller.engine.balance import unmet
from controller.engine.reasons import Reason
from controller.engine.state import State

NAMED = 5
"""Domains that one note names; the rest is counted."""
NOTE_BYTES = 1024
"""Most that the API server takes of a note."""
SILENT_PART = 0.5
"""Part of the node's domains without statistics from which on it is the node's trouble, not a domain's."""

_SILENT = np.array([Reason.NO_STATISTICS, Reason.STALE_STATISTICS, Reason.INVALID_STATISTICS])

HOST_PRESSURE = "the host itself is short of memory; Ballast takes back what guests lend"

_LACKING = (
    (Reason.MINIMUM_UNMET, "lower limits.minimum or minimumPercent of the policies here, or move a domain away", 10.0),
    (Reason.AT_MAXIMUM, "raise limits.maximum of their policy, or the memory of their definition", 60.0),
)
"""Why domains have less than they were promised or need, what to do, and after how many seconds that is told."""


class Finding(NamedTuple):
    """One thing that is wrong on the node now."""

    reason: str
    """In one word, as events have it."""
    note: str
    """What is wrong and what to do: one line, at most NOTE_BYTES."""
    hold_s: float
    """Seconds for which it has to last before it is worth a person's time."""


def findings(state: State, lost: Sequence[str], conflicts: Iterable[str], short: str = "") -> list[Finding]:
    """All of them, one a reason. `lost`: a line for each libvirt connection that is down; `conflicts` likewise.

    `short`: that the node stays short; empty while it does not.
    """
    found = [*_stuck(state), *_unknown(state, lost), *_conflicted(list(conflicts)), *_pressed(state), *_lacking(state)]
    if short:
        found.append(Finding("GuestMemoryShort", short, 0.0))
    return [each._replace(note=cut(printable(each.note), NOTE_BYTES)) for each in found]


def _stuck(state: State) -> Iterator[Finding]:
    names = _names(state, np.flatnonzero(state.reason == Reason.STUCK))
    if names:
        note = f"{_listed(names)}: {Reason.STUCK.text}. The guest cannot give more, or its balloon driver hangs"
        yield Finding("Stuck", note, 0.0)


def _unknown(state: State, lost: Sequence[str]) -> Iterator[Finding]:
    acted_on = state.inventory.acted_on
    silent = acted_on & np.isin(state.reason, _SILENT)
    if lost:
        yield Finding("LibvirtUnreachable", "; ".join(lost), 30.0)
    elif silent.any() and silent.sum() >= SILENT_PART * acted_on.sum():
        names = _names(state, np.flatnonzero(silent))
        remedy = "see virsh dommemstat, and whether the guests' virtio_balloon driver is loaded"
        note = f"{_listed(names)}: no memory statistics, so nothing shrinks; {remedy}"
        yield Finding("StatisticsMissing", note, 60.0)


def _conflicted(conflicts: list[str]) -> Iterator[Finding]:
    if conflicts:
        rest = f" (and {len(conflicts) - 1} more conflicts)" if len(conflicts) > 1 else ""
        yield Finding("Conflicted", cut(conflicts[0], NOTE_BYTES // 2) + rest, 0.0)


def _pressed(state: State) -> Iterator[Finding]:
    if state.host.reading.pressure:
        yield Finding("HostPressure", HOST_PRESSURE, 10.0)
    names = _names(state, np.flatnonzero(state.pressure.pressed))
    if names:
        yield Finding("GuestPressure", f"{_listed(names)}: {Reason.PRESSURE_GROW.text}", 10.0)


def _lacking(state: State) -> Iterator[Finding]:
    """Domains that do not get what they were promised, or may not have what they need."""
    for reason, remedy, hold in _LACKING:
        lacking = unmet(state) if reason is Reason.MINIMUM_UNMET else state.reason == reason
        names = _names(state, np.flatnonzero(lacking))
        if names:
            yield Finding(str(reason), f"{_listed(names)}: {reason.text}; {remedy}", hold)


def _names(state: State, rows: np.ndarray) -> list[str]:
    return sorted(shown_name(state.inventory.names[row]) for row in rows.tolist())


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest

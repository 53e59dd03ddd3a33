"""What a look brought back, and its conversion to the engine's columns, all domains at once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import libvirt
import numpy as np
from numpy.typing import NDArray

from controller.engine.snapshot import RunState, Samples

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GROUPS = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BALLOON
"""Groups of statistics that one look asks for."""

STATISTICS: tuple[tuple[str, float], ...] = (
    ("state.state", 1),
    ("state.reason", 1),
    ("balloon.current", 1024),
    ("balloon.maximum", 1024),
    ("balloon.usable", 1024),
    ("balloon.unused", 1024),
    ("balloon.disk_caches", 1024),
    ("balloon.available", 1024),
    ("balloon.swap_in", 1024),
    ("balloon.swap_out", 1024),
    ("balloon.major_fault", 1),
    ("balloon.rss", 1024),
    ("balloon.last-update", 1),
)
"""libvirt's name of each column and the factor to the engine's unit, from virConnectGetAllDomainStats."""

_NAMES = tuple(name for name, _ in STATISTICS)
_FACTORS = np.array([factor for _, factor in STATISTICS])
_STATE, _REASON, _SIZE, _TOLD = map(_NAMES.index, ("state.state", "state.reason", "balloon.current", "balloon.usable"))
_ASKED = frozenset(_NAMES[_TOLD:])
"""What only QEMU and its guest can tell, and the resident size, which libvirt gives with it."""
_MOST = 2.0**53
"""Of any size or count, in libvirt's units. Of what a guest tells more is the -1 of a tag that its driver does not set:
libvirt leaves -1 bytes out, but some count in other units. Of the rest only a false libvirt tells more."""

_RUNNING_STATES = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED)
_PAUSED_STATES = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED)
_PAUSED_BY_JOB = (
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
    libvirt.VIR_DOMAIN_PAUSED_SAVE,
    libvirt.VIR_DOMAIN_PAUSED_DUMP,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
)
_RUNNING_IN_JOB = (libvirt.VIR_DOMAIN_RUNNING_POSTCOPY, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
"""Its memory is still on its way from another host, and QEMU's balloon rests until it has come."""


@dataclass(frozen=True, slots=True)
class Look:
    """Raw statistics of m domains, in libvirt's units. Of a domain that is asked for and missing nothing is known: its
    connection is down.
    """

    keys: tuple[str, ...] = ()
    run_state: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """(m,) `RunState` codes."""
    values: Floats = field(default_factory=lambda: np.empty((0, len(STATISTICS))))
    """(m, len(STATISTICS)); NaN where libvirt or the guest gave nothing."""


def numbers(reply: Mapping[str, Any]) -> dict[str, Any]:
    """What a look needs of libvirt's reply about a domain, as far as it is a number."""
    return {name: reply[name] for name in _NAMES if isinstance(reply.get(name), int | float)}


def passed_over(reply: Mapping[str, Any]) -> bool:
    """Running, but with nothing that its QEMU was asked for: libvirt gives that where a call of anybody's holds it.

    A driver that gives no size either knows no such statistics.
    """
    running = reply.get("state.state") in _RUNNING_STATES
    return running and "balloon.current" in reply and _ASKED.isdisjoint(reply)


def read(keys: Sequence[str], replies: Collection[Mapping[str, Any]], in_job: Collection[str] = ()) -> Look:
    """A look from libvirt's replies, one a key. Running domains are BUSY where they are among those `in_job`, and
    UNRESPONSIVE where they were passed over.
    """
    rows = [list(map(reply.get, _NAMES, repeat(np.nan))) for reply in replies]
    values = np.array(rows, dtype=np.float64).reshape(-1, len(STATISTICS))
    sizes = values[:, _SIZE:]
    sizes[(sizes < 0) | (sizes >= _MOST)] = np.nan
    run_state = _lives(values)
    running = run_state == RunState.RUNNING
    run_state[running & np.fromiter(map(passed_over, replies), dtype=np.bool_, count=len(keys))] = RunState.UNRESPONSIVE
    if in_job:
        run_state[running & _among(keys, in_job)] = RunState.BUSY
    return Look(tuple(keys), run_state, values)


def unanswered(keys: Sequence[str], run_state: RunState) -> Look:
    """A look that brought back nothing but how the domains are."""
    values = np.full((len(keys), len(STATISTICS)), np.nan)
    return Look(tuple(keys), np.full(len(keys), run_state, dtype=np.int64), values)


def join(looks: Sequence[Look]) -> Look:
    """One look from several that have no domain in common."""
    parts = [look for look in looks if look.keys]
    if not parts:
        return Look()
    keys = tuple(key for look in parts for key in look.keys)
    run_state = np.concatenate([look.run_state for look in parts])
    return Look(keys, run_state, np.concatenate([look.values for look in parts]))


def arranged(look: Look, keys: Iterable[str]) -> Look:
    """The same look, its domains in the order of `keys`."""
    place = {key: position for position, key in enumerate(keys)}
    order = np.argsort([place[key] for key in look.keys], kind="stable")
    return Look(tuple(look.keys[row] for row in order), look.run_state[order], look.values[order])


def to_samples(look: Look, index: Mapping[str, int]) -> Samples:
    """The engine's view of a look; `index` has the row of each key. Domains that are not in it are left out."""
    rows = np.fromiter(map(index.get, look.keys, repeat(-1)), dtype=np.int64, count=len(look.keys))
    known = rows >= 0
    columns = (look.values[known] * _FACTORS).T
    return Samples(rows[known], look.run_state[known], *columns[_REASON + 1 :])


def _lives(values: Floats) -> Ints:
    paused = np.isin(values[:, _STATE], _PAUSED_STATES)
    in_job = paused & np.isin(values[:, _REASON], _PAUSED_BY_JOB)
    in_job |= _running(values) & np.isin(values[:, _REASON], _RUNNING_IN_JOB)
    cases = [in_job, _running(values), paused]
    return np.select(cases, [RunState.BUSY, RunState.RUNNING, RunState.PAUSED], RunState.NOT_RUNNING).astype(np.int64)


def _running(values: Floats) -> Bools:
    return np.isin(values[:, _STATE], _RUNNING_STATES)


def _among(keys: Sequence[str], chosen: Collection[str]) -> Bools:
    return np.fromiter((key in chosen for key in keys), dtype=np.bool_, count=len(keys))

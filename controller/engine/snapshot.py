"""What one look saw: the engine's only input besides its own state.

`host` fills these in live, `replay` fills them in from a trace. Sizes are bytes, times are seconds.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.tables import Floats, Ints

TOLERANCE = 2**20
"""Bytes. The balloon moves in pages, libvirt rounds to KiB: a smaller difference is no difference."""

EVENT_SPACING = 1.0
"""Seconds in which QEMU sends one balloon event at most: a size nobody here asked for may not be the last one."""


class RunState(IntEnum):
    """A domain's run state, as far as the balloon is concerned."""

    RUNNING = 0
    PAUSED = 1
    NOT_RUNNING = 2
    BUSY = 3
    """A job (migration, save) holds the domain; libvirt left its statistics out."""
    UNRESPONSIVE = 4
    """QEMU does not answer."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Statistics of the m domains that this look read. NaN marks a statistic the guest or libvirt did not give."""

    rows: Ints
    """(m,) row of each domain in the inventory; no duplicates."""
    run_state: Ints
    """(m,) `RunState` codes."""
    actual: Floats
    """(m,) `balloon.current`: the size of the balloon, and what is plugged in of virtio-mem (`Inventory.plugged`)."""
    maximum: Floats
    """(m,) `balloon.maximum`; follows memory hot-plug, also of devices that are none of the balloon's."""
    usable: Floats
    """(m,) the guest kernel's MemAvailable."""
    unused: Floats
    """(m,) the guest kernel's MemFree."""
    caches: Floats
    """(m,) what the guest holds of files, in its page cache and in tmpfs."""
    available: Floats
    """(m,) the guest kernel's MemTotal."""
    swap_in: Floats
    """(m,) bytes swapped in since the guest booted (a counter)."""
    swap_out: Floats
    """(m,) bytes swapped out since the guest booted (a counter)."""
    major_faults: Floats
    """(m,) major page faults since the guest booted (a counter)."""
    rss: Floats
    """(m,) resident memory of the QEMU process."""
    updated: Floats
    """(m,) when the guest last sent statistics, seconds since the epoch by the host's clock."""

    @classmethod
    def empty(cls) -> "Samples":
        """No domain was looked at."""
        nothing = np.empty(0)
        integers = np.empty(0, dtype=np.int64)
        return cls(integers, integers, *([nothing] * 11))


@dataclass(frozen=True, slots=True)
class BalloonEvents:
    """Sizes that arrived on their own since the last step: libvirt's balloon-change events."""

    rows: Ints
    """(k,) row of each domain; the last event of a domain only."""
    actual: Floats
    """(k,) new size of the balloon."""

    @classmethod
    def empty(cls) -> "BalloonEvents":
        """Nothing moved."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True, slots=True)
class Felt:
    """What the host feels of k domains without asking them; of those it cannot feel, nothing. Arrays of (k,)."""

    rows: Ints
    """Row of each domain."""
    resident: Floats
    """Guest memory that is in the host's memory, and QEMU's own; NaN where that cannot be read."""
    grew: Floats
    """Bytes by which that has grown since `since`."""
    since: Floats
    """Monotonic seconds, a second or one `pause` ago at most."""
    pause: float = 0.0
    """Seconds by which that may be late."""

    @classmethod
    def empty(cls) -> "Felt":
        """Nobody feels anything here."""
        nothing = np.empty(0)
        return cls(np.empty(0, dtype=np.int64), nothing, nothing, nothing)


@dataclass(frozen=True, slots=True)
class HostReading:
    """The host's own memory. Bytes."""

    total: float
    """MemTotal."""
    available: float
    """MemAvailable."""
    swap_used: float = 0.0
    """SwapTotal - SwapFree."""
    pressure: bool = False
    """Tasks of the host are stalling for memory (PSI), or MemAvailable is under its mark."""
    mark: float = 0.0
    """Bytes that have to stay available, or the host counts as under pressure; 0 where that does not tell."""
    merged: float = 0.0
    """Bytes that are in use once and counted in several processes: what KSM saves."""
    shared: float = 0.0
    """Bytes of memory that processes share (Shmem), that of files in a tmpfs too: none of it counts as available."""


class OrderResult(IntEnum):
    """What became of an order."""

    DONE = 0
    """libvirt took it; the guest obeys later."""
    REFUSED = 1
    """It will never take effect."""
    UNKNOWN = 2
    """libvirt has not answered within its deadline; the call goes on, and may yet take effect."""
    WITHDRAWN = 3
    """It was taken back before it was sent: it will never take effect, and nobody has refused it."""


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """What became of the newest order to a domain."""

    row: int
    result: OrderResult
    message: str = ""
    """Why it was not done."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one step needs to know. `wall` is the wall clock, only to recognise statistics from the future."""

    inventory: Inventory
    samples: Samples
    host: HostReading
    wall: float
    events: BalloonEvents = field(default_factory=BalloonEvents.empty)
    felt: Felt = field(default_factory=Felt.empty)
    outcomes: tuple[OrderOutcome, ...] = ()
    """Of orders, since the last step. An order of the last step that is not named is `DONE`. One that is `UNKNOWN` is
    named once more, by a later snapshot, when libvirt has answered; unless it never does."""

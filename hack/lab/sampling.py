"""What the demo sees of guests without Ballast: a read-only libvirt connection and the guests' own agents."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import libvirt

from controller.replay.trace import TraceWriter
from lab.background import Background
from lab.guest import Guest

PERIOD_S = 0.5
"""Between samples: half the guests' statistics period, so that none is missed."""
REST_SAMPLES = 3
"""How many samples to both sides must agree: 1.5 s, more than a statistics period."""
MIB_KIB = 1024
LARGEST_TRACE = 2**28
"""Bytes: a day of the demo's guests is a tenth of it."""


@dataclass(slots=True)
class Track:
    """One guest over time. Sizes in MiB, times of the host's monotonic clock."""

    name: str
    maximum: int
    idle: float
    """Demand of the guest's kernel without its workload."""
    times: list[float] = field(default_factory=list)
    allocations: list[float] = field(default_factory=list)
    usable: list[float] = field(default_factory=list)
    wants: list[tuple[float, float]] = field(default_factory=list)
    """(time, MiB) whenever the workload asked for another amount, with `idle` added."""
    held: list[tuple[float, float]] = field(default_factory=list)
    """(time, MiB) whenever all of that had become resident, with `idle` added."""

    def demands(self) -> list[float]:
        """`allocation - usable` for every sample, held where the allocation is not at rest.

        Around a move the two are of different moments: statistics are up to a period old.
        """
        found: list[float] = []
        for index, (allocation, usable) in enumerate(zip(self.allocations, self.usable, strict=True)):
            around = self.allocations[max(index - REST_SAMPLES, 0) : index + REST_SAMPLES + 1]
            at_rest = min(around) == max(around)
            found.append(allocation - usable if at_rest else (found or [self.idle])[-1])
        return found


class Sampler(Background):
    """Samples all guests on a thread of its own while its `with` block runs."""

    def __init__(self, uri: str, guests: Sequence[Guest], idle: Mapping[str, float]) -> None:
        super().__init__("sampler")
        self._guests = guests
        self.tracks = [Track(guest.spec.name, guest.spec.maximum, idle[guest.spec.name]) for guest in guests]
        self._connection = libvirt.openReadOnly(uri)
        self._domains = [self._connection.lookupByUUIDString(guest.uuid) for guest in guests]
        self.error: libvirt.libvirtError | None = None
        """Why sampling ended early."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._connection.close()
        for track, guest in zip(self.tracks, self._guests, strict=True):
            _add_workload(track, guest)

    def _run(self) -> None:
        try:
            while not self._stop.wait(PERIOD_S):
                self._sample()
        except libvirt.libvirtError as error:
            self.error = error

    def _sample(self) -> None:
        at = time.monotonic()
        # One by one, QEMU is asked itself: bulk statistics hear of a balloon's size up to a second late, of a shrink
        # perhaps later than of the grow that its memory went to.
        for track, domain in zip(self.tracks, self._domains, strict=True):
            statistics = domain.memoryStats()
            track.times.append(at)
            track.allocations.append(statistics["actual"] / MIB_KIB)
            track.usable.append(statistics["usable"] / MIB_KIB)


def write_trace(tracks: Sequence[Track], path: Path) -> None:
    """Demand as `ballast backtest` reads it. Raises TraceError when `path` exists."""
    rows = (
        (time, track.name, demand, float(track.maximum))
        for track in tracks
        for time, demand in zip(track.times, track.demands(), strict=True)
    )
    with TraceWriter(path, LARGEST_TRACE) as writer:
        writer.append(sorted(rows))


def _add_workload(track: Track, guest: Guest) -> None:
    for event in guest.events():
        if event.word in {"want", "held"}:
            series = track.wants if event.word == "want" else track.held
            series.append((event.at, event.values[1] + track.idle))

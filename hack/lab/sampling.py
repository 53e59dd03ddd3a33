"""What the demo sees of guests without Ballast: a read-only libvirt connection and the guests' own agents."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import libvirt

from lab.guest import Guest

PERIOD_S = 0.5
"""Between samples: half the guests' statistics period, so that none is missed."""
MIB_KIB = 1024


@dataclass(slots=True)
class Track:
    """One guest over time. Sizes in MiB, times of the host's monotonic clock."""

    name: str
    maximum: int
    idle: float
    """Demand of the guest's kernel without its workload."""
    times: list[float] = field(default_factory=list)
    allocations: list[float] = field(default_factory=list)
    demands: list[float] = field(default_factory=list)
    """`actual - usable` of the newest statistics that are later than the last change of `actual`."""
    wants: list[tuple[float, float]] = field(default_factory=list)
    """(time, MiB) whenever the workload asked for another amount, with `idle` added."""
    held: list[tuple[float, float]] = field(default_factory=list)
    """(time, MiB) whenever all of that had become resident, with `idle` added."""

    def add(self, at: float, statistics: Mapping[str, int], fresh: bool) -> None:
        """Append a sample; without `fresh` statistics demand stays what it was."""
        allocation = statistics["balloon.current"] / MIB_KIB
        known = self.demands[-1] if self.demands else self.idle
        demand = allocation - statistics["balloon.usable"] / MIB_KIB if fresh else known
        self.times.append(at)
        self.allocations.append(allocation)
        self.demands.append(demand)


class Sampler:
    """Samples all guests on a thread of its own while its `with` block runs."""

    def __init__(self, uri: str, guests: Sequence[Guest], idle: Mapping[str, float]) -> None:
        self._guests = guests
        self.tracks = [Track(guest.spec.name, guest.spec.maximum, idle[guest.spec.name]) for guest in guests]
        self._connection = libvirt.openReadOnly(uri)
        self._domains = [self._connection.lookupByUUIDString(guest.uuid) for guest in guests]
        self._seen: dict[str, tuple[int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")
        self.error: libvirt.libvirtError | None = None
        """Why sampling ended early."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
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
        records = self._connection.domainListGetStats(self._domains, libvirt.VIR_DOMAIN_STATS_BALLOON)
        statistics = {domain.name(): values for domain, values in records}
        for track in self.tracks:
            if track.name in statistics:
                track.add(at, statistics[track.name], self._fresh(track.name, statistics[track.name]))

    def _fresh(self, name: str, statistics: Mapping[str, int]) -> bool:
        """The guest has reported since the balloon last changed."""
        now = (statistics["balloon.current"], statistics["balloon.last-update"])
        before = self._seen.get(name, now)
        if now[0] != before[0]:  # moving: statistics of this second may be older than the change
            self._seen[name] = now
            return False
        if now[1] > before[1]:
            self._seen[name] = now
        return now[1] > before[1]


def _add_workload(track: Track, guest: Guest) -> None:
    for event in guest.events():
        if event.word in {"want", "held"}:
            series = track.wants if event.word == "want" else track.held
            series.append((event.at, event.values[1] + track.idle))

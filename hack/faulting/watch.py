"""What an onlooker sees of the guests through a libvirt connection of its own, whatever happens to libvirtd."""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import nan

import libvirt

from lab.background import Background
from lab.libvirtd import PrivateLibvirtd

PERIOD_S = 0.5
"""Between samples: half the guests' statistics period, so that none is missed."""
REST_SAMPLES = 4
"""Samples that must agree on a size, 2 s: around a move size and demand are of different moments."""
MIB_KIB = 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """One sample of a guest; MiB."""

    at: float
    """Seconds since the epoch."""
    uuid: str
    allocation: float
    demand: float
    resident: float
    """Of its QEMU, on the host."""
    updated: float
    """When the guest last told, whole seconds since the epoch."""


class Onlooker(Background):
    """Samples every guest of `host` on a thread of its own while its `with` block runs."""

    def __init__(self, host: PrivateLibvirtd) -> None:
        self._host = host
        self._seen: list[Seen] = []
        super().__init__("watch")

    def allocation(self, uuid: str) -> float:
        """The guest's newest size (MiB); NaN before the first. Asking libvirt anew would hinder Ballast's looks."""
        return next((seen.allocation for seen in reversed(list(self._seen)) if seen.uuid == uuid), nan)

    def resident(self) -> float:
        """What all QEMUs seen hold of the host's memory (MiB), by the newest sample of each."""
        return sum({seen.uuid: seen.resident for seen in list(self._seen)}.values())

    def demand_at(self, uuid: str, at: float) -> float | None:
        """See `demand_at`, of one guest."""
        return demand_at([seen for seen in list(self._seen) if seen.uuid == uuid], at)

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            with suppress(libvirt.libvirtError):  # libvirtd is away: part of the fault
                self._sample_until_lost()

    def _sample_until_lost(self) -> None:
        connection = self._host.connect()
        try:
            while not self._stop.wait(PERIOD_S):
                at = time.time()
                for domain, statistics in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BALLOON):
                    if "balloon.usable" in statistics:
                        size = statistics["balloon.current"] / MIB_KIB
                        demand = size - statistics["balloon.usable"] / MIB_KIB
                        resident, updated = (
                            statistics.get("balloon.rss", 0) / MIB_KIB,
                            statistics["balloon.last-update"],
                        )
                        self._seen.append(Seen(at, domain.UUIDString(), size, demand, resident, updated))
        finally:
            with suppress(libvirt.libvirtError):
                connection.close()


def demand_at(samples: Iterable[Seen], at: float) -> float | None:
    """The least demand (MiB) of a guest in its last 2 s at rest, within 5 s before `at`; None if it was not at rest.

    Statistics that came between two samples are in the one after `at`, whatever its balloon has done since.
    """
    told = [seen for seen in samples if at - 5 <= seen.at <= at + 2 * PERIOD_S and seen.updated <= at]
    past = [seen for seen in told if seen.at <= at]
    if past:
        size = past[-1].allocation
        later = [seen for seen in told if seen.at > at]
        past += [replace(seen, allocation=size, demand=seen.demand + size - seen.allocation) for seen in later]
    for end in range(len(past), REST_SAMPLES - 1, -1):
        rest = past[end - REST_SAMPLES : end]
        if len({seen.allocation for seen in rest}) == 1:
            return min(seen.demand for seen in rest)
    return None

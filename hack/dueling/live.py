"""Real guests as the replay's contract has them, so that its peers drive them; a process of its own for each turn.

`python -m dueling.live CONTROLLER URI MIB SCALE` drives all guests of the libvirtd at URI, on a host that has MIB for
them, until SIGTERM. The controller takes everything for SCALE times as large.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import libvirt
import numpy as np
from numpy.typing import NDArray

from controller.replay.contract import Controller
from controller.replay.controllers import PEERS
from controller.replay.world import SHORTEST_PERIOD_S, Readings, SimulatedHost

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIB_KIB = 1024
STARTED = "driving"
"""What the process says when it begins."""
LEAST_MIB = 1.0
"""libvirt takes no order to have nothing."""


class DuelDomain(Protocol):
    """What is used of libvirt's."""

    def name(self) -> str:
        """As defined."""
        ...

    def setMemory(self, kib: int, /) -> object:  # noqa: N802 - libvirt's name
        """Order a balloon's size."""
        ...


class DuelConnection(Protocol):
    """Likewise."""

    def domainListGetStats(  # noqa: N802 - libvirt's name
        self, domains: Sequence[DuelDomain], what: int, /
    ) -> Sequence[tuple[DuelDomain, Mapping[str, int]]]:
        """Statistics of all of them, in one call."""
        ...


class Live(SimulatedHost):
    """Domains of a libvirtd, as of the last `refresh`. Nothing of the simulated world is in it but its words.

    Time is the clock's, seconds since the epoch, as that of libvirt's `last-update` is. What a guest uses is of its
    newest report, and stays so until the next: meanwhile the balloon may have moved. Raises libvirt.libvirtError.
    """

    def __init__(  # the simulated world's own is not for guests that live
        self,
        connection: DuelConnection,
        domains: Sequence[DuelDomain],
        total_mib: float,
        scale: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`total_mib`: real MiB that the host can give to all domains; sizes here are `scale` times the real."""
        n = len(domains)
        self._mib_kib = MIB_KIB / scale
        self._connection, self._live = connection, domains
        self._clock = clock
        self.domains = tuple(domain.name() for domain in domains)
        self.total_mib = total_mib * scale
        self.period_s = SHORTEST_PERIOD_S
        self.rows = np.arange(n)
        self._used, self._unused, self._updated = np.zeros(n), np.zeros(n), np.full(n, -np.inf)
        self.refresh()

    def refresh(self) -> None:
        """Look at all of them."""
        self.now = self._clock()
        found = [
            statistics
            for _, statistics in self._connection.domainListGetStats(self._live, libvirt.VIR_DOMAIN_STATS_BALLOON)
        ]

        def column(name: str, unit: float) -> Floats:
            return np.array([statistics[f"balloon.{name}"] for statistics in found]) / unit

        mib = self._mib_kib
        self.allocation, self.maximum = column("current", mib), column("maximum", mib)
        usable, updated = column("usable", mib), column("last-update", 1)
        new = updated > self._updated
        self._used = np.where(new, np.clip(self.allocation - usable, 0.0, self.allocation), self._used)
        self._unused = np.where(new, usable, self._unused)
        self._updated = updated
        self._swap_in, self._major_faults = column("swap_in", mib), column("major_fault", 1)
        self._resident = column("rss", mib)

    def read(self, rows: Ints) -> Readings:
        """As of the last `refresh`."""
        return Readings(
            rows,
            self.allocation[rows],
            self.maximum[rows],
            self._used[rows],
            self._unused[rows],
            self._updated[rows],
            self._swap_in[rows],
            self._major_faults[rows],
            self._resident[rows],
        )

    def order(self, rows: Ints, targets: Floats) -> None:
        """Set balloon targets, MiB, one by one."""
        sizes = np.clip(targets, LEAST_MIB, self.maximum[rows]) * self._mib_kib
        for row, size in zip(rows.tolist(), sizes.tolist(), strict=True):
            self._live[row].setMemory(int(size))

    def place(self, rows: Ints, sizes: Floats) -> None:
        """Real balloons take their time."""
        self.order(rows, sizes)

    def resized(self) -> Ints:
        """Nobody listens here."""
        return np.empty(0, dtype=np.int64)


def drive(world: Live, controller: Controller, rest: Callable[[float], bool]) -> None:
    """Let `controller` look and order at its times, until `rest`, which waits so many seconds, says that it is over."""
    controller.start(world)
    while not rest(controller.next_look() - time.time()):
        world.refresh()
        controller.act(world)


def main(name: str, uri: str, total_mib: float, scale: float) -> None:
    """Drive all guests of the libvirtd at `uri`."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    connection = libvirt.open(uri)
    domains = sorted(connection.listAllDomains(), key=lambda domain: str(domain.name()))

    def rest(seconds: float) -> bool:
        return stop.wait(None if np.isinf(seconds) else max(seconds, 0.0))

    world = Live(connection, domains, total_mib, scale)
    print(STARTED, flush=True)
    drive(world, PEERS[name](), rest)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))

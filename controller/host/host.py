"""The host as the control loop sees it: facts, looks, moves and events; everything slow happens behind it."""

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from controller.engine.decision import Action
from controller.engine.inventory import DomainFacts
from controller.engine.snapshot import TOLERANCE, HostReading, OrderOutcome, OrderResult, Samples
from controller.engine.tables import Floats
from controller.host import ksm, meminfo, processes
from controller.host.calls import LATE_S
from controller.host.connection import CONNECTION_SETTINGS, ConnectionSettings
from controller.host.connections import Connections
from controller.host.events import EVENT_LOOP
from controller.host.follower import Follower
from controller.host.look import to_samples
from controller.host.looker import Looker
from controller.host.mover import Mover
from controller.host.pressure import Pressure
from controller.host.senses import Feelings, Sense, Senses
from controller.host.sources import Source, source_of
from controller.host.unavailable import UnavailableDomains

START_S = 10.0
"""How long `start` waits for the first try to connect: a busy libvirtd answers in one, a frozen one never."""


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection, for people."""

    uri: str
    """Or the pod of its libvirt, `NAMESPACE/POD`."""
    connected: bool
    error: str
    """What is wrong and what to do about it; empty when nothing is."""


def _nothing() -> str:
    return ""


class LibvirtHost:
    """Effects of one node. `wake` is called from other threads when a step may be worth it before the next look.

    All methods but `inventory` and `connect` are for the control loop's thread. `look` and `apply` together take less
    than 5 s, whatever hangs.
    """

    def __init__(
        self,
        sources: Iterable[Source] = (),
        proc: Path = Path("/proc"),
        wake: Callable[[], None] = lambda: None,
        settings: ConnectionSettings = CONNECTION_SETTINGS,
        sys: Path = Path("/sys"),
    ) -> None:
        """`proc` and `sys` are the host's, or a mount of them. Raises ValueError, see `connect`."""
        self._proc = proc
        self._sys = sys
        self._lock = threading.Lock()
        self._moved: dict[str, int] = {}
        self._moved_at: dict[str, float] = {}
        self._arrived: dict[str, tuple[int, float]] = {}
        """By key, bytes of balloons that have arrived by QEMU's word but not, as far as known, by libvirt's; when."""
        settings = replace(settings, starts=partial(processes.started, proc))
        self._connections = Connections(wake, self._on_moved, settings)
        self._missing: Callable[[], str] = _nothing
        self.connect(sources)
        self._unavailable = unavailable = UnavailableDomains()
        self._looker = Looker(self._connections, unavailable, moved_at=lambda key: self._moved_at.get(key, -math.inf))
        self._mover = Mover(self._connections, unavailable)
        self._wake = wake
        self._follower = Follower(self._connections, self._on_arrived)
        self._pressure = Pressure(proc, wake)
        self._senses = Senses(proc, sys, self.inventory, wake)
        self._started = False

    def start(self) -> None:
        """Connect; returns when every connection is up or has failed once (see `status`), or START_S later."""
        self._started = True
        EVENT_LOOP.start()
        self._pressure.start()
        self._connections.start(START_S)
        self._senses.start()
        self._follower.start()

    def connect(self, sources: Iterable[Source], missing: Callable[[], str] = _nothing) -> None:
        """See to the domains of these sources, and of no others; none is fine. From any thread, and without waiting.

        Domains of a source that is no more are gone. `missing` tells, whenever asked, why there may be sources that
        are not known yet; empty when all are. Raises ValueError where a name stands for two.
        """
        self._missing = missing
        self._connections.connect(sources)

    def close(self) -> None:
        """Let go of everything; domains keep what they have. What `restore_statistics` was told is done first.

        Safe to call twice, or without `start`.
        """
        if not self._started:
            return
        self._started = False
        self._senses.close()
        self._follower.close()
        self._mover.close()
        self._connections.close(self._unavailable.unresponsive)
        self._pressure.close()
        EVENT_LOOP.close()

    def inventory(self) -> tuple[DomainFacts, ...]:
        """Facts of the running domains, of a lost connection the last known; the same object while all is equal."""
        return self._connections.inventory()

    def look(self, rows: Mapping[str, int]) -> Samples:
        """Statistics of these domains, given with their rows. Those whose connection is down are left out, and those
        that a slow libvirt has been asked about; when its late answer comes, `wake` is called.
        """
        samples = to_samples(self._looker.look(rows), rows)
        if not self._arrived:
            return samples
        since, told = time.monotonic() - LATE_S, dict(zip(samples.rows.tolist(), samples.actual.tolist(), strict=True))
        with self._lock:
            self._arrived = {
                key: (size, at)
                for key, (size, at) in self._arrived.items()
                if at > since and not abs(told.get(rows.get(key, -1), math.nan) - size) < TOLERANCE
            }
            told |= {rows[key]: size for key, (size, _) in self._arrived.items() if key in rows}
        actual = np.array([told[row] for row in samples.rows.tolist()])
        return replace(samples, actual=np.where(np.isfinite(samples.actual), actual, np.nan))

    def apply(self, actions: Sequence[Action]) -> tuple[OrderOutcome, ...]:
        """Carry out balloon changes, grows first; those that were not done, or may not have been, and why.

        What libvirt has not answered in time goes on; `drain_answers` tells the end, of which `wake` is called.
        """
        outcomes = self._mover.apply(actions)
        not_done = {each.row for each in outcomes}
        self._follower.follow(action for action in actions if action.row not in not_done)
        return outcomes

    def withdraw(self, stands: Callable[[Action], bool]) -> None:
        """Orders that were not sent yet are not to be where their decision does not stand any more, or where their
        domain was started anew; `drain_answers` tells of them.
        """
        self._mover.withdraw(stands)

    def drain_answers(self) -> dict[str, tuple[OrderResult, str]]:
        """libvirt's late answers to orders whose outcome was unknown, since the last call, by key."""
        return self._mover.drain_answers()

    def drain_events(self) -> dict[str, int]:
        """Newest balloon size in bytes of each domain whose balloon moved since the last call, by key."""
        with self._lock:
            moved, self._moved = self._moved, {}
            since = time.monotonic() - LATE_S
            self._moved_at = {key: at for key, at in self._moved_at.items() if at > since}
        return moved

    def ensure_statistics(self, key: str, seconds: int) -> None:
        """Have the guest send statistics every `seconds` if it sends none, or if Ballast chose its period.

        This happens in the background, and only once: calling it at every step costs nothing.
        """
        if (connection := self._connections.get(source_of(key))) is not None:
            connection.want_period(key, seconds)

    def restore_statistics(self, keys: Collection[str]) -> None:
        """Put back the statistics periods that Ballast set, in the background; `close` waits for it."""
        for connection in self._connections.values():
            connection.release_periods(keys)

    def read(self) -> HostReading:
        """The host's own memory. Raises MeminfoError."""
        memory = meminfo.read(self._proc)
        return HostReading(
            memory.total,
            memory.available,
            memory.swap_used,
            self._pressure.now(memory),
            self._pressure.mark(memory),
            ksm.merged(self._sys),
            memory.shared,
        )

    def feel(self) -> Feelings:
        """What was felt of domains since the last call, whether libvirt answers or not."""
        return self._senses.feel()

    def alert_at(self, keys: tuple[str, ...], resident: Floats) -> None:
        """Growth is to wake the loop only from so many resident bytes on, (n,), of each of `keys`."""
        self._senses.alert_at(keys, resident)

    def senses(self) -> tuple[Sense, ...]:
        """What is felt between looks, of whom, and why not of the others."""
        resident, pressure = self._senses.status()
        return resident, replace(pressure, source=f"{pressure.source}, and {self._pressure.source}")

    def status(self) -> tuple[ConnectionStatus, ...]:
        """How each connection is, but for those that are down as their pods begin or end."""
        missing = self._missing()
        known = (
            ConnectionStatus(each.name, each.link is not None, each.error())
            for each in self._connections.values()
            if not each.excused
        )
        return (*known, *([ConnectionStatus("discovery", False, missing)] if missing else ()))

    def _on_moved(self, key: str, size: int) -> None:
        """libvirt says so. Where QEMU has just said something else itself, this is older, or it has moved since."""
        with self._lock:
            known, _ = self._arrived.get(key, (size, 0.0))
            if abs(size - known) < TOLERANCE:
                self._moved[key], self._moved_at[key] = size, time.monotonic()
                self._arrived.pop(key, None)
                return
        self._follower.check(key)

    def _on_arrived(self, key: str, size: int) -> None:
        """QEMU itself says so."""
        with self._lock:
            self._moved[key], self._moved_at[key] = size, time.monotonic()
            self._arrived[key] = size, time.monotonic()
        self._wake()

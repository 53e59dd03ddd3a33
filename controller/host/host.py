"""The host as the control loop sees it: facts, looks, moves and events; everything slow happens behind it."""

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path

from controller.engine.decision import Action
from controller.engine.inventory import DomainFacts
from controller.engine.snapshot import HostReading, Outcome, Result
from controller.host import ksm, meminfo, processes
from controller.host.calls import LATE_SECONDS
from controller.host.connection import KEEPING, Connection, Keeping, connection_of
from controller.host.events import EVENT_LOOP
from controller.host.locality import refusal
from controller.host.look import Look
from controller.host.looker import Looker
from controller.host.mover import Mover
from controller.host.pressure import Pressure
from controller.host.senses import Feelings, Sense, Senses
from controller.host.trouble import Trouble

START_SECONDS = 10.0
"""How long `start` waits for the first try to connect: a busy libvirtd answers in one, a frozen one never."""


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection, for people."""

    uri: str
    connected: bool
    error: str
    """What is wrong and what to do about it; empty when nothing is."""


class Host:
    """Effects of one node. `wake` is called from other threads when a step may be worth it before the next look.

    All methods but `inventory` are for the control loop's thread. `look` and `apply` together take less than 5 s,
    whatever hangs.
    """

    def __init__(
        self,
        uris: Sequence[str],
        proc: Path = Path("/proc"),
        wake: Callable[[], None] = lambda: None,
        keeping: Keeping = KEEPING,
        sys: Path = Path("/sys"),
    ) -> None:
        """`uris` are libvirt connections, `proc` and `sys` are the host's, or a mount of them. Raises ValueError."""
        if not uris or len(set(uris)) != len(uris):
            raise ValueError(f"connections {list(uris)!r}: name each once, and at least one; --connect qemu:///system")
        if refused := "; ".join(filter(None, map(refusal, uris))):
            raise ValueError(refused)
        self._proc = proc
        self._sys = sys
        self._lock = threading.Lock()
        self._moved: dict[str, int] = {}
        self._moved_at: dict[str, float] = {}
        keeping = replace(keeping, starts=partial(processes.started, proc))
        suffixes = {uri: f"@{uri}" if len(uris) > 1 else "" for uri in uris}
        self._connections = {
            connection_of(suffix): Connection(uri, suffix, wake, self._on_moved, keeping)
            for uri, suffix in suffixes.items()
        }
        self._parts: tuple[tuple[DomainFacts, ...], ...] = ()
        self._inventory: tuple[DomainFacts, ...] = ()
        self._trouble = trouble = Trouble()
        self._looker = Looker(self._connections, trouble, moved_at=lambda key: self._moved_at.get(key, -math.inf))
        self._mover = Mover(self._connections, trouble)
        self._pressure = Pressure(proc, wake)
        self._senses = Senses(proc, sys, self.inventory, wake)
        self._started = False

    def start(self) -> None:
        """Connect; returns when every connection is up or has failed once (see `status`), or START_SECONDS later."""
        self._started = True
        EVENT_LOOP.start()
        self._pressure.start()
        deadline = time.monotonic() + START_SECONDS
        for connection in self._connections.values():
            connection.start()
        for connection in self._connections.values():
            connection.settled.wait(max(deadline - time.monotonic(), 0.0))
        self._senses.start()

    def close(self) -> None:
        """Let go of everything; domains keep what they have. What `restore_statistics` was told is done first.

        Safe to call twice, or without `start`.
        """
        if not self._started:
            return
        self._started = False
        self._senses.close()
        self._mover.close()
        began = time.monotonic()
        for connection in self._connections.values():
            connection.begin_close(self._trouble.unresponsive)
        for connection in self._connections.values():
            connection.close(time.monotonic() - began)
        self._pressure.close()
        EVENT_LOOP.close()

    def inventory(self) -> tuple[DomainFacts, ...]:
        """Facts of the running domains, of a lost connection the last known; the same object while all is equal."""
        with self._lock:
            parts = tuple(connection.facts for connection in self._connections.values())
            if any(new is not old for new, old in zip_longest(parts, self._parts)):
                self._parts = parts
                self._inventory = tuple(facts for part in parts for facts in part)
            return self._inventory

    def look(self, keys: Collection[str]) -> Look:
        """Statistics of the domains `keys`, for `look.to_samples`. Those whose connection is down are left out, and
        those that a slow libvirt has been asked about; when its late answer comes, `wake` is called.
        """
        return self._looker.look(keys)

    def apply(self, actions: Sequence[Action]) -> tuple[Outcome, ...]:
        """Carry out balloon changes, grows first; those that were not done, or may not have been, and why.

        What libvirt has not answered in time goes on; `drain_answers` tells the end, of which `wake` is called.
        """
        return self._mover.apply(actions)

    def drain_answers(self) -> dict[str, tuple[Result, str]]:
        """libvirt's late answers to orders whose outcome was unknown, since the last call, by key."""
        return self._mover.drain_answers()

    def drain_events(self) -> dict[str, int]:
        """Newest balloon size in bytes of each domain whose balloon moved since the last call, by key."""
        with self._lock:
            moved, self._moved = self._moved, {}
            since = time.monotonic() - LATE_SECONDS
            self._moved_at = {key: at for key, at in self._moved_at.items() if at > since}
        return moved

    def ensure_statistics(self, key: str, seconds: int) -> None:
        """Have the guest send statistics every `seconds` if it sends none, or if Ballast chose its period.

        This happens in the background, and only once: calling it at every step costs nothing.
        """
        self._connections[connection_of(key)].want_period(key, seconds)

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

    def senses(self) -> tuple[Sense, ...]:
        """What is felt between looks, of whom, and why not of the others."""
        resident, pressure = self._senses.status()
        return resident, replace(pressure, source=f"{pressure.source}, and {self._pressure.source}")

    def status(self) -> tuple[ConnectionStatus, ...]:
        """How each connection is."""
        return tuple(
            ConnectionStatus(connection.uri, connection.link is not None, connection.error())
            for connection in self._connections.values()
        )

    def _on_moved(self, key: str, size: int) -> None:
        with self._lock:
            self._moved[key], self._moved_at[key] = size, time.monotonic()

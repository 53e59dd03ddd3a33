"""Follows balloons to where they were sent, by QEMU's own word.

QEMU tells of a balloon's size once a second at most, and libvirt knows no more than it was told: of a shrink that takes
0.3 s it hears after 1 s, and so long the memory would lie idle while another guest waits for it. But when libvirt is
asked for the memory statistics of one domain alone, it asks QEMU.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from controller.engine.decision import Action
from controller.engine.snapshot import TOLERANCE
from controller.host.calls import FAILURES, NotStartedError
from controller.host.connection import Connection
from controller.host.sources import source_of

PASS_S = 0.1
"""Rest between two passes at least: a question takes 1 ms, and the loop takes no two steps closer than that. Where
passes take longer, as when a thousand guests are moved at once, so do rests."""

GIVE_UP_S = 5.0
"""After an order: what has not arrived by then takes its time, and libvirt's own word once a second will do."""

ANSWER_S = 1.5
"""A busy libvirtd answers sooner; a QEMU that does not, hangs."""


@dataclass(frozen=True, slots=True)
class _Order:
    target: int | None
    """None: wherever it is."""
    until: float
    """Monotonic seconds."""

    def met(self, size: int) -> bool:
        """Whether a balloon of this size is where it was sent."""
        return self.target is None or abs(size - self.target) < TOLERANCE


class Follower:
    """Asks from `start` to `close`, in a thread of its own, which calls `arrived(key, bytes)`, once an order."""

    def __init__(self, connections: Mapping[str, Connection], arrived: Callable[[str, int], None]) -> None:
        """`connections` by their part of a key."""
        self._connections = connections
        self._arrived = arrived
        self._changed = threading.Condition()
        self._followed: dict[str, _Order] = {}
        self._closed = True

    def start(self) -> None:
        """Begin to follow."""
        self._closed = False
        threading.Thread(target=self._run, name="ballast-follower", daemon=True).start()

    def close(self) -> None:
        """Follow nobody any more; a question that hangs ends by itself. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._followed = {}
            self._changed.notify()

    def follow(self, actions: Iterable[Action]) -> None:
        """What libvirt has just been asked for; it comes in the place of what it was asked for before."""
        self._add({action.key: action.target for action in actions})

    def check(self, key: str) -> None:
        """Tell where this balloon is, unless it is followed anyhow. From any thread."""
        if key not in self._followed:
            self._add({key: None})

    def _add(self, targets: Mapping[str, int | None]) -> None:
        until = time.monotonic() + GIVE_UP_S
        with self._changed:
            if not self._closed:
                self._followed |= {key: _Order(target, until) for key, target in targets.items()}
                self._changed.notify()

    def turn(self) -> None:
        """Ask once for each that is followed."""
        now = time.monotonic()
        with self._changed:
            self._followed = {key: order for key, order in self._followed.items() if now < order.until}
            orders = list(self._followed.items())
        for key, order in orders:
            size = self._size(key)
            if size is not None and order.met(size) and self._end(key, order):
                self._arrived(key, size)

    def _size(self, key: str) -> int | None:
        """Bytes; None where nobody can be asked, or answers."""
        connection = self._connections.get(source_of(key))
        link = None if connection is None else connection.link
        if link is None or key not in link.entries or key in link.calls.suspects():
            return None
        entry = link.entries[key]
        try:
            return link.calls.run(lambda: entry.actuator.size(entry.domain), (key,), ANSWER_S)
        except (NotStartedError, *FAILURES):
            return None

    def _end(self, key: str, order: _Order) -> bool:
        """Whether it was followed for the sake of this order until now."""
        with self._changed:
            if self._followed.get(key) is not order:
                return False
            del self._followed[key]
            return True

    def _run(self) -> None:
        took = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._followed or self._closed)
                self._changed.wait_for(lambda: self._closed, max(PASS_S, took))
                if self._closed:
                    return
            began = time.monotonic()
            self.turn()
            took = time.monotonic() - began

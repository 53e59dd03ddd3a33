"""What the supervisor of a connection has to know: a mailbox that libvirt's event loop and the control loop write."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be read again."""

    listing: bool
    """Domains may have come or gone."""
    keys: frozenset[str]
    """Domains whose XML may differ."""
    resets: Mapping[str, float]
    """When guests were reset, seconds since the epoch, by key."""


class Mailbox:
    """Thread-safe. Each `tell_` method wakes the supervisor."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._listing = False
        self._keys: frozenset[str] = frozenset()
        self._resets: dict[str, float] = {}
        self.closing = False
        """The connection is no longer wanted."""
        self.lost = ""
        """Why the connection broke; empty while it lives."""

    def post_closing(self) -> None:
        """End everything."""
        self.closing = True
        self._wake()

    def post_lost(self, why: str) -> None:
        """The connection broke."""
        self.lost = why
        self._wake()

    def post_changes(self, *keys: str) -> None:
        """Domains may have come or gone, and those of `keys` differ."""
        with self._lock:
            self._listing = True
            self._keys |= frozenset(keys)
        self._wake()

    def post_reset(self, key: str, wall: float) -> None:
        """The guest of a domain boots anew, since `wall` (seconds since the epoch)."""
        with self._lock:
            self._listing = True
            self._resets[key] = wall
        self._wake()

    def post_period_work(self) -> None:
        """There is something to do that changes nothing here."""
        self._wake()

    def begin(self, *keys: str) -> None:
        """A new connection: nothing is lost, everything has to be read."""
        with self._lock:
            self.lost = ""
            self._listing = True
            self._keys |= frozenset(keys)

    def take(self) -> Changes:
        """What changed since the last call."""
        with self._lock:
            changes = Changes(self._listing, self._keys, self._resets)
            self._listing, self._keys, self._resets = False, frozenset(), {}
            return changes

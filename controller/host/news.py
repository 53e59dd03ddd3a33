"""What the keeper of a connection has to know: a mailbox that libvirt's event loop and the control loop write."""

import threading
from collections.abc import Mapping
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


class News:
    """Thread-safe. Each `tell_` method wakes the keeper."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._listing = False
        self._keys: frozenset[str] = frozenset()
        self._resets: dict[str, float] = {}
        self._errand = False
        self.closing = False
        """The connection is no longer wanted."""
        self.lost = ""
        """Why the connection broke; empty while it lives."""

    def tell_closing(self) -> None:
        """End everything."""
        with self._condition:
            self.closing = True
            self._condition.notify_all()

    def tell_lost(self, why: str) -> None:
        """The connection broke."""
        with self._condition:
            self.lost = why
            self._condition.notify_all()

    def tell_changes(self, *keys: str) -> None:
        """Domains may have come or gone, and those of `keys` differ."""
        with self._condition:
            self._listing = True
            self._keys |= frozenset(keys)
            self._condition.notify_all()

    def tell_reset(self, key: str, wall: float) -> None:
        """The guest of a domain boots anew, since `wall` (seconds since the epoch)."""
        with self._condition:
            self._listing = True
            self._resets[key] = wall
            self._condition.notify_all()

    def tell_errand(self) -> None:
        """There is something to do that changes nothing here."""
        with self._condition:
            self._errand = True
            self._condition.notify_all()

    def begin(self, *keys: str) -> None:
        """A new connection: nothing is lost, everything has to be read."""
        with self._condition:
            self.lost = ""
        self.tell_changes(*keys)

    def take(self) -> Changes:
        """What changed since the last call."""
        with self._condition:
            changes = Changes(self._listing, self._keys, self._resets)
            self._listing, self._keys, self._resets, self._errand = False, frozenset(), {}, False
            return changes

    def wait(self, seconds: float) -> bool:
        """Wait for news; False when none came in time."""
        with self._condition:
            return self._condition.wait_for(self._any, seconds)

    def _any(self) -> bool:
        return self.closing or bool(self.lost) or self._listing or self._errand

    def rest(self, seconds: float) -> None:
        """Wait, for nothing but `tell_closing`."""
        with self._condition:
            self._condition.wait_for(lambda: self.closing, seconds)

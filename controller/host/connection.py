"""One libvirt connection, opened, watched and opened again by a thread of its own (the keeper).

The control loop never waits for the keeper: it reads `link`, `facts` and `error`, which the keeper replaces as a whole.
"""

import logging
import math
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import libvirt

from controller.engine.inventory import DomainFacts
from controller.host.calls import Calls
from controller.host.periods import Periods
from controller.host.remedies import explain, explain_loss
from controller.host.roster import Entry, Handle, Roster

LOG = logging.getLogger(__name__)

KIB = 1024

KEEPALIVE_SECONDS = 5
KEEPALIVE_COUNT = 3
"""A frozen libvirtd is given up after 5 * (3 + 1) = 20 s, long after the longest pause of a busy one."""

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LONGEST_SECONDS = 15.0
"""A local socket is cheap to try, and domains go unwatched until one succeeds."""

TICK_SECONDS = 10.0
"""How often domains are listed without an event: an event can be lost, two listing calls cost nothing."""

REREAD_SECONDS = 300.0
"""In this time every domain's XML is read again, a few at each tick: some changes of a definition make no event."""

CLOSE_SECONDS = 3.0
"""How long `close` waits for the keeper: one that hangs in a frozen libvirtd ends with the process."""

HANGING = "too many calls hang in domains whose QEMU does not answer; resume or destroy those (virsh list --all)"

LIFECYCLE_OF_LIST = frozenset(
    {
        libvirt.VIR_DOMAIN_EVENT_DEFINED,
        libvirt.VIR_DOMAIN_EVENT_UNDEFINED,
        libvirt.VIR_DOMAIN_EVENT_STARTED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
    }
)
"""Lifecycle events after which domains or their definitions differ."""


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection and the domains that were listed on it; they belong together."""

    handle: Handle
    entries: Mapping[str, Entry]


def connection_of(key: str) -> str:
    """The connection's part of a domain's key; empty where a host has one connection."""
    return key.partition("@")[2]


def backoff(attempt: int, jitter: float) -> float:
    """Seconds to wait before try number `attempt` + 1; `jitter` in [0, 1) spreads many agents over half the time."""
    longest = min(BACKOFF_LONGEST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(attempt - 1, 10))
    return longest * (1 + jitter) / 2


class Connection:
    """See the module. `wake` and `moved(key, bytes)` are called from the keeper and from libvirt's event loop."""

    def __init__(
        self,
        uri: str,
        suffix: str,
        wake: Callable[[], None],
        moved: Callable[[str, int], None],
        *,
        open_handle: Callable[[str], Handle] = libvirt.open,
        delay: Callable[[int, float], float] = backoff,
    ) -> None:
        self.uri = uri
        self.calls = Calls()
        self.periods = Periods(self.calls)
        self.link: Link | None = None
        """None while not connected."""
        self.facts: tuple[DomainFacts, ...] = ()
        """Last known; the same object while nothing changed."""
        self.error = f"{uri}: not connected yet"
        """Why there is no link, with the remedy; empty while there is one."""
        self.settled = threading.Event()
        """Set once the first try has ended, whichever way."""
        self._roster = Roster(suffix)
        self._wake = wake
        self._moved = moved
        self._open_handle = open_handle
        self._delay = delay
        self._news = threading.Condition()
        self._closing = False
        self._serving: Handle | None = None
        self._lost: str | None = None
        self._listing = True
        self._changed: set[str] = set()
        self._errand = False
        self._unread: list[str] = []
        self._keeper = threading.Thread(target=self._keep, name=f"ballast-libvirt {uri}", daemon=True)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._keeper.start()

    def close(self) -> None:
        """End the keeper and the connection; periods that were asked for are put first."""
        self._tell(closing=True)
        self._keeper.join(CLOSE_SECONDS)

    def key(self, domain: Any) -> str:
        """Key of one of this connection's libvirt.virDomain."""
        return self._roster.key(domain)

    def trouble(self) -> str:
        """What is wrong and what to do about it, for people; empty when nothing is."""
        if self.link is not None and self.calls.exhausted():
            return f"{self.uri}: {HANGING}"
        return self.error

    def want_period(self, key: str, seconds: int) -> None:
        """See Periods.want."""
        link = self.link
        if link is not None and key in link.entries and self.periods.want(key, link.entries[key], seconds):
            self._tell(errand=True)

    def release_periods(self, keys: Collection[str]) -> None:
        """See Periods.release."""
        link = self.link
        if link is not None and self.periods.release(link.entries, keys):
            self._tell(errand=True)

    # The keeper.

    def _keep(self) -> None:
        attempt = 0
        while not self._closing:
            attempt = 1 if self._try() else attempt + 1
            self.settled.set()
            self._pause(self._delay(attempt, secrets.SystemRandom().random()))

    def _try(self) -> bool:
        """Connect and serve until the connection is lost; True when it had been established."""
        try:
            handle = self._open_handle(self.uri)
        except libvirt.libvirtError as error:
            self._fail(explain(error, self.uri))
            return False
        try:
            self._serve(handle)
        except libvirt.libvirtError as error:
            self._fail(self._lost or explain(error, self.uri))
        established, self.link, self._serving = self.link is not None, None, None
        _part(handle)
        if established:
            self._wake()
        return established

    def _serve(self, handle: Handle) -> None:
        with self._news:
            self._serving, self._lost = handle, None
            self._listing, self._changed = True, set(self._roster.entries)
        self._greet(handle)
        while self._lost is None and not self._closing:
            self._update(handle)
            self._work()
            self._await_news()
        if self._lost is not None:
            self._fail(self._lost)
        else:
            self._work()

    def _greet(self, handle: Handle) -> None:
        """Ask for everything that this connection should tell. Raises libvirtError."""
        try:
            handle.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:  # a driver inside this process: nothing to lose
                raise
        handle.registerCloseCallback(self._on_close, None)
        for event, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, self._on_balloon),
            (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, self._on_change),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, self._on_change),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._on_change),
            (libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE, self._on_change),
        ):
            handle.domainEventRegisterAny(None, event, callback, None)

    def _update(self, handle: Handle) -> None:
        with self._news:
            listing, changed = self._listing, self._changed
            self._listing, self._changed = False, set()
        if not (listing or changed):
            return
        differs = self._roster.refresh(handle, changed)
        self.facts = self._roster.facts
        fresh, self.link = self.link is None, Link(handle, self._roster.entries)
        if fresh:
            self.error = ""
            LOG.info("%s: connected, %d running domains", self.uri, len(self.facts))
            self.settled.set()
        if fresh or differs:
            self._wake()

    def _work(self) -> None:
        with self._news:
            self._errand = False
        changed = self.periods.work(self._roster.entries)
        if changed:
            with self._news:
                self._changed |= changed

    def _await_news(self) -> None:
        with self._news:
            if not self._news.wait_for(self._has_news, TICK_SECONDS):
                self._listing = True
                self._changed |= self._next_reads()

    def _has_news(self) -> bool:
        return bool(self._closing or self._lost or self._listing or self._changed or self._errand)

    def _next_reads(self) -> set[str]:
        """Keys whose turn it is in the slow re-reading of all XML."""
        count = math.ceil(len(self._roster.entries) * TICK_SECONDS / REREAD_SECONDS)
        if not self._unread:
            self._unread = list(self._roster.entries)
        turn, self._unread = self._unread[:count], self._unread[count:]
        return set(turn)

    def _pause(self, seconds: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._closing, seconds)

    def _fail(self, message: str) -> None:
        if message != self.error:
            LOG.warning("%s", message)
        self.error = message

    def _tell(self, *, closing: bool = False, errand: bool = False, lost: str | None = None) -> None:
        with self._news:
            self._closing |= closing
            self._errand |= errand
            self._lost = lost or self._lost
            self._news.notify_all()

    # Called by libvirt's event loop.

    def _on_close(self, handle: Handle, reason: int, _opaque: None) -> None:
        if handle is self._serving:
            self._tell(lost=explain_loss(reason, self.uri))

    def _on_lifecycle(self, _handle: Handle, domain: Any, event: int, _detail: int, _opaque: None) -> None:
        if event in LIFECYCLE_OF_LIST:
            self._note_change(domain)
        self._wake()

    def _on_change(self, _handle: Handle, domain: Any, *_details: Any) -> None:
        self._note_change(domain)

    def _on_balloon(self, _handle: Handle, domain: Any, actual: int, _opaque: None) -> None:
        self._moved(self.key(domain), actual * KIB)
        self._wake()

    def _note_change(self, domain: Any) -> None:
        with self._news:
            self._listing = True
            self._changed.add(self.key(domain))
            self._news.notify_all()


def _part(handle: Handle) -> None:
    """Let go of a connection: the binding keeps it alive, and calls back, as long as anything is registered on it."""
    for identifier in list(getattr(handle, "domainEventCallbackID", ())):
        with suppress(libvirt.libvirtError):
            handle.domainEventDeregisterAny(identifier)
    with suppress(libvirt.libvirtError):
        handle.unregisterCloseCallback()
    with suppress(libvirt.libvirtError):
        handle.close()

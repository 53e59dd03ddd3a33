"""One libvirt connection, opened, watched and opened again by a keeper, whose turns take place in a few threads.

The control loop never waits for the keeper: it reads `link` and `facts`, which the keeper replaces as a whole.
"""

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import libvirt

from controller.engine.inventory import DomainFacts
from controller.host.calls import FAILURES, NUDGE_SECONDS, Call, Calls, NotStartedError
from controller.host.keepers import Keepers
from controller.host.news import News
from controller.host.opening import AbsentError
from controller.host.periods import CLOSING_LIMIT, Periods
from controller.host.remedies import explain, explain_freeze, explain_loss
from controller.host.roster import CrowdedPodError, Entry, Handle, Roster, Starts
from controller.host.sources import Source

LOG = logging.getLogger(__name__)

T = TypeVar("T")

KIB = 1024

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LONGEST_SECONDS = 15.0
"""A local socket is cheap to try, and domains go unwatched until one succeeds."""

REREAD_SECONDS = 300.0
"""In this time every domain's XML is read again, a few at each tick: some changes of a definition make no event."""

CLOSE_SECONDS = 12.0
"""How long `close` waits for the keeper where periods are to be put back. The loop may have been away for 5 s before;
together with the end of all else that is less than the 30 s that systemd and Kubernetes grant."""

PART_SECONDS = 3.0
"""How long it waits where there is nothing to do: a keeper that hangs in a frozen libvirtd ends with the process."""

ABSENT_SECONDS = 0.5
"""Between two tries at a socket that a pod has yet to make: a look there costs a few system calls, and a guest is to be
seen within 3 s of its pod's start."""

ABSENT_TRIES = 120
"""For a minute after the last news of the pod; then as of any other connection."""

EXCUSED_SECONDS = 10.0
"""A pod whose libvirt has ended ends, too, and one that has begun soon has a libvirt; Kubernetes tells of both within a
few seconds."""

ANEW = "calls hang, because QEMU of some domains does not answer; connecting anew, for the others"

HANGING = "too many calls hang, because QEMU of some domains does not answer; resume or destroy those"

SLOW = "libvirt answers, but late; is the host overloaded, or libvirtd busy with others? See its log"

LISTING_EVENTS = frozenset(
    {
        libvirt.VIR_DOMAIN_EVENT_DEFINED,
        libvirt.VIR_DOMAIN_EVENT_UNDEFINED,
        libvirt.VIR_DOMAIN_EVENT_STARTED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
    }
)
"""Lifecycle events after which domains or their definitions differ."""

CHANGE_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE,
)
"""Events after which a domain's XML differs."""


def backoff(attempt: int, jitter: float) -> float:
    """Seconds to wait after try number `attempt`; `jitter` in [0, 1) spreads many agents over half of them."""
    longest = min(BACKOFF_LONGEST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(attempt - 1, 10))
    return longest * (1 + jitter) / 2


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a connection is kept."""

    frozen_seconds: float = 10.0
    """A listing that takes longer means that libvirtd is frozen: it needs no QEMU's answer, and takes milliseconds;
    reading the XML of 1,000 new domains takes one second."""
    tick_seconds: float = 10.0
    """How often domains are listed without an event: an event can be lost, and two listing calls cost nothing."""
    pod_tick_seconds: float = 60.0
    """The same where a libvirt has one domain, and what becomes of that its pod tells, too: there are a hundred."""
    crowded_seconds: float = 1.0
    """How long too many calls hang before another connection is opened: those of a libvirtd that was frozen end at once
    when it goes on."""
    backoff: Callable[[int, float], float] = backoff
    """Seconds of rest after a number of tries."""
    starts: Starts = lambda _names: {}
    """When QEMU began."""


KEEPING = Keeping()


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection and the domains that were listed on it; they belong together."""

    handle: Handle
    entries: Mapping[str, Entry]
    calls: Calls


class ConnectionLostError(Exception):
    """The connection broke; the message is for people."""


class _CrowdedError(ConnectionLostError):
    """So many calls hang on the connection that another one has to be opened."""


class Connection:
    """`wake` and `moved(key, bytes)` are called from the keeper and from libvirt's event loop."""

    def __init__(
        self,
        source: Source,
        wake: Callable[[], None],
        moved: Callable[[str, int], None],
        keeping: Keeping,
        keepers: Keepers,
    ) -> None:
        self.source = source
        self.name = source.name
        self.link: Link | None = None
        """None while not connected."""
        self.down_since = time.monotonic()
        """Monotonic seconds, while not connected."""
        self.facts: tuple[DomainFacts, ...] = ()
        """Last known; the same object while nothing changed."""
        self.settled = threading.Event()
        """Set once the first try has ended, whichever way."""
        self._error = f"{self.name}: not connected yet"
        self._told = ""
        """The error that was logged last."""
        self._roster = Roster(f"@{source.name}", starts=keeping.starts, alone=source.pod is not None)
        self._periods = Periods()
        self.wake = wake
        self._moved = moved
        self._keeping = keeping
        self._tick = keeping.tick_seconds if source.pod is None else keeping.pod_tick_seconds
        self._keepers = keepers
        self._news = News(self._call)
        self._serving: Handle | None = None
        self._calls = Calls(int)
        """On the connection that is being served."""
        self._former: list[Calls] = []
        """Of connections before this one, where calls hang yet."""
        self._crowded_at = math.inf
        """Monotonic seconds since which too many hang on this one."""
        self._tries = 0
        """In a row that brought no connection."""
        self._try_at = -math.inf
        """Monotonic seconds of the next one."""
        self._list_at = math.inf
        """Monotonic seconds of the next listing without an event."""
        self._unread: list[str] = []
        self._to_read = secrets.SystemRandom().random()
        """How many are to be read at the next tick: of many connections with a domain each, some at a time."""
        self._unresponsive: frozenset[str] = frozenset()
        self._task = keepers.task(self._turn)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._keepers.start(self._task)

    def follow(self, source: Source) -> None:
        """What is known of its source now. One that was not there may be now."""
        if source == self.source:
            return
        arrived = source.expected and not self.source.expected
        self.source = source
        if arrived and self.link is None:
            self.down_since = time.monotonic()
            self._tries, self._try_at = 0, -math.inf
            self._call()

    @property
    def excused(self) -> bool:
        """It is not connected, and need not be: nothing is wrong."""
        if self.link is not None or self.source.pod is None:
            return False
        return not self.source.expected or time.monotonic() - self.down_since < EXCUSED_SECONDS

    def begin_close(self, unresponsive: Collection[str] = ()) -> None:
        """Have the keeper end, and the connection; periods that were asked for are put back first.

        `unresponsive` are domains, by key, that would keep others waiting.
        """
        self._unresponsive = frozenset(unresponsive)
        self._news.tell_closing()

    def close(self, waited: float = 0.0) -> None:
        """Wait for the end, that of `begin_close` or of its own; `waited` seconds are over."""
        self._news.tell_closing()
        seconds = CLOSE_SECONDS if self._periods.pending() else PART_SECONDS
        self._task.ended.wait(max(seconds - waited, 0.0))

    def key(self, domain: Any) -> str:
        """Key of one of this connection's libvirt.virDomain."""
        return self._roster.key(domain)

    def error(self) -> str:
        """What is wrong and what to do about it, for people; empty when nothing is."""
        link = self.link
        if link is not None and link.calls.slow:
            return f"{self.name}: {SLOW}"
        return f"{self.name}: {HANGING}" if link is not None and link.calls.exhausted() else self._error

    def want_period(self, key: str, seconds: int) -> None:
        """See Periods.want."""
        link = self.link
        if link is not None and key in link.entries and self._periods.want(key, link.entries[key], seconds):
            self._news.tell_errand()

    def release_periods(self, keys: Collection[str]) -> None:
        """See Periods.release; while the connection is away it waits for the next one."""
        if self._periods.release(self._roster.entries, keys):
            self._news.tell_errand()

    def doubt(self) -> None:
        """A call failed or hangs: have the keeper see whether the connection still lives."""
        self._news.tell_changes()

    # The keeper.

    def _call(self) -> None:
        """Have its next turn now."""
        self._task.wake()

    def _turn(self) -> float | None:
        """Connect, if need be, and see to the connection. Seconds to the next turn, or None after the last one."""
        if self._serving is not None:
            return self._see_to(self._serving)
        if self._news.closing:
            return None
        if (left := self._try_at - time.monotonic()) > 0:
            return left
        try:
            handle = self.source.open()
        except libvirt.libvirtError as error:
            self._fail(explain(error, self.name))
            return self._rest(isinstance(error, AbsentError))
        except Exception as error:  # a defect, or the machine is out of something: nobody else would connect again
            self._fail(self._anew(error), error)
            return self._rest()
        return self._see_to(handle)

    def _see_to(self, handle: Handle) -> float | None:
        """The part of a turn that is about an open connection."""
        part: Callable[[Handle], None] = _part
        defect = None
        try:
            seconds = self._serve(handle)
            if seconds is not None:
                return seconds
            message = self._told = f"{self.name}: closed"
        except _CrowdedError as error:
            part, message = _part_beside, str(error)
        except (ConnectionLostError, CrowdedPodError) as error:
            message = str(error)
        except libvirt.libvirtError as error:
            message = explain(error, self.name)
        except Exception as error:  # a defect, or no thread to be had: nobody else would connect again
            message, defect = self._anew(error), error
        established, self._serving = self.link is not None, None
        self._lose_link()
        self._fail(message, defect)
        self._roster.let_go()
        part(handle)
        if established:
            self._tries = 0
            self.wake()
        return None if self._news.closing else self._rest()

    def _anew(self, error: Exception) -> str:
        return f"{self.name}: {error!r}; connecting again"

    def _lose_link(self) -> None:
        if self.link is not None:
            self.down_since, self.link = time.monotonic(), None

    def _rest(self, absent: bool = False) -> float:
        """Seconds until the next try, after one that failed or a connection that was lost."""
        self.settled.set()
        self._tries += 1
        jitter = secrets.SystemRandom().random()
        if absent and self._tries <= ABSENT_TRIES:
            seconds = ABSENT_SECONDS
        else:
            seconds = self._keeping.backoff(self._tries, jitter)
        self._try_at = time.monotonic() + seconds
        return seconds

    def _serve(self, handle: Handle) -> float | None:
        """Seconds until it is to be seen to again; None when the connection is no longer wanted. Raises libvirtError,
        ConnectionLostError and CrowdedPodError.
        """
        if self._serving is None:
            self._calls = Calls(handle.getLibVersion, former=self._former)
            self._serving = handle
            self._crowded_at = self._list_at = math.inf
            self._news.begin(*self._roster.entries)
            self._patiently(handle, lambda: self._greet(handle))
        else:
            self._check(handle)
        self._update(handle)
        if self._news.closing:
            many = Calls(handle.getLibVersion, CLOSING_LIMIT)
            self._periods.put_back(self._roster.entries, many, self._unresponsive)
            return None
        set_anew = self._periods.work(self._roster.entries, self._calls, lambda: self._news.closing)
        if set_anew:
            self._news.tell_changes(*set_anew)
        elif self._periods.pending():
            self._news.tell_errand()
        return self._quiet()

    def _quiet(self) -> float:
        """Seconds without news until the next turn. Raises ConnectionLostError where too many calls hang."""
        now = time.monotonic()
        if not self._calls.replaceable():
            self._crowded_at = math.inf
            return self._list_at - now
        self._crowded_at = min(self._crowded_at, now)
        if (left := self._crowded_at + self._keeping.crowded_seconds - now) > 0:
            return left
        self._former = self._calls.beyond()
        raise _CrowdedError(f"{self.name}: {ANEW}")

    def _patiently(self, handle: Handle, work: Callable[[], T]) -> T:
        """Do libvirt calls; while they hang nobody uses the link. Raises libvirtError and ConnectionLostError.

        This stands in for libvirt's keepalive, which spoils its client when several calls wait for a frozen
        libvirtd (9.0: one of them ends, the others never do, and GLib complains of freed loops).
        """
        call = Call(work, ())
        frozen_at = time.monotonic() + self._keeping.frozen_seconds
        while True:
            try:
                return call.result(min(NUDGE_SECONDS, self._keeping.frozen_seconds))
            except TimeoutError:
                self._calls.nudge()
            if time.monotonic() >= frozen_at:
                frozen_at = time.monotonic() + self._keeping.frozen_seconds
                self._check(handle)
                if self._news.closing:
                    raise _CrowdedError(f"{self.name}: closed, while libvirtd did not answer")
                self._lose_link()
                self._fail(explain_freeze(self.name))
                self.wake()

    def _check(self, handle: Handle) -> None:
        """Raises ConnectionLostError."""
        if not self._news.lost and not handle.isAlive():
            self._news.tell_lost(explain_loss(libvirt.VIR_CONNECT_CLOSE_REASON_ERROR, self.name))
        if self._news.lost:
            raise ConnectionLostError(self._news.lost)

    def _greet(self, handle: Handle) -> None:
        """Ask for everything that this connection should tell. Raises libvirtError."""
        handle.registerCloseCallback(self._on_close, None)
        handle.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None)
        handle.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot, None)
        handle.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, self._on_balloon, None)
        for event in CHANGE_EVENTS:
            handle.domainEventRegisterAny(None, event, self._on_change, None)

    def _update(self, handle: Handle) -> None:
        """Read again what changed, or may have without an event, and let everybody see it."""
        changes = self._news.take()
        self._roster.note_resets(changes.resets)
        keys = changes.keys
        if time.monotonic() >= self._list_at and self._crowded_at == math.inf:
            keys |= frozenset(self._next_reads())
        elif not changes.listing and self.link is not None:
            return
        differs = self._roster.accept(self._patiently(handle, lambda: self._roster.read(handle, keys)))
        self._list_at = time.monotonic() + self._tick
        self.facts = self._roster.facts
        fresh, self.link = self.link is None, Link(handle, self._roster.entries, self._calls)
        if fresh:
            self._error = self._told = ""
            LOG.info("%s: connected, %d running domains", self.name, len(self.facts))
            self.settled.set()
        if fresh or differs:
            self.wake()

    def _next_reads(self) -> list[str]:
        """Keys whose turn it is in the slow re-reading of all XML."""
        turns = max(REREAD_SECONDS / self._tick, 1)
        if not self._unread:
            self._unread = list(self._roster.entries)
        self._to_read += len(self._roster.entries) / turns
        count = int(self._to_read)
        self._to_read -= count
        turn, self._unread = self._unread[:count], self._unread[count:]
        return turn

    def _fail(self, message: str, defect: Exception | None = None) -> None:
        self._error = message
        if message != self._told and (defect is not None or not self.excused):
            LOG.warning("%s", message, exc_info=defect)
            self._told = message

    # Called by libvirt's event loop.

    def _on_close(self, handle: Handle, reason: int, _opaque: None) -> None:
        if handle is self._serving:
            self._news.tell_lost(explain_loss(reason, self.name))

    def _on_lifecycle(self, _handle: Handle, domain: Any, event: int, _detail: int, _opaque: None) -> None:
        if event in LISTING_EVENTS:
            self._news.tell_changes(self.key(domain))
        self.wake()

    def _on_reboot(self, _handle: Handle, domain: Any, _opaque: None) -> None:
        self._news.tell_reset(self.key(domain), time.time())

    def _on_change(self, _handle: Handle, domain: Any, *_details: Any) -> None:
        self._news.tell_changes(self.key(domain))

    def _on_balloon(self, _handle: Handle, domain: Any, actual: int, _opaque: None) -> None:
        self._moved(self.key(domain), actual * KIB)
        self.wake()


def _part(handle: Handle) -> None:
    """Let go of a connection: the binding keeps it alive, and calls back, while anything is registered on it."""
    for identifier in list(getattr(handle, "domainEventCallbackID", ())):
        with suppress(*FAILURES):
            handle.domainEventDeregisterAny(identifier)
    with suppress(*FAILURES):
        handle.unregisterCloseCallback()
    with suppress(*FAILURES):
        handle.close()


def _part_beside(handle: Handle) -> None:
    """The same of one on which calls hang: libvirt's client may wait for them. Meanwhile it tells events twice."""
    with suppress(NotStartedError):
        Call(lambda: _part(handle), ())

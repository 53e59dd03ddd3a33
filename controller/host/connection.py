"""One libvirt connection, opened, watched and opened again by a supervisor, whose turns take place in a few threads.

The control loop never waits for the supervisor: it reads `link` and `facts`, which the supervisor replaces as a whole.
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
from controller.host.calls import FAILURES, NUDGE_S, Call, Calls, NotStartedError
from controller.host.domaincache import CachedDomain, CrowdedPodError, DomainCache, Handle, Starts
from controller.host.errorhints import explain, explain_freeze, explain_loss
from controller.host.mailbox import Mailbox
from controller.host.opening import AbsentError
from controller.host.periods import CLOSING_LIMIT, Periods
from controller.host.sources import Source
from controller.host.taskpool import TaskPool

LOG = logging.getLogger(__name__)

T = TypeVar("T")

KIB = 1024

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 15.0
"""A local socket is cheap to try, and domains go unwatched until one succeeds."""

REREAD_S = 300.0
"""In this time every domain's XML is read again, a few at each tick: some changes of a definition make no event."""

CLOSE_S = 12.0
"""How long `close` waits for the supervisor where periods are to be put back. The loop may have been away for 5 s
before; together with the end of all else that is less than the 30 s that systemd and Kubernetes grant."""

PART_S = 3.0
"""How long it waits where there is nothing to do: a supervisor that hangs in a frozen libvirtd ends with the
process."""

ABSENT_S = 0.5
"""Between two tries at a socket that a pod has yet to make: a look there costs a few system calls, and a guest is to be
seen within 3 s of its pod's start."""

ABSENT_TRIES = 120
"""For a minute after the last news of the pod; then as of any other connection."""

EXCUSED_S = 10.0
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
    longest = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** min(attempt - 1, 10))
    return longest * (1 + jitter) / 2


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How a connection is kept."""

    frozen_s: float = 10.0
    """A listing that takes longer means that libvirtd is frozen: it needs no QEMU's answer, and takes milliseconds;
    reading the XML of 1,000 new domains takes one second."""
    tick_s: float = 10.0
    """How often domains are listed without an event: an event can be lost, and two listing calls cost nothing."""
    pod_tick_s: float = 60.0
    """The same where a libvirt has one domain, and what becomes of that its pod tells, too: there are a hundred."""
    crowded_s: float = 1.0
    """How long too many calls hang before another connection is opened: those of a libvirtd that was frozen end at once
    when it goes on."""
    backoff: Callable[[int, float], float] = backoff
    """Seconds of rest after a number of tries."""
    starts: Starts = lambda _names: {}
    """When QEMU began."""


CONNECTION_SETTINGS = ConnectionSettings()


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection and the domains that were listed on it; they belong together."""

    handle: Handle
    entries: Mapping[str, CachedDomain]
    calls: Calls


class ConnectionLostError(Exception):
    """The connection broke; the message is for people."""


class _CrowdedError(ConnectionLostError):
    """So many calls hang on the connection that another one has to be opened."""


class Connection:
    """`wake` and `moved(key, bytes)` are called from the supervisor and from libvirt's event loop."""

    def __init__(
        self,
        source: Source,
        wake: Callable[[], None],
        moved: Callable[[str, int], None],
        settings: ConnectionSettings,
        task_pool: TaskPool,
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
        self._domain_cache = DomainCache(f"@{source.name}", starts=settings.starts, alone=source.pod is not None)
        self._periods = Periods()
        self.wake = wake
        self._moved = moved
        self._settings = settings
        self._tick = settings.tick_s if source.pod is None else settings.pod_tick_s
        self._task_pool = task_pool
        self._mailbox = Mailbox(self._call)
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
        self._task = task_pool.task(self._turn)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._task_pool.start(self._task)

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
        return not self.source.expected or time.monotonic() - self.down_since < EXCUSED_S

    def begin_close(self, unresponsive: Collection[str] = ()) -> None:
        """Have the supervisor end, and the connection; periods that were asked for are put back first.

        `unresponsive` are domains, by key, that would keep others waiting.
        """
        self._unresponsive = frozenset(unresponsive)
        self._mailbox.post_closing()

    def close(self, waited: float = 0.0) -> None:
        """Wait for the end, that of `begin_close` or of its own; `waited` seconds are over."""
        self._mailbox.post_closing()
        seconds = CLOSE_S if self._periods.pending() else PART_S
        self._task.ended.wait(max(seconds - waited, 0.0))

    def key(self, domain: Any) -> str:
        """Key of one of this connection's libvirt.virDomain."""
        return self._domain_cache.key(domain)

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
            self._mailbox.post_period_work()

    def release_periods(self, keys: Collection[str]) -> None:
        """See Periods.release; while the connection is away it waits for the next one."""
        if self._periods.release(self._domain_cache.entries, keys):
            self._mailbox.post_period_work()

    def doubt(self) -> None:
        """A call failed or hangs: have the supervisor see whether the connection still lives."""
        self._mailbox.post_changes()

    # The supervisor.

    def _call(self) -> None:
        """Have its next turn now."""
        self._task.wake()

    def _turn(self) -> float | None:
        """Connect, if need be, and see to the connection. Seconds to the next turn, or None after the last one."""
        if self._serving is not None:
            return self._see_to(self._serving)
        if self._mailbox.closing:
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
        self._domain_cache.let_go()
        part(handle)
        if established:
            self._tries = 0
            self.wake()
        return None if self._mailbox.closing else self._rest()

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
        soon = absent and self._tries <= ABSENT_TRIES
        seconds = ABSENT_S if soon else self._settings.backoff(self._tries, jitter)
        self._try_at = time.monotonic() + seconds
        return seconds

    def _serve(self, handle: Handle) -> float | None:
        """Seconds until it is to be seen to again; None when the connection is no longer wanted. Raises libvirtError,
        ConnectionLostError and CrowdedPodError.
        """
        if self._serving is None:
            self._calls = Calls(handle.getLibVersion, former=self._former)
            self._serving = handle
            self._mailbox.begin(*self._domain_cache.entries)
            self._patiently(handle, lambda: self._greet(handle))
        else:
            self._check(handle)
        self._update(handle)
        if self._mailbox.closing:
            many = Calls(handle.getLibVersion, CLOSING_LIMIT)
            self._periods.put_back(self._domain_cache.entries, many, self._unresponsive)
            return None
        set_anew = self._periods.work(self._domain_cache.entries, self._calls, lambda: self._mailbox.closing)
        if set_anew:
            self._mailbox.post_changes(*set_anew)
        elif self._periods.pending():
            self._mailbox.post_period_work()
        return self._quiet()

    def _quiet(self) -> float:
        """Seconds without news until the next turn. Raises ConnectionLostError where too many calls hang."""
        now = time.monotonic()
        if not self._calls.replaceable():
            self._crowded_at = math.inf
            return self._list_at - now
        self._crowded_at = min(self._crowded_at, now)
        if (left := self._crowded_at + self._settings.crowded_s - now) > 0:
            return left
        self._former = self._calls.beyond()
        raise _CrowdedError(f"{self.name}: {ANEW}")

    def _patiently(self, handle: Handle, work: Callable[[], T]) -> T:
        """Do libvirt calls; while they hang nobody uses the link. Raises libvirtError and ConnectionLostError.

        This stands in for libvirt's keepalive, which spoils its client when several calls wait for a frozen
        libvirtd (9.0: one of them ends, the others never do, and GLib complains of freed loops).
        """
        call = Call(work, ())
        frozen_at = time.monotonic() + self._settings.frozen_s
        while True:
            try:
                return call.result(min(NUDGE_S, self._settings.frozen_s))
            except TimeoutError:
                self._calls.nudge()
            if time.monotonic() >= frozen_at:
                frozen_at = time.monotonic() + self._settings.frozen_s
                self._check(handle)
                if self._mailbox.closing:
                    raise _CrowdedError(f"{self.name}: closed, while libvirtd did not answer")
                self._lose_link()
                self._fail(explain_freeze(self.name))
                self.wake()

    def _check(self, handle: Handle) -> None:
        """Raises ConnectionLostError."""
        if not self._mailbox.lost and not handle.isAlive():
            self._mailbox.post_lost(explain_loss(libvirt.VIR_CONNECT_CLOSE_REASON_ERROR, self.name))
        if self._mailbox.lost:
            raise ConnectionLostError(self._mailbox.lost)

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
        changes = self._mailbox.take()
        self._domain_cache.note_resets(changes.resets)
        keys = changes.keys
        if time.monotonic() >= self._list_at and self._crowded_at == math.inf:
            keys |= frozenset(self._next_reads())
        elif not changes.listing and self.link is not None:
            return
        differs = self._domain_cache.accept(self._patiently(handle, lambda: self._domain_cache.read(handle, keys)))
        self._list_at = time.monotonic() + self._tick
        self.facts = self._domain_cache.facts
        fresh, self.link = self.link is None, Link(handle, self._domain_cache.entries, self._calls)
        if fresh:
            self._error = self._told = ""
            LOG.info("%s: connected, %d running domains", self.name, len(self.facts))
            self.settled.set()
        if fresh or differs:
            self.wake()

    def _next_reads(self) -> list[str]:
        """Keys whose turn it is in the slow re-reading of all XML."""
        turns = max(REREAD_S / self._tick, 1)
        if not self._unread:
            self._unread = list(self._domain_cache.entries)
        self._to_read += len(self._domain_cache.entries) / turns
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
            self._mailbox.post_lost(explain_loss(reason, self.name))

    def _on_lifecycle(self, _handle: Handle, domain: Any, event: int, _detail: int, _opaque: None) -> None:
        if event in LISTING_EVENTS:
            self._mailbox.post_changes(self.key(domain))
        self.wake()

    def _on_reboot(self, _handle: Handle, domain: Any, _opaque: None) -> None:
        self._mailbox.post_reset(self.key(domain), time.time())

    def _on_change(self, _handle: Handle, domain: Any, *_details: Any) -> None:
        self._mailbox.post_changes(self.key(domain))

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

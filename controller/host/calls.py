"""Blocking libvirt calls with a deadline: a hung QEMU keeps a thread, never the caller."""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from typing import Any, Generic, TypeVar

import libvirt

T = TypeVar("T")

LIMIT = 4
"""Calls left behind at once on a connection. libvirtd serves 5 requests of a client at a time
(`max_client_requests`) and reads no more when all of them hang: one stays free for the domains that do answer."""

MOST_HANGING = 3 * LIMIT
"""Calls left behind at once on all connections to one libvirtd, those that were closed too (`Calls.beyond`). Each keeps
one of its workers, 20 unless set otherwise (`max_workers`): the others stay for everybody else."""

NUDGE_S = 0.2
"""A call that takes longer than a busy libvirtd needs may not have left this process. Of the threads that wait on one
connection, one polls for all; libvirt 9.0 loses the wake-up that tells it of a new call when it is just about to poll,
and sends the call at the next keepalive, 5 s later (`g_main_loop_quit` before `g_main_loop_run` in virnetclient.c; seen
once in ten calls that followed each other at once while an earlier one hung). Any other call wakes it again."""

LATE_S = 10.0
"""A call that was left behind and returns before is late, and what it says may be used. What takes longer, hangs."""


TOGETHER_S = 0.005
"""Calls to many libvirts end one after another within some ten milliseconds: each is not worth a turn of its own."""

FAILURES = (libvirt.libvirtError, OSError, MemoryError, UnicodeError)
"""What a call may raise. A machine that is out of descriptors or memory must not end Ballast, and neither must a pod's
libvirt, the pod's own, whose text is none."""


class NotStartedError(Exception):
    """A call was not begun, and will not be; the message says why."""


class TooManyHangError(NotStartedError):
    """LIMIT calls were left behind and none has returned: another one might block the whole connection."""


class Call(Generic[T]):
    """One call about the domains `keys`, running in a daemon thread from the start."""

    def __init__(self, work: Callable[[], T], keys: Collection[str], then: Callable[[], object] = lambda: None) -> None:
        """`then` is called in that thread when the call has returned or failed. Raises NotStartedError."""
        self.keys = keys
        self.began = time.monotonic()
        self._future: Future[T] = Future()
        thread = threading.Thread(target=_run, args=(work, self._future, then), name="ballast-call", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine is out of threads, or of memory
            raise NotStartedError(f"no thread for a call to libvirt: {error}") from error

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def done(self) -> bool:
        """True once the call has returned or failed."""
        return self._future.done()

    def result(self, seconds: float | None = None) -> T:
        """Wait for the outcome; raises TimeoutError after `seconds`, or what the call itself raised."""
        return self._future.result(seconds)


def _run(work: Callable[[], T], future: Future[T], then: Callable[[], object]) -> None:
    try:
        future.set_result(work())
    except Exception as error:  # carried to the caller by result(); a lost one would look like a hang
        future.set_exception(error)
    del work, future  # an error's traceback would keep them, and libvirt's objects, for the garbage collector
    then()


def wait_any(calls: Iterable[Call[Any]], seconds: float) -> None:
    """Return a moment after one of them has ended, or after `seconds`."""
    futures = [call._future for call in calls]
    wait(futures, seconds, FIRST_COMPLETED)
    if len(futures) > 1:
        wait(futures, TOGETHER_S)


class Calls:
    """The calls on one open connection. Thread-safe."""

    def __init__(self, nudge: Callable[[], object], limit: int = LIMIT, former: Iterable["Calls"] = ()) -> None:
        """`nudge` is a call to the same libvirtd that asks no QEMU; it is made beside a call that takes long.

        `former` are those on connections to the same libvirtd that were closed, and may hang yet.
        """
        self._former = tuple(former)
        self._nudge = nudge
        self._nudging: Call[object] | None = None
        self._limit = limit
        self._lock = threading.Lock()
        self._left: list[Call[Any]] = []
        self.slow = False
        """libvirt answered late last: it is there, and needs more time than usual."""

    def start(self, work: Callable[[], T], keys: Collection[str], then: Callable[[], object] = lambda: None) -> Call[T]:
        """Begin a call about the domains `keys`, see `Call`. Raises NotStartedError."""
        self.require(1)
        return Call(work, keys, then)

    def require(self, count: int) -> None:
        """Raises TooManyHangError unless so many further calls may hang."""
        if (hanging := len(self._hanging())) + count > self._limit:
            raise TooManyHangError(f"{hanging} earlier calls to libvirt hang")

    def finish(self, call: Call[T], seconds: float) -> T:
        """Its outcome; after `seconds` it is left behind and TimeoutError is raised."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > NUDGE_S:
            with suppress(TimeoutError):
                return call.result(NUDGE_S)
            self.nudge()
        try:
            return call.result(left)
        except TimeoutError:
            self.leave(call)
            raise

    def run(self, work: Callable[[], T], keys: Collection[str], seconds: float) -> T:
        """`start` and `finish`."""
        return self.finish(self.start(work, keys), seconds)

    def leave(self, call: Call[Any]) -> None:
        """Leave a call behind: nobody waits for it any more."""
        with self._lock:
            self._left.append(call)

    def exhausted(self) -> bool:
        """True while so many calls hang that no other may begin."""
        return len(self._hanging()) >= self._limit

    def replaceable(self) -> bool:
        """True where no other call may begin on this connection, and on another one may."""
        return self.exhausted() and len(self._all_hanging()) + self._limit <= MOST_HANGING

    def beyond(self) -> list["Calls"]:
        """What the next connection has to know of this one and those before it: where calls hang yet."""
        return [calls for calls in (*self._former, self) if calls._hanging()]

    def suspects(self) -> set[str]:
        """Domains of the calls that were left behind and have not returned: one of each call's hangs."""
        return {key for call in self._all_hanging() for key in call.keys}

    def hangs(self, key: str) -> bool:
        """True while a call about this domain alone is left behind."""
        return any(len(call.keys) == 1 and key in call.keys for call in self._all_hanging())

    def nudge(self) -> None:
        """Wake libvirt's client. One at a time: in a frozen libvirtd they would pile up."""
        if self._nudging is None or self._nudging.done():
            with suppress(NotStartedError):
                self._nudging = Call(self._nudge, ())

    def _all_hanging(self) -> list[Call[Any]]:
        return [call for calls in (*self._former, self) for call in calls._hanging()]

    def _hanging(self) -> list[Call[Any]]:
        with self._lock:
            self._left = [call for call in self._left if not call.done()]
            return self._left

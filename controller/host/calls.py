"""Blocking libvirt calls with a deadline: a hung QEMU keeps a thread, never the caller."""

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")

LIMIT = 4
"""Calls left behind at once on a connection. libvirtd serves 5 requests of a client at a time
(`max_client_requests`) and reads no more when all of them hang: one stays free for the domains that do answer."""

NUDGE_SECONDS = 0.2
"""A call that takes longer than a busy libvirtd needs may not have left this process. Of the threads that wait on one
connection, one polls for all; libvirt 9.0 loses the wake-up that tells it of a new call when it is just about to poll,
and sends the call at the next keepalive, 5 s later (`g_main_loop_quit` before `g_main_loop_run` in virnetclient.c; seen
once in ten calls that followed each other at once while an earlier one hung). Any other call wakes it again."""


class TooManyHangError(Exception):
    """LIMIT calls were left behind and none has returned: another one might block the whole connection."""


class Call(Generic[T]):
    """One call about the domains `keys`, running in a daemon thread from the start."""

    def __init__(self, work: Callable[[], T], keys: Collection[str]) -> None:
        self.keys = keys
        self._future: Future[T] = Future()
        threading.Thread(target=_run, args=(work, self._future), name="ballast-call", daemon=True).start()

    def done(self) -> bool:
        """True once the call has returned or failed."""
        return self._future.done()

    def result(self, seconds: float) -> T:
        """Wait for the outcome; raises TimeoutError after `seconds`, or what the call itself raised."""
        return self._future.result(max(seconds, 0.0))


def _run(work: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(work())
    except Exception as error:  # carried to the caller by result(); a lost one would look like a hang
        future.set_exception(error)
        del work, future  # the error's traceback would keep them, and libvirt's objects, for the garbage collector


class Calls:
    """The calls on one open connection. Thread-safe."""

    def __init__(self, nudge: Callable[[], object], limit: int = LIMIT) -> None:
        """`nudge` is a call to the same libvirtd that asks no QEMU; it is made beside a call that takes long."""
        self._nudge = nudge
        self._nudging: Call[object] | None = None
        self._limit = limit
        self._lock = threading.Lock()
        self._left: list[Call[Any]] = []

    def start(self, work: Callable[[], T], keys: Collection[str]) -> Call[T]:
        """Begin a call about the domains `keys`. Raises TooManyHangError."""
        if self.exhausted():
            raise TooManyHangError(f"{self._limit} earlier calls to libvirt hang")
        return Call(work, keys)

    def finish(self, call: Call[T], seconds: float) -> T:
        """Its outcome; after `seconds` it is left behind and TimeoutError is raised."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > NUDGE_SECONDS:
            with suppress(TimeoutError):
                return call.result(NUDGE_SECONDS)
            self._send_nudge()
        try:
            return call.result(left)
        except TimeoutError:
            with self._lock:
                self._left.append(call)
            raise

    def run(self, work: Callable[[], T], keys: Collection[str], seconds: float) -> T:
        """`start` and `finish`."""
        return self.finish(self.start(work, keys), seconds)

    def exhausted(self) -> bool:
        """True while so many calls hang that no other may begin."""
        return len(self._hanging()) >= self._limit

    def suspects(self) -> set[str]:
        """Domains of the calls that were left behind and have not returned: one of each call's hangs."""
        return {key for call in self._hanging() for key in call.keys}

    def hangs(self, key: str) -> bool:
        """True while a call about this domain alone is left behind."""
        return any(len(call.keys) == 1 and key in call.keys for call in self._hanging())

    def _send_nudge(self) -> None:
        """One at a time: in a frozen libvirtd they would pile up."""
        if self._nudging is None or self._nudging.done():
            self._nudging = Call(self._nudge, ())

    def _hanging(self) -> list[Call[Any]]:
        with self._lock:
            self._left = [call for call in self._left if not call.done()]
            return self._left

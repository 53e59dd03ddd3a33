"""Calls about one domain each, in order and a few at a time. What takes longer than the caller waits, goes on."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from controller.host.calls import LATE_S, NUDGE_S, Call, Calls, NotStartedError

FOR_LOOKS = 1
"""Calls that may hang beside those of a queue."""

TOO_LATE = "it was not sent in time, as libvirt is busy with earlier orders"

Work = Callable[[], object]


@dataclass(eq=False, slots=True)
class QueuedCall:
    """What became of one call."""

    key: str
    """Of the domain that it is about."""
    expires_at: float
    """Monotonic seconds from which on it is not begun any more."""
    call: Call[object] | None = None
    """Once it has begun."""
    withdrawn: str = ""
    """Why it never will."""
    revoked: str = ""
    """Why what it is for is not to be done any more, though it has begun."""
    late: bool = False
    """Nobody waits for it any more."""

    @property
    def settled(self) -> bool:
        """True once its outcome is known."""
        return bool(self.withdrawn) or (self.call is not None and self.call.done())

    def require(self) -> None:
        """Raises NotStartedError once what it is for is not to be done any more: its call may have been held up."""
        if self.revoked:
            raise NotStartedError(self.revoked)
        if self.expires_at <= time.monotonic():
            raise NotStartedError(TOO_LATE)

    def outcome(self) -> None:
        """Of a settled call: raises NotStartedError, or what the call raised."""
        if self.call is None:
            raise NotStartedError(self.withdrawn)
        self.call.result()


class CallQueue:
    """Calls on one connection, at most `at_once` at a time. Thread-safe."""

    def __init__(self, calls: Calls, at_once: int, told: Callable[[], object]) -> None:
        """`told` is called, from any thread, when a call that nobody waits for any more has ended, or never will."""
        self.calls = calls
        self._at_once = at_once
        self._told = told
        self._changed = threading.Condition()
        self._waiting: deque[tuple[QueuedCall, Work]] = deque()
        self._open: list[Call[object]] = []

    def add(self, queued_call: QueuedCall, work: Work) -> None:
        """Begin a call, now or after those before it."""
        with self._changed:
            self._waiting.append((queued_call, work))
            self._begin()

    def wait(self, queued_calls: Collection[QueuedCall], seconds: float) -> None:
        """Wait until all are settled, `seconds` at most; those that are not go on as late ones."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while (left := deadline - time.monotonic()) > 0:
                if self._changed.wait_for(
                    lambda: all(queued_call.settled for queued_call in queued_calls), min(left, NUDGE_S)
                ):
                    break
                self.calls.nudge()
            for queued_call in queued_calls:
                queued_call.late = not queued_call.settled
                if queued_call.late and queued_call.call is not None:
                    self.calls.leave(queued_call.call)

    def expire(self) -> None:
        """Withdraw the calls that have waited for too long."""
        with self._changed:
            self._begin()

    def withdraw(self, queued_call: QueuedCall, why: str) -> None:
        """Never begin it, if it still waits; if it has begun, let it do no more than it has done."""
        queued_call.revoked = why
        with self._changed:
            kept = deque(each for each in self._waiting if each[0] is not queued_call)
            if len(kept) == len(self._waiting):
                return
            self._waiting, queued_call.withdrawn, late = kept, why, queued_call.late
        if late:
            self._told()

    def close(self) -> None:
        """Begin nothing any more."""
        with self._changed:
            for queued_call, _ in self._waiting:
                queued_call.withdrawn = "it was not sent, as Ballast ends"
            self._waiting.clear()

    def _begin(self) -> None:
        """Begin what there is room for; the lock is held."""
        now, waiting = time.monotonic(), self._waiting
        blocked = len(self._open) >= self._at_once and all(call.age > LATE_S for call in self._open)
        self._waiting = deque()
        for queued_call, work in waiting:
            if blocked:
                queued_call.withdrawn = f"it was not sent, as {len(self._open)} earlier orders hang"
            elif queued_call.expires_at <= now:
                queued_call.withdrawn = TOO_LATE
            elif len(self._open) >= self._at_once:
                self._waiting.append((queued_call, work))
            else:
                self._start(queued_call, work)

    def _start(self, queued_call: QueuedCall, work: Work) -> None:
        try:
            self.calls.require(1 + FOR_LOOKS)
            queued_call.call = self.calls.start(work, (queued_call.key,), partial(self._end, queued_call))
        except NotStartedError as error:
            queued_call.withdrawn = str(error)
            return
        self._open.append(queued_call.call)
        if queued_call.late:
            self.calls.leave(queued_call.call)

    def _end(self, queued_call: QueuedCall) -> None:
        with self._changed:
            self._open = [call for call in self._open if call is not queued_call.call]
            self._begin()
            self._changed.notify_all()
            late = queued_call.late
        if late:
            self._told()

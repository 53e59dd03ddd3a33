"""SIGTERM and SIGINT end the loop, without a Python handler running in the middle of whatever holds a lock."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first signal calls `stop` from a thread of its own; a second one ends the process at once.

    The interpreter writes a signal's number to the wakeup descriptor whichever thread it meets, a library's too.
    For the main thread only.
    """
    numbers, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _leave_it) for number in STOPPING}
    waiter = threading.Thread(target=_wait, args=(numbers, stop), name="signals", daemon=True)
    waiter.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        wakeup.close()
        waiter.join()
        numbers.close()


def _leave_it(_number: int, _frame: FrameType | None) -> None:
    """The waiting thread deals with it; there must be a handler, or the process dies of the signal."""


def _wait(numbers: socket.socket, stop: Callable[[], None]) -> None:
    if numbers.recv(1):
        stop()
    again = numbers.recv(1)
    if again:
        os._exit(128 + again[0])

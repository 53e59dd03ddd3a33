"""Memory pressure of the host: the kernel's PSI trigger where there is one, a mark on MemAvailable elsewhere.

https://docs.kernel.org/accounting/psi.html#monitoring-for-pressure-thresholds
"""

import errno
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from controller.host.meminfo import Meminfo

LOG = logging.getLogger(__name__)

TRIGGERS = (b"some 150000 1000000\0", b"some 300000 2000000\0")
"""Wake when tasks stalled for memory 15 % of a window: well before reclaim thrashes, well above noise. The first
needs CAP_SYS_RESOURCE; without it the kernel takes only windows of 2 s."""

HOLD_S = 3.0
"""How long one trigger counts as pressure: the kernel repeats it once a window (at most 2 s) while it lasts."""

MARK_FRACTION = 0.05
"""Without PSI the host is under pressure when less than this of its memory is available."""

CLOSE_S = 1.0
"""The thread only waits in poll(), so it ends at once; longer means a bug, and it is a daemon."""


def open_trigger(path: Path, triggers: Sequence[bytes] = TRIGGERS) -> int:
    """Register the first of the triggers that the kernel allows and return its file descriptor. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        _register(descriptor, *triggers)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _register(descriptor: int, trigger: bytes, *slower: bytes) -> None:
    try:
        os.write(descriptor, trigger)
    except OSError as error:
        if error.errno != errno.EINVAL or not slower:
            raise
        _register(descriptor, *slower)


class Pressure:
    """Watches for pressure from `start` to `close`; calls `wake` from a thread of its own while there is some."""

    def __init__(
        self,
        proc: Path,
        wake: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        open_trigger: Callable[[Path], int] = open_trigger,
    ) -> None:
        self._path = proc / "pressure" / "memory"
        self._wake = wake
        self._clock = clock
        self._open_trigger = open_trigger
        self._until = -float("inf")
        self._watch: tuple[threading.Thread, int] | None = None
        """The thread that waits, and what has it end."""
        self.source = f"MemAvailable below {MARK_FRACTION:.0%} of MemTotal"
        """What pressure is taken from, for people to read."""

    def start(self) -> None:
        """Begin to watch. Where the kernel offers no trigger the mark is used, and `source` says why."""
        try:
            trigger = self._open_trigger(self._path)
        except OSError as error:
            self._fall_back(f"{self._path}: {error.strerror}")
            return
        self.source = f"PSI trigger on {self._path}"
        stop = os.eventfd(0, os.EFD_CLOEXEC)
        thread = threading.Thread(target=self._wait, args=(trigger, stop), name="ballast-pressure", daemon=True)
        self._watch = thread, stop
        thread.start()

    def close(self) -> None:
        """Stop watching; safe to call twice."""
        if self._watch is None:
            return
        (thread, stop), self._watch = self._watch, None
        os.eventfd_write(stop, 1)
        thread.join(CLOSE_S)
        os.close(stop)

    def now(self, memory: Meminfo) -> bool:
        """True while the host is under memory pressure; `memory` is its newest reading."""
        return self._clock() < self._until if self._watching() else memory.available < self.mark(memory)

    def mark(self, memory: Meminfo) -> float:
        """Bytes below which MemAvailable counts as pressure; 0 where the kernel tells of pressure itself."""
        return 0.0 if self._watching() else MARK_FRACTION * memory.total

    def _watching(self) -> bool:
        return self._watch is not None and self._watch[0].is_alive()

    def _wait(self, trigger: int, stop: int) -> None:
        poll = select.poll()
        poll.register(trigger, select.POLLPRI)
        poll.register(stop, select.POLLIN)
        try:
            while stop not in (ready := dict(poll.poll())):
                if ready[trigger] & select.POLLERR:
                    self._fall_back(f"{self._path}: the kernel took the trigger back")
                    return
                self._until = self._clock() + HOLD_S
                self._wake()
        finally:
            os.close(trigger)

    def _fall_back(self, why: str) -> None:
        self.source = f"MemAvailable below {MARK_FRACTION:.0%} of MemTotal ({why})"
        LOG.info("host memory pressure is taken from %s", self.source)

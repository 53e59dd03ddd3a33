"""libvirt's event loop: one daemon thread a process, shared by every connection of the process.

libvirt has one event loop a process, registers it for good and wants that done before a connection opens.
"""

import functools
import logging
import threading

import libvirt

LOG = logging.getLogger(__name__)

ERROR_PAUSE_S = 1.0
"""Rest after a failed turn (poll() out of memory), so that a lasting failure doesn't spin."""


@functools.cache
def _register() -> None:
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised; no copy on stderr
    libvirt.virEventRegisterDefaultImpl()


class EventLoop:
    """Runs libvirt's event loop while anyone uses it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Use the loop: it runs until as many `close` as `start` were called."""
        with self._lock:
            _register()
            self._users += 1
            if self._thread is None:
                self._stopping.clear()
                self._thread = threading.Thread(target=self._run, name="ballast-events", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop using the loop; the last user ends its thread."""
        with self._lock:
            self._users -= 1
            if self._users or self._thread is None:
                return
            self._stopping.set()
            libvirt.virEventAddTimeout(0, _remove_timer, None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                libvirt.virEventRunDefaultImpl()
            except libvirt.libvirtError as error:
                LOG.error("libvirt's event loop failed: %s", error)
                self._stopping.wait(ERROR_PAUSE_S)


def _remove_timer(timer: int, _opaque: None) -> None:
    libvirt.virEventRemoveTimeout(timer)


EVENT_LOOP = EventLoop()
"""The process's only one, because libvirt has only one."""

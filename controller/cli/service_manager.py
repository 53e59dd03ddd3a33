"""What systemd hears of a Ballast that it runs: that it has started, how it is, that it is alive, that it ends.

The protocol is sd_notify(3): a datagram to the socket that the environment names. A service that no longer says
that it is alive is ended and started anew.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from controller.api.printable import bounded, printable
from controller.observe.statusstore import StatusStore
from controller.observe.text import mib

STATUS_S = 5.0
"""Seconds between two status texts: systemd tells everybody who listens of each."""


def status_line(status_store: StatusStore) -> str:
    """How a node's Ballast is."""
    verdict, latest = status_store.readiness(), status_store.latest
    if latest is None or not verdict.ok:
        return f"not ready: {'; '.join(verdict.reasons)}"
    state = latest.state
    allocated = float(np.nansum(state.observation.allocation))
    return (
        f"{int(state.stable.sum())} of {len(state.inventory)} domains stable; "
        f"{mib(allocated)} of {mib(state.host.budget)} allocated"
    )


class ServiceManager:
    """Never waits and never fails, and does nothing where nobody listens. For one thread, but for `stopping`."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._alive = ["WATCHDOG=1"] if "WATCHDOG_USEC" in os.environ else []
        self._monotonic = monotonic
        self._started = False
        self._status = ""
        self._due = 0.0

    def turned(self, status: Callable[[], str]) -> None:
        """The loop came round; the first time the start is done. `status` is asked for now and then, for a line."""
        if not self._address:
            return
        told = [*([] if self._started else ["READY=1"]), *self._alive]
        self._started = True
        now = self._monotonic()
        if now >= self._due:
            self._due = now + STATUS_S
            before, self._status = self._status, bounded(printable(status()))
            told += [f"STATUS={self._status}"] if self._status != before else []
        self._send(told)

    def stopping(self) -> None:
        """It was told to end, and has begun to."""
        self._send(["STOPPING=1"])

    def _send(self, lines: list[str]) -> None:
        if not self._address or not lines:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)

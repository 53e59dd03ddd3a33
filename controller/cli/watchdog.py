"""systemd's watchdog: a service that no longer says that it is alive is ended and started anew.

The protocol is sd_notify(3)'s: a datagram to the socket that the environment names.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress


def heartbeat() -> Callable[[], None]:
    """What to call while all is well. It never waits and never fails, and does nothing where no watchdog listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or "WATCHDOG_USEC" not in os.environ:
        return lambda: None
    if address.startswith("@"):
        address = "\0" + address[1:]

    def beat() -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as watchdog:
            watchdog.sendto(b"WATCHDOG=1", socket.MSG_DONTWAIT, address)

    return beat

"""Where the endpoint listens, as people write it."""

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address

DEFAULT_LISTEN = "127.0.0.1:9178"
"""Loopback: whoever should reach it from elsewhere has to say so."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port of a listening socket."""

    host: str
    port: int
    names: tuple[str, ...] = ()
    """By which others know it, such as in DNS."""

    @classmethod
    def parse(cls, text: str) -> "Address | None":
        """Read `HOST:PORT` (`[::1]:9178` for IPv6); None for `none`. Raises ValueError with the remedy."""
        if text == "none":
            return None
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
            raise ValueError(f"{text!r} is not an address; write HOST:PORT, such as {DEFAULT_LISTEN}, or none")
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        """True when only this host can reach it."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def answers_to(self, host: str) -> bool:
        """Whether a request with this `Host` header is meant for it.

        A name of somebody else's that leads here is how a web page in a browser on this host reads what is not for it
        (DNS rebinding). Addresses are no names: a browser keeps pages of different addresses apart.
        """
        name = _without_port(host.strip()).rstrip(".").lower()
        own = {"localhost", self.host.lower(), socket.gethostname().lower(), *(each.lower() for each in self.names)}
        return name in own or _is_address(name)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _without_port(host: str) -> str:
    match = re.fullmatch(r"(?:\[([^]]*)\]|(.*?))(?::[0-9]+)?", host)
    return (match[1] or match[2] or "") if match else host


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

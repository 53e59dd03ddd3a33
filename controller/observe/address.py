"""Where the endpoint listens, as people write it."""

from dataclasses import dataclass

DEFAULT_LISTEN = "127.0.0.1:9178"
"""Loopback: whoever should reach it from elsewhere has to say so."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port of a listening socket."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address | None":
        """Read `HOST:PORT` (`[::1]:9178` for IPv6); None for `none`. Raises ValueError with the remedy."""
        if text == "none":
            return None
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
            raise ValueError(f"{text!r} is not an address; write HOST:PORT, such as {DEFAULT_LISTEN}, or none")
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        """True when only this host can reach it."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

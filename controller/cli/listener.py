"""Who listens at an address of this host: any user may take a port that is free, and answer as if it were Ballast."""

import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

SERVICE_USER = "ballast"
"""Name of the user that SECURITY.md lets Ballast run as."""
_LISTENING = "0A"
"""State of a socket, https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html"""
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def listener(url: str) -> str:
    """Name of the user who listens at a loopback address; empty where it is root, the service's, the caller, or where
    that cannot be told.
    """
    parts = urlsplit(url)
    port = parts.port or 80
    hosts = _loopback(parts.hostname or "", port)
    strangers = [user for address, user in _listeners(port) if address in hosts and user not in trusted_users()]
    return _name(strangers[0]) if strangers else ""


def _loopback(host: str, port: int) -> set[str]:
    """As the kernel writes them, the addresses at which a request to `host` may arrive; empty beyond loopback."""
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()
    if not all(each == "::1" or each.startswith("127.") for each in found):
        return set()
    four = [each for each in found if ":" not in each]
    mapped = [f"::ffff:{each}" for each in four]
    anyhow = ["0.0.0.0", "::"]  # noqa: S104 - compared with, not bound to
    return {_hexadecimal(each) for each in (*found, *mapped, *anyhow)}


def _hexadecimal(address: str) -> str:
    """Words of 32 bits in the byte order of this machine."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return "".join(f"{socket.htonl(int.from_bytes(packed[at : at + 4])):08X}" for at in range(0, len(packed), 4))


def _listeners(port: int) -> Iterator[tuple[str, int]]:
    """Address and user of each socket that listens at the port."""
    for table in _TABLES:
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()
            address, _, number = local.rpartition(":")
            if state == _LISTENING and int(number, 16) == port:
                yield address, int(line.split()[7])


def trusted_users() -> set[int]:
    """IDs of those who may run the Ballast that the caller asks."""
    try:
        service = {pwd.getpwnam(SERVICE_USER).pw_uid}
    except KeyError:
        service = set()
    return {0, os.geteuid(), *service}


def _name(user: int) -> str:
    try:
        return f"{pwd.getpwuid(user).pw_name} ({user})"
    except KeyError:
        return str(user)

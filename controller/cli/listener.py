"""Who listens at an address of this host: any user may take a port that is free, and answer as if it were Ballast."""

import os
import pwd
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
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
    hosts, port = loopback(url), parts.port or (443 if parts.scheme == "https" else 80)
    strangers = [user for address, user in _listeners(port) if address in hosts and user not in trusted_users()]
    return _name(strangers[0]) if strangers else ""


_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def loopback(url: str) -> set[str]:
    """As the kernel writes them, the addresses at which a request to the URL may arrive; empty beyond loopback."""
    parts = urlsplit(url)
    try:
        name = (parts.hostname or "").removesuffix(".")  # a full name, as `localhost.` is
        known = socket.getaddrinfo(name, parts.port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    found = {_reached(str(each[4][0])) for each in known}
    if not all(each in {"::1", *_ANY} or each.startswith("127.") for each in found):
        return set()
    local = found | {"127.0.0.1", "::1"} if found & set(_ANY) else found
    mapped = [f"::ffff:{each}" for each in local if ":" not in each]
    return {_hexadecimal(each) for each in (*local, *mapped, *_ANY)}


def _reached(address: str) -> str:
    """IPv4's form of an address of IPv6 that stands for it."""
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


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

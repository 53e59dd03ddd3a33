"""Only libvirt of this host: its guests are moved within this host's memory, and what QEMU holds is read here.

https://libvirt.org/uri.html, https://libvirt.org/remote.html#remote-uris
"""

from urllib.parse import parse_qs, urlsplit

HERE = frozenset({"", "unix"})
"""Transports that end on this host; all others go through a network or a command that may."""

_REMEDY = "run Ballast on that host, with its own connection such as qemu:///system"


def refusal(uri: str) -> str:
    """Why `uri` is not taken; empty where it is, and for an alias: what that stands for is known when it is open."""
    try:
        parts = urlsplit(uri)
        transport, host = parts.scheme.partition("+")[2], parts.netloc
    except ValueError as error:
        return f"{uri}: {error}; the usual connection is qemu:///system"
    if transport.lower() not in HERE:
        return f"{uri}: transport {transport!r} leads to another host, or may; {_REMEDY}"
    if host:
        return f"{uri}: it names the host {host!r}; {_REMEDY}"
    if "name" in parse_qs(parts.query, keep_blank_values=True):  # what libvirtd is asked to open in its turn
        return f"{uri}: its parameter name leads to another host, or may; {_REMEDY}"
    return ""

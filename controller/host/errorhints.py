"""libvirt's errors in words that say what to do."""

import errno

import libvirt

from controller.host.opening import OpeningError, RemoteError

_DENIED_ERRNO = frozenset({errno.EACCES, errno.EPERM})
_ABSENT_ERRNO = frozenset({errno.ENOENT, errno.ECONNREFUSED})
_DENIED = frozenset(
    {
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_OPERATION_DENIED,
    }
)
_BAD_URI = frozenset(
    {
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_NO_SUPPORT,
    }
)

CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "an input/output error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirtd closed it",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirtd stopped answering",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "it was closed here",
}


SAID_CHARACTERS = 200
"""Of libvirt's words, at most: they may hold a domain's name, and QEMU's own message at any length."""


def said(error: Exception) -> str:
    """libvirt's own words, or the machine's, on one line, cut when long, without characters that do not print."""
    words = str(error) or repr(error)
    plain = "".join(char if char.isprintable() else " " for char in words)
    return plain if len(plain) <= SAID_CHARACTERS else plain[: SAID_CHARACTERS - 1] + "…"


def explain(error: libvirt.libvirtError, uri: str) -> str:
    """One sentence for a person: why the connection `uri` does not work, and the remedy."""
    if isinstance(error, OpeningError):
        return str(error) if isinstance(error, RemoteError) else f"{uri}: {error}"
    code, said = error.get_error_code(), error.get_error_message() or str(error)
    number = error.get_int1() if code == libvirt.VIR_ERR_SYSTEM_ERROR else 0
    if number in _ABSENT_ERRNO:
        remedy = "is libvirtd (or virtqemud) running? Start it, or name another connection with --connect"
    elif code in _DENIED or number in _DENIED_ERRNO:
        remedy = "run as root or join the group libvirt"
    elif code in _BAD_URI or error.get_error_domain() == libvirt.VIR_FROM_URI:
        remedy = "is that a libvirt URI? The usual one is --connect qemu:///system"
    else:
        remedy = "trying again"
    return f"{uri}: {said}; {remedy}"


def explain_freeze(uri: str) -> str:
    """One sentence for a libvirtd that is there but does not answer."""
    return f"{uri}: libvirtd does not answer; going on when it does (is it stopped? see its log, or restart it)"


def explain_loss(reason: int, uri: str) -> str:
    """One sentence for a connection that broke for one of libvirt's close reasons."""
    why = CLOSE_REASONS.get(reason, f"reason {reason}")
    return f"{uri}: the connection to libvirt was lost ({why}); connecting again"

"""Opens libvirt connections that do not leave this host."""

from typing import Any

import libvirt

from controller.host.locality import refusal


class OpeningError(libvirt.libvirtError):  # type: ignore[misc]  # the binding carries no types
    """A connection that is not tried; the message says why, with the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.args, self.err = (message,), None  # the binding takes its thread's last error, of whatever call that was


class RemoteError(OpeningError):
    """It leads to another host, or may; the message names it."""


class AbsentError(OpeningError):
    """Its socket is not there yet."""


def open_here(uri: str) -> Any:
    """A new libvirt.virConnect. Raises libvirtError, and RemoteError where `uri` stands for another host's."""
    if refused := refusal(uri):
        raise RemoteError(refused)
    handle = libvirt.open(uri)
    if refused := refusal(handle.getURI()):
        handle.close()
        raise RemoteError(f"{uri} stands for {refused}")
    return handle

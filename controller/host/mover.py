"""Moves balloons: in the order given, on live domains only, and never longer than a deadline."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import libvirt

from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.engine.snapshot import Refusal
from controller.host.calls import TooManyHangError
from controller.host.connection import Connection, Link, connection_of
from controller.host.roster import Entry
from controller.host.trouble import Trouble, has_job

LOG = logging.getLogger(__name__)

KIB = 1024
MIB = 1024 * KIB

MOVE_SECONDS = 2.0
"""Deadline of one order: QEMU takes it in milliseconds, the guest obeys later."""


class NotMovedError(Exception):
    """A balloon was left as it is; the message says why."""


class Mover:
    """For the control loop's thread only. `connections` by their part of a key."""

    def __init__(
        self, connections: Mapping[str, Connection], trouble: Trouble, *, seconds: float = MOVE_SECONDS
    ) -> None:
        self._connections = connections
        self._trouble = trouble
        self._seconds = seconds

    def apply(self, actions: Sequence[Action]) -> tuple[Refusal, ...]:
        """Carry out balloon changes; those that could not be done, and why."""
        refused = []
        for action in actions:
            try:
                self._move(action)
            except NotMovedError as why:
                message = f"the balloon was not set to {action.target / MIB:.0f} MiB: {why}"
                refused.append(Refusal(action.row, message))
        return tuple(refused)

    def _move(self, action: Action) -> None:
        connection = self._connections[connection_of(action.key)]
        link = connection.link
        if link is None:
            raise NotMovedError(connection.error())
        entry = self._ready(link, action.key)
        size = kibibytes(action, entry.facts.maximum)
        try:
            link.calls.run(lambda: _set(entry.domain, size), (action.key,), self._seconds)
        except TimeoutError as error:
            raise NotMovedError(f"QEMU did not take the order within {self._seconds:g} s") from error
        except _InJobError as error:
            self._trouble.in_job.add(action.key)
            raise NotMovedError(Reason.BUSY.text) from error
        except (libvirt.libvirtError, TooManyHangError) as error:
            raise NotMovedError(str(error)) from error

    def _ready(self, link: Link, key: str) -> Entry:
        """The domain, if an order would not have to wait. Raises NotMovedError."""
        if key not in link.entries:
            raise NotMovedError(Reason.NOT_RUNNING.text)
        if link.calls.hangs(key):
            raise NotMovedError("it is still busy with the previous change")
        if key in self._trouble.unresponsive:
            raise NotMovedError(Reason.UNRESPONSIVE.text)
        return link.entries[key]


class _InJobError(Exception):
    """Another job runs on the domain: the order would wait for it, up to 30 s."""


def kibibytes(action: Action, maximum: int) -> int:
    """The target in libvirt's unit, rounded towards what is, never above the `maximum` (bytes)."""
    rounded = action.target // KIB if action.grows else -(-action.target // KIB)
    return min(rounded, maximum // KIB)


def _set(domain: Any, size: int) -> None:
    """The libvirt calls of a move; runs in a thread that may hang."""
    if has_job(domain):
        raise _InJobError
    domain.setMemoryFlags(size, libvirt.VIR_DOMAIN_AFFECT_LIVE)

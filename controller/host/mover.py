"""Moves balloons: in the order given, on live domains only, and never longer than a deadline."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import libvirt

from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.engine.snapshot import Outcome, Result
from controller.host.calls import Call, TooManyHangError
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


@dataclass(frozen=True, slots=True)
class _Late:
    """An order that libvirt had not answered within its deadline."""

    link: Link
    call: Call[None]
    name: str
    size: str


class Mover:
    """For the control loop's thread only. `connections` by their part of a key."""

    def __init__(
        self, connections: Mapping[str, Connection], trouble: Trouble, *, seconds: float = MOVE_SECONDS
    ) -> None:
        self._connections = connections
        self._trouble = trouble
        self._seconds = seconds
        self._late: dict[str, _Late] = {}
        """By key."""

    def apply(self, actions: Sequence[Action]) -> tuple[Outcome, ...]:
        """Carry out balloon changes; those that were not done, and why."""
        outcomes = []
        for action in actions:
            size = f"{action.target / MIB:.0f} MiB"
            try:
                late = self._move(action)
            except NotMovedError as why:
                outcomes.append(Outcome(action.row, Result.REFUSED, f"the balloon was not set to {size}: {why}"))
                continue
            self._late.pop(action.key, None)
            if late is not None:
                message = f"QEMU has not taken the order of {size} within {self._seconds:g} s; it may do so yet"
                LOG.warning("domain %s: %s", action.name, message)
                outcomes.append(Outcome(action.row, Result.UNKNOWN, message))
                self._late[action.key] = _Late(late[0], late[1], action.name, size)
        return tuple(outcomes)

    def drain_answers(self) -> dict[str, tuple[Result, str]]:
        """What libvirt has answered to late orders since the last call, by key."""
        answered = {key: late for key, late in self._late.items() if late.call.done()}
        for key in answered:
            del self._late[key]
        return {key: self._answer(key, late) for key, late in answered.items()}

    def _answer(self, key: str, late: _Late) -> tuple[Result, str]:
        try:
            late.call.result(0.0)
        except _InJobError:
            self._trouble.in_job.add(key)
            why = Reason.BUSY.text
        except libvirt.libvirtError as error:
            if not late.link.handle.isAlive():
                return Result.DONE, ""  # QEMU may have taken it before the connection broke: its size will tell
            why = str(error)
        else:
            return Result.DONE, ""
        message = f"the balloon was not set to {late.size}: {why}"
        LOG.warning("domain %s: %s", late.name, message)
        return Result.REFUSED, message

    def _move(self, action: Action) -> tuple[Link, Call[None]] | None:
        """The call, where it has not ended within its deadline. Raises NotMovedError."""
        connection = self._connections[connection_of(action.key)]
        link = connection.link
        if link is None:
            raise NotMovedError(connection.error())
        entry = self._ready(link, action.key)
        size = kibibytes(action, entry.facts.maximum)
        call: Call[None] | None = None
        try:
            call = link.calls.start(lambda: _set(entry.domain, size), (action.key,))
            link.calls.finish(call, self._seconds)
        except TimeoutError:
            assert call is not None
            return link, call
        except _InJobError as error:
            self._trouble.in_job.add(action.key)
            raise NotMovedError(Reason.BUSY.text) from error
        except (libvirt.libvirtError, TooManyHangError) as error:
            raise NotMovedError(str(error)) from error
        return None

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

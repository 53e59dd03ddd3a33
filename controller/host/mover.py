"""Moves balloons: on live domains only, who is to grow first, and never away for longer than a deadline."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import libvirt

from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.engine.snapshot import Outcome, Result
from controller.host.calls import FAILURES, NotStartedError
from controller.host.connection import Connection, Link
from controller.host.lane import Errand, Lane
from controller.host.remedies import said
from controller.host.roster import Entry
from controller.host.sources import source_of
from controller.host.trouble import Trouble, barred

LOG = logging.getLogger(__name__)

KIB = 1024
MIB = 1024 * KIB

MOVE_SECONDS = 1.5
"""Deadline of all orders of a turn together: QEMU takes one in milliseconds, the guest obeys later. With the looks' 3 s
the loop is away for less than 5 s, whatever hangs."""

SHARED_SECONDS = 0.25
"""The same where there are several connections: what one of them has not taken by then it takes while the others go
on."""

GROW_WAITS_SECONDS = 30.0
"""How long an order to grow may wait for its turn: what it gives is set aside meanwhile."""

SHRINK_WAITS_SECONDS = 5.0
"""How long an order to shrink may: later it would take memory on the word of old statistics."""


ORDERS_AT_ONCE = 3
"""On one connection; one of the calls that may be left behind (`calls.LIMIT`) stays for looks."""


WITHDRAWN = "it was taken back before it was sent, as what it was decided on has changed"
"""Said of an order to which its decision no longer holds."""


class NotMovedError(Exception):
    """A balloon was left as it is; the message says why."""


class _BarredError(Exception):
    """A job on the domain forbids it: the order would wait for its end, up to 30 s."""


class _LostError(Exception):
    """The connection was closed before the order was sent."""


@dataclass(frozen=True, slots=True)
class _Order:
    """One that was sent, or is to be."""

    action: Action
    entry: Entry
    """The domain as it was then."""
    link: Link
    lane: Lane
    errand: Errand

    @property
    def same_life(self) -> bool:
        """Whether the domain still runs as it did, neither started anew nor reset."""
        now = self.link.entries.get(self.action.key)
        return now is not None and _life(now) == _life(self.entry)

    @property
    def size(self) -> str:
        return f"{self.action.target / MIB:.0f} MiB"


class Mover:
    """For the control loop's thread only. `connections` by their part of a key."""

    def __init__(
        self, connections: Mapping[str, Connection], trouble: Trouble, *, seconds: float = MOVE_SECONDS
    ) -> None:
        self._connections = connections
        self._trouble = trouble
        self._seconds = seconds
        self._lanes: dict[Connection, Lane] = {}
        self._late: dict[str, _Order] = {}
        """By key, those whose outcome was told to be unknown."""

    def apply(self, actions: Sequence[Action]) -> tuple[Outcome, ...]:
        """Carry out balloon changes, grows first; those that were not done, or may not have been, and why."""
        self._lanes = {each: lane for each, lane in self._lanes.items() if each in self._connections.values()}
        deadline = time.monotonic() + self._patience
        outcomes, orders = [], []
        for action in sorted(actions, key=lambda action: not action.grows):
            try:
                orders.append(self._move(action))
            except NotMovedError as why:
                outcomes.append(Outcome(action.row, Result.REFUSED, _not_set(action, str(why))))
        for lane in {order.lane for order in orders}:
            errands = [order.errand for order in orders if order.lane is lane]
            lane.wait(errands, deadline - time.monotonic())
        for order in orders:
            result, message = self._outcome(order)
            if result is not Result.DONE:
                outcomes.append(Outcome(order.action.row, result, message))
            if result is Result.UNKNOWN:
                self._late[order.action.key] = order
        return tuple(outcomes)

    @property
    def _patience(self) -> float:
        """Seconds that a turn waits for its orders."""
        return min(self._seconds, SHARED_SECONDS) if len(self._connections) > 1 else self._seconds

    def withdraw(self, stands: Callable[[Action], bool]) -> None:
        """Orders that still wait are not to be sent where their decision does not stand any more."""
        for order in self._late.values():
            if not order.same_life or not stands(order.action):
                order.lane.withdraw(order.errand, WITHDRAWN)

    def drain_answers(self) -> dict[str, tuple[Result, str]]:
        """What has become of late orders since the last call, by key."""
        for lane in {order.lane for order in self._late.values()}:
            lane.expire()
        settled = {key: order for key, order in self._late.items() if order.errand.settled}
        for key in settled:
            del self._late[key]
        return {key: self._late_answer(order) for key, order in settled.items()}

    def close(self) -> None:
        """Send nothing any more; what was sent goes on."""
        for lane in self._lanes.values():
            lane.close()

    def _late_answer(self, order: _Order) -> tuple[Result, str]:
        result, message = self._outcome(order)
        if message and result is not Result.UNKNOWN:
            level = logging.WARNING if result is Result.REFUSED else logging.INFO
            LOG.log(level, "domain %s: %s", order.action.name, message)
        # Where the connection broke, QEMU may have taken the order: its size will tell.
        return (Result.DONE, "") if result is Result.UNKNOWN else (result, message)

    def _outcome(self, order: _Order) -> tuple[Result, str]:
        if not order.errand.settled and order.errand.call is None:
            return Result.UNKNOWN, f"the order of {order.size} waits, as libvirt is busy with earlier ones"
        if not order.errand.settled:
            message = f"QEMU has not taken the order of {order.size} within {self._patience:g} s; it may do so yet"
            LOG.warning("domain %s: %s", order.action.name, message)
            return Result.UNKNOWN, message
        try:
            order.errand.outcome()
        except _BarredError:
            self._trouble.in_job.add(order.action.key)
            why = Reason.BUSY.text
        except _LostError:
            why = "the connection to libvirt was lost before it was sent"
        except NotStartedError as error:
            if order.errand.revoked:
                return Result.WITHDRAWN, _not_set(order.action, str(error))
            why = str(error)
        except FAILURES as error:
            if not _lives(order.link.handle):
                return Result.UNKNOWN, f"the connection broke under the order of {order.size}; QEMU may have taken it"
            why = said(error)
        else:
            return Result.DONE, ""
        return Result.REFUSED, _not_set(order.action, why)

    def _move(self, action: Action) -> _Order:
        """Raises NotMovedError."""
        connection = self._connections.get(source_of(action.key))
        if connection is None:
            raise NotMovedError(Reason.NOT_RUNNING.text)
        link = connection.link
        if link is None:
            raise NotMovedError(connection.error())
        entry = self._ready(link, action.key)
        handle, size = link.handle, kibibytes(action, entry.facts.maximum)
        waits = GROW_WAITS_SECONDS if action.grows else SHRINK_WAITS_SECONDS
        errand = Errand(action.key, time.monotonic() + waits)
        lane = self._lane(connection, link)
        lane.add(errand, lambda: _send(handle, entry.domain, size, errand))
        return _Order(action, entry, link, lane, errand)

    def _lane(self, connection: Connection, link: Link) -> Lane:
        """The orders of an open connection."""
        lane = self._lanes.get(connection)
        if lane is None or lane.calls is not link.calls:
            lane = self._lanes[connection] = Lane(link.calls, ORDERS_AT_ONCE, connection.wake)
        return lane

    def _ready(self, link: Link, key: str) -> Entry:
        """The domain, if an order would not have to wait. Raises NotMovedError."""
        if key not in link.entries:
            raise NotMovedError(Reason.NOT_RUNNING.text)
        if key in self._late or link.calls.hangs(key):
            raise NotMovedError("it is still busy with the previous change")
        if key in self._trouble.unresponsive:
            raise NotMovedError(Reason.UNRESPONSIVE.text)
        return link.entries[key]


def _life(entry: Entry) -> tuple[int, float]:
    return entry.facts.incarnation, entry.facts.reset_at


def kibibytes(action: Action, maximum: int) -> int:
    """The target in libvirt's unit, rounded towards what is, never above the `maximum` (bytes)."""
    rounded = action.target // KIB if action.grows else -(-action.target // KIB)
    return min(rounded, maximum // KIB)


def _not_set(action: Action, why: str) -> str:
    return f"the balloon was not set to {action.target / MIB:.0f} MiB: {why}"


def _send(handle: Any, domain: Any, size: int, errand: Errand) -> None:
    """It may have waited; runs in a thread that may hang, also over the question for a job."""
    if not _lives(handle):
        raise _LostError
    if barred(domain):
        raise _BarredError
    errand.require()
    _set(domain, size)


def _lives(handle: Any) -> bool:
    """Whether a connection still is one; of one that its keeper has closed meanwhile libvirt says nothing."""
    try:
        return bool(handle.isAlive())
    except libvirt.libvirtError:
        return False


def _set(domain: Any, size: int) -> None:
    domain.setMemoryFlags(size, libvirt.VIR_DOMAIN_AFFECT_LIVE)

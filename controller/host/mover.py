"""Moves balloons: on live domains only, who is to grow first, and never away for longer than a deadline."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import libvirt

from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.engine.snapshot import OrderOutcome, OrderResult
from controller.host.actuators import KIB
from controller.host.callqueue import CallQueue, QueuedCall
from controller.host.calls import FAILURES, NUDGE_S, NotStartedError
from controller.host.connection import Connection, Link
from controller.host.domaincache import CachedDomain
from controller.host.errorhints import said
from controller.host.sources import source_of
from controller.host.unavailable import UnavailableDomains, barred

LOG = logging.getLogger(__name__)

MIB = 1024 * KIB

MOVE_S = 1.5
"""Deadline of all orders of a turn together: QEMU takes one in milliseconds, the guest obeys later. With the looks' 3 s
the loop is away for less than 5 s, whatever hangs."""

SHARED_S = NUDGE_S
"""The same where there are several connections: what one of them has not taken by then it takes while the others go
on."""

GROW_WAITS_S = 30.0
"""How long an order to grow may wait for its turn: what it gives is set aside meanwhile."""

SHRINK_WAITS_S = 5.0
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
    entry: CachedDomain
    """The domain as it was then."""
    link: Link
    call_queue: CallQueue
    queued_call: QueuedCall

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
        self, connections: Mapping[str, Connection], unavailable: UnavailableDomains, *, seconds: float = MOVE_S
    ) -> None:
        self._connections = connections
        self._unavailable = unavailable
        self._seconds = seconds
        self._call_queues: dict[Connection, CallQueue] = {}
        self._late: dict[str, _Order] = {}
        """By key, those whose outcome was told to be unknown."""

    def apply(self, actions: Sequence[Action]) -> tuple[OrderOutcome, ...]:
        """Carry out balloon changes, grows first; those that were not done, or may not have been, and why."""
        self._call_queues = {
            each: call_queue for each, call_queue in self._call_queues.items() if each in self._connections.values()
        }
        deadline = time.monotonic() + self._patience
        outcomes, orders = [], []
        for action in sorted(actions, key=lambda action: not action.grows):
            try:
                orders.append(self._move(action))
            except NotMovedError as why:
                outcomes.append(OrderOutcome(action.row, OrderResult.REFUSED, _not_set(action, str(why))))
        for call_queue in {order.call_queue for order in orders}:
            queued_calls = [order.queued_call for order in orders if order.call_queue is call_queue]
            call_queue.wait(queued_calls, deadline - time.monotonic())
        for order in orders:
            result, message = self._outcome(order)
            if result is not OrderResult.DONE:
                outcomes.append(OrderOutcome(order.action.row, result, message))
            if result is OrderResult.UNKNOWN:
                self._late[order.action.key] = order
        return tuple(outcomes)

    @property
    def _patience(self) -> float:
        """Seconds that a turn waits for its orders."""
        return min(self._seconds, SHARED_S) if len(self._connections) > 1 else self._seconds

    def withdraw(self, stands: Callable[[Action], bool]) -> None:
        """Orders that still wait are not to be sent where their decision does not stand any more."""
        for order in self._late.values():
            if not order.same_life or not stands(order.action):
                order.call_queue.withdraw(order.queued_call, WITHDRAWN)

    def drain_answers(self) -> dict[str, tuple[OrderResult, str]]:
        """What has become of late orders since the last call, by key."""
        for call_queue in {order.call_queue for order in self._late.values()}:
            call_queue.expire()
        settled = {key: order for key, order in self._late.items() if order.queued_call.settled}
        for key in settled:
            del self._late[key]
        return {key: self._late_answer(order) for key, order in settled.items()}

    def close(self) -> None:
        """Send nothing any more; what was sent goes on."""
        for call_queue in self._call_queues.values():
            call_queue.close()

    def _late_answer(self, order: _Order) -> tuple[OrderResult, str]:
        result, message = self._outcome(order)
        if message and result is not OrderResult.UNKNOWN:
            level = logging.WARNING if result is OrderResult.REFUSED else logging.INFO
            LOG.log(level, "domain %s: %s", order.action.name, message)
        # Where the connection broke, QEMU may have taken the order: its size will tell.
        return (OrderResult.DONE, "") if result is OrderResult.UNKNOWN else (result, message)

    def _outcome(self, order: _Order) -> tuple[OrderResult, str]:
        if not order.queued_call.settled and order.queued_call.call is None:
            return OrderResult.UNKNOWN, f"the order of {order.size} waits, as libvirt is busy with earlier ones"
        if not order.queued_call.settled:
            message = f"QEMU has not taken the order of {order.size} within {self._patience:g} s; it may do so yet"
            LOG.warning("domain %s: %s", order.action.name, message)
            return OrderResult.UNKNOWN, message
        try:
            order.queued_call.outcome()
        except _BarredError:
            self._unavailable.in_job.add(order.action.key)
            why = Reason.BUSY.text
        except _LostError:
            why = "the connection to libvirt was lost before it was sent"
        except NotStartedError as error:
            if order.queued_call.revoked:
                return OrderResult.WITHDRAWN, _not_set(order.action, str(error))
            why = str(error)
        except FAILURES as error:
            if not _lives(order.link.handle):
                return (
                    OrderResult.UNKNOWN,
                    f"the connection broke under the order of {order.size}; QEMU may have taken it",
                )
            why = said(error)
        else:
            return OrderResult.DONE, ""
        return OrderResult.REFUSED, _not_set(order.action, why)

    def _move(self, action: Action) -> _Order:
        """Raises NotMovedError."""
        connection = self._connections.get(source_of(action.key))
        if connection is None:
            raise NotMovedError(Reason.NOT_RUNNING.text)
        link = connection.link
        if link is None:
            raise NotMovedError(connection.error())
        entry = self._ready(link, action.key)
        handle, size = link.handle, whole_kib(action, entry.facts.maximum)
        waits = GROW_WAITS_S if action.grows else SHRINK_WAITS_S
        queued_call = QueuedCall(action.key, time.monotonic() + waits)
        call_queue = self._call_queue(connection, link)
        call_queue.add(queued_call, lambda: _send(handle, entry, size, queued_call))
        return _Order(action, entry, link, call_queue, queued_call)

    def _call_queue(self, connection: Connection, link: Link) -> CallQueue:
        """The orders of an open connection."""
        call_queue = self._call_queues.get(connection)
        if call_queue is None or call_queue.calls is not link.calls:
            call_queue = self._call_queues[connection] = CallQueue(link.calls, ORDERS_AT_ONCE, connection.wake)
        return call_queue

    def _ready(self, link: Link, key: str) -> CachedDomain:
        """The domain, if an order would not have to wait. Raises NotMovedError."""
        if key not in link.entries:
            raise NotMovedError(Reason.NOT_RUNNING.text)
        if key in self._late or link.calls.hangs(key):
            raise NotMovedError("it is still busy with the previous change")
        if key in self._unavailable.unresponsive:
            raise NotMovedError(Reason.UNRESPONSIVE.text)
        return link.entries[key]


def _life(entry: CachedDomain) -> tuple[int, float]:
    return entry.facts.incarnation, entry.facts.reset_at


def whole_kib(action: Action, maximum: int) -> int:
    """The target in bytes, in whole units of libvirt, rounded towards what is, never above the `maximum` (bytes)."""
    rounded = action.target // KIB if action.grows else -(-action.target // KIB)
    return min(rounded, maximum // KIB) * KIB


def _not_set(action: Action, why: str) -> str:
    return f"the balloon was not set to {action.target / MIB:.0f} MiB: {why}"


def _send(handle: Any, entry: CachedDomain, size: int, queued_call: QueuedCall) -> None:
    """It may have waited; runs in a thread that may hang, also over the question for a job."""
    if not _lives(handle):
        raise _LostError
    if barred(entry.domain):
        raise _BarredError
    queued_call.require()
    entry.actuator.order(entry.domain, size)


def _lives(handle: Any) -> bool:
    """Whether a connection still is one; of one that its supervisor has closed meanwhile libvirt says nothing."""
    try:
        return bool(handle.isAlive())
    except libvirt.libvirtError:
        return False

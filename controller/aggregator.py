"""The aggregator's loop: watch events in, `MemoryPolicy.status` out, from the one replica that leads.

Every replica hears everything and keeps the sums, so that whoever takes over knows at once which nodes are silent. Only
the leader writes.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from queue import Empty, Full, Queue
from typing import Any, Protocol

from controller.aggregation.clustercache import ClusterCache
from controller.aggregation.contribution import PolicyCounts
from controller.aggregation.identity import PolicyIdentity
from controller.aggregation.statusqueue import StatusPatch, StatusQueue
from controller.aggregation.watchevents import WatchEvent
from controller.api.policy import MEBIBYTE
from controller.cluster.errors import ApiError
from controller.cluster.statuswriter import Written
from controller.loop.clock import Clock
from controller.observe.aggregatorstatus import AggregatorStatus

_log = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
"""Most seconds between two turns: silent nodes, the probes and a lead that ended are noticed no later."""
MOST_EVENTS = 2048
"""Events that may wait: pages of a list, of 250 objects, or single changes. More would only take memory while
the loop is busy; a server that has to wait for long ends the watch, and all is listed anew."""
GAP_S = 0.05
"""Least seconds between two turns: events of many nodes are taken in together."""


class Leadership(Protocol):
    """Who leads; `Election` is the real one."""

    @property
    def leading(self) -> bool:
        """True while this replica may write."""
        ...

    @property
    def leader(self) -> str:
        """Identity of the leader, as last seen."""
        ...


class Writer(Protocol):
    """Writes statuses; `StatusWriter` is the real one."""

    def write(self, name: str, resource_version: str, status: Any) -> Written:
        """Put the status of a policy. Raises ApiError."""
        ...


class EventRecorder(Protocol):
    """Tells people; `PolicyEvents` is the real one."""

    def tell(self, policy: str, uid: str, condition: Any) -> None:
        """A condition of the policy has turned. Raises nothing."""
        ...


class Aggregator:
    """Sums and writes, in one thread. `on_event` may be called from any."""

    def __init__(
        self,
        leadership: Leadership,
        writer: Writer,
        teller: EventRecorder,
        clock: Clock,
        publish: Callable[[AggregatorStatus], None],
        troubles: Callable[[], Iterable[str]],
    ) -> None:
        """`troubles` tells what keeps events from coming, or this replica from leading, one line each."""
        self._leadership = leadership
        self._writer = writer
        self._teller = teller
        self._clock = clock
        self._publish = publish
        self._troubles = troubles
        self._events: Queue[WatchEvent] = Queue(MOST_EVENTS)
        self._cluster_cache = ClusterCache()
        self._status_queue = StatusQueue(self._cluster_cache)
        self._led = False
        self._hold_until = float("-inf")
        self._writes = 0
        self._failures: dict[PolicyIdentity, str] = {}
        self._failed_writes = 0

    def on_event(self, event: WatchEvent) -> None:
        """Take note of an event for the next turn. Waits while there are too many, which slows the server down."""
        while not self._clock.stopped:
            try:
                self._events.put(event, timeout=GAP_S)
            except Full:
                continue
            return

    def run(self) -> None:
        """Turn until the clock is stopped."""
        while not self._clock.stopped:
            self._clock.wait(GAP_S, self.turn())

    def turn(self) -> float:
        """Take in what was heard and write what is due. Returns the seconds until the next turn at the latest."""
        self._listen()
        self._cluster_cache.expire(self._clock.monotonic())
        changed = self._cluster_cache.take_changed()
        leads = self._cluster_cache.complete and self._leadership.leading
        if leads:
            names = changed if self._led else self._cluster_cache.rollup.policies()
            self._status_queue.touch(names, self._clock.monotonic())
            self._write()
        self._led = leads
        self._report()
        due = max(self._status_queue.next_due, self._hold_until) if leads else float("inf")
        return min(max(due - self._clock.monotonic(), 0.0), HEARTBEAT_S)

    def _listen(self) -> None:
        """Take in what there is, but no more than a full queue: while more keeps coming, statuses are written, too."""
        for _ in range(MOST_EVENTS):
            try:
                event = self._events.get_nowait()
            except Empty:
                return
            self._cluster_cache.apply(event, self._clock.monotonic())

    def _write(self) -> None:
        """Write what is due, while this replica leads and the API server answers; for the length of a heartbeat."""
        end = self._clock.monotonic() + HEARTBEAT_S
        while self._leadership.leading and self._hold_until <= self._clock.monotonic() < end:
            patch = self._status_queue.next(self._clock.monotonic(), self._stamp())
            if patch is None:
                return
            self._put(patch)

    def _put(self, patch: StatusPatch) -> None:
        """Write one status, and tell what has turned in it."""
        try:
            written = self._writer.write(patch.policy, patch.version, patch.status)
        except ApiError as error:
            self._not_written(patch, error)
            return
        self._status_queue.written(patch, written.resource_version, written.status, self._clock.monotonic())
        self._writes += 1
        for condition in patch.turned:
            self._teller.tell(patch.policy, patch.uid, condition)
        if self._failures.pop(patch.identity, None):
            _log.info("MemoryPolicy %s: its status can be written again", patch.policy)

    def _not_written(self, patch: StatusPatch, error: ApiError) -> None:
        now = self._clock.monotonic()
        if error.conflict or error.not_found:
            _log.debug("MemoryPolicy %s: changed before its status was written: %s", patch.policy, error)
            self._status_queue.overtaken(patch, now)
            return
        self._status_queue.failed(patch, now)
        self._failed_writes += 1
        if error.unreachable:  # the feeds and the election say so; no other status need be tried now
            self._hold_until = now + HEARTBEAT_S
            return
        problem = f"MemoryPolicy {patch.policy}: its status cannot be written: {error}"
        if patch.identity not in self._failures:
            _log.warning("%s; tried again until it works", problem, extra={"fields": {"event": "failed write"}})
        self._failures[patch.identity] = problem

    def _report(self) -> None:
        figures, rollouts = self._cluster_cache.rollup.figures(), self._cluster_cache.rollouts()
        there = self._cluster_cache.identities()
        self._failures = {policy: problem for policy, problem in self._failures.items() if policy in there}
        self._publish(
            AggregatorStatus(
                at=self._clock.monotonic(),
                complete=self._cluster_cache.complete,
                leading=self._leadership.leading,
                leader=self._leadership.leader,
                problems=(*self._troubles(), *self._failures.values()),
                policies={name: _row(each, rollouts.get(name)) for name, each in figures.items()},
                writes=self._writes,
                failed_writes=self._failed_writes,
            )
        )

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(figures: PolicyCounts, rollout_nodes: int | None) -> dict[str, int | None]:
    """Figures as they are shown: sizes in bytes."""
    row = figures._asdict()
    return row | {"shortfall": row.pop("shortfall_mebibytes") * MEBIBYTE, "rollout_nodes": rollout_nodes}

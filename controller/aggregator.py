"""The aggregator's loop: news of the cluster in, `MemoryPolicy.status` out, from the one replica that leads.

Every replica hears everything and keeps the sums, so that whoever takes over knows at once which nodes are silent. Only
the leader writes.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from queue import Empty, Full, Queue
from typing import Any, Protocol

from controller.aggregation.desk import Desk, Draft
from controller.aggregation.figures import Figures
from controller.aggregation.identity import Identity
from controller.aggregation.news import News
from controller.aggregation.picture import Picture
from controller.api.policy import MEBIBYTE
from controller.cluster.errors import ApiError
from controller.cluster.statuswriter import Written
from controller.loop.clock import Clock
from controller.observe.totals import Totals

_log = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
"""Most seconds between two turns: silent nodes, the probes and a lead that ended are noticed no later."""
NEWS = 2048
"""Pieces of news that may wait: pages of a list, of 250 objects, or single changes. More would only take memory while
the loop is busy; a server that has to wait for long ends the watch, and all is listed anew."""
GAP_S = 0.05
"""Least seconds between two turns: news of many nodes is taken in together."""


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


class Teller(Protocol):
    """Tells people; `PolicyEvents` is the real one."""

    def tell(self, policy: str, uid: str, condition: Any) -> None:
        """A condition of the policy has turned. Raises nothing."""
        ...


class Aggregator:
    """Sums and writes, in one thread. `hear` may be called from any."""

    def __init__(
        self,
        leadership: Leadership,
        writer: Writer,
        teller: Teller,
        clock: Clock,
        publish: Callable[[Totals], None],
        troubles: Callable[[], Iterable[str]],
    ) -> None:
        """`troubles` tells what keeps news from coming, or this replica from leading, one line each."""
        self._leadership = leadership
        self._writer = writer
        self._teller = teller
        self._clock = clock
        self._publish = publish
        self._troubles = troubles
        self._news: Queue[News] = Queue(NEWS)
        self._picture = Picture()
        self._desk = Desk(self._picture)
        self._led = False
        self._hold_until = float("-inf")
        self._writes = 0
        self._failures: dict[Identity, str] = {}
        self._failed_writes = 0

    def hear(self, news: News) -> None:
        """Take note of news for the next turn. Waits while there is too much of it, which slows the server down."""
        while not self._clock.stopped:
            try:
                self._news.put(news, timeout=GAP_S)
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
        self._picture.expire(self._clock.monotonic())
        changed = self._picture.take_changed()
        leads = self._picture.complete and self._leadership.leading
        if leads:
            names = changed if self._led else self._picture.ledger.policies()
            self._desk.touch(names, self._clock.monotonic())
            self._write()
        self._led = leads
        self._report()
        due = max(self._desk.next_due, self._hold_until) if leads else float("inf")
        return min(max(due - self._clock.monotonic(), 0.0), HEARTBEAT_S)

    def _listen(self) -> None:
        """Take in what there is, but no more than a full queue: while more keeps coming, statuses are written, too."""
        for _ in range(NEWS):
            try:
                news = self._news.get_nowait()
            except Empty:
                return
            self._picture.hear(news, self._clock.monotonic())

    def _write(self) -> None:
        """Write what is due, while this replica leads and the API server answers; for the length of a heartbeat."""
        end = self._clock.monotonic() + HEARTBEAT_S
        while self._leadership.leading and self._hold_until <= self._clock.monotonic() < end:
            draft = self._desk.next(self._clock.monotonic(), self._stamp())
            if draft is None:
                return
            self._put(draft)

    def _put(self, draft: Draft) -> None:
        """Write one status, and tell what has turned in it."""
        try:
            written = self._writer.write(draft.policy, draft.version, draft.status)
        except ApiError as error:
            self._not_written(draft, error)
            return
        self._desk.written(draft, written.resource_version, written.status, self._clock.monotonic())
        self._writes += 1
        for condition in draft.turned:
            self._teller.tell(draft.policy, draft.uid, condition)
        if self._failures.pop(draft.identity, None):
            _log.info("MemoryPolicy %s: its status can be written again", draft.policy)

    def _not_written(self, draft: Draft, error: ApiError) -> None:
        now = self._clock.monotonic()
        if error.conflict or error.not_found:
            _log.debug("MemoryPolicy %s: changed before its status was written: %s", draft.policy, error)
            self._desk.overtaken(draft, now)
            return
        self._desk.failed(draft, now)
        self._failed_writes += 1
        if error.unreachable:  # the feeds and the election say so; no other status need be tried now
            self._hold_until = now + HEARTBEAT_S
            return
        problem = f"MemoryPolicy {draft.policy}: its status cannot be written: {error}"
        if draft.identity not in self._failures:
            _log.warning("%s; tried again until it works", problem, extra={"fields": {"event": "failed write"}})
        self._failures[draft.identity] = problem

    def _report(self) -> None:
        figures = self._picture.ledger.figures()
        there = self._picture.identities()
        self._failures = {policy: problem for policy, problem in self._failures.items() if policy in there}
        self._publish(
            Totals(
                at=self._clock.monotonic(),
                complete=self._picture.complete,
                leading=self._leadership.leading,
                leader=self._leadership.leader,
                problems=(*self._troubles(), *self._failures.values()),
                policies={name: _row(each) for name, each in figures.items()},
                writes=self._writes,
                failed_writes=self._failed_writes,
            )
        )

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(figures: Figures) -> dict[str, int]:
    """Figures as they are shown: sizes in bytes."""
    row = figures._asdict()
    return row | {"shortfall": row.pop("shortfall_mebibytes") * MEBIBYTE}

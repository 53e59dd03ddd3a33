"""Who of several replicas leads: client-go's algorithm over one Lease.

A replica that sees the Lease unchanged for its whole duration, by its own clock, may take it. The leader stops
leading RENEW_DEADLINE_S after it sent its last good renewal, before anyone else can have waited that long. Times
written by other machines are never compared with ours. The `kubernetes` package has an election too; it keeps time by
the wall clock, waits for requests without a limit and ends on an API server that is away, so it is not used here.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

_log = logging.getLogger(__name__)

LEASE_DURATION_S = 15
"""Seconds others wait for a sign of life; client-go's usual value, as are the next two."""
RENEW_DEADLINE_S = 10.0
"""Seconds since the last good renewal after which the leader stands back by itself."""
RETRY_S = 2.0
"""Seconds between two tries to get or to keep the Lease."""
JITTER = 1.2
"""Tries to get the Lease are up to so many times RETRY_S further apart, so that replicas do not try in step."""


class LeaseError(Exception):
    """The Lease could not be read or written: the API server is away, refuses, or somebody else was first."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What the Lease says."""

    holder: str
    """Identity of the leader; empty when nobody leads."""
    duration_s: int
    acquired_at: str
    """RFC 3339 with microseconds, for people."""
    renewed_at: str
    """As above; a change of it is a sign of life."""
    transitions: int


@dataclass(frozen=True, slots=True)
class VersionedLease:
    """A record and the version of the object it was read from."""

    record: LeaseRecord
    version: str


class LeaseStore(Protocol):
    """Where the Lease lies. Everything raises LeaseError."""

    def read(self) -> VersionedLease | None:
        """The Lease; None when there is none."""
        ...

    def create(self, record: LeaseRecord) -> VersionedLease:
        """Make the Lease."""
        ...

    def replace(self, record: LeaseRecord, version: str) -> VersionedLease:
        """Write the Lease unless it changed since `version`."""
        ...


class Election:
    """One replica's part. `leading` may be asked from any thread; the rest belongs to one."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """`identity` must differ between replicas. `monotonic` and `wall` are seconds; only `monotonic` decides."""
        self._store = store
        self._identity = identity
        self._monotonic = monotonic
        self._wall = wall
        self._held: VersionedLease | None = None
        self._seen_at = 0.0
        self._leads_until = float("-inf")
        self._problem = ""

    @property
    def leading(self) -> bool:
        """True while this replica may write. It ends by the clock alone: no thread has to run for that."""
        return self._monotonic() < self._leads_until

    @property
    def leader(self) -> str:
        """Identity of the leader, as last seen; empty when nobody leads."""
        return self._held.record.holder if self._held else ""

    @property
    def problem(self) -> str:
        """Why the last turn failed; empty when it did not."""
        return self._problem

    def turn(self) -> float:
        """Try to get or to keep the Lease. Returns the seconds until the next turn; raises nothing of the store's."""
        was_leading, began = self.leading, self._monotonic()
        try:
            if self._try():
                self._leads_until = began + RENEW_DEADLINE_S
            else:
                self._leads_until = float("-inf")
            self._say("")
        except LeaseError as error:
            self._say(str(error))
        if self.leading is not was_leading:
            _log.info(
                "%s",
                f"{self._identity} leads" if self.leading else f"{self._identity} leads no more",
                extra={"fields": {"event": "election", "leader": self.leader}},
            )
        return RETRY_S if self.leading else RETRY_S * random.uniform(1.0, JITTER)  # noqa: S311 - no secret

    def release(self) -> None:
        """Stand back at once, and let others know, so that they need not wait."""
        was_leading, self._leads_until = self.leading, float("-inf")
        if not (was_leading and self._held):
            return
        record = replace(self._held.record, holder="", duration_s=1, renewed_at=self._now())
        try:
            self._store.replace(record, self._held.version)
        except LeaseError as error:
            _log.info("the Lease was not given back, others wait until it runs out: %s", error)

    def _try(self) -> bool:
        """True when this replica holds the Lease now. Raises LeaseError."""
        if self.leading and self._held is not None:
            try:
                self._see(self._store.replace(self._mine(self._held.record), self._held.version))
            except LeaseError as error:
                _log.debug("the Lease is read anew: %s", error)
            else:
                return True
        held = self._store.read()
        if held is None:
            self._see(self._store.create(self._mine(None)))
            return True
        self._see(held)
        if not self._may_take(held.record):
            return False
        self._see(self._store.replace(self._mine(held.record), held.version))
        return True

    def _may_take(self, record: LeaseRecord) -> bool:
        if record.holder in {"", self._identity}:
            return True
        return self._monotonic() - self._seen_at >= (record.duration_s or LEASE_DURATION_S)

    def _see(self, held: VersionedLease) -> None:
        """Remember the Lease, and when it changed last as far as this replica saw."""
        if self._held is None or self._held.record != held.record:
            self._seen_at = self._monotonic()
        self._held = held

    def _mine(self, before: LeaseRecord | None) -> LeaseRecord:
        now = self._now()
        if before is None:
            return LeaseRecord(self._identity, LEASE_DURATION_S, now, now, 0)
        if before.holder == self._identity:
            return replace(before, duration_s=LEASE_DURATION_S, renewed_at=now)
        return LeaseRecord(self._identity, LEASE_DURATION_S, now, now, before.transitions + 1)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _say(self, problem: str) -> None:
        """A failure is said once, and so is its end."""
        if problem and not self._problem:
            _log.warning("election: %s", problem, extra={"fields": {"event": "election"}})
        elif self._problem and not problem:
            _log.info("election: the Lease can be read and written again", extra={"fields": {"event": "election"}})
        self._problem = problem

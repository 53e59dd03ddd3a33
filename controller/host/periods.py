"""The guest statistics period: set where it is off, put back on release.

What Ballast has set bears its mark (`marks`).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import libvirt

from controller.engine.reasons import Reason
from controller.host.calls import FAILURES, Calls, NotStartedError
from controller.host.domain_xml import describe
from controller.host.domaincache import CachedDomain
from controller.host.errorhints import said
from controller.host.marks import mark, marked

LOG = logging.getLogger(__name__)

SET_S = 2.0
"""A period is set in milliseconds; a QEMU that takes longer hangs."""

WORK_S = 2.0
"""How long periods may keep the supervisor from its other work."""

RETRY_S = 60.0
"""Rest after a failure: it is not urgent, and a domain in a long job refuses for as long as the job lasts."""

FOR_OTHERS = 2
"""Calls that may hang beside those that set periods: looks and orders matter more."""

CLOSING_S = 10.0
"""In which all are put back in the end: 3,000 of a libvirt that takes 5.5 ms for each of three calls, five at once."""

CLOSING_SET_S = 1.0
"""A domain that takes longer then is left behind."""

CLOSING_AT_ONCE = 8
"""Domains at a time in the end. libvirtd serves five calls of a client at a time, and reads on as they end."""

CLOSING_LIMIT = 64
"""Calls that may hang in the end. They keep nobody from anything any more: the connection ends with the process."""

OFF = 0
"""What every period was that Ballast set: it sets only those that were off."""


class Periods:
    """Wanted periods of a connection. `want` and `release` never block; `work` does what they ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[str, int] = {}
        self._fresh: dict[str, int] = {}
        """Set since the domains were read last."""
        self._retry: dict[str, float] = {}

    def want(self, key: str, entry: CachedDomain, seconds: int) -> bool:
        """Ask for a period where it is off, or is one of ours; True when there is something to do."""
        if entry.facts.obstacle != Reason.NONE:
            return False
        present = self._fresh.get(key, entry.period)
        with self._lock:
            asked = self._wanted.get(key)
            if present == seconds and asked == OFF:
                del self._wanted[key]  # it was not put back yet, and is to stay
        if present == seconds or self._retry.get(key, 0.0) > self._clock():
            return False
        if present != OFF and not self._ours(key, entry):
            return False
        with self._lock:
            self._wanted[key] = seconds
        return asked != seconds

    def release(self, entries: Mapping[str, CachedDomain], keys: Collection[str]) -> bool:
        """Ask to put back what was there before; True when there is something to do."""
        with self._lock:
            for key in keys:
                if key in self._wanted or key in self._fresh or (key in entries and _may_be_ours(entries[key])):
                    self._wanted[key] = OFF  # also where it is being set just now
            return bool(self._wanted)

    def pending(self) -> bool:
        """True while there is something to do that has not failed just now."""
        with self._lock:
            return any(self._retry.get(key, 0.0) <= self._clock() for key in self._wanted)

    def work(
        self, entries: Mapping[str, CachedDomain], calls: Calls, interrupted: Callable[[], bool] = lambda: False
    ) -> set[str]:
        """Do what was asked, for WORK_S or until `interrupted`; the keys whose XML changed by it.

        `entries` must have been read after the last call's changes.
        """
        self._fresh = {}
        self._retry = {key: at for key, at in self._retry.items() if at > self._clock()}
        deadline = time.monotonic() + WORK_S
        changed = set()
        for key, seconds in self._due(entries, set(self._retry)):
            if time.monotonic() >= deadline or interrupted():
                break
            if self._set(calls, key, entries[key], seconds, SET_S, FOR_OTHERS):
                changed.add(key)
        return changed

    def put_back(self, entries: Mapping[str, CachedDomain], calls: Calls, hang: Collection[str]) -> None:
        """Do what was asked, in the end: many at a time, those last that `hang`."""
        due = deque(sorted(self._due(entries, ()), key=lambda each: each[0] in hang))
        deadline = time.monotonic() + CLOSING_S

        def some() -> None:
            with suppress(IndexError):
                while time.monotonic() < deadline:
                    key, seconds = due.popleft()
                    self._set(calls, key, entries[key], seconds, CLOSING_SET_S, 0)

        helpers = [
            threading.Thread(target=some, name="ballast-periods", daemon=True)
            for _ in range(1, min(CLOSING_AT_ONCE, len(due)))
        ]
        with suppress(RuntimeError):  # out of threads: fewer will do
            for helper in helpers:
                helper.start()
        some()
        for helper in helpers:
            if helper.ident is not None:
                helper.join(max(deadline - time.monotonic(), 0.0) + CLOSING_SET_S)

    def _due(self, entries: Mapping[str, CachedDomain], resting: Collection[str]) -> list[tuple[str, int]]:
        """What was asked, of domains that are there; what was asked of others is forgotten."""
        with self._lock:
            self._wanted = {key: seconds for key, seconds in self._wanted.items() if key in entries}
            return [(key, seconds) for key, seconds in self._wanted.items() if key not in resting]

    def _ours(self, key: str, entry: CachedDomain) -> bool:
        return key in self._fresh or OFF != entry.period == entry.marked

    def _set(self, calls: Calls, key: str, entry: CachedDomain, seconds: int, patience: float, spare: int) -> bool:
        """Set one, at most `patience` seconds, while `spare` others may hang too; True where its XML changed."""

        def work() -> bool:
            return _change(entry, seconds)

        try:
            if calls.hangs(key):
                raise NotStartedError("it is still busy with an earlier call")
            calls.require(1 + spare)
            changed = calls.run(work, (key,), patience)
        except (*FAILURES, NotStartedError) as error:
            self._retry[key] = self._clock() + RETRY_S
            why = f"no answer within {patience:g} s" if isinstance(error, TimeoutError) else said(error)
            LOG.warning("domain %s: its statistics period was not set: %s", entry.facts.name, why)
            if seconds != OFF:
                self._done(key, seconds)  # it is asked for at each look
            return False
        self._retry.pop(key, None)
        if changed and seconds != OFF:
            self._fresh[key] = seconds
        self._done(key, seconds)
        return changed

    def _done(self, key: str, seconds: int) -> None:
        with self._lock:
            if self._wanted.get(key) == seconds:
                del self._wanted[key]


def _may_be_ours(entry: CachedDomain) -> bool:
    """It bears the mark, and the period is that or not seen to be set yet."""
    return entry.marked != OFF and entry.period in {OFF, entry.marked}


def _change(entry: CachedDomain, seconds: int) -> bool:
    """The libvirt calls that set a period; runs in a thread that may hang. True where the XML is no longer `entry`'s.

    The XML is read once more: what somebody else has set meanwhile is theirs.
    """
    xml, facts = entry.domain.XMLDesc(), entry.facts
    described = describe(xml, facts.key, facts.uuid, facts.name, facts.incarnation)
    if described.error:
        return False
    present, ours = int(described.facts.statistics_period), marked(xml)
    if present in {OFF, ours} and (present, ours) != (seconds, seconds):
        _put(entry.domain, present, seconds)
        return True
    return (present, ours) != (entry.period, entry.marked)


def _put(domain: Any, present: int, seconds: int) -> None:
    """The mark is there while the period is: whatever fails, it is known whose the period is."""
    if seconds != OFF:
        mark(domain, seconds)
    if present != seconds:
        domain.setMemoryStatsPeriod(seconds, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if seconds == OFF:
        mark(domain, OFF)

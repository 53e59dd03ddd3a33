"""The guest statistics period: set where it is missing, put back on release."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping

import libvirt

from controller.engine.reasons import Reason
from controller.host.calls import Calls, TooManyHangError
from controller.host.roster import Entry

LOG = logging.getLogger(__name__)

SET_SECONDS = 2.0
"""A period is set in milliseconds; a QEMU that takes longer hangs."""

RETRY_SECONDS = 60.0
"""Rest after a failure: it is not urgent, and a domain in a long job refuses for as long as the job lasts."""

OFF = 0
"""What every period was that Ballast set: it sets only those that were off."""


class Periods:
    """Wanted and set periods of a connection. `want` and `release` never block; `work` does what they ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[str, int] = {}
        self._ours: dict[str, tuple[int, int]] = {}
        """Incarnation and seconds of the periods Ballast set."""
        self._retry: dict[str, float] = {}

    def want(self, key: str, entry: Entry, seconds: int) -> bool:
        """Ask for a period where it is off, or is one of ours; True when there is something to do."""
        if entry.facts.obstacle != Reason.NONE or self._retry.get(key, 0.0) > self._clock():
            return False
        present = self._set_by_us(key, entry) or entry.period
        if present == seconds or (present != OFF and not self._set_by_us(key, entry)):
            return False
        with self._lock:
            asked = self._wanted.get(key)
            self._wanted[key] = seconds
        return asked != seconds

    def release(self, entries: Mapping[str, Entry], keys: Collection[str]) -> bool:
        """Ask to put back what was there before; True when there is something to do."""
        with self._lock:
            for key in keys:
                if key in self._wanted or (key in entries and self._set_by_us(key, entries[key])):
                    self._wanted[key] = OFF  # also where it is being set just now
            return bool(self._wanted)

    def pending(self) -> bool:
        """True while something that was asked for has not been tried."""
        return bool(self._wanted)

    def work(self, entries: Mapping[str, Entry], calls: Calls) -> set[str]:
        """Do what was asked, at most SET_SECONDS a domain; the keys whose XML changed by it.

        `entries` must have been read after the last call's changes: a period that is another one by now was set
        by somebody else, and is theirs.
        """
        self._ours = {key: ours for key, ours in self._ours.items() if key in entries and _now(entries[key]) == ours}
        self._retry = {key: at for key, at in self._retry.items() if at > self._clock()}
        with self._lock:
            wanted = dict(self._wanted)
        changed = {
            key for key, seconds in wanted.items() if key in entries and self._set(calls, key, entries[key], seconds)
        }
        with self._lock:
            self._wanted = {key: new for key, new in self._wanted.items() if wanted.get(key) != new}
        return changed

    def _set_by_us(self, key: str, entry: Entry) -> int:
        """Seconds that Ballast set; 0 where it set none."""
        incarnation, seconds = self._ours.get(key, (None, OFF))
        return seconds if incarnation == entry.facts.incarnation else OFF

    def _set(self, calls: Calls, key: str, entry: Entry, seconds: int) -> bool:
        if entry.period == seconds:
            return False

        def work() -> None:
            entry.domain.setMemoryStatsPeriod(seconds, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        try:
            calls.run(work, (key,), SET_SECONDS)
        except (libvirt.libvirtError, TimeoutError, TooManyHangError) as error:
            self._retry[key] = self._clock() + RETRY_SECONDS
            LOG.warning("domain %s: its statistics period was not set: %s", entry.facts.name, error)
            return False
        self._ours[key] = (entry.facts.incarnation, seconds)
        self._retry.pop(key, None)
        if seconds == OFF:
            del self._ours[key]
        return True


def _now(entry: Entry) -> tuple[int, int]:
    return entry.facts.incarnation, entry.period

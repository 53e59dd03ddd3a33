"""What the host feels of its guests between looks: that one takes memory into use, as QEMU's resident size shows it, or
that its QEMU stalls for memory.

A thread reads all domains a few times a second. It notes both and wakes the loop; it never asks anybody for anything,
so it goes on while libvirt or a QEMU hangs. What grows need not be the guest's demand: QEMU's own memory, files that a
guest reads for the first time, and pages that the host had swapped out grow alike. So a feeling is a reason to look.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.engine.inventory import DomainFacts
from controller.host.processes import PID_FILES
from controller.host.processfiles import OTHER_DESCRIPTORS, ProcessFiles, allow_descriptors
from controller.host.resident import Resident
from controller.host.stalls import Stalls

LOG = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PASS_S = 0.15
"""Rest between two passes over all domains: what a guest takes shows in QEMU's resident size after 0.05 to 0.15 s."""

LOAD = 0.02
"""Part of a processor that passes may take: where there are many domains the rest is longer, 0.25 s for a thousand."""

LEAST = 8 * 2**20
"""Bytes of growth that wake the loop, at least: QEMU's own memory comes and goes by a few MiB."""

LEAST_PART = 1 / 64
"""Of what is resident, likewise: half of the least reserve that a guest's kernel needs (`Tuning.low`)."""

WINDOW_S = 1.0
"""Over which growth is told: guests send statistics once a second, and what is older they have told themselves."""

BURST = 8.0
REFILL = 0.2
"""Wakes of one domain in a row, and a second from then on: what grows for its own sake costs a look in 5 s, no more."""

HANGS_S = 10.0
"""Without a pass that long nothing is felt any more: a process that is searched for can keep who reads its command line
waiting. Ten thousand domains take 2 s from pass to pass."""

RESIDENT, SWAP, PRESSURE = "resident", "swap", "pressure"
"""Names of the senses."""

CONNECTION_DESCRIPTORS = 2
"""Of a connection to libvirt, which each domain in a pod has for itself: its socket, and what wakes who waits there."""

CLOSE_S = 1.0
"""The thread only reads /proc, so it ends at once; longer means a bug, and it is a daemon."""


@dataclass(frozen=True, slots=True)
class Feelings:
    """What was felt last of n domains. Arrays of (n,)."""

    keys: tuple[str, ...] = ()
    resident: Floats = field(default_factory=lambda: np.empty(0))
    """Bytes of the guest's memory, and QEMU's own, that are in the host's memory; NaN where that cannot be read."""
    grew: Floats = field(default_factory=lambda: np.empty(0))
    """Bytes by which that has grown since `since`; 0 where it has not."""
    since: Floats = field(default_factory=lambda: np.empty(0))
    """Monotonic seconds, WINDOW_S ago at most, or the pass before."""
    woke: frozenset[str] = frozenset()
    """Domains that grew so much since they were told of last that they should be looked at now."""
    stalled: frozenset[str] = frozenset()
    """Domains whose QEMU stalled for memory since then, and that should be, too."""
    pause: float = 0.0
    """Seconds from pass to pass: so late growth is felt, at most."""


@dataclass(frozen=True, slots=True)
class Sense:
    """How one sense is, for people."""

    name: str
    source: str
    """What it is taken from."""
    domains: int
    """That it tells of."""
    trouble: str = ""
    """Why it tells of no others, and the remedy; empty when all is well."""
    cpu_percent: float = 0.0
    """Of a processor, that it took in the last pass; 0 where it comes with looks."""


@dataclass(frozen=True, slots=True)
class _SenseReport:
    """How one sense was at the last pass."""

    domains: int = 0
    """That it tells of."""
    troubles: tuple[tuple[str, str], ...] = ()
    """Of the others, name and why not."""
    cpu_s: float = 0.0
    """What reading it took of a processor."""


def swap_sense(swap_in: Floats, swap_out: Floats) -> Sense:
    """Of how many guests it is known what they swap: statistics count it, both ways. (n,) bytes, NaN: not told."""
    told = np.isfinite(swap_in) & np.isfinite(swap_out)
    missing = int(np.count_nonzero(~told))
    trouble = f"{missing} of {len(told)} guests do not count what they swap, or have not told yet" if missing else ""
    return Sense(SWAP, "swap_in and swap_out of guests' statistics", len(told) - missing, trouble)


class GrowthDetector:
    """Growth of n domains, worked out from pass to pass. `host` makes passes of what it reads, `replay` of what it
    makes up.
    """

    def __init__(self, keys: tuple[str, ...] = (), lives: tuple[int, ...] = ()) -> None:
        """Nothing is known of the domains `keys` yet."""
        n = len(keys)
        self.keys = keys
        self._lives = lives
        """Changes when a domain is started anew."""
        self.resident = np.full(n, np.nan)
        self._base = np.full(n, np.nan)
        """From which growth is counted that is to wake the loop; follows what is given back."""
        self._wakes = np.full(n, BURST)
        self._alert_at = np.full(n, -np.inf)
        """Resident bytes from which on growth wakes the loop."""
        self._at_rest = False
        """Nothing has changed for `WINDOW_S`, and nobody has to wait for wakes."""
        self.at = -np.inf
        """Monotonic seconds of the last pass."""
        self.pause = 0.0
        """Seconds from the one before to that."""
        self._passes: list[tuple[float, Floats]] = []
        """The last ones, `WINDOW_S` long; two at least."""

    def among(self, facts: Sequence[DomainFacts]) -> "GrowthDetector":
        """The same for the domains that there are now."""
        made = GrowthDetector(tuple(each.key for each in facts), tuple(each.incarnation for each in facts))
        row = {known: place for place, known in enumerate(zip(self.keys, self._lives, strict=True))}
        before = np.array([row.get(each, -1) for each in zip(made.keys, made._lives, strict=True)], dtype=np.int64)
        kept = np.flatnonzero(before >= 0)
        made.at = self.at
        made._passes = [(time, np.full(len(facts), np.nan)) for time, _ in self._passes]
        columns = [(self.resident, made.resident), (self._base, made._base), (self._wakes, made._wakes)]
        columns.append((self._alert_at, made._alert_at))
        columns += [(old, new) for (_, old), (_, new) in zip(self._passes, made._passes, strict=True)]
        for old, new in columns:
            new[kept] = old[before[kept]]
        return made

    def alert_at(self, keys: tuple[str, ...], resident: Floats) -> None:
        """From now on growth wakes the loop only where `resident`, (n,) bytes of `keys`, or more is resident."""
        if keys == self.keys:
            self._alert_at = resident

    def take(self, resident: Floats, now: float) -> Bools:
        """One pass. (n,) True for those that grew so much that they are to wake the loop.

        `resident` may be the same object as before while nothing has changed, which then costs next to nothing.
        """
        self.pause = now - self.at if np.isfinite(self.at) else 0.0
        if self._at_rest and resident is self.resident:
            self.at, self._passes = now, [(now, resident)]
            return np.zeros(len(self.keys), dtype=np.bool_)
        self._wakes = np.minimum(self._wakes + REFILL * (now - self.at), BURST)
        self.at, self.resident = now, resident
        lately = [each for each in self._passes if each[0] >= now - WINDOW_S]
        self._passes = [*(lately or self._passes[-1:]), (now, resident)]
        self._at_rest = bool((self._wakes >= BURST).all()) and all(each is resident for _, each in self._passes)
        self._base = np.fmin(self._base, resident)
        enough = np.maximum(LEAST, LEAST_PART * resident)
        woke = self.allow((resident - self._base >= enough) & (resident >= self._alert_at))
        self._base = np.where(woke, resident, self._base)
        return woke

    def allow(self, wakes: Bools) -> Bools:
        """(n,) which of those that are to wake the loop may: each has so many wakes in a row, whatever the sense."""
        if not np.count_nonzero(wakes):
            return wakes
        self._at_rest = False
        allowed = wakes & (self._wakes >= 1.0)
        self._wakes = self._wakes - allowed
        return np.asarray(allowed)

    def recent(self) -> tuple[Floats, Floats]:
        """(n,) bytes grown in the window, and since when, monotonic seconds: from where it was least, the last time."""
        times = np.array([time for time, _ in reversed(self._passes)])
        values = np.array([resident for _, resident in reversed(self._passes)])
        known = np.where(np.isfinite(values), values, np.inf)
        least = np.argmin(known, axis=0)
        grew = self.resident - known[least, np.arange(len(self.keys))]
        return np.where(np.isfinite(grew), grew, 0.0), times[least]


class Senses:
    """Feels from `start` to `close`; calls `wake` from a thread of its own when a domain grows, or stalls."""

    def __init__(
        self,
        proc: Path,
        sys: Path,
        inventory: Callable[[], Sequence[DomainFacts]],
        wake: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        pid_files: Path = PID_FILES,
    ) -> None:
        """`inventory` is asked at every pass, from that thread; it gives the same object while nothing changed."""
        self._inventory = inventory
        self._wake = wake
        self._clock = clock
        self._resident = Resident(proc, pid_files, clock)
        self._stalls = Stalls(proc, sys, pid_files, clock)
        self._lock = threading.Lock()
        self._facts: Sequence[DomainFacts] | None = None
        self._growth = GrowthDetector()
        self._woke: set[str] = set()
        self._stalled: set[str] = set()
        self._sources = {RESIDENT: f"{proc}/PID/statm", PRESSURE: "PSI triggers on domains' cgroups"}
        self._told = dict.fromkeys(self._sources, _SenseReport())
        self._began = -np.inf
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to feel."""
        self._stop.clear()
        self._began = self._clock()
        self._thread = threading.Thread(target=self._run, name="ballast-senses", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Feel nothing any more; safe to call twice."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(CLOSE_S)

    def feel(self) -> Feelings:
        """What is felt now. Who `woke` the loop, or `stalled`, is told once."""
        with self._lock:
            growth, woke, stalled = self._growth, frozenset(self._woke), frozenset(self._stalled)
            self._woke.clear()
            self._stalled.clear()
            if self._hangs() or not (stalled or np.isfinite(growth.resident).any()):
                return Feelings()
            grew, since = growth.recent()
            return Feelings(growth.keys, growth.resident, grew, since, woke, stalled, growth.pause)

    def alert_at(self, keys: tuple[str, ...], resident: Floats) -> None:
        """See `GrowthDetector.alert_at`."""
        with self._lock:
            self._growth.alert_at(keys, resident)

    def status(self) -> tuple[Sense, Sense]:
        """Of whom resident size is known, and whose stalls; and why not of the others."""
        resident, pressure = (self._status(name, source) for name, source in self._sources.items())
        return resident, pressure

    def _status(self, name: str, source: str) -> Sense:
        if self._thread is None or not self._thread.is_alive():
            return Sense(name, source, 0, "the thread that reads it has ended; see the log")
        with self._lock:
            told = self._told[name]
            if self._hangs():
                return Sense(name, source, 0, f"nothing could be read for {HANGS_S:g} s; does a QEMU hang?")
            cost = 100 * told.cpu_s / self._growth.pause if self._growth.pause > 0 else 0.0
        return Sense(name, source, told.domains, _summed(told.troubles), cost)

    def _hangs(self) -> bool:
        return self._clock() - max(self._growth.at, self._began) > HANGS_S

    def turn(self) -> None:
        """One pass over all domains."""
        facts = self._inventory()
        if facts is not self._facts:
            own = sum(each.pod is not None for each in facts)
            allow_descriptors(2 * len(facts) + CONNECTION_DESCRIPTORS * own + OTHER_DESCRIPTORS)
        began = time.thread_time()
        self._resident.watch(facts)
        resident, felt = self._resident.read(), time.thread_time()
        self._stalls.watch(facts)
        stalls, heard = self._stalls.read(), time.thread_time()
        with self._lock:
            if facts is not self._facts:
                self._facts, self._growth = facts, self._growth.among(facts)
                self._woke.intersection_update(self._growth.keys)
                self._stalled.intersection_update(self._growth.keys)
            woke = self._growth.take(resident, self._clock())
            stalled = self._growth.allow(stalls & ~woke)
            self._tell(RESIDENT, self._resident, felt - began)
            self._tell(PRESSURE, self._stalls, heard - felt)
            if not np.count_nonzero(woke | stalled):
                return
            self._woke.update(self._growth.keys[row] for row in np.flatnonzero(woke).tolist())
            self._stalled.update(self._growth.keys[row] for row in np.flatnonzero(stalled).tolist())
        self._wake()

    def _tell(self, sense: str, followed: ProcessFiles, cpu_s: float) -> None:
        """Note of how many domains it tells, and log when others cannot be felt for another reason than before."""
        troubles, before = followed.troubles, self._told[sense]
        self._told[sense] = _SenseReport(len(followed.entries) - len(troubles), troubles, cpu_s)
        if troubles != before.troubles and {why for _, why in troubles} != {why for _, why in before.troubles}:
            LOG.info("sense %s: %s", sense, _summed(troubles) or "it tells of every domain")

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                began = time.thread_time()
                self.turn()
                self._stop.wait(rest(time.thread_time() - began))
        finally:
            self._resident.close()
            self._stalls.close()


def rest(took: float) -> float:
    """Seconds until the next pass, after one that took `took` seconds of a processor."""
    return max(PASS_S, took / LOAD)


def _summed(troubles: Collection[tuple[str, str]]) -> str:
    """One line: every cause with how many it keeps away, and the first of them."""
    causes: dict[str, list[str]] = {}
    for name, trouble in troubles:
        causes.setdefault(trouble, []).append(name)
    lines = [f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {why}" for why, names in causes.items()]
    more = [f"and {len(lines) - 3} other causes"] if len(lines) > 3 else []
    return "; ".join([*lines[:3], *more])

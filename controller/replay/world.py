"""The simulated host: guests with the demand of a trace, balloons that take time, statistics that lag.

- The host gives its guests `total_mib` together. They have touched all they were given, so the sum of allocations is
  what the host uses; nobody else uses any. Domains start with the smaller of their maximum and an equal share.
- A balloon deflates (the guest grows) at 2 GiB/s and inflates (the guest shrinks) at 0.9 GiB/s. A guest never gives up
  what it uses: an inflating balloon stops at demand, and goes on when demand falls. With `autodeflate`, demand above
  the allocation deflates the balloon by itself, up to the maximum, and overrules what the host had asked for.
- What a guest holds of the host is what it has touched of its allocation. Guests that are there when the trace begins
  have touched all of it, later ones what they use. It grows at once when more is used than ever was, and a balloon that
  inflates takes it away, untouched memory first; what guests free again they hold, unless they report free pages. Where
  the trace tells what was held, guests take as much more of the host, or give back, as they did then: files that they
  read, what they gave back by themselves, and QEMU's own memory are among it. Only who asks for it sees it: figures and
  free memory are of allocations, which guests may touch at any time. Who feels it does so 0.15 s later.
- Guests report once a statistics period (1 s, or the trace's step where that is longer), at its end: a new demand shows
  a period after it came. They report no more than the allocation, however much is missing, and signs of pressure
  (major faults, swap-in) while demand is above 97 % of it. A domain whose samples stopped (a gap) sends no report.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from controller.engine.tables import Bools, Floats, Ints
from controller.replay.trace import Trace

DEFLATE_MIB_S = 2048.0
"""MiB a second that a guest grows."""

INFLATE_MIB_S = 0.9 * 1024
"""MiB a second that a guest shrinks: it has to find and give up touched pages."""

SHORTEST_PERIOD_S = 1.0
"""Seconds: libvirt's shortest period of guest statistics."""

PRESSED_ABOVE = 0.97
"""Part of the allocation above which demand makes a guest reclaim in the path of its allocations."""

SWAP_IN_MIB_S = 8.0
"""MiB a second that a guest under pressure swaps in: of no consequence but that the counter rises."""

MAJOR_FAULTS_S = 1000.0
"""Major faults a second of a guest under pressure: likewise."""

FELT_AFTER_S = 0.15
"""Seconds until the host feels what a guest takes into use for the first time: 0.05 to 0.15 s seen on real guests."""

PATIENCE = 1.5
"""Statistics periods after its last sample for which a domain still reports; later the trace has a gap."""

INSTANT_S = 1e-6
"""Seconds: what is closer together happens at the same time."""

DIGITS = 6
"""Decimals of times (s) and allocations (MiB) in the record, so that a file holds exactly what was scored. A domain's
first time is its first sample's to the last digit: rounded up, it would have nothing until then."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What a look at m domains returns. All (m,); MiB and seconds."""

    rows: Ints
    """Row of each domain in the world."""
    allocation: Floats
    """The balloon's size now."""
    maximum: Floats
    used: Floats
    """Of the guest's newest report: the smaller of demand and allocation then."""
    unused: Floats
    """Of the same report: what of the allocation then was not used."""
    updated: Floats
    """When the guest sent it."""
    swap_in: Floats
    """MiB swapped in, a counter."""
    major_faults: Floats
    """A counter."""
    resident: Floats
    """What the guest holds of the host now, by QEMU's resident size: at least what it uses, at most its allocation."""


@dataclass(frozen=True, slots=True)
class HostRecord:
    """What happened, by domain of the trace."""

    times: tuple[Floats, ...]
    """Seconds at which each domain's allocation changed; the first is its first sample's time."""
    allocations: tuple[Floats, ...]
    """MiB from that time on."""
    look_times: Floats
    """(k,) seconds, one for each domain read at each look."""
    look_rows: Ints
    """(k,) the domain read."""


ROUNDING_MIB = 1.0
"""That sums of sizes may be off by."""

RAMP_PART_S = (2.0, 30.0)
"""Seconds of a ramp that are recorded as one step, at most, where that matters: the trace's step, and between these
two. What such a step adds to what is missing grows with the square of its length, up to 1 GiB s for 2 s. With 30 s, a
guest that takes 18 GiB in 9 s as it needs them lacks six times as much in the record as in truth; and one that gives
back 300 GiB would hold all of it for minutes, while others have it."""


class SimulatedHost:
    """Advances from instant to instant; a controller reads and orders in between. Arrays are (n,), rows as in traces.

    A ramp of a balloon from a to b is recorded as one step at half its time: the integral of the allocation is the
    ramp's, and a reallocation is one change. A long one is recorded in parts, each of which is a change, where that
    matters: where its guest needs more meanwhile than the less of both sizes (the integral of what is missing is
    convex: never less in the record), or guests take more meanwhile than was free when it began.
    """

    def __init__(
        self, trace: Trace, total_mib: float, autodeflate: bool = False, free_page_reporting: bool = False
    ) -> None:
        """`total_mib`: MiB the host can give to all domains together, positive."""
        n = len(trace.domains)
        self.domains = trace.domains
        self.total_mib = total_mib
        self.autodeflate = autodeflate
        self.period_s = max(SHORTEST_PERIOD_S, trace.step_s)
        self.now = trace.start
        self.end = trace.end
        self.generation = 0
        """Grows whenever a domain comes, goes, or changes its maximum."""
        self.present = np.zeros(n, dtype=np.bool_)
        self.rows = np.empty(0, dtype=np.int64)
        """Rows of the domains that are present."""
        self.maximum = np.zeros(n)
        self.demand = np.zeros(n)
        """What controllers cannot see."""
        self.allocation = np.zeros(n)
        self._share = total_mib / n
        self._free_page_reporting = free_page_reporting
        self._touched = np.zeros(n)
        self._recorded = np.full(n, np.nan)
        """MiB that were resident when the trace was recorded, as last told; NaN before."""
        self._tells = any(one.resident is not None for one in trace.series)
        self._instants = _Instants(trace, self.period_s)
        self._target = np.zeros(n)
        self._sampled_at = np.full(n, -np.inf)
        self._ramps = _Ramps(n, float(np.clip(self.period_s, *RAMP_PART_S)), total_mib)
        self._reports = _Reports(n)
        self._told = np.zeros(n)
        self._news_at = np.inf
        self._felt_at = np.inf
        self._looks: list[tuple[float, Ints]] = []
        self._pass_instant()
        known = free_page_reporting | np.isfinite(self._recorded)
        self._touched = self._shown = np.where(known, self._touched, self.allocation)

    def next_change(self) -> float:
        """Time at which demand changes or guests report next; infinite after the last."""
        return self._instants.next

    def next_news(self) -> float:
        """Time of what wakes who listens: a balloon comes to rest; a domain comes, goes or changes its maximum.

        In the past when that has happened and `resized` was not asked since; infinite when nothing is to come.
        """
        return min(self._news_at, self._ramps.next_end)

    def next_feeling(self) -> float:
        """Time at which the host feels that some guest holds more than before; infinite when it will not, or has been
        asked with `feel` since.
        """
        return self._felt_at

    def feel(self) -> Floats:
        """(n,) MiB that guests hold of the host: QEMU's resident sizes, which cost no look. Growth shows a bit late."""
        if self.now >= self._felt_at:
            self._felt_at, self._shown = np.inf, self._touched
        self._shown = np.minimum(self._shown, self._touched)
        return self._shown

    def advance(self, time: float) -> None:
        """Let time pass until `time`, which is neither in the past nor beyond the next change."""
        self.now = time
        if self._ramps.moving:
            if self._ramps.next_end <= time:
                self._news_at = min(self._news_at, self._ramps.next_end)
            self.allocation = self._ramps.advance(time, self.allocation)
            self._touch()
        if time >= self._instants.next:
            self._pass_instant()

    def read(self, rows: Ints) -> Readings:
        """Look at the domains in `rows`: the balloon's size now, the guest's statistics as of its newest report."""
        self._looks.append((self.now, rows))
        reports = self._reports
        return Readings(
            rows,
            self.allocation[rows],
            self.maximum[rows],
            reports.used[rows],
            reports.unused[rows],
            reports.updated[rows],
            reports.swap_in[rows],
            reports.major_faults[rows],
            self._touched[rows],
        )

    def order(self, rows: Ints, targets: Floats) -> None:
        """Set balloon targets, MiB; below nothing and above the maximum there is none."""
        self._target[rows] = np.clip(targets, 0.0, self.maximum[rows])
        self._aim()

    def place(self, rows: Ints, sizes: Floats) -> None:
        """Give the domains these sizes at once, whatever balloons can do: for bounds and for hosts without balloons."""
        self._target[rows] = self.allocation[rows] = self._told[rows] = sizes
        for row, size in zip(rows.tolist(), sizes.tolist(), strict=True):
            self._ramps.place(row, size, self.now)
        self._touch()

    def free_mib(self) -> float:
        """The host's free memory: what is not allocated, never negative."""
        return max(self.total_mib - float(self.allocation.sum()), 0.0)

    def resized(self) -> Ints:
        """Rows whose balloon's size changed since they were last asked for: libvirt's balloon events."""
        self._news_at = np.inf
        rows: Ints = np.flatnonzero(self.allocation != self._told)
        self._told[rows] = self.allocation[rows]
        return rows[self.present[rows]]

    def finish(self) -> HostRecord:
        """End of the trace: what happened."""
        self._ramps.stop(np.flatnonzero(self.present), self.now, self.allocation)
        rows = [rows for _, rows in self._looks]
        counts = np.array([len(each) for each in rows], dtype=np.int64)
        return HostRecord(
            *self._ramps.record(),
            np.repeat(np.array([time for time, _ in self._looks]), counts),
            np.concatenate([np.empty(0, dtype=np.int64), *rows]),
        )

    def _pass_instant(self) -> None:
        """At one instant guests report first, what was in force until now; then come the trace's new samples."""
        instant = self._instants.take()
        if instant.reports:
            young = self._sampled_at >= self.now - PATIENCE * self.period_s
            self._reports.send(young & self.present, self.demand, self.allocation, self.now, self.period_s)
        if len(instant.rows):
            self._sampled_at[instant.rows] = self.now
            self.demand[instant.rows] = instant.demand
            self._come_and_go(instant)
            self._touch(self._taken(instant) if self._tells else 0.0)
            self._aim()

    def _come_and_go(self, instant: "_Instant") -> None:
        changed = instant.rows[self.maximum[instant.rows] != instant.maximum]
        if len(changed) == 0 and len(instant.last) == 0:
            return
        self.generation += 1
        self._news_at = min(self._news_at, self.now)
        self.maximum[instant.rows] = instant.maximum
        new = instant.rows[~self.present[instant.rows]]
        self.present[new] = True
        self.place(new, np.minimum(self.maximum[new], self._share))
        first = np.zeros(len(self.present), dtype=np.bool_)
        first[new] = True
        self._reports.send(first, self.demand, self.allocation, self.now, self.period_s)
        self._target = np.minimum(self._target, self.maximum)
        self._leave(instant.last)
        self.rows = np.flatnonzero(self.present)

    def _leave(self, rows: Ints) -> None:
        self._ramps.stop(rows, self.now, self.allocation)
        self.present[rows] = False
        for part in (self.demand, self.allocation, self._target, self._told, self._touched):
            part[rows] = 0.0

    def _taken(self, instant: "_Instant") -> Floats:
        """(n,) MiB that guests took into use between their last two samples, when the trace was recorded; all that they
        held at the first that tells. Less than 0: they gave some back.
        """
        told = np.isfinite(instant.resident)
        rows, resident = instant.rows[told], instant.resident[told]
        before = self._recorded[rows]
        taken = np.zeros(len(self.demand))
        taken[rows] = resident - np.where(np.isnan(before), self._touched[rows], before)
        self._recorded[rows] = resident
        return taken

    def _touch(self, taken: Floats | float = 0.0) -> None:
        """What guests hold, now that demand or allocations are others, and they took so much more, (n,) MiB."""
        used = np.minimum(self.demand, self.allocation)
        kept = np.maximum(self._touched + taken, used)
        if self._free_page_reporting:
            kept = np.where(np.isnan(self._recorded), used, kept)
        held = np.minimum(kept, self.allocation)
        if np.count_nonzero(held > self._touched):
            self._felt_at = min(self._felt_at, self.now + FELT_AFTER_S)
        self._touched = held

    def _aim(self) -> None:
        """Where every balloon goes from here, given its target and what its guest uses."""
        size = self.allocation
        goal = np.maximum(self._target, np.minimum(self.demand, size))
        if self.autodeflate:
            needed = np.minimum(self.demand, self.maximum)
            deflates = needed > goal
            if deflates.any():
                goal = np.where(deflates, needed, goal)
                self._target = np.where(deflates, needed, self._target)
        self._ramps.aim(goal, size, self.demand, self.now)


class _Instant(NamedTuple):
    """What comes at one moment: guests' reports, new samples of some domains, of which some are their last."""

    reports: bool
    rows: Ints
    demand: Floats
    maximum: Floats
    resident: Floats
    """NaN where nobody recorded it."""
    last: Ints


class _Instants:
    """The moments of a trace in order: those with samples, and those at which guests report."""

    def __init__(self, trace: Trace, period_s: float) -> None:
        times = np.concatenate([one.times for one in trace.series])
        order = np.argsort(times, kind="stable")
        sizes = [len(one.times) for one in trace.series]
        self._rows = np.repeat(np.arange(len(sizes)), sizes)[order]
        self._demand = np.concatenate([one.demand for one in trace.series])[order]
        self._maximum = np.concatenate([one.maximum for one in trace.series])[order]
        nothing = np.full(max(sizes), np.nan)
        resident = [nothing[: len(one.times)] if one.resident is None else one.resident for one in trace.series]
        self._resident = np.concatenate(resident)[order]
        lasts = np.zeros(len(times), dtype=np.bool_)
        lasts[np.cumsum(sizes) - 1] = True
        self._lasts = lasts[order]
        sample_times = np.unique(times)
        reports = _report_times(sample_times, period_s)
        instants = np.union1d(sample_times, reports)
        self._times: list[float] = [*instants.tolist(), np.inf]
        self._reports: list[bool] = np.isin(instants, reports).tolist()
        self._cuts: list[int] = [0, *np.searchsorted(times[order], instants, side="right").tolist()]
        self._place = 0
        self.next = self._times[0]

    def take(self) -> _Instant:
        """What comes at `next`; moves on to the instant after it."""
        place = self._place
        first, last = self._cuts[place], self._cuts[place + 1]
        rows = self._rows[first:last]
        self._place = place + 1
        self.next = self._times[place + 1]
        return _Instant(
            self._reports[place],
            rows,
            self._demand[first:last],
            self._maximum[first:last],
            self._resident[first:last],
            rows[self._lasts[first:last]],
        )


def _report_times(sample_times: Floats, period_s: float) -> Floats:
    """Multiples of the period since the first sample at which some domain still reports; none inside a gap.

    One that falls on a sample but for rounding is exactly at its time: the report comes first.
    """
    periods = np.floor((sample_times - sample_times[0] + INSTANT_S) / period_s)
    following = [sample_times[0] + (periods + later) * period_s for later in (1, 2)]
    ticks = np.unique(np.concatenate([each[each - sample_times <= PATIENCE * period_s] for each in following]))
    near = np.minimum(np.searchsorted(sample_times, ticks - INSTANT_S), len(sample_times) - 1)
    return np.unique(np.where(np.abs(sample_times[near] - ticks) < INSTANT_S, sample_times[near], ticks))


class _Reports:
    """Guests' statistics as they last sent them. Arrays (n,), MiB and seconds."""

    def __init__(self, n: int) -> None:
        self.used = np.zeros(n)
        self.unused = np.zeros(n)
        self.updated = np.full(n, -np.inf)
        self.swap_in = np.zeros(n)
        self.major_faults = np.zeros(n)

    def send(self, where: Bools, demand: Floats, allocation: Floats, now: float, period_s: float) -> None:
        """The guests in `where` report; counters rise for those under pressure."""
        used = np.minimum(demand, allocation)
        np.copyto(self.used, used, where=where)
        np.copyto(self.unused, allocation - used, where=where)
        np.copyto(self.updated, now, where=where)
        pressed = where & (demand > PRESSED_ABOVE * allocation)
        if np.count_nonzero(pressed):
            self.swap_in += pressed * (SWAP_IN_MIB_S * period_s)
            self.major_faults += pressed * (MAJOR_FAULTS_S * period_s)


class _Ramps:
    """Balloons on their way, and the record of where they have been. Arrays (n,), MiB and seconds."""

    def __init__(self, n: int, longest_part: float, total_mib: float) -> None:
        self._longest_part = longest_part
        self._total = total_mib
        self.moving = False
        self.next_end = np.inf
        self._goal = np.zeros(n)
        self._begin = np.zeros(n)
        self._begun = np.zeros(n)
        self._speed = np.zeros(n)
        self._needed = np.zeros(n)
        """The most that its guest needed since then."""
        self._left = np.zeros(n)
        """What was free then, and all guests had taken until then."""
        self._taken = 0.0
        """By ramps that are over, and at starts."""
        self._end = np.full(n, np.inf)
        self._times: list[list[float]] = [[] for _ in range(n)]
        self._sizes: list[list[float]] = [[] for _ in range(n)]

    def advance(self, now: float, size: Floats) -> Floats:
        """(n,) sizes at `now`; `size` is that of balloons at rest."""
        active = np.isfinite(self._end)
        there = self._end <= now
        moved = np.where(active, np.where(there, self._goal, self._begin + self._speed * (now - self._begun)), size)
        if there.any():
            for row in np.flatnonzero(there).tolist():
                self._close(row, self._end[row], self._goal[row], moved)
            self._end[there] = np.inf
            self._look_ahead()
        return moved

    def aim(self, goal: Floats, size: Floats, demand: Floats, now: float) -> None:
        """Balloons whose goal is a new one start for it from their present `size`."""
        changed = goal != self._goal
        if np.count_nonzero(changed):
            self._turn(changed, goal, size, now)
        self._needed = np.where(changed | (demand > self._needed), demand, self._needed)

    def _turn(self, changed: Bools, goal: Floats, size: Floats, now: float) -> None:
        """Those whose goal `changed`, (n,), begin another ramp."""
        for row in np.flatnonzero(changed & np.isfinite(self._end)).tolist():
            self._close(row, now, size[row], size)
        way = goal - size
        self._begin = np.where(changed, size, self._begin)
        self._begun = np.where(changed, now, self._begun)
        self._goal = goal
        speed = np.where(way > 0, DEFLATE_MIB_S, -INFLATE_MIB_S)
        self._speed = np.where(changed, speed, self._speed)
        self._end = np.where(changed, np.where(way != 0, now + way / speed, np.inf), self._end)
        self._left = np.where(changed, self._total - float(size.sum()) + self._taken_until(size), self._left)
        self._look_ahead()

    def place(self, row: int, size: float, now: float) -> None:
        """The balloon is at rest at `size` from now on."""
        self._goal[row] = size
        self._end[row] = np.inf
        self._taken += size
        self._enter(row, now, size)
        self._look_ahead()

    def stop(self, rows: Ints, now: float, size: Floats) -> None:
        """Balloons that are no more, or no longer looked at: the record ends with how far they have come."""
        for row in rows[np.isfinite(self._end[rows])].tolist():
            self._close(row, now, size[row], size)
        self._goal[rows] = 0.0
        self._end[rows] = np.inf
        self._look_ahead()

    def record(self) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
        """Times and sizes of every change, by domain."""
        return tuple(map(np.array, self._times)), tuple(map(np.array, self._sizes))

    def _look_ahead(self) -> None:
        self.next_end = float(self._end.min())
        self.moving = self.next_end < np.inf

    def _close(self, row: int, end: float, size: float, sizes: Floats) -> None:
        """A ramp ends: in the record it is one step at half its time, or several where it took long and that matters.
        `sizes`: (n,) of all.
        """
        begun, begin = self._begun[row], self._begin[row]
        parts = max(int(np.ceil((end - begun) / self._longest_part)), 1)
        if parts > 1 and self._needed[row] <= min(begin, size):
            parts = parts if self._taken_until(sizes) > self._left[row] + ROUNDING_MIB else 1
        for part in range(1, parts + 1):
            self._enter(row, begun + (end - begun) * (part - 0.5) / parts, begin + (size - begin) * part / parts)
        self._taken += max(size - begin, 0.0)
        self._begin[row] = size

    def _taken_until(self, sizes: Floats) -> float:
        """MiB that guests of `sizes` (n,) have taken since the beginning, whatever they gave back."""
        under_way = np.isfinite(self._end)
        return self._taken + float(np.maximum(sizes - self._begin, 0.0)[under_way].sum())

    def _enter(self, row: int, time: float, size: float) -> None:
        times, sizes = self._times[row], self._sizes[row]
        size = round(float(size), DIGITS)
        time = round(float(time), DIGITS) if times else float(time)
        if times and time == round(times[-1], DIGITS):
            time = times.pop()
            sizes.pop()
        if not sizes or size != sizes[-1]:
            times.append(time)
            sizes.append(size)

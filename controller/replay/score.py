"""What a controller did to a trace, from what each domain really had: harm, slack, moves and looks.

Integrals run from a domain's first to its last sample; demand and allocation hold until their next change. Fractions
are of the integral of demand.
"""

import csv
import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

import numpy as np

from controller.engine.tables import Floats
from controller.replay.names import written
from controller.replay.trace import Series, Trace
from controller.replay.world import HostRecord


@dataclass(frozen=True, slots=True)
class ReplayFigures:
    """How well a trace was served. Fractions of the integral of demand, unless said otherwise."""

    shortfall: float
    """Demand above allocation."""
    overcommit: float
    """Allocations together above the host's memory: it swaps."""
    slack: float
    """Allocation above demand."""
    worst_domain_shortfall: float
    """The largest shortfall of a domain, as a fraction of that domain's own demand."""
    reallocations_per_domain_hour: float
    looks_per_domain_hour: float

    @property
    def harm(self) -> float:
        """Shortfall and overcommit."""
        return self.shortfall + self.overcommit

    def entry(self) -> dict[str, float]:
        """What documents say of it."""
        return {
            "shortfall": self.shortfall,
            "overcommit": self.overcommit,
            "harm": self.harm,
            "slack": self.slack,
            "worst_domain_shortfall": self.worst_domain_shortfall,
            "reallocations_per_domain_hour": self.reallocations_per_domain_hour,
            "looks_per_domain_hour": self.looks_per_domain_hour,
        }


@dataclass(frozen=True, slots=True)
class ScoredReplay:
    """A replay's figures, and the record they come from."""

    domains: tuple[str, ...]
    ends: tuple[float, ...]
    """Seconds: each domain's last sample."""
    host_mib: float
    record: HostRecord
    figures: ReplayFigures


def score(trace: Trace, record: HostRecord, host_mib: float) -> ScoredReplay:
    """Judge `record`, whose rows are the domains of `trace`."""
    parts = [
        _DomainIntegrals.of(series, times, sizes)
        for series, times, sizes in zip(trace.series, record.times, record.allocations, strict=True)
    ]
    need = sum(part.need for part in parts)
    hours = sum(part.hours for part in parts)
    figures = ReplayFigures(
        shortfall=sum(part.shortfall for part in parts) / need,
        overcommit=_overcommitted(trace, record, host_mib) / need,
        slack=sum(part.slack for part in parts) / need,
        worst_domain_shortfall=max(part.shortfall / part.need if part.need else 0.0 for part in parts),
        reallocations_per_domain_hour=sum(len(sizes) - 1 for sizes in record.allocations) / hours,
        looks_per_domain_hour=len(record.look_times) / hours,
    )
    return ScoredReplay(trace.domains, tuple(float(one.times[-1]) for one in trace.series), host_mib, record, figures)


def write_allocations(result: ScoredReplay, path: Path) -> None:
    """`time_s,domain,allocation_mib` in order of time; gzip CSV. Raises OSError.

    One row a change, and one with the same size again when a domain leaves before the trace ends: whoever sums up sizes
    from the rows' times alone sees when it was gone.
    """
    record, ends = result.record, np.array(result.ends)
    gone = np.flatnonzero(ends < ends.max())
    names = np.repeat(np.arange(len(result.domains)), [len(times) for times in record.times])
    names = np.concatenate([names, gone])
    times = np.concatenate([*record.times, ends[gone]])
    sizes = np.concatenate([*record.allocations, *(record.allocations[row][-1:] for row in gone)])
    order = np.argsort(times, kind="stable")
    cells = [written(name) for name in result.domains]
    rows = zip(times[order].tolist(), names[order].tolist(), sizes[order].tolist(), strict=True)
    _write(path, ("time_s", "domain", "allocation_mib"), ((time, cells[row], size) for time, row, size in rows))


def write_looks(result: ScoredReplay, path: Path) -> None:
    """`time_s,domain`, one row for every time a domain's statistics were read; gzip CSV. Raises OSError."""
    record = result.record
    cells = [written(name) for name in result.domains]
    rows = zip(record.look_times.tolist(), record.look_rows.tolist(), strict=True)
    _write(path, ("time_s", "domain"), ((round(time, 6), cells[row]) for time, row in rows))


@dataclass(frozen=True, slots=True)
class _DomainIntegrals:
    """One domain's integrals, MiB * s, and its hours."""

    need: float
    shortfall: float
    slack: float
    hours: float

    @classmethod
    def of(cls, series: Series, times: Floats, sizes: Floats) -> "_DomainIntegrals":
        first, last = series.times[0], series.times[-1]
        grid = np.union1d(series.times, times[(times > first) & (times < last)])
        elapsed = np.diff(grid)
        demand = _held(series.times, series.demand, grid[:-1])
        over = _held(times, sizes, grid[:-1]) - demand
        return cls(
            need=float((demand * elapsed).sum()),
            shortfall=float((np.maximum(-over, 0.0) * elapsed).sum()),
            slack=float((np.maximum(over, 0.0) * elapsed).sum()),
            hours=float(last - first) / 3600,
        )


def _overcommitted(trace: Trace, record: HostRecord, host_mib: float) -> float:
    """Integral of what all domains together have above the host's memory, MiB * s."""
    bounds = [one.times[[0, -1]] for one in trace.series]
    grid = np.unique(np.concatenate([*record.times, *bounds]))
    grid = grid[(grid >= trace.start) & (grid <= trace.end)]
    total = np.zeros(len(grid) - 1)
    for (first, last), times, sizes in zip(bounds, record.times, record.allocations, strict=True):
        here = slice(*np.searchsorted(grid, [first, last]))
        total[here] += _held(times, sizes, grid[here])
    return float((np.maximum(total - host_mib, 0.0) * np.diff(grid)).sum())


def _held(times: Floats, values: Floats, when: Floats) -> Floats:
    """What was in force at each moment of `when`; none is before the first of `times`."""
    return values[np.searchsorted(times, when, side="right") - 1]


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
        TextIOWrapper(packed, "utf-8") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

"""Whether a process stays as it is over hours: its memory, descriptors and threads, read from /proc, and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SETTLING = 0.25
"""Part of the time in which a process may still grow: caches, histories and the allocator's pools fill up."""
MEMORY_GROWTH = 0.05
"""Of the median resident memory after settling, that the last quarter's median may have more."""
MEMORY_GRAIN_MIB = 4.0
"""Growth that is no growth: an arena of the allocator, a page table."""
HANDFUL = 2
"""Descriptors or threads that come and go: our own question for the state, a reconnection."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A process at one moment."""

    at: float
    """Seconds since the start."""
    memory_mib: float
    """Resident."""
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class TrendLine:
    """One quantity of the verdict's table."""

    name: str
    settled: float
    """Median of the quarter after settling."""
    last: float
    """Median of the last quarter."""
    most: float
    allowed: float
    """The last quarter's median may be that much at most."""

    @property
    def flat(self) -> bool:
        """True when it did not grow."""
        return self.last <= self.allowed


def read(pid: int, at: float) -> Reading:
    """The process now. Raises OSError when it is gone."""
    process = Path("/proc") / str(pid)
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    memory_kib = int(fields["VmRSS"].split()[0])
    return Reading(at, memory_kib / 1024, len(list((process / "fd").iterdir())), int(fields["Threads"]))


def judge(readings: Sequence[Reading]) -> list[TrendLine]:
    """Each quantity of readings in order of time, four at least. Raises ValueError for fewer."""
    if len(readings) < 4:
        raise ValueError(f"{len(readings)} readings tell nothing of a trend; four are needed")
    return [
        _line("resident memory (MiB)", [r.memory_mib for r in readings], MEMORY_GRAIN_MIB, MEMORY_GROWTH),
        _line("descriptors", [r.descriptors for r in readings], HANDFUL, 0.0),
        _line("threads", [r.threads for r in readings], HANDFUL, 0.0),
    ]


def _line(name: str, values: Sequence[float], grain: float, growth: float) -> TrendLine:
    """Medians of quarters: what stands out for a moment, as a reading during an answer does, is no growth."""
    quarter = len(values) // 4
    begin = int(len(values) * SETTLING)
    settled = _median(values[begin : begin + quarter])
    allowed = settled + max(grain, growth * settled)
    return TrendLine(name, settled, _median(values[-quarter:]), max(values), allowed)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]

"""Traces of demand: `time_s,domain,demand_mib,max_mib`, one row a sample, ordered by time; CSV, plain or gzip.

Recordings tell beside that what the host held of the guest and its QEMU, `resident_mib`, where that was known. In a
replay guests take and give back the same, for who feels that.

Whatever is wrong with a file is refused with its line, column, value and a remedy: a figure computed from a
misread trace would look like any other.
"""

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from functools import cached_property
from io import StringIO, TextIOWrapper
from os import strerror
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from controller.engine.tables import Bools, Floats, Ints
from controller.replay import names
from controller.replay.rounds import rounds

TIME, DOMAIN, DEMAND, MAXIMUM = COLUMNS = ("time_s", "domain", "demand_mib", "max_mib")
RESIDENT = "resident_mib"

ABSURD_MIB = 64 * 2**20
"""64 TiB: more than any host has; a larger number is a wrong unit."""

EVERYONE_HUGE_MIB = 2**22
"""4 TiB: where no domain may have less, and nothing has a fraction, the file is in KiB, as libvirt counts, of guests of
4 GiB or more. Below that it may be one of large hosts: some have 2 TiB each."""

MOST_MAXIMA = 100
"""Times its maximum that a guest may ask for; no guest has so much swap, and one of the two is in another unit."""

ABSURD_TIME_S = 1e11
"""Seconds (three thousand years since the epoch); a larger number is milliseconds."""

GZIP = b"\x1f\x8b"
"""What a gzip file begins with."""

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What spreadsheets split fields by instead of commas, where commas stand in numbers."""

LONGEST_LINE = 2**16
"""Characters; a sample has a few dozen. A gzip file of a megabyte can hold a line that fills the memory."""

LONGEST_GAP_S = 7 * 86400.0
"""Seconds without any sample of any domain: beyond a week it is two traces, not one."""


JITTER = 0.05
"""Part of a whole number of seconds by which a step may differ and still be that number: a recorder's looks are late by
its own work. Looks at whole seconds would else find nothing new, or be twice as far apart as those at each step."""


class TraceError(Exception):
    """A trace that cannot be used; the message names file, line, column, value and remedy, as far as they apply."""


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one domain, at least one, in order of time. All (k,)."""

    times: Floats
    """Seconds, strictly increasing."""
    demand: Floats
    """MiB, in force from its time until the next."""
    maximum: Floats
    """MiB the domain may have at most."""
    resident: Floats | None = None
    """MiB that QEMU held of the host; NaN where that was not known, None where nobody recorded it."""

    def part(self, keep: Bools | Ints) -> "Series":
        """The samples in `keep`, a mask or places."""
        resident = None if self.resident is None else self.resident[keep]
        return Series(self.times[keep], self.demand[keep], self.maximum[keep], resident)


@dataclass(frozen=True)
class Trace:
    """Demand of n domains over time. A domain exists from its first to its last sample."""

    domains: tuple[str, ...]
    """In order of appearance."""
    series: tuple[Series, ...]
    """One for each of `domains`."""

    @cached_property
    def step_s(self) -> float:
        """Median seconds between two samples of a domain; a whole number where it is one but for JITTER."""
        median = float(np.median(np.concatenate([np.diff(one.times) for one in self.series])))
        whole = float(round(median))
        return whole if abs(median - whole) <= JITTER * whole else median

    @property
    def start(self) -> float:
        """Time of the first sample."""
        return float(min(one.times[0] for one in self.series))

    @property
    def end(self) -> float:
        """Time of the last sample."""
        return float(max(one.times[-1] for one in self.series))

    @cached_property
    def peak_mib(self) -> float:
        """The most that all domains together ask for in any round of samples, MiB: it does not depend on whether they
        are read at once or one after the other.
        """
        numbers = rounds([one.times for one in self.series], self.step_s)
        total = np.zeros(1 + max(int(each[-1]) for each in numbers))
        for one, taken in zip(self.series, numbers, strict=True):
            here = np.arange(taken[0], taken[-1] + 1)
            total[here] += one.demand[np.searchsorted(taken, here, side="right") - 1]
        return float(total.max())

    @property
    def maximum_mib(self) -> float:
        """Sum of the domains' largest maxima, MiB."""
        return float(sum(one.maximum.max() for one in self.series))

    def until(self, time: float) -> "Trace":
        """The part up to and including `time`; domains without a sample in it are left out."""
        return self._part([one.times <= time for one in self.series])

    def since(self, time: float) -> "Trace":
        """The part from `time` on; domains without a sample in it are left out."""
        return self._part([one.times >= time for one in self.series])

    def _part(self, kept: list[Bools]) -> "Trace":
        parts = [
            (name, one.part(keep))
            for name, one, keep in zip(self.domains, self.series, kept, strict=True)
            if keep.any()
        ]
        return Trace(tuple(name for name, _ in parts), tuple(one for _, one in parts))


def read(path: Path) -> Trace:
    """The trace in `path`; gzip by its first bytes, whatever the name. Raises TraceError."""
    return _TraceReader(path).read()


@dataclass(slots=True)
class _Columns:
    """A file's rows as text, by column, and the line each row ends on."""

    lines: list[int]
    cells: dict[str, list[str]]


class _TraceReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 0

    def read(self) -> Trace:
        """All checks in the order in which a person would find the mistakes."""
        columns = self._columns()
        if not columns.lines:
            self._refuse("holds no samples", "record some, or name another file")
        time = self._numbers(columns, TIME, ABSURD_TIME_S)
        demand = self._numbers(columns, DEMAND, ABSURD_MIB)
        maximum = self._numbers(columns, MAXIMUM, ABSURD_MIB)
        resident = self._resident(columns)
        self._check_names(columns)
        self._check(columns, MAXIMUM, maximum == 0, "is no maximum", "give the domain's <memory> in MiB")
        self._check_unit(columns, demand, maximum)
        self._check_order(columns, time)
        domains, rows = _numbered(columns.cells[DOMAIN])
        self._check_duplicates(columns, time, rows)
        self._check_use(time, demand, rows)
        order = np.argsort(rows, kind="stable")
        cuts = np.flatnonzero(np.diff(rows[order])) + 1
        whole = Series(time, demand, maximum, resident)
        return Trace(domains, tuple(whole.part(rows) for rows in np.split(order, cuts)))

    def _columns(self) -> _Columns:
        try:
            with _opened(self._path) as file:
                return self._parse(file)
        except OSError as error:
            self._refuse(
                f"cannot be read: {error.strerror or error}", "name a readable trace file (CSV, plain or gzip)"
            )
        except (EOFError, zlib.error):
            self._refuse(
                f"gzip data is cut off or damaged after line {self._line}",
                "copy the file again, or keep what `gzip -dc` still gives without its last line",
            )
        except UnicodeDecodeError:
            self._refuse(f"line {self._line + 1} or later is not UTF-8 text", "give a CSV file, plain or gzip")
        except csv.Error as error:
            self._refuse(f"line {self._line + 1} is not CSV: {error}", "give one sample a line, fields split by commas")

    def _parse(self, file: IO[str]) -> _Columns:
        reader = csv.reader(self._lines(file), strict=True)
        header = next(reader, None)
        if header is None:
            self._refuse("is empty", f"the first line names the columns: {','.join(COLUMNS)}")
        places = self._places([name.strip() for name in header])
        lines: list[int] = []
        rows: list[list[str]] = []
        for row in reader:
            self._line = reader.line_num
            if len(row) == len(header):
                rows.append(row)
                lines.append(reader.line_num)
            elif row:
                self._refuse(
                    f"line {reader.line_num}: {len(row)} fields where the header has {len(header)}",
                    "write every sample in full",
                )
        return _Columns(lines, {name: [row[place] for row in rows] for name, place in places.items()})

    def _lines(self, file: IO[str]) -> Iterator[str]:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                self._refuse(f"line {number} is longer than {LONGEST_LINE} characters", "give one sample a line")
            yield line

    def _places(self, header: list[str]) -> dict[str, int]:
        missing = [name for name in COLUMNS if name not in header]
        other = next((name for sign, name in _SEPARATORS.items() if sign in "".join(header)), None)
        if missing and other:
            self._refuse(f"line 1: fields are split by {other}", "split them by commas, with a point in numbers")
        if missing:
            self._refuse(
                f"line 1: column {', '.join(missing)} is missing (there: {', '.join(header)})",
                f"the first line names the columns: {','.join(COLUMNS)}",
            )
        twice = [name for name in (*COLUMNS, RESIDENT) if header.count(name) > 1]
        if twice:
            self._refuse(f"line 1: column {', '.join(twice)} is there more than once", "keep one of them")
        return {name: header.index(name) for name in (*COLUMNS, RESIDENT) if name in header}

    def _numbers(self, columns: _Columns, name: str, most: float) -> Floats:
        cells = columns.cells[name]
        try:
            values = np.array(list(map(_number, cells)))
        except ValueError:
            bad = next(place for place, cell in enumerate(cells) if not _is_number(cell))
            self._refuse_cell(columns, name, bad, "is not a number", "write a plain decimal number")
        self._check(columns, name, ~np.isfinite(values), "is not finite", "leave out samples that were not taken")
        self._check(columns, name, values < 0, "is negative", "neither time nor memory can be")
        self._check(columns, name, values > most, f"is more than {most:.0f}", "check the unit: seconds and MiB")
        return values

    def _resident(self, columns: _Columns) -> Floats | None:
        """NaN where nothing is written."""
        cells = columns.cells.get(RESIDENT)
        if cells is None:
            return None
        empty = [not cell.strip() for cell in cells]
        columns.cells[RESIDENT] = ["0" if none else cell for none, cell in zip(empty, cells, strict=True)]
        return np.where(empty, np.nan, self._numbers(columns, RESIDENT, ABSURD_MIB))

    def _check_names(self, columns: _Columns) -> None:
        empty = np.array([not cell.strip() for cell in columns.cells[DOMAIN]])
        self._check(columns, DOMAIN, empty, "is no name", "name the domain of every sample")

    def _check_unit(self, columns: _Columns, demand: Floats, maximum: Floats) -> None:
        """Whether sizes can be meant as MiB. One with a fraction is: KiB and bytes come whole, or as 1.0."""
        beyond = f"is more than {MOST_MAXIMA} times {MAXIMUM}"
        self._check(columns, DEMAND, demand > MOST_MAXIMA * maximum, beyond, "give both in MiB")
        if maximum.min() < EVERYONE_HUGE_MIB:
            return
        cells = [cell.strip() for name in (DEMAND, MAXIMUM) for cell in columns.cells[name]]
        whole = np.full(len(maximum), all(cell.partition(".")[2] in {"", "0"} for cell in cells))
        remedy = f"is it KiB? Divide {DEMAND} and {MAXIMUM} by 1024; write {maximum[0]:.2f} where MiB are meant"
        self._check(columns, MAXIMUM, whole, f"is {maximum[0] / 2**10:.0f} GiB, and no domain has less", remedy)

    def _check_order(self, columns: _Columns, time: Floats) -> None:
        steps = np.diff(time, prepend=time[0])
        self._check(columns, TIME, steps < 0, "goes back in time", "sort the samples by time_s")
        remedy = f"cut it in two there: more than {LONGEST_GAP_S / 86400:.0f} days without a sample are not replayed"
        self._check(columns, TIME, steps > LONGEST_GAP_S, "comes long after the line before", remedy)

    def _check_duplicates(self, columns: _Columns, time: Floats, rows: Ints) -> None:
        order = np.lexsort((time, rows))
        again = (np.diff(rows[order]) == 0) & (np.diff(time[order]) == 0)
        where = np.zeros(len(rows), dtype=np.bool_)
        where[order[1:][again]] = True
        self._check(columns, TIME, where, "is a second sample of this domain at this time", "keep one of the two")

    def _check_use(self, time: Floats, demand: Floats, rows: Ints) -> None:
        if len(time) == len(np.unique(rows)):
            self._refuse("has a single sample of each domain", "a replay needs at least two of one domain")
        if not demand.any():
            self._refuse(f"column {DEMAND} is 0 in every line", "a harm is a part of demand: give a trace with some")

    def _check(self, columns: _Columns, name: str, wrong: Bools, problem: str, remedy: str) -> None:
        if wrong.any():
            self._refuse_cell(columns, name, int(np.argmax(wrong)), problem, remedy)

    def _refuse_cell(self, columns: _Columns, name: str, place: int, problem: str, remedy: str) -> NoReturn:
        value = columns.cells[name][place]
        self._refuse(f"line {columns.lines[place]}, column {name}: {value!r} {problem}", remedy)

    def _refuse(self, problem: str, remedy: str) -> NoReturn:
        raise TraceError(f"{self._path}: {problem}; {remedy}") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """Its text, without a byte order mark. Opened once and read forward: what a pipe gave, it gives once."""
    with path.open("rb") as file:
        unpacked = gzip.GzipFile(fileobj=file) if file.peek(2).startswith(GZIP) else file
        with TextIOWrapper(unpacked, "utf-8-sig", newline="") as text:
            yield text


def _numbered(cells: list[str]) -> tuple[tuple[str, ...], Ints]:
    """Distinct names in order of appearance, and the number of each cell's name."""
    numbers: dict[str, int] = {}
    rows = [numbers.setdefault(names.read(cell), len(numbers)) for cell in cells]
    return tuple(numbers), np.array(rows, dtype=np.int64)


def _number(cell: str) -> float:
    """Raises ValueError, also for the underscores that Python takes between digits."""
    if "_" in cell:
        raise ValueError
    return float(cell)


def _cell(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else ""


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


class TraceWriter:
    """Writes a trace piece by piece, never more than `limit` bytes. What is written stays whole whatever happens next:
    every `append` is one write, and with gzip (a name ending in .gz) one complete member.
    """

    def __init__(self, path: Path, limit: int, *, resident: bool = False) -> None:
        """Raises TraceError when `path` exists already or cannot be written; `limit` is bytes. With `resident` samples
        have that, too.
        """
        self._limit = limit
        self._columns = (*COLUMNS, RESIDENT) if resident else COLUMNS
        self._compressed = path.suffix == ".gz"
        try:
            self._file = path.open("xb", buffering=0)
            self._begin(path)
        except FileExistsError:
            raise TraceError(f"{path}: exists; name a new file: recordings are never overwritten") from None
        except OSError as error:
            raise TraceError(f"{path}: cannot be written: {error.strerror}; name another file") from error

    def _begin(self, path: Path) -> None:
        """The header. A new file without room for it goes again, so that the same name can be used later."""
        try:
            self._append([self._columns])
        except OSError:
            self._file.close()
            path.unlink()
            raise

    def __enter__(self) -> "TraceWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, samples: Iterable[tuple[float, str, *tuple[float, ...]]]) -> bool:
        """Add samples (time_s, domain, demand_mib, max_mib and, where that is written, resident_mib; NaN: unknown), all
        or, beyond the limit, none. Returns whether they fit.

        Samples are ordered by time, also from one call to the next. Raises OSError, and then none is added.
        """
        return self._append((f"{time:.3f}", names.written(name), *map(_cell, sizes)) for time, name, *sizes in samples)

    def _append(self, rows: Iterable[Iterable[str]]) -> bool:
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        piece = text.getvalue().encode()
        if self._compressed:
            piece = gzip.compress(piece, mtime=0)
        end = self._file.tell()
        if end + len(piece) > self._limit:
            return False
        try:
            self._write(piece)
        except OSError:
            self._file.seek(end)
            self._file.truncate()
            raise
        return True

    def _write(self, piece: bytes) -> None:
        """All of it, at the end. A disk that is nearly full takes a part without complaint: that is an OSError, too."""
        if self._file.write(piece) < len(piece):
            raise OSError(ENOSPC, strerror(ENOSPC))

"""The host's own memory, from /proc/meminfo or a container's mount of the host's.

Numbers that cannot be so are refused, not acted on: in a container, lxcfs makes up a meminfo of its own.
"""

import re
from pathlib import Path
from typing import NamedTuple

KIB = 1024

MOST = 2**52
"""Bytes of a host, 4 PiB: no machine has more, and up to there every byte counts in a double."""

UNAVAILABLE = 0.25
"""Part of its memory that a kernel keeps free and does not call available, at most: watermarks are some percent."""

_FIELDS = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
_FIELDS_THAT_MAY_MISS = ("MemFree", "Shmem")
"""In what makes a meminfo up, that is; a kernel has them."""
_LINE = re.compile(r"^(\w+):[ \t]*(.*)$", re.MULTILINE)
_AMOUNT = re.compile(r"[0-9]{1,16} kB")


class MeminfoError(Exception):
    """The host's memory cannot be read; the message names the file, the field and the remedy."""


class Meminfo(NamedTuple):
    """Bytes."""

    total: int
    available: int
    """What may be had without swapping, ZFS' cache with it."""
    swap_used: int
    shared: int = 0
    """Memory of processes that share it, and files in a tmpfs."""


def read(proc: Path) -> Meminfo:
    """Read `meminfo` below `proc`, and how much ZFS would give back. Raises MeminfoError."""
    path = proc / "meminfo"
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "mount the host's /proc there or name another folder"
        raise MeminfoError(f"{path} cannot be read: {getattr(error, 'strerror', error)}; {remedy}") from error
    lines = dict(_LINE.findall(text))
    total, available, swap_total, swap_free = (_amount(path, lines, field) for field in _FIELDS)
    free, shared = (_amount(path, lines, field) if field in lines else 0 for field in _FIELDS_THAT_MAY_MISS)
    if not 0 < total <= MOST or available > total:
        raise MeminfoError(_senseless(path, "MemAvailable", available, total))
    if free > total or free - available > UNAVAILABLE * total:
        raise MeminfoError(_senseless(path, "MemFree", free, total, f", and MemAvailable {available}"))
    available = min(available + reclaimable_by_zfs(proc), total)
    return Meminfo(total, available, max(swap_total - swap_free, 0), shared)


def reclaimable_by_zfs(proc: Path) -> int:
    """Bytes of ZFS' cache (ARC) above its least size; 0 on a host without ZFS.

    MemAvailable counts the cache as used, though it shrinks when the host runs short of memory, down to `c_min`.
    https://openzfs.github.io/openzfs-docs/man/master/4/zfs.4.html (zfs_arc_min)
    """
    try:
        text = (proc / "spl" / "kstat" / "zfs" / "arcstats").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return 0
    rows = [line.split() for line in text.splitlines()]
    named = {row[0]: int(row[2]) for row in rows if len(row) == 3 and re.fullmatch("[0-9]{1,16}", row[2])}
    return max(named.get("size", 0) - named.get("c_min", MOST), 0)


def _senseless(path: Path, field: str, amount: int, total: int, more: str = "") -> str:
    remedy = "is it the host's, not one that a container makes up?"
    return f"{path}: {field} is {amount} bytes of MemTotal {total}{more}; {remedy}"


def _amount(path: Path, lines: dict[str, str], field: str) -> int:
    text = lines.get(field)
    if text is None:
        raise MeminfoError(f"{path} has no field {field}; is it that of a Linux kernel, 3.14 or newer?")
    text = text.strip()
    if not _AMOUNT.fullmatch(text):
        raise MeminfoError(f"{path}: {field} is {text[:40]!r}, not a whole number of kB")
    return int(text.split()[0]) * KIB

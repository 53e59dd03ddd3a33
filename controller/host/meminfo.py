"""The host's own memory, from /proc/meminfo or a container's mount of the host's."""

import re
from pathlib import Path
from typing import NamedTuple

KIB = 1024

_FIELDS = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
_LINE = re.compile(r"^(\w+):[ \t]*(.*)$", re.MULTILINE)
_AMOUNT = re.compile(r"[0-9]+ kB")


class MeminfoError(Exception):
    """The host's memory cannot be read; the message names the file, the field and the remedy."""


class Memory(NamedTuple):
    """Bytes."""

    total: int
    available: int
    swap_used: int


def read(proc: Path) -> Memory:
    """Read `meminfo` below `proc`. Raises MeminfoError."""
    path = proc / "meminfo"
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "mount the host's /proc there or name another folder"
        raise MeminfoError(f"{path} cannot be read: {getattr(error, 'strerror', error)}; {remedy}") from error
    lines = dict(_LINE.findall(text))
    total, available, swap_total, swap_free = (_amount(path, lines, field) for field in _FIELDS)
    if total == 0 or available > total:
        raise MeminfoError(f"{path}: MemAvailable is {available} bytes of MemTotal {total}; is it a whole meminfo?")
    return Memory(total, available, max(swap_total - swap_free, 0))


def _amount(path: Path, lines: dict[str, str], field: str) -> int:
    text = lines.get(field)
    if text is None:
        raise MeminfoError(f"{path} has no field {field}; is it that of a Linux kernel, 3.14 or newer?")
    if not _AMOUNT.fullmatch(text.strip()):
        raise MeminfoError(f"{path}: {field} is {text.strip()!r}, not a whole number of kB")
    return int(text.split()[0]) * KIB

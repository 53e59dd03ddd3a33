"""When QEMU's processes began, by /proc: libvirt does not tell. Guests that ran before Ballast have no other birthday.

https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_START_TIME = 19
"""Position of `starttime` behind the command's name: clock ticks from the start of the machine."""


def started(proc: Path, uuids: Collection[str]) -> dict[str, float]:
    """By UUID, when the QEMU of each domain began, seconds since the epoch; without those that are not to be found.

    `proc` is the host's /proc, or a mount of it. Where several processes name a UUID the oldest counts.
    """
    found: dict[str, float] = {}
    for folder, uuid in _named(proc):
        if uuid in uuids:
            with suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
                found[uuid] = min(found.get(uuid, time.time()), time.time() - _age(folder))
    return found


def _named(proc: Path) -> Iterator[tuple[Path, str]]:
    """Processes that were given a UUID, as QEMU is by libvirt."""
    with suppress(OSError):
        for folder in proc.iterdir():
            if folder.name.isdigit():
                with suppress(OSError):  # it has ended meanwhile, or is not ours to read
                    _, found, rest = (folder / "cmdline").read_bytes().partition(b"\0-uuid\0")
                    if found:
                        yield folder, rest.partition(b"\0")[0].decode(errors="replace")


def _age(folder: Path) -> float:
    """Seconds that a process has been running. Raises OSError, ValueError and IndexError."""
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")

"""When QEMU's processes began, which libvirt does not tell: guests that ran before Ballast have no other birthday.

https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

PID_FILES = Path("/run/libvirt/qemu")
"""Where the system's libvirt notes a QEMU that it has started, as NAME.pid. Within a pod, and in systemd's sandbox, it
is to be seen where other users' processes are not."""

_START_TIME = 19
"""Position of `starttime` behind the command's name: clock ticks from the start of the machine."""


def started(proc: Path, names: Mapping[str, str], pid_files: Path = PID_FILES) -> dict[str, float]:
    """By UUID, when the QEMU of each domain began, seconds since the epoch; without those that are not to be found.

    `proc` is the host's /proc, or a mount of it; `names` are the domains', by UUID. Where several processes name a UUID
    the oldest counts.
    """
    found = _noted(names, pid_files)
    for folder, uuid in _running(proc, names):
        with suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            found[uuid] = min(found.get(uuid, time.time()), time.time() - _age(folder))
    return found


def _noted(names: Mapping[str, str], pid_files: Path) -> dict[str, float]:
    found = {}
    for uuid, name in names.items():
        with suppress(OSError, ValueError):  # it is not there, or has a name that no file can have
            found[uuid] = (pid_files / f"{name}.pid").stat().st_mtime
    return found


def _running(proc: Path, uuids: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Processes that were given one of the UUIDs, as QEMU is by libvirt."""
    with suppress(OSError):
        for folder in proc.iterdir():
            if folder.name.isdigit():
                with suppress(OSError):  # it has ended meanwhile, or is not ours to read
                    uuid = (folder / "cmdline").read_bytes().partition(b"\0-uuid\0")[2].partition(b"\0")[0]
                    if (named := uuid.decode(errors="replace")) in uuids:
                        yield folder, named


def _age(folder: Path) -> float:
    """Seconds that a process has been running. Raises OSError, ValueError and IndexError."""
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")

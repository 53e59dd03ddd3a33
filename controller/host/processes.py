"""QEMU's processes: when they began, which libvirt does not tell, and which of the host's processes they are.

https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

PID_FILES = Path("/run/libvirt/qemu")
"""Where the system's libvirt notes a QEMU that it has started, as NAME.pid. Within a pod, and in systemd's sandbox, it
is to be seen where other users' processes are not."""

_START_TIME = 19
"""Position of `starttime` behind the command's name: clock ticks from the start of the machine."""

LONGEST_COMMAND = 2**20
"""Bytes of a command line that are searched for a UUID. QEMU's, with a few hundred disks, has some ten thousand."""


class ProcessError(Exception):
    """A domain's QEMU cannot be seen; the message says why, and what can be done."""


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


def find(proc: Path, names: Mapping[str, str], pid_files: Path = PID_FILES) -> dict[str, tuple[int, ...]]:
    """By UUID, the numbers of the processes that may be the domain's QEMU: libvirt's own word, where it has left one
    that is true, and otherwise all that were given the UUID. Of one of them `opened` makes sure.

    `proc` and `names` as of `started`.
    """
    found = {uuid: _noted_pid(proc, _pid_file(pid_files, name), uuid) for uuid, name in names.items()}
    unknown = {uuid for uuid, pids in found.items() if not pids}
    for folder, uuid in _running(proc, unknown) if unknown else ():
        found[uuid] += (int(folder.name),)
    return found


@contextmanager
def opened(proc: Path, pids: Collection[int], uuid: str) -> Iterator[int]:
    """A descriptor of the folder of the one process in `pids`, if it is the QEMU of domain `uuid`. Raises ProcessError,
    also for an OSError within.

    What is in the folder is to be opened by way of that: it is of one process, whatever becomes of its number.
    """
    if len(pids) != 1:
        raise ProcessError(_many(pids) if pids else _none(proc))
    (pid,) = pids
    try:
        folder = os.open(proc / str(pid), os.O_RDONLY)
    except OSError as error:
        raise ProcessError(f"process {pid}: {error.strerror}") from error
    try:
        if _uuid(read_file(folder, "cmdline")) != uuid:
            raise ProcessError(f"process {pid} is not the domain's any more")
        yield folder
    except OSError as error:
        raise ProcessError(f"process {pid} may not be read: {error.strerror}") from error
    finally:
        os.close(folder)


def read_file(folder: int, name: str) -> bytes:
    """The file `name` of the folder with that descriptor, 1 MiB at most. Raises OSError."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(descriptor, LONGEST_COMMAND)
    finally:
        os.close(descriptor)


def _none(proc: Path) -> str:
    """Why no process is to be seen."""
    if not (proc / "meminfo").exists():
        return f"{proc} is no /proc; mount the host's there"
    try:
        numbers = any(name.isdigit() for name in os.listdir(proc))
    except OSError as error:
        return f"{proc} cannot be read: {error.strerror}"
    if not numbers:
        return f"{proc} holds no processes; mount all of the host's there"
    if not os.access(proc / "1" / "cmdline", os.R_OK, effective_ids=True):
        return (
            f"{proc} hides processes of others (hidepid, ProtectProc); run Ballast as root or, unless hidepid is "
            "ptraceable, in the group of the mount's gid="
        )
    return f"no process in {proc} was started with its UUID; in a container, mount the host's /proc"


def _many(pids: Collection[int]) -> str:
    return f"processes {', '.join(map(str, sorted(pids)[:4]))} were all started with its UUID; end all but its QEMU"


def _pid_file(folder: Path, name: str) -> Path:
    """Of a domain. libvirt lets no name lead elsewhere, but one that is false may: it is looked for in vain."""
    return folder / f"{name.replace('/', '')}.pid"


def _noted_pid(proc: Path, path: Path, uuid: str) -> tuple[int, ...]:
    """What libvirt noted, unless it is of another life, or of another container, where numbers mean others."""
    with suppress(OSError, ValueError):  # there is none, or the process is not there
        pid = int(path.read_text(encoding="ascii"))
        if _uuid((proc / str(pid) / "cmdline").read_bytes()) == uuid:
            return (pid,)
    return ()


def _uuid(command: bytes) -> str:
    """The UUID that a process was given, as QEMU is by libvirt; empty where it was not."""
    return command.partition(b"\0-uuid\0")[2].partition(b"\0")[0].decode(errors="replace")


def _noted(names: Mapping[str, str], pid_files: Path) -> dict[str, float]:
    found = {}
    for uuid, name in names.items():
        with suppress(OSError, ValueError):  # it is not there, or has a name that no file can have
            found[uuid] = _pid_file(pid_files, name).stat().st_mtime
    return found


def _running(proc: Path, uuids: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Processes that were given one of the UUIDs, as QEMU is by libvirt."""
    with suppress(OSError):
        for folder in proc.iterdir():
            if folder.name.isdigit():
                with suppress(OSError):  # it has ended meanwhile, or is not ours to read
                    if (uuid := _uuid((folder / "cmdline").read_bytes())) in uuids:
                        yield folder, uuid


def _age(folder: Path) -> float:
    """Seconds that a process has been running. Raises OSError, ValueError and IndexError."""
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")

"""Daemons of one's own in a temporary folder: they end, and the folder goes, with whoever started them."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from lab import reaper
from lab.errors import LabError

PREFIX = "ballast-lab-"
"""Of the temporary folders; a sweep at the next start recognises abandoned ones by it."""
LOCK = "lock"
"""File in each of them, locked while its lab lives."""
REAPER_LOG = "reaper.log"
LOG_TAIL = 15
"""Lines of a log that an error shows."""
END_S = 90
"""Deadline for a killed process to be gone."""
POLL_S = 0.05
"""Between two looks at a condition that has no event."""


def until(condition: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Return as soon as `condition` holds; raises LabError naming `what` after `deadline_s` seconds."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {deadline_s:g} s")
        time.sleep(POLL_S)  # the conditions waited for here (sockets, guest statistics) have no event


class Daemons:
    """A temporary folder, `root`, and the processes started in it."""

    def __init__(self) -> None:
        sweep()
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = _lock_for_life(self.root)
        with (self.root / REAPER_LOG).open("ab") as log:
            self._reaper = subprocess.Popen(
                [sys.executable, reaper.__file__, str(self.root), str(self._lock)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,  # not the owner's: a kept lab would hold it open
                env=_environment(self.root),
                cwd="/",
                pass_fds=[self._lock],
                start_new_session=True,  # Ctrl-C of the terminal goes to the owner, which decides
            )

    @property
    def reaper_pid(self) -> int:
        """SIGTERM to this process ends all daemons and removes the folder."""
        return self._reaper.pid

    def start(self, command: Sequence[str], log: Path) -> int:
        """Start a daemon and return its process id; what it prints is appended to `log`.

        Raises LabError when the reaper is gone or cannot start it.
        """
        self._order("start", str(log), *command)
        if self._reaper.stdout is None or not (answer := self._reaper.stdout.readline()):
            raise LabError(f"{command[0]}: not started; see {self.root / REAPER_LOG}")
        return int(answer)

    def wait(self, pid: int, log: Path, condition: Callable[[], bool], deadline_s: float) -> None:
        """Return as soon as daemon `pid`, whose output is in `log`, has got so far that `condition` holds.

        Raises LabError with the end of `log` when the daemon ends before that, or after `deadline_s` seconds.
        """

        def so_far() -> bool:
            if not _runs(pid):
                raise LabError(f"{log.stem}: it ended")
            return condition()

        try:
            until(so_far, deadline_s, f"{log.stem} ready")
        except LabError as error:
            end = log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
            raise LabError("\n".join([f"{error}; its log ends:", *end])) from error

    def kill(self, pid: int) -> None:
        """SIGKILL one daemon, as a crash would; what it started runs on."""
        os.kill(pid, signal.SIGKILL)
        until(lambda: not _runs(pid), END_S, f"end of process {pid}")

    def keep(self) -> None:
        """Let the daemons outlive this process, which must not call `stop` then."""
        self._order("keep")

    def stop(self) -> None:
        """End every daemon and what they started, remove the folder."""
        self._reaper.terminate()
        self._reaper.communicate()
        os.close(self._lock)

    def _order(self, *words: str) -> None:
        if self._reaper.stdin is None:
            raise LabError("reaper: has no stdin")
        self._reaper.stdin.write(f"{json.dumps(words)}\n".encode())
        self._reaper.stdin.flush()


def alive(root: Path) -> bool:
    """Whether daemons in `root` are looked after: it was not ended, and the machine not restarted."""
    return any(_reapers_of(root))


def end(root: Path) -> None:
    """End the kept daemons in `root`, as `Daemons.stop` would; no matter if they are gone already."""
    for pid in _reapers_of(root):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(root), END_S, f"end of the daemons in {root}")
    sweep()


def sweep() -> None:
    """Take down what an earlier lab left (daemons, what they made, folder) where even its reaper was killed."""
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            lock = os.open(root / LOCK, os.O_RDONLY)
        except (FileNotFoundError, PermissionError):  # being made just now, or somebody else's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # in use
            continue
        else:
            _kill_processes_of(root)
            reaper.clear(root)
        finally:
            os.close(lock)


def _reapers_of(root: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone since the listing
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[2:3] == [os.fsencode(root)] and words[1].endswith(b"/reaper.py"):
                yield int(process.name)


def _kill_processes_of(root: Path) -> None:
    """SIGKILL what has its home in `root` or runs in its cgroups, and what that began meanwhile."""

    def ended() -> bool:
        running = set(filter(_runs, (*_in_cgroups(root), *_at_home_in(root))))
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not running

    until(ended, END_S, f"end of what {root} had running")


def listens(address: str | tuple[str, int]) -> bool:
    """Whether somebody listens at a Unix socket, which there may not be yet, or at a host and TCP port."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        return client.connect_ex(address) == 0


def _runs(pid: int) -> bool:
    """Whether a process has not ended yet: a thread of it runs, and keeps its sockets. As a zombie it may go on for as
    long as its parent likes.
    """
    with suppress(OSError):  # it is gone
        return any(_state(thread) not in "ZX" for thread in Path("/proc", str(pid), "task").iterdir())
    return False


def _state(thread: Path) -> str:
    """Its letter in /proc; X, dead, where it is gone by now."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _in_cgroups(root: Path) -> Iterator[int]:
    for cgroup in reaper.cgroups_of(root):
        for folder, _, _ in os.walk(cgroup):  # it goes on where some of them are gone since the listing
            with suppress(OSError):
                yield from map(int, Path(folder, "cgroup.procs").read_text().split())


def _at_home_in(root: Path) -> Iterator[int]:
    """The daemons, and what they started: QEMU's home is a folder below."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # gone since the listing, or another user's
            continue
        if any(variable.startswith(f"HOME={root}".encode()) for variable in variables):
            yield int(process.name)


def _lock_for_life(root: Path) -> int:
    """Lock `root` before a sweep can see its lock file; held as long as owner or reaper live."""
    new = root / "lock.new"
    lock = os.open(new, os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.rename(root / LOCK)
    return lock


def _environment(root: Path) -> dict[str, str]:
    """The daemons' whole environment: they know no home but their folder."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "HOME": str(root),
        "XDG_CONFIG_HOME": str(root / "config"),
        "XDG_CACHE_HOME": str(root / "cache"),
        "XDG_DATA_HOME": str(root / "data"),
        "XDG_RUNTIME_DIR": str(root / "run"),
    }

"""Parent of the lab's daemons and, as their subreaper, of every process that they daemonize.

Run as `python reaper.py ROOT LOCK`, LOCK being the descriptor of ROOT's lock. Orders come on stdin, a JSON array
a line: `["start", LOG, COMMAND...]` runs COMMAND, its output appended to LOG, and prints its process id; `["keep"]`
lets everything outlive the owner. When stdin ends (the owner is gone, for whatever reason) or on SIGTERM it
kills all it has, removes what they made (see `clear`) and exits: not even SIGKILL of the owner leaves a guest or a
container behind. It imports nothing of the lab.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""From <linux/prctl.h>."""
CGROUPS = Path("/sys/fs/cgroup")
READ_SIZE = 65536
"""Bytes; a pipe holds no more, and an order is far shorter."""


def serve() -> None:
    """Obey orders until the owner is gone (and did not say `keep`) or SIGTERM comes."""
    wake = _wake_on(signal.SIGCHLD, signal.SIGTERM)
    kept = False
    unread = b""
    while True:
        ready, _, _ = select.select([0, wake] if not kept else [wake], [], [])
        if wake in ready:
            if signal.SIGTERM in os.read(wake, READ_SIZE):
                return
            _bury()
        if 0 in ready:
            said = os.read(0, READ_SIZE)
            if not said:
                return
            *orders, unread = (unread + said).split(b"\n")
            for order in orders:
                kept = _obey(json.loads(order)) or kept


def become_subreaper() -> None:
    """Make orphaned descendants children of this process (prctl(2)); raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def kill_children() -> None:
    """Kill and bury until no child is left: those of a killed child become children here and are next."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while True:
        for child in _children():
            os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def clear(root: Path) -> None:
    """Remove what dead daemons leave: cgroups named like `root`, and `root` itself."""
    for cgroup in cgroups_of(root):
        _remove_cgroups(cgroup)
    shutil.rmtree(root, ignore_errors=True)


def cgroups_of(root: Path) -> list[Path]:
    """The cgroups named like `root`: one in each hierarchy of version 1, or one."""
    return [cgroup for cgroup in (CGROUPS / root.name, *CGROUPS.glob(f"*/{root.name}")) if cgroup.is_dir()]


def _obey(order: list[str]) -> bool:
    """Whether it was `keep`."""
    match order:
        case ["start", log, *command]:
            print(_start(command, Path(log)), flush=True)
    return order == ["keep"]


def _wake_on(*signals: signal.Signals) -> int:
    """A file descriptor that turns readable, one byte a signal, when one of these arrives."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in signals:
        signal.signal(number, lambda *_: None)
    return wake


def _start(command: list[str], log: Path) -> int:
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawnp(command[0], command, os.environ, file_actions=files)


def _bury() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _children() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state_and_parent = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # gone since the listing
            continue
        if int(state_and_parent[1]) == os.getpid():
            found.append(int(process.name))
    return found


def _remove_cgroups(top: Path) -> None:
    """Remove `top` and the cgroups below it, lowest first; a cgroup is a folder that rmdir(2) removes."""
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):  # a process of somebody else is in it
            Path(folder).rmdir()


if __name__ == "__main__":
    try:
        become_subreaper()
        os.set_inheritable(int(sys.argv[2]), False)  # a daemon that outlives the reaper must not look owned
        serve()
    finally:
        kill_children()
        clear(Path(sys.argv[1]))

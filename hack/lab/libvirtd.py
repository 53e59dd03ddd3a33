"""A private libvirtd: own configuration, sockets, logs and guests, all below one temporary folder.

It is a session daemon of an unprivileged user even when the lab runs as root, so it shares nothing with the
machine's own libvirt and needs neither systemd nor capabilities; any process of that user or root can use it.
"""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import libvirt

from lab import image as images
from lab import reaper
from lab.errors import LabError

libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised; they need not be printed as well

PREFIX = "ballast-lab-"
"""Of the temporary folders; a sweep at the next start recognises abandoned ones by it."""
LOCK = "lock"
"""File in each of them, locked while its lab lives."""
GUEST_USER = "nobody"
"""Runs the private libvirtd and its guests when the lab runs as root; needs no package to make it."""
KVM = Path("/dev/kvm")
START_S = 30
"""Deadline for libvirtd to answer on its socket; it takes 0.1 s on an idle machine."""
POLL_S = 0.05
"""Between two looks at a condition that has no event."""

QEMU_CONF = """\
security_driver = "none"
stdio_handler = "file"
remember_owner = 0
"""
"""No AppArmor profile to load, no virtlogd to ask, no extended attributes on files."""


def until(condition: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Return as soon as `condition` holds; raises LabError naming `what` after `deadline_s` seconds."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {deadline_s:g} s")
        time.sleep(POLL_S)  # the conditions waited for here (sockets, guest statistics) have no event


class PrivateLibvirtd:
    """A libvirtd of one's own, up inside the `with` block and gone, with all its guests, after it.

    `uri` is for any process: `ballast run --connect URI`, `virsh -c URI`.
    """

    def __init__(self) -> None:
        sweep()
        boot = images.image()
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = _lock_for_life(self.root)
        self._prepare_root(boot)
        command = [sys.executable, reaper.__file__, str(self.root), str(self._lock), *_as_guest_user(), "libvirtd"]
        with (self.root / "libvirtd.log").open("ab") as log:
            self._reaper = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,  # not the owner's: a kept lab would hold it open
                env=self._environment(),
                cwd="/",
                pass_fds=[self._lock],
                start_new_session=True,  # Ctrl-C of the terminal goes to the owner, which decides
            )
        try:
            self.pid = self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def uri(self) -> str:
        """libvirt connection URI, usable by every process of this user."""
        return f"qemu:///session?socket={self._socket}"

    @property
    def image(self) -> images.Image:
        """What guests boot, readable by their user."""
        return images.Image(self.root / "vmlinuz", self.root / "initramfs")

    @property
    def reaper_pid(self) -> int:
        """SIGTERM to this process ends libvirtd and all guests and removes the folder."""
        return self._reaper.pid

    def start(self) -> int:
        """Start libvirtd, wait until it answers, return its process id; it finds running guests again."""
        self._order("start")
        if self._reaper.stdout is None or not (answer := self._reaper.stdout.readline()):
            raise LabError(f"reaper of the private libvirtd: ended; see {self.root}/libvirtd.log")
        self.pid = int(answer)
        until(self._answers, START_S, f"private libvirtd answering (log: {self.root}/libvirtd.log)")
        return self.pid

    def kill(self) -> None:
        """SIGKILL libvirtd, as a crash would; its guests run on."""
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{self.pid}").exists(), START_S, "end of libvirtd")

    def restart(self) -> None:
        """Kill and start."""
        self.kill()
        self.start()

    def connect(self) -> libvirt.virConnect:
        """A new connection; the caller closes it. Raises libvirt.libvirtError when libvirtd is not up."""
        return libvirt.open(self.uri)

    def keep(self) -> None:
        """Let libvirtd and its guests outlive this process; the `with` block must not be left then."""
        self._order("keep")

    def stop(self) -> None:
        """End libvirtd and every guest, remove the folder."""
        self._reaper.terminate()
        self._reaper.communicate()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _socket(self) -> Path:
        return self.root / "run" / "libvirt" / "libvirt-sock"

    def _prepare_root(self, boot: images.Image) -> None:
        shutil.copy(boot.kernel, self.image.kernel)
        shutil.copy(boot.initramfs, self.image.initramfs)
        conf = self.root / "config" / "libvirt" / "qemu.conf"
        for folder in (conf.parent, self.root / "run", self.root / "data", self.root / "guests"):
            folder.mkdir(parents=True)
        conf.write_text(QEMU_CONF)
        for path in (self.root, *self.root.rglob("*")):
            give_to_guests(path)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            "HOME": str(self.root),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "XDG_DATA_HOME": str(self.root / "data"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
        }

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._socket)) == 0

    def _order(self, word: str) -> None:
        if self._reaper.stdin is None:
            raise LabError("reaper of the private libvirtd: has no stdin")
        self._reaper.stdin.write(f"{word}\n".encode())
        self._reaper.stdin.flush()


def give_to_guests(path: Path) -> None:
    """Make the user that guests run as the owner of `path`."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(GUEST_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


def sweep() -> None:
    """Take down what an earlier lab left (guests, libvirtd, folder) where even its reaper was killed."""
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
            shutil.rmtree(root, ignore_errors=True)
        finally:
            os.close(lock)


def _kill_processes_of(root: Path) -> None:
    """SIGKILL the libvirtd and QEMUs whose environment or command line names `root`."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            program = (process / "comm").read_text()
            words = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:  # gone since the listing, or another user's
            continue
        if str(root).encode() in words and program.startswith(("libvirtd", "qemu-system")):
            os.kill(int(process.name), signal.SIGKILL)


def _lock_for_life(root: Path) -> int:
    """Lock `root` before a sweep can see its lock file; held as long as owner or reaper live."""
    new = root / "lock.new"
    lock = os.open(new, os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.rename(root / LOCK)
    return lock


def _as_guest_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(GUEST_USER)
    groups = f"--groups={KVM.stat().st_gid}" if KVM.exists() else "--clear-groups"
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", groups]

"""A private libvirtd: own configuration, sockets, logs and guests, all below one temporary folder.

It is a session daemon of an unprivileged user even when the lab runs as root, so it shares nothing with the
machine's own libvirt and needs neither systemd nor capabilities; any process of that user or root can use it.
"""

import gc
import os
import pwd
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import libvirt

from lab import image as images
from lab.daemons import Daemons, listens

libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised; they need not be printed as well

GUEST_USER = "nobody"
"""Runs the private libvirtd and its guests when the lab runs as root; needs no package to make it."""
KVM = Path("/dev/kvm")
START_S = 90
"""Deadline for libvirtd to answer on its socket; it takes 0.1 s on an idle machine."""

QEMU_CONF = """\
security_driver = "none"
stdio_handler = "file"
remember_owner = 0
"""
"""No AppArmor profile to load, no virtlogd to ask, no extended attributes on files."""

LIBVIRTD_CONF = """\
keepalive_interval = -1
host_uuid = "{host}"
"""
"""It asks no client whether it is still there: connections of tests, whose event loop rests, were cut off after half a
minute. Clients that ask it, as Ballast does, are answered. Each is a host of its own, so that guests migrate between
them."""


class PrivateLibvirtd:
    """A libvirtd of one's own, up inside the `with` block and gone, with all its guests, after it.

    `uri` is for any process: `ballast run --connect URI`, `virsh -c URI`.
    """

    def __init__(self) -> None:
        boot = images.image()
        self._daemons = Daemons()
        self.root = self._daemons.root
        try:
            self._prepare_root(boot)
            self.pid = self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def uri(self) -> str:
        """libvirt connection URI, usable by every process of this user."""
        return f"qemu:///session?socket={self._socket}"

    @property
    def sockets(self) -> Path:
        """The folder of its sockets, /run/libvirt of a usual libvirtd."""
        return self.root / "run" / "libvirt"

    @property
    def image(self) -> images.Image:
        """What guests boot, readable by their user."""
        return images.Image(self.root / "vmlinuz", self.root / "initramfs")

    @property
    def reaper_pid(self) -> int:
        """SIGTERM to this process ends libvirtd and all guests and removes the folder."""
        return self._daemons.reaper_pid

    def start(self) -> int:
        """Start libvirtd, wait until it answers, return its process id; it finds running guests again."""
        log = self.root / "libvirtd.log"
        self.pid = self._daemons.start([*_as_guest_user(), "libvirtd"], log)
        self._daemons.wait(self.pid, log, self._answers, START_S)
        return self.pid

    def kill(self) -> None:
        """SIGKILL libvirtd, as a crash would; its guests run on."""
        self._daemons.kill(self.pid)

    def restart(self) -> None:
        """Kill and start."""
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[Callable[[], None]]:
        """Stopped inside the `with` block, or until the function that it gives is called.

        Who closes a connection waits for libvirtd, and what is left of earlier guests is closed whenever garbage is
        collected: not in between.
        """

        def go_on() -> None:
            os.kill(self.pid, signal.SIGCONT)

        with warnings.catch_warnings(action="ignore"):  # what others have left is not this one's
            gc.collect()
        gc.disable()
        try:
            os.kill(self.pid, signal.SIGSTOP)
            yield go_on
        finally:
            go_on()
            gc.enable()

    def connect(self) -> libvirt.virConnect:
        """A new connection; the caller closes it. Raises libvirt.libvirtError when libvirtd is not up."""
        return libvirt.open(self.uri)

    def qemu(self, name: str) -> int:
        """Process id of the QEMU that runs the guest `name`."""
        return int((self.sockets / "qemu" / "run" / f"{name}.pid").read_text())

    def keep(self) -> None:
        """Let libvirtd and its guests outlive this process; the `with` block must not be left then."""
        self._daemons.keep()

    def stop(self) -> None:
        """End libvirtd and every guest, remove the folder."""
        self._daemons.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _socket(self) -> Path:
        return self.sockets / "libvirt-sock"

    def _prepare_root(self, boot: images.Image) -> None:
        shutil.copy(boot.kernel, self.image.kernel)
        shutil.copy(boot.initramfs, self.image.initramfs)
        conf = self.root / "config" / "libvirt" / "qemu.conf"
        for folder in (conf.parent, self.root / "run", self.root / "data", self.root / "guests"):
            folder.mkdir(parents=True)
        conf.write_text(QEMU_CONF)
        conf.with_name("libvirtd.conf").write_text(LIBVIRTD_CONF.format(host=uuid4()))
        for path in (self.root, *self.root.rglob("*")):
            give_to_guests(path)

    def _answers(self) -> bool:
        return listens(str(self._socket))


def give_to_guests(path: Path) -> None:
    """Make the user that guests run as the owner of `path`."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(GUEST_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


def _as_guest_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(GUEST_USER)
    groups = f"--groups={KVM.stat().st_gid}" if KVM.exists() else "--clear-groups"
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", groups]

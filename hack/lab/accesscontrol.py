"""A private libvirtd of root's, as a system has it, whose access control asks a polkit of its own.

libvirtd, polkitd and the system bus between them live in a mount namespace in which /run, /var/lib and the like, users,
polkit's rules and libvirt's configuration are files of the lab: every path is the usual one, and nothing of the
machine's is touched. `python -m lab.accesscontrol` fetches what libvirt calls its actions, once.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from lab.cache import CACHE, cached
from lab.daemons import listens, until
from lab.debian import unpack, update_lists
from lab.errors import LabError, exit_code
from lab.image import Image
from lab.libvirtd import QEMU_CONF, START_S, PrivateLibvirtd

ACTIONS = CACHE / "libvirt-actions"
"""polkit's descriptions of what can be asked of libvirt. Their package is not installed: it starts a libvirtd."""
PACKAGE = "libvirt-daemon-system"
LOADED = "Finished loading, compiling and executing"
"""In polkitd's log, whenever it has read its rules."""
POLKITD = "/usr/lib/polkit-1/polkitd"

USERS = {"ballast": 64999, "libvirt-qemu": 64055}
"""Users of the lab by name: whom the profile is for, and one that libvirtd insists on."""
GROUPS = {**USERS, "kvm": 64056}

OWN = ("run", "var/lib", "var/log", "var/cache")
"""What these daemons do not share with the machine."""
ENTER = """\
folder=$1; shift
for own in run var/lib var/log var/cache; do mount --bind "$folder/own/$own" "/$own"; done
for file in /etc/passwd /etc/group /etc/libvirt /etc/polkit-1/rules.d /usr/share/polkit-1/actions; do
    mount --bind "$folder/own$file" "$file"
done
exec "$@"
"""
"""For sh(1) in a new mount namespace. Arguments: the lab's folder, and the command."""

BUS_CONF = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
"""Nobody else is on it, so nobody is kept from anything."""
LIBVIRTD_CONF = """\
access_drivers = ["polkit"]
auth_unix_rw = "polkit"
unix_sock_rw_perms = "0777"
keepalive_interval = -1
"""
"""As SECURITY.md has it; the last as for the lab's other libvirtd."""
ROOTS_QEMU_CONF = f"""\
{QEMU_CONF}user = "root"
group = "root"
cgroup_controllers = []
namespaces = []
"""
"""Guests run as root: the lab's folder is closed to others. No cgroups and device nodes of their own."""


class GuardedLibvirtd(PrivateLibvirtd):
    """Up inside the `with` block and gone, with all its guests, after it. Only root can make one.

    root may do everything with it, the user `ballast` what `rules` allow, and everybody else nothing.
    """

    def __init__(self, rules: Path) -> None:
        """`rules`: a file for polkit's rules.d. Raises LabError."""
        if os.geteuid() != 0:
            raise LabError("a libvirtd with access control: only root can start one; sudo ./hack/test")
        self._rules = rules
        self._namespace = 0
        super().__init__()

    @property
    def uri(self) -> str:
        """libvirt connection URI, usable by root, and by users that can read the lab's folder: see `as_user`."""
        return f"qemu:///system?socket={self._socket}"

    @property
    def sockets(self) -> Path:
        """The folder of its sockets, in its own eyes /run/libvirt."""
        return self.root / "own" / "run" / "libvirt"

    def start(self) -> int:
        """Start libvirtd, wait until it answers, return its process id; it finds running guests again."""
        if not self._namespace:
            self._namespace = self._start_bus()
            self._start_polkitd()
        self.pid = self._start("libvirtd", ["libvirtd"])
        self._daemons.wait(self.pid, self.root / "libvirtd.log", self._answers, START_S)
        return self.pid

    def allow(self, rules: str) -> None:
        """Other rules from now on."""
        log, mark = self.root / "polkitd.log", f"rules {uuid4()}"
        file = self.root / "own/etc/polkit-1/rules.d" / self._rules.name
        new = file.with_suffix(".new")
        new.write_text(f'{rules}\npolkit.log("{mark}");\n')
        new.chmod(0o644)
        new.rename(file)
        # It reads them twice: the second time may be that of the rules before these.
        until(lambda: LOADED in log.read_text().partition(mark)[2], START_S, "polkitd reading its rules anew")

    def _start_bus(self) -> int:
        log = self.root / "bus.log"
        bus = ["dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", f"--config-file={self.root / 'bus.conf'}"]
        enter = ["unshare", "--mount", "--propagation=private", "sh", "-ec", ENTER, "sh", str(self.root)]
        pid = self._daemons.start([*enter, *bus], log)
        self._daemons.wait(pid, log, lambda: listens(str(self.root / "own/run/dbus/system_bus_socket")), START_S)
        return pid

    def _start_polkitd(self) -> None:
        log = self.root / "polkitd.log"
        pid = self._start("polkitd", [POLKITD])
        self._daemons.wait(pid, log, lambda: "Acquired the name" in log.read_text(), START_S)

    def _start(self, name: str, command: Sequence[str]) -> int:
        enter = ["nsenter", f"--mount=/proc/{self._namespace}/ns/mnt"]
        return self._daemons.start([*enter, *command], self.root / f"{name}.log")

    def _prepare_root(self, boot: Image) -> None:
        shutil.copy(boot.kernel, self.image.kernel)
        shutil.copy(boot.initramfs, self.image.initramfs)
        own = self.root / "own"
        for folder in (*OWN, "run/dbus", "etc/libvirt", "etc/polkit-1/rules.d", "usr/share/polkit-1"):
            (own / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "guests").mkdir()
        (self.root / "bus.conf").write_text(BUS_CONF)
        users = [f"{name}:x:{uid}:{uid}::/nonexistent:/bin/false" for name, uid in USERS.items()]
        groups = [f"{name}:x:{gid}:" for name, gid in GROUPS.items()]
        (own / "etc/passwd").write_text(_extended(Path("/etc/passwd"), users))
        (own / "etc/group").write_text(_extended(Path("/etc/group"), groups))
        (own / "etc/libvirt/libvirtd.conf").write_text(LIBVIRTD_CONF)
        (own / "etc/libvirt/qemu.conf").write_text(ROOTS_QEMU_CONF)
        shutil.copy(self._rules, own / "etc/polkit-1/rules.d")
        shutil.copytree(actions(), own / "usr/share/polkit-1/actions")
        for path in (own, *own.rglob("*")):  # polkitd is no root, whatever the umask
            path.chmod(0o755 if path.is_dir() else 0o644)


def as_user(uid: int, command: Sequence[str]) -> list[str]:
    """`command` as a user who has no right but to read what others keep to themselves.

    That one lets it read a checkout in a folder of root's, and find libvirt's socket in the lab's. Writing, and what
    libvirt and polkit make of a user, do not depend on it.
    """
    rights = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
    bounds = ["--bounding-set=-all,+dac_read_search", "--no-new-privs", "--pdeathsig=TERM"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *rights, *bounds, *command]


def actions() -> Path:
    """The folder of libvirt's actions; fetched where it is missing. Raises LabError."""
    return cached(ACTIONS, _fetch)


def _fetch(result: Path) -> None:
    update_lists()
    shutil.copytree(unpack(PACKAGE, result.parent) / "usr" / "share" / "polkit-1" / "actions", result)


def _extended(file: Path, entries: Sequence[str]) -> str:
    """The text of passwd(5) or group(5) with these entries, where there is none of the name."""
    text = file.read_text()
    known = {line.split(":")[0] for line in text.splitlines()}
    new = [entry for entry in entries if entry.split(":")[0] not in known]
    return "\n".join([text.rstrip("\n"), *new, ""])


if __name__ == "__main__":
    sys.exit(exit_code(actions))

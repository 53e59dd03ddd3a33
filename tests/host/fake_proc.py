"""A /proc of QEMUs that hold what they are told, and a /sys with their cgroups."""

import os
import shutil
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from controller.engine.inventory import DomainFacts

MIB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")


def uuid_of(name: str) -> str:
    return f"00000000-0000-0000-0000-{int.from_bytes(name.encode(), 'big'):012d}"


def facts(name: str, incarnation: int = 1, **others: object) -> DomainFacts:
    """A domain whose key is its name."""
    return DomainFacts(name, uuid_of(name), name, incarnation, 4096 * MIB, 4096 * MIB, **others)


class FakeProc:
    """Processes below `path`, libvirt's files of their numbers below `pid_files`."""

    def __init__(self, folder: Path) -> None:
        self.path, self.pid_files, self.sys = folder / "proc", folder / "pids", folder / "sys"
        (self.path / "1").mkdir(parents=True)
        (self.path / "1" / "cmdline").write_text("init")
        self.pid_files.mkdir()
        (self.path / "meminfo").write_text("")

    def start(self, name: str, pid: int, resident: float = 100, *, noted: bool = True) -> None:
        """The QEMU of a domain; sizes in MiB."""
        folder = self.path / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(f"qemu\0-uuid\0{uuid_of(name)}\0-S\0".encode())
        self.hold(pid, resident)
        if noted:
            (self.pid_files / f"{name}.pid").write_text(f"{pid}\n")

    def hold(self, pid: int, resident: float, shared: float = 0) -> None:
        """`shared` MiB of what it holds are pages of files. It is written at once, for who reads meanwhile."""
        total, of_files = (int(size * MIB) // PAGE for size in (resident, shared))
        statm = os.open(self.path / str(pid) / "statm", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(statm, f"999999 {total:12} {of_files:12} 1 0 999 0\n".encode())
        os.close(statm)

    def mount_cgroups(self, place: str = "") -> None:
        """Those of v2, alone or at `place` beside those of v1."""
        (self.sys / "fs" / "cgroup" / place).mkdir(parents=True)
        (self.sys / "fs" / "cgroup" / place / "cgroup.procs").touch()

    def put(self, pid: int, cgroup: str) -> None:
        """Into a cgroup of v2; sockets play its trigger, see `Trigger`."""
        (self.path / str(pid) / "cgroup").write_text(f"4:memory:/machine/x\n0::{cgroup}\n")

    def end(self, pid: int) -> None:
        """Its files fail as those of a process do that has ended."""
        (self.path / str(pid) / "statm").write_text("")
        shutil.rmtree(self.path / str(pid))


class Triggers:
    """The kernel's PSI triggers, played by sockets: an out-of-band byte raises EPOLLPRI as they do."""

    def __init__(self) -> None:
        self.ends: dict[str, tuple[socket.socket, socket.socket]] = {}
        """By path: ours and Ballast's."""
        self.refusal: OSError | None = None

    def open(self, path: Path, triggers: Sequence[bytes]) -> int:
        """As `open_trigger`."""
        assert triggers == (b"some 300000 2000000\0",)
        if self.refusal:
            raise self.refusal
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        for end in self.ends.get(str(path), ()):
            end.close()
        self.ends[str(path)] = (ours, theirs)
        return theirs.dup().detach()

    def fire(self, path: Path) -> None:
        self.ends[str(path)][0].send(b"!", socket.MSG_OOB)

    def polled(self, path: Path) -> None:
        """The kernel tells of an event once."""
        ours, theirs = self.ends[str(path)]
        theirs.recv(1, socket.MSG_OOB)
        ours.send(b".")  # without a byte that is read as usual a socket takes some thirty urgent ones only
        theirs.recv(1)

    def remove(self, path: Path) -> None:
        """The cgroup is gone."""
        ours, _ = self.ends[str(path)]
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ours.close()

    def close(self) -> None:
        for pair in self.ends.values():
            for each in pair:
                each.close()

"""A /proc of QEMUs that hold what they are told."""

import os
import shutil
from collections.abc import Mapping
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
        self.path, self.pid_files = folder / "proc", folder / "pids"
        (self.path / "1").mkdir(parents=True)
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

    def end(self, pid: int) -> None:
        """Its files fail as those of a process do that has ended."""
        (self.path / str(pid) / "statm").write_text("")
        shutil.rmtree(self.path / str(pid))


def by_key(keys: tuple[str, ...], values: object) -> Mapping[str, float]:
    return dict(zip(keys, values, strict=True))

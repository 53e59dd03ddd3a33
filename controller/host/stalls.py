"""Memory pressure of every domain's QEMU: a PSI trigger of the kernel on the domain's cgroup, where that is one of v2.

QEMU stalls for memory when the host reclaims its pages, or reads back those that it had swapped out, or when the cgroup
is at its own limit. Nothing of that shows in what a guest tells.
https://docs.kernel.org/accounting/psi.html#cgroup2-interface
"""

import os
import select
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from controller.engine.inventory import DomainFacts
from controller.host.pressure import TRIGGERS, open_trigger
from controller.host.processes import PID_FILES, read_file
from controller.host.processfiles import NeverError, ProcessFiles

Bools = NDArray[np.bool_]

TRIGGER = TRIGGERS[1:]
"""For windows of 2 s the kernel needs neither a capability nor, unlike for shorter ones, a thread for each cgroup."""

PARTS = frozenset({"libvirt", "emulator"})
"""cgroups that libvirt makes within a domain's; QEMU's first thread is in one of them."""


class Stalls(ProcessFiles):
    """For one thread."""

    def __init__(
        self, proc: Path, sys: Path, pid_files: Path = PID_FILES, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`proc` and `sys` are the host's, or a mount of them."""
        super().__init__(proc, pid_files, monotonic)
        self._sys = sys
        self._cgroups = _hierarchy(sys / "fs" / "cgroup")
        self._poll = select.epoll()

    def read(self) -> Bools:
        """(n,) whether each domain's QEMU has stalled since the last call, in the order of `watch`."""
        ready = dict(self._poll.poll(0))
        if not ready:
            return np.zeros(len(self.entries), dtype=np.bool_)
        return np.array([self._stalled(key, ready) for key in self.entries], dtype=np.bool_)

    def refusal(self, _: DomainFacts) -> str:
        """That the host has no such cgroups."""
        return "" if self._cgroups else f"{self._sys}/fs/cgroup holds no cgroups of v2"

    def _stalled(self, key: str, ready: dict[int, int]) -> bool:
        entry = self.entries[key]
        event = ready.get(entry.descriptor, 0)
        if event & select.EPOLLERR:
            self.lose(entry, "its cgroup is gone, or the kernel took the trigger back")
            return False
        return event != 0

    def open(self, folder: int) -> int:
        """A trigger on its cgroup. Raises NeverError: where the kernel refuses, it does so for good."""
        assert self._cgroups is not None
        path = self._cgroups / _cgroup(read_file(folder, "cgroup").decode(errors="replace")) / "memory.pressure"
        try:
            trigger = open_trigger(path, TRIGGER)
        except OSError as error:
            raise NeverError(f"no trigger on its cgroup's memory.pressure: {error.strerror}") from error
        try:
            self._poll.register(trigger, select.EPOLLPRI)
        except OSError:
            os.close(trigger)
            raise
        return trigger


def _hierarchy(mount: Path) -> Path | None:
    """Where cgroups of v2 are, beside those of v1 or alone."""
    return next((each for each in (mount, mount / "unified") if (each / "cgroup.procs").exists()), None)


def _cgroup(text: str) -> PurePosixPath:
    """The domain's own cgroup, below the mount of all; `text` is its QEMU's /proc/PID/cgroup. Raises NeverError."""
    own = next((line.removeprefix("0::") for line in text.splitlines() if line.startswith("0::")), "/")
    path = PurePosixPath(own.lstrip("/"))
    while path.name in PARTS:
        path = path.parent
    if ".." in path.parts:
        raise NeverError("its cgroup lies outside of what this container sees")
    if "qemu" not in path.name:
        raise NeverError("libvirt has made no cgroup of v2 for it")
    return path

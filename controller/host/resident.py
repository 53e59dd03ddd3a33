"""Resident memory of every domain's QEMU, by the kernel: what a guest takes into use for the first time shows there
within a tenth of a second, without asking libvirt, QEMU or the guest.

https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.engine.inventory import DomainFacts
from controller.host.processes import PID_FILES
from controller.host.processfiles import ProcessFile, ProcessFiles

Floats = NDArray[np.float64]

PAGE = os.sysconf("SC_PAGE_SIZE")

LONGEST = 128
"""Bytes of a statm, seven numbers, that are read at most."""

NOT_RESIDENT = "its memory is not in QEMU's resident size: huge pages, or a confidential guest"


class Resident(ProcessFiles):
    """For one thread."""

    def __init__(
        self, proc: Path, pid_files: Path = PID_FILES, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`proc` is the host's /proc, or a mount of it."""
        super().__init__(proc, pid_files, monotonic)
        self._of: Sequence[DomainFacts] = ()
        self._readings: list[bytes] = []
        self._sizes: Floats = np.empty(0)

    def open(self, folder: int) -> int:
        """Its statm."""
        return os.open("statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)

    def refusal(self, facts: DomainFacts) -> str:
        """That its guest's memory is not to be seen there."""
        return "" if facts.resident else NOT_RESIDENT

    def read(self) -> Floats:
        """(n,) bytes of guest memory, and QEMU's own, that are in the host's memory, in the order of `watch`; NaN where
        they cannot be read. The same object while nothing has changed, as of guests at rest.
        """
        readings = [self._reading(each) for each in self.entries.values()]
        if readings != self._readings or self._facts is not self._of:
            self._readings, self._of = readings, self._facts
            pages = [self._pages(*each) for each in zip(self.entries.values(), readings, strict=True)]
            self._sizes = np.array(pages, dtype=np.float64) * PAGE
        return self._sizes

    def _reading(self, entry: ProcessFile) -> bytes:
        """Empty where there is none."""
        if entry.descriptor < 0:
            return b""
        try:
            return os.pread(entry.descriptor, LONGEST, 0)
        except OSError as error:
            self.lose(entry, f"its QEMU has ended, or cannot be read any more: {error.strerror}")
            return b""

    def _pages(self, entry: ProcessFile, reading: bytes) -> float:
        """Which column holds guest memory depends on how a file is mapped: both count. Of a guest in no file only
        memory that belongs to none does, and so not QEMU's programs.
        """
        if entry.descriptor < 0:
            return np.nan
        try:
            resident, of_files = map(int, reading.split()[1:3])
        except ValueError as error:
            self.lose(entry, f"its QEMU has ended, or cannot be read any more: {error}")
            return np.nan
        if resident == 0:
            self.lose(entry, "its QEMU has ended, and nobody has taken note of that: a zombie")
            return np.nan
        return resident if entry.facts.in_file else max(resident - of_files, 0)

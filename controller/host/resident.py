"""Resident memory of every domain's QEMU, by the kernel: what a guest takes into use for the first time shows there
within a tenth of a second, without asking libvirt, QEMU or the guest.

A process is found once and its files are kept open: they are of that process for good, and fail when it has ended, so
that another one with the same number is never read. Cheaper, too: 1 us a reading instead of 10.
https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
"""

import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.engine.inventory import DomainFacts
from controller.host.processes import PID_FILES, ProcessError, find, open_process

Floats = NDArray[np.float64]

PAGE = os.sysconf("SC_PAGE_SIZE")

LONGEST = 128
"""Bytes of a statm, seven numbers, that are read at most."""

RETRY_SECONDS = 10.0
"""Until a process that was not found is searched for again: that reads the command line of every process."""

OTHER_DESCRIPTORS = 256
"""Files that the rest of Ballast may need open: libvirt, HTTP, policies."""

NOT_RESIDENT = "its memory is not in QEMU's resident size: huge pages, or a confidential guest"


@dataclass(slots=True)
class _Watched:
    """One domain's QEMU."""

    incarnation: int
    in_file: bool
    """Which column holds guest memory depends on how the file is mapped: both count. Elsewhere only memory that belongs
    to no file does, and so not QEMU's programs."""
    statm: int = -1
    """Descriptor, -1 while there is none."""
    trouble: str = ""
    """Why there is none."""


class Resident:
    """For one thread."""

    def __init__(
        self, proc: Path, pid_files: Path = PID_FILES, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`proc` is the host's /proc, or a mount of it."""
        self._proc = proc
        self._pid_files = pid_files
        self._monotonic = monotonic
        self._watched: dict[str, _Watched] = {}
        self._facts: Sequence[DomainFacts] = ()
        self._search_at = np.inf

    def watch(self, facts: Sequence[DomainFacts]) -> None:
        """The domains that there are now. A process that was not to be found is searched for again now and then."""
        if facts is not self._facts:
            self._facts = facts
            self._follow(facts)
            self._search(facts)
        elif self._monotonic() >= self._search_at:
            self._search(facts)

    def read(self) -> Floats:
        """(n,) bytes of guest memory, and QEMU's own, that are in the host's memory, in the order of `watch`; NaN where
        they cannot be read.
        """
        pages = [self._pages(each) for each in self._watched.values()]
        return np.array(pages, dtype=np.float64) * PAGE

    def troubles(self) -> Mapping[str, str]:
        """Why domains cannot be read, by key."""
        return {key: each.trouble for key, each in self._watched.items() if each.trouble}

    def close(self) -> None:
        """Let go of all files."""
        for each in self._watched.values():
            _release(each)
        self._watched, self._facts = {}, ()

    def _pages(self, watched: _Watched) -> float:
        if watched.statm < 0:
            return np.nan
        try:
            fields = os.pread(watched.statm, LONGEST, 0).split()
            resident = int(fields[1])
            return resident if watched.in_file else resident - int(fields[2])
        except (OSError, ValueError, IndexError) as error:
            _release(watched)
            watched.trouble = f"its QEMU has ended, or cannot be read any more: {getattr(error, 'strerror', error)}"
            self._search_at = min(self._search_at, self._monotonic() + RETRY_SECONDS)
            return np.nan

    def _follow(self, facts: Iterable[DomainFacts]) -> None:
        """Keep who is still there in the same life, in the new order."""
        before, self._watched = self._watched, {}
        for each in facts:
            known = before.pop(each.key, None)
            if known is not None and (known.incarnation, known.in_file) != (each.incarnation, each.in_file):
                _release(known)
                known = None
            trouble = "" if each.resident else NOT_RESIDENT
            self._watched[each.key] = known or _Watched(each.incarnation, each.in_file, trouble=trouble)
        for known in before.values():
            _release(known)

    def _search(self, facts: Sequence[DomainFacts]) -> None:
        """Find and open the processes that are not open yet."""
        missing = [each for each in facts if each.resident and self._watched[each.key].statm < 0]
        self._search_at = np.inf
        if not missing:
            return
        allow_descriptors(len(facts) + OTHER_DESCRIPTORS)
        found = find(self._proc, {each.uuid: each.name for each in missing}, self._pid_files)
        for each in missing:
            watched = self._watched[each.key]
            watched.trouble = ""
            try:
                watched.statm = open_process(self._proc, found[each.uuid], each.uuid, "statm")
            except ProcessError as error:
                watched.trouble = str(error)
                self._search_at = self._monotonic() + RETRY_SECONDS


def allow_descriptors(number: int) -> None:
    """Raise the process's own limit of open files, as far as it may: it is often 1,024, and each domain takes one.

    Where a sandbox forbids that, domains beyond the limit cannot be read, which is said.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _release(watched: _Watched) -> None:
    if watched.statm >= 0:
        os.close(watched.statm)
        watched.statm = -1

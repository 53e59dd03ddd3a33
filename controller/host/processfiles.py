"""A file of each domain's QEMU that is kept open: a size, or a trigger.

A process is found once and what belongs to it stays open: that is of this process for good, and fails when it has
ended, so that another one with the same number is never read. Cheaper, too: 1 us a reading instead of 10.
"""

import os
import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controller.engine.inventory import DomainFacts
from controller.host.processes import PID_FILES, ProcessError, find, opened

RETRY_S = 10.0
"""Until a process that was not found is searched for again: that reads the command line of every process."""
LONGEST_S = 160.0
"""The same after some searches in vain: with 2,000 processes on the host one takes 20 ms of a processor."""

OTHER_DESCRIPTORS = 256
"""Files that the rest of Ballast may need open: libvirt, HTTP, policies."""


class NeverError(Exception):
    """A process has no such file, and will have none while it lives; the message says why."""


@dataclass(slots=True)
class ProcessFile:
    """One domain's QEMU."""

    facts: DomainFacts
    descriptor: int = -1
    """-1 while there is none."""
    trouble: str = ""
    """Why there is none."""
    hopeless: bool = False
    """There will be none while it lives."""

    def release(self, trouble: str = "") -> None:
        """Let go of the file, because of `trouble`."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor, self.trouble = -1, trouble


class ProcessFiles(ABC):
    """For one thread."""

    def __init__(
        self, proc: Path, pid_files: Path = PID_FILES, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`proc` is the host's /proc, or a mount of it."""
        self._proc = proc
        self._pid_files = pid_files
        self._monotonic = monotonic
        self.entries: dict[str, ProcessFile] = {}
        """By key, in the order of `watch`."""
        self._facts: Sequence[DomainFacts] = ()
        self._search_at = np.inf
        self._pause = RETRY_S
        self._troubles: tuple[tuple[str, str], ...] | None = None

    @property
    def troubles(self) -> tuple[tuple[str, str], ...]:
        """Names of the domains without a file, and why there is none."""
        if self._troubles is None:
            self._troubles = tuple((each.facts.name, each.trouble) for each in self.entries.values() if each.trouble)
        return self._troubles

    @abstractmethod
    def open(self, folder: int) -> int:
        """A descriptor of what is to be followed, given one of the process's folder. Raises OSError and NeverError."""

    @abstractmethod
    def refusal(self, facts: DomainFacts) -> str:
        """Why a domain has nothing to be followed, whatever its process; empty where it has."""

    def watch(self, facts: Sequence[DomainFacts]) -> None:
        """The domains that there are now. A process that was not to be found is searched for again now and then."""
        if facts is not self._facts:
            self._facts, self._pause = facts, RETRY_S
            self._follow(facts)
            self._search()
        elif self._monotonic() >= self._search_at:
            self._search()

    def lose(self, entry: ProcessFile, trouble: str) -> None:
        """Its file fails: the process has most likely ended. It is searched for again."""
        entry.release(trouble)
        self._troubles = None
        self._search_at = min(self._search_at, self._monotonic() + RETRY_S)

    def close(self) -> None:
        """Let go of all files."""
        for each in self.entries.values():
            each.release()
        self.entries, self._facts = {}, ()

    def _follow(self, facts: Iterable[DomainFacts]) -> None:
        """Keep who is still there in the same life, in the new order."""
        before, self.entries = self.entries, {}
        for each in facts:
            known = before.get(each.key)
            if known is None or known.facts.incarnation != each.incarnation:
                self.entries[each.key] = ProcessFile(each)
            else:
                self.entries[each.key] = before.pop(each.key)
                known.facts = each
        for known in before.values():
            known.release()

    def _search(self) -> None:
        """Find the processes whose files are not open yet, and open these."""
        missing = [each for each in self.entries.values() if each.descriptor < 0 and self._wanted(each)]
        self._search_at, self._troubles = np.inf, None
        if not missing:
            return
        found = find(self._proc, {each.facts.uuid: each.facts.name for each in missing}, self._pid_files)
        for each in missing:
            self._open(each, found[each.facts.uuid])
        if any(each.descriptor < 0 and not each.hopeless for each in missing):
            self._search_at = self._monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_S)

    def _wanted(self, entry: ProcessFile) -> bool:
        """Whether its process is to be searched for."""
        if not entry.hopeless:
            entry.trouble = self.refusal(entry.facts)
        return not entry.trouble

    def _open(self, entry: ProcessFile, pids: Sequence[int]) -> None:
        try:
            with opened(self._proc, pids, entry.facts.uuid) as folder:
                entry.descriptor = self.open(folder)
        except NeverError as error:
            entry.trouble, entry.hopeless = str(error), True
        except ProcessError as error:
            entry.trouble = str(error)


def allow_descriptors(number: int) -> None:
    """Raise the process's own limit of open files, as far as it may: it is often 1,024, and a domain takes a few.

    Where a sandbox forbids that, domains beyond the limit cannot be read, which is said.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))

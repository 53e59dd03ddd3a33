"""Policies from a folder: every YAML file in it is what `kubectl apply` would take. No cluster needed.

A file that cannot be read or understood is refused, and its last good version keeps working. Only a file that
is gone for good takes its policies with it: editors and git replace one by deleting it first.
"""

import errno
import logging
import math
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.events import (
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from controller.api.documents import MAXIMUM_SIZE, Loaded, Problem, clashes, load
from controller.api.policy import MemoryPolicy
from controller.engine.ownership import NodeIdentity

_log = logging.getLogger(__name__)

RESCAN_S = 30.0
"""Seconds between two scans that no event asked for: events get lost (a full queue, network file systems)."""
ABSENCE_S = 2.0
"""Seconds a file must be missing to count as deleted; far more than a tool needs to write it anew."""
SUFFIXES = (".yaml", ".yml")

_WHOLE_FILES: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    DirDeletedEvent,
    DirMovedEvent,
]
"""A file is looked at when its writer is done; opening and reading it (our own scan) is no event here."""


class FolderError(Exception):
    """The folder cannot be used at all; the message holds its path, the cause and the remedy."""


@dataclass(slots=True)
class _File:
    """What is remembered of one file."""

    content: bytes | None = None
    """As last judged; None while it cannot be read."""
    good: Loaded = field(default_factory=Loaded)
    """Its last version without problems."""
    problems: tuple[str, ...] = ()
    """Why its present version is refused."""
    changed_at: float = -math.inf
    """Monotonic seconds of the scan that found its present content."""
    missing_since: float | None = None
    """Monotonic seconds of the first scan that did not find it."""


class PolicyFolder:
    """A PolicySource over a folder. `current` belongs to one thread; `touched` may be called from any."""

    awaited = ""
    """Nothing: the folder is read at the first `current`."""
    inherited = ()
    """Nothing: a folder does not say what was in it before."""

    def __init__(self, folder: Path, node: NodeIdentity, monotonic: Callable[[], float]) -> None:
        """Raises FolderError when the folder is missing, is not a folder, or cannot be read."""
        self.node = node
        self._folder = folder
        self._monotonic = monotonic
        self._files: dict[str, _File] = {}
        self._outage: tuple[str, ...] = ()
        self._clashes: tuple[str, ...] = ()
        self._policies: tuple[MemoryPolicy, ...] = ()
        self._version = 0
        self._dirty = True
        self._scanned = monotonic()
        try:
            self._names()
        except OSError as error:
            raise FolderError(f"--policies {folder}: {error.strerror}; {_remedy(error)}") from error

    def current(self) -> tuple[int, tuple[MemoryPolicy, ...]]:
        """The policies in force, and a version that grows when they change; scans when there is reason to."""
        now = self._monotonic()
        if self._dirty or now - self._scanned >= RESCAN_S or any(_deleted(file, now) for file in self._files.values()):
            self._dirty = False
            self._scanned = now
            self._scan(now)
        return self._version, self._policies

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is refused at present, one line each."""
        broken = (problem for name in sorted(self._files) for problem in self._files[name].problems)
        return (*broken, *self._clashes)

    @property
    def outage(self) -> str:
        """Why the folder itself cannot be read at present."""
        return "".join(self._outage)

    def touched(self) -> None:
        """Something in the folder changed: scan at the next `current`."""
        self._dirty = True

    def _names(self) -> list[str]:
        """The policy files, by name; editors' and tools' hidden files are none of them. Raises OSError."""
        names = (entry.name for entry in os.scandir(self._folder))
        return sorted(name for name in names if name.endswith(SUFFIXES) and not name.startswith("."))

    def _scan(self, now: float) -> None:
        try:
            names = self._names()
        except OSError as error:
            problem = f"{self._folder}: {error.strerror}; {_remedy(error)}; its policies stay in force until then"
            self._outage = _said((problem,), self._outage)
            return
        self._outage = ()
        for name in names:
            file = self._files.setdefault(name, _File())
            file.missing_since = None
            _judge(self._folder / name, file, now)
        for name in self._files.keys() - set(names):
            file = self._files[name]
            file.missing_since = now if file.missing_since is None else file.missing_since
        self._files = {name: file for name, file in sorted(self._files.items()) if not _deleted(file, now)}
        self._merge()

    def _merge(self) -> None:
        """All files together; of policies with the same name the first file's counts.

        One that is written into another file when its own is missing has moved there.
        """
        there = {
            str(self._folder / name): file.good for name, file in self._files.items() if file.missing_since is None
        }
        self._clashes = _said(map(str, clashes(there)), self._clashes)
        named: dict[str, MemoryPolicy] = {}
        for file in self._files.values():
            for policy in file.good.policies:
                if not self._moved(policy.name, file):
                    named.setdefault(policy.name, policy)
        policies = tuple(named.values())
        if policies != self._policies:
            self._policies = policies
            self._version += 1
            _log.info(
                "MemoryPolicies in force: %s",
                ", ".join(named) or "none",
                extra={"fields": {"event": "policies", "policies": list(named)}},
            )

    def _moved(self, policy: str, file: _File) -> bool:
        """Whether `file` is missing, and another one has got its policy since."""
        return file.missing_since is not None and any(
            other.missing_since is None
            and other.changed_at >= file.missing_since
            and policy in {each.name for each in other.good.policies}
            for other in self._files.values()
        )


class FolderWatch:
    """Tells of changes in a folder as they happen; a context manager. Without it scans notice them later.

    `changed` is called once at the start too: something may have changed while nobody watched.
    """

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._handler = _Handler(changed)
        self._observer: InotifyObserver | None = None

    def __enter__(self) -> "FolderWatch":
        observer = InotifyObserver(generate_full_events=True)  # else a file moved in is told as one just begun
        try:
            observer.schedule(self._handler, str(self._folder), event_filter=_WHOLE_FILES)
            observer.start()
        except OSError as error:
            _log.warning(
                "%s: cannot be watched (%s); changes are noticed within %.0f s",
                self._folder,
                error.strerror,
                RESCAN_S,
            )
        else:
            self._observer = observer
        self._changed()
        return self

    def __exit__(self, *_: object) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - watchdog's signature
        """Whatever it was, a scan finds out."""
        self._changed()


def _deleted(file: _File, now: float) -> bool:
    return file.missing_since is not None and now - file.missing_since >= ABSENCE_S


def _judge(path: Path, file: _File, now: float) -> None:
    """Take the present version, or refuse it and keep the last good one; a refusal is said once a content."""
    try:
        content = _read(path)
    except FileNotFoundError:
        return
    except OSError as error:
        unreadable = Problem(str(path), None, "", "", _cause(error), "make it a plain file that Ballast can read")
        file.content = None
        _refuse(path, file, (str(unreadable),), file.problems)
        return
    if content == file.content:
        return
    file.content, file.changed_at = content, now
    loaded = load(content, str(path))
    if not loaded.problems and not loaded.policies and file.good.policies:
        loaded = Loaded(problems=(_emptied(path),))
    if loaded.problems:
        _refuse(path, file, tuple(map(str, loaded.problems)), ())
        return
    if file.problems:
        _log.info("%s: accepted", path, extra={"fields": {"event": "accepted policy"}})
    file.problems, file.good = (), loaded


def _refuse(path: Path, file: _File, problems: tuple[str, ...], before: tuple[str, ...]) -> None:
    """Log what is new, and what is in force instead."""
    file.problems = _said(problems, before)
    if problems != before:
        names = ", ".join(policy.name for policy in file.good.policies)
        _log.warning(
            "%s: refused; %s",
            path,
            f"its last good version stays in force: {names}" if names else "nothing of it is in force",
            extra={"fields": {"event": "refused file"}},
        )


def _read(path: Path) -> bytes:
    """A plain file's content, cut above what `load` refuses. Raises OSError; never waits on a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        return os.read(descriptor, MAXIMUM_SIZE + 1)
    finally:
        os.close(descriptor)


def _cause(error: OSError) -> str:
    return "a symbolic link" if error.errno == errno.ELOOP else str(error.strerror)


def _emptied(path: Path) -> Problem:
    return Problem(str(path), None, "", "", "holds no MemoryPolicy any more", "delete the file to delete its policies")


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "let the user that runs Ballast list and read it"
    if isinstance(error, NotADirectoryError):
        return "name the folder that holds it"
    return "create the folder, or name the one that holds the policies"


def _said(problems: Iterable[str], before: tuple[str, ...]) -> tuple[str, ...]:
    """Log the problems that are new, and return them all."""
    now = tuple(problems)
    for problem in now:
        if problem not in before:
            _log.error("%s", problem, extra={"fields": {"event": "refused policy"}})
    return now

"""A folder as it changes: which files are being written, which came whole, and that there is something to look at."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from watchdog.events import (
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from controller import policyfiles

_log = logging.getLogger(__name__)

RESCAN_S = 30.0
"""Seconds between two scans that no event asked for: events get lost (a full queue, network file systems)."""
SETTLED_S = 1.0
"""Seconds a file must be as it is to count, unless it came whole: who writes in parts is quicker."""

_EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    DirDeletedEvent,
    DirMovedEvent,
]
"""Opening and reading a file (our own scan) is no event here."""


class Writers:
    """Which files are being written, and which came whole, by what the file system tells. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writing: set[str] = set()
        self._closed: dict[str, int] = {}
        self._whole: set[str] = set()

    def modified(self, name: str, modified_ns: int, wall: float) -> None:
        """Somebody writes it; or has only changed its attributes, when its content is old, or was closed like this."""
        with self._lock:
            if self._closed.get(name) != modified_ns and wall - modified_ns / 1e9 < SETTLED_S:
                self._writing.add(name)

    def closed(self, name: str, modified_ns: int) -> None:
        """Who wrote it is done with it, for now."""
        with self._lock:
            self._writing.discard(name)
            self._closed[name] = modified_ns

    def moved(self, before: str, after: str) -> None:
        """It was put in its place, or taken away, as a whole."""
        with self._lock:
            self._writing -= {before, after}
            self._closed.pop(before, None)
            self._whole.add(after)

    def deleted(self, name: str) -> None:
        """Nothing is left to be known of it."""
        with self._lock:
            self._writing.discard(name)
            self._closed.pop(name, None)

    def writing(self, name: str) -> bool:
        """Whether its writer has not closed it."""
        with self._lock:
            return name in self._writing

    def take_whole(self) -> set[str]:
        """Names that something was moved to since the last call."""
        with self._lock:
            whole, self._whole = self._whole, set()
            return whole


class FolderWatch:
    """Tells of changes in a folder as they happen; a context manager. Without it scans notice them later.

    Where the folder is reached through links, those are watched as well: tools replace one to change all files at once.
    """

    def __init__(self, folder: Path, writers: Writers, wall: Callable[[], float], changed: Callable[[], None]) -> None:
        self._folder = folder
        self._handler = _Handler(writers, wall, changed)
        self._observer: InotifyObserver | None = None
        self._watched: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.renew()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def renew(self) -> None:
        """Watch what the folder's path leads to by now."""
        watched = _ways(self._folder)
        if watched == self._watched:
            return
        self._end()
        self._watched = watched
        observer = InotifyObserver(generate_full_events=True)  # else a file moved in is told as one just begun
        try:
            for path in watched:
                observer.schedule(self._handler, path, event_filter=_EVENTS)
            observer.start()
        except (OSError, RuntimeError) as error:  # the latter where there is no thread for it
            _log.warning(
                "%s: cannot be watched (%s); changes are noticed within %.0f s",
                self._folder,
                getattr(error, "strerror", error),
                RESCAN_S,
            )
        else:
            self._observer = observer

    def _end(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None


class _Handler(FileSystemEventHandler):
    def __init__(self, writers: Writers, wall: Callable[[], float], changed: Callable[[], None]) -> None:
        self._writers = writers
        self._wall = wall
        self._changed = changed

    def on_modified(self, event: FileSystemEvent) -> None:
        """No reason to look: that comes when it is closed."""
        if (modified := _modified_ns(event.src_path)) is not None:
            self._writers.modified(_name(event.src_path), modified, self._wall())

    def on_created(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - watchdog's signature
        """A link is there at once; a file is looked at again when it is closed."""
        self._changed()

    def on_closed(self, event: FileSystemEvent) -> None:
        """Written, for now."""
        self._writers.closed(_name(event.src_path), _modified_ns(event.src_path) or 0)
        self._changed()

    def on_moved(self, event: FileSystemEvent) -> None:
        """In, out, or here."""
        self._writers.moved(_name(event.src_path), _name(event.dest_path))
        self._changed()

    def on_deleted(self, event: FileSystemEvent) -> None:
        """A file, or the folder."""
        self._writers.deleted(_name(event.src_path))
        self._changed()


def _name(path: bytes | str) -> str:
    return os.path.basename(os.fsdecode(path))


def _modified_ns(path: bytes | str) -> int | None:
    """When a policy file was written last; None for others, and where it is gone."""
    if not os.fsdecode(path).endswith(policyfiles.SUFFIXES):
        return None
    try:
        return os.stat(path, follow_symlinks=False).st_mtime_ns
    except OSError:
        return None


def _ways(folder: Path) -> dict[str, int]:
    """The folder as the file system has it, and the folders of the links on the way to it, with their inodes."""
    links = [each for each in (folder.absolute(), *folder.absolute().parents) if each.is_symlink()]
    return {os.path.realpath(each): _inode(each) for each in (folder, *(link.parent for link in links))}


def _inode(path: Path) -> int:
    """0 where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0

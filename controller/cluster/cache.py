"""What was last known of the cluster, on disk: an agent restarted while the API server is away goes on with it."""

import errno
import json
import logging
import os
import stat
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controller.cluster.resources import Object

_log = logging.getLogger(__name__)

FILE = "cluster.json"
MAXIMUM_SIZE = 4 * 2**20
"""Bytes. A thousand ordinary policies have less than one MiB."""
_FORMAT = 1
"""Of the file; another one is not read."""
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Of a folder that was all right before: no reason not to start, for guests need the agent more than it the cache."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an agent has to know to go on."""

    node: Object
    """Of the Node: name, uid, labels, and the bytes of memory withheld from pods."""
    policies: tuple[Object, ...]
    """As the API server gave them; read again with the same care."""


class CacheError(Exception):
    """The folder cannot be used; the message holds its path, the cause and the remedy."""


class Cache:
    """One file in a folder, written whole or not at all. `write` may be called from any thread."""

    def __init__(self, folder: Path, node_name: str) -> None:
        """Makes the folder, and clears it of what a killed agent left half written. Raises CacheError.

        What is in it decides what becomes of guests, so nobody else may write to it: a folder of somebody else's is
        refused, and one of our own that others could write to is emptied and closed to them, if it is for nothing else:
        not `/tmp`. A disk that is full or has
        become read-only is no error: that may pass, and `write` says so.
        """
        self._file = folder / FILE
        self._node_name = node_name
        self._lock = threading.Lock()
        self._written: Remembered | None = None
        self._failure: Exception | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._claim(folder)
            _try_out(folder)
        except OSError as error:
            remedy = "name a folder that Ballast may write to"
            raise CacheError(f"--cache-dir {folder}: {error.strerror}; {remedy}") from error

    def _claim(self, folder: Path) -> None:
        """Raises CacheError, OSError."""
        status = folder.stat()
        if not _ours(status):
            remedy = f"name one of user {os.geteuid()}'s, which only that user may write to"
            raise CacheError(f"--cache-dir {folder}: belongs to user {status.st_uid}; {remedy}")
        if status.st_mode & _OTHERS_WRITE:
            if status.st_mode & stat.S_ISVTX or _shared(folder):
                remedy = "name one that is for nothing else"
                raise CacheError(f"--cache-dir {folder}: others may write to it, and it is in use; {remedy}")
            if status.st_uid != os.geteuid():
                raise CacheError(f"--cache-dir {folder}: others may write to it; chmod go-w it, or name another folder")
            folder.chmod(0o700)
            if os.path.lexists(self._file):
                _log.warning("%s: thrown away: others could have written it", self._file, extra=_FIELDS)
                self._file.unlink()

    @property
    def retry(self) -> bool:
        """The last `write` failed for a reason that may pass."""
        return isinstance(self._failure, OSError)

    def read(self) -> Remembered | None:
        """What was written last; None without it. A file that makes no sense is said and ignored."""
        try:
            with open(self._file, "rb", opener=_trusted) as file:
                content = file.read(MAXIMUM_SIZE + 1)
            return self._understood(content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("%s: ignored, it cannot be read: %s", self._file, _cause(error), extra=_FIELDS)
            return None

    def write(self, remembered: Remembered) -> None:
        """Replace the file if there is something new, or the last try failed.

        A failure is said once, and costs nothing but the cache: what was written last stays.
        """
        with self._lock:
            if remembered != self._written:
                self._write(remembered)

    def _write(self, remembered: Remembered) -> None:
        document = {"format": _FORMAT, "node": remembered.node, "policies": remembered.policies}
        content = json.dumps(document, separators=(",", ":")).encode()
        try:
            if len(content) > MAXIMUM_SIZE:
                raise ValueError(f"larger than {MAXIMUM_SIZE} bytes")
            _replace(self._file, content)
        except (OSError, ValueError) as error:
            if self._failure is None:
                _log.warning("%s: not written: %s", self._file, _cause(error), extra=_FIELDS)
            self._failure = error
        else:
            if self._failure is not None:
                _log.info("%s: written again", self._file, extra=_FIELDS)
            self._failure, self._written = None, remembered

    def _understood(self, content: bytes) -> Remembered | None:
        if len(content) > MAXIMUM_SIZE:
            raise ValueError(f"larger than {MAXIMUM_SIZE} bytes")
        document = json.loads(content)
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']!r}, not {_FORMAT}")
        node, policies = document["node"], tuple(document["policies"])
        labels = node.get("labels", {})
        texts = [node["name"], node["uid"], *labels, *labels.values()]
        names = [policy["metadata"]["name"] for policy in policies]
        if not all(isinstance(text, str) for text in texts + names):
            raise ValueError("a name or label is not text")
        if not isinstance(node["withheld"], int):
            raise ValueError("withheld is not a number")
        if node["name"] != self._node_name:
            raise ValueError(f"of node {node['name']}, not {self._node_name}")
        return Remembered(node, policies)


_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def _ours(status: os.stat_result) -> bool:
    """Whether it belongs to whom we run as, or to root."""
    return status.st_uid in {0, os.geteuid()}


def _shared(folder: Path) -> bool:
    """Whether there is something in it that is not the cache's. Raises OSError."""
    return any(name != FILE and not name.startswith(_UNFINISHED) for name in os.listdir(folder))


def _trusted(path: str, flags: int) -> int:
    """A plain file that only we or root can have written; nobody is waited for. Raises OSError, ValueError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and _ours(status) and not status.st_mode & _OTHERS_WRITE:
        return descriptor
    os.close(descriptor)
    raise ValueError("not a plain file that nobody else may write to")


_UNFINISHED = f".{FILE}."
"""Begin the names of files that are being written."""

_FIELDS = {"fields": {"event": "cache"}}


def _cause(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else error) or type(error).__name__


def _try_out(folder: Path) -> None:
    """Whether files can be made and removed in it. Raises OSError."""
    try:
        for left in folder.glob(f"{_UNFINISHED}*"):
            left.unlink(missing_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in _PASSING:
            raise


def _replace(file: Path, content: bytes) -> None:
    """Whole or not at all, also across a power cut. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise

"""Policies from a folder: every YAML file in it is what `kubectl apply` would take. No cluster needed.

A file that cannot be read or understood is refused, and its last good version keeps working. Only a file that
is gone for good takes its policies with it: editors and git replace one by deleting it first. One that is being
written waits, so that its beginning never counts for the whole.

Files are read on a thread of their own: nothing in them keeps the control loop waiting.
"""

import hashlib
import logging
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from controller import policyfiles
from controller.api.documents import Loaded, Problem, clashes, load
from controller.api.policy import MemoryPolicy
from controller.engine.ownership import NodeIdentity
from controller.folderwatch import RESCAN_S, SETTLED_S, FolderWatch, Writers
from controller.policyfiles import FileError, Found, Size, Stamp

_log = logging.getLogger(__name__)

ABSENCE_S = 2.0
"""Seconds a file must be missing to count as deleted; far more than a tool needs to write it anew."""
WRITING_S = 30.0
"""Seconds a file must be as it is while its writer has not closed it; one that never does is not waited for."""
FIRST_S = 3.0
"""Seconds the start waits for the first scan; most folders are read within milliseconds, or when they have settled."""
TOLD = 10
"""Problems of one file that are told; `ballast check` names them all."""
TOLD_OF_ALL = 100
"""Problems of all files that are told at a time."""

REST_S = 0.1
"""Seconds between two scans, or as long as the last one took: who changes files without end gets half a core."""
_SWAPPED = ".."
"""What the link begins with that Kubernetes moves to its place to change all files of a volume at once."""


class FolderError(Exception):
    """The folder cannot be used at all; the message holds its path, the cause and the remedy."""


@dataclass(slots=True)
class _File:
    """What is remembered of one file."""

    stamp: Stamp | None = None
    """Of the version that was judged last; None while it cannot be read."""
    digest: bytes = b""
    """Of that version's content."""
    good: Loaded = field(default_factory=Loaded)
    """Its last version without problems."""
    size: Size = field(default_factory=Size)
    """Of that version's policies."""
    problems: tuple[str, ...] = ()
    """Why its present version is refused."""
    changed_at: float = -math.inf
    """Monotonic seconds of the scan that found its present content."""
    missing_since: float | None = None
    """Monotonic seconds of the first scan that did not find it."""
    unsettled: Stamp | None = None
    """Of a version that may still be written."""
    unsettled_since: float = math.inf
    """Monotonic seconds of the first scan that found it so."""

    def settle(self) -> None:
        """Nothing of it is waited for."""
        self.unsettled, self.unsettled_since = None, math.inf

    def gone(self, now: float) -> bool:
        """Whether it has been missing for so long that it was deleted."""
        return self.missing_since is not None and now - self.missing_since >= ABSENCE_S


@dataclass(frozen=True, slots=True)
class _Known:
    """What a scan came to."""

    version: int = 0
    policies: tuple[MemoryPolicy, ...] = ()
    problems: tuple[str, ...] = ()
    outage: str = ""
    awaited: str = ""


class PolicyFolder:
    """A PolicySource over a folder. `scan` and `due` belong to one thread, all else to another one."""

    inherited = ()
    """Nothing: a folder does not say what was in it before."""

    def __init__(
        self,
        folder: Path,
        node: NodeIdentity,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        go_on: Callable[[float], bool] = lambda _seconds: True,
    ) -> None:
        """`go_on` is called between files with the seconds the last one took; a scan ends where it is false.

        Raises FolderError when the folder is missing, is not a folder, or cannot be read.
        """
        self.node = node
        self.writers = Writers()
        self._folder = folder
        self._monotonic, self._wall = monotonic, wall
        self._go_on = go_on
        self._files: dict[str, _File] = {}
        self._surplus: tuple[str, ...] = ()
        self._clashes: tuple[str, ...] = ()
        self._outage: tuple[str, ...] = ()
        self._failure: BaseException | None = None
        self._place = ""
        """Where the folder was at the last whole scan; empty before that. Elsewhere all of it was replaced at once."""
        self._begun = monotonic()
        self._scanned = -math.inf
        self._known = self._seen = _Known(awaited=f"the files of {folder} to be read")
        try:
            policyfiles.names(folder)
        except OSError as error:
            raise FolderError(f"--policies {folder}: {error.strerror}; {_remedy(error)}") from error

    def current(self) -> tuple[int, tuple[MemoryPolicy, ...]]:
        """The policies in force, and a version that grows when they change.

        Raises what ended the thread that scans: without it changes would be missed for ever.
        """
        if self._failure is not None:
            raise self._failure
        self._seen = self._known
        return self._seen.version, self._seen.policies

    @property
    def awaited(self) -> str:
        """The first scan, until it is done."""
        return self._seen.awaited

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is refused at present, one line each."""
        return self._seen.problems

    @property
    def outage(self) -> str:
        """Why the folder itself cannot be read at present."""
        return self._seen.outage

    @property
    def ready(self) -> bool:
        """Whether what was there at the start has been read; what is being written then is given a little time."""
        return not self._known.awaited

    def fail(self, error: BaseException) -> None:
        """The thread that scans ends with this; so does the next `current`."""
        self._failure = error

    def due(self) -> float:
        """Monotonic time of the next scan that no event asks for."""
        if self._outage:
            return self._scanned + ABSENCE_S
        times = [self._scanned + RESCAN_S]
        for name, file in self._files.items():
            if file.missing_since is not None:
                times.append(file.missing_since + ABSENCE_S)
            if file.unsettled is not None:
                times.append(file.unsettled_since + (WRITING_S if self.writers.writing(name) else SETTLED_S))
        return min(times)

    def scan(self) -> bool:
        """Look at every file, read those that have changed; whether there is something new in `current`."""
        now = self._scanned = self._monotonic()
        whole = self.writers.take_whole()
        try:
            with policyfiles.pinned(self._folder) as (root, place):
                names, more = policyfiles.names(root)
                self._outage = ()
                surplus = (str(policyfiles.surplus(self._folder, more)),) if more else ()
                self._surplus = _said(surplus, self._surplus)
                if not self._look_at_all(root, names, whole, now):
                    return False
        except OSError as error:
            problem = f"{self._folder}: {error.strerror}; {_remedy(error)}; its policies stay in force until then"
            self._outage = _said((problem,), self._outage)
            return self._publish(self._known.policies)
        swapped, self._place = self._place not in {"", place}, place
        for name in self._files.keys() - set(names):
            file = self._files[name]
            file.settle()
            file.missing_since = now if file.missing_since is None else file.missing_since
            if swapped:
                file.missing_since = -math.inf
        self._files = {name: file for name, file in sorted(self._files.items()) if not file.gone(now)}
        return self._publish(self._merged())

    def _look_at_all(self, root: Path, names: Iterable[str], whole: set[str], now: float) -> bool:
        """Whether it came to the end of them."""
        for name in names:
            began = self._monotonic()
            self._look(root, name, whole, now)
            if not self._go_on(self._monotonic() - began):
                return False
        return True

    def _look(self, root: Path, name: str, whole: set[str], now: float) -> None:
        """Take the present version of a file, or refuse it and keep the last good one; a refusal is said once."""
        file = self._files.setdefault(name, _File())
        path = self._folder / name
        try:
            with policyfiles.located(root, name) as found:
                file.missing_since = None
                if found.stamp == file.stamp:
                    file.settle()
                elif self._settled(name, file, found, whole, now) and (content := found.read()) is not None:
                    file.stamp = found.stamp
                    file.settle()
                    self._judge(path, file, content, now)
        except FileNotFoundError:
            file.settle()
        except FileError as error:
            file.settle()
            file.stamp, file.digest = None, b""
            problem = Problem(str(path), None, "", "", error.message, error.remedy)
            _refuse(path, file, (str(problem),), file.problems)

    def _settled(self, name: str, file: _File, found: Found, whole: set[str], now: float) -> bool:
        """Whether it is written to its end, for all that is known."""
        if file.unsettled != found.stamp:
            file.unsettled, file.unsettled_since = found.stamp, now
        still = now - file.unsettled_since
        if self.writers.writing(name):
            return still >= WRITING_S
        swapped = found.linked and any(each.startswith(_SWAPPED) for each in whole)
        came_whole = name in whole or swapped
        return came_whole or still >= SETTLED_S or self._wall() - found.stamp.modified_ns / 1e9 >= SETTLED_S

    def _judge(self, path: Path, file: _File, content: bytes, now: float) -> None:
        digest = hashlib.sha256(content).digest()
        if digest == file.digest:
            return
        file.digest, file.changed_at = digest, now
        loaded = load(content, str(path))
        if not loaded.problems and not loaded.policies and file.good.policies:
            loaded = Loaded(problems=(_emptied(path),))
        others = [each.size for each in self._files.values() if each is not file]
        size = Size(*map(sum, zip(*others, strict=True))).along(loaded.policies)
        if problem := policyfiles.crowd(str(path), size):
            loaded = Loaded(problems=(problem,))
        if loaded.problems:
            _refuse(path, file, _first(map(str, loaded.problems), TOLD, str(path)), ())
            return
        if file.problems:
            _log.info("%s: accepted", path, extra={"fields": {"event": "accepted policy"}})
        file.problems, file.good, file.size = (), loaded, Size().along(loaded.policies)

    def _publish(self, policies: tuple[MemoryPolicy, ...]) -> bool:
        broken = [problem for name in sorted(self._files) for problem in self._files[name].problems]
        problems = _first([*self._surplus, *broken, *self._clashes], TOLD_OF_ALL, str(self._folder))
        before = self._known
        waits = any(file.unsettled is not None for file in self._files.values())
        late = self._scanned - self._begun >= 2 * SETTLED_S
        awaited = before.awaited if waits and not late else ""
        version = before.version + (policies != before.policies or awaited != before.awaited)
        known = _Known(version, policies, problems, "".join(self._outage), awaited)
        self._known = known
        return known != before

    def _merged(self) -> tuple[MemoryPolicy, ...]:
        """All files together; of policies with the same name the first file's counts.

        One that is written into another file when its own is missing has moved there.
        """
        there = {
            str(self._folder / name): file.good for name, file in self._files.items() if file.missing_since is None
        }
        self._clashes = _said(_first(map(str, clashes(there)), TOLD, str(self._folder)), self._clashes)
        named: dict[str, MemoryPolicy] = {}
        for file in self._files.values():
            for policy in file.good.policies:
                if not self._moved(policy.name, file):
                    named.setdefault(policy.name, policy)
        policies = tuple(named.values())
        if policies != self._known.policies:
            _log.info(
                "MemoryPolicies in force: %s",
                ", ".join(named) or "none",
                extra={"fields": {"event": "policies", "policies": list(named)}},
            )
        return policies

    def _moved(self, policy: str, file: _File) -> bool:
        """Whether `file` is missing, and another one has got its policy since."""
        return file.missing_since is not None and any(
            other.missing_since is None
            and other.changed_at >= file.missing_since
            and policy in {each.name for each in other.good.policies}
            for other in self._files.values()
        )


class FolderReader:
    """Scans a folder beside the loop: at the start, as changes are told, and now and then. A context manager."""

    def __init__(
        self,
        path: Path,
        node: NodeIdentity,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called, from a thread of its own, when policies or problems are others. Raises FolderError."""
        self.folder = PolicyFolder(path, node, monotonic, wall, self._go_on)
        self._monotonic = monotonic
        self._changed = changed
        self._stop = threading.Event()
        self._news = threading.Event()
        self._first = threading.Event()
        self._watch = FolderWatch(path, self.folder.writers, wall, self._news.set)
        self._thread = threading.Thread(target=self._run, name="policies", daemon=True)

    def __enter__(self) -> Self:
        """Returns when the first scan is done, or FIRST_S are over."""
        self._thread.start()
        self._first.wait(FIRST_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._news.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._watch:
                while not self._stop.is_set():
                    self._turn()
        except BaseException as error:
            self.folder.fail(error)
            self._first.set()
            self._changed()
            raise

    def _turn(self) -> None:
        """One scan, and the wait for the next."""
        self._news.clear()
        began = self._monotonic()
        if self.folder.scan():
            self._changed()
        if self.folder.ready:
            self._first.set()
        self._watch.renew()
        self._stop.wait(max(self._monotonic() - began, REST_S))
        self._news.wait(max(self.folder.due() - self._monotonic(), 0.0))

    def _go_on(self, seconds: float) -> bool:
        """Rest as long as the last file took: whatever is in them, they cost half a core at most."""
        return not self._stop.wait(seconds) if seconds > 0.001 else not self._stop.is_set()


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


def _first(problems: Iterable[str], most: int, source: str) -> tuple[str, ...]:
    """At most so many, and that there are more."""
    all_of_them = tuple(problems)
    left = len(all_of_them) - most
    if left <= 0:
        return all_of_them
    return (*all_of_them[:most], f"{source}: {left} further problems; `ballast check` names them all")


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

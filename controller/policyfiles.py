"""Files of a policy folder: which of them count, and what is in them. `check` and `run` read a folder by this alike.

Who may write to the folder may be less trusted than Ballast, which often is root: a link leads only where whoever made
it could read anyway, and nothing but a plain file is ever opened.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from controller.api.documents import MAXIMUM_SIZE, Loaded, Problem, load
from controller.api.policy import MemoryPolicy
from controller.api.selectors import searches

SUFFIXES = (".yaml", ".yml")
MAXIMUM_FILES = 2_000
"""Of a folder, the first by name; a host has a handful."""
MAXIMUM_POLICIES = 1_000
"""Of a folder: who owns what is worked out anew for all of them whenever a guest comes."""
MAXIMUM_GLOBS = 1_000
"""Of all policies of a folder, of those that names have to be searched for (`selectors.searches`): the worst of them
takes 0.5 ms to make and 2 us a domain, and so together less than 3 s on a host of 1,000 domains."""
MAXIMUM_EXPRESSIONS = 1_000
"""Of all policies of a folder, of those that labels of domains are compared with: the worst of them takes 0.2 us a
domain, and 64 of each of the most policies would take 12 s on such a host."""
_MOST_LINKS = 40
"""On the way to one file, as the kernel has it."""
_ROOT = 0
"""User ID."""


class Stamp(NamedTuple):
    """A file that still has this was not changed since."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class FileError(Exception):
    """A file that does not count. `str()` is the problem."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message, self.remedy = message, remedy
        super().__init__(f"{message}; {remedy}")


@dataclass(frozen=True, slots=True)
class Found:
    """A plain file, located but not opened."""

    stamp: Stamp
    linked: bool
    """Whether a link led to it."""
    _descriptor: int

    def read(self) -> bytes | None:
        """Its content, cut above what `load` refuses; None where it was written meanwhile. Raises FileError."""
        try:
            with open(f"/proc/self/fd/{self._descriptor}", "rb", opener=_patiently) as file:
                content = file.read(MAXIMUM_SIZE + 1)
                return content if _stamp(os.fstat(file.fileno())) == self.stamp else None
        except OSError as error:
            raise unreadable(error) from error


@contextmanager
def pinned(folder: Path) -> Iterator[tuple[Path, str]]:
    """The folder that is there now, whatever takes its place meanwhile, and where links led to it. Raises OSError."""
    root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = _place(root)
        if not os.fstat(root).st_nlink:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        yield Path(f"/proc/self/fd/{root}"), place
    finally:
        os.close(root)


def names(folder: Path) -> tuple[list[str], int]:
    """The policy files, by name, and how many more there are than may be. Raises OSError.

    Hidden files are editors' and tools' own: they do not count.
    """
    with os.scandir(folder) as entries:
        found = sorted(each.name for each in entries if each.name.endswith(SUFFIXES) and not each.name.startswith("."))
    return found[:MAXIMUM_FILES], max(len(found) - MAXIMUM_FILES, 0)


def surplus(folder: Path, more: int) -> Problem:
    """What is said of files beyond the bound."""
    message = f"{more} policy files more than the {MAXIMUM_FILES} that are read, the first by name"
    return Problem(str(folder), None, "", "", message, "put several policies into one file, or remove some")


class Size(NamedTuple):
    """What policies cost whenever it is worked out who owns what."""

    policies: int = 0
    globs: int = 0
    expressions: int = 0

    def along(self, policies: Collection[MemoryPolicy]) -> Self:
        """With these besides."""
        globs = sum(searches(glob) for each in policies for glob in _globs(each))
        expressions = sum(map(_expressions, policies))
        return type(self)(self.policies + len(policies), self.globs + globs, self.expressions + expressions)


def _globs(policy: MemoryPolicy) -> tuple[str, ...]:
    return policy.spec.domain_selector.names + policy.spec.node_selector.names


def _expressions(policy: MemoryPolicy) -> int:
    spec = policy.spec
    of_pods = (
        (spec.selectors.namespace_selector, spec.selectors.virtual_machine_instance_selector) if spec.selectors else ()
    )
    return sum(len(each.match_expressions) for each in (spec.domain_selector, *of_pods) if each)


def crowd(source: str, size: Size) -> Problem | None:
    """What is said of a file with which the folder's policies come to `size`; None where that is not too much."""
    if size.policies > MAXIMUM_POLICIES:
        message = f"with it the folder holds more than {MAXIMUM_POLICIES} policies"
        return Problem(source, None, "", "", message, "let one policy select more domains, and remove others")
    if size.globs > MAXIMUM_GLOBS:
        message = f"with it the folder's policies have more than {MAXIMUM_GLOBS} names with wildcards in them"
        remedy = "write names out, or with one * at the end; select by labels; or remove policies"
        return Problem(source, None, "", "", message, remedy)
    if size.expressions > MAXIMUM_EXPRESSIONS:
        message = f"with it the folder's policies have more than {MAXIMUM_EXPRESSIONS} matchExpressions for domains"
        return Problem(source, None, "", "", message, "write matchLabels where they will do; or remove policies")
    return None


@contextmanager
def located(folder: Path, name: str) -> Iterator[Found]:
    """The file of this name in the folder. Raises FileNotFoundError where there is none, FileError."""
    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(error) from error
    try:
        descriptor, owners = _followed(root, name)
        try:
            yield Found(_judged(root, descriptor, owners), bool(owners), descriptor)
        finally:
            os.close(descriptor)
    finally:
        os.close(root)


def read_folder(folder: Path) -> Mapping[str, Loaded]:
    """What each file of the folder holds, by path; of the folder itself, what is wrong with it. Raises OSError."""
    loaded: dict[str, Loaded] = {}
    size = Size()
    with pinned(folder) as (root, _):
        found, more = names(root)
        for name in found:
            source = str(folder / name)
            one = read_file(root, name, source)
            larger = size.along(one.policies)
            if problem := crowd(source, larger):
                one = Loaded(problems=(problem,))
            else:
                size = larger
            loaded[source] = one
    if more:
        loaded[str(folder)] = Loaded(problems=(surplus(folder, more),))
    return loaded


def read_file(folder: Path, name: str, source: str) -> Loaded:
    """What one file of the folder holds; nothing where it is gone. Problems name it `source`. Never raises."""
    try:
        with located(folder, name) as found:
            content = found.read()
    except FileError as error:
        return Loaded(problems=(Problem(source, None, "", "", error.message, error.remedy),))
    except FileNotFoundError:
        return Loaded()
    if content is None:
        return Loaded(problems=(Problem(source, None, "", "", "written while it was read", "try again"),))
    return load(content, source)


def unreadable(error: OSError) -> FileError:
    """A file that the system does not let us read."""
    if error.errno == errno.ELOOP:
        return FileError("links that lead in a circle", "correct or remove them")
    return FileError(f"cannot be read: {error.strerror}", "make it a plain file that Ballast can read")


def _patiently(path: str, flags: int) -> int:
    """Not waiting for anybody who would have to let us in."""
    return os.open(path, flags | os.O_NONBLOCK)


def _followed(root: int, name: str) -> tuple[int, set[int]]:
    """Where the name leads to, as a descriptor for its location alone, and the owners of all links on the way.

    Step by step, each on what the step before has opened: nobody can put something else in between.
    """
    here, ahead, owners, links = root, [name], set[int](), 0
    try:
        while ahead:
            step = os.open(ahead.pop(), _LOCATE, dir_fd=here)
            status = os.fstat(step)
            if stat.S_ISLNK(status.st_mode):
                target = _target(step)
                owners.add(status.st_uid)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                ahead += [part for part in reversed(target.split("/")) if part]
                if not target.startswith("/"):
                    continue
                step = os.open("/", _LOCATE)
            _leave(here, root)
            here = step
    except OSError as error:
        _leave(here, root)
        if not isinstance(error, FileNotFoundError):
            raise unreadable(error) from error
        if owners:
            raise FileError("a link to nothing", "correct or remove it") from error
        raise
    return here, owners


_LOCATE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
"""Opens nothing: a device, or a pipe, does not notice."""


def _target(link: int) -> str:
    """Where a link leads; its descriptor is closed. Raises OSError."""
    try:
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)


def _leave(here: int, root: int) -> None:
    if here != root:
        os.close(here)


def _judged(root: int, descriptor: int, owners: set[int]) -> Stamp:
    """The stamp of a file that counts. Raises FileError for another.

    `owners` are those of the links to it. One that leaves the folder has to be root's, or of the file's own owner.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise FileError("not a plain file", "make it a plain file that Ballast can read")
    strangers = owners - {_ROOT, status.st_uid}
    if strangers and not _place(descriptor).startswith(f"{_place(root).rstrip('/')}/"):
        message = f"a link of user {min(strangers)} that leads out of the folder, to a file of user {status.st_uid}"
        raise FileError(message, "link to a file in the folder, or let root own the link")
    return _stamp(status)


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _place(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")

"""What is built once and kept, whole or not at all, however many processes want it."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CACHE = Path.home() / ".cache" / "ballast"


def cached(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, a file or folder that `make(result)` makes at `result` where it is missing.

    `result` lies alone in a folder for scratch, which is removed.
    """
    if path.exists():
        return path
    with exclusive(path.parent / "lock"):
        if not path.exists():
            scratch = Path(tempfile.mkdtemp(prefix="building-", dir=path.parent))
            try:
                make(scratch / "result")
                (scratch / "result").rename(path)
            finally:
                shutil.rmtree(scratch)
    return path


def keep_newest(count: int, paths: Iterable[Path]) -> None:
    """Remove these files and folders but so many; other processes may be doing the same."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path))
    for _, old in sorted(found)[:-count]:
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock `path` inside the `with` block; waits for whoever holds it. The file is made and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

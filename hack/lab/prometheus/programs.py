"""Debian's prometheus and promtool, kept in the cache. `python -m lab.prometheus.programs` fetches them, once."""

import shutil
import sys
from pathlib import Path

from lab.cache import CACHE, cached
from lab.debian import unpack, update_lists
from lab.errors import LabError, exit_code

FOLDER = CACHE / "prometheus"
PACKAGE = "prometheus"
PROGRAMS = ("prometheus", "promtool")


def program(name: str) -> Path:
    """One of PROGRAMS. Raises LabError when it was not fetched yet."""
    path = FOLDER / name
    if not path.is_file():
        raise LabError(f"{name}: {path} does not exist; run ./hack/setup, which fetches it")
    return path


def fetch() -> None:
    """Fetch the programs unless they are there; safe to call from several processes. Raises LabError."""
    cached(FOLDER, _fetch)


def _fetch(result: Path) -> None:
    print("[3/4] Prometheus", file=sys.stderr)
    update_lists()
    unpacked = unpack(PACKAGE, result.parent)
    result.mkdir()
    for name in PROGRAMS:
        shutil.copy(unpacked / "usr" / "bin" / name, result / name)


if __name__ == "__main__":
    sys.exit(exit_code(fetch))

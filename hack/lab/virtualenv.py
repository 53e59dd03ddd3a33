"""The virtual environment that the image and the Debian package have at /opt/ballast, for Debian 12's Python.

It is laid out file by file, since it is made elsewhere than where it will be: `venv` and `pip` would write that down.
"""

import hashlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lab.cache import CACHE, cached, keep_newest
from lab.command import run
from lab.errors import LabError

PROJECT = Path(__file__).parents[2]
PLACE = "/opt/ballast"
PYTHON = "/usr/bin/python3.11"
SITE = Path("lib/python3.11/site-packages")
FOLDER = CACHE / "virtualenvs"
KEPT = 6
"""Of them in the cache, 200 MB each: those of branches that are worked on."""
NOT_NEEDED = ("tests", "test", "aio")
"""Folders that nothing of ours imports; the last is half of the Kubernetes client."""
SETTINGS = f"""\
home = {Path(PYTHON).parent}
include-system-site-packages = false
version = 3.11
"""
COMMAND = f"""\
#!{PLACE}/bin/python3
import sys

from @MODULE@ import @NAME@

sys.exit(@NAME@())
"""
"""What each of the project's commands runs; pip would write the same."""


class Dependencies(NamedTuple):
    """Packages in the cache, with names that change when they do."""

    folder: Path

    @property
    def tree(self) -> Path:
        """What goes to PLACE. It is to be copied, not changed."""
        return self.folder / "tree"

    def sources(self) -> list[dict[str, Any]]:
        """`metadata` of each package and its `download_info`, with address and digest, as pip's report has them."""
        sources: list[dict[str, Any]] = json.loads((self.folder / "report.json").read_text())["install"]
        return sources


def dependencies(source: Path, *extras: str) -> Dependencies:
    """All that the project in folder `source` needs, with these of its extras, in the pinned versions.

    Raises LabError when this is not Python 3.11, or packages cannot be had.
    """
    if sys.version_info[:2] != (3, 11):
        raise LabError(f"Python {sys.version.split()[0]}: packages for Debian 12's need 3.11; make .venv with that")
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    pinned = source / "hack" / "constraints.txt"
    digest = hashlib.sha256(Path(__file__).read_bytes() + pinned.read_bytes() + " ".join(asked).encode())
    folder = cached(FOLDER / digest.hexdigest()[:16], lambda result: _install(result, asked, pinned))
    os.utime(folder)
    keep_newest(KEPT, FOLDER.glob("*/"))
    return Dependencies(folder)


def project(packages: Iterable[Path], result: Path) -> None:
    """Lay out at `result` what the project adds to its dependencies: these folders of Python files, and its
    commands.
    """
    for package in packages:
        shutil.copytree(package, result / SITE / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    (result / "bin").mkdir()
    for name, entry in commands().items():
        module, _, function = entry.partition(":")
        (result / "bin" / name).write_text(COMMAND.replace("@MODULE@", module).replace("@NAME@", function))
    _finish(result)
    for name in commands():
        (result / "bin" / name).chmod(0o755)


def commands() -> dict[str, str]:
    """`MODULE:FUNCTION` by name, of all commands that the project has."""
    found: dict[str, str] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    return found


def _install(result: Path, asked: list[str], pinned: Path) -> None:
    tree = result / "tree"
    site = tree / SITE
    pins = {"PIP_CONSTRAINT": str(pinned), "PIP_BUILD_CONSTRAINT": str(pinned)}
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    places = (f"--target={site}", f"--report={result / 'report.json'}")
    result.mkdir()
    # -g0: debugging information would tell in which folder it was compiled.
    run(*pip, *places, *asked, environment=os.environ | pins | {"CFLAGS": "-g0 -O2"})
    shutil.rmtree(site / "bin", ignore_errors=True)  # commands of others
    for unneeded in [path for name in NOT_NEEDED for path in site.rglob(f"*/{name}/")]:
        shutil.rmtree(unneeded, ignore_errors=True)
    (tree / "bin").mkdir()
    (tree / "bin" / "python3").symlink_to(PYTHON)
    (tree / "pyvenv.cfg").write_text(SETTINGS)
    _finish(tree)


def _finish(folder: Path) -> None:
    """Compiled files, believed without a look at times, that know where they will be; modes whatever the umask is."""
    settled = os.environ | {"PYTHONHASHSEED": "0"}
    compile_all = (sys.executable, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash")
    run(*compile_all, "-s", str(folder), "-p", PLACE, str(folder / SITE), environment=settled)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)

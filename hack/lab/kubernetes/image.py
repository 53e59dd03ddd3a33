"""The agent's image without a registry: this Python, what it loads, and the project, copied to where they are here.

Two layers: what changes with the pinned versions, kept in the cache, and the project's own files.
"""

import hashlib
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from controller import __version__
from lab.cache import CACHE, cached
from lab.errors import LabError
from lab.kubernetes.elf import shared_libraries
from lab.kubernetes.node import Node
from lab.kubernetes.oci import Layer, write_archive

NAME = f"localhost/ballast:{__version__}"
"""What the manifests ask for."""
FOLDER = CACHE / "images"
KEPT = 3
"""Base layers in the cache, 400 MB each: those of branches that are worked on."""
PROJECT = Path(__file__).parents[3]
PACKAGE = "controller"
DISTRIBUTION = "ballast"
PACKAGES = "/opt/ballast"
"""Where the image has the project and the packages it needs."""
PYTHON = Path(sys.executable).resolve()
NOT_IN_IMAGE = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "dist-packages"}
"""Folders that no program of ours imports."""
COMMAND = f"""\
#!{PYTHON}
import sys
from controller.cli.main import main
sys.exit(main())
"""
CONFIG = {
    "Entrypoint": ["ballast"],
    "Env": ["PATH=/usr/local/bin", f"PYTHONPATH={PACKAGES}", "PYTHONUNBUFFERED=1"],
    "User": "65534:65534",
    "WorkingDir": "/",
}
"""The image's, as `manifests/image/Containerfile` has it."""
USERS = """\
root:x:0:0:root:/:/nologin
nobody:x:65534:65534:nobody:/:/nologin
"""


def install(node: Node) -> None:
    """Make the image of the project as it is now known to the pods of `node`, as NAME: entry point `ballast`, user
    nobody.

    Raises LabError when the project's packages are not installed in this Python.
    """
    base = cached(FOLDER / f"base-{_key()}.tar", _base)
    _forget_old()
    with tempfile.TemporaryDirectory(dir=node.folder) as scratch:
        project = _project(Path(scratch, "layer"))
        archive = Path(scratch, "image")
        write_archive(archive, NAME, [base, project], CONFIG)
        node.import_image(archive)


def _forget_old() -> None:
    for old in sorted(FOLDER.glob("base-*.tar"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)


def _project(result: Path) -> Path:
    layer = Layer(result)
    for file in _files(PROJECT / PACKAGE):
        layer.add(file, f"{PACKAGES}/{file.relative_to(PROJECT)}")
    layer.write("/usr/local/bin/ballast", COMMAND, 0o755)
    layer.close()
    return result


def _key() -> str:
    """Of all that the base layer depends on: versions of Python and packages, and how it is made."""
    digest = hashlib.sha256(f"{PYTHON} {sys.version}".encode())
    for file in (PROJECT / "pyproject.toml", PROJECT / "hack" / "constraints.txt", Path(__file__)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _base(result: Path) -> None:
    standard = Path(sysconfig.get_path("stdlib"))
    here = [PYTHON, *_files(standard)]
    packages = dict(_packages(DISTRIBUTION, set()))
    layer = Layer(result)
    for file in [*here, *shared_libraries([*here, *packages]) - packages.keys()]:
        layer.add(file, str(file))
    for file, name in packages.items():
        layer.add(file, f"{PACKAGES}/{name}")
    layer.link("/usr/local/bin/python3", PYTHON)
    layer.write("/etc/passwd", USERS)
    layer.folder("/tmp", 0o1777)  # noqa: S108 - the image's
    layer.close()


def _files(folder: Path) -> Iterator[Path]:
    """Files below `folder`, without what no program of ours imports."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and _wanted(path.relative_to(folder)):
            yield path


def _wanted(path: Path) -> bool:
    return NOT_IN_IMAGE.isdisjoint(path.parts) and path.suffix != ".a"


def _packages(distribution: str, seen: set[str]) -> Iterator[tuple[Path, str]]:
    """Files, with their paths below site-packages, of all that `distribution` needs without its extras."""
    for requirement in metadata.requires(distribution) or []:
        found = re.match(r"[\w.-]+", requirement)
        if found is None or "extra ==" in requirement or found[0].lower() in seen:
            continue
        seen.add(found[0].lower())
        try:
            files = metadata.files(found[0]) or []
        except metadata.PackageNotFoundError:  # for another system or Python, or not installed at all
            if ";" not in requirement:
                raise LabError(f"{found[0]}: not installed in {sys.prefix}; run ./hack/setup") from None
            continue
        for file in files:
            if ".." not in file.parts and _wanted(Path(file)):
                yield Path(str(file.locate())), str(file)
        yield from _packages(found[0], seen)

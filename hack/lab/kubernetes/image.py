"""The image of agent and aggregator, made without a registry or a builder.

Three layers: packages of Debian, what Ballast needs of PyPI (both kept in the cache), and the project. No shell.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from controller import __version__
from lab import debian, virtualenv
from lab.cache import CACHE, cached, keep_newest
from lab.command import run
from lab.errors import LabError
from lab.kubernetes.node import LabNode
from lab.kubernetes.oci import Layer, write_archive

NAME = f"localhost/ballast:{__version__}"
"""What the manifests ask for."""
FOLDER = CACHE / "images"
KEPT = 6
"""Layers in the cache, 50 MB each: two an image, of branches that are worked on."""
PACKAGES = ("python3", "libvirt0")
"""Of Debian, with all that they depend on."""
NOT_NEEDED = tuple(f"/usr/share/{name}/" for name in ("info", "lintian", "locale", "man"))
EXTRA = "cluster"
"""Of the project's extras."""
CONFIG = {
    "Entrypoint": ["ballast"],
    "Env": [f"PATH={virtualenv.PLACE}/bin:/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"],
    "User": "65534:65534",
    "WorkingDir": "/",
}
"""The image's, as `manifests/image/Containerfile` has it."""
USERS = """\
root:x:0:0:root:/:/nologin
nobody:x:65534:65534:nobody:/:/nologin
"""
STATUS = "/var/lib/dpkg/status"
"""Where scanners for vulnerabilities look for Debian's packages."""


def install(node: LabNode) -> None:
    """Make the image of the project as it is now known to the pods of `node`, as NAME: entry point `ballast`, user
    nobody.

    Raises LabError when packages cannot be had.
    """
    with tempfile.TemporaryDirectory(dir=node.folder) as scratch:
        archive = Path(scratch, "image")
        write(archive, NAME, virtualenv.PROJECT, [virtualenv.PROJECT / "controller"], {})
        node.import_image(archive)


def write(archive: Path, name: str, source: Path, packages: Iterable[Path], labels: Mapping[str, str]) -> str:
    """Write the image of the project in folder `source`, of which it has these folders, and return its digest.

    Raises LabError when packages cannot be had.
    """
    layers = [system(), _dependencies(source)]
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        virtualenv.project(packages, Path(scratch, "project"))
        layer = Layer(Path(scratch, "layer"))
        layer.add_tree(Path(scratch, "project"), virtualenv.PLACE)
        layer.close()
        return write_archive(archive, name, [*layers, layer.path], CONFIG | {"Labels": dict(labels)})


def system() -> Path:
    """The layer of Debian's packages.

    Raises LabError as `packages_of_debian` does, and when a package cannot be had.
    """
    return _cached("debian", repr(packages_of_debian()).encode() + Path(__file__).read_bytes(), _system)


def packages_of_debian() -> list[debian.DebianPackage]:
    """Those in the image, in the versions that apt's lists have: `apt-get update` brings newer ones.

    Raises LabError when apt has no lists.
    """
    try:
        return debian.closure(*PACKAGES)
    except LabError:
        debian.update_lists()
        return debian.closure(*PACKAGES)


def _dependencies(source: Path) -> Path:
    found = virtualenv.dependencies(source, EXTRA)

    def write(result: Path) -> None:
        layer = Layer(result)
        layer.add_tree(found.tree, virtualenv.PLACE)
        layer.close()

    return _cached("pypi", found.folder.name.encode() + Path(__file__).read_bytes(), write)


def _cached(kind: str, source: bytes, make: Callable[[Path], None]) -> Path:
    layer = cached(FOLDER / f"{kind}-{hashlib.sha256(source).hexdigest()[:16]}.tar.gz", make)
    layer.touch()
    keep_newest(KEPT, FOLDER.glob("*.tar.gz"))
    return layer


def _system(result: Path) -> None:
    packages = debian.download_closure(result.with_name("packages"), *PACKAGES)
    layer = Layer(result)
    for package in packages:
        with debian.files(package) as files:
            layer.copy(files, _wanted)
    status = [run("dpkg-deb", "--field", str(package)) + "Status: install ok installed\n" for package in packages]
    layer.write(STATUS, "\n".join(status))
    layer.write("/etc/passwd", USERS)
    layer.folder("/tmp", 0o1777)  # noqa: S108 - the image's
    layer.close()


def _wanted(path: str) -> bool:
    if path.startswith("/usr/share/doc/"):
        return path.endswith("/copyright")
    return not f"{path}/".startswith(NOT_NEEDED)

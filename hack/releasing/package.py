"""The Debian package: a virtual environment of its own, so that a host needs no compiler and no package of PyPI."""

import gzip
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from lab import virtualenv
from lab.command import run
from releasing.source import ReleaseSource

SCRIPTS = ("postinst", "prerm", "postrm")
MONITORING = ("alerts.yaml", "runbooks.md", "dashboard.json")
POLICY = Path("etc/ballast/policies/observe-everything.yaml")
"""It changes nothing."""
OPTIONS = Path("etc/ballast/ballast.env")
CONFIGURATION = (OPTIONS, POLICY)
"""The administrator's as soon as they are installed."""


def build(source: ReleaseSource, packages: Iterable[Path], scratch: Path, out: Path) -> Path:
    """Write the package with these folders of Python files to the folder `out`.

    Raises LabError when what it needs cannot be had.
    """
    tree = scratch / "package"
    place = tree / virtualenv.PLACE.lstrip("/")
    shutil.copytree(virtualenv.dependencies(source.folder).tree, place, symlinks=True)
    virtualenv.project(packages, scratch / "project")
    shutil.copytree(scratch / "project", place, symlinks=True, dirs_exist_ok=True)
    _lay_out(source, tree)
    _control(source, tree)
    _settle(source, tree)
    result = out / f"ballast_{source.version}_amd64.deb"
    building = ("dpkg-deb", "--root-owner-group", "-Zzstd", "--build", str(tree), str(result))
    run(*building, environment=source.environment())
    return result


def _lay_out(source: ReleaseSource, tree: Path) -> None:
    manifests = source.folder / "manifests"
    unit = (manifests / "systemd" / "ballast.service").read_text()
    own = unit[unit.index("[Unit]") :].replace("/usr/local/bin/", "/usr/bin/")
    _write(tree / "lib/systemd/system/ballast.service", own)
    _write(tree / POLICY, (manifests / "samples" / POLICY.name).read_text())
    _write(tree / OPTIONS, (Path(__file__).parent / "debian" / OPTIONS.name).read_text())
    _write(tree / "usr/share/polkit-1/rules.d/50-ballast.rules", (manifests / "polkit/50-ballast.rules").read_text())
    (tree / "usr/bin").mkdir()
    for command in virtualenv.commands():
        (tree / "usr/bin" / command).symlink_to(f"{virtualenv.PLACE}/bin/{command}")
    documents = tree / "usr/share/doc/ballast"
    shutil.copytree(manifests / "samples", documents / "examples")
    for name in MONITORING:
        _write(documents / "monitoring" / name, (manifests / "monitoring" / name).read_text())
    _write(documents / "copyright", (Path(__file__).parent / "debian" / "copyright").read_text())
    changes = (source.folder / "CHANGELOG.md").read_bytes()
    (documents / "changelog.gz").write_bytes(gzip.compress(changes, mtime=0))
    manual = tree / "usr/share/man/man1"
    manual.mkdir(parents=True)
    paths = os.pathsep.join([str(source.folder), str(Path(__file__).parents[1])])
    writing = (sys.executable, "-m", "releasing.manual", str(manual), source.version)
    run(*writing, environment=source.environment(PYTHONPATH=paths))


def _control(source: ReleaseSource, tree: Path) -> None:
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    template = (Path(__file__).parent / "debian" / "control").read_text()
    size = sum(path.stat().st_size for path in files) // 1024
    _write(tree / "DEBIAN/control", template.replace("@VERSION@", source.version).replace("@SIZE@", str(size)))
    _write(tree / "DEBIAN/conffiles", "".join(f"/{path}\n" for path in CONFIGURATION))
    sums = {path.relative_to(tree): _md5(path) for path in files}
    _write(tree / "DEBIAN/md5sums", "".join(f"{sums[path]}  {path}\n" for path in sums if path not in CONFIGURATION))
    for script in SCRIPTS:
        _write(tree / "DEBIAN" / script, (Path(__file__).parent / "debian" / script).read_text())
        (tree / "DEBIAN" / script).chmod(0o755)


def _settle(source: ReleaseSource, tree: Path) -> None:
    """Times and modes that do not tell of this machine."""
    for path in [*tree.rglob("*"), tree]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (source.time, source.time), follow_symlinks=False)


def _md5(path: Path) -> str:
    """What `dpkg --verify` compares with."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

"""Builds the Containerfile with buildah, without a registry.

The image that it starts from is Debian with a Python of its own. Here a Debian of debootstrap's is in its place,
with Debian's Python, which is the same version.
"""

import os
import re
from pathlib import Path

from lab.cache import CACHE, cached
from lab.command import run
from lab.virtualenv import PROJECT

CONTAINERFILE = Path("manifests/image/Containerfile")
BASE = CACHE / "images" / "python-bookworm.tar"
PACKAGES = ("ca-certificates", "python3", "python3-dev", "python3-pip", "python3-venv")
OF_THIS_MACHINE = ("etc/ssl/certs/ca-certificates.crt", "etc/apt/apt.conf.d", "etc/pip.conf")
"""How it reaches Debian's and Python's packages, which may be through something of its own."""

ENTER = """\
mkdir -p "$1"; mount -t tmpfs changes "$1"
for place in etc var/lib; do
    mkdir -p "$1/upper/$place" "$1/work/$place"
    mount -t overlay private -o "lowerdir=/$place,upperdir=$1/upper/$place,workdir=$1/work/$place" "/$place"
done
shift
exec "$@"
"""
"""For sh(1) in a new mount namespace: buildah notes something in these folders, wherever its images are. Arguments: a
folder for that, and the command."""


class Builder:
    """buildah with images of its own in `folder`. Its methods raise LabError."""

    def __init__(self, folder: Path) -> None:
        enter = ("unshare", "--mount", "sh", "-ec", ENTER, "sh", str(folder / "changes"))
        self._command = (*enter, "buildah", f"--root={folder / 'images'}", f"--runroot={folder / 'run'}")
        self._environment = os.environ | {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def build(self, name: str) -> None:
        """The image of the working tree, without what the repository does not have."""
        asked = re.findall(r"^ARG PYTHON=(.*)$", (PROJECT / CONTAINERFILE).read_text(), re.MULTILINE)
        container = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", container, str(cached(BASE, _make_base)), "/")
        self._buildah("commit", "--quiet", container, f"docker.io/library/python:{asked[0]}")
        self._buildah("rm", container)
        options = ("--pull-never", "--timestamp=0", f"--file={PROJECT / CONTAINERFILE}", f"--tag={name}")
        self._buildah("build", *options, str(PROJECT))

    def run(self, name: str, *command: str) -> str:
        """What a command prints in a container of the image."""
        container = self._buildah("from", "--pull-never", name)
        try:
            return run(*self._command, "run", container, "--", *command, environment=self._environment)
        finally:
            self._buildah("rm", container)

    def _buildah(self, *arguments: str) -> str:
        return run(*self._command, *arguments, environment=self._environment).strip()


def _make_base(result: Path) -> None:
    root = result.with_name("root")
    run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", str(root))
    there = [each for each in OF_THIS_MACHINE if Path("/", each).exists()]
    run("tar", "--create", f"--file={root / 'tmp' / 'own.tar'}", "--directory=/", *there)
    run("tar", "--extract", f"--file={root / 'tmp' / 'own.tar'}", f"--directory={root}")
    (root / "tmp" / "own.tar").unlink()
    run("tar", "--create", f"--file={result}", f"--directory={root}", ".")

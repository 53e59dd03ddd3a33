"""Debian packages without installing them: nothing of them runs, no service is started. Needs no root."""

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from lab.command import run

NOTHING_INSTALLED = ("Dir::State::status=/dev/null", "Debug::NoLocking=1", "APT::Sandbox::User=root")
"""Options by which apt goes by its lists alone, and needs no root."""


def update_lists() -> None:
    """What apt knows: lists that are out of date name packages that are not there any more. Without root, nothing."""
    if os.geteuid() == 0:
        run("apt-get", "update", "-qq")


def unpack(package: str, scratch: Path) -> Path:
    """Download `package` in today's version and unpack it below `scratch`; returns the folder.

    Raises LabError when apt does not know it, or cannot get it.
    """
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", package, folder=scratch)
    target = scratch / package
    run("dpkg-deb", "-x", str(next(scratch.glob(f"{package}_*.deb"))), str(target))
    return target


class DebianPackage(NamedTuple):
    """One that apt's lists have."""

    name: str
    version: str
    sha256: str


def closure(*packages: str) -> list[DebianPackage]:
    """These packages and all that they depend on.

    Raises LabError when apt does not know one of them.
    """
    lines = run(*_install(*packages), "-o", "Acquire::ForceHash=SHA256", "--print-uris", "-qq")
    found = re.findall(r"^'\S+' ([^_]+)_([^_]+)_\S+ \d+ SHA256:(\S+)$", lines, re.MULTILINE)
    return [DebianPackage(name, unquote(version), digest) for name, version, digest in found]


def download_closure(folder: Path, *packages: str) -> list[Path]:
    """The same as files in `folder`, by name."""
    (folder / "partial").mkdir(parents=True)
    run(*_install(*packages), "-o", f"Dir::Cache::archives={folder}", "--download-only", "-qq")
    return sorted(folder.glob("*.deb"))


def files(package: Path) -> tarfile.TarFile:
    """What the package, a file, would put onto a system."""
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=True).stdout
    return tarfile.open(fileobj=io.BytesIO(unpacked))


def _install(*packages: str) -> list[str]:
    options = [part for option in NOTHING_INSTALLED for part in ("-o", option)]
    return ["apt-get", *options, "--no-install-recommends", "--yes", "install", *packages]

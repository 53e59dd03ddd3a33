"""Debian packages without installing them: nothing of them runs, no service is started. Needs no root."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

from lab.command import run

NOTHING_INSTALLED = ("-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root")


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


def closure(*packages: str) -> str:
    """Names, sizes and digests of `packages` and all that they depend on, one a line, as apt's lists have them.

    Raises LabError when apt does not know one of them.
    """
    return run(*_install(*packages), "--print-uris", "-qq")


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
    return ["apt-get", *NOTHING_INSTALLED, "--no-install-recommends", "--yes", "install", *packages]

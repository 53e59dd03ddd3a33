"""A Debian package's files without installing it: nothing of it runs, no service is started."""

import os
from pathlib import Path

from lab.command import run


def update_lists() -> None:
    """What apt knows: lists that are out of date name packages that are not there any more. Without root, nothing."""
    if os.geteuid() == 0:
        run("apt-get", "update", "-qq")


def unpack(package: str, scratch: Path) -> Path:
    """Download `package` in today's version and unpack it below `scratch`; returns the folder. Needs no root.

    Raises LabError when apt does not know it, or cannot get it.
    """
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", package, folder=scratch)
    target = scratch / package
    run("dpkg-deb", "-x", str(next(scratch.glob(f"{package}_*.deb"))), str(target))
    return target

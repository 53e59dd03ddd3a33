"""What a release is made of: the files of a commit, as they are there."""

import os
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lab.command import run
from lab.virtualenv import PROJECT

BUILD = """
import sys
from flit_core import buildapi

buildapi.build_wheel(sys.argv[1])
buildapi.build_sdist(sys.argv[1])
"""


@dataclass(frozen=True, slots=True)
class ReleaseSource:
    """The commit that is checked out here, without what was not committed."""

    folder: Path
    commit: str
    time: int
    """Of the commit, in seconds since 1970: the time of whatever tells one (https://reproducible-builds.org/specs/source-date-epoch)."""
    version: str

    def environment(self, **more: str) -> dict[str, str]:
        """This process's, with the time that builders go by."""
        return os.environ | {"SOURCE_DATE_EPOCH": str(self.time)} | more


def check_out(folder: Path) -> ReleaseSource:
    """Write the files of the commit into the new folder.

    Raises LabError where this is no git repository.
    """
    commit, time = run("git", "log", "-1", "--format=%H %ct", folder=PROJECT).split()
    archive = folder.with_suffix(".tar")
    run("git", "archive", f"--output={archive}", commit, folder=PROJECT)
    folder.mkdir()
    run("tar", "--extract", f"--file={archive}", f"--directory={folder}")
    (version,) = re.findall(
        r'^__version__ = "(.*)"$', (folder / "controller" / "__init__.py").read_text(), re.MULTILINE
    )
    return ReleaseSource(folder, commit, int(time), version)


def build_wheel(source: ReleaseSource, out: Path) -> Path:
    """Write wheel and sdist to the folder `out`, and return the wheel.

    Raises LabError when they cannot be built.
    """
    run(sys.executable, "-c", BUILD, str(out.resolve()), folder=source.folder, environment=source.environment())
    (wheel,) = out.glob("*.whl")
    return wheel


def packages(wheel: Path, folder: Path) -> list[Path]:
    """The folders that the wheel puts beside other packages, unpacked to `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return sorted(folder.iterdir())

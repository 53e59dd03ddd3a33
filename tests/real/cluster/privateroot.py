"""This machine's file system, of which a test may change what it likes: changes are in memory and go with it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

MOUNT = """
mount -t tmpfs changes "$1" && mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay private -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for shared in /proc /dev /sys "$2" "$3"; do mkdir -p "$1/root$shared" && mount --rbind "$shared" "$1/root$shared"; done
echo mounted
read -r end
"""
"""In a mount namespace of its own, which lasts until stdin is closed."""


class PrivateRoot:
    """A context manager; a path below the project or `folder` is the same inside."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.root = folder / "mounts" / "root"
        self.root.parent.mkdir()
        mounting = ["unshare", "--mount", "sh", "-ec", MOUNT, "sh", str(self.root.parent), str(project), str(folder)]
        self._process = subprocess.Popen(mounting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "mounted\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *command: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        """What it prints, stderr among it."""
        return subprocess.run(
            [*self._inside(), "env", *(f"{name}={value}" for name, value in variables.items()), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def _inside(self) -> Sequence[str]:
        return "nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", "chroot", str(self.root)

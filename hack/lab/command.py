"""Run a program to its end, or say why that failed."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab.errors import LabError


def run(
    *command: str, folder: Path | None = None, environment: Mapping[str, str] | None = None, stdin: str | None = None
) -> str:
    """What `command` printed on its standard output.

    Without `stdin` it reads nothing. Raises LabError with what it said when it is not installed or fails.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, input=stdin or "", capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]}: not installed; run ./hack/setup as root on Debian 12 or newer") from error
    if done.returncode:
        raise LabError(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout

"""What a program needs beside itself, so that an image without a distribution can have it."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

ELF = b"\x7fELF"


def shared_libraries(files: Iterable[Path]) -> set[Path]:
    """Shared libraries that the programs and extension modules among `files` load, with the loader itself."""
    programs = [str(file) for file in files if _is_elf(file)]
    loads = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    found = re.findall(r"(?:=> |^\s+)(/\S+) \(0x", loads, re.MULTILINE)
    return {Path(os.path.normpath(path)) for path in found}


def _is_elf(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(len(ELF)) == ELF

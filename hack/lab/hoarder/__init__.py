"""A QEMU that gives the host no memory back, and shows it by nothing but that."""

import shutil
from pathlib import Path

from lab.command import run
from lab.errors import LabError

SOURCE = Path(__file__).with_name("hoarder.c")
QEMU = "qemu-system-x86_64"


def hoarding_emulator(folder: Path) -> Path:
    """Such an emulator for a domain's `<emulator>`, made in `folder`. Raises LabError."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise LabError(f"{QEMU} is not there; run ./hack/setup guests")
    library, emulator = folder / "hoarder.so", folder / "hoarding-qemu"
    run("gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(SOURCE))
    emulator.write_text(f'#!/bin/sh\nLD_PRELOAD={library} exec {qemu} "$@"\n')
    for path in (library, emulator):
        path.chmod(0o755)
    return emulator

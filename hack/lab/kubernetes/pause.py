"""The image of what holds a pod's namespaces open: one static program."""

import hashlib
from pathlib import Path

from lab.cache import CACHE, cached
from lab.command import run
from lab.kubernetes.oci import Layer, write_archive

NAME = "ballast.dev/lab/pause:1"
SOURCE = Path(__file__).parent / "pause.c"


def archive() -> Path:
    """The image as an archive, built where it is missing.

    Raises LabError when there is no C compiler.
    """
    key = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    return cached(CACHE / "images" / f"pause-{key}.tar", _build)


def _build(result: Path) -> None:
    program = result.with_name("pause")
    run("gcc", "-static", "-Os", "-Wall", "-Wextra", "-o", str(program), str(SOURCE))
    layer = Layer(result.with_name("layer"))
    layer.add(program, "/pause")
    layer.close()
    write_archive(result, NAME, [layer.path], {"Entrypoint": ["/pause"]})

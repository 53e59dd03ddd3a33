"""The Containerfile is built for real, and what comes out runs."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from controller import __version__
from lab.containerfile import Builder
from lab.kubernetes import image

RUN_ONCE = "ballast run --once --connect test:///default --policies /tmp"
POLICY = "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """It is gone afterwards: each image takes 300 MB."""
    with TemporaryDirectory(dir=tmp_path) as folder:
        yield Path(folder)


@pytest.mark.timeout(1200)
def test_buildah_builds_an_image_that_runs_as_nobody_without_a_compiler(folder):
    builder = Builder(folder)
    builder.build(image.NAME)
    assert builder.run(image.NAME, "ballast", "--version") == f"ballast, version {__version__}\n"
    told = builder.run(image.NAME, "sh", "-c", f"echo '{POLICY}' > /tmp/all.yaml; {RUN_ONCE}; id -u; which gcc || true")
    assert "test  (policy all, Observe)" in told
    assert told.splitlines()[-1] == "65534"

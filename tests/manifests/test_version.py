"""`controller.__version__` is the version: what else has to name it names the same."""

import re
from pathlib import Path

import pytest

from controller import __version__

ROOT = Path(__file__).parents[2]
TOLD = {
    "CHANGELOG.md": r"^## (\S+?),? ",
    "README.md": r"dist/ballast[-_](\d.*?)[-_](?:image|amd64)|/ballast:(\S+)",
    "manifests/README.md": r"newTag: (\S+?)[},\s]|localhost/ballast:(\S+)|dist/ballast-(.*?)\.tgz",
    "manifests/systemd/README.md": r"dist/ballast_(.*?)_amd64",
    "manifests/helm/Chart.yaml": r"^(?:version|appVersion): (\S+)",
    "manifests/base/kustomization.yaml": r"newTag: (\S+)",
    "manifests/image/Containerfile": r"localhost/ballast:(\S+)",
}
"""Where, and what stands before it. Of the changelog the newest version counts."""
NAMES_IT = re.compile(r"newTag: *\d|(?:localhost|dist)/ballast[:_-]\d|^(?:version|appVersion): *\d", re.MULTILINE)


@pytest.mark.parametrize("file", TOLD)
def test_every_file_that_names_the_version_names_the_same(file):
    found = re.findall(TOLD[file], (ROOT / file).read_text(), re.MULTILINE)
    versions = {"".join(each) for each in (found[:1] if file == "CHANGELOG.md" else found)}
    assert versions == {__version__}


def test_no_other_file_names_it():
    texts = [path for folder in ("manifests", "crds") for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = {str(path.relative_to(ROOT)) for path in texts if NAMES_IT.search(path.read_text())}
    assert named == TOLD.keys() - {"CHANGELOG.md", "README.md"}

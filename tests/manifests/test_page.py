"""The page about the manifests leaves none out."""

from pathlib import Path

MANIFESTS = Path(__file__).parents[2] / "manifests"
PARTS = {Path("helm/crds"), Path("helm/templates")}
"""Folders of which the page tells what they are part of."""


def test_every_folder_is_on_the_page():
    page = (MANIFESTS / "README.md").read_text()
    folders = {path.relative_to(MANIFESTS) for path in MANIFESTS.rglob("*") if path.is_dir()} - PARTS
    folders = {path for path in folders if Path("ansible") not in path.parents}
    assert {str(folder) for folder in folders if f"| `{folder}` |" not in page} == set()

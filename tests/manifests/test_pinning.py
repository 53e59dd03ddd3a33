"""Versions are pinned wherever Ballast is installed: what it needs, and what builds it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "hack" / "constraints.txt").read_text(), re.MULTILINE))
INSTALLS = re.compile(
    r"\b(?:pipx|pip|pip3)\"? [^`\n]*\b(?:install|inject|upgrade|run)\b|^ +ansible\.builtin\.pip:$", re.MULTILINE
)
SCRIPTS = [path for path in (ROOT / "hack").iterdir() if path.is_file() and not path.suffix]
FILES = [path for pattern in ("*.md", "*.service", "Containerfile*", "*.yml") for path in ROOT.rglob(pattern)]
PLACES = [
    path
    for path in sorted((*FILES, *SCRIPTS))
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts) and INSTALLS.search(path.read_text())
]


def normalized(requirement: str) -> str:
    """The name in a requirement (https://packaging.python.org/en/latest/specifications/name-normalization/)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def test_whatever_the_project_asks_for_has_one_version():
    project = PROJECT["project"]
    asked = [*PROJECT["build-system"]["requires"], *project["dependencies"]]
    asked += [each for extra in project["optional-dependencies"].values() for each in extra]
    assert {normalized(each) for each in asked} <= {normalized(name) for name in PINNED}


def test_the_places_that_tell_how_to_install_are_known():
    names = {str(path.relative_to(ROOT)) for path in PLACES}
    pages = {"controller/replay/README.md", "manifests/systemd/README.md"}
    role = "manifests/ansible/roles/ballast/tasks/wheel.yml"
    scripts = {"hack/audit", "hack/setup"}
    assert names == pages | scripts | {role, "manifests/image/Containerfile", "manifests/systemd/ballast.service"}


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.name)
@pytest.mark.parametrize("variable", ["PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"])
def test_before_anything_is_installed_the_versions_are_pinned_of_what_builds_too(path, variable):
    text = path.read_text()
    value = r"(?:=\S+/constraints\.txt|=\$PIP_CONSTRAINT|: \"\S+/\{\{ ballast_constraints \| basename \}\}\")\s"
    pinned = re.search(variable + value, text)
    assert pinned.start() < INSTALLS.search(text).end()


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.name)
def test_a_later_install_that_goes_by_the_first_ones_pins_says_so(path):
    text = path.read_text()
    shell = re.split(r"^```", text, flags=re.MULTILINE) if path.suffix == ".md" else [text]
    unpinned = [line for part in shell if not re.search("PIP_CONSTRAINT[=:]", part) for line in part.splitlines()]
    assert [line for line in unpinned if INSTALLS.search(line) and "pinned as above" not in line] == []

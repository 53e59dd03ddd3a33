"""The recipes of hack/README.md, followed to the letter on a copy of the code, do what they promise."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from doc_pages import ROOT, blocks, read

RECIPES = read("hack/README.md").partition("\n## Recipes\n")[2].partition("\n## ")[0]
COPIED = ("controller", "crds", "hack/generating", "manifests/monitoring/README.md")

FACTS = Path(__file__).parent / "recipe_facts.py"


def follow(tree: Path) -> None:
    """Do all that the recipes say."""
    for name, code in re.findall(r"`(\S+\.py)`:\n\n```python\n(.*?)^```$", RECIPES, re.MULTILINE | re.DOTALL):
        (tree / name).write_text(code)
    for changes in blocks(RECIPES, "diff"):
        for change in re.split(r"^--- ", changes, flags=re.MULTILINE)[1:]:
            name, *hunks = re.split(r"^@@\n", change, flags=re.MULTILINE)
            file = tree / name.strip()
            for hunk in hunks:
                file.write_text(changed(file.read_text(), hunk.splitlines()))
    command = [sys.executable, "-m", "generating"]
    subprocess.run(command, check=True, cwd=tree, env=os.environ | {"PYTHONPATH": f"{tree / 'hack'}:{tree}"})


def changed(text: str, hunk: list[str]) -> str:
    """The text with the change, whose place has to be the only one."""
    kept = [re.escape(line[1:]).replace(r"\.\.\.", ".*") for line in hunk if not line.startswith("+")]
    (found,) = re.finditer("^" + "\n".join(f"({line})" for line in kept) + "$", text, flags=re.MULTILINE)
    there, after = iter(found.groups()), []
    for line in hunk:
        old = line[1:] if line.startswith("+") else next(there)
        after += [] if line.startswith("-") else [old]
    return text[: found.start()] + "\n".join(after) + text[found.end() :]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the copy does once the recipes have been followed."""
    tree = tmp_path_factory.mktemp("followed")
    for name in COPIED:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    follow(tree)
    command = [sys.executable, str(FACTS)]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(command, check=False, cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_forecast_model_can_be_chosen_by_a_policy_and_forecasts(facts):
    assert facts["problems"] == []
    assert facts["kinds"][-1] == "Mean"
    assert facts["line"] == [40.0, 0.0]


def test_a_reason_is_given_to_the_domain_it_is_about(facts):
    assert facts["reason"] == ["MemoryLimit", True, "libvirt limits the memory of the domain's QEMU (memtune)"]


def test_a_metric_is_served(facts):
    assert facts["metrics"]["ballast_owned_domains"] == [1]


def test_an_actuator_says_what_it_can_do_and_resizes_the_domain(facts):
    mib = 2**20
    assert facts["resizable"] == [2 * mib, 60.0, 1024 * mib, 1536 * mib]
    assert facts["requested"] == [256 * mib]


def test_a_policy_field_reaches_the_engine(facts):
    assert facts["column"] == [7.0]


@pytest.mark.slow
def test_tests_find_nothing_missing_in_what_the_recipes_change(tmp_path):
    listed = subprocess.run(["git", "ls-files"], check=True, cwd=ROOT, capture_output=True, text=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name, follow_symlinks=False)
    follow(tmp_path)
    held = (
        "api/test_crds.py",
        "docs/test_pages.py",
        "docs/test_resource_reference.py",
        "docs/test_monitoring_reference.py",
        "forecast/test_every_model.py",
        "forecast/test_registry.py",
        "host/test_domain_xml.py",
        "observe/test_metrics.py",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in held)]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})

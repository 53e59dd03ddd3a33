"""Containers are started with commands and options that exist."""

from pathlib import Path

import click
import pytest
import yaml

from controller.cli.environment import unknown
from controller.cli.main import main

MANIFESTS = Path(__file__).parents[2] / "manifests"
COMPONENTS = [yaml.safe_load(path.read_text()) for path in (MANIFESTS / "components").glob("*/kustomization.yaml")]


def containers(kind: str) -> list[dict[str, object]]:
    """Of the workload of this kind: as it is, and what each component makes of it."""
    (file,) = (MANIFESTS / "base" / f"{name}.yaml" for name, each in KINDS.items() if each == kind)
    workload, *_ = yaml.safe_load_all(file.read_text())
    patches = [yaml.safe_load(patch["patch"]) for each in COMPONENTS for patch in each.get("patches", [])]
    found = [workload, *(patch for patch in patches if patch["kind"] == kind)]
    return [each for one in found for each in one["spec"]["template"]["spec"].get("containers", [])]


KINDS = {"agent": "DaemonSet", "aggregator": "Deployment"}


@pytest.mark.parametrize("name", KINDS)
def test_ballast_takes_the_command_and_every_variable(name, monkeypatch):
    base, *changes = containers(KINDS[name])
    assert (base["command"], base["name"]) == (["ballast", name], name)
    assert "args" not in base
    command = main.get_command(click.Context(main), name)
    assert command is not None
    for variables in (each.get("env", []) for each in (base, *changes)):
        assert unknown(command, name, [each["name"] for each in variables]) == ""
        with monkeypatch.context() as environment:
            for each in variables:
                environment.setenv(each["name"], each.get("value", "node-1"))
            command.make_context(name, [])

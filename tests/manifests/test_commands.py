"""Containers are started with commands and options that exist."""

from pathlib import Path

import click
import pytest
import yaml

from controller.cli.main import main

BASE = Path(__file__).parents[2] / "manifests" / "base"


@pytest.mark.parametrize("file", ["agent.yaml", "aggregator.yaml"])
def test_ballast_takes_the_command_line(file):
    workload, *_ = yaml.safe_load_all((BASE / file).read_text())
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    program, name = container["command"]
    assert program == "ballast"
    arguments = [argument.replace("$(NODE_NAME)", "node-1") for argument in container["args"]]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    command.make_context(name, arguments)

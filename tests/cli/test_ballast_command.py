"""The group `ballast`: help, version, completion, and how little it imports."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from controller import __version__
from controller.cli.main import COMMANDS, main


def ballast(*arguments: str):
    return CliRunner().invoke(main, arguments)


def test_help_names_every_command_with_a_line():
    text = ballast("--help").output
    assert all(f"  {name}" in text and line in text for name, line in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name):
    result = ballast(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: ballast {name} ")
    assert "ballast " in result.output.split("Options:")[0]


def test_the_version():
    assert ballast("--version").output == f"ballast, version {__version__}\n"


def test_an_unknown_command_is_a_usage_error():
    result = ballast("fly")
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_back_into_ballast(shell):
    result = ballast("completion", shell)
    assert result.exit_code == 0
    assert f"_BALLAST_COMPLETE={shell}_complete" in result.output


def test_completion_for_another_shell_is_a_usage_error():
    assert ballast("completion", "tcsh").exit_code == 2


def test_the_shell_is_offered_the_commands():
    context = click.Context(main)
    assert [item.value for item in main.shell_complete(context, "")] == list(COMMANDS)


@pytest.mark.parametrize("option", ["--policies", "--proc"])
def test_the_shell_completes_folders_where_one_is_asked_for(option):
    done = CliRunner().invoke(
        main,
        prog_name="ballast",
        env={"_BALLAST_COMPLETE": "bash_complete", "COMP_WORDS": f"ballast run {option} ", "COMP_CWORD": "3"},
    )
    assert done.output == "dir,\n"


def modules_after(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after the statement."""
    program = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy():
    statement = "from controller.cli.main import main\nmain(['run', '--help'], standalone_mode=False)"
    assert modules_after(statement) & {"numpy", "pydantic", "libvirt", "prometheus_client", "rich", "yaml"} == set()


def test_run_imports_nothing_that_only_others_need():
    loaded = modules_after("import controller.cli.service")
    assert loaded & {"rich", "matplotlib", "sklearn", "scipy", "pandas", "kopf", "kubernetes"} == set()


WITHOUT = """
import sys

for name in ("aiohttp", "kopf", "kubernetes", "urllib3", "requests"):
    sys.modules[name] = None  # as where it is not installed
from controller.cli.main import COMMANDS, main

"""


def without_the_extra(statement: str) -> subprocess.CompletedProcess[str]:
    """In an interpreter that has nothing of what only the extra `cluster` brings."""
    return subprocess.run([sys.executable, "-c", WITHOUT + statement], capture_output=True, text=True, check=False)


def test_a_host_without_a_cluster_needs_no_client_of_one():
    done = without_the_extra("for name in COMMANDS: main([name, '--help'], 'ballast', standalone_mode=False)")
    assert (done.returncode, done.stdout.count("Usage: ballast ")) == (0, len(COMMANDS)), done.stderr


@pytest.mark.parametrize("line", [["agent", "--node-name=node-1"], ["aggregator"]])
def test_a_command_for_clusters_says_what_to_install(line):
    done = without_the_extra(f"main({line})")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("is not installed; install ballast-libvirt[cluster], which has it\n")

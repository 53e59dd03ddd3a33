"""Every command on every page could be run: its program is one of a few, and it is given what that program takes.

Most are run by other tests: `kubectl` in `tests/real/cluster`, the scripts of `hack` by CI and `tests/hack`.
"""

import re
import shlex
from importlib import import_module

import click
import pytest
from doc_pages import PAGES, ROOT, commands, read

from controller.cli.kubectl_ballast import main as plugin
from controller.cli.main import main

LINES = [(page, line) for page in PAGES for line in commands(read(page))]
PROGRAMS = {
    *(
        "ansible-playbook",
        "apt-get",
        "curl",
        "echo",
        "helm",
        "htpasswd",
        "install",
        "journalctl",
        "kind",
        "mkdir",
        "pipx",
        "skopeo",
        "systemctl",
        "useradd",
        "virsh",
    ),
    *("ballast", "kubectl", ".venv/bin/pytest"),
}
"""Besides the scripts of `hack`: what a reader has, or is told to install."""
VERBS = {"annotate", "apply", "delete", "describe", "explain", "get", "label", "wait"}
KINDS = {"mpol", "nms", "crd", "events", "node", "memorypolicy.spec.advanced"}
"""Kinds and fields of them that `kubectl` is asked for."""


def lines_of(program: str) -> list[str]:
    """All command lines that begin so."""
    return [line for _, line in LINES if line.startswith(program)]


def words(line: str) -> list[str]:
    """As a shell would hand them on, without what is set before the program."""
    parsed = shlex.split(line, comments=True)
    while "=" in parsed[0]:
        parsed.pop(0)
    return parsed


@pytest.mark.parametrize(("page", "line"), LINES)
def test_the_program_is_one_of_a_few_and_files_of_this_repository_are_there(page, line):
    program, *arguments = words(line)
    assert program in PROGRAMS or (ROOT / program).is_file(), f"{page}: {program}"
    ours = [each for each in arguments if re.match(r"(manifests|tests|crds|hack)/", each)]
    assert [each for each in ours if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("line", lines_of("ballast "))
def test_ballast_takes_the_line(line):
    _, name, *arguments = words(line)
    command = main.get_command(click.Context(main), name)
    assert command is not None
    command.make_context(name, arguments)


@pytest.mark.parametrize("line", lines_of("./hack/"))
def test_the_script_takes_the_line(line):
    script, *arguments = words(line)
    text = (ROOT / script).read_text()
    module = re.search(r'python" -m (\S+) "\$@"', text)
    if module is None:
        assert [each for each in arguments if each.startswith("-") and each not in text] == []
    else:
        entered(program(module[1]), arguments)


def program(module: str) -> click.Command:
    """The command that `python -m MODULE` runs."""
    found = import_module(module)
    command: click.Command = found.main if hasattr(found, "main") else import_module(f"{module}.__main__").main
    return command


def entered(command: click.Command, arguments: list[str]) -> None:
    """Raises when click refuses options or arguments of the command that is meant."""
    if isinstance(command, click.Group):
        name, *arguments = arguments
        inner = command.get_command(click.Context(command), name)
        assert inner is not None
        command = inner
    command.make_context("hack", list(arguments))


@pytest.mark.parametrize("line", lines_of("kubectl ballast "))
def test_the_plugin_takes_the_line(line):
    entered(plugin, words(line)[2:])


@pytest.mark.parametrize("line", [line for line in lines_of("kubectl ") if not line.startswith("kubectl ballast ")])
def test_kubectl_is_asked_for_what_is_installed(line):
    _, verb, *arguments = words(line)
    assert verb in VERBS
    named = plain(arguments)[:1] if verb == "label" else plain(arguments)  # then a name and labels follow
    kinds = {each for kind in named for each in kind.split("/")[0].split(",")}
    assert {kind for kind in kinds if kind not in names_of_policies()} <= KINDS


def plain(arguments: list[str]) -> list[str]:
    """Without options and their values."""
    valued = {"-f", "-k", "-o", "-n", "--field-selector"}
    pairs = zip(["", *arguments], arguments, strict=False)
    return [each for before, each in pairs if not each.startswith("-") and before not in valued]


def names_of_policies() -> set[str]:
    """Of the samples and of the pages' examples."""
    texts = [path.read_text() for path in (ROOT / "manifests" / "samples").glob("*.yaml")] + [read("README.md")]
    found = {name for text in texts for name in re.findall(r"^metadata:\n  name: (\S+)$", text, re.MULTILINE)}
    return found | {name for text in texts for name in re.findall(r"metadata: {name: ([\w-]+)}", text)}

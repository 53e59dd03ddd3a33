"""Settings by environment variables: `BALLAST_COMMAND_OPTION` for each option of each command."""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

import click

_OF_SERVICES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""How names end that a kubelet sets for each Service
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables)."""


def named(command: click.Command, name: str) -> click.Command:
    """The command, of which each option is set by its variable, and shows it; before those it has besides."""
    for option in _options(command):
        given = [option.envvar] if isinstance(option.envvar, str) else [*(option.envvar or ())]
        own = _variable(name, option)
        option.envvar = [own, *(each for each in given if each != own)]
        option.show_envvar = True
    return command


def unknown(command: click.Command, name: str, variables: Iterable[str]) -> str:
    """What is wrong with variables that begin as the command's do; empty where each sets an option of it.

    One that is misspelt would leave out what somebody relies on, as an unknown option does.
    """
    known = {_variable(name, option) for option in _options(command)}
    for each in sorted(variables):
        if each.startswith(_prefix(name)) and each not in known and not _OF_SERVICES.search(each):
            return f"{each} sets no option of `ballast {name}`.{meant(each, known)}"
    return ""


def meant(word: str, possible: Collection[str]) -> str:
    """A sentence, after a blank, that offers what the word may have been meant for; empty where it is like none."""
    near = get_close_matches(word, possible)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def _options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


def _variable(command: str, option: click.Option) -> str:
    """By its long name: the parameter's may be another."""
    long = next(each for each in option.opts if each.startswith("--"))
    return _prefix(command) + long.removeprefix("--").replace("-", "_").upper()


def _prefix(command: str) -> str:
    return f"BALLAST_{command.upper()}_"

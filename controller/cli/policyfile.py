"""The one policy that a replay is about: from a file, or all defaults."""

import os
from pathlib import Path

import click

from controller.api.policy import MemoryPolicy
from controller.cli.output import Problems

DEFAULTS = MemoryPolicy.model_validate(
    {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "defaults"}}
)


def one_policy(path: Path) -> MemoryPolicy:
    """The policy in the file. Raises ClickException with every problem, or when it does not hold exactly one."""
    from controller.api.documents import MAXIMUM_SIZE, load  # noqa: PLC0415 - yaml: not for the sake of --help

    source = click.format_filename(path)
    try:
        with click.open_file(os.fspath(path), "rb") as file:
            loaded = load(file.read(MAXIMUM_SIZE + 1), source)
    except OSError as error:
        raise click.ClickException(f"{source}: cannot be read: {error.strerror}; name a policy file") from error
    if loaded.problems:
        raise Problems(map(str, loaded.problems))
    if len(loaded.policies) != 1:
        raise click.ClickException(
            f"{source}: holds {len(loaded.policies)} policies; name a file with exactly one MemoryPolicy"
        )
    return loaded.policies[0]


def policy_in(path: Path | None) -> MemoryPolicy:
    """The single policy in the file; without one, all defaults. Raises ClickException with all problems."""
    return DEFAULTS if path is None else one_policy(path)

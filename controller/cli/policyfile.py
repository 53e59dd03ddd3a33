"""The one policy that a replay is asked about: from a file, or all defaults."""

from pathlib import Path

import click

from controller.api.documents import MAXIMUM_SIZE, load
from controller.api.policy import MemoryPolicy

DEFAULTS = MemoryPolicy.model_validate(
    {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "defaults"}}
)


def policy_in(path: Path | None) -> MemoryPolicy:
    """The single policy in the file; without one, the defaults. Raises ClickException with all problems."""
    if path is None:
        return DEFAULTS
    try:
        with path.open("rb") as file:
            loaded = load(file.read(MAXIMUM_SIZE + 1), click.format_filename(path))
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be read: {error.strerror}; name a policy file") from error
    if loaded.problems:
        raise click.ClickException("\n".join(map(str, loaded.problems)))
    if len(loaded.policies) != 1:
        raise click.ClickException(f"{path}: holds {len(loaded.policies)} policies; give a file with one")
    return loaded.policies[0]

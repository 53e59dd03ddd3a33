"""An option of tools that write a file when all is over."""

import os
from pathlib import Path
from typing import Any

import click


class NewFile(click.Path):
    """Better to hear at the start that it cannot be written than at the end."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Fails as click's types do."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not os.access(path.parent, os.W_OK):
            self.fail(f"{str(path)!r} cannot be written; name a file in an existing folder", param, ctx)
        return path

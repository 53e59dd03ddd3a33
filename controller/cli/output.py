"""What commands print: a table for people, JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TypeVar

import click

from controller.api.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

FORMS = ("table", "json", "yaml")

Command = TypeVar("Command", bound=Callable[..., Any])


def output_option(text: str, default: str = "table", forms: Sequence[str] = FORMS) -> Callable[[Command], Command]:
    """`-o FORM`; `text` says what it applies to."""
    return click.option("-o", "--output", type=click.Choice(forms), default=default, show_default=True, help=text)


def bear_any_encoding() -> None:
    """What the terminal has no sign for is replaced from now on: it is no reason to fail."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def say(*lines: str, err: bool = False) -> None:
    """Print lines for people; each stays one, whatever is in it."""
    for line in lines:
        click.echo(printable(line), err=err)


class Problems(click.ClickException):
    """Several problems, a line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("\n".join(map(printable, problems)))


def document(data: Any, form: str) -> str:
    """`data` as JSON or YAML text."""
    if form == "json":
        return json.dumps(data, indent=2, allow_nan=False)
    import yaml  # noqa: PLC0415 - only where YAML is asked for

    text = str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).rstrip()
    encoding = sys.stdout.encoding or "utf-8"
    told = text.encode(encoding, "replace").decode(encoding)
    shown = all(printable(line) == line for line in text.split("\n")) and told == text
    return text if shown else str(yaml.safe_dump(data, sort_keys=False)).rstrip()


def terminal(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """What tables are printed on: names stand there as they are, whatever brackets and colons mean to rich."""
    from rich.console import Console  # noqa: PLC0415 - only where there is a table to draw

    return Console(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)

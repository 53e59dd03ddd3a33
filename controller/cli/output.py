"""What commands print: a table for people, JSON or YAML for programs."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

FORMS = ("table", "json", "yaml")

Command = TypeVar("Command", bound=Callable[..., Any])


def output_option(text: str, default: str = "table", forms: Sequence[str] = FORMS) -> Callable[[Command], Command]:
    """`-o FORM`; `text` says what it applies to."""
    return click.option("-o", "--output", type=click.Choice(forms), default=default, show_default=True, help=text)


def document(data: Any, form: str) -> str:
    """`data` as JSON or YAML text."""
    if form == "json":
        return json.dumps(data, indent=2, allow_nan=False)
    import yaml  # noqa: PLC0415 - only where YAML is asked for

    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).rstrip()

"""The manual pages of `ballast` and its commands, from the help that they print themselves.

`python -m releasing.manual FOLDER VERSION` writes them, compressed as Debian has them.
"""

import gzip
import re
import sys
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path

import click

from controller.cli.main import COMMANDS, main

VERBATIM = "\b"
"""click's mark of a paragraph whose lines stay as they are."""


def pages(version: str) -> dict[str, str]:
    """Texts in man(7) by names of files."""
    top = click.Context(main, info_name="ballast")
    found = {"ballast.1": _page(top, "keep memory where it is needed", version)}
    for name, line in COMMANDS.items():
        command = main.get_command(top, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=top)
        found[f"ballast-{name}.1"] = _page(context, line.rstrip("."), version)
    return found


def _page(context: click.Context, line: str, version: str) -> str:
    command, name = context.command, context.command_path.replace(" ", "-")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    parts = [
        f'.TH {name.upper()} 1 "" "Ballast {version}"',
        *(".SH NAME", f"{_escaped(name)} \\- {_escaped(line)}"),
        *(".SH SYNOPSIS", _escaped(usage)),
        *(".SH DESCRIPTION", *_paragraphs(cleandoc(command.help or ""))),
        *(".SH OPTIONS", *_list(record for record in records if record is not None)),
    ]
    if isinstance(command, click.Group):
        parts += [".SH COMMANDS", *_list((f"ballast-{each}(1)", told) for each, told in COMMANDS.items())]
    else:
        parts += [".SH SEE ALSO", "ballast(1)"]
    return "\n".join(parts) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        yield ".PP"
        if paragraph.startswith(VERBATIM):
            yield from (".nf", _escaped(paragraph.removeprefix(VERBATIM).strip("\n")), ".fi")
        else:
            yield _escaped(" ".join(paragraph.split()))


def _list(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in entries:
        yield from (".TP", f".B {_escaped(term)}", _escaped(" ".join(text.split())))


def _escaped(text: str) -> str:
    """As it stands, not as commands of roff: groff_man(7)."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", plain, flags=re.MULTILINE)


if __name__ == "__main__":
    for file, page in pages(sys.argv[2]).items():
        Path(sys.argv[1], f"{file}.gz").write_bytes(gzip.compress(page.encode(), mtime=0))

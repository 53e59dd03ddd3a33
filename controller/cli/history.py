"""One domain for `ballast top DOMAIN`: how it went, what holds now, and its last decisions."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from controller.api.printable import for_people
from controller.cli.table import ALERT, CALM
from controller.observe.text import display_name, mib, seconds

BLOCKS = "▁▂▃▄▅▆▇█"
"""Eighths, from nothing to the highest of all lines."""
LINES = {"demand": CALM, "forecast": ALERT, "allocation": "default"}


LABEL = 24
"""Columns before a line: its name and where it stands now."""


def history(told: dict[str, Any], width: int) -> RenderableType:
    """An `/explain` document, for a terminal of `width` columns: where it is narrow, lines begin later."""
    return Group(*(part for each in for_people(told["domains"]) for part in _domain(each, max(width - LABEL, 1))))


def _domain(each: dict[str, Any], columns: int) -> Iterator[RenderableType]:
    time_series = each["trail"]
    shown = {name: time_series[name][-columns:] for name in LINES}
    most = max((size or 0 for sizes in shown.values() for size in sizes), default=0) or 1
    yield Text(display_name(each["domain"]), style="bold")
    yield Text(f"the last {seconds(time_series['step_s'] * len(shown['demand']))}:", style="dim")
    for name, style in LINES.items():
        drawn = "".join(" " if size is None else BLOCKS[round(size / most * (len(BLOCKS) - 1))] for size in shown[name])
        label = f"  {name:<10} {mib(each['domain'][name]):>10}"
        yield Text.assemble(label.ljust(LABEL), (drawn, style), no_wrap=True)
    yield from (_indented(sentence) for sentence in each["standing"])
    for decision in each["decisions"]:
        head, *rest = decision["sentences"]
        yield Text(f"{seconds(decision['age_s'])} ago: {head}", style=ALERT)
        yield from (_indented(sentence) for sentence in rest)


def _indented(sentence: str) -> RenderableType:
    return Padding.indent(Text(sentence), 2)

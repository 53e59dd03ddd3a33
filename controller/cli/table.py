"""The table of a running Ballast, for `ballast top` and whoever else draws the state.

Colours only repeat what a sign or a word says already: blue and yellow, which everybody can tell apart.
"""

from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from controller.api.printable import for_people
from controller.observe.text import mib, reason_with_advice, seconds, troubles_of

State = dict[str, Any]

CALM, NEWS = "bright_blue", "yellow"
NARROW = 100
"""Columns of a terminal below which the reason's sentence gives way to its name, and less is shown."""


def render(state: State) -> RenderableType:
    """A `/state` document as node line, what is wrong, and a row a domain; fits the console it is put on."""
    state = for_people(state)
    troubles = (Text(f"! {trouble}", style=NEWS) for trouble in troubles_of(state))
    table = _Domains(state["domains"]) if state["domains"] else Text(_nobody(state))
    return Group(_node(state), *troubles, table)


def _nobody(state: State) -> str:
    return "no domain matches the filter" if state["node"].get("domains") else "no running domains"


class _Domains:
    """The table, drawn for the width there is."""

    def __init__(self, domains: list[State]) -> None:
        self._domains = domains

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrow = options.max_width < NARROW
        table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        table.add_column("NAME", overflow="ellipsis", no_wrap=True, max_width=24)
        for title in ("DEMAND", "FORECAST", "ALLOC", "TARGET"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("EVERY", justify="right", no_wrap=True)
        table.add_column("" if narrow else "STABILITY", no_wrap=True)
        table.add_column("LAST ACTION")
        for domain in self._domains:
            table.add_row(*_row(domain, narrow))
        yield table


def _row(domain: State, narrow: bool) -> tuple[RenderableType, ...]:
    moving = domain["target"] != domain["allocation"]
    sizes = [_size(domain[field], narrow) for field in ("demand", "forecast", "allocation")]
    return (
        Text(domain["name"]),
        *sizes,
        Text(_size(domain["target"], narrow), style=NEWS if moving else ""),
        seconds(domain["interval_s"]),
        _stability(domain, narrow),
        _last(domain, narrow),
    )


def _size(size: int | None, narrow: bool) -> str:
    return mib(size).removesuffix(" MiB") if narrow else mib(size)


def _stability(domain: State, narrow: bool) -> Text:
    sign, word, style = ("=", "stable", CALM) if domain["stable"] else ("~", "unstable", NEWS)
    if domain["pressure"]:
        sign, word, style = "!", "pressure", f"bold {NEWS}"
    return Text(sign if narrow else f"{sign} {word}", style=style)


def _last(domain: State, narrow: bool) -> Text:
    """The last change with its age and reason; for a domain that is left alone, why."""
    action = domain["last_action"]
    if action is None:
        return _line(domain["reason"] if narrow else reason_with_advice(domain), "dim", narrow)
    grows = action["to"] > action["from"]
    size = mib(abs(action["to"] - action["from"]))
    sign = "▲ +" if grows else "▼ -"
    why = action["reason"] if narrow else action["reason_text"]
    text = f"{sign}{size} {seconds(action['age_s'])} ago: {why}"
    return _line(text, NEWS if grows else CALM, narrow)


def _line(text: str, style: str, narrow: bool) -> Text:
    """Of all columns only the last may be cut or wrapped, and on a narrow terminal it is cut."""
    return Text(text, style=style, no_wrap=narrow or None, overflow="ellipsis" if narrow else None)


def _node(state: State) -> Text:
    node = state["node"]
    text = Text.assemble((f"{node['name']}  ", "bold"))
    if "budget" not in node:
        return text.append("the loop has not run yet")
    text.append(f"budget {mib(node['budget'])}, allocated {mib(node['allocated'])}, spare {mib(node['spare'])}, ")
    text.append(f"host uses {mib(node['host_use'])} of {mib(node['total'])}; ")
    text.append(f"{node['stable_domains']} of {node['domains']} domains stable, ")
    text.append(f"{node['reallocations_total']} reallocations, ")
    text.append(f"{node['looks_total']} looks (fixed: {node['fixed_looks_total']})")
    if node["pressure"]:
        text.append("  ! HOST UNDER PRESSURE", style=f"bold {NEWS}")
    return text

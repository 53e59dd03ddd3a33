"""The table of a running Ballast, for `ballast top` and whoever else draws the state.

Colours only repeat what a sign or a word says already: blue and yellow, which everybody can tell apart.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from controller.api.printable import for_people
from controller.cli.sorting import arranged
from controller.engine.reasons import Reason
from controller.observe.text import display_name, mib, reason_with_advice, seconds, troubles_of

State = dict[str, Any]

CALM, ALERT = "bright_blue", "yellow"
RECENT_S = 60.0
"""Seconds for which the reason of a change says more of a domain than that no other one is worth a move."""
SETTLED = frozenset({"None", "WithinThreshold", "Stabilizing", "Moving"})
"""Reasons that say no more than that."""
SENTENCE = 40
"""Columns of most reasons' sentences. Columns are not left out and brought back as reasons come and go."""
_NAME = max(map(len, map(str, Reason)))
_CHANGE = {True: len("▲ +9999 59m59s"), False: len("▲ +9999 MiB 59m59s ago")}
"""Columns that are kept for a change, brief or not, for the same reason."""
BAR = 60
"""Columns of the budget's bar at most; what a terminal of 80 leaves it is some 25."""
SHORT_BAR, SHORTEST_BAR = 16, 8
"""Columns below which what the host uses is left out instead, and below which the line is broken."""


@dataclass(frozen=True, slots=True)
class View:
    """What of a state is shown, and how."""

    sort: str | None = None
    """One of `arrange.SORTS`; None: in the node's order."""
    wanted: str = ""
    """Text that shown domains have in name, policy or reason."""
    wide: bool = False
    """With columns that few need, where there is room for them."""
    chosen: str = ""
    """Key of the domain that is marked, and stays in sight."""
    lines: int | None = None
    """Of the terminal; None where it scrolls."""


def render(state: State, view: View | None = None) -> RenderableType:
    """A `/state` document as node lines, what is wrong, and a line a domain; fits the console it is put on."""
    return _Drawn(for_people(state), view or View())


class _Drawn:
    """Drawn for the width there is."""

    def __init__(self, state: State, view: View) -> None:
        self._state, self._view = state, view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        state, view = self._state, self._view
        width = options.max_width
        troubles = [Text(f"! {trouble}", style=ALERT, overflow="fold") for trouble in troubles_of(state)]
        head = Group(*_node(state, width), *troubles)
        yield head
        domains = arranged(state, view.sort, view.wanted)["domains"]
        if not domains:
            yield Text("no domain matches the filter" if state["domains"] else "no running domains")
            return
        room = None if view.lines is None else view.lines - len(console.render_lines(head, options)) - 1
        yield _table(domains, view, width, _window([each["key"] for each in domains], view.chosen, room))


def _window(keys: Sequence[str], chosen: str, room: int | None) -> slice:
    """The rows that are in sight: as many as there is room for, the chosen one among them, in the middle if it can."""
    if room is None or room >= len(keys):
        return slice(None)
    room = max(room, 1)
    at = keys.index(chosen) if chosen in keys else 0
    first = min(max(at - room // 2, 0), len(keys) - room)
    return slice(first, first + room)


Cell = Callable[[State, bool], Text]
"""A cell of a domain's row; True: without units, and signs instead of words."""


def _size(field: str) -> Cell:
    return lambda domain, brief: Text(_number(domain[field], brief))


def _number(size: float | None, brief: bool) -> str:
    return mib(size).removesuffix(" MiB") if brief else mib(size)


def _target(domain: State, brief: bool) -> Text:
    moving = domain["target"] != domain["allocation"]
    return Text(_number(domain["target"], brief), style=ALERT if moving else "")


def _stability(domain: State, brief: bool) -> Text:
    sign, word, style = ("=", "stable", CALM) if domain["stable"] else ("~", "unstable", ALERT)
    if domain["pressure"]:
        sign, word, style = "!", "pressure", f"bold {ALERT}"
    return Text(sign if brief else f"{sign} {word}", style=style)


def _change(domain: State, brief: bool) -> Text:
    """The last change, and its age."""
    action = domain["last_action"]
    if action is None or None in {action["from"], action["to"]}:
        return Text("-", style="dim")
    grows = action["to"] > action["from"]
    size, age = _number(abs(action["to"] - action["from"]), brief), seconds(action["age_s"])
    text = f"{'▲ +' if grows else '▼ -'}{size} {age}{'' if brief else ' ago'}"
    return Text(text, style=ALERT if grows else CALM)


_CELLS: Mapping[str, Cell] = {
    "NAME": lambda domain, _brief: Text(display_name(domain)),
    "POLICY": lambda domain, _brief: Text(domain["policy"] or "-"),
    "MODE": lambda domain, _brief: Text(domain["mode"] or "-"),
    "DEMAND": _size("demand"),
    "FORECAST": _size("forecast"),
    "UPPER": _size("upper"),
    "ALLOC": _size("allocation"),
    "TARGET": _target,
    "MIN": _size("minimum"),
    "MAX": _size("maximum"),
    "EVERY": lambda domain, _brief: Text(seconds(domain["interval_s"])),
    "STABILITY": _stability,
    "MOVES": lambda domain, _brief: Text(str(domain["reallocations"])),
    "CHANGE": _change,
    "UUID": lambda domain, _brief: Text(domain["uuid"]),
}
_WIDE = ("UPPER", "MIN", "MAX", "MOVES", "UUID")
_LEFT_OUT = (*_WIDE[::-1], "EVERY", "FORECAST", "TARGET", "POLICY", "DEMAND", "MODE", "CHANGE")
"""Columns that a narrow terminal goes without, in this order: the reason is never cut for them."""
_WORDS = {"NAME": 5, "POLICY": 8}
"""Columns of names, cut in the middle at this part of the width, at least 12: their ends tell them apart."""
_RIGHT = ("DEMAND", "FORECAST", "UPPER", "ALLOC", "TARGET", "MIN", "MAX", "EVERY", "MOVES")
_SORTED = {"allocation": "ALLOC", "interval": "EVERY"}
"""Columns whose title is another than what is sorted by."""


class _Layout:
    """Columns with their cells, and what they leave for the reason."""

    def __init__(self, domains: Sequence[State], titles: Sequence[str], view: View, width: int, brief: bool) -> None:
        self.titles = titles
        self.shown = [_title(title, view, brief) for title in titles]
        self.cells = [[_cut(_CELLS[title](each, brief), title, width) for title in titles] for each in domains]
        widths = [max(map(cell_len, [title, *(cell.plain for cell in column)])) for title, column in self._columns()]
        if "CHANGE" in titles:
            place = titles.index("CHANGE")
            widths[place] = max(widths[place], _CHANGE[brief])
        self.widths = widths
        self.gap = 1 if brief else 2
        self.room = width - sum(widths) - self.gap * len(widths)

    def _columns(self) -> Iterator[tuple[str, tuple[Text, ...]]]:
        return zip(self.shown, zip(*self.cells, strict=True), strict=True)


def _title(title: str, view: View, brief: bool) -> str:
    by = _SORTED.get(view.sort or "", (view.sort or "").upper())
    mark = "" if title != by else "▴" if title == "NAME" else "▾"
    return ("" if brief and title == "STABILITY" else title) + mark


def _cut(cell: Text, title: str, width: int) -> Text:
    most = max(width // _WORDS[title], 12) if title in _WORDS else width
    if cell.cell_len <= most:
        return cell
    kept, text = (most - 1) // 2, cell.plain
    return Text(f"{set_cell_size(text, most - 1 - kept)}…{set_cell_size(text[::-1], kept)[::-1]}", style=cell.style)


def _layout(domains: Sequence[State], view: View, width: int) -> _Layout:
    """The first of these that leaves room for each reason: in a sentence, else by its name, with fewer columns."""
    titles = [title for title in _CELLS if view.wide or title not in _WIDE]
    name = max(_NAME, *(cell_len(_reasons(each)[2]) for each in domains))
    full, brief = (_Layout(domains, titles, view, width, each) for each in (False, True))
    for layout, needed in ((full, SENTENCE), (brief, SENTENCE), (full, name), (brief, name)):
        if layout.room >= needed:
            return layout
    for title in _LEFT_OUT:
        titles = [each for each in titles if each != title]
        brief = _Layout(domains, titles, view, width, True)
        if brief.room >= name:
            break
    return brief


def _table(domains: Sequence[State], view: View, width: int, window: slice) -> Table:
    layout = _layout(domains, view, width)
    table = Table(box=None, padding=(0, layout.gap, 0, 0), pad_edge=False, header_style="bold", expand=False)
    for shown, title, columns in zip(layout.shown, layout.titles, layout.widths, strict=True):
        table.add_column(shown, justify="right" if title in _RIGHT else "left", no_wrap=True, min_width=columns)
    table.add_column("REASON", overflow="fold")
    for domain, cells in zip(domains[window], layout.cells[window], strict=True):
        style = "reverse" if view.chosen and domain["key"] == view.chosen else ""
        table.add_row(*cells, _reason(domain, layout.room), style=style)
    return table


def _reasons(domain: State) -> tuple[str, str, str]:
    """Why it has what it has: with what can be done about it, in a sentence, by name."""
    action = domain["last_action"]
    if action and domain["reason"] in SETTLED and (action["age_s"] or 0.0) < RECENT_S:
        return action["reason_text"], action["reason_text"], action["reason"]
    return reason_with_advice(domain), domain["reason_text"], domain["reason"]


def _reason(domain: State, room: int) -> Text:
    """The longest form that there is room for; nothing is cut."""
    forms = _reasons(domain)
    return Text(next((form for form in forms if cell_len(form) <= room), forms[-1]))


def _node(state: State, width: int) -> Iterator[Text]:
    node = state["node"]
    text = Text.assemble((f"{node['name']}  ", "bold"))
    if "budget" not in node:
        yield text.append("the loop has not run yet")
        return
    if node["pressure"]:
        text.append("! HOST UNDER PRESSURE  ", style=f"bold {ALERT}")
    text.append(f"{node['stable_domains']} of {node['domains']} domains stable, ")
    text.append(f"{node['reallocations_total']} reallocations, ")
    text.append(f"{node['looks_total']} looks (fixed: {node['fixed_looks_total']})")
    yield text
    yield _budget(state, width)


def _budget(state: State, width: int) -> Text:
    """How much of the budget guests use, have beyond that, and leave."""
    node = state["node"]
    budget, allocated = node["budget"] or 0, node["allocated"] or 0
    over = allocated > budget
    told = f" {_number(allocated, True)} of {mib(budget)} allocated, {_number(node['spare'], True)} spare"
    host = f"; host uses {_number(node['host_use'], True)} of {mib(node['total'])}"
    left = width - len("budget []") - len(told)
    told, left = (told + host, left - len(host)) if left - len(host) >= SHORT_BAR else (told, left)
    columns = min(max(left, SHORTEST_BAR), BAR)
    demand = sum(each["demand"] or 0 for each in state["domains"])
    marks = [
        0,
        *(round(columns * min(size / (budget or 1), 1.0)) for size in (min(demand, allocated), allocated)),
        columns,
    ]
    parts = zip(("█", "▒", "·"), pairwise(marks), strict=True)
    bar = "".join(sign * (end - start) for sign, (start, end) in parts)
    style = f"bold {ALERT}" if over else CALM
    return Text.assemble("budget [", (bar, style), "]", (told, style if over else ""), no_wrap=False)

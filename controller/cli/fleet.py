"""Many hosts at once, for `ballast top --hosts FILE`: a row a host, from the `/state` of each.

No host keeps another waiting, and none of them is believed: an answer has a size and a time, as have its texts.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from controller.api.printable import bounded, for_people, printable
from controller.cli.answers import MOST
from controller.cli.endpoint import fetch, is_url
from controller.observe.text import mib, troubles_of

if TYPE_CHECKING:
    from rich.console import RenderableType

LARGEST_FILE = 2**18
"""Bytes of the file of hosts."""
MOST_HOSTS = 1000
MOST_PROBLEMS = 10
"""Of the file, that are told at a time."""
LONGEST_NAME = 64
"""Characters of a host's name: more would push the figures off the screen."""
LONGEST_ERROR = 200
"""Bytes of what is wrong with a host."""
PARALLEL = 50
"""Hosts that are asked at a time."""
HOST_S = 10.0
"""Seconds that a host may take for all of its answer, and for its name to be found."""
LONGEST_ANSWER = 2**23
"""Bytes; 8 MiB. A domain has less than one KiB of the state."""


class FleetHost(NamedTuple):
    """A line of the file."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a host; sizes in bytes, None where unknown."""

    host: str
    budget: float | None = None
    allocated: float | None = None
    demand: float | None = None
    short: float | None = None
    """What demand is above the budget."""
    reclaimable: float | None = None
    domains: int | None = None
    mode: str = "-"
    """Of its domains: Enforce, Observe, `Enforce 2/5` where it differs, Paused."""
    error: str = ""


def read_hosts(file: Path) -> list[FleetHost]:
    """The hosts in the file: a name and a URL a line, blank lines and those with `#` apart.

    Raises ClickException that names wrong lines, but not what is in a URL: that may be a password.
    """
    try:
        with file.open("rb") as content:
            text = content.read(LARGEST_FILE + 1)
        lines = text.decode().splitlines()
    except OSError as error:
        raise click.ClickException(f"--hosts {file}: {error.strerror}; name a file with a host a line") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"--hosts {file}: not a text in UTF-8; write a name and a URL a line") from error
    if len(text) > LARGEST_FILE:
        raise click.ClickException(f"--hosts {file}: more than {LARGEST_FILE // 1024} KiB; split it")
    found: dict[str, FleetHost] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        words = [] if line.lstrip().startswith("#") else line.split()
        if problem := _problem(words, found):
            problems.append(f"--hosts {file}:{number}: {problem}")
        elif words:
            found[words[0]] = FleetHost(*words)
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise click.ClickException("\n".join(problems[:MOST_PROBLEMS] + [f"and {more} more"] * (more > 0)))
    if not 0 < len(found) <= MOST_HOSTS:
        raise click.ClickException(f"--hosts {file}: {len(found)} hosts; there must be 1 to {MOST_HOSTS}")
    return list(found.values())


def _problem(words: Sequence[str], known: dict[str, FleetHost]) -> str:
    """What is wrong with a line; empty where nothing is."""
    if not words:
        return ""
    if len(words) != 2:
        return f"{len(words)} words; write a name and a URL, such as host-1 https://host-1.example.org:9179"
    name, url = words
    if len(name) > LONGEST_NAME or printable(name) != name:
        return f"the name is longer than {LONGEST_NAME} characters, or not printable; choose another"
    if name in known:
        return f"{name} is there twice; give each host a name of its own"
    return "" if is_url(url) else "the second word is not a URL; write it like https://host-1.example.org:9179"


class Fleet:
    """The hosts and their rows. `read` belongs to one thread; `rows` is a whole at any time."""

    def __init__(self, hosts: Sequence[FleetHost], host_s: float = HOST_S) -> None:
        self.rows: tuple[Row, ...] = tuple(Row(each.name, error="not asked yet") for each in hosts)
        self._hosts, self._host_s = hosts, host_s
        self._answers: SimpleQueue[tuple[FleetHost, Row]] = SimpleQueue()
        self._hanging: set[FleetHost] = set()
        """Whose last answer was given up, and is not here yet. They are not asked again meanwhile."""

    def read(self) -> None:
        """Ask every host; returns when all have answered, or had their time."""
        for host, _ in self._arrived():
            self._hanging.discard(host)
        waiting = deque(each for each in self._hosts if each not in self._hanging)
        running: dict[FleetHost, float] = {}
        while waiting or running:
            while waiting and len(running) < PARALLEL:
                host = waiting.popleft()
                running[host] = time.monotonic() + self._host_s
                threading.Thread(target=self._ask, args=(host,), name="host", daemon=True).start()
            try:
                host, row = self._answers.get(timeout=max(min(running.values()) - time.monotonic(), 0.0))
            except Empty:
                self._give_up([host for host, end in running.items() if end <= time.monotonic()], running)
            else:
                self._hanging.discard(host)
                if running.pop(host, None) is not None:
                    self._put(host, row)

    def _arrived(self) -> Iterator[tuple[FleetHost, Row]]:
        while not self._answers.empty():
            yield self._answers.get()

    def _give_up(self, late: Sequence[FleetHost], running: dict[FleetHost, float]) -> None:
        for host in late:
            del running[host]
            self._hanging.add(host)
            self._put(host, Row(host.name, error=f"no whole answer within {self._host_s:g} s"))

    def _put(self, host: FleetHost, row: Row) -> None:
        self.rows = tuple(row if each.host == host.name else each for each in self.rows)

    def _ask(self, host: FleetHost) -> None:
        self._answers.put((host, _row(host, self._host_s)))


_PARSING = threading.Lock()
"""One answer at a time is more than its bytes."""


def _row(host: FleetHost, whole_s: float) -> Row:
    try:
        state = fetch(host.url, most=LONGEST_ANSWER, whole_s=whole_s, parsing=_PARSING)
    except click.ClickException as error:
        cause, _, _remedy = error.message.partition("; is ")  # which is for a host of one's own
        return Row(host.name, error=bounded(printable(cause), LONGEST_ERROR))
    with _PARSING:
        return row(host.name, state)


def row(name: str, state: dict[str, Any]) -> Row:
    """Of a `/state` document."""
    node = state["node"]
    troubles = [*troubles_of(state), *([] if "budget" in node else ["has not looked yet"])]
    more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
    error = bounded(printable(troubles[0]), LONGEST_ERROR) + more if troubles else ""
    figures = {each: _figure(node, each) for each in ("budget", "allocated", "demand", "short", "reclaimable")}
    return Row(name, **figures, domains=len(state["domains"]), mode=_mode(state), error=error)


def _figure(node: dict[str, Any], name: str) -> float | None:
    value = node.get(name)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST
    return value if known else None


def _mode(state: dict[str, Any]) -> str:
    if state["node"].get("paused") is True:
        return "Paused"
    modes = [each["mode"] for each in state["domains"] if each["mode"] in {"Enforce", "Observe"}]
    enforced = modes.count("Enforce")
    if not modes:
        return "-"
    return f"Enforce {enforced}/{len(modes)}" if 0 < enforced < len(modes) else modes[0]


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """For programs."""
    return {"hosts": [for_people(asdict(each)) for each in rows]}


COLUMNS: dict[str, Callable[[Row], str]] = {
    "HOST": lambda row: row.host,
    "BUDGET": lambda row: _mib(row.budget),
    "ALLOCATED": lambda row: _mib(row.allocated),
    "DEMAND": lambda row: _mib(row.demand),
    "SHORT": lambda row: _mib(row.short),
    "RECLAIMABLE": lambda row: _mib(row.reclaimable),
    "DOMAINS": lambda row: "-" if row.domains is None else str(row.domains),
    "MODE": lambda row: row.mode,
}
LEFT_OUT = ("RECLAIMABLE", "ALLOCATED", "DOMAINS", "MODE", "BUDGET")
"""Columns that a narrow terminal does without, the first of them first."""
GAP = 2
"""Columns of the terminal between two of the table."""


def table(rows: Sequence[Row], width: int) -> "RenderableType":
    """For people: sizes in MiB, and below them what is wrong, which is never cut."""
    from rich.console import Group  # noqa: PLC0415 - only where there is a table to draw
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    cells = {heading: [cell(each) for each in rows] for heading, cell in COLUMNS.items()}
    widths = {heading: max(map(len, [heading, *column])) + GAP for heading, column in cells.items()}
    for heading in LEFT_OUT:
        if sum(widths.values()) - GAP > width:
            del widths[heading]
    drawn = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for heading in widths:
        drawn.add_column(heading, justify="left" if heading in {"HOST", "MODE"} else "right", no_wrap=True)
    for number, each in enumerate(rows):
        marked = "yellow" if each.error or each.short else None
        drawn.add_row(*(Text(cells[heading][number]) for heading in widths), style=marked)
    wrong = [Text(f"! {each.host}: {each.error}", style="yellow", overflow="fold") for each in rows if each.error]
    return Group(Text("sizes in MiB", style="dim"), drawn, *wrong)


def _mib(size: float | None) -> str:
    return mib(size).removesuffix(" MiB")

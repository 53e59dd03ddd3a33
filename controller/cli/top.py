"""`ballast top`: the live table of a running Ballast, read from its local HTTP endpoint."""

import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
from click.core import ParameterSource

from controller.api.printable import printable
from controller.cli.endpoint import complete_domains, explained, fetch, url_option
from controller.cli.fleet import Fleet, read_hosts
from controller.cli.fleet import document as fleet_document
from controller.cli.fleet import table as fleet_table
from controller.cli.options import NumberRange
from controller.cli.output import document, output_option, say, terminal
from controller.cli.screen import HELP, Screen
from controller.cli.sorting import SORTS, arranged
from controller.observe.text import display_name

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

FORMS = ("table", "wide", "name", "json", "yaml")
UNBOUNDED = 1000
"""Columns of what is no terminal: nothing is left out of a file."""


@click.command()
@url_option
@click.option(
    "--hosts",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    help="A row for each host in FILE instead, which has a name and a URL a line, as --url takes it. Fifty are asked "
    "at a time.",
)
@click.option(
    "--once",
    is_flag=True,
    help="Print the table once and exit; implied by -o name, json and yaml, and where the output is no terminal.",
)
@click.option(
    "--interval",
    type=NumberRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two readings.",
)
@click.option(
    "--sort", type=click.Choice(SORTS), help="Largest, least stable or latest change first; names from A to Z."
)
@click.option(
    "--filter", "wanted", metavar="TEXT", default="", help="Only domains with TEXT in name, policy or reason."
)
@click.argument("domain", required=False, shell_complete=complete_domains)
@output_option("What to print; wide: more columns, as far as they fit.", "table", FORMS)
def top(  # noqa: PLR0913, PLR0917 - click passes one argument an option
    url: str,
    hosts: Path | None,
    once: bool,
    interval: float,
    sort: str | None,
    wanted: str,
    domain: str | None,
    output: str,
) -> None:
    """Show policy, demand, allocation, the last change and the reason of every domain, live; or DOMAIN's history.

    Press q to quit, and ? for the keys: filter, sort, choose a domain and explain it. A narrow terminal shows fewer
    columns, but never cuts a reason.

    \b
    Examples:
      ballast top
      ballast top --sort demand --filter web
      ballast top web-1
      ballast top --once -o wide
      ballast top -o json | jq '.domains[].demand'
      ballast top --hosts hosts.txt
    """
    once = once or output in {"json", "yaml"} or not sys.stdout.isatty()
    if hosts is not None:
        _show_hosts(hosts, once, interval, sort, wanted, domain, output)
        return
    if domain and (sort or wanted or output in {"wide", "name"}):
        raise click.UsageError(
            "--sort, --filter, -o wide and -o name are for the table of all domains; leave them out with DOMAIN"
        )
    screen = Screen(sort=sort, wanted=wanted)
    if output in {"json", "yaml"}:
        click.echo(document(explained(url, domain) if domain else arranged(fetch(url), sort, wanted), output))
    elif output == "name":
        say(*(display_name(each) for each in arranged(fetch(url), sort, wanted)["domains"]))
    else:
        console, source = terminal(), _Source(url, domain, output == "wide")
        source.read(screen)
        if once:
            if domain is None and (output == "wide" or not console.is_terminal):
                console.width = UNBOUNDED
            console.print(source.drawn(screen, console.width))
            return
        try:
            _follow(console, source, screen, interval)
        except KeyboardInterrupt:
            return


def _show_hosts(
    file: Path, once: bool, interval: float, sort: str | None, wanted: str, domain: str | None, output: str
) -> None:
    single = click.get_current_context().get_parameter_source("url") is ParameterSource.COMMANDLINE
    if single or domain or sort or wanted or output in {"wide", "name"}:
        raise click.UsageError(
            "--url, --sort, --filter, -o wide, -o name and DOMAIN are for one host; leave them out with --hosts"
        )
    source = _Hosts(Fleet(read_hosts(file)))
    if not once:
        source.read(Screen())
        with suppress(KeyboardInterrupt):
            _follow(terminal(), source, Screen(), interval)
        return
    source.fleet.read()
    if output == "table":
        console = terminal()
        if not console.is_terminal:
            console.width = UNBOUNDED
        console.print(source.drawn(Screen(), console.width))
    else:
        click.echo(document(fleet_document(source.fleet.rows), output))


class _Shown(Protocol):
    """What is drawn, and where it comes from."""

    @property
    def single(self) -> bool:
        """There is nothing to choose from."""
        ...

    def read(self, screen: Screen) -> None:
        """Ask Ballast. Raises ClickException."""
        ...

    def keys(self, screen: Screen) -> list[str]:
        """Of the domains that are shown, in their order."""
        ...

    def drawn(self, screen: Screen, width: int, lines: int | None = None) -> "RenderableType":
        """All of it, in so many columns and lines."""
        ...


class _Hosts:
    """A row a host. They are asked beside the screen: who is slow keeps no key waiting."""

    single = True

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._reading: threading.Thread | None = None

    def read(self, screen: Screen) -> None:  # noqa: ARG002 - as `_Shown` has it
        """Begin to ask them, unless that is going on."""
        if self._reading is None or not self._reading.is_alive():
            self._reading = threading.Thread(target=self.fleet.read, name="hosts", daemon=True)
            self._reading.start()

    def keys(self, screen: Screen) -> list[str]:  # noqa: ARG002 - as `_Shown` has it
        """None."""
        return []

    def drawn(self, screen: Screen, width: int, lines: int | None = None) -> "RenderableType":  # noqa: ARG002 - as above
        """The table as far as hosts have answered."""
        return fleet_table(self.fleet.rows, width)


class _Source:
    """One Ballast, or one of its domains."""

    def __init__(self, url: str, domain: str | None, wide: bool) -> None:
        """`domain`: the only one that is asked for."""
        self.domain = domain
        self.single = domain is not None
        self._url, self._wide = url, wide
        self._state: dict[str, Any] = {"domains": []}
        self._told: dict[str, Any] | None = None

    def read(self, screen: Screen) -> None:
        """Ask Ballast. Raises ClickException."""
        about = self.domain or (screen.chosen if screen.opened else None)
        self._told = explained(self._url, about) if about else None
        if not self.domain:
            self._state = fetch(self._url)

    def keys(self, screen: Screen) -> list[str]:
        """Of the domains that are shown, in their order."""
        return [each["key"] for each in arranged(self._state, screen.sort, screen.wanted)["domains"]]

    def drawn(self, screen: Screen, width: int, lines: int | None = None) -> "RenderableType":
        """The table, or one domain, in so many columns and lines."""
        from controller.cli.history import history  # noqa: PLC0415 - rich: only where there is a table to draw
        from controller.cli.table import View, render  # noqa: PLC0415 - as above

        if self._told:
            return history(self._told, width)
        return render(self._state, View(screen.sort, screen.wanted, self._wide, screen.chosen, lines))


def _follow(console: "Console", source: _Shown, screen: Screen, interval: float) -> None:
    """Redraw until it is ended; a Ballast, or a domain, that goes away is said and waited for."""
    from rich.live import Live  # noqa: PLC0415 - see `_Source.drawn`

    from controller.cli.keyboard import Keyboard  # noqa: PLC0415 - as above

    problem, due = "", time.monotonic() + interval
    with Keyboard() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
        while not screen.ended:
            live.update(_page(console, source, screen, problem), refresh=True)
            before = screen
            for key in keyboard.keys(max(due - time.monotonic(), 0.0)):
                if key == "q" or not source.single:
                    screen = screen.pressed(key, source.keys(screen))
            if time.monotonic() >= due or screen.opened != before.opened:
                due = time.monotonic() + interval
                problem = _problem(source, screen)


def _problem(source: _Shown, screen: Screen) -> str:
    """Read anew; why that did not work, if so."""
    try:
        source.read(screen)
    except click.ClickException as error:
        return printable(error.message)
    return ""


def _page(console: "Console", source: _Shown, screen: Screen, problem: str) -> "RenderableType":
    """The whole terminal: a body, and on the last line what keys do."""
    from rich.console import Group  # noqa: PLC0415 - see `_Source.drawn`
    from rich.segment import SegmentLines  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    width, height = console.size
    body = Text(HELP) if screen.helping else Text(problem) if problem else source.drawn(screen, width, height - 1)
    lines = console.render_lines(body, console.options.update(height=None), pad=False)[: height - 1]
    footer = Text("q quit" if source.single else screen.footer, style="dim", no_wrap=True, overflow="crop")
    return Group(SegmentLines([*lines, *([[]] * (height - 1 - len(lines)))], new_lines=True), footer)

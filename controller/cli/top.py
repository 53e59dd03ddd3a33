"""`ballast top`: the live table of a running Ballast, read from its local HTTP endpoint."""

import time
from collections.abc import Callable
from typing import Any

import click

from controller.api.printable import printable
from controller.cli.arrange import SORTS, arranged
from controller.cli.endpoint import complete_domains, explained, fetch, url_option
from controller.cli.options import NumberRange
from controller.cli.output import document, output_option, terminal


@click.command()
@url_option
@click.option("--once", is_flag=True, help="Print the table once and exit; implied by -o json and -o yaml.")
@click.option(
    "--interval",
    type=NumberRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two readings.",
)
@click.option("--sort", type=click.Choice(SORTS), help="Largest, most restless or newest change first; names from A.")
@click.option(
    "--filter", "wanted", metavar="TEXT", default="", help="Only domains with TEXT in name, policy or reason."
)
@click.argument("domain", required=False, shell_complete=complete_domains)
@output_option("What to print.")
def top(url: str, once: bool, interval: float, sort: str | None, wanted: str, domain: str | None, output: str) -> None:
    """Show demand, forecast, allocation and the last action of every domain, live; or DOMAIN's history. Ctrl-C ends it.

    \b
    Examples:
      ballast top
      ballast top --sort demand --filter web
      ballast top web-1
      ballast top --once
      ballast top -o json | jq '.domains[].demand'
    """
    if domain and (sort or wanted):
        raise click.UsageError("--sort and --filter arrange the table of all domains; leave them out with DOMAIN")

    def read() -> dict[str, Any]:
        return explained(url, domain) if domain else arranged(fetch(url), sort, wanted)

    if output != "table":
        click.echo(document(read(), output))
        return
    from controller.cli.history import history  # noqa: PLC0415 - only where there is a table to draw
    from controller.cli.table import render  # noqa: PLC0415 - as above

    console = terminal()

    def draw() -> Any:
        return history(read(), console.width) if domain else render(read())

    if once:
        console.print(draw())
        return
    try:
        _follow(console, draw, interval)
    except KeyboardInterrupt:
        return


def _follow(console: Any, draw: Callable[[], Any], interval: float) -> None:
    """Redraw until interrupted; a Ballast, or a domain, that goes away is said and waited for."""
    from rich.live import Live  # noqa: PLC0415 - see `top`
    from rich.text import Text  # noqa: PLC0415 - see `top`

    with Live(draw(), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)  # the pace of the display; Ctrl-C ends it
            try:
                live.update(draw(), refresh=True)
            except click.ClickException as error:
                live.update(Text(printable(error.message)), refresh=True)

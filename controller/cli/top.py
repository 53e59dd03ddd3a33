"""`ballast top`: the live table of a running Ballast, read from its local HTTP endpoint."""

import time
from typing import Any

import click

from controller.cli.endpoint import fetch, url_option
from controller.cli.output import document, output_option


@click.command()
@url_option
@click.option("--once", is_flag=True, help="Print the table once and exit; implied by -o json and -o yaml.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two readings.",
)
@output_option("What to print.")
def top(url: str, once: bool, interval: float, output: str) -> None:
    """Show demand, forecast, allocation and the last action of every domain, live. Ctrl-C ends it.

    \b
    Examples:
      ballast top
      ballast top --once
      ballast top -o json | jq '.domains[].demand'
    """
    if output != "table":
        click.echo(document(fetch(url), output))
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is a table to draw

    from controller.cli.table import render  # noqa: PLC0415 - as above

    console = Console()
    if once:
        console.print(render(fetch(url)))
        return
    try:
        _follow(console, url, interval)
    except KeyboardInterrupt:
        return


def _follow(console: Any, url: str, interval: float) -> None:
    """Redraw until interrupted; a Ballast that goes away is said and waited for."""
    from rich.live import Live  # noqa: PLC0415 - see `top`

    from controller.cli.table import render  # noqa: PLC0415 - see `top`

    with Live(render(fetch(url)), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)  # the pace of the display; Ctrl-C ends it
            try:
                live.update(render(fetch(url)), refresh=True)
            except click.ClickException as error:
                live.update(error.message, refresh=True)

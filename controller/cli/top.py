"""`ballast top`: the live table of a running Ballast, read from its local HTTP endpoint."""

import json
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import click

from controller.cli.output import document, output_option
from controller.observe.address import DEFAULT_LISTEN

TIMEOUT_S = 5.0
"""Seconds to wait for an answer."""


@click.command()
@click.option(
    "--url",
    default=f"http://{DEFAULT_LISTEN}",
    show_default=True,
    metavar="URL",
    help="Address of the running Ballast (its --listen).",
)
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


def fetch(url: str) -> dict[str, Any]:
    """The `/state` document of the Ballast at `url`. Raises ClickException when there is none."""
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
        raise click.UsageError(f"--url {url!r} is not a URL; write it like http://{DEFAULT_LISTEN}")
    try:
        with urlopen(f"{url.rstrip('/')}/state", timeout=TIMEOUT_S) as reply:  # noqa: S310 - the scheme is checked above
            state = json.load(reply)
    except HTTPError as error:
        error.close()
        raise click.ClickException(f"{url} answers {error.code} {error.reason}; is that a Ballast?") from error
    except (URLError, OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        raise click.ClickException(
            f"nothing answers at {url} ({cause}); is `ballast run` running, and --url what its --listen says?"
        ) from error
    except ValueError as error:
        raise click.ClickException(f"{url} does not answer with JSON; is that a Ballast?") from error
    if not isinstance(state, dict) or "domains" not in state:
        raise click.ClickException(f"{url} answers with something else; is that a Ballast?")
    return state


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

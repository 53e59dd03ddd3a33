"""The command line of `./hack/bench`."""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from benchmarks import away, cluster, connections, engine, idle, look, memory, reaction, returned, scrape, senses
from benchmarks.figures import Figure, table
from benchmarks.shared_guests import SharedGuests
from lab.errors import LabError
from lab.newfile import NewFile

PARTS: dict[str, Callable[[SharedGuests], list[Figure]]] = {
    each.PART: each.measure
    for each in (engine, look, away, senses, scrape, memory, reaction, returned, connections, idle, cluster)
}
UNASKED = [part for part in PARTS if part != cluster.PART]
"""Parts that are measured if none is named; the cluster takes too long to come unasked."""

FILE_WIDTH = 200
"""Columns where there is no terminal: a table in a log is of no use cut off."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]), metavar="[PART]...")
@click.option(
    "--json",
    "json_file",
    type=NewFile(),
    metavar="FILE",
    help="Write the figures as JSON, too.",
)
def main(parts: tuple[str, ...], json_file: Path | None) -> None:
    """Measure Ballast on this machine, with the baseline of each figure from the same run.

    \b
    Parts; if none is named all but the last (35 minutes):
      engine       one step for 1,000 to 100,000 domains
      look         CPU of one look of the whole process at 1,000 domains
      away         the loop's longest turn with 1,000 domains of which 50 hang
      senses       CPU of feeling 1,000 domains between looks
      scrape       one scrape of /metrics at 1,000 domains
      memory       resident memory of the process
      reaction     from a step of demand in a real guest to the memory it needs (a quarter of an hour)
      returned     resident memory of guests whose workloads have ended (five minutes)
      connections  an agent with the libvirt of each of 110 pods (five minutes)
      idle         CPU of an agent with 50 stable domains (seven minutes)
      cluster      up to 1,000 agents on fake hosts and one real API server (half an hour)

    A figure that misses its goal is marked, but is no error.
    """
    figures: list[Figure] = []
    try:
        with SharedGuests() as shared:
            for part in dict.fromkeys(parts or UNASKED):
                began = time.monotonic()
                click.echo(f"{part} ...", err=True)
                figures += PARTS[part](shared)
                click.echo(f"{part}: {time.monotonic() - began:.0f} s", err=True)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    finally:  # what was measured before an error, too
        _print(figures)
        if json_file is not None:
            json_file.write_text(json.dumps([figure.as_json() for figure in figures], indent=2) + "\n")


def _print(figures: list[Figure]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print(table(figures))
    click.echo(f"CPU and wall times are medians. {platform.machine()}, Python {platform.python_version()}.")


if __name__ == "__main__":
    main(prog_name="./hack/bench")

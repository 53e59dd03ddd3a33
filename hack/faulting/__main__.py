"""The command line of `./hack/faults`."""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from faulting import cluster, crowd, daemons, domains, need, surroundings
from faulting.fault import Fault, FaultResult
from faulting.hostfault import HostFault
from lab.errors import LabError
from lab.newfile import NewFile

FAMILIES: dict[str, tuple[Fault, ...]] = {
    "host": (*daemons.FAULTS, *domains.FAULTS, *need.FAULTS, *surroundings.FAULTS, *crowd.FAULTS),
    "cluster": cluster.FAULTS,
}
FAULTS: dict[str, Fault] = {fault.name: fault for family in FAMILIES.values() for fault in family}
FILE_WIDTH = 200
"""Columns where there is no terminal: a table in a log is of no use cut off."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([*FAULTS]),
    metavar="NAME",
    help="Run this fault; may be given several times.",
)
@click.option("--family", type=click.Choice([*FAMILIES]), help="Run the faults of this family only.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Duration of faults that have no end of their own (guest-trickles). Default: two minutes.",
)
@click.option("--list", "listed", is_flag=True, help="List the faults and exit.")
@click.option(
    "--json",
    "json_file",
    type=NewFile(),
    metavar="FILE",
    help="Write the results as JSON, too.",
)
def main(
    only: tuple[str, ...], family: str | None, seconds: float | None, listed: bool, json_file: Path | None
) -> None:
    """Cause faults while Ballast controls real guests, and show what became of the guests.

    Each fault has its own libvirtd, guests with a workload, and Ballast. Exits with 1 if a guest was harmed, an order
    was lost, sent twice or gave too much, or Ballast did not recover. The faults of the host take about twenty
    minutes, those of a cluster half an hour.
    """
    chosen = [FAULTS[name] for name in only] or [*(FAMILIES[family] if family else FAULTS.values())]
    if seconds is not None:
        chosen = [_lasting(fault, seconds) for fault in chosen]
    if listed:
        for fault in chosen:
            click.echo(f"{fault.name:36}{fault.done}")
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    results = []
    try:
        for fault in chosen:
            click.echo(f"{fault.name} ...", err=True)
            results.append(fault.carry_out())
            click.echo(f"  {results[-1].as_json()}", err=True)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    _print(results)
    if json_file is not None:
        json_file.write_text(json.dumps({"faults": [result.as_json() for result in results]}, indent=2) + "\n")
    if not all(result.good for result in results):
        raise click.ClickException("not every fault went well; see the table")


def _lasting(fault: Fault, seconds: float) -> Fault:
    """The fault, going on for this long if its length can be chosen."""
    return replace(fault, lasts_s=seconds) if isinstance(fault, HostFault) and fault.lasts_s else fault


def _print(results: list[FaultResult]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    table = Table("Fault", "What was done", "Guests harmed", "Actions lost", "Recovered", "What a person saw")
    for result in results:
        recovered = "no" if result.recovered_s is None else f"{result.recovered_s:.1f} s"
        counts = (str(result.guests_harmed), str(result.actions_lost))
        table.add_row(result.fault, result.done, *counts, recovered, result.seen)
    console.print(table)


if __name__ == "__main__":
    main(prog_name="./hack/faults")

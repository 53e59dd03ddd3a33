"""The command line of `./hack/duel`."""

import json
import os
import platform
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from controller.cli.options import NumberRange
from controller.replay.controllers import OURS, PEERS
from dueling import chart
from dueling.casts import CASTS, Cast
from dueling.measures import MOST_ROUNDS
from dueling.report import COLUMNS, Turn, document, standing, table, verdict
from dueling.turn import TurnTerms, play
from lab.errors import LabError
from lab.libvirtd import PrivateLibvirtd
from lab.newfile import NewFile

UNASKED = (OURS, "mom", "proxmox", "qmemman", "virtui", "static")
UNFIT = frozenset({"clairvoyant"})
"""It knows what the trace brings next; real guests have none."""
TAKEN = (OURS, *(name for name in PEERS if name not in UNFIT))
WIDTH = 200
"""Columns of a table at least: one that is cut off is of no use."""


def _names(known: Sequence[str], what: str) -> Callable[[click.Context, click.Parameter, str], tuple[str, ...]]:
    def parse(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        for name in found:
            if name not in known:
                raise click.BadParameter(f"{what} {name!r} does not exist; use some of {', '.join(known)}")
        if not found:
            raise click.BadParameter(f"no {what}; use some of {', '.join(known)}")
        return found

    return parse


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--casts",
    metavar="NAME,...",
    callback=_names([cast.name for cast in CASTS], "cast"),
    default=",".join(cast.name for cast in CASTS),
    show_default=True,
)
@click.option(
    "--controllers",
    metavar="NAME,...",
    callback=_names(TAKEN, "controller"),
    default=",".join(UNASKED),
    show_default=True,
)
@click.option("--minutes", type=NumberRange(0.1, 1440), default=3, show_default=True, help="Measured, of each turn.")
@click.option("--settle", type=NumberRange(0, 3600), default=20, show_default=True, help="Seconds at work before that.")
@click.option("--rounds", type=click.IntRange(1, MOST_ROUNDS), default=3, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the controllers' order in each round.")
@click.option(
    "--scale",
    type=NumberRange(1, 1024),
    default=16,
    show_default=True,
    help="Peers take everything for that many times as large: 320 MiB for 5 GiB.",
)
@click.option("--json", "json_file", metavar="FILE", type=NewFile(), help="All figures, after each turn.")
@click.option("--png", "png_file", metavar="FILE", type=NewFile(), help="A picture of the means.")
def main(  # noqa: PLR0913, PLR0917 - click passes one argument an option
    casts: tuple[str, ...],
    controllers: tuple[str, ...],
    minutes: float,
    settle: float,
    rounds: int,
    seed: int,
    scale: float,
    json_file: Path | None,
    png_file: Path | None,
) -> None:
    """The same real guests with the same workloads under Ballast and under its peers, in turn.

    \b
    Casts:
      demo      the demo's five guests
      fourteen  guests whose workloads jump every 6 to 25 s
      builder   seven services and a bursty builder on a host of half the sum of their maxima
      files     guests that read files and hold memory that they hardly use, with room for all
    The controller `max` gives every guest its maximum, which shows the best that guests can do.
    Each turn takes half a minute to a minute and a half more, until its guests have booted. What is known is told on
    Ctrl-C, too.

    \b
    Examples:
      ./hack/duel --casts demo --controllers ballast,mom --minutes 1 --rounds 1
      ./hack/duel --rounds 5 --json duel.json --png duel.png
    """
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    chosen = [cast for cast in CASTS if cast.name in casts]
    terms = TurnTerms(settle, minutes * 60, scale)
    about = asdict(terms) | {"seed": seed, "machine": platform.machine(), "cores": os.cpu_count()}
    turns: list[Turn] = []
    try:
        with PrivateLibvirtd() as host:
            for turn in duel(host, chosen, schedule(controllers, rounds, seed), terms):
                turns.append(turn)
                click.echo(_line(turn), err=True)
                if json_file is not None:  # a duel takes hours: what is known is kept
                    json_file.write_text(json.dumps(document(turns, about), indent=1, allow_nan=False) + "\n")
    except LabError as error:
        raise click.ClickException(str(error)) from error
    finally:  # what was measured before an error, or before somebody had seen enough, too
        _print(chosen, controllers, turns)
        if png_file is not None and turns:
            standings = {cast.name: standing(turns, cast.name) for cast in chosen}
            chart.draw({name: found for name, found in standings.items() if found}, controllers, png_file)


def schedule(controllers: Sequence[str], rounds: int, seed: int) -> list[list[str]]:
    """Each round's order of the controllers, by chance: who comes later finds another machine."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    return [chance.sample(controllers, len(controllers)) for _ in range(rounds)]


def duel(
    host: PrivateLibvirtd, casts: Sequence[Cast], rounds: Sequence[Sequence[str]], terms: TurnTerms
) -> Iterator[Turn]:
    """Turn after turn; a round is all casts under all controllers. Raises LabError."""
    for number, order in enumerate(rounds):
        for cast in casts:
            for controller in order:
                yield Turn(cast.name, controller, number, play(host, cast, controller, terms))


def _line(turn: Turn) -> str:
    entry = turn.measures.entry()
    figures = (
        f"{column.title} " + ("-" if (value := entry[column.field]) is None else f"{value:.{column.digits}f}")
        for column in COLUMNS
    )
    return f"{time.strftime('%H:%M:%S')} {turn.cast} {turn.controller} #{turn.round + 1}: {'; '.join(figures)}"


def _print(casts: Sequence[Cast], controllers: Sequence[str], turns: Sequence[Turn]) -> None:
    console = Console(width=max(Console().width, WIDTH), highlight=False)
    for cast in casts:
        if found := standing(turns, cast.name):
            title = f"{cast.name}: {len(cast.parts)} guests, budget {cast.budget_mib} MiB"
            console.print(table(title, found, controllers))
            console.print(verdict(found))
            console.print()


if __name__ == "__main__":
    main(prog_name="./hack/duel")

"""What the commands that replay traces have in common: host sizes, a progress bar, and how they end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import size_bytes
from controller.cli.output import terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

MIB = 2**20

traces_option = click.option(
    "--trace",
    "traces",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    multiple=True,
    help="Recorded demand, CSV or gzip; may be given several times.",
)
autodeflate_option = click.option(
    "--autodeflate", is_flag=True, help="Balloons deflate by themselves when a guest runs out of memory."
)


def size_mib(text: str) -> float:
    """A host's memory in MiB from a quantity. Raises BadParameter."""
    size = size_bytes(text) / MIB
    if size == 0:
        raise click.BadParameter("a host has at least 1Mi; write it like 24Gi")
    return size


class Bar:
    """How many replays have ended, of those announced so far."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._announced = 0

    def more(self, count: int) -> None:
        """So many are to come besides those announced before."""
        self._announced += count
        self._progress.update(self._task, total=self._announced)

    def done(self) -> None:
        """One has ended."""
        self._progress.advance(self._task)

    def say(self, line: str) -> None:
        """A line of standard output; above the bar, where both are on a terminal."""
        if self._progress.disable or not sys.stdout.isatty():
            click.echo(line)
        else:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Bar]:
    """A bar on standard error, where that is a terminal: how many of all, and the time left; gone at the end."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415 - as above

    from controller.cli.timeleft import TimeLeft  # noqa: PLC0415 - as above

    console = terminal(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeLeft())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task(what, total=None))


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that replays in other processes end, too."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def plainly() -> Iterator[None]:
    """What is wrong with traces and settings, and what ended a replay, is said in one line, not in a traceback."""
    from controller.replay.backtest import BacktestError  # noqa: PLC0415 - numpy: not for the sake of --help
    from controller.replay.pool import PoolError  # noqa: PLC0415 - as above
    from controller.replay.run import ReplayError  # noqa: PLC0415 - as above
    from controller.replay.trace import TraceError  # noqa: PLC0415 - as above

    try:
        yield
    except (BacktestError, PoolError, ReplayError, TraceError) as error:
        raise click.ClickException(str(error)) from error

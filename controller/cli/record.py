"""`ballast record`: a live host's memory demand into a trace file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import NumberRange, connect_option, size_bytes
from controller.cli.output import say

if TYPE_CHECKING:
    from controller.engine.reasons import Reason

SMALLEST_TRACE = 2**10
"""Bytes; a header and some samples."""


def _limit(_context: click.Context, _option: click.Parameter, text: str) -> int:
    from controller.api.quantity import SMALLEST  # noqa: PLC0415 - not for the sake of --help

    limit = size_bytes(text, SMALLEST_TRACE, SMALLEST)
    if limit == 0:
        raise click.BadParameter(f"{text!r} holds no trace; use at least 1Ki")
    return limit


@click.command()
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    required=True,
    help="A new file; a name that ends in .gz is compressed.",
)
@connect_option
@click.option(
    "--interval",
    type=NumberRange(min=0.5, max=3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two looks. A guest that has sent nothing new since the last one adds nothing.",
)
@click.option(
    "--duration",
    type=NumberRange(min=0, min_open=True),
    default=float("inf"),
    show_default="until stopped",
    metavar="SECONDS",
    help="How long to record.",
)
@click.option(
    "--max-size",
    "limit",
    metavar="QUANTITY",
    default="256Mi",
    show_default=True,
    callback=_limit,
    help="Stop when the file has this size.",
)
def record(out: Path, uris: tuple[str, ...], interval: float, duration: float, limit: int) -> None:
    """Write the memory demand of this host's domains to a trace for `ballast backtest`. Changes nothing.

    Stop it with Ctrl-C or SIGTERM. The file can be used at any moment, however the recording ends. Guests that send
    no statistics are listed with the command that makes them send some. An existing file is never overwritten.

    \b
    Examples:
      ballast record --out monday.csv.gz
      ballast record --out hour.csv --duration 3600 --interval 2 --connect qemu:///session
    """
    from controller.cli.record_service import record_host  # noqa: PLC0415 - libvirt, numpy: not for the sake of --help

    recorder = record_host(out, uris, interval, duration, limit, _left_out)
    if recorder.full:
        say(f"{out}: has reached --max-size; recording ends", err=True)
    say(f"{out}: {recorder.samples} samples")


def _left_out(name: str, reason: Reason) -> None:
    remedy = f"; if its statistics are off: virsh dommemstat {shlex.quote(name)} --period 1 --live"
    say(f"{name}: not recorded for now: {reason.text}{remedy}", err=True)

"""`./hack/demo`: real guests give memory to each other under Ballast's control, and show what came of it."""

import json
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from controller.cli.options import NumberRange
from controller.cli.table import render
from demoing.chart import draw
from lab.ballast import BallastProcess
from lab.errors import LabError
from lab.guest import Guest
from lab.libvirtd import PrivateLibvirtd
from lab.newfile import NewFile
from lab.sampling import Sampler, write_trace
from lab.scenario import BUDGET_MIB, CAST, MAXIMA_MIB, POLICY
from lab.summary import DemoSummary, summarize

REFRESH_S = 1.0
"""Between two drawings of the table."""
REPORT_S = 10.0
"""Between two progress lines where there is no terminal to draw on."""
MIB = 2**20

State = dict[str, Any]


def _new(_context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.exists():
        raise click.BadParameter(f"{str(path)!r} exists; recordings are never overwritten", param=option)
    return path


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", type=NumberRange(0.5, 1440), default=2, show_default=True, help="How long to run.")
@click.option(
    "--json",
    "json_file",
    type=NewFile(),
    metavar="FILE",
    help="Write the summary as JSON.",
)
@click.option(
    "--png",
    type=NewFile(),
    default=Path("ballast-demo.png"),
    show_default=True,
    metavar="FILE",
    help="File of the chart.",
)
@click.option(
    "--trace",
    type=NewFile(),
    callback=_new,
    metavar="FILE",
    help="Write the guests' demand as a trace for `ballast backtest`.",
)
@click.option("--keep", is_flag=True, help="Leave everything running at the end, and print how to stop it.")
def main(minutes: float, json_file: Path | None, png: Path, trace: Path | None, keep: bool) -> None:
    """Start real guests, let Ballast move memory between them, and show how it went."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    console = Console(highlight=False)
    try:
        summary = _run(console, minutes * 60, png, trace, keep)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        console.print("interrupted: guests, libvirtd and Ballast are ended")
        sys.exit(128 + signal.SIGINT)
    if json_file is not None:
        json_file.write_text(json.dumps(summary.as_json(), indent=2) + "\n")
    if summary.oom_kills or summary.panics:
        raise click.ClickException("guests came to harm; see the summary")


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _run(console: Console, duration_s: float, png: Path, trace: Path | None, keep: bool) -> DemoSummary:
    with ExitStack() as stack:
        console.print("[1/4] private libvirtd")
        host = stack.enter_context(PrivateLibvirtd())
        console.print(f"[2/4] {len(CAST)} guests of {MAXIMA_MIB} MiB together, lent {BUDGET_MIB} MiB: booting")
        guests = [stack.enter_context(Guest(host, part.spec)) for part in CAST]
        idle = {guest.spec.name: float(guest.wait_ready().demand()) for guest in guests}
        console.print("[3/4] ballast run")
        ballast = stack.enter_context(BallastProcess(_policies(host), host.uri, host.root / "ballast.log", keep=keep))
        before = ballast.wait_for_domains(len(guests))["node"]
        console.print(f"[4/4] workloads for {duration_s:g} s (also: ballast top --url {ballast.url})")
        start = time.monotonic()
        with Sampler(host.uri, guests, idle) as sampler:
            for guest, part in zip(guests, CAST, strict=True):
                guest.run_profile(part.workload, loop=True)
            after = _watch(console, ballast, sampler, duration_s)
        summary = summarize(sampler.tracks, [guest.evidence() for guest in guests], before, after, BUDGET_MIB)
        draw(sampler.tracks, start, BUDGET_MIB, png)
        if trace is not None:
            write_trace(sampler.tracks, trace)
        _show(console, summary, png)
        if keep:
            host.keep()
            stack.pop_all()
            _say_how_to_end(console, host, ballast)
    return summary


def _policies(host: PrivateLibvirtd) -> Path:
    folder = host.root / "policies"
    folder.mkdir()
    shutil.copy(POLICY, folder)
    return folder


def _watch(console: Console, ballast: BallastProcess, sampler: Sampler, duration_s: float) -> State:
    """Show Ballast's state until the time is over; returns the `node` part of the last."""
    end = time.monotonic() + duration_s
    with _Screen(console) as screen:
        while (left := end - time.monotonic()) > 0:
            if sampler.error is not None:
                raise LabError(f"a guest or libvirtd is gone: {sampler.error}")
            screen.show(ballast.state(), left)
            time.sleep(min(REFRESH_S, left))  # the pace of the drawing
    node: State = ballast.state()["node"]
    return node


class _Screen:
    """A live table on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._next_line_s = float("inf")

    def show(self, state: State, left_s: float) -> None:
        if self._live is not None:
            self._live.update(Group(render(state), f"{left_s:.0f} s to go; Ctrl-C ends it all"), refresh=True)
        elif left_s <= self._next_line_s:
            self._next_line_s = left_s - REPORT_S
            node = state["node"]
            allocated = f"{node['allocated'] / MIB:.0f} of {node['budget'] / MIB:.0f} MiB allocated"
            counts = f"{node['reallocations_total']} reallocations, {node['looks_total']} looks"
            self._console.print(f"  {left_s:3.0f} s to go: {allocated}, {counts}")

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def _show(console: Console, summary: DemoSummary, png: Path) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    reaction = "no step needed memory" if summary.reaction_p95_s is None else f"{summary.reaction_p95_s:g} s"
    for label, value in (
        ("guests", f"{summary.guests}, maxima {MAXIMA_MIB} MiB together, lent {BUDGET_MIB} MiB"),
        ("moved", f"{summary.moved_mib} MiB in {summary.reallocations} reallocations"),
        ("looks", f"{summary.looks}, against {summary.fixed_looks} at the minimum interval"),
        ("reaction to a step (p95)", reaction),
        ("over the budget for", f"{summary.budget_exceeded_s:g} s"),
        ("out-of-memory kills", f"{summary.oom_kills}"),
        ("kernel panics", f"{summary.panics}"),
        ("picture", str(png)),
    ):
        table.add_row(label, value)
    console.print()
    console.print(table)


def _say_how_to_end(console: Console, host: PrivateLibvirtd, ballast: BallastProcess) -> None:
    console.print(
        f"\nkept running:\n  virsh -c '{host.uri}' list\n  ballast top --url {ballast.url}\n"
        f"  less {host.root}/ballast.log\nend it all:\n  kill {ballast.pid} {host.reaper_pid}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    main(prog_name="./hack/demo")

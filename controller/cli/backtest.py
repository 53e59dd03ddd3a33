"""`ballast backtest`: the options, and what is printed. What is computed is in `controller.replay`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import click

from controller.cli.output import document, output_option, say, terminal
from controller.cli.policyfile import one_policy
from controller.cli.progress import (
    autodeflate_option,
    ended_by_sigterm,
    plainly,
    progress_bar,
    size_mib,
    traces_option,
)

if TYPE_CHECKING:
    from controller.replay.backtest import ReplayRun
    from controller.replay.sweep import Need


def _sizes(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[float, ...]:
    """Quantities as MiB, each once."""
    return tuple(dict.fromkeys(map(size_mib, texts)))


def _names(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Controllers, each once; all of them unless some are named."""
    from controller.replay.controllers import names  # noqa: PLC0415 - numpy: not for the sake of --help

    if text is None:
        return ()
    wanted = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in wanted:
        if name not in names():
            raise click.BadParameter(f"controller {name!r} does not exist; use some of {','.join(names())}")
    return wanted


@click.command()
@click.option(
    "--policy",
    "policy_file",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    help="The MemoryPolicy to replay; it counts as Enforce, on any node.",
)
@traces_option
@click.option(
    "--host-memory",
    "hosts_mib",
    metavar="QUANTITY",
    multiple=True,
    callback=_sizes,
    help="What the host can give its guests, such as 24Gi; may be given several times. "
    "Ballast keeps the policy's budget.reserve of it free; other controllers keep nothing.  "
    "[default: 110, 125 and 150 % of the trace's peak]",
)
@click.option(
    "--controllers",
    metavar="NAME,...",
    callback=_names,
    help="What to replay: ballast, ballast:MODEL (wls, ols, ...), ballast:fixed (looks at the shortest interval), "
    "ballast:unfelt (as where /proc cannot be read), ballast:reporting (guests report free pages), "
    "ballast:reporting-fixed (both), static, max, mom, proxmox, qmemman, pi, vpa, virtui, probe (no forecast), "
    "clairvoyant.  [default: all]",
)
@autodeflate_option
@click.option(
    "--sweep", is_flag=True, help="Also find the host memory that each needs for a harm of 0.1 % of demand (slow)."
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write summary.json, report.html, and allocations and looks of every controller there.",
)
@output_option("What to print.")
def backtest(  # noqa: PLR0913, PLR0917 - click passes one argument an option
    policy_file: Path,
    traces: tuple[Path, ...],
    hosts_mib: tuple[float, ...],
    controllers: tuple[str, ...],
    autodeflate: bool,
    sweep: bool,
    out: Path | None,
    output: str,
) -> None:
    """Replay a policy and other projects' controllers on recorded demand, and show how each served the guests.

    Harm is demand that was not met, and memory that the host did not have, in percent of demand. Exits with 1 if a
    trace or policy cannot be used, and names file, line, value and remedy.

    \b
    Examples:
      ballast backtest --policy policy.yaml --trace monday.csv.gz
      ballast backtest --policy policy.yaml --trace monday.csv.gz --host-memory 24Gi --out results/
      ballast backtest --policy policy.yaml --trace monday.csv.gz --controllers ballast,mom --sweep -o json
    """
    from controller.replay import backtest as replays  # noqa: PLC0415 - numpy and pydantic: not for the sake of --help
    from controller.replay import controllers as known  # noqa: PLC0415 - as above
    from controller.replay.pool import Pool  # noqa: PLC0415 - as above
    from controller.replay.sweep import plan, run_all  # noqa: PLC0415 - as above
    from controller.replay.trace import read  # noqa: PLC0415 - as above

    with plainly(), _written_plainly(out), ended_by_sigterm():
        setting = replays.Setting(one_policy(policy_file), autodeflate)
        if out is not None:
            _prepare(out)
        given = replays.sources([(str(path), read(path)) for path in dict.fromkeys(traces)])
        replays.check(setting, given)
        names = controllers or known.names()
        jobs = replays.plan(given, hosts_mib, names, setting, out)
        with Pool() as pool, progress_bar("replays") as bar:
            runs = replays.run_all(jobs, pool, bar)
            needs = run_all(plan(given, names, setting), runs, pool, bar) if sweep else None
        if warning := replays.unlike(setting.policy, jobs):
            say(warning, err=True)
        summary = _summary(runs, needs)
        if out is not None:
            _write(out, runs, needs, summary)
    if output == "table":
        _print_table(runs, needs, out)
    else:
        click.echo(document(summary, output))


def _summary(runs: Sequence[ReplayRun], needs: Sequence[Need] | None) -> dict[str, Any]:
    summary: dict[str, Any] = {"runs": [run.entry() for run in runs]}
    return summary if needs is None else summary | {"sweep": [need.entry() for need in needs]}


def _prepare(out: Path) -> None:
    """What would fail at the end fails now."""
    from controller.replay import report  # noqa: PLC0415 - as in `backtest`

    report.require()
    out.mkdir(parents=True, exist_ok=True)
    try:
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(out)) from error


def _write(out: Path, runs: Sequence[ReplayRun], needs: Sequence[Need] | None, summary: dict[str, Any]) -> None:
    from controller.replay import report  # noqa: PLC0415 - as in `backtest`

    (out / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    (out / "report.html").write_text(report.page(runs, needs or ()), encoding="utf-8")


def _print_table(runs: Sequence[ReplayRun], needs: Sequence[Need] | None, out: Path | None) -> None:
    from controller.cli.scores import need_table, score_tables  # noqa: PLC0415 - only where there is a table to draw

    console = terminal()
    for table in score_tables(runs):
        console.print(table)
    if needs:
        console.print(need_table(needs))
    if out is not None:
        say(f"report: {out / 'report.html'}")


@contextmanager
def _written_plainly(out: Path | None) -> Iterator[None]:
    """What keeps the folder from being written is said in one line."""
    from controller.replay.report import ReportError  # noqa: PLC0415 - as in `backtest`

    try:
        yield
    except ReportError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        if out is None:
            raise click.ClickException(str(error)) from error
        raise click.ClickException(f"{error.filename or out}: {error.strerror}; name another --out folder") from error

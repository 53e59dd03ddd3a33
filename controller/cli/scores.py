"""Tables of a backtest's figures, for people."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.table import Table

from controller.replay.backtest import Run, base_mib
from controller.replay.controllers import OURS
from controller.replay.sweep import Need

COLUMNS = ("HARM %", "SHORT %", "OVER %", "WORST %", "SLACK %", "MOVES/h", "LOOKS/h")
"""Of demand: harm (shortfall and overcommit), the worst domain's shortfall, slack. Per domain-hour: the rest."""


def score_tables(runs: Sequence[Run]) -> Iterator[Table]:
    """One table a trace and host size, a row a controller."""
    for (_, host_mib), group in groupby(runs, lambda run: (run.source.label, run.host_mib)):
        rows = list(group)
        source = rows[0].source
        percent = 100 * host_mib / base_mib(source.trace)
        table = _table(f"{source.label}, host {host_mib:.0f} MiB ({percent:.0f} % of the peak)", COLUMNS)
        for run in rows:
            table.add_row(run.controller, *_cells(run), style=_style(run.controller))
        yield table


def need_table(needs: Iterable[Need]) -> Table:
    """Host memory for harm of 0.1 %, a row a controller."""
    table = _table("host memory for harm of at most 0.1 %", ("TRACE", "MiB", "% OF PEAK"))
    for need in needs:
        size = ("never", "") if need.percent is None else (f"{need.host_mib:.0f}", f"{need.percent}")
        table.add_row(need.controller, need.source.label, *size, style=_style(need.controller))
    return table


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("CONTROLLER", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _cells(run: Run) -> tuple[str, ...]:
    figures = run.figures
    parts = (figures.harm, figures.shortfall, figures.overcommit, figures.worst_domain_shortfall)
    return (
        *(f"{100 * part:.3f}" for part in parts),
        f"{100 * figures.slack:.0f}",
        f"{figures.reallocations_per_domain_hour:.1f}",
        f"{figures.looks_per_domain_hour:.1f}",
    )


def _style(controller: str) -> str:
    return "bold" if controller == OURS else ""

"""Tables of replays' figures, for people."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.table import Table
from rich.text import Text

from controller.api.printable import printable
from controller.replay.backtest import ReplayRun, base_mib
from controller.replay.controllers import OURS
from controller.replay.score import ReplayFigures
from controller.replay.sweep import Need

COLUMNS = ("HARM %", "SHORT %", "OVER %", "WORST %", "SLACK %", "MOVES/h", "LOOKS/h")
"""Of demand: harm (shortfall and overcommit), the worst domain's shortfall, slack. Per domain-hour: the rest."""


def score_tables(runs: Sequence[ReplayRun]) -> Iterator[Table]:
    """One table a trace and host size, a row a controller."""
    for (_, host_mib), group in groupby(runs, lambda run: (run.source.label, run.host_mib)):
        rows = list(group)
        source = rows[0].source
        percent = 100 * host_mib / base_mib(source.trace)
        found = table(
            f"{printable(source.label)}, host {host_mib:.0f} MiB ({percent:.0f} % of the peak)", "CONTROLLER", COLUMNS
        )
        for run in rows:
            found.add_row(run.controller, *cells(run.figures), style=_style(run.controller))
        yield found


def need_table(needs: Iterable[Need]) -> Table:
    """Host memory for harm of 0.1 %, a row a controller. Where it is narrow, the trace's name is cut, nothing else."""
    found = table("host memory for harm <= 0.1 %", "CONTROLLER", ("TRACE", "MiB", "% OF PEAK"))
    found.columns[1].no_wrap = False
    for need in needs:
        size = ("never", "") if need.percent is None else (f"{need.host_mib:.0f}", f"{need.percent}")
        trace = Text(printable(need.source.label), no_wrap=True, overflow="ellipsis")
        found.add_row(need.controller, trace, *size, style=_style(need.controller))
    return found


def table(title: str, first: str, columns: Iterable[str]) -> Table:
    """An empty one: names in the `first` column, figures in the others."""
    found = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    found.add_column(first, no_wrap=True)
    for column in columns:
        found.add_column(column, justify="right", no_wrap=True)
    return found


def cells(figures: ReplayFigures) -> tuple[str, ...]:
    """What stands below COLUMNS."""
    parts = (figures.harm, figures.shortfall, figures.overcommit, figures.worst_domain_shortfall)
    return (
        *(f"{100 * part:.3f}" for part in parts),
        f"{100 * figures.slack:.0f}",
        f"{figures.reallocations_per_domain_hour:.1f}",
        f"{figures.looks_per_domain_hour:.1f}",
    )


def _style(controller: str) -> str:
    return "bold" if controller == OURS else ""

"""`report.html`: is Ballast better, where, at what cost; one page that needs nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.util import find_spec
from itertools import groupby

from controller.replay.backtest import ReplayRun, base_mib
from controller.replay.controllers import FIXED, OURS, RIVALS
from controller.replay.sweep import Need

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ddd }
h3 { font-size: 1rem; margin-bottom: .3rem } svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .1rem .8rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr.ours { font-weight: 600; background: #eef5fb }
p.note { color: #666; margin-top: .2rem } thead th { border-bottom: 1px solid #999 }
"""

_HEADINGS = ("controller", "harm %", "shortfall %", "overcommit %", "worst domain %", "slack %", "moves/h", "looks/h")


class ReportError(Exception):
    """A report that cannot be made; the message names the remedy."""


def require() -> None:
    """Raise ReportError where plots cannot be drawn."""
    if find_spec("matplotlib") is None:
        raise ReportError(
            "--out draws plots with matplotlib, which is not installed; `pipx inject ballast matplotlib`, with the "
            "PIPX_HOME that Ballast was installed with"
        )


def page(runs: Sequence[ReplayRun], needs: Sequence[Need]) -> str:
    """HTML of all runs, in their order; `needs` may be empty."""
    parts = ["<h1>Ballast backtest</h1>"]
    for label, group in groupby(runs, lambda run: run.source.label):
        parts += _trace(list(group), [need for need in needs if need.source.label == label])
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>Ballast backtest</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _trace(runs: Sequence[ReplayRun], needs: Sequence[Need]) -> Iterator[str]:
    from controller.replay import charts  # noqa: PLC0415 - matplotlib, which `require` has found

    source = runs[0].source
    trace = source.trace
    hours = (trace.end - trace.start) / 3600
    yield f"<h2>{escape(source.label)}</h2>"
    yield (
        f"<p class='note'>{len(trace.domains)} domains, {hours:.1f} h, a sample every {trace.step_s:g} s; "
        f"host sizes in percent of {base_mib(trace):.0f} MiB, the peak of total demand (or all maxima)</p>"
    )
    hosts = [list(group) for _, group in groupby(runs, lambda run: run.host_mib)]
    yield "<ul>" + "".join(f"<li>{verdict(host)}</li>" for host in hosts) + "</ul>"
    yield "<h3>Harm against host memory</h3>" + charts.harm(runs)
    if needs:
        yield "<h3>Host memory for harm of at most 0.1 % of demand</h3>" + charts.needs(needs)
    shown = hosts[len(hosts) // 2]
    drawn = {run.controller: run.result for run in shown if run.result is not None}
    if OURS in drawn:
        yield f"<h3>Demand and allocation under Ballast, host {shown[0].host_mib:.0f} MiB</h3>"
        yield charts.domains(trace, drawn[OURS])
        yield "<h3>Looks by the interval between them</h3>" + charts.looks(drawn)
    for host in hosts:
        yield _table(host)


def verdict(runs: Sequence[ReplayRun]) -> str:
    """One sentence on one host: Ballast against the best of its peers, and what it cost."""
    size = f"Host {runs[0].host_mib:.0f} MiB ({100 * runs[0].host_mib / base_mib(runs[0].source.trace):.0f} %): "
    by_name = {run.controller: run.figures for run in runs}
    peers = {name: figures for name, figures in by_name.items() if name in RIVALS}
    ours = by_name.get(OURS)
    if ours is None or not peers:
        return size + "Ballast or its peers were not replayed, so there is nothing to compare"
    best = min(peers, key=lambda name: peers[name].harm)
    text = (
        f"{size}harm is {_percent(ours.harm)} under Ballast and {_percent(peers[best].harm)} under {best}, the best "
        f"peer{_ratio(ours.harm, peers[best].harm)}; {ours.reallocations_per_domain_hour:.1f} moves against "
        f"{peers[best].reallocations_per_domain_hour:.1f} per domain-hour"
    )
    fixed = by_name.get(FIXED)
    if fixed is not None and fixed.looks_per_domain_hour:
        part = ours.looks_per_domain_hour / fixed.looks_per_domain_hour
        text += f"; {_percent(part, 0)} of the looks of fixed intervals, whose harm is {_percent(fixed.harm)}"
    return text


def _ratio(ours: float, other: float) -> str:
    if not ours or not other:
        return ""
    return f" (1/{other / ours:.3g})" if ours < other else f" ({ours / other:.3g} times as much)"


def _percent(part: float, places: int = 3) -> str:
    return f"{100 * part:.{places}f} %"


def _table(runs: Sequence[ReplayRun]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    rows = "".join(
        f"<tr{' class=ours' * (run.controller == OURS)}>{''.join(f'<td>{cell}</td>' for cell in _cells(run))}</tr>"
        for run in runs
    )
    return (
        f"<h3>Host {runs[0].host_mib:.0f} MiB</h3><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        "<p class='note'>Percent of demand; moves and looks per domain-hour.</p>"
    )


def _cells(run: ReplayRun) -> Iterable[str]:
    figures = run.figures
    parts = (figures.harm, figures.shortfall, figures.overcommit, figures.worst_domain_shortfall)
    return (
        escape(run.controller),
        *(f"{100 * part:.3f}" for part in parts),
        f"{100 * figures.slack:.0f}",
        f"{figures.reallocations_per_domain_hour:.1f}",
        f"{figures.looks_per_domain_hour:.1f}",
    )

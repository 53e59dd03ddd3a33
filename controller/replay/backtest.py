"""A backtest: every controller on every trace at every host size, and the files that say what each did."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from controller.api.policy import MemoryPolicy
from controller.api.quantity import format_quantity
from controller.api.selectors import SelectorSubject, SelectorSubjects
from controller.replay.ballast import MIB, budget_of, reserve_mib
from controller.replay.controllers import FIXED, OURS, PEERS, guests_report, make
from controller.replay.pool import Pool, Watcher
from controller.replay.run import replay
from controller.replay.score import ReplayFigures, ScoredReplay, write_allocations, write_looks
from controller.replay.trace import Trace

HOST_PERCENTS = (110, 125, 150)
"""Host sizes unless others are asked for, in percent of `base_mib`: scarce, fair, roomy."""

RESERVE_UNSAID = 0.1
"""Part of a host that a policy may keep from its guests without a word; more, and figures differ by that alone."""

DRAWN = (OURS, FIXED)
"""Controllers whose whole record is kept, for the report's plots."""


class BacktestError(Exception):
    """A backtest that cannot be done; the message names the setting, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class TraceSource:
    """A trace and what it is called."""

    path: str
    """As the user named it."""
    label: str
    """Short, and unlike every other trace's of the backtest; part of file names."""
    trace: Trace


@dataclass(frozen=True, slots=True)
class Setting:
    """What all replays of a backtest have in common."""

    policy: MemoryPolicy
    autodeflate: bool = False


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """One replay."""

    source: TraceSource
    host_mib: float
    controller: str
    setting: Setting
    folder: Path | None = None
    """Where its allocations and looks are written; None: nowhere."""


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """One replay's outcome."""

    source: TraceSource
    host_mib: float
    controller: str
    figures: ReplayFigures
    result: ScoredReplay | None
    """With the whole record, of the controllers that are `DRAWN`."""

    def entry(self) -> dict[str, str | float]:
        """What `summary.json` says of it. Fractions of demand; per domain-hour."""
        return {
            "trace": self.source.path,
            "host_mib": self.host_mib,
            "controller": self.controller,
            **self.figures.entry(),
        }


def base_mib(trace: Trace) -> float:
    """What host sizes are percentages of: the peak of total demand, or the sum of maxima where that is smaller."""
    return min(trace.peak_mib, trace.maximum_mib)


def sources(traces: Sequence[tuple[str, Trace]]) -> tuple[TraceSource, ...]:
    """Traces by the paths the user gave; namesakes in different folders are numbered."""
    found: dict[str, TraceSource] = {}
    for path, trace in traces:
        stem = Path(path).name.removesuffix(".gz").removesuffix(".csv")
        number, label = 1, stem
        while label in found:
            number += 1
            label = f"{stem}-{number}"
        found[label] = TraceSource(path, label, trace)
    return tuple(found.values())


def check(setting: Setting, given: Sequence[TraceSource]) -> None:
    """Raise BacktestError for a policy that would leave a whole trace alone."""
    spec = setting.policy.spec
    field = "selectors" if spec.selectors else "domainSelector"
    for source in given:
        if not SelectorSubjects([SelectorSubject(name) for name in source.trace.domains]).selected(
            spec.domain_selector, spec.selectors
        ):
            raise BacktestError(
                f"policy {setting.policy.name!r}: spec.{field} selects none of the domains of {source.path} "
                f"({', '.join(source.trace.domains[:5])}{', ...' * (len(source.trace.domains) > 5)}); "
                "a trace knows names only: remove the selector, or name some of them in spec.domainSelector"
            )


def unlike(policy: MemoryPolicy, jobs: Sequence[ReplayJob]) -> str | None:
    """What to say where the policy keeps much of the smallest host from Ballast, and from no peer; None: nothing."""
    host = min((job.host_mib for job in jobs if job.controller not in PEERS), default=inf)
    reserve, budget = reserve_mib(policy, host), budget_of(policy)
    if not RESERVE_UNSAID * host < reserve < inf:
        return None
    larger = budget.reserve / MIB == reserve
    value = f" {format_quantity(int(budget.reserve))}" if larger else f"Percent {100 * budget.reserve_fraction:.0f}"
    return (
        f"policy {policy.name!r}: spec.budget.reserve{value} keeps {reserve:.0f} of a host's {host:.0f} MiB "
        "from Ballast's guests, and none from its peers'; "
        'to compare like with like, set budget: {reserve: "0", reservePercent: 0}'
    )


def plan(
    given: Sequence[TraceSource],
    hosts_mib: Sequence[float],
    controllers: Sequence[str],
    setting: Setting,
    folder: Path | None,
) -> tuple[ReplayJob, ...]:
    """All combinations, in the order in which they are reported. No `hosts_mib`: HOST_PERCENTS of each trace."""
    pairs = [
        (source, host)
        for source in given
        for host in (hosts_mib or [percent / 100 * base_mib(source.trace) for percent in HOST_PERCENTS])
    ]
    return tuple(
        ReplayJob(
            source, host, name, setting, folder and (folder if len(pairs) == 1 else folder / _place(source, host))
        )
        for source, host in pairs
        for name in controllers
    )


def run_all(jobs: Sequence[ReplayJob], pool: Pool, watcher: Watcher) -> list[ReplayRun]:
    """Replay them, side by side, and write their files. Raises PoolError, ReplayError, OSError."""
    watcher.more(len(jobs))
    for folder in {job.folder for job in jobs if job.folder is not None}:
        folder.mkdir(parents=True, exist_ok=True)
    return [
        ReplayRun(job.source, job.host_mib, job.controller, figures, result)
        for job, (figures, result) in zip(jobs, pool.outcomes(run, jobs, watcher.done), strict=True)
    ]


def run(job: ReplayJob) -> tuple[ReplayFigures, ScoredReplay | None]:
    """Replay one and write its files; see `ReplayRun`. Raises ReplayError, OSError."""
    controller = make(job.controller, job.setting.policy)
    reporting = guests_report(job.controller)
    result = replay(job.source.trace, controller, job.host_mib, job.setting.autodeflate, free_page_reporting=reporting)
    if job.folder is not None:
        name = job.controller.replace(":", "-")
        write_allocations(result, job.folder / f"allocations-{name}.csv.gz")
        write_looks(result, job.folder / f"looks-{name}.csv.gz")
    drawn = result if job.folder is not None and job.controller in DRAWN else None
    return result.figures, drawn


def _place(source: TraceSource, host_mib: float) -> str:
    """A folder's name that no other pair has; host sizes differ by more than a KiB."""
    return f"{source.label}-{f'{host_mib:.3f}'.rstrip('0').rstrip('.')}"

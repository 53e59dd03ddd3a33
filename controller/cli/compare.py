"""`ballast compare`: how well each model forecasts a trace, with error bars."""

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import click

from controller.cli.output import document, output_option, say
from controller.cli.policyfile import policy_in
from controller.cli.progress import progress_bar
from controller.replay.compare import CompareError, IntervalEstimate, Quality
from controller.replay.compare import compare as compare_models
from controller.replay.pool import PoolError
from controller.replay.trace import TraceError, read

HEADINGS = (
    "MODEL",
    "MAE (MiB)",
    "OF LAST VALUE'S",
    "RMSE (MiB)",
    "COVERED",
    "PINBALL (MiB)",
    "OF LAST VALUE'S",
    "LOOKS/H",
    "MOVES/H",
)


@click.command()
@click.option(
    "--trace",
    "traces",
    metavar="FILE",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, readable=False),
    help="Trace of demand (CSV, plain or gzip), as `ballast record` writes it; may be given several times.",
)
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    help="MemoryPolicy with the threshold, intervals and model parameters; the defaults if not given.",
)
@output_option("A table for people, or a document for programs.")
def compare(traces: tuple[Path, ...], policy: Path | None, output: str) -> None:
    """Compare the forecast models on recorded demand: how well each predicts use at the next look.

    The engine runs every domain alone, on a host as large as the domain may become, once with each model. Its
    forecasts decide when it looks and what it moves; memory is not lent. Brackets are 95 % bootstrap intervals over
    blocks of time of each domain. A ratio whose bracket holds 1 is no difference. A ratio is inf (in documents null)
    where the last value never erred.

    \b
    COVERED   forecasts whose upper bound held; the goal is advanced.model.upperPercentile
    PINBALL   loss of that bound: too low costs most, too high a little
    LOOKS/H   looks, and MOVES/H changes of the allocation, per domain and hour

    \b
    Examples:
      ballast compare --trace host.csv.gz
      ballast compare --trace host.csv.gz --policy policy.yaml -o json
    """
    settings = policy_in(policy)
    results: dict[Path, tuple[Quality, ...]] = {}
    for path in dict.fromkeys(traces):
        try:
            trace = read(path)
            with progress_bar("replays") as bar:
                results[path] = compare_models(trace, settings, watcher=bar)
        except TraceError as error:
            raise click.ClickException(str(error)) from error
        except (CompareError, PoolError) as error:
            raise click.ClickException(f"{path}: {error}") from error
    if output == "table":
        for number, (path, models) in enumerate(results.items()):
            say(*[""] * bool(number), *_table(path, models))
    else:
        click.echo(document(_data(results), output))


def _data(results: dict[Path, tuple[Quality, ...]]) -> dict[str, Any]:
    return {
        "runs": [
            {"trace": click.format_filename(path), **_finite(asdict(quality))}
            for path, models in results.items()
            for quality in models
        ]
    }


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    """`data` with None for infinite ends of intervals, which JSON does not know."""
    return {
        name: {end: figure if isfinite(figure) else None for end, figure in value.items()}
        if isinstance(value, dict)
        else value
        for name, value in data.items()
    }


def _table(path: Path, models: Sequence[Quality]) -> Sequence[str]:
    rows = [HEADINGS, *(_row(quality) for quality in models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [click.format_filename(path)]
    for row in rows:
        name, *figures = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([name, *figures]).rstrip())
    return lines


def _row(quality: Quality) -> tuple[str, ...]:
    return (
        quality.model,
        _figure(quality.mae, ".1f"),
        _figure(quality.mae_ratio, ".3f"),
        _figure(quality.rmse, ".1f"),
        _figure(quality.coverage, ".1%"),
        _figure(quality.pinball, ".1f"),
        _figure(quality.pinball_ratio, ".3f"),
        f"{quality.looks_per_domain_hour:.0f}",
        f"{quality.reallocations_per_domain_hour:.1f}",
    )


def _figure(estimate: IntervalEstimate, form: str) -> str:
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"

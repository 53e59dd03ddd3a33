"""`ballast tune`: the options, and what is printed. What is computed is in `controller.replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.output import document, output_option
from controller.cli.policyfile import DEFAULTS, one_policy
from controller.cli.progress import (
    autodeflate_option,
    ended_by_sigterm,
    plainly,
    progress_bar,
    size_mib,
    traces_option,
)

if TYPE_CHECKING:
    from controller.api.policy import MemoryPolicy

NAME = "tuned"
"""`metadata.name` of a proposal that starts from no policy file."""


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    return None if text is None else size_mib(text)


@click.command()
@traces_option
@click.option(
    "--policy",
    "policy_file",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    help="MemoryPolicy to start from; the defaults if not given.",
)
@click.option(
    "--host-memory",
    "host_mib",
    metavar="QUANTITY",
    callback=_size,
    help="What the host can give its guests, such as 24Gi. Ballast keeps the policy's budget.reserve of it free.  "
    "[default: 125 % of the trace's peak]",
)
@autodeflate_option
@output_option("A policy to apply, with the figures on standard error; a table alone; both in a document.", "yaml")
def tune(
    traces: tuple[Path, ...],
    policy_file: Path | None,
    host_mib: float | None,
    autodeflate: bool,
    output: str,
) -> None:
    """Propose parameters of a policy for recorded demand, and say what they gain.

    They are chosen on the first two thirds of each trace and judged on the last third. What gains nothing there is
    not proposed. Of long traces, evenly spread pieces are replayed. This takes minutes.

    What counts is harm, as `ballast backtest` defines it. Halving the moves is worth a tenth of it, and halving the
    looks a twentieth, but harm never rises by more than 5 % for that. Slack falls by more than a tenth only if harm
    falls clearly. The mode is not changed.

    \b
    Examples:
      ballast tune --trace monday.csv.gz > tuned.yaml
      ballast tune --trace monday.csv.gz --policy policy.yaml --host-memory 24Gi
      ballast tune --trace monday.csv.gz --trace tuesday.csv.gz -o table
    """
    from controller.cli import tune_output  # noqa: PLC0415 - numpy and pydantic: not for the sake of --help
    from controller.replay import backtest, holdout  # noqa: PLC0415 - as above
    from controller.replay.pool import Pool  # noqa: PLC0415 - as above
    from controller.replay.trace import read  # noqa: PLC0415 - as above
    from controller.replay.tune import tune as search  # noqa: PLC0415 - as above

    with plainly(), ended_by_sigterm():
        start = _start(policy_file)
        given = backtest.sources([(str(path), read(path)) for path in dict.fromkeys(traces)])
        backtest.check(backtest.Setting(start, autodeflate), given)
        splits = [holdout.split(source, host_mib) for source in given]
        with Pool() as pool, progress_bar("replays") as bar:
            tuning = search(start, splits, autodeflate, pool, bar)
    if output == "json":
        click.echo(document(tune_output.entry(tuning, splits), output))
    else:
        tune_output.print_table(tuning, splits, on_standard_error=output == "yaml")
    if output == "yaml":
        click.echo(tune_output.manifest(tuning, splits))


def _start(path: Path | None) -> MemoryPolicy:
    """The policy in the file, or one of all defaults with a name of its own."""
    if path is not None:
        return one_policy(path)
    return DEFAULTS.model_copy(update={"metadata": DEFAULTS.metadata.model_copy(update={"name": NAME})})

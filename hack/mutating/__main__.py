"""The command line of `./hack/mutants`."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from lab.newfile import NewFile
from mutating import accepted, report
from mutating.accepted import AcceptedError
from mutating.children import Children
from mutating.mutant import Mutant, mutants_of, sample
from mutating.packages import PACKAGES
from mutating.trials import MutantTrial, TestsFailError, copied, survey, tried

ROOT = Path(__file__).parents[2]
FILE_WIDTH = 160
"""Columns where there is no terminal."""


class _Packages(click.ParamType[tuple[str, ...]]):
    name = "packages"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(value.split(","))) if isinstance(value, str) else value
        if unknown := [name for name in names if name not in PACKAGES]:
            self.fail(f"no package '{unknown[0]}': {', '.join(PACKAGES)}", param, ctx)
        return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", type=_Packages(), default=",".join(PACKAGES), show_default=True, help="Packages, separated by commas."
)
@click.option("--sample", "size", type=click.IntRange(1), help="This many mutants, chosen at random; all if not given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of that choice.")
@click.option("--jobs", type=click.IntRange(1), help="Mutants tried at a time; one per core if not given.")
@click.option("--least", type=click.FloatRange(0, 100), default=90, show_default=True, help="Percent to be killed.")
@click.option(
    "--json",
    "json_file",
    type=NewFile(),
    help="Write all trials as JSON.",
)
@click.option(
    "--equivalent",
    "accepted_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=ROOT / "tests" / "mutants_accepted.toml",
    help="Survivors that are accepted, with a reason each; tests/mutants_accepted.toml if not given.",
)
def main(
    only: tuple[str, ...],
    size: int | None,
    seed: int,
    jobs: int | None,
    least: float,
    json_file: Path | None,
    accepted_file: Path,
) -> None:
    """Put faults into Ballast's code, one at a time, and see whether a fast test fails.

    Operators, masks, comparisons and their bounds, constants, conditions, opposites such as minimum and maximum, and
    statements left out. Each mutant runs the tests that call its function, in a process and on a copy of its own.

    Exits with 1 if fewer than --least percent are killed, or an accepted survivor is no longer in the code.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="ballast-mutants-") as folder:
            trials = _tried(only, size, seed, jobs or len(os.sched_getaffinity(0)), accepted_file, Path(folder))
    except (AcceptedError, TestsFailError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _print(trials)
    percent = report.killed_percent(trials)
    if json_file is not None:
        told = {"seed": seed, "sample": size, "killed_percent": percent, "trials": report.as_json(trials)}
        json_file.write_text(json.dumps(told, indent=2) + "\n")
    if percent < least:
        raise click.ClickException(f"{percent:.1f} % killed, fewer than {least:g} %")


def _tried(
    only: Sequence[str], size: int | None, seed: int, jobs: int, accepted_file: Path, folder: Path
) -> list[MutantTrial]:
    tree, scratch = folder / "tree", folder / "scratch"
    tree.mkdir()
    scratch.mkdir()
    copied(ROOT, tree)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(scratch / "hypothesis")
    made = {name: _mutants(name, tree) for name in PACKAGES}
    every = [mutant for mutants in made.values() for mutant in mutants]
    left = {*accepted.without(every, accepted.read(accepted_file), accepted_file)}
    chosen = {*sample([mutant for name in only for mutant in made[name] if mutant in left], size, seed)}
    sampled = {name: [mutant for mutant in made[name] if mutant in chosen] for name in only}
    children = Children(tree, scratch, jobs)
    click.echo("tests without a fault ...", err=True)
    found = survey(children, tree, {name: PACKAGES[name] for name in only}, scratch)
    total = len(chosen)
    trials = tried(children, sampled, found)
    with click.progressbar(trials, total, label=f"{total} mutants", file=sys.stderr) as bar:
        return list(bar)


def _mutants(name: str, tree: Path) -> list[Mutant]:
    return [mutant for file in PACKAGES[name].files(tree) for mutant in mutants_of(file, (tree / file).read_text())]


def _print(trials: Sequence[MutantTrial]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    ordered = sorted(trials, key=lambda trial: (trial.mutant.file, trial.mutant.line, trial.mutant.column))
    for trial in ordered:
        if not trial.killed:
            click.echo(report.survivor(trial))
    console.print(report.table(trials))


if __name__ == "__main__":
    main(prog_name="./hack/mutants")

"""What the trials came to."""

import itertools
from collections.abc import Sequence

from rich.table import Table

from mutating.trials import MutantTrial, Verdict


def killed_percent(trials: Sequence[MutantTrial]) -> float:
    """Percent of the mutants that tests noticed; 100 of none."""
    return 100.0 * sum(trial.killed for trial in trials) / len(trials) if trials else 100.0


def table(trials: Sequence[MutantTrial]) -> Table:
    """A row for each file, one for each package, and one for all."""
    made = Table("", "mutants", *Verdict, "killed %")
    for column in made.columns[1:]:
        column.justify = "right"
    ordered = sorted(trials, key=lambda trial: (trial.package, trial.mutant.file))
    for package, of_package in itertools.groupby(ordered, lambda trial: trial.package):
        whole = [*of_package]
        for file, of_file in itertools.groupby(whole, lambda trial: trial.mutant.file):
            _row(made, file, [*of_file])
        _row(made, package, whole, style="bold")
        made.add_section()
    _row(made, "all", trials, style="bold")
    return made


def survivor(trial: MutantTrial) -> str:
    """What survived, as it would stand in the list of accepted ones, with the line it is in."""
    mutant = trial.mutant
    where = f"{mutant.file}:{mutant.line} {mutant.function}".rstrip()
    return f"{where}: {trial.verdict}, {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}"


def as_json(trials: Sequence[MutantTrial]) -> list[dict[str, object]]:
    """One object per trial."""
    return [
        {
            "package": trial.package,
            "file": trial.mutant.file,
            "line": trial.mutant.line,
            "function": trial.mutant.function,
            "operator": trial.mutant.operator,
            "before": trial.mutant.before,
            "after": trial.mutant.after,
            "verdict": trial.verdict,
            "killer": trial.killer,
        }
        for trial in trials
    ]


def _row(made: Table, name: str, trials: Sequence[MutantTrial], style: str = "") -> None:
    counts = [sum(trial.verdict == verdict for trial in trials) for verdict in Verdict]
    figures = [len(trials), *counts]
    made.add_row(name, *map(str, figures), f"{killed_percent(trials):.0f}", style=style)

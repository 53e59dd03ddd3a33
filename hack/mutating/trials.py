"""Tries mutants of packages with the tests those answer to."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from pathlib import Path

import pytest

from mutating.children import Children, Ended, PytestRun
from mutating.coverage import Coverage
from mutating.mutant import Mutant
from mutating.packages import Package
from mutating.watched import Chosen, Survey

COPIED = ("controller", "hack", "tests", "crds", "manifests", "pyproject.toml", "README.md", "SECURITY.md")
"""What the tests need of the project."""

SPARE = 10
"""Seconds of CPU that a child may take before its tests begin: to import and to collect."""

PATIENCE = 3
"""Times what its tests take without a fault, after which a mutant is taken to run for ever."""


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    """As good as killed: the tests would not have ended."""
    SURVIVED = "survived"
    UNREACHED = "unreached"
    """No test runs its function: a survivor for want of any test."""


class TestsFailError(Exception):
    """Tests fail without a fault, so that they say nothing about one; the message is pytest's output."""


@dataclass(frozen=True, slots=True)
class MutantTrial:
    """A mutant and its verdict."""

    package: str
    mutant: Mutant
    verdict: Verdict
    killer: str = ""
    """pytest's line about the test that failed."""

    @property
    def killed(self) -> bool:
        """Whether the tests noticed."""
        return self.verdict in {Verdict.KILLED, Verdict.TIMED_OUT}


def copied(root: Path, to: Path) -> Path:
    """A copy of the project: its own files stay as they are, and whoever edits them disturbs nothing."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name, ignore=ignore)
        elif (root / name).exists():
            shutil.copy(root / name, to / name)
    return to


def survey(children: Children, tree: Path, packages: Mapping[str, Package], scratch: Path) -> dict[str, Coverage]:
    """The coverage of each package's tests. Raises TestsFailError, also if they fail in the order of their length."""
    reports = {name: scratch / f"{name}.json" for name in packages}
    for ended in children.run(
        PytestRun(Survey(tree, reports[name]), package.tests) for name, package in packages.items()
    ):
        _check(ended)
    found = {name: Coverage.read(report) for name, report in reports.items()}
    for ended in children.run(_run([*coverage.seconds]) for coverage in found.values()):
        _check(ended)
    return found


def tried(
    children: Children, sampled: Mapping[str, Sequence[Mutant]], found: Mapping[str, Coverage]
) -> Iterator[MutantTrial]:
    """Every mutant's trial, as it ends; `sampled` and `found` are by package."""
    package_of = {mutant: name for name, mutants in sampled.items() for mutant in mutants}
    runs = []
    for mutant, name in package_of.items():
        tests = found[name].tests_of(mutant)
        if tests:
            seconds = sum(found[name].seconds[test] for test in tests)
            runs.append(_run(tests, SPARE + ceil(PATIENCE * seconds), mutant))
        else:
            yield MutantTrial(name, mutant, Verdict.UNREACHED)
    for ended in children.run(runs):
        if ended.run.mutant is not None:
            yield MutantTrial(package_of[ended.run.mutant], ended.run.mutant, _verdict(ended), _killer(ended))


def _run(tests: Sequence[str], limit: int | None = None, mutant: Mutant | None = None) -> PytestRun:
    files: Iterable[str] = dict.fromkeys(test.split("::")[0] for test in tests)
    return PytestRun(Chosen(tests), [*files], limit, mutant)


def _check(ended: Ended) -> None:
    if ended.exit_code != pytest.ExitCode.OK:
        raise TestsFailError(ended.output.read_text(errors="replace"))


def _killer(ended: Ended) -> str:
    lines = ended.output.read_text(errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("FAILED ", "ERROR "))), "")


def _verdict(ended: Ended) -> Verdict:
    if ended.exit_code is None:
        return Verdict.TIMED_OUT
    survived = ended.exit_code in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    return Verdict.SURVIVED if survived else Verdict.KILLED

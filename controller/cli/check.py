"""`ballast check`: are these policies that Ballast and the cluster will take? Offline."""

import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from controller.api.documents import MAXIMUM_SIZE, Loaded, Problem, clashes, load
from controller.cli.output import document, say
from controller.policyfiles import read_folder

STANDARD_INPUT = "-"

Report = list[tuple[str, Loaded, list[Problem]]]
"""Per source: what it holds, and all problems with it, those with other files included."""


@click.command(short_help="Check policy files.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(allow_dash=True, readable=False))
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="What to print: lines for people, or a document for programs.",
)
def check(files: tuple[str, ...], output: str) -> None:
    """Check MemoryPolicy files and name every problem with file, line, field, value and remedy.

    FILE is a YAML file, a folder, or - for standard input. Of a folder it reads what `ballast run` reads: every
    *.yaml and *.yml directly in it that is not hidden. It changes nothing, and needs neither a cluster nor libvirt.
    Exits with 1 if there is a problem.

    \b
    Examples:
      ballast check policy.yaml
      ballast check policies/ -o json
      git show HEAD:policy.yaml | ballast check -
    """
    loaded = _load_all(files)
    namesakes = clashes(loaded)
    report = [
        (source, found, [*found.problems, *(problem for problem in namesakes if problem.source == source)])
        for source, found in loaded.items()
    ]
    if output == "table":
        _print_lines(report)
    else:
        click.echo(document(_data(report), output))
    sys.exit(1 if any(problems for _, _, problems in report) else 0)


def _load_all(names: Iterable[str]) -> dict[str, Loaded]:
    """What each file holds, by its name as given; a file that is named twice counts once."""
    loaded: dict[str, Loaded] = {}
    seen: set[str] = set()
    for name in names:
        folder = name != STANDARD_INPUT and Path(name).is_dir()
        for source, found in (_load_folder(Path(name)) if folder else _load_file(Path(name))).items():
            absolute = os.path.abspath(source)
            if absolute not in seen:
                seen.add(absolute)
                loaded[click.format_filename(source)] = found
    return loaded


def _load_folder(folder: Path) -> Mapping[str, Loaded]:
    """What its policy files hold; a folder without any is a problem here."""
    source = str(folder)
    try:
        loaded = read_folder(folder)
    except OSError as error:
        return {source: _unreadable(source, error)}
    if not loaded:
        message, remedy = "no *.yaml or *.yml file in this folder", "name the folder that holds the policies"
        return {source: Loaded(problems=(Problem(source, None, "", "", message, remedy),))}
    return loaded


def _load_file(path: Path) -> Mapping[str, Loaded]:
    """One file, or standard input; no more is read than shows that it is too large."""
    source = click.format_filename(path)
    try:
        with click.open_file(os.fspath(path), "rb") as file:
            return {str(path): load(file.read(MAXIMUM_SIZE + 1), source)}
    except OSError as error:
        return {str(path): _unreadable(source, error)}


def _unreadable(source: str, error: OSError) -> Loaded:
    reason = (error.strerror or str(error)).lower()
    remedy = "check the path" if isinstance(error, FileNotFoundError) else "make it readable for this user"
    return Loaded(problems=(Problem(source, None, "", "", f"cannot be read: {reason}", remedy),))


def _print_lines(report: Report) -> None:
    """Problems to standard error, a line each; files without any to standard output."""
    for source, found, problems in report:
        for problem in problems:
            say(str(problem), err=True)
        if not problems:
            count = len(found.policies)
            say(f"{source}: ok ({count} {'policy' if count == 1 else 'policies'})")
        for note in _notes(found):
            say(f"{source}: {note}")


def _data(report: Report) -> dict[str, object]:
    files = [
        {
            "file": source,
            "policies": [policy.name for policy in found.policies],
            "problems": [_fields(problem) for problem in problems],
            "notes": _notes(found),
        }
        for source, found, problems in report
    ]
    return {"ok": not any(problems for _, _, problems in report), "files": files}


def _notes(found: Loaded) -> list[str]:
    """What is right, and may not do what is meant."""
    return [
        f"MemoryPolicy {policy.name}: spec.rollout needs a cluster; on a host without one the policy only observes"
        for policy in found.policies
        if policy.spec.mode == "Enforce" and policy.spec.rollout is not None
    ]


def _fields(problem: Problem) -> dict[str, object]:
    return {name: value for name, value in dataclasses.asdict(problem).items() if name != "source"}

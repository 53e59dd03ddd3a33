"""Survivors that are accepted: faults that change nothing, or nothing that anybody has promised."""

import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from mutating.mutant import Mutant


class AcceptedError(Exception):
    """The list cannot be used; the message says which entry and what to do."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An entry, which stands for every mutant with these texts in this function."""

    file: str
    function: str
    before: str
    after: str
    reason: str


def read(path: Path) -> list[Accepted]:
    """The entries of a TOML file, tables of `accepted`. Raises AcceptedError."""
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AcceptedError(f"{path}: {error}") from error
    return [_entry(path, number, table) for number, table in enumerate(content.get("accepted", []), 1)]


def _entry(path: Path, number: int, table: dict[str, object]) -> Accepted:
    wanted = [field.name for field in fields(Accepted)]
    texts = {name: value for name, value in table.items() if isinstance(value, str)}
    if sorted(texts) != sorted(wanted) or len(texts) != len(table) or not texts["reason"].strip():
        raise AcceptedError(f"{path}: entry {number} needs exactly {', '.join(wanted)}, all texts, and a reason")
    return Accepted(**texts)


def without(mutants: Collection[Mutant], entries: Iterable[Accepted], path: Path) -> list[Mutant]:
    """The mutants that no entry stands for. AcceptedError: an entry stands for none of them."""
    known = {_texts(mutant) for mutant in mutants}
    accepted = set()
    for entry in entries:
        if _texts(entry) not in known:
            raise AcceptedError(
                f"{path}: no mutant of {entry.file}, {entry.function or 'outside of functions'}, turns\n"
                f"  {entry.before}\ninto\n  {entry.after}\nThe code has changed: correct the entry or remove it."
            )
        accepted.add(_texts(entry))
    return [mutant for mutant in mutants if _texts(mutant) not in accepted]


def _texts(each: Accepted | Mutant) -> tuple[str, str, str, str]:
    """What an entry and the mutants that it stands for have in common."""
    return each.file, each.function, each.before, each.after

"""Mutants of a file: each the whole file with one fault in it."""

import ast
import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from mutating.operators import variants

Tree = TypeVar("Tree", bound=ast.AST)

REMOVED = "(removed)"
"""Stands for what replaces a statement."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault in one file."""

    file: str
    """From the root of the project."""
    function: str
    """Its name with those of the classes and functions around it; empty outside of functions."""
    function_line: int
    """Where that begins, with its decorators: `co_firstlineno` of its code; 0 outside of functions."""
    line: int
    column: int
    operator: str
    before: str
    after: str
    tree: ast.Module = field(repr=False, compare=False)
    node: ast.AST = field(repr=False, compare=False)
    replacement: ast.AST = field(repr=False, compare=False)

    @property
    def site(self) -> tuple[str, int, int, str]:
        """The same for faults of one kind in one place."""
        return self.file, self.line, self.column, self.operator

    def mutated(self) -> ast.Module:
        """The file's tree with the fault in it."""
        return ast.fix_missing_locations(_replaced(self.tree, self.node, self.replacement))


_PLAIN = (ast.UnaryOp, ast.List, ast.Tuple)


class _Place(NamedTuple):
    """Where a node is."""

    node: ast.AST
    parent: ast.AST
    """The nearest node around it that says more than `-1` or `[0]` would."""
    statement: ast.AST
    function: str
    function_line: int
    line: int
    column: int


def mutants_of(file: str, source: str) -> list[Mutant]:
    """All mutants of a file, in the order of its text."""
    tree = ast.parse(source)
    return [
        Mutant(
            file,
            place.function,
            place.function_line,
            place.line,
            place.column,
            operator,
            *_texts(place, replacement),
            tree,
            place.node,
            replacement,
        )
        for place in _places(tree, _Place(tree, tree, tree, "", 0, 1, 0))
        for operator, replacement in variants(place.node, place.function_line > 0)
    ]


def sample(mutants: Sequence[Mutant], size: int | None, seed: int) -> list[Mutant]:
    """`size` of the mutants, all if None, by chance: as many sites as possible, so that a number with its four
    faults weighs no more than an operator with one.
    """
    chance = random.Random(seed)  # noqa: S311
    sites: dict[tuple[str, int, int, str], list[Mutant]] = {}
    for mutant in chance.sample(mutants, len(mutants)):
        sites.setdefault(mutant.site, []).append(mutant)
    rounds = [(number, mutant) for faults in sites.values() for number, mutant in enumerate(faults)]
    rounds.sort(key=lambda each: each[0])
    chosen = [mutant for _, mutant in rounds[:size]]
    return sorted(chosen, key=lambda mutant: (mutant.file, mutant.line, mutant.column, mutant.operator, mutant.after))


def _places(node: ast.AST, place: _Place) -> Iterator[_Place]:
    for child in _with_values(node):
        line, column = getattr(child, "lineno", place.line), getattr(child, "col_offset", place.column)
        parent = place.parent if isinstance(node, _PLAIN) else node
        here = place._replace(node=child, parent=parent, line=line, column=column)
        if isinstance(child, ast.stmt):
            here = here._replace(statement=child)
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            here = here._replace(function=f"{place.function}.{child.name}".lstrip("."))
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            here = here._replace(function_line=min(each.lineno for each in [child, *child.decorator_list]))
        yield here
        yield from _places(child, here)


def _with_values(node: ast.AST) -> Iterator[ast.AST]:
    """Children whose values matter: no annotations, decorators and formats; an enumeration's numbers are any."""
    if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in node.bases):
        yield from (child for child in node.body if isinstance(child, ast.FunctionDef))
        return
    for name, value in ast.iter_fields(node):
        if name not in {"annotation", "returns", "decorator_list", "format_spec"}:
            yield from (
                child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
            )


def _texts(place: _Place, replacement: ast.AST) -> tuple[str, str]:
    """What the fault changes, before and after: enough of it to tell it from others of the same function."""
    if isinstance(replacement, ast.Pass):
        return ast.unparse(place.node), REMOVED
    shown = _shown(place)
    return _text(shown), _text(_replaced(shown, place.node, replacement))


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.While):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
    return ast.unparse(node).strip()


def _shown(place: _Place) -> ast.AST:
    """A constant says little without what is around it; no more does an expression outside of functions."""
    if place.function_line == 0 and not _has_body(place.statement):
        return place.statement
    if isinstance(place.node, ast.Constant) and not _has_body(place.parent):
        return place.parent
    return place.node


def _has_body(node: ast.AST) -> bool:
    return hasattr(node, "body") and not isinstance(node, ast.IfExp | ast.Lambda)


def _replaced(tree: Tree, node: ast.AST, replacement: ast.AST) -> Tree:
    """A copy of the tree with another node in the place of one."""
    return copy.deepcopy(tree, {id(node): replacement})

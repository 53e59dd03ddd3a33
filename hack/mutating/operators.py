"""The faults: what may stand in place of an expression or a statement, each wrong in a way people get wrong."""

import ast
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
MASKS: dict[type[ast.operator], type[ast.operator]] = {
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
"""Each with the bound itself on the other side, then with its direction reversed."""

OPPOSITES = {
    **{"min": "max", "minimum": "maximum", "fmin": "fmax", "nanmin": "nanmax", "argmin": "argmax"},
    **{"any": "all", "floor": "ceil"},
}
OPPOSITES |= {opposite: name for name, opposite in OPPOSITES.items()}
"""Functions and methods, of Python and numpy alike, that take the same arguments."""


COUNTED = 16
"""Whole numbers up to here count things, and one more or less matters. What is larger, or no whole number, becomes half
and double: no test need tell an hour from an hour and a second."""


class Variant(NamedTuple):
    """A fault."""

    operator: str
    """Its kind: arithmetic, mask, comparison, boolean, unary, constant, condition, opposite, statement."""
    replacement: ast.AST
    """What stands in the node's place; without locations."""


def variants(node: ast.AST, within_function: bool) -> Iterator[Variant]:
    """Every fault in the node itself, not in its children.

    Outside of functions `|` and `&` make types and say nothing about values: they stay.
    """
    if isinstance(node, ast.BinOp) and type(node.op) in MASKS and not within_function:
        return
    for kind, faults in _FAULTS.items():
        if isinstance(node, kind):
            yield from faults(node)


def _changed(node: ast.AST, **fields: object) -> Any:
    """The node with other fields; its type's."""
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def _binary(node: ast.BinOp) -> Iterator[Variant]:
    if other := ARITHMETIC.get(type(node.op)):
        yield Variant("arithmetic", _changed(node, op=other()))
    if other := MASKS.get(type(node.op)):
        yield Variant("mask", _changed(node, op=other()))
        yield Variant("condition", node.left)
        yield Variant("condition", node.right)


def _augmented(node: ast.AugAssign) -> Iterator[Variant]:
    if other := ARITHMETIC.get(type(node.op)):
        yield Variant("arithmetic", _changed(node, op=other()))
    if other := MASKS.get(type(node.op)):
        yield Variant("mask", _changed(node, op=other()))
    yield Variant("statement", ast.Pass())


def _comparison(node: ast.Compare) -> Iterator[Variant]:
    for index, op in enumerate(node.ops):
        for other in COMPARISONS[type(op)]:
            yield Variant("comparison", _changed(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]]))


def _boolean(node: ast.BoolOp) -> Iterator[Variant]:
    yield Variant("boolean", _changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And()))
    for dropped in node.values:
        rest = [value for value in node.values if value is not dropped]
        yield Variant("condition", rest[0] if len(rest) == 1 else _changed(node, values=rest))


def _unary(node: ast.UnaryOp) -> Iterator[Variant]:
    names: dict[type[ast.unaryop], str] = {ast.Invert: "mask", ast.Not: "boolean"}
    yield Variant(names.get(type(node.op), "unary"), node.operand)


def _constant(node: ast.Constant) -> Iterator[Variant]:
    value = node.value
    if isinstance(value, bool):
        yield Variant("boolean", ast.Constant(not value))
    elif isinstance(value, int | float):
        half = value // 2 if isinstance(value, int) else value / 2
        near = [value + 1, value - 1] if value == 0 or (isinstance(value, int) and value <= COUNTED) else []
        for other in dict.fromkeys([*near, value * 2, half]):
            if other != value:
                yield Variant("constant", ast.Constant(other))


def _branch(node: ast.If | ast.IfExp) -> Iterator[Variant]:
    yield Variant("condition", _changed(node, test=ast.Constant(True)))
    yield Variant("condition", _changed(node, test=ast.Constant(False)))


def _loop(node: ast.While) -> Iterator[Variant]:
    yield Variant("condition", _changed(node, test=ast.Constant(False)))


def _comprehension(node: ast.comprehension) -> Iterator[Variant]:
    for dropped in node.ifs:
        yield Variant("condition", _changed(node, ifs=[test for test in node.ifs if test is not dropped]))


def _call(node: ast.Call) -> Iterator[Variant]:
    name = _name(node.func)
    if name in OPPOSITES:
        field = "attr" if isinstance(node.func, ast.Attribute) else "id"
        yield Variant("opposite", _changed(node, func=_changed(node.func, **{field: OPPOSITES[name]})))
    if name == "where" and len(node.args) == 3:
        yield Variant("condition", node.args[1])
        yield Variant("condition", node.args[2])
    if name == "clip" and len(node.args) == 3:
        yield Variant("condition", node.args[0])


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
    return ""


def _assignment(node: ast.Assign) -> Iterator[Variant]:
    """Where another statement could have set the value before: without a name there is only a NameError."""
    if all(isinstance(target, ast.Subscript | ast.Attribute) for target in node.targets):
        yield Variant("statement", ast.Pass())


def _bare(node: ast.Expr) -> Iterator[Variant]:
    if isinstance(node.value, ast.Call):
        yield Variant("statement", ast.Pass())


def _return(node: ast.Return) -> Iterator[Variant]:
    if node.value is None:
        yield Variant("statement", ast.Pass())


_FAULTS: dict[type[ast.AST], Callable[[Any], Iterator[Variant]]] = {
    ast.BinOp: _binary,
    ast.AugAssign: _augmented,
    ast.Compare: _comparison,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.Constant: _constant,
    ast.If: _branch,
    ast.IfExp: _branch,
    ast.While: _loop,
    ast.comprehension: _comprehension,
    ast.Call: _call,
    ast.Assign: _assignment,
    ast.Expr: _bare,
    ast.Return: _return,
}

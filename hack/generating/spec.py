"""Fields of policies as text: their part of the CRD's schema, and their rows in the table of its page."""

import re
from collections.abc import Iterator
from inspect import getdoc, isclass
from pathlib import Path
from textwrap import dedent, indent, wrap
from typing import Any, get_args

import annotated_types
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from controller.api.policy import BLOCKS, Advanced, ForecastModel, LabelSelector, ModelParameters, ModelType, Part, Spec
from controller.api.quantity import format_quantity

CRDS = Path(__file__).parents[2] / "crds"
WIDTH = 120
"""Characters of a line."""
INDENT = 20
"""Spaces before a field of a part of the spec, such as `advanced.model`, in the CRD."""


PARTS: dict[str, type[Part]] = {
    f"{place}{info.alias}": info.annotation
    for place, whole in (("", Spec), ("advanced.", Advanced))
    for info in whole.model_fields.values()
    if isclass(info.annotation) and issubclass(info.annotation, Part)
    if not issubclass(info.annotation, LabelSelector | ForecastModel | Advanced)
}
"""Of a spec, those of which all fields are integers and quantities, by their path."""


def files() -> dict[Path, str]:
    """The text that the CRD and its page should have."""
    crd, page = CRDS / "memorypolicies.ballast.dev.yaml", CRDS / "README.md"
    schema, table = crd.read_text(), page.read_text()
    schema, table = _with_model(schema), _with_rows(table, "advanced.model", _rows_of_model())
    quantity = next(
        re.finditer(r"(?m)^ {22}maxLength: .*\n {22}pattern: .*\n {22}x-kubernetes-val.*\n(?: {24}.*\n)+", schema)
    )
    for path, part in PARTS.items():
        fields, margin = part.model_fields.values(), 4 * path.count(".")
        properties = [line for field in fields for line in _property(field, margin, quantity[0])]
        schema = _with_properties(schema, path, properties)
        table = _with_rows(table, path, [_row(f"{path}.{field.alias}", field) for field in fields])
    return {crd: schema, page: table}


def _with_properties(crd: str, path: str, properties: list[str]) -> str:
    """The CRD with these of a part of the spec."""
    text = indent("\n".join(properties) + "\n", " " * INDENT)
    *outer, name = path.split(".")
    margin = " " * (INDENT - 4 + 4 * len(outer))
    place = rf"(?m)(^{margin}{name}:\n(?:{margin}  .*\n)*?{margin}  properties:\n)(?:{margin}    .*\n)+"
    return re.sub(place, lambda found: found[1] + text, crd, count=1)


def _property(field: FieldInfo, margin: int, quantity: str = "") -> Iterator[str]:
    """`quantity`: the rules for one, as the CRD has them."""
    text, default, bounds = str(field.description), field.default, _bounds(field)
    if bounds:
        head = ["type: integer", "format: int32"]
        tail = [f"minimum: {bounds[0]}", f"maximum: {bounds[1]}"]
        tail += [] if default is None else [f"default: {default}"]
    else:
        head, text = [], f"{text} A size such as 512Mi or 1.5Gi, or bytes without a suffix."
        defaults = [] if default is None else [f"default: {format_quantity(default)}"]
        tail = ["x-kubernetes-int-or-string: true", *defaults, *dedent(quantity).splitlines()]
    space = " " * margin
    yield f"{space}{field.alias}:"
    yield from (f"{space}  {line}" for line in head)
    yield from _described(text, margin + 2)
    yield from (f"{space}  {line}" for line in tail)


def _row(name: str, field: FieldInfo, text: str = "") -> str:
    takes = "integer, {} to {}".format(*bounds) if (bounds := _bounds(field)) else "quantity"
    default = "none" if field.default is None else f"`{field.default if bounds else format_quantity(field.default)}`"
    return f"| `{name}` | {takes} | {default} | {text or field.description} |"


def _with_rows(page: str, name: str, rows: list[str]) -> str:
    """The page with these rows of a part of the spec in its table."""
    return re.sub(rf"(?m)^(?:\| `{name}\..*\n)+", lambda _: "\n".join(rows) + "\n", page, count=1)


def _rows_of_model() -> list[str]:
    listed = [f"`{kind}`" for kind in get_args(ModelType)]
    rows = [
        f"| `advanced.model.type` | {', '.join(listed[:-1])} or {listed[-1]} | `{ForecastModel().type}` | "
        "The forecast model. Only the block of this model may be present. |",
        _row("advanced.model.upperPercentile", ForecastModel.model_fields["upper_percentile"]),
    ]
    told = set()
    for name, block in BLOCKS.items():
        for field in block.model_fields.values():
            path = f"advanced.model.{to_camel(name)}.{field.alias}"
            rows.append(_row(path, field, "As above." * (field.description in told)))
            told.add(field.description)
    return rows


def _with_model(crd: str) -> str:
    """The CRD with its schema of `spec.advanced.model`."""
    lines = [
        "model:",
        "  type: object",
        *_described(
            "The model that forecasts demand. Its parameters are in the block of that name; no other block may be "
            "present.",
            2,
        ),
        "  properties:",
        "    type:",
        "      type: string",
        *_described("Name of the model. The blocks below say what each does.", 6),
        f"      enum: [{', '.join(get_args(ModelType))}]",
        f"      default: {ForecastModel().type}",
        *_property(ForecastModel.model_fields["upper_percentile"], 4),
        *(line for name, block in BLOCKS.items() for line in _block(to_camel(name), block)),
        "  x-kubernetes-validations:",
        *(line for name, block in BLOCKS.items() for line in _rule(to_camel(name), block.kind)),
    ]
    margin, block = " " * INDENT, indent("\n".join(lines) + "\n", " " * INDENT)
    return re.sub(rf"(?m)^{margin}model:\n(?:{margin} .*\n)+", lambda _: block, crd, count=1)


def _block(name: str, block: type[ModelParameters]) -> Iterator[str]:
    yield f"    {name}:"
    yield "      type: object"
    yield from _described((getdoc(block) or "").splitlines()[0], 6)
    yield "      properties:"
    for field in block.model_fields.values():
        yield from _property(field, 8)


def _bounds(field: FieldInfo) -> list[Any]:
    """Of an integer; a quantity has none."""
    lows = [each.ge for each in field.metadata if isinstance(each, annotated_types.Ge)]
    return lows + [each.le for each in field.metadata if isinstance(each, annotated_types.Le)]


def _described(text: str, margin: int) -> list[str]:
    """On one line if it fits there and needs no quotes."""
    space = " " * margin
    line = f"{space}description: {text}"
    if ": " not in text and INDENT + len(line) <= WIDTH:
        return [line]
    return [f"{space}description: >-", *(f"{space}  {part}" for part in wrap(text, WIDTH - INDENT - margin - 2))]


def _rule(name: str, kind: str) -> tuple[str, ...]:
    return (
        f"    - rule: \"!has(self.{name}) || self.type == '{kind}'\"",
        f"      fieldPath: .{name}",
        "      messageExpression: >-",
        f"        'only counts with type {kind}, but type is ' + self.type + '; remove it, or set type: {kind}'",
    )

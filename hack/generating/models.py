"""Forecast models as text: their part of the CRD's schema, and their rows in the table of its page."""

import re
from collections.abc import Iterator
from inspect import getdoc
from textwrap import indent, wrap
from typing import Any, get_args

import annotated_types
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from controller.api.policy import BLOCKS, ForecastModel, ModelParameters, ModelType

WIDTH = 120
"""Characters of a line."""
INDENT = 16
"""Spaces before `model:` in the CRD."""


def schema() -> str:
    """The CRD's schema of `spec.model`, indented as it stands there."""
    lines = [
        "model:",
        "  type: object",
        *_described(
            "The model that forecasts demand. Its parameters are in the block of that name; no other block may be "
            "present.",
            2,
        ),
        "  default: {}",
        "  properties:",
        "    type:",
        "      type: string",
        *_described("Name of the model. The blocks below say what each does.", 6),
        f"      enum: [{', '.join(get_args(ModelType))}]",
        f"      default: {ForecastModel().type}",
        *_integer(
            "upperPercentile",
            "The percentile of the forecast that decisions use.",
            ForecastModel.model_fields["upper_percentile"],
            4,
        ),
        *(line for name, block in BLOCKS.items() for line in _block(to_camel(name), block)),
        "  x-kubernetes-validations:",
        *(line for name, block in BLOCKS.items() for line in _rule(to_camel(name), block.kind)),
    ]
    return indent("\n".join(lines) + "\n", " " * INDENT)


def with_block(crd: str, block: str) -> str:
    """The CRD with this schema of `spec.model`."""
    margin = " " * INDENT
    return re.sub(rf"(?m)^{margin}model:\n(?:{margin} .*\n)+", lambda _: block, crd, count=1)


def rows() -> str:
    """The rows of the page's table of which this file is the source."""
    listed = [f"`{kind}`" for kind in get_args(ModelType)]
    lines = [
        f"| `model.type` | {', '.join(listed[:-1])} or {listed[-1]} | `{ForecastModel().type}` | The forecast model. "
        "Only the block of this model may be present. |",
        "| `model.upperPercentile` | integer, 50 to 99 | `95` | The percentile of the forecast that decisions use. |",
    ]
    told = set()
    for name, block in BLOCKS.items():
        for field in block.model_fields.values():
            text = "As above." if field.description in told else field.description
            told.add(field.description)
            low, high = _bounds(field)
            lines.append(
                f"| `model.{to_camel(name)}.{field.alias}` | integer, {low} to {high} | `{field.default}` | {text} |"
            )
    return "\n".join(lines) + "\n"


def with_rows(page: str, rows: str) -> str:
    """The page with these rows in its table."""
    return re.sub(r"(?m)^(?:\| `model\..*\n)+", lambda _: rows, page, count=1)


def _block(name: str, block: type[ModelParameters]) -> Iterator[str]:
    yield f"    {name}:"
    yield "      type: object"
    yield from _described((getdoc(block) or "").splitlines()[0], 6)
    yield "      properties:"
    for field in block.model_fields.values():
        yield from _integer(str(field.alias), str(field.description), field, 8)


def _integer(name: str, text: str, field: FieldInfo, margin: int) -> Iterator[str]:
    low, high = _bounds(field)
    yield from (
        f"{' ' * margin}{name}:",
        *(f"{' ' * margin}  {line}" for line in ("type: integer", "format: int32")),
        *_described(text, margin + 2),
        *(f"{' ' * margin}  {key}: {value}" for key, value in (("minimum", low), ("maximum", high))),
        f"{' ' * margin}  default: {field.default}",
    )


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    low = next(each.ge for each in field.metadata if isinstance(each, annotated_types.Ge))
    return low, next(each.le for each in field.metadata if isinstance(each, annotated_types.Le))


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

"""Pydantic's errors in plain words: what is wrong with a value, and what to write instead."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from controller.api.problems import InvalidValueError, Path


class Words(NamedTuple):
    """The part of a problem that depends on what is wrong."""

    message: str
    remedy: str


def path_of(error: ErrorDetails, root: type[BaseModel]) -> Path:
    """Where the error is, in names as they stand in the document."""
    path = error["loc"]
    if path[-1:] == ("[key]",):
        return path[:-1]
    model = _model_at(root, path[:-1])
    # Pydantic calls a field by its Python name where it refuses the default.
    field = model.model_fields.get(str(path[-1])) if model and error["type"] == "value_error" else None
    return (*path[:-1], field.alias or path[-1]) if field else path


def explain(error: ErrorDetails, root: type[BaseModel]) -> Words:
    """Message and remedy for one error that `root.model_validate` reported."""
    refused = error.get("ctx", {}).get("error")
    if isinstance(refused, InvalidValueError):
        return Words(refused.message, refused.remedy)
    phrase = _PHRASES.get(error["type"])
    return phrase(error, root) if phrase else Words(error["msg"].lower(), "correct or remove the value")


def unknown_field(path: Path, allowed: Iterable[str], root: type[BaseModel]) -> Words:
    """A field that does not exist at the path, with the one that was probably meant."""
    known = sorted(allowed)
    meant = _meant(path, known, root)
    hint = f"did you mean {meant}?" if meant else "remove it;"
    return Words("unknown field", f"{hint} known here: {', '.join(known)}")


def _unknown(error: ErrorDetails, root: type[BaseModel]) -> Words:
    model = _model_at(root, error["loc"][:-1])
    return unknown_field(error["loc"], _names(model) if model else (), root)


def _missing(error: ErrorDetails, root: type[BaseModel]) -> Words:
    path, field = error["loc"], _field_at(root, error["loc"])
    choices = _choices(field)
    example = choices[0] if choices else _EXAMPLES.get(path[-1], "...")
    return Words("a required field is missing", f"add {path[-1]}: {example}")


_EXAMPLES: Mapping[str | int, str] = {
    "metadata": "{name: my-policy}",
    "name": "my-policy",
    "key": "tier",
    "maximumNodes": "2",
}


def _not_a_choice(error: ErrorDetails, root: type[BaseModel]) -> Words:
    choices, value = _choices(_field_at(root, error["loc"])), error["input"]
    meant = _closest(value, choices) if isinstance(value, str) else None
    listed = " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
    hint = f"did you mean {meant}? " if meant and len(choices) > 1 else ""
    message = "not a value of this field" if isinstance(value, str) else f"not text but {_kind(value)}"
    return Words(message, f"{hint}use {listed}")


def _not_an_integer(error: ErrorDetails, root: type[BaseModel]) -> Words:
    value = error["input"]
    quoted = isinstance(value, str) and value.isascii() and value.isdigit()
    message = f"not an integer but {_kind(value)}"
    return Words(message, _range(error, root) + (", without quotes" if quoted else ""))


def _out_of_range(error: ErrorDetails, root: type[BaseModel]) -> Words:
    return Words("out of range", _range(error, root))


def _not_text(error: ErrorDetails, _: type[BaseModel]) -> Words:
    simple = isinstance(error["input"], bool | int | float)
    return Words(f"not text but {_kind(error['input'])}", "put it in quotes" if simple else "write text")


def _not_a_list(error: ErrorDetails, _: type[BaseModel]) -> Words:
    remedy = f"write {error['loc'][-1]}: [a, b], or one '- a' a line"
    return Words(f"not a list but {_kind(error['input'])}", remedy)


def _not_a_mapping(error: ErrorDetails, root: type[BaseModel]) -> Words:
    model = _model_at(root, error["loc"])
    names = f" with the fields {', '.join(sorted(_names(model)))}" if model else ""
    return Words(f"not a mapping but {_kind(error['input'])}", f"write 'name: value' lines{names}")


def _too_short(*_: object) -> Words:
    return Words("empty", "write at least one character, or remove it")


def _not_true_or_false(error: ErrorDetails, _: type[BaseModel]) -> Words:
    return Words(f"not true or false but {_kind(error['input'])}", "use true or false, without quotes")


def _too_long(error: ErrorDetails, _: type[BaseModel]) -> Words:
    most = error["ctx"]["max_length"]
    unit = "characters" if isinstance(error["input"], str) else "entries"
    return Words(f"more than {most} {unit}", f"use at most {most}")


def _no_time_zone(*_: object) -> Words:
    return Words("a time without a time zone", "end it with Z or an offset such as +01:00")


_PHRASES: Mapping[str, Callable[[ErrorDetails, type[BaseModel]], Words]] = {
    "bool_type": _not_true_or_false,
    "dict_type": _not_a_mapping,
    "extra_forbidden": _unknown,
    "greater_than_equal": _out_of_range,
    "int_parsing": _not_an_integer,
    "int_type": _not_an_integer,
    "less_than_equal": _out_of_range,
    "literal_error": _not_a_choice,
    "missing": _missing,
    "model_type": _not_a_mapping,
    "string_too_long": _too_long,
    "string_too_short": _too_short,
    "string_type": _not_text,
    "timezone_aware": _no_time_zone,
    "too_long": _too_long,
    "tuple_type": _not_a_list,
}


def _kind(value: object) -> str:
    """What YAML made of a value. A boolean is an int to Python, so it comes first."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "what YAML reads as a boolean"),
        (int, "a number"),
        (float, "a number with a fraction"),
        (str, "text"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
    )
    return next((text for kind, text in kinds if isinstance(value, kind)), "empty")


def _range(error: ErrorDetails, root: type[BaseModel]) -> str:
    field = _field_at(root, error["loc"])
    bounds = field.metadata if field else ()
    lowest = next((bound.ge for bound in bounds if isinstance(bound, annotated_types.Ge)), None)
    highest = next((bound.le for bound in bounds if isinstance(bound, annotated_types.Le)), None)
    if lowest is None and highest is None:
        return "use an integer"
    return f"use an integer from {lowest} to {highest}"


def _choices(field: FieldInfo | None) -> list[str]:
    choices = get_origin(field.annotation) is Literal if field else False
    return [str(choice) for choice in get_args(field.annotation)] if field and choices else []


def _closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that resembles most, whatever its case."""
    folded = {candidate.lower(): candidate for candidate in known}
    match = difflib.get_close_matches(name.lower(), folded, n=1)
    return folded[match[0]] if match else None


def _meant(path: Path, known: Iterable[str], root: type[BaseModel]) -> str:
    """The known field that resembles it most, or all places of a field of this name; the latter first, if there is
    just one in this part of the document. Empty if there is nothing.
    """
    named = [each for each in _all_paths(root) if each[-1] == path[-1]]
    single = sum(each[0] == path[0] for each in named) == 1
    closest = None if single else _closest(str(path[-1]), known)
    return closest or " or ".join(".".join(each) for each in named)


@cache
def _all_paths(root: type[BaseModel]) -> tuple[tuple[str, ...], ...]:
    return tuple(_paths(root))


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name in _names(model):
        yield (name,)
        inner = _model_at(model, (name,))
        if inner:
            yield from ((name, *path) for path in _paths(inner))


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _field_at(root: type[BaseModel], path: Path) -> FieldInfo | None:
    """The field that a path ends in; None inside of a map of any names."""
    model = _model_at(root, path[:-1])
    return _field(model, path[-1]) if model else None


def _model_at(root: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that describes what stands at a path; list positions do not count."""
    model: type[BaseModel] | None = root
    for step in path:
        if isinstance(step, str):
            field = _field(model, step) if model else None
            model = _model_in(field.annotation) if field else None
    return model


def _field(model: type[BaseModel], name: str | int) -> FieldInfo | None:
    return next((field for own, field in model.model_fields.items() if (field.alias or own) == name), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model`, `tuple[Model, ...]` and `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for model in map(_model_in, get_args(annotation)) if model), None)

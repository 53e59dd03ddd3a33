"""The constants of engine and forecast, one of them changed: what it is worth to the decisions."""

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from types import ModuleType
from unittest.mock import patch

from controller.engine.tuning import Tuning
from controller.forecast import bound, tail, wls

FACTORS = (0.25, 0.5, 2.0, 4.0)
"""Of a constant's value, unless values are given."""

FORECAST: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (bound, ("RATE", "STRETCH")),
    (tail, ("SCALE", "SHAPE")),
    (wls, ("BRIEF", "STEADY", "HANDICAP", "ERROR_HALF_LIFE")),
)
"""Choices, by module: the forecast knows no `Tuning`. Read whenever they are used."""


class ConstantError(Exception):
    """A constant that does not exist, or a value it cannot have; the message names what there is."""


def known() -> dict[str, float]:
    """Every constant and its value: a field of `Tuning` by its name, one of the forecast as MODULE.NAME."""
    forecast = {name: getattr(module, name.rpartition(".")[2]) for name, module in _modules().items()}
    return {each.name: getattr(Tuning(), each.name) for each in fields(Tuning)} | forecast


def stages() -> dict[str, str]:
    """What each constant stands under in `Tuning`: a stage of the engine, most often; those of the forecast."""
    found, stage = dict.fromkeys(_modules(), "Forecast"), ""
    for line in inspect.getsource(Tuning).splitlines():
        if line.startswith("    # "):
            stage = re.split("[:.,]", line.removeprefix("    # "))[0]
        elif match := re.match(r"    (\w+): \w+ = ", line):
            found[match[1]] = stage
    return found


def values(sweep: str) -> tuple[str, list[float]]:
    """Name and other values from `NAME` (by FACTORS) or `NAME=VALUE,...`. Raises ConstantError."""
    name, _, given = sweep.partition("=")
    there = known()
    if name not in there:
        raise ConstantError(f"constant {name!r} does not exist; use one of {', '.join(there)}")
    try:
        found = [float(value) for value in given.split(",")] if given else [scaled(name, factor) for factor in FACTORS]
    except ValueError as error:
        raise ConstantError(f"--sweep {sweep}: a value is not a number; write it like {name}=0.5,1,2") from error
    others = dict.fromkeys(_whole(value) if isinstance(there[name], int) else value for value in found)
    return name, [value for value in others if value != there[name]]


def scaled(name: str, factor: float) -> float:
    """A constant's value times `factor`; of a percentile, what is left to 1 is divided by it: there is none above."""
    value = known()[name]
    if name == "percentile":
        return 1 - (1 - value) / factor
    return _whole(value * factor) if isinstance(value, int) else value * factor


@contextmanager
def changed(changes: Mapping[str, float]) -> Iterator[Tuning]:
    """The constants, some of them with other values; the forecast's have them until this ends."""
    modules, tuning = _modules(), Tuning()
    with ExitStack() as stack:
        for name, value in changes.items():
            if name in modules:
                stack.enter_context(patch.object(modules[name], name.rpartition(".")[2], value))
            else:
                tuning = replace(tuning, **{name: value})
        yield tuning


def _modules() -> dict[str, ModuleType]:
    return {
        f"{module.__name__.removeprefix('controller.')}.{name}": module for module, names in FORECAST for name in names
    }


def _whole(count: float) -> int:
    return max(round(count), 1)

"""The engine's constants, one of them changed: what it is worth to the decisions."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields, replace

from controller.engine.tuning import Tuning

FACTORS = (0.25, 0.5, 2.0, 4.0)
"""Of a constant's value, unless values are given."""


class ConstantError(Exception):
    """A constant that does not exist, or a value it cannot have; the message names what there is."""


def known() -> dict[str, float]:
    """Every constant and its value."""
    return {each.name: getattr(Tuning(), each.name) for each in fields(Tuning)}


def stages() -> dict[str, str]:
    """What each constant stands under in `Tuning`: a stage of the engine, most often."""
    found, stage = {}, ""
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


def changed(changes: Mapping[str, float]) -> Tuning:
    """The constants, some of them with other values."""
    return replace(Tuning(), **changes)


def _whole(count: float) -> int:
    return max(round(count), 1)

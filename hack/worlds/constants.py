"""The engine's constants, one of them changed: what it is worth to the decisions."""

from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from controller.api.policy import MemoryPolicy
from controller.replay import ballast
from controller.replay.contract import Controller
from controller.replay.controllers import FIXED

MODULE = "controller.engine.tuning"
"""Where `Tuning` is: a frozen dataclass, one field a constant."""

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of a constant's value, unless values are given."""


class ConstantError(Exception):
    """A constant that does not exist, or a value it cannot have; the message names what there is."""


def known() -> dict[str, float]:
    """Every constant and its value; none where the engine has no such table."""
    tuning = _tuning()
    return {} if tuning is None else {each.name: getattr(tuning, each.name) for each in fields(tuning)}


def values(sweep: str) -> tuple[str, list[float]]:
    """Name and values from `NAME` (by FACTORS) or `NAME=VALUE,...`. Raises ConstantError."""
    name, _, given = sweep.partition("=")
    there = known()
    if name not in there:
        raise ConstantError(f"constant {name!r} does not exist; use one of {', '.join(there) or 'none there are'}")
    try:
        found = [float(value) for value in given.split(",")] if given else [there[name] * one for one in FACTORS]
    except ValueError as error:
        raise ConstantError(f"--sweep {sweep}: a value is not a number; write it like {name}=0.5,1,2") from error
    whole = isinstance(there[name], int)
    return name, list(dict.fromkeys(max(round(value), 1) if whole else value for value in found))


def changed(controller: str, policy: MemoryPolicy, changes: Mapping[str, float]) -> Controller:
    """Ballast with other constants; `controller` is `ballast` or `ballast:fixed`."""
    fitted = ballast.with_fixed_looks(policy) if controller == FIXED else policy
    made: Any = ballast.Ballast
    tuned: Controller = made(fitted, tuning=replace(_tuning(), **changes))
    return tuned


def _tuning() -> Any:
    """The defaults, or None."""
    return import_module(MODULE).Tuning() if find_spec(MODULE) else None

"""The engine's constants, one of them changed: what it is worth to the decisions."""

from collections.abc import Mapping
from dataclasses import fields, replace

from controller.api.policy import MemoryPolicy
from controller.engine.tuning import Tuning
from controller.replay import ballast
from controller.replay.contract import Controller
from controller.replay.controllers import FIXED

FACTORS = (0.25, 0.5, 2.0, 4.0)
"""Of a constant's value, unless values are given."""


class ConstantError(Exception):
    """A constant that does not exist, or a value it cannot have; the message names what there is."""


def known() -> dict[str, float]:
    """Every constant and its value."""
    return {each.name: getattr(Tuning(), each.name) for each in fields(Tuning)}


def values(sweep: str) -> tuple[str, list[float]]:
    """Name and other values from `NAME` (by FACTORS) or `NAME=VALUE,...`. Raises ConstantError."""
    name, _, given = sweep.partition("=")
    there = known()
    if name not in there:
        raise ConstantError(f"constant {name!r} does not exist; use one of {', '.join(there)}")
    try:
        found = [float(value) for value in given.split(",")] if given else [there[name] * one for one in FACTORS]
    except ValueError as error:
        raise ConstantError(f"--sweep {sweep}: a value is not a number; write it like {name}=0.5,1,2") from error
    whole = isinstance(there[name], int)
    others = dict.fromkeys(max(round(value), 1) if whole else value for value in found)
    return name, [value for value in others if value != there[name]]


def changed(controller: str, policy: MemoryPolicy, changes: Mapping[str, float]) -> Controller:
    """Ballast with other constants; `controller` is `ballast` or `ballast:fixed`."""
    fitted = ballast.with_fixed_looks(policy) if controller == FIXED else policy
    return ballast.Ballast(fitted, tuning=replace(Tuning(), **changes))

"""Forecast models by name: those that policies can choose, each a dataclass in a file of its own."""

from collections.abc import Callable
from importlib import import_module
from inspect import signature

from controller.api.policy import BLOCKS
from controller.forecast.model import Model

KINDS: dict[str, Callable[..., Model]] = {
    block.kind: getattr(import_module(f"controller.forecast.{name}"), block.kind) for name, block in BLOCKS.items()
}
"""The block `last_value` of a policy has the parameters of the class `LastValue` in `last_value.py`."""


def model(kind: str, **parameters: float) -> Model:
    """The model that a policy calls `kind`; parameters not given take the defaults of its dataclass.

    Raises ValueError for a kind or a parameter that does not exist. Ranges are the policy's matter.
    """
    if kind not in KINDS:
        raise ValueError(f"model type: {kind!r} does not exist; use one of {', '.join(KINDS)}")
    known = signature(KINDS[kind]).parameters
    if unknown := sorted(parameters.keys() - known.keys()):
        raise ValueError(f"model {kind}: no parameter {unknown[0]!r}; use {', '.join(known)}")
    return KINDS[kind](**parameters)

"""Forecast models by name: those that policies can choose, each a dataclass in a file of its own."""

from collections.abc import Callable
from importlib import import_module

from controller.api.policy import BLOCKS
from controller.forecast.model import Model

KINDS: dict[str, Callable[..., Model]] = {
    block.kind: getattr(import_module(f"controller.forecast.{name}"), block.kind) for name, block in BLOCKS.items()
}
"""The block `last_value` of a policy has the parameters of the class `LastValue` in `last_value.py`."""

"""What a step needs to know of each domain's limits: derived once from policies and facts, read by every later stage."""

from dataclasses import dataclass

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.tables import Floats


@dataclass(frozen=True, slots=True)
class Bounds:
    """Arrays of (n,), bytes."""

    minimum: Floats
    """What the policy promises, as far as the domain may have it."""
    top: Floats
    """The most it may have."""
    threshold: Floats
    """By which an allocation may be off, at least, before it is moved."""


def bounds(inventory: Inventory, observation: Observation) -> Bounds:
    """Limits as of the newest look."""
    top = np.minimum(np.fmin(inventory.maximum, observation.maximum), inventory.ceiling)
    threshold = np.maximum(inventory.threshold, inventory.threshold_fraction * observation.allocation)
    return Bounds(np.minimum(inventory.minimum, top), top, threshold)

"""What the stages before have made of a step, for those that decide: one frozen value, limits derived once."""

from dataclasses import dataclass

import numpy as np

from controller.engine.estimate import Estimate
from controller.engine.guest_pressure import GuestPressure
from controller.engine.host import Host
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.tables import Floats
from controller.engine.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits as of the newest look. Arrays of (n,), bytes."""

    minimum: Floats
    """What the policy promises, as far as the domain may have it."""
    top: Floats
    """The most it may have."""
    threshold: Floats
    """By which an allocation may be off, at least, before it is moved."""


@dataclass(frozen=True, slots=True)
class Known:
    """Of all n domains and their host."""

    inventory: Inventory
    bounds: Bounds
    observation: Observation
    pressure: GuestPressure
    balloon: Balloon
    estimate: Estimate
    host: Host
    now: float
    """Monotonic seconds."""
    tuning: Tuning


def bounds(inventory: Inventory, observation: Observation) -> Bounds:
    """What each domain may have, by its policy and as far as it is known."""
    top = np.minimum(np.fmin(inventory.maximum, observation.maximum), inventory.ceiling)
    threshold = np.maximum(inventory.threshold, inventory.threshold_fraction * observation.allocation)
    return Bounds(np.minimum(inventory.minimum, top), top, threshold)

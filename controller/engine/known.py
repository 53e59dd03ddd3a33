"""What the stages before have made of a step, for those that decide: one frozen value, limits derived once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from controller.engine.effect import Effect
from controller.engine.estimate import Estimate
from controller.engine.felt import Growth
from controller.engine.guest_pressure import GuestPressure
from controller.engine.host import Host
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.tables import Bools, Floats
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


@dataclass(frozen=True)
class Known:
    """Of all n domains and their host. What follows from that is worked out once, by whoever asks first."""

    inventory: Inventory
    bounds: Bounds
    observation: Observation
    pressure: GuestPressure
    balloon: Balloon
    effect: Effect
    estimate: Estimate
    host: Host
    growth: Growth
    now: float
    """Monotonic seconds."""
    tuning: Tuning

    @cached_property
    def pressed(self) -> Bools:
        """(n,) guests that are short of memory."""
        return self.pressure.pressed

    @cached_property
    def in_need(self) -> Bools:
        """(n,) guests that are short of memory, or felt to be about to."""
        return np.asarray(self.pressed | self.growth.short)

    @cached_property
    def fruitless(self) -> Bools:
        """(n,) guests whose memory does not come back to the host when they shrink."""
        return self.effect.fruitless(self.now)

    @cached_property
    def turning(self) -> Bools:
        """(n,) guests that have come under pressure, swap out, or are felt to grow, while they shrink."""
        shrinks = self.balloon.shrinks(self.observation.allocation)
        return np.asarray((self.in_need | self.pressure.robbed) & shrinks)

    @cached_property
    def at_ease(self) -> bool:
        """No guest is short of memory, no balloon is on its way, and none is to be given back."""
        return not np.count_nonzero(self.pressed | self.balloon.under_way | self.balloon.release)

    @cached_property
    def follows(self) -> Bools:
        """(n,) balloons that are on their way to where their guests may be."""
        return np.asarray(self.balloon.under_way & ~self.turning)

    @cached_property
    def going_to(self) -> Floats:
        """(n,) bytes: where balloons go, or are; where they are for guests that are turning."""
        return np.where(self.follows, self.balloon.target, self.observation.allocation)

    @cached_property
    def foreseen(self) -> Floats:
        """(n,) bytes that domains want, see `Estimate.wanted`, and what they may take before more can arrive."""
        wanted = self.estimate.wanted(self.inventory)
        if not np.count_nonzero(self.growth.burst):
            return wanted
        return np.fmax(wanted, self.observation.demand + self.growth.coming(self.now, self.tuning))

    @cached_property
    def eased(self) -> Floats:
        """(n,) bytes, of what they have, with which guests that were short a while ago are not; 0 for others."""
        holds = self.pressure.holds(self.now)
        if not np.count_nonzero(holds):
            return np.zeros(len(holds))
        return np.where(holds, np.fmin(self.foreseen / (1.0 - self.tuning.easy), self.observation.allocation), 0.0)

    @cached_property
    def mean_demand(self) -> float:
        """Bytes, of the domains that a policy owns; prices are in seconds of it."""
        demand = self.observation.demand[self.inventory.acted_on]
        told = demand[np.isfinite(demand)]
        return float(told.sum()) / len(told) if len(told) else 0.0


def bounds(inventory: Inventory, observation: Observation) -> Bounds:
    """What each domain may have, by its policy and as far as it is known."""
    top = np.minimum(np.fmin(inventory.maximum, observation.maximum), inventory.ceiling)
    threshold = np.maximum(inventory.threshold, inventory.threshold_fraction * observation.allocation)
    return Bounds(np.minimum(inventory.minimum, top), top, threshold)

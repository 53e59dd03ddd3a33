"""What the stages before have made of a step, for those that decide: one frozen value, limits derived once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from controller.engine.effect import BalloonEffect
from controller.engine.estimate import Estimate
from controller.engine.felt import Growth
from controller.engine.guest_pressure import GuestPressure
from controller.engine.host import HostState
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.reasons import Reason
from controller.engine.snapshot import TOLERANCE, RunState
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

    bounds: Bounds
    now: float
    """Monotonic seconds."""
    tuning: Tuning
    inventory: Inventory
    observation: Observation
    pressure: GuestPressure
    balloon: Balloon
    effect: BalloonEffect
    estimate: Estimate
    host: HostState
    growth: Growth

    @cached_property
    def pressed(self) -> Bools:
        """(n,) guests that are short of memory."""
        return self.pressure.pressed

    @cached_property
    def in_need(self) -> Bools:
        """(n,) guests that are short of memory, or felt to be about to."""
        return np.asarray(self.pressed | self.growth.short)

    @cached_property
    def usable(self) -> Bools:
        """(n,) domains whose numbers may be acted on; who fell silent in need may be grown on its last word."""
        seen = self.observation
        told = seen.trouble == int(Reason.NONE)
        if np.count_nonzero(told) < len(told):
            silent = (seen.trouble == int(Reason.STALE_STATISTICS)) | (seen.trouble == int(Reason.NO_STATISTICS))
            told |= silent & self.pressed
        return np.asarray(
            told & (seen.run_state == int(RunState.RUNNING)) & (seen.fresh_count > 0) & (seen.allocation > 0)
        )

    @cached_property
    def told(self) -> Floats:
        """(n,) bytes that each domain had when it last told of its memory, at most what it has."""
        seen = self.observation
        return np.where(self.pressure.samples > 0, np.fmin(seen.allocation, seen.told_size), seen.allocation)

    @cached_property
    def demand(self) -> Floats:
        """(n,) bytes: of the newest fresh sample, and what the guest has come to use since then, while its balloon
        moves. One whose balloon counts as used does not tell that.
        """
        seen = self.observation
        risen = np.where(self.inventory.autodeflate, 0.0, np.fmax(seen.used - seen.used_then, 0.0))
        return seen.demand + risen

    @cached_property
    def used(self) -> Floats:
        """(n,) bytes: present demand and what keeps a guest out of reclaim, as far as known; at most what it has."""
        return np.fmin(out_of_reclaim(self.demand, self.tuning), self.observation.allocation)

    @cached_property
    def useful(self) -> Floats:
        """(n,) bytes that are worth a move to a guest in need: what keeps one of its size out of reclaim."""
        low = self.tuning.low * self.observation.allocation
        return np.fmax(np.fmin(low, self.bounds.threshold), TOLERANCE)

    @cached_property
    def shrinking(self) -> Bools:
        """(n,) balloons that have been told a smaller size than they have."""
        return self.balloon.shrinks(self.observation.allocation)

    @cached_property
    def gives(self) -> bool:
        """Memory is on its way back."""
        return bool(np.count_nonzero(self.shrinking & ~self.turning))

    @cached_property
    def fruitless(self) -> Bools:
        """(n,) guests whose memory does not come back to the host when they shrink."""
        return self.effect.fruitless(self.now)

    @cached_property
    def turning(self) -> Bools:
        """(n,) guests that have come to need more than they are to be left with, while they shrink."""
        return self.would_miss(self.balloon.target) & self.shrinking

    def would_miss(self, target: Floats | float) -> Bools:
        """(n,) guests that are under pressure, swap out, are felt to grow, or use more than `target`, (n,) bytes."""
        return np.asarray(self.in_need | self.pressure.robbed | (self.used > target))

    @cached_property
    def follows(self) -> Bools:
        """(n,) balloons that are on their way to where their guests may be."""
        return np.asarray(self.balloon.under_way & ~self.turning)

    @cached_property
    def going_to(self) -> Floats:
        """(n,) bytes: where balloons go, or are, or were sent and came as close as they can; where they are for guests
        that are turning.
        """
        size, sent = self.observation.allocation, self.balloon.allowance
        there = np.where(sent - size <= self.tuning.miss, np.fmax(size, sent), size)
        return np.where(self.follows, self.balloon.target, there)

    @cached_property
    def foreseen(self) -> Floats:
        """(n,) bytes that domains want, see `Estimate.wanted`, and what they may take before more can arrive."""
        wanted = self.estimate.wanted(self.inventory)
        return np.fmax(wanted, self.observation.demand + self.burst) if np.count_nonzero(self.burst) else wanted

    @cached_property
    def burst(self) -> Floats:
        """(n,) bytes that guests may take before memory can arrive that is sent because of it."""
        burst = self.growth.burst
        return self.growth.coming(self.now, self.tuning) if np.count_nonzero(burst) else burst

    @cached_property
    def eased(self) -> Floats:
        """(n,) bytes, of what they have, with which guests that were short a while ago are not: all of it, where they
        took it back by themselves. 0 for others.
        """
        holds, size = self.pressure.holds(self.now), self.observation.allocation
        if not np.count_nonzero(holds):
            return np.zeros(len(holds))
        easy = np.where(self.pressure.deflated, size, self.foreseen / (1.0 - self.tuning.easy))
        return np.where(holds, np.fmin(easy, size), 0.0)

    @cached_property
    def mean_demand(self) -> float:
        """Bytes, of the domains that a policy owns; prices are in seconds of it."""
        demand = self.observation.demand[self.inventory.acted_on]
        told = demand[np.isfinite(demand)]
        return float(told.sum()) / len(told) if len(told) else 0.0


def out_of_reclaim(demand: Floats | float, tuning: Tuning) -> Floats:
    """(n,) bytes: `demand`, (n,) bytes, and what keeps a guest's kernel from reclaiming beside it; a scalar for one."""
    return np.asarray(np.maximum(demand / (1.0 - tuning.low), demand + tuning.nothing_left_bytes))


def bounds(inventory: Inventory, observation: Observation) -> Bounds:
    """What each domain may have, by its policy and as far as it is known."""
    top = np.minimum(np.fmin(inventory.maximum, observation.maximum), inventory.ceiling)
    threshold = np.maximum(inventory.threshold, inventory.threshold_fraction * observation.allocation)
    minimum = np.ceil(inventory.minimum / inventory.grain) * inventory.grain
    return Bounds(np.minimum(minimum, top), top, threshold)

"""MoM, oVirt's memory overcommitment manager, with the default rules for plain libvirt.

Facts: the project's default balloon rules and its collectors. Statistics are read every 5 s, the policy runs every
10 s over the means of the last ten. There is no check of the sum, and no minimum on plain libvirt.
"""

from collections import deque

import numpy as np

from controller.engine.tables import Floats
from controller.replay.contract import Periodic
from controller.replay.world import Readings, SimulatedHost

POLICY_INTERVAL_S = 10.0
SAMPLES = 10
PRESSURE = 0.20
"""Part of the host's memory; with less free it shrinks guests."""
CRITICAL = 0.05
"""Part of the host's memory; with less free it shrinks them below what they use."""
GUEST_FREE = 0.20
"""Part of its size that a growing guest should have unused."""
STEP = 0.05
"""Part of its size by which a guest changes at once."""
LEAST_CHANGE = 0.0025
"""Part of its size; less is not worth it."""


def targets(size: Floats, used: Floats, free: float, maximum: Floats) -> Floats:
    """(n,) new sizes, the old ones where nothing is done; `free`: part of the host's memory, mean of late."""
    wanted = _shrunk(size, used, free) if free < PRESSURE else _grown(size, used, maximum)
    return np.where(np.abs(wanted - size) > LEAST_CHANGE * size, wanted, size)


def _shrunk(size: Floats, used: Floats, free: float) -> Floats:
    left = free - CRITICAL if free <= CRITICAL else free
    wanted = np.maximum((1 - STEP) * size, used + left * size)
    return np.where(wanted <= size, wanted, size)


def _grown(size: Floats, used: Floats, maximum: Floats) -> Floats:
    wanted = np.minimum(maximum, np.maximum((1 + STEP) * size, used + GUEST_FREE * size))
    return np.where(size < maximum, wanted, size)


class Mom(Periodic):
    """Means over the last samples; used is mean size less mean unused."""

    interval_s = 5.0

    def start(self, world: SimulatedHost) -> None:
        """No samples yet."""
        super().start(world)
        self._free: deque[float] = deque(maxlen=SAMPLES)
        self._sizes: dict[int, deque[tuple[float, float]]] = {}
        self._policy_at = world.now

    def decide(self, world: SimulatedHost, guests: Readings) -> None:
        """Every look is a sample, every second one (or each, where they are far apart) a decision."""
        self._free.append(world.free_mib() / world.total_mib)
        used = self._used(guests)
        if world.now < self._policy_at:
            return
        self._policy_at = world.now + POLICY_INTERVAL_S
        size = guests.allocation
        wanted = targets(size, used, sum(self._free) / len(self._free), guests.maximum)
        moved = wanted != size
        world.order(guests.rows[moved], wanted[moved])

    def _used(self, guests: Readings) -> Floats:
        rows = guests.rows.tolist()
        self._sizes = {row: self._sizes.get(row) or deque(maxlen=SAMPLES) for row in rows}
        for row, size, unused in zip(rows, guests.allocation.tolist(), guests.unused.tolist(), strict=True):
            self._sizes[row].append((size, unused))
        means = np.array([np.mean(self._sizes[row], axis=0) for row in rows])
        return np.asarray(means[:, 0] - means[:, 1])

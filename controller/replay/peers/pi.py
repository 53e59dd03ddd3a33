"""The PI controller of the qemus/qemu container image: one for each guest, unaware of the others.

Facts: its balloon script. Every 5 s it compares the host's available memory with the 20 % that should be; proportional
and integral part together, a part of the guest's maximum, are taken from its present size. A guest keeps a third of
its maximum, and what it uses unless the host is over 90 % used. Changes below 128 MiB are not made.
"""

import numpy as np

from controller.engine.tables import Floats
from controller.replay.contract import Periodic
from controller.replay.world import Readings, SimulatedHost

AVAILABLE = 0.20
"""Part of the host's memory that should be available."""
PROPORTIONAL = 0.5
INTEGRAL = 0.05
LEAST = 0.33
"""Part of its maximum that a guest keeps."""
FULL = 0.90
"""Part of the host's memory in use above which guests are pushed below what they use."""
HYSTERESIS_MIB = 128.0


def targets(size: Floats, used: Floats, maximum: Floats, available: float, integral: float) -> Floats:
    """(n,) MiB, the old sizes where nothing is done.

    `available`: part of the host's memory; `integral`: sum of its errors.
    """
    change = (PROPORTIONAL * (AVAILABLE - available) + INTEGRAL * integral) * maximum
    least = LEAST * maximum
    floor = least if 1 - available > FULL else np.maximum(least, used)
    wanted = np.clip(size - change, np.minimum(floor, maximum), maximum)
    return np.where(np.abs(wanted - size) >= HYSTERESIS_MIB, wanted, size)


class Pi(Periodic):
    """All guests see the same host, so one integral serves them all."""

    interval_s = 5.0

    def start(self, world: SimulatedHost) -> None:
        """No errors yet."""
        super().start(world)
        self._integral = 0.0

    def decide(self, world: SimulatedHost, guests: Readings) -> None:
        """One step of every guest's controller."""
        available = world.free_mib() / world.total_mib
        self._integral = float(np.clip(self._integral + AVAILABLE - available, -1.0, 1.0))
        size = guests.allocation
        wanted = targets(size, guests.used, guests.maximum, available, self._integral)
        moved = wanted != size
        world.order(guests.rows[moved], wanted[moved])

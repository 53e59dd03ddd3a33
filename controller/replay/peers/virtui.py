"""virtui's balloon policy: one rule for each guest, unaware of the others and of the host.

Facts: every 2 s, by the part of its present size that a guest uses. From 65 % on it grows by 30 % at once; at 55 % or
less it shrinks by 10 %, at most every 10 s and not in its first 20 s. It keeps 8 GiB, or its maximum where that is
less. A report that is stale, or that it acted on already, counts for nothing. Nothing checks the sum.
"""

import numpy as np

from controller.engine.tables import Floats
from controller.replay.contract import Periodic
from controller.replay.world import Readings, SimulatedHost

GROW_AT = 0.65
"""Part of its size in use from which a guest grows."""
SHRINK_AT = 0.55
"""Part of its size in use down from which it shrinks; between the two nothing happens."""
GROWTH = 1.30
SHRINKAGE = 0.90
LEAST_MIB = 8192.0
"""No guest shrinks below this; one whose maximum is less does not shrink at all."""
BACK_OFF_S = 10.0
"""Seconds from one shrink of a guest to its next."""
BOOT_S = 20.0
"""Seconds after a guest was first seen in which it does not shrink."""
STALE_INTERVALS = 2.0
"""Intervals between looks after which a report is stale. The original says so in seconds; here guests may report every
five minutes at best."""


def targets(size: Floats, used: Floats, maximum: Floats) -> Floats:
    """(n,) MiB for each guest that may do both; `used` is a part of `size`. The old size where nothing is done."""
    shrunk = np.minimum(size, np.maximum(SHRINKAGE * size, np.minimum(LEAST_MIB, maximum)))
    lower = np.where(used <= SHRINK_AT, shrunk, size)
    return np.where(used >= GROW_AT, np.minimum(GROWTH * size, maximum), lower)


class Virtui(Periodic):
    """Remembers of each guest when it came, what report it acted on, and when it last shrank."""

    interval_s = 2.0

    def start(self, world: SimulatedHost) -> None:
        """Nobody was seen yet."""
        super().start(world)
        n = len(world.domains)
        self._seen = np.full(n, np.inf)
        self._acted_on = np.full(n, -np.inf)
        self._shrank = np.full(n, -np.inf)

    def decide(self, world: SimulatedHost, guests: Readings) -> None:
        """Each guest by itself, from a report that is new and fresh."""
        rows, size, now = guests.rows, guests.allocation, world.now
        self._seen[rows] = np.minimum(self._seen[rows], now)
        counts = guests.updated > np.maximum(self._acted_on[rows], now - STALE_INTERVALS * self._every)
        wanted = targets(size, guests.used / (guests.used + guests.unused), guests.maximum)
        may_shrink = (now - self._seen[rows] >= BOOT_S) & (now - self._shrank[rows] >= BACK_OFF_S)
        shrinks = (wanted < size) & may_shrink & counts
        moved = (wanted > size) & counts | shrinks
        self._acted_on[rows[moved]] = guests.updated[moved]
        self._shrank[rows[shrinks]] = now
        world.order(rows[moved], wanted[moved])

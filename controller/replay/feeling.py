"""What a host would feel of the guests of a simulated world: the live code, fed with what they hold.

In the world all that a guest takes into use is demand, unless the trace tells what was resident when it was recorded.
On real hosts it may be files that are read, or memory of QEMU's own: only such traces show false alarms.
"""

from collections.abc import Sequence

import numpy as np

from controller.engine.inventory import DomainFacts
from controller.engine.tables import Floats
from controller.host.senses import Feelings, GrowthDetector
from controller.replay.world import FELT_AFTER_S, SimulatedHost

MIB = 2.0**20
"""Bytes."""


class Feeling:
    """Feels from act to act; who wakes Ballast then is looked at, as live."""

    def __init__(self) -> None:
        self._growth = GrowthDetector()
        self._held: Floats = np.empty(0)

    def follow(self, facts: Sequence[DomainFacts]) -> None:
        """The domains that there are now."""
        self._growth = self._growth.among(facts)
        self._held = np.full(len(facts), np.nan)

    def alert_at(self, keys: tuple[str, ...], resident: Floats) -> None:
        """See `GrowthDetector.alert_at`."""
        self._growth.alert_at(keys, resident)

    def feel(self, world: SimulatedHost, now: float) -> Feelings:
        """`now`: on the engine's clock. What guests held until a moment ago is felt first, then what they hold now."""
        held = world.feel()[world.rows] * MIB
        growth = self._growth
        growth.take(np.fmin(held, self._held), now - FELT_AFTER_S)
        woke = growth.take(held, now)
        self._held = held
        grew, since = growth.recent()
        keys = frozenset(growth.keys[row] for row in np.flatnonzero(woke).tolist())
        return Feelings(growth.keys, held, grew, since, keys, pause=growth.pause)

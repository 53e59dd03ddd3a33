"""A bound, not a peer: what could be had at best from a host of this size by who knows demand when it comes.

Allocations are demand itself while that fits. When it does not, what is missing is missing whatever the split, since a
MiB given beyond the host's memory is as bad as one not given: harm cannot be less than demand above the host's memory
(and above the domains' maxima). The split is in proportion to demand, so that no domain is worse off than another.
"""

import numpy as np

from controller.replay.world import SimulatedHost


class Clairvoyant:
    """Sizes every domain at every instant of the trace, without balloons, looks or delay."""

    hears = False
    feels = False

    def start(self, world: SimulatedHost) -> None:
        """The first demand is known, too."""
        self.act(world)

    def next_look(self) -> float:
        """When the trace changes next."""
        return self._next

    def act(self, world: SimulatedHost) -> None:
        """Everybody has just what they ask for, or an equal part of it."""
        self._next = world.next_change()
        rows = world.rows
        wanted = np.minimum(world.demand[rows], world.maximum[rows])
        total = float(wanted.sum())
        world.place(rows, wanted * min(1.0, world.total_mib / total) if total else wanted)

"""Every domain keeps an equal share of the host: the world's own start, never touched."""

import numpy as np

from controller.replay.world import SimulatedHost


class StaticShare:
    """Looks at nothing, moves nothing."""

    hears = False
    feels = False

    def start(self, world: SimulatedHost) -> None:
        """The world has given the equal shares out already."""

    def next_look(self) -> float:
        """Never."""
        return np.inf

    def act(self, world: SimulatedHost) -> None:
        """Nothing."""

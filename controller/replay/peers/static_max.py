"""No ballooning: every domain has its maximum, and the host swaps when that is too much."""

from controller.replay.world import SimulatedHost


class StaticMax:
    """Keeps every domain at its maximum, at once and without a look: there is no balloon."""

    hears = True
    feels = False

    def start(self, world: SimulatedHost) -> None:
        """Domains are booted with their maximum."""
        self.act(world)

    def next_look(self) -> float:
        """Only domains that come, or change their maximum, call for anything."""
        return float("inf")

    def act(self, world: SimulatedHost) -> None:
        """Everybody who is there has the maximum."""
        world.resized()
        world.place(world.rows, world.maximum[world.rows])

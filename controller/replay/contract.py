"""What drives a world: the contract that Ballast and every peer fulfil alike."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from controller.replay.world import Readings, SimulatedHost


class Controller(Protocol):
    """Decides over a world's balloons. One object serves one replay."""

    hears: bool
    """Balloon events wake it, not only the time of its next look."""
    feels: bool
    """So does a guest that comes to hold more of the host."""

    def start(self, world: SimulatedHost) -> None:
        """The world is at its first instant; nobody has looked yet."""
        ...

    def next_look(self) -> float:
        """Time at which it wants to act next, asked for after each act; not before the present one. Infinite: never."""
        ...

    def act(self, world: SimulatedHost) -> None:
        """Its time has come, or a balloon event has: read, and order."""
        ...


class Periodic(ABC):
    """A controller that reads every domain at a fixed interval, as all peers do."""

    hears = False
    feels = False
    interval_s: ClassVar[float]
    """Seconds between two looks as published; the world's statistics period where that is longer."""

    def start(self, world: SimulatedHost) -> None:
        """Looks begin with the first instant."""
        self._every = max(self.interval_s, world.period_s)
        self._next = world.now

    def next_look(self) -> float:
        """One interval after the last look."""
        return self._next

    def act(self, world: SimulatedHost) -> None:
        """Look at everybody who is there, and decide."""
        self._next = world.now + self._every
        if len(world.rows):
            self.decide(world, world.read(world.rows))

    @abstractmethod
    def decide(self, world: SimulatedHost, guests: Readings) -> None:
        """Order what the readings call for."""

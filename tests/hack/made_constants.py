"""A small table of constants, in the form of the engine's."""

from dataclasses import dataclass

RATE = 0.1


@dataclass(frozen=True, slots=True)
class MadeTuning:
    """Two of them."""

    # Host: what it keeps.
    margin: float = 0.5
    """Half."""

    # Polling, in points.
    points: int = 3

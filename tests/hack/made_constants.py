"""A small table of constants, in the form of the engine's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """Two of them."""

    margin: float = 0.5
    points: int = 3

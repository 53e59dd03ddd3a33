"""How often each domain is looked at: stability, interval, next look."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller import schedule, stability
from controller.engine.guest_pressure import GuestPressure
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.tables import Table, column
from controller.forecast import bound
from controller.forecast.model import Line

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


HARMLESS = 0.25
"""Part of its slack by which a domain's demand may change from look to look and still be stable: four more such changes
would not exhaust it, and it is looked at before."""


@dataclass(frozen=True)
class Tempo(Table):
    """Columns of (n,), monotonic seconds."""

    next_look: Floats = column(-np.inf)
    """Due at once when new."""
    interval: Floats = column(0.0)
    stable: Bools = column(False)
    reallocations: Floats = column(0.0)
    """Decayed count, see `stability.decayed`."""
    counted_at: Floats = column(-np.inf)
    looks: Ints = column(0)
    fixed_looks: Floats = column(0.0)
    """Looks that a fixed interval of the shortest length would have taken."""


def classify(
    tempo: Tempo, sight: Observation, pressure: GuestPressure, inventory: Inventory, rows: Ints, now: float
) -> None:
    """Enter the stability of `rows`, which brought fresh samples, in place."""
    fade(tempo, inventory, rows, now)
    size = sight.allocation[rows]
    harmless = HARMLESS * (size - sight.demand[rows])
    calm = stability.stable(
        tempo.reallocations[rows],
        inventory.stability_reallocations[rows],
        np.abs(sight.change[rows]),
        np.maximum(inventory.stability_change[rows] * size, harmless),
    )
    tempo.stable[rows] = calm & ~pressure.pressed[rows] & ~pressure.paging[rows]


def pace(tempo: Tempo, line: Line, limit: Floats, patience: Floats, inventory: Inventory, rows: Ints) -> None:
    """Choose the next interval of `rows`, in place.

    `limit`: (m,) allocation whose exhaustion is watched for, bytes; `patience`: (m,) seconds, see `schedule`.
    """
    exhaustion = bound.time_to_reach(line, limit, inventory.percentile[rows])
    tempo.interval[rows] = schedule.next_interval(
        tempo.interval[rows],
        inventory.interval_minimum[rows],
        inventory.interval_maximum[rows],
        tempo.stable[rows],
        exhaustion,
        patience,
    )


def fade(tempo: Tempo, inventory: Inventory, rows: Ints, now: float) -> None:
    """Let old reallocations of `rows` fade, in place."""
    elapsed = np.minimum(now - tempo.counted_at[rows], 1e9)
    tempo.reallocations[rows] = stability.decayed(tempo.reallocations[rows], elapsed, inventory.stability_window[rows])
    tempo.counted_at[rows] = now


def hurry(tempo: Tempo, inventory: Inventory, rows: Ints, now: float) -> None:
    """Look at `rows` again at their shortest interval, in place."""
    tempo.interval[rows] = inventory.interval_minimum[rows]
    soon = schedule.aligned(now + tempo.interval[rows], tempo.interval[rows])
    tempo.next_look[rows] = np.minimum(tempo.next_look[rows], soon)

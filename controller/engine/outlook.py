"""What each domain is expected to need, and so should have: forecast, upper forecast, wanted, and wanted of late."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from controller.engine.columns import Columns, column
from controller.engine.inventory import Inventory
from controller.engine.sight import Sight
from controller.forecast import bound, calibration
from controller.forecast.history import History
from controller.forecast.model import Line

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRESSURE_GROWTH = 0.3
"""Part of its allocation that a guest under pressure gets on top at first. How much it misses cannot be seen, so the
part doubles from sample to sample while the pressure lasts: an exponential search."""

MOST_DOUBLINGS = 3

PEAK_MEMORY = 86400.0
"""Seconds over which a peak fades: most habits repeat within a day."""

BLOCK = 2048
"""Domains fitted at a time: their points, and what a model makes of them, stay in a processor's cache (200 KiB an
array of 12 points), so that a fit costs a domain the same among thousands and among a hundred thousand."""


@dataclass(slots=True)
class Outlook(Columns):
    """Columns of (n,), bytes and seconds."""

    forecast: Floats = column(np.nan)
    """Demand expected at the next look."""
    upper: Floats = column(np.nan)
    """The quantile of it that decisions use; never below present demand."""
    width: Floats = column(1.0)
    """Of the upper forecast, relative to the model's own: what has kept its promise of late."""
    wanted: Floats = column(np.nan)
    """Upper forecast and headroom, or what a guest under pressure is given, before any limit."""
    since: Floats = column(np.nan)
    """First forecast: nothing is known of what was wanted before."""
    bucket_start: Floats = column(-np.inf)
    bucket: Floats = column(-np.inf)
    """Most that was wanted since `bucket_start`."""
    peak: Floats = column(0.0)
    """Highest demand; fades with `PEAK_MEMORY`."""
    peak_at: Floats = column(-np.inf)
    """When `peak` was last brought up to date."""
    bucket_before: Floats = column(-np.inf)
    """Most that was wanted in the stabilisation window before that."""

    @property
    def held(self) -> Floats:
        """The most that was wanted in the last one to two stabilisation windows."""
        return np.maximum(np.fmax(self.wanted, self.bucket), self.bucket_before)


def fit(history: History, inventory: Inventory, rows: Ints, now: float) -> Line:
    """Lines through the decision points of `rows`, each domain by its own policy's model."""
    line = Line(*(np.empty(len(rows)) for _ in fields(Line)))
    for number, model in enumerate(inventory.models):
        mine = np.flatnonzero(inventory.model[rows] == number)
        for start in range(0, len(mine), BLOCK):
            block = mine[start : start + BLOCK]
            part = model.fit(history.points(now, rows[block], model.decision_points))
            for item in fields(Line):
                getattr(line, item.name)[block] = getattr(part, item.name)
    return line


def calibrate(outlook: Outlook, line: Line, sight: Sight, inventory: Inventory, rows: Ints) -> Line:
    """`line` with its scatter as wide as the bounds of `rows` need it, now that the last ones have held or not."""
    before = outlook.width[rows]
    broken = sight.demand[rows] > outlook.upper[rows]
    after = calibration.width(before, broken, inventory.percentile[rows])
    outlook.width[rows] = np.where(np.isnan(outlook.upper[rows]), before, after)
    return calibration.widened(line, outlook.width[rows])


def look_ahead(
    outlook: Outlook, line: Line, sight: Sight, inventory: Inventory, rows: Ints, horizon: Floats, now: float
) -> None:
    """Enter the forecast of `rows` at `horizon` seconds from now, in place."""
    _raise_peak(outlook, sight, rows, now)
    outlook.forecast[rows] = bound.predict(line, horizon)
    upper = np.maximum(bound.upper(line, horizon, inventory.percentile[rows]), sight.demand[rows])
    headroom = np.maximum(inventory.headroom[rows], inventory.headroom_fraction[rows] * upper)
    outlook.upper[rows] = upper
    size = sight.allocation[rows]
    missed = np.where(sight.pressure[rows], needed_under_pressure(size, sight.pressed[rows]), 0.0)
    outlook.wanted[rows] = np.maximum(upper + headroom, missed)
    outlook.since[rows] = np.where(np.isnan(outlook.since[rows]), now, outlook.since[rows])
    _hold(outlook, inventory, rows, now)


def needed_under_pressure(size: Floats, samples: Ints) -> Floats:
    """What a guest that has been short of memory for so many samples in a row is given next, bytes."""
    return size * (1 + PRESSURE_GROWTH * np.exp2(np.clip(samples - 1, 0, MOST_DOUBLINGS)))


def _raise_peak(outlook: Outlook, sight: Sight, rows: Ints, now: float) -> None:
    elapsed = np.minimum(now - outlook.peak_at[rows], 100 * PEAK_MEMORY)
    faded = outlook.peak[rows] * np.exp(-elapsed / PEAK_MEMORY)
    outlook.peak[rows] = np.maximum(sight.demand[rows], faded)
    outlook.peak_at[rows] = now


def _hold(outlook: Outlook, inventory: Inventory, rows: Ints, now: float) -> None:
    """A sliding maximum over at least the stabilisation window, kept as two buckets of that length."""
    window = inventory.stabilization[rows]
    passed = now - outlook.bucket_start[rows]
    turn = passed >= window
    before = np.where(passed < 2 * window, outlook.bucket[rows], -np.inf)
    outlook.bucket_before[rows] = np.where(turn, before, outlook.bucket_before[rows])
    outlook.bucket_start[rows] = np.where(turn, now, outlook.bucket_start[rows])
    wanted = outlook.wanted[rows]
    outlook.bucket[rows] = np.where(turn, wanted, np.maximum(outlook.bucket[rows], wanted))

"""What each domain is expected to need, and so should have: forecast, upper forecast, wanted, and wanted of late."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from controller import schedule
from controller.engine.guest_pressure import GuestPressure
from controller.engine.inventory import Inventory
from controller.engine.observation import Observation, silent_after
from controller.engine.snapshot import TOLERANCE
from controller.engine.tables import Table, column
from controller.engine.tuning import Tuning
from controller.forecast import bound, calibration
from controller.forecast.history import History
from controller.forecast.model import Line

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRESSURE_GROWTH = 0.6
"""Part of its allocation that a guest under pressure gets on top at first: most steps need no second grow, which would
come two guest statistics later. How much it misses cannot be seen, so the part doubles from sample to sample while the
pressure lasts: an exponential search."""

MOST_DOUBLINGS = 3

UNKNOWN = 0.25
"""Part of its maximum that counts as one more peak of a domain: it may come to need what it never has."""

UNKNOWN_SPAN = 120.0
"""Seconds in which a domain is reckoned to jump to that once. Nobody does so often; but one that wakes up without room
starves until it is looked at, so it is not left alone for longer than that."""

PEAK_HALF_LIVES = {"peak_minute": 60.0, "peak_minutes": 600.0, "peak_hour": 3600.0, "peak_day": 86400.0}
"""Seconds after which a peak counts half, by column. Demand comes back to where it was on every scale of time, and none
is right for all guests: on recorded hosts all of them together foretold better where it jumps to than any alone."""

EVERY = slice(None)
"""Rows: all of them."""

BLOCK = 2048
"""Domains fitted at a time: their points, and what a model makes of them, stay in a processor's cache (200 KiB an
array of 12 points), so that a fit costs a domain the same among thousands and among a hundred thousand."""


@dataclass(frozen=True)
class Outlook(Table):
    """Columns of (n,), bytes and seconds."""

    forecast: Floats = column(np.nan)
    """Demand expected at the next look."""
    upper: Floats = column(np.nan)
    """The quantile of it that decisions use; never below present demand."""
    error: Floats = column(np.nan)
    """Demand seen less what had been forecast for it, bytes; NaN before the first forecast was put to the test."""
    width: Floats = column(1.0)
    """Of the upper forecast, relative to the model's own: what has kept its promise of late."""
    wanted: Floats = column(np.nan)
    """Upper forecast and headroom, what a guest under pressure is given, or what it could not give up at once; before
    any limit."""
    since: Floats = column(np.nan)
    """First forecast, or first one after a gap: nothing is known of what was wanted before."""
    bucket_start: Floats = column(-np.inf)
    bucket: Floats = column(-np.inf)
    """Most that the upper forecast and headroom came to since `bucket_start`."""
    peak_minute: Floats = column(0.0)
    """Highest demand; fades, see `PEAK_HALF_LIVES`. As are the next three."""
    peak_minutes: Floats = column(0.0)
    peak_hour: Floats = column(0.0)
    peak_day: Floats = column(0.0)
    peak_at: Floats = column(-np.inf)
    """When the peaks were last brought up to date."""
    bucket_before: Floats = column(-np.inf)
    """The same of the stabilisation window before that."""

    @property
    def reach(self) -> Floats:
        """(n,) bytes, up to a factor: how far demand may be expected to jump, from where it has been."""
        return self.peak_minute + self.peak_minutes + self.peak_hour + self.peak_day

    @property
    def held(self) -> Floats:
        """The most that was wanted in the last one to two stabilisation windows; guesses under pressure only as long as
        it lasts."""
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


@dataclass(frozen=True, slots=True)
class Merit:
    """How forecasts have done, over all domains."""

    forecasts: int = 0
    """Forecasts that a sample has put to the test."""
    error: float = 0.0
    """Sum of their absolute errors, bytes."""
    last_value_error: float = 0.0
    """The same had each demand been expected to stay as it was: what a model has to beat."""
    broken_bounds: int = 0
    """Demands above their upper forecast."""


def judge(outlook: Outlook, sight: Observation, rows: Ints, merit: Merit) -> Merit:
    """`merit` with the forecasts of `rows`, whose demand is newer; their errors are entered, in place."""
    outlook.error[rows] = sight.demand[rows] - outlook.forecast[rows]
    tested = rows[np.isfinite(outlook.error[rows])]
    return Merit(
        merit.forecasts + len(tested),
        merit.error + float(np.abs(outlook.error[tested]).sum()),
        merit.last_value_error + float(np.abs(sight.change[tested]).sum()),
        merit.broken_bounds + int((sight.demand[tested] > outlook.upper[tested]).sum()),
    )


def calibrate(outlook: Outlook, line: Line, sight: Observation, inventory: Inventory, rows: Ints) -> Line:
    """`line` with its scatter as wide as the bounds of `rows` need it, now that the last ones have held or not."""
    before = outlook.width[rows]
    broken = sight.demand[rows] > outlook.upper[rows]
    after = calibration.width(before, broken, inventory.percentile[rows])
    outlook.width[rows] = np.where(np.isnan(outlook.upper[rows]), before, after)
    return calibration.widened(line, outlook.width[rows])


def look_ahead(
    outlook: Outlook, line: Line, sight: Observation, inventory: Inventory, rows: Ints, horizon: Floats
) -> None:
    """Enter the forecast of `rows` at `horizon` seconds from now, in place."""
    outlook.forecast[rows] = bound.predict(line, horizon)
    upper = bound.upper(line, horizon, inventory.percentile[rows])
    outlook.upper[rows] = np.maximum(upper, sight.demand[rows])


def want(
    outlook: Outlook,
    sight: Observation,
    pressure: GuestPressure,
    inventory: Inventory,
    rows: Ints,
    top: Floats,
    now: float,
) -> None:
    """Enter what `rows` should have by their forecast, in place. `top`: (m,) the most they may have, bytes."""
    upper = outlook.upper[rows]
    foreseen = upper + headroom(inventory, upper, rows)
    kept = np.maximum(_firm(sight, inventory, rows), missed(outlook, sight, pressure, top, rows))
    outlook.wanted[rows] = np.maximum(foreseen, kept)
    unseen = np.maximum(inventory.interval_maximum[rows], silent_after(inventory, Tuning())[rows])
    gap = now - outlook.bucket_start[rows] > 2 * np.maximum(inventory.stabilization[rows], unseen)
    outlook.since[rows] = np.where(gap, now, outlook.since[rows])
    _hold(outlook, inventory, foreseen, rows, now)


def _firm(sight: Observation, inventory: Inventory, rows: Ints) -> Floats:
    """(m,) bytes that `rows` keep, of what they have, for headroom beside memory that a balloon might not get; 0 where
    there is none. What is not free when a balloon asks for it has to be reclaimed; where that fails, a kernel kills.
    """
    doubtful = sight.doubtful[rows]
    held = sight.demand[rows] + doubtful
    kept = np.fmin(held + headroom(inventory, held, rows), sight.allocation[rows])
    return np.where(doubtful > TOLERANCE, kept, 0.0)


def headroom(inventory: Inventory, base: Floats, rows: Ints | slice = EVERY) -> Floats:
    """(m,) bytes that `rows` are to have on top of `base`, (m,) bytes: of their upper forecast, as a rule."""
    return np.maximum(inventory.headroom[rows], inventory.headroom_fraction[rows] * base)


def patience(outlook: Outlook, sight: Observation, limit: Floats, unknown: Floats, rows: Ints) -> Floats:
    """(m,) seconds that `rows` may go unseen: how often their demand has jumped, or may jump, as far as they have room.

    `limit`: (m,) allocation that must hold; `unknown`: (m,) demand to reckon with though it was never seen; bytes.
    """
    demand = sight.demand[rows]
    peaks = [getattr(outlook, name)[rows] for name in PEAK_HALF_LIVES]
    jumps = [peak - demand for peak in (*peaks, unknown)]
    return schedule.patience(jumps, (*PEAK_HALF_LIVES.values(), UNKNOWN_SPAN), limit - demand)


def missed(outlook: Outlook, sight: Observation, pressure: GuestPressure, top: Floats, rows: Ints) -> Floats:
    """(m,) bytes that `rows` are given next where they are under pressure, 0 elsewhere.

    `top`: (m,) the most they may have, bytes. One that wakes up is taken to be on its way to where it has been of late:
    from a small size no search finds that in time.
    """
    size, samples = np.fmin(sight.allocation[rows], sight.told_size[rows]), pressure.samples[rows]
    searched = size * (1 + PRESSURE_GROWTH * np.exp2(np.clip(samples - 1, 0, MOST_DOUBLINGS)))
    known = np.maximum(outlook.peak_hour[rows], UNKNOWN * top)
    return np.where(pressure.pressed[rows], np.fmax(searched, known), 0.0)


def raise_peaks(outlook: Outlook, sight: Observation, rows: Ints, now: float) -> None:
    """Enter present demand into the peaks of `rows`, in place."""
    elapsed = np.minimum(now - outlook.peak_at[rows], bound.FOREVER)
    for name, half_life in PEAK_HALF_LIVES.items():
        peak = getattr(outlook, name)
        peak[rows] = np.maximum(sight.demand[rows], peak[rows] * np.exp2(-elapsed / half_life))
    outlook.peak_at[rows] = now


def _hold(outlook: Outlook, inventory: Inventory, foreseen: Floats, rows: Ints, now: float) -> None:
    """A sliding maximum of `foreseen`, (m,) bytes, over a stabilisation window or two: two buckets of that length."""
    window = inventory.stabilization[rows]
    passed = now - outlook.bucket_start[rows]
    turn = passed >= window
    before = np.where(passed < 2 * window, outlook.bucket[rows], -np.inf)
    outlook.bucket_before[rows] = np.where(turn, before, outlook.bucket_before[rows])
    outlook.bucket_start[rows] = np.where(turn, now, outlook.bucket_start[rows])
    outlook.bucket[rows] = np.where(turn, foreseen, np.maximum(outlook.bucket[rows], foreseen))

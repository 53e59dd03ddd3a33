"""Kubernetes' Vertical Pod Autoscaler, its memory recommendation applied to balloons.

Facts: the recommender's defaults. It takes the 90th percentile of a histogram of daily peaks, and 15 % on top; weights
halve every 24 h, buckets begin at 10 MB and grow by 5 %. After an out-of-memory kill it is 1.2 times or 100 MiB more
than the peak, whichever is larger. It runs once a minute. Pressure stands for the kill. Nothing checks the sum.
"""

import numpy as np

from controller.replay.contract import Periodic
from controller.replay.world import PRESSED_ABOVE, Readings, SimulatedHost

PEAK_WINDOW_S = 86400.0
HALF_LIFE_S = 86400.0
PERCENTILE = 0.9
MARGIN = 0.15
KILLED_FACTOR = 1.2
KILLED_MORE_MIB = 100.0
LEAST_MIB = 250.0
"""No recommendation is less."""
FIRST_BUCKET_MIB = 1e7 / 2**20
"""10 MB."""
GROWTH = 1.05
"""Of one bucket over the one before."""
BUCKETS = 300
"""The last begins above 400 TB."""

STARTS = FIRST_BUCKET_MIB * (GROWTH ** np.arange(BUCKETS) - 1) / (GROWTH - 1)
"""(BUCKETS,) MiB at which each bucket begins, the first at 0."""


class PeakHistogram:
    """Decaying histogram of one guest's peaks, one a window."""

    def __init__(self, start: float) -> None:
        self._weights = np.zeros(BUCKETS)
        self._start = start
        self._window_end = start + PEAK_WINDOW_S
        self._peak = 0.0

    def add(self, time: float, use: float) -> None:
        """A use of `use` MiB at `time`: counts when it is the window's highest so far, in place of that."""
        if time >= self._window_end:
            passed = np.floor((time - self._window_end) / PEAK_WINDOW_S) + 1
            self._window_end += passed * PEAK_WINDOW_S
            self._peak = 0.0
        if use > self._peak:
            weight = 2.0 ** ((self._window_end - self._start) / HALF_LIFE_S)
            if self._peak > 0:
                self._weights[_bucket(self._peak)] -= weight
            self._weights[_bucket(use)] += weight
            self._peak = use

    @property
    def peak(self) -> float:
        """MiB, the highest of the present window."""
        return self._peak

    def percentile(self, part: float) -> float:
        """MiB: the end of the bucket below which at least `part` of the weight lies; 0 without any."""
        total = float(self._weights.sum())
        if total <= 0:
            return 0.0
        bucket = int(np.searchsorted(np.cumsum(self._weights), part * total * (1 - 1e-12)))
        return float(STARTS[min(bucket + 1, BUCKETS - 1)])


def _bucket(use: float) -> int:
    return int(np.searchsorted(STARTS, use, side="right")) - 1


def after_kill(peak: float) -> float:
    """MiB recorded for a guest that died for lack of memory."""
    return max(KILLED_FACTOR * peak, peak + KILLED_MORE_MIB)


class Vpa(Periodic):
    """One histogram a guest; the recommendation is its target."""

    interval_s = 60.0

    def start(self, world: SimulatedHost) -> None:
        """No history."""
        super().start(world)
        self._histograms: dict[int, PeakHistogram] = {}

    def decide(self, world: SimulatedHost, guests: Readings) -> None:
        """Enter what guests use, and apply the recommendation."""
        killed = guests.used > PRESSED_ABOVE * (guests.used + guests.unused)
        targets = []
        for row, used, short in zip(guests.rows.tolist(), guests.used.tolist(), killed.tolist(), strict=True):
            histogram = self._histograms.setdefault(row, PeakHistogram(world.now))
            histogram.add(world.now, after_kill(used) if short else used)
            targets.append(max((1 + MARGIN) * histogram.percentile(PERCENTILE), LEAST_MIB))
        world.order(guests.rows, np.array(targets))

"""When to look next: at the shortest interval what is unstable, ever more rarely what is stable.

The interval is also capped by the forecast: no later than half the time until the upper forecast reaches the
allocation, so that a domain that is about to run out is seen at least twice before it does.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

GROWTH = 1.5
"""Factor by which a stable domain's interval grows from look to look: from 1 s to 60 s in eleven looks, 3 minutes."""

SAFETY = 0.5
"""Part of the time to exhaustion that may pass unseen."""


def next_interval(interval: Floats, shortest: Floats, longest: Floats, stable: Bools, exhaustion: Floats) -> Floats:
    """(n,) seconds until the next look.

    `interval` is the last one, `exhaustion` the seconds until the upper forecast reaches the allocation.
    """
    grown = np.where(stable, interval * GROWTH, shortest)
    return np.asarray(np.clip(np.minimum(grown, SAFETY * exhaustion), shortest, longest))

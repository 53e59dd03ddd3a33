"""Who gets how much of what does not suffice for all: weighted max-min fairness.

Max-min fairness: D. Bertsekas, R. Gallager, Data Networks, 2nd ed., section 6.5.2; weighted as usual.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT = 0.5
"""Bytes by which a sum may miss what it is to be."""

MOST_STEPS = 100
"""Of a search that halves: more than a level has digits. Five to ten do, as a rule."""


def share(wants: Floats, weights: Floats, capacity: float) -> Floats:
    """Weighted max-min: grant_i = min(wants_i, level * weights_i), the level such that the grants use up `capacity`.

    All (n,), bytes; `weights` positive. Everybody is satisfied when the wants fit.
    """
    return level(np.zeros_like(wants), wants, weights, capacity)


def level(lowest: Floats, highest: Floats, scale: Floats, capacity: float) -> Floats:
    """Equal levels: x_i = clip(level * scale_i, lowest_i, highest_i), the level such that they use up `capacity`.

    All (n,), bytes, `lowest` <= `highest`, `scale` positive. `lowest` where the capacity does not suffice for more,
    `highest` where it suffices for all; else the sum is `capacity` to the byte.
    """
    if capacity - float(lowest.sum()) < EXACT:
        return lowest
    if float(highest.sum()) - capacity < EXACT:
        return highest
    # The sum grows with the level, in straight pieces: Newton's step is exact on a piece, halving finds the piece.
    below, above = 0.0, float((highest / scale).max())
    reached = capacity / float(scale.sum())
    for _ in range(MOST_STEPS):
        if not below < reached < above:
            reached = (below + above) / 2
        sizes = np.minimum(np.maximum(reached * scale, lowest), highest)
        missing = capacity - float(sizes.sum())
        if abs(missing) < EXACT:
            break
        below, above = (reached, above) if missing > 0 else (below, reached)
        slope = float(scale[(sizes > lowest) & (sizes < highest)].sum())
        reached = reached + missing / slope if slope > 0 else above
    return sizes

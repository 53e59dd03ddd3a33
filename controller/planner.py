"""Who gets how much: a budget filled level by level, each level shared by weighted max-min fairness.

Levels go from what a domain cannot do without to what it may have if nobody else wants it. A level is begun only
when the one below is full for everybody, so idle memory is always taken before used memory.

Max-min fairness: D. Bertsekas, R. Gallager, Data Networks, 2nd ed., section 6.5.2; weighted as usual.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fill(levels: Sequence[Floats], weights: Floats, capacity: float) -> Floats:
    """Allocations of n domains out of `capacity` bytes.

    `levels` are (n,) arrays in bytes, each at least as high as the one before. The first is given to everybody even
    when the capacity does not suffice: nobody's used memory is taken away. `weights` are (n,) and positive.
    """
    given = levels[0]
    for level in levels[1:]:
        rest = capacity - float(given.sum())
        if rest <= 0:
            break
        step = level - given
        if float(step.sum()) <= rest:
            given = level
            continue
        return given + share(step, weights, rest)
    return given


def share(wants: Floats, weights: Floats, capacity: float) -> Floats:
    """Weighted max-min: grant_i = min(wants_i, level * weights_i), the level such that the grants use up `capacity`.

    All (n,), bytes; `weights` positive. Everybody is satisfied when the wants fit.
    """
    if float(wants.sum()) <= capacity:
        return wants
    if capacity <= 0:
        return np.zeros_like(wants)
    satisfied_at = wants / weights
    order = np.argsort(satisfied_at)
    wants_before = np.concatenate(([0.0], np.cumsum(wants[order])[:-1]))
    weights_from = np.cumsum(weights[order][::-1])[::-1]
    level_if_first_unmet = (capacity - wants_before) / weights_from
    first = int(np.argmax(level_if_first_unmet <= satisfied_at[order]))
    return np.asarray(np.minimum(wants, level_if_first_unmet[first] * weights))


def level(lowest: Floats, highest: Floats, scale: Floats, capacity: float) -> Floats:
    """Equal levels: x_i = clip(level * scale_i, lowest_i, highest_i), the level such that they use up `capacity`.

    All (n,), bytes, `lowest` <= `highest`, `scale` positive. `lowest` where the capacity does not suffice for more,
    `highest` where it suffices for all.
    """
    if capacity <= float(lowest.sum()):
        return lowest
    if capacity >= float(highest.sum()):
        return highest
    bends = np.concatenate((lowest / scale, highest / scale))
    order = np.argsort(bends)
    bends = bends[order]
    slopes = np.cumsum(np.concatenate((scale, -scale))[order])
    totals = float(lowest.sum()) + np.concatenate(([0.0], np.cumsum(slopes[:-1] * np.diff(bends))))
    place = int(np.searchsorted(totals, capacity, side="right")) - 1
    reached = bends[place] + (capacity - totals[place]) / max(slopes[place], np.finfo(np.float64).tiny)
    return np.asarray(np.clip(reached * scale, lowest, highest))

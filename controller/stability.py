"""Stable or unstable: domains that are reallocated often, or whose demand moves quickly, are unstable.

After the idea that stability follows the derivative of use over time: the number of reallocations in a sliding window,
and the change of demand from one look to the next.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def decayed(count: Floats, elapsed: Floats, window: Floats) -> Floats:
    """`count` events fading with the time constant `window` after `elapsed` seconds: a sliding count without a log.

    At a steady rate of r events a second it settles at r * window, the number in a window of that length.
    """
    return np.asarray(count * np.exp(-elapsed / window))


def stable(reallocations: Floats, limit: Floats, change: Floats, change_limit: Floats) -> Bools:
    """(n,) True where neither limit is passed.

    `reallocations`: decayed count; `change`: |demand now - demand at the previous look|, in the unit of its limit.
    """
    return np.asarray((reallocations <= limit) & (change <= change_limit))

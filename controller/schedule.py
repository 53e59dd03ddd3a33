"""When to look next: at the shortest interval what is unstable, ever more rarely what is stable.

The interval is also capped by the forecast: no later than half the time until the upper forecast reaches the
allocation, so that a domain that is about to run out is seen at least twice before it does. And it is capped by the
past: a domain that has jumped farther than it has room is not left alone for long.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

GROWTH = 2.0
"""Factor by which a stable domain's interval grows from look to look: from 1 s to 60 s in six looks, one minute."""

ROUNDING = 1e-6
"""Part of a shortest interval that sums of seconds may be off by."""

SAFETY = 0.5
"""Part of the time to exhaustion that may pass unseen."""

RISK = 0.1
"""Jumps of demand beyond the allocation between two looks, at most, as far as its past tells."""

SQUARINGS = 3
"""Larger jumps are rarer by the eighth power (squared three times): half as far again, 26 times as rare. Steep, so that
who has less room than it has jumped of late is looked at often, and who has more is left alone."""


def patience(jumps: Sequence[Floats], spans: Sequence[float], room: Floats) -> Floats:
    """(n,) seconds in which demand is expected to jump beyond its `room` `RISK` times.

    `jumps` are (n,) arrays: how far demand has been seen to jump in about `spans` seconds, in the unit of `room`. What
    jumps by j once in a span jumps by `room` `(j / room) ** 8` times in it (a Pareto tail, see `SQUARINGS`). Who did
    not move at all is not expected to; where there is no room, there is no patience.
    """
    jump = np.maximum(np.stack(jumps), 0.0)
    far = np.divide(jump, room, out=np.full_like(jump, np.inf), where=room > 0)
    for _ in range(SQUARINGS):
        far *= far
    rate: Floats = np.where(jump > 0, far / np.array(spans)[:, None], 0.0).max(axis=0)
    return np.divide(RISK, rate, out=np.full_like(rate, np.inf), where=rate > 0)


def next_interval(
    interval: Floats, shortest: Floats, longest: Floats, stable: Bools, exhaustion: Floats, patience: Floats
) -> Floats:
    """(n,) seconds until the next look.

    `interval` is the last one, `exhaustion` the seconds until the upper forecast reaches the allocation, `patience`
    those in which it is not likely to be passed by a jump.
    """
    grown = np.where(stable, interval * GROWTH, shortest)
    return np.asarray(np.clip(np.minimum(grown, np.minimum(SAFETY * exhaustion, patience)), shortest, longest))


def aligned(time: Floats, shortest: Floats) -> Floats:
    """(n,) seconds on the engine's clock: looks of all domains meet, at multiples of their shortest interval.

    What is due together is one call to libvirt and one step. A look comes up to one shortest interval early for it.
    """
    return np.asarray(np.floor(time / shortest + ROUNDING) * shortest)

"""Whether the host gets back what a balloon takes: QEMU's resident memory has to fall when its guest shrinks.

It does not where memory is locked, pinned by a device or held by somebody else as well, whoever arranged that.
Shrinking such a guest takes from it and gives to nobody. What a guest has never touched cannot come back.
"""

from dataclasses import dataclass

import numpy as np

from controller.engine.observation import Observation
from controller.engine.snapshot import TOLERANCE
from controller.engine.tables import Bools, Floats, Ints, Table, column
from controller.engine.tuning import Tuning


@dataclass(frozen=True)
class BalloonEffect(Table):
    """Columns of (n,); bytes and monotonic seconds. `assess` is its only writer."""

    size: Floats = column(np.nan)
    """Size of the balloon at the last fresh sample that came with resident memory."""
    rss: Floats = column(np.nan)
    """That memory."""
    size_before: Floats = column(np.nan)
    """Before it shrank; NaN while it has not, or since it was seen to work."""
    rss_before: Floats = column(np.nan)
    missed: Ints = column(0)
    """Samples in a row since then by which nothing came back."""
    rest: Floats = column(0.0)
    """Seconds for which it was not to shrink the last time."""
    rest_until: Floats = column(-np.inf)

    def fruitless(self, now: float) -> Bools:
        """(n,) guests that are not to shrink: the host got nothing back when they did."""
        return np.asarray(now < self.rest_until)


def assess(effect: BalloonEffect, observation: Observation, now: float, tuning: Tuning) -> BalloonEffect:
    """What a step's fresh samples tell of shrinks, whoever ordered them. After a rest it is tried again."""
    seen = observation.fresh & observation.rss_known
    if not np.count_nonzero(seen):
        return effect
    size, rss = observation.rss_size, observation.rss
    shrunk = seen & (size < effect.size - TOLERANCE) & np.isnan(effect.size_before)
    effect = effect.put(shrunk, size_before=effect.size, rss_before=effect.rss)
    asked = seen & np.isfinite(effect.size_before)
    if np.count_nonzero(asked):
        taken, fallen = effect.size_before - size, effect.rss_before - rss
        owed = effect.rss_before - size - np.fmax(effect.rss_before - effect.size_before, tuning.own_memory)
        works = asked & (taken >= TOLERANCE) & (fallen >= tuning.worked * taken)
        regrown = asked & (taken < TOLERANCE)
        fails = asked & (owed >= tuning.own_varies) & (fallen < tuning.failed * owed)
        missed = np.where(fails, effect.missed + 1, 0)
        found = fails & (missed >= tuning.confirmed)
        rest = (2 * effect.rest).clip(tuning.doubt_first, tuning.doubt_longest)
        effect = effect.put(asked, missed=missed).put(works, rest=0.0, rest_until=-np.inf)
        effect = effect.put(works | regrown | found, size_before=np.nan, rss_before=np.nan)
        effect = effect.put(found, missed=0, rest=rest, rest_until=now + rest)
    return effect.put(seen, size=size, rss=rss)

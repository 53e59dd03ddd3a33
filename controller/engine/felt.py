"""What the host feels of guests between their statistics, and when that is reason enough to grow one at once.

QEMU's resident size grows as soon as its guest takes memory into use that is new to it. That says little: the guest may
read files, QEMU may need memory for itself, the host may bring back what it had swapped out. It is believed only where
the guest would be short before its statistics could say so, and for a while no more where these did not confirm it. It
never makes a guest smaller. Without anything felt every column is as it was when blank.
"""

from dataclasses import dataclass

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.observation import ROUNDING, Observation
from controller.engine.phases import Balloon
from controller.engine.reasons import Reason
from controller.engine.snapshot import TOLERANCE, Felt, RunState
from controller.engine.tables import Bools, Floats, Table, column, spread
from controller.engine.tuning import Tuning
from controller.forecast.bound import FOREVER


@dataclass(frozen=True)
class Growth(Table):
    """Columns of (n,); bytes and monotonic seconds. `feel` is its only writer."""

    resident: Floats = column(np.nan)
    """Guest memory that is in the host's memory, and QEMU's own, now; NaN where nobody can tell."""
    own: Floats = column(0.0)
    """Of that, so much cannot be the guest's: the most by which it was above the guest's size."""
    base: Floats = column(np.nan)
    """What was resident when the guest sent the statistics that demand is of; less where some was given back since."""
    grew: Floats = column(0.0)
    """Taken into use since then, for the first time; 0 where no more grew of late than does so by itself."""
    unsure: Floats = column(0.0)
    """Of that, so much may have been told by these statistics: it is counted, and not taken to go on."""
    least: Floats = column(np.nan)
    """Demand, if all that is the guest's and stays; NaN where it is not believed."""
    sought: Floats = column(0.0)
    """What the guest is to have if it is `short`."""
    short: Bools = column(False)
    """It will be short of memory before its statistics can say so, if it goes on like this."""

    # Whether its word is good.
    claimed: Floats = column(0.0)
    """The most that it grew while it counted as short; 0 when statistics have told since."""
    claimed_at: Floats = column(np.nan)
    """When that began."""
    claimed_from: Floats = column(np.nan)
    """What was used before."""
    claimed_burst: Floats = column(0.0)
    """Of that, the most that it took in the time of an answer."""
    doubt: Floats = column(0.0)
    """Seconds for which it was not believed the last time."""
    doubted_until: Floats = column(-np.inf)

    # How fast it is.
    answer: Floats = column(np.nan)
    """Seconds that the newest move took that it was felt to need, with what feeling it may take; NaN before."""
    burst: Floats = column(0.0)
    """The most that it took in the time of an answer, if its statistics confirmed it; not while it booted."""
    burst_at: Floats = column(-np.inf)
    """When that was."""

    def coming(self, now: float, tuning: Tuning) -> Floats:
        """(n,) bytes that guests may take before memory that is sent because of it can arrive; 0 where none was ever
        felt to take any.
        """
        elapsed = np.fmin(now - self.burst_at, FOREVER)
        return np.asarray(self.burst * np.exp2(-elapsed / tuning.peak_hour))

    def silent(self, demand: Floats) -> Floats:
        """(n,) bytes that guests of `demand`, (n,) bytes, can take into use unfelt, at most; NaN where nothing is felt:
        what they have used before and do not use now.
        """
        return np.asarray(np.maximum(self.resident - self.own - demand, 0.0))

    def alert_at(self, observation: Observation, balloon: Balloon, tuning: Tuning) -> Floats:
        """(n,) resident bytes below which no guest counts as `short`: none is taken to grow by more than it just did.
        -inf where nothing is known. Of what is resident all may be the guest's: how much is QEMU's is not sure.
        """
        size = np.fmin(observation.allocation, balloon.target)
        level = self.base + ((1.0 - tuning.low) * size - np.maximum(self.base, observation.demand)) / 2
        return np.where(np.isnan(level), -np.inf, level)


def feel(
    growth: Growth,
    felt: Felt,
    observation: Observation,
    balloon: Balloon,
    inventory: Inventory,
    now: float,
    tuning: Tuning,
) -> Growth:
    """What is felt after a step's `observation`; `balloon` as it is by then."""
    if len(felt.rows) == 0 and not np.count_nonzero(np.isfinite(growth.resident)):
        return growth
    resident, grew, since = spread(felt.rows, np.array([felt.resident, felt.grew, felt.since]), len(inventory))
    resident = np.where(inventory.resident, resident, np.nan)
    took = now - balloon.last_at
    sent = (balloon.last_reason == int(Reason.FELT_GROW)) & (took < inventory.deadline)
    arrived = (observation.moved_at >= now) & (observation.allocation >= balloon.last_to - TOLERANCE)
    growth = _judge(growth.put(sent & arrived, answer=took + felt.pause), observation, now, tuning)
    # Growth is told already, unless it began after the newest statistics were sent. Stamps are rounded down: of growth
    # that began in the same second these surely know only as much as demand rose by.
    began_after = since >= observation.sent_at + ROUNDING
    same = (since >= observation.sent_at) & ~began_after & (observation.fresh_count > 1)
    unsure = np.where(same, np.fmax(grew - np.fmax(observation.change, 0.0), 0.0), 0.0)
    anew = observation.fresh | np.isnan(growth.base)
    base = np.where(anew, resident - np.where(began_after, grew, unsure), growth.base)
    base = np.where(np.isnan(resident), np.nan, np.fmin(base, resident))
    at_rest = observation.fresh & np.isfinite(resident)
    own = np.where(at_rest, np.maximum(growth.own, resident - observation.allocation), growth.own)
    untold = np.fmax(resident - base, 0.0)
    taken = np.where(np.fmax(grew, untold) >= tuning.own_varies, untold, 0.0)
    made = growth.put(anew, unsure=unsure).having(resident=resident, own=own, base=base, grew=taken)
    rate = np.fmax(grew / np.maximum(now - since, 1e-3), 0.0)
    return _conclude(made, rate, observation, balloon, inventory, now, tuning)


def _conclude(
    growth: Growth,
    rate: Floats,
    observation: Observation,
    balloon: Balloon,
    inventory: Inventory,
    now: float,
    tuning: Tuning,
) -> Growth:
    """Who will be short. `rate`: (n,) bytes a second of late. A guest is not taken to grow by more than it just did.

    A guest's kernel gives out first what is free and was used before: whoever takes memory that is new to it has
    probably taken that unfelt, where QEMU's own part is known. One that has all in use tells its size, not its demand,
    and searches as one does that has nothing left.
    """
    grew, size = growth.grew, np.maximum(observation.allocation, np.where(balloon.under_way, balloon.target, 0.0))
    sound = (observation.trouble == int(Reason.NONE)) & (observation.run_state == int(RunState.RUNNING))
    believed = sound & (observation.fresh_count > 0) & (now >= growth.doubted_until)
    taken = np.fmax(grew - observation.swapped, 0.0)  # what comes home from swap is counted in demand already
    least = np.where(believed & (grew >= tuning.felt_least), observation.demand + taken, np.nan)
    free = growth.base - growth.own - observation.demand - observation.promised
    answer = np.fmax(growth.answer, tuning.felt_answer)
    coming = np.fmin(rate * (inventory.statistics_period + answer), np.fmax(grew - growth.unsure, 0.0))
    likely = least + np.where(growth.own > 0.0, np.fmax(free, 0.0), 0.0) + coming
    full = (1.0 - tuning.low) * size
    short = likely > full
    searched = size * (1.0 + np.where(least > full, tuning.growth, tuning.growth_known))
    wanted = likely + inventory.headroom_on(likely)
    begins = short & (growth.claimed == 0.0)
    growth = growth.put(begins, claimed_at=now, claimed_from=observation.used + observation.swapped, claimed_burst=0.0)
    growth = growth.put(
        short,
        claimed=np.maximum(growth.claimed, grew),
        claimed_burst=np.maximum(growth.claimed_burst, np.fmin(rate * answer, grew)),
    )
    return growth.having(least=least, short=short, sought=np.where(short, np.maximum(wanted, searched), 0.0))


def _judge(growth: Growth, observation: Observation, now: float, tuning: Tuning) -> Growth:
    """What the guest's own statistics say of what was felt: it is believed less, or again."""
    rose = observation.used + observation.swapped - growth.claimed_from
    told = (growth.claimed > 0.0) & (observation.sent_at >= growth.claimed_at) & np.isfinite(rose)
    if not np.count_nonzero(told):
        return growth
    false = told & (rose < tuning.failed * growth.claimed)
    doubt = (2 * growth.doubt).clip(tuning.rest_shortest, tuning.rest_longest)
    booted = ~(now - observation.booted_at < tuning.boot_time)
    faster = told & ~false & booted & (growth.claimed_burst > growth.coming(now, tuning))
    growth = growth.put(faster, burst=growth.claimed_burst, burst_at=now)
    growth = growth.put(told, claimed=0.0, doubt=0.0)
    return growth.put(false, doubt=doubt, doubted_until=now + doubt)

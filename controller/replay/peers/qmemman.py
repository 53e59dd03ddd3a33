"""Qubes OS's qmemman.

Facts: its balancing algorithm and the loop around it. Every guest prefers 1.3 times what it uses. What is left over is
shared out in proportion to preferences; when memory is short, those above their preference come down to it, and what
is free goes to the others by preference. Donors are asked first; others grow when their memory is really free, tried
every 0.1 s. Small changes are not worth a round. It acts whenever a guest reports. Simplified: where the original
breaks a round off after half a second and begins it anew at the next report, here it goes on while donors still give;
and what the host itself prefers is left out, for in this world it needs nothing.
"""

import numpy as np

from controller.engine.tables import Bools, Floats
from controller.replay.contract import Periodic
from controller.replay.world import Readings, SimulatedHost

LEAST_MIB = 200.0
"""Nobody prefers less."""
CACHE_FACTOR = 1.3
"""What a guest prefers over what it uses."""
GIVE_UP_MIB = 10.0
"""A donor above its preference by less was asked in vain before."""
TRANSFER_MIB = 150.0
"""Changes together and free memory; less is not worth a round,"""
URGENT_MIB = 15.0
"""unless a guest below its preference would grow by more than this."""
RETRY_S = 0.1
"""Seconds between two looks for memory that donors gave back."""


def preferred(used: Floats, maximum: Floats) -> Floats:
    """(n,) MiB."""
    return np.maximum(LEAST_MIB, np.minimum(CACHE_FACTOR * used, maximum))


def targets(size: Floats, used: Floats, maximum: Floats, free: float) -> Floats:
    """(n,) MiB for each guest; `free` is what none of them has, MiB."""
    wanted = preferred(used, maximum)
    surplus = free - float((wanted - size).sum())
    if surplus > 0:
        return _spread(wanted * (1 + surplus / wanted.sum()), maximum)
    gives = (size > wanted) | (size >= maximum)
    worth = gives & (size - wanted >= GIVE_UP_MIB)
    result = np.where(worth, wanted, size)
    left = free - float((size - wanted)[worth].sum())
    takes = ~gives
    if left < 0 or not takes.any():
        return result
    part = np.where(takes, wanted, 0.0)
    return np.where(takes, np.minimum(size + left * part / part.sum(), maximum), result)


def _spread(wanted: Floats, maximum: Floats) -> Floats:
    """(n,) `wanted`, but what is above a guest's maximum goes to the others in equal parts."""
    result = np.minimum(wanted, maximum)
    left = float((wanted - result).sum())
    for _ in range(len(wanted)):
        takes = result < maximum
        if left <= 0 or not takes.any():
            break
        raised = result + np.where(takes, left / takes.sum(), 0.0)
        result = np.minimum(raised, maximum)
        left = float((raised - result).sum())
    return result


def significant(size: Floats, wanted: Floats, below: Bools, free: float) -> bool:
    """Whether a round is worth it; `below`: (n,) guests that have less than they prefer."""
    change = wanted - size
    return bool((change[below] > URGENT_MIB).any() or np.abs(change).sum() + free > TRANSFER_MIB)


class Qmemman(Periodic):
    """A round at every report; within it, tries to pay for what is still to be given."""

    interval_s = 1.0

    def start(self, world: SimulatedHost) -> None:
        """Nobody waits for memory."""
        super().start(world)
        self._round_at = world.now
        self._waiting: dict[int, float] = {}
        self._granted: dict[int, float] = {}
        self._sizes = np.empty(0)

    def act(self, world: SimulatedHost) -> None:
        """A new round ends the one before."""
        if world.now >= self._round_at:
            super().act(world)
            self._round_at = self._next
        self._pay(world)
        self._next = min(world.now + RETRY_S, self._round_at) if self._waiting else self._round_at

    def decide(self, world: SimulatedHost, guests: Readings) -> None:
        """Ask the donors, line up the others."""
        size, used, maximum = guests.allocation, guests.used, guests.maximum
        free = world.free_mib()
        wanted = targets(size, used, maximum, free)
        self._waiting, self._granted, self._sizes = {}, {}, np.empty(0)
        if not significant(size, wanted, size < preferred(used, maximum), free):
            return
        gives = wanted < size
        world.order(guests.rows[gives], wanted[gives])
        self._waiting = dict(zip(guests.rows[~gives].tolist(), wanted[~gives].tolist(), strict=True))

    def _pay(self, world: SimulatedHost) -> None:
        """Give to those whose memory is free and not promised; once nothing moves any more, what there is."""
        sizes = world.allocation
        free = world.free_mib() - sum(max(size - float(sizes[row]), 0.0) for row, size in self._granted.items())
        at_rest = np.array_equal(sizes, self._sizes)
        for row, target in list(self._waiting.items()):
            more = target - float(sizes[row])
            if more > free and at_rest:
                more = max(free, 0.0)
            if more <= free:
                del self._waiting[row]
                self._granted[row] = float(sizes[row]) + more
                free -= more
                world.order(np.array([row]), np.array([self._granted[row]]))
        self._sizes = sizes.copy()

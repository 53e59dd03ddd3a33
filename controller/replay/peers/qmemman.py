"""Qubes OS's qmemman.

Facts: its balancing algorithm and the loop around it. Every guest prefers 1.3 times what it uses. What is left over is
shared out in proportion to preferences; when memory is short, those above their preference come down to it, and what
is free goes to the others by preference. Donors are asked first; every grow waits up to half a second until its memory
is really free, else it gets what is there and the round ends. Small changes are not worth a round. It acts whenever a
guest reports, which those do whose memory has changed, so a round that ended early and did move something is followed
by another a second later. Memory that the host itself prefers is left out: in this world the host needs nothing.
"""

import numpy as np
from numpy.typing import NDArray

from controller.replay.contract import Periodic
from controller.replay.world import Bools, Readings, World

Floats = NDArray[np.float64]

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
TRIES = 5
"""Times that a grow waits `RETRY_S` for its memory."""


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

    def start(self, world: World) -> None:
        """Nobody waits for memory."""
        super().start(world)
        self._round_at = world.now
        self._waiting: list[tuple[int, float]] = []
        self._granted: dict[int, float] = {}
        self._tries = 0
        self._sizes = world.allocation

    def act(self, world: World) -> None:
        """A new round ends the one before."""
        if world.now >= self._round_at:
            super().act(world)
            self._round_at = self._next
        self._pay(world)
        self._next = world.now + RETRY_S if self._waiting else self._round_at
        self._next = min(self._next, self._round_at)

    def decide(self, world: World, guests: Readings) -> None:
        """Ask the donors, line up the others."""
        size, used, maximum = guests.allocation, guests.used, guests.maximum
        free = world.free_mib()
        wanted = targets(size, used, maximum, free)
        self._waiting, self._granted, self._tries, self._sizes = [], {}, TRIES, world.allocation.copy()
        if not significant(size, wanted, size < preferred(used, maximum), free):
            return
        gives = wanted < size
        world.order(guests.rows[gives], wanted[gives])
        self._waiting = list(zip(guests.rows[~gives].tolist(), wanted[~gives].tolist(), strict=True))

    def _pay(self, world: World) -> None:
        while self._waiting:
            row, target = self._waiting[0]
            size = float(world.allocation[row])
            free = world.free_mib() - self._promised(world)
            if free < target - size and self._tries > 0:
                self._tries -= 1
                return
            if free < target - size:
                target = size + max(free, 0.0)
                self._waiting = self._waiting[:1]
                if not np.array_equal(world.allocation, self._sizes):
                    self._round_at = min(self._round_at, world.now + self.interval_s)
            self._grant(world, row, target)
            del self._waiting[0]

    def _grant(self, world: World, row: int, target: float) -> None:
        self._granted[row] = target
        self._tries = TRIES
        world.order(np.array([row]), np.array([target]))

    def _promised(self, world: World) -> float:
        """MiB on their way to guests."""
        return sum(max(target - float(world.allocation[row]), 0.0) for row, target in self._granted.items())

"""Proxmox VE's automatic ballooning.

Facts: pvestatd and its algorithm. Every 10 s, the first cycle skipped, guests are sized so that 80 % of the
host's memory is used: what is missing or too much is shared out by `shares` above each guest's minimum, 100 MiB a
guest and cycle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.replay.contract import Periodic
from controller.replay.world import Readings, SimulatedHost

MIB = 2**20
"""Bytes: its arithmetic is in whole bytes."""

STEP = 100 * MIB
"""Bytes a guest changes in one cycle at most."""

DEAD_BAND = 10 * MIB
"""Bytes by which the host may miss its goal."""

USED_PERCENT = 80
"""Of the host's memory that should be used."""

RICH = 0.25
"""Part of its minimum that a guest has free when it can give."""

SHARES = 1000
"""The default weight of a guest."""

MINIMUM_PERCENT = 20
"""Of a guest's maximum: the balloon minimum, which its administrators set by hand; Ballast's default."""


@dataclass(slots=True)
class ProxmoxGuest:
    """What the algorithm knows of a guest; bytes."""

    size: int
    minimum: int
    maximum: int
    free: int
    shares: int = SHARES

    @property
    def rich(self) -> bool:
        """It can give; otherwise it is pressed."""
        return self.free > RICH * self.minimum and self.size >= self.minimum


def cycle(guests: Sequence[ProxmoxGuest], goal: int, step: int = STEP) -> list[int]:
    """New sizes, bytes; `goal` is what guests together should change by."""
    new = [guest.size for guest in guests]
    everyone = list(range(len(guests)))
    if goal > DEAD_BAND:
        pressed = [place for place in everyone if not guests[place].rich]
        rest = _distribute(guests, pressed, goal, new, step)
        if rest >= goal:
            _distribute(guests, everyone, rest, new, step)
    elif goal < -DEAD_BAND:
        rich = [place for place in everyone if guests[place].rich]
        rest = _distribute(guests, rich, goal, new, step)
        if rest <= goal:
            _distribute(guests, everyone, rest, new, step)
    return new


def _distribute(guests: Sequence[ProxmoxGuest], chosen: Sequence[int], amount: int, new: list[int], step: int) -> int:
    """Share `amount` among the chosen guests, in place, until a pass moves nothing; returns what is left of it."""
    rest = amount
    waiting = list(chosen)
    while rest and waiting:
        above = sum(new[place] - guests[place].minimum for place in waiting) + rest
        shares = sum(guests[place].shares for place in waiting)
        moves = {}
        for place in waiting:
            size = _next_size(guests[place], above / shares, amount > 0, step)
            if size != guests[place].size:
                moves[place] = size
        changed = sum(size - new[place] for place, size in moves.items())
        again = any(size != new[place] for place, size in moves.items())
        for place, size in moves.items():
            new[place] = size
        rest -= changed
        waiting = list(moves) if again else []
    return rest


def _next_size(guest: ProxmoxGuest, by_share: float, grows: bool, step: int) -> int:
    """One step from the cycle's start towards the guest's part above its minimum; its size when it is done."""
    desired = min(max(guest.minimum + int(by_share * guest.shares), guest.minimum), guest.maximum)
    if grows and desired > guest.size:
        return min(guest.size + step, desired)
    if desired < guest.size:
        return max(guest.size - step, desired)
    return guest.size


class Proxmox(Periodic):
    """Every guest has the default shares, and `MINIMUM_PERCENT` of its maximum as minimum."""

    interval_s = 10.0

    def start(self, world: SimulatedHost) -> None:
        """The first cycle only collects."""
        super().start(world)
        self._warm = False

    def decide(self, world: SimulatedHost, guests: Readings) -> None:
        """One cycle of the algorithm."""
        if not self._warm:
            self._warm = True
            return
        total = int(world.total_mib * MIB)
        goal = total * USED_PERCENT // 100 - int((world.total_mib - world.free_mib()) * MIB)
        known = [
            ProxmoxGuest(
                int(size * MIB), int(maximum * MIB) * MINIMUM_PERCENT // 100, int(maximum * MIB), int(free * MIB)
            )
            for size, maximum, free in zip(
                guests.allocation.tolist(), guests.maximum.tolist(), guests.unused.tolist(), strict=True
            )
        ]
        new = cycle(known, goal)
        moved = np.array([size != guest.size for size, guest in zip(new, known, strict=True)])
        world.order(guests.rows[moved], np.array(new)[moved] / MIB)

"""Steps of demand in one real guest, timed by the guest's agent and by the balloon's size that QEMU itself tells."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import libvirt

from lab.errors import LabError
from lab.guest import Event, Guest

LOW_MIB = 20
"""What the workload holds between two steps."""
STEP_MIB = (64, 96)
"""A step is between the two: more than the headroom, so that the allocation has to grow."""
POLL_S = 0.05
GIVE_UP_S = 60.0
KIB = 1024


@dataclass(frozen=True, slots=True)
class Reaction:
    """Seconds from the moment the workload asked for more."""

    covered: float
    """Until the balloon's size covered what the guest wants: its kernel's own and all of the workload's."""
    held: float
    """Until the workload had touched all of it without a major fault: nothing of it is left in swap."""


class Stepper:
    """Makes one guest's demand step and watches what comes of it. For one thread; reproducible by its seed."""

    def __init__(self, guest: Guest, uri: str, seed: int) -> None:
        self._guest = guest
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._connection = libvirt.openReadOnly(uri)
        self._domain = self._connection.lookupByUUIDString(guest.uuid)
        self._idle = guest.demand()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def steps(self, count: int, calm_s: float = 0.0) -> list[Reaction]:
        """That many steps, somebody else giving and taking; nothing happens in the first `calm_s` seconds."""
        self._guest.use(LOW_MIB, wait=False)
        time.sleep(calm_s)  # the time that is to pass
        return [self._step(lambda _wanted: None) for _ in range(count)]

    def by_hand(self, headroom: int) -> list[Reaction]:
        """One step for which the right size, with so many MiB of headroom, is ordered the moment it begins."""
        self._guest.use(LOW_MIB)
        self._order(self._idle + LOW_MIB + headroom)
        return [self._step(lambda wanted: self._order(wanted + headroom))]

    def _step(self, answer: Callable[[int], None]) -> Reaction:
        """`answer` is told what the guest wants in all, MiB, when it begins to."""
        self._await(lambda: self._actual() < self._idle + LOW_MIB + STEP_MIB[0], "small enough for a step")
        time.sleep(self._random.uniform(0, 1))  # the step is to come at any moment between two looks
        mib = LOW_MIB + self._random.randint(*STEP_MIB)
        wanted, ordered = self._idle + mib, time.monotonic()
        self._guest.use(mib, wait=False)
        self._await(lambda: self._event("want", mib, ordered), "step begun")
        answer(wanted)
        self._await(lambda: self._actual() >= wanted, "grown")
        covered = time.monotonic()
        self._await(lambda: self._event("held", mib, ordered), "all in use")
        began, held = self._event("want", mib, ordered), self._event("held", mib, ordered)
        self._guest.use(LOW_MIB, wait=False)
        return Reaction(covered - began[0].at, held[0].at - began[0].at)

    def _event(self, word: str, mib: int, since: float) -> list[Event]:
        found = [event for event in self._guest.events() if event.at >= since]
        return [event for event in found if (event.word, event.values[1:]) == (word, (mib,))]

    def _actual(self) -> int:
        """MiB. Asks QEMU; the bulk statistics know the size from events only, a second late at times."""
        return int(self._domain.memoryStats()["actual"]) // KIB

    def _order(self, mib: int) -> None:
        self._guest.domain.setMemory(mib * KIB)

    def _await(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + GIVE_UP_S
        while not condition():
            if time.monotonic() > end:
                raise LabError(f"guest {self._guest.spec.name}: {what}: not within {GIVE_UP_S:g} s")
            time.sleep(POLL_S)  # balloons have no event that comes at once

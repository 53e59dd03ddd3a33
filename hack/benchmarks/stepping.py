"""Steps of demand in one real guest, timed by the guest's agent and by the balloon's size that QEMU itself tells."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.monitor import Monitor
from lab.errors import LabError
from lab.guest import Guest, GuestEvent

LOW_MIB = 20
"""What the workload holds between two steps."""
AT_REST_S = 2.0
"""Without a move of its balloon a guest is ready for the next step."""
BEYOND_MIB = (32, 64)
"""A step goes as far beyond what the guest has, so that the allocation has to grow."""
CALM_BY_HAND_S = 2.0
"""Before a burst whose size is ordered by hand: its balloon has come to rest."""
AT_ONCE = 2
"""Steps under way at once, of all guests: a guest is to wait for memory, not for an emulated CPU."""
POLL_S = 0.05
HEADROOM_MIB = 32
"""The default; by hand the guest gets what it wants and as much on top."""
BURST_MIB = 150
GIVE_UP_S = 60.0
PAGES_MIB = 256
"""Pages of a MiB."""
KIB = 1024


@dataclass(frozen=True, slots=True)
class Reaction:
    """Seconds from the moment the workload asked for more."""

    covered: float
    """Until the balloon's size covered what the guest wants: its kernel's own and all of the workload's."""
    held: float
    """Until the workload had touched all of it without a major fault: nothing of it is left in swap."""


@dataclass(frozen=True, slots=True)
class Burst:
    """What a guest went through that took BURST_MIB as fast as it could."""

    rate: float
    """MiB a second, until it had all."""
    swapped: float
    """Of what it took, the part that it swapped out meanwhile, %."""


_stepping = threading.Semaphore(AT_ONCE)


class Stepper:
    """Makes one guest's demand step and watches what comes of it. For one thread; reproducible by its seed."""

    def __init__(self, guest: Guest, seed: int) -> None:
        self._guest = guest
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._monitor = Monitor(guest.monitor)
        self._idle = guest.demand()

    def close(self) -> None:
        """Let go of the guest."""
        self._monitor.close()

    def steps(self, count: int, calm_s: float) -> list[Reaction]:
        """That many steps, each after `calm_s` seconds in which nothing happens; somebody else gives and takes."""
        self._guest.use(LOW_MIB, wait=False)
        return [self._calm_step(calm_s) for _ in range(count)]

    def _calm_step(self, calm_s: float) -> Reaction:
        time.sleep(calm_s)  # the time that is to pass
        return self._step(lambda _wanted: None)

    def by_hand(self) -> list[Reaction]:
        """One step for which the right size is ordered the moment it begins."""
        self._guest.use(LOW_MIB)
        self._order(self._idle + LOW_MIB)
        return [self._step(self._order)]

    def bursts(self, count: int, calm_s: float, answer: Callable[[int], None] = lambda _wanted: None) -> list[Burst]:
        """That many bursts, each after `calm_s` seconds in which nothing happens. `answer` as for a step."""
        return [self._burst(calm_s, answer) for _ in range(count)]

    def burst_by_hand(self) -> list[Burst]:
        """One burst for which the right size is ordered the moment it begins."""
        self._guest.use(LOW_MIB)
        self._order(self._idle + LOW_MIB)
        return self.bursts(1, CALM_BY_HAND_S, self._order)

    def _burst(self, calm_s: float, answer: Callable[[int], None]) -> Burst:
        self._guest.use(LOW_MIB, wait=False)
        time.sleep(calm_s)  # the time that is to pass
        with _stepping:
            before = self._guest.evidence().swapped_out_pages
            seconds = self._grow(LOW_MIB + BURST_MIB, answer).held
            swapped = (self._guest.evidence().swapped_out_pages - before) / PAGES_MIB
            self._guest.use(LOW_MIB, wait=False)
        return Burst(BURST_MIB / seconds, 100.0 * swapped / BURST_MIB)

    def _step(self, answer: Callable[[int], None]) -> Reaction:
        """`answer` is told what the guest wants in all, MiB, when it begins to."""
        has = self._at_rest()
        with _stepping:
            time.sleep(self._random.uniform(0, 1))  # the step is to come at any moment between two looks
            reaction = self._grow(has - self._idle + self._random.randint(*BEYOND_MIB), answer)
            self._guest.use(LOW_MIB, wait=False)
        return reaction

    def _at_rest(self) -> int:
        """The balloon's size, MiB, once it has room for a step and has not moved for AT_REST_S."""
        size, since = self._monitor.balloon(), time.monotonic()
        most = self._guest.spec.maximum - BEYOND_MIB[1] - HEADROOM_MIB

        def rests() -> bool:
            nonlocal size, since
            if (now := self._monitor.balloon()) != size:
                size, since = now, time.monotonic()
            return size < most and time.monotonic() - since >= AT_REST_S

        self._await(rests, "at rest, and small enough for a step")
        return round(size)

    def _grow(self, mib: int, answer: Callable[[int], None]) -> Reaction:
        ordered = time.monotonic()
        self._guest.use(mib, wait=False)
        self._await(lambda: self._event("want", mib, ordered), "step begun")
        answer(self._idle + mib)
        self._await(lambda: self._monitor.balloon() >= self._idle + mib, "grown")
        covered = time.monotonic()
        self._await(lambda: self._event("held", mib, ordered), "all in use")
        began, held = (self._event(word, mib, ordered)[0].at for word in ("want", "held"))
        return Reaction(covered - began, held - began)

    def _event(self, word: str, mib: int, since: float) -> list[GuestEvent]:
        found = [event for event in self._guest.events() if event.at >= since]
        return [event for event in found if (event.word, event.values[1]) == (word, mib)]

    def _order(self, wanted: int) -> None:
        self._guest.domain.setMemory((wanted + HEADROOM_MIB) * KIB)

    def _await(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + GIVE_UP_S
        while not condition():
            if time.monotonic() > end:
                raise LabError(f"guest {self._guest.spec.name}: {what}: not within {GIVE_UP_S:g} s")
            time.sleep(POLL_S)  # balloons have no event that comes at once

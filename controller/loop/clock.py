"""Time, and being woken before it is up: what the loop waits on."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """The loop's only source of time; tests bring their own."""

    def monotonic(self) -> float:
        """Seconds that never jump."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...

    def wait(self, at_least: float, at_most: float) -> None:
        """Return when woken, not before `at_least`, no later than `at_most` seconds; at once if stopped."""
        ...

    @property
    def stopped(self) -> bool:
        """True once somebody asked the loop to end."""
        ...


class WakeableClock(Clock, Protocol):
    """A clock whose wait others can end."""

    def wake(self) -> None:
        """End the present wait, or the next one; from any thread."""
        ...


class SystemClock:
    """The machine's clocks. `wake` and `stop` may be called from any thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._woken = False
        self._stopped = False

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def wait(self, at_least: float, at_most: float) -> None:
        """See Clock. A wake that came while nobody waited is not lost."""
        earliest = time.monotonic() + at_least
        with self._condition:
            self._condition.wait_for(lambda: self._woken or self._stopped, at_most)
            self._condition.wait_for(lambda: self._stopped, earliest - time.monotonic())
            self._woken = False

    def wake(self) -> None:
        """End the present wait, or the next one."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def stop(self) -> None:
        """End the present wait and every later one."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    @property
    def stopped(self) -> bool:
        """True after `stop`."""
        return self._stopped

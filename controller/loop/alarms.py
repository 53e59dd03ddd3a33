"""Domains that were felt to grow: each is looked at at once, and again until its guest has told of it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from controller.engine.state import State
from controller.host.senses import Feelings

AGAIN_S = 0.25
"""Between two looks at a domain that was felt to grow and has not told yet: guests send statistics once a second at
best, and a look at one costs 0.3 ms."""

PATIENCE_S = 2.0
"""For how long it is looked at like that: two of the shortest periods of statistics. Then as if nothing was felt."""

FALSE = 0.25
"""Part of what was felt with less than which demand has not grown: it was a false alarm."""


@dataclass(slots=True)
class _Alarm:
    at: float
    """Monotonic seconds, as all times here."""
    next_look: float
    base: float
    """Resident before it grew, bytes."""
    demand: float
    """Likewise."""
    resident: float
    """Now, for all that was felt."""
    stamp: float = np.nan
    """Of the statistics that the first look after it brought: those may be older than the growth, others are newer."""


class Alarms:
    """For the loop's thread only. The host bounds how often it raises one of a domain."""

    def __init__(self) -> None:
        self._open: dict[str, _Alarm] = {}

    def hear(self, felt: Feelings, state: State, now: float) -> int:
        """Open an alarm for each domain that a policy owns and that woke the loop. Returns how many these are."""
        if not felt.woke:
            return 0
        inventory = state.inventory
        heard = [
            row
            for row, key in enumerate(felt.keys)
            if key in felt.woke and key in inventory.index and inventory.acted_on[inventory.index[key]]
        ]
        for row in heard:
            key, resident = felt.keys[row], float(felt.resident[row])
            known = self._open.get(key)
            if known is None:
                demand = float(state.observation.demand[inventory.index[key]])
                self._open[key] = _Alarm(now, now, resident - float(felt.grew[row]), demand, resident)
            else:
                known.at, known.next_look, known.stamp, known.resident = now, now, np.nan, resident
        return len(heard)

    def due(self, now: float) -> list[str]:
        """Domains to look at now."""
        return [key for key, each in self._open.items() if each.next_look <= now]

    def next_due(self) -> float:
        """When the next look at one of them is due; infinite when there is none."""
        return min((each.next_look for each in self._open.values()), default=np.inf)

    def settle(self, state: State, asked: Iterable[str], now: float) -> int:
        """Close the alarms that `asked` domains have told of, or that nobody tells of. Returns how many were false."""
        told = [key for key in self._open.keys() & asked if self._told(key, state, now)]
        false = sum(self._was_false(key, state) for key in told)
        over = [key for key, each in self._open.items() if now - each.at >= PATIENCE_S]
        self._close([*told, *over, *(key for key in self._open if key not in state.inventory.index)])
        return false

    def _told(self, key: str, state: State, now: float) -> bool:
        """Whether its guest has sent statistics since it was felt to grow; if not, when to ask again."""
        alarm, row = self._open[key], state.inventory.index[key]
        stamp, sent_at = float(state.observation.stamp[row]), float(state.observation.sent_at[row])
        if sent_at >= alarm.at or (np.isfinite(alarm.stamp) and stamp != alarm.stamp):
            return True
        alarm.stamp, alarm.next_look = stamp, now + AGAIN_S
        return False

    def _was_false(self, key: str, state: State) -> bool:
        """Its demand, of a sample that counts, has not grown nearly as much. Without such a sample nobody knows."""
        alarm, row = self._open[key], state.inventory.index[key]
        demand = float(state.observation.demand[row])
        known = state.observation.fresh_at[row] >= alarm.at
        return bool(known and demand - alarm.demand < FALSE * (alarm.resident - alarm.base))

    def _close(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._open.pop(key, None)

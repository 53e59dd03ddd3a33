"""Domains that were felt to grow, or to stall: what each takes is judged often, and it is looked at when its guest may
have told of it, until it has.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.state import State
from controller.engine.step import due
from controller.host.senses import Feelings

AGAIN_S = 0.25
"""Between two steps, or two looks, at a domain that was felt to grow and has not told yet: guests send statistics once
a second at best, and a look at one costs 0.3 ms."""

PATIENCE_S = 2.0
"""For how long what it takes is judged like that, and for how long it is looked at like that once its next statistics
are due. Then as if nothing was felt."""

FALSE = 0.25
"""Part of what was felt with less than which demand has not grown: it was a false alarm."""


@dataclass(slots=True)
class _Alarm:
    life: tuple[float, ...]
    """Of its guest; see `_life`."""
    at: float
    """Monotonic seconds, as all times here."""
    base: float
    """Resident before it grew, bytes."""
    demand: float
    """Likewise."""
    resident: float
    """Now, for all that was felt."""
    next_look: float = np.inf
    """When it is looked at for this alarm; its next regular look may come before."""
    stamp: float = np.nan
    """Of the statistics that the first look after it brought: those may be older than the growth, others are newer."""

    def due(self, key: str, state: State) -> float:
        """When its guest may have told anew, at the earliest."""
        row = state.inventory.index[key]
        return min(float(state.observation.sent_at[row]), self.at) + float(state.inventory.statistics_period[row])


class Alarms:
    """For the loop's thread only. The host bounds how often it raises one of a domain."""

    def __init__(self) -> None:
        self._open: dict[str, _Alarm] = {}
        self._asked_at = self._judged_at = -np.inf
        """When who is to be looked at was asked for last, and what they take was judged last: at each step."""

    def hear(self, felt: Feelings, state: State, now: float) -> tuple[int, int]:
        """Open an alarm for each domain that a policy owns and that woke the loop. Returns how many of these grew, and
        how many stalled and did not.
        """
        if not felt.woke and not felt.stalled:
            return 0, 0
        inventory = state.inventory
        heard = [
            row
            for row, key in enumerate(felt.keys)
            if (key in felt.woke or key in felt.stalled)
            and key in inventory.index
            and inventory.acted_on[inventory.index[key]]
        ]
        for row in heard:
            self._open_one(felt, row, state, now)
        grew = sum(felt.keys[row] in felt.woke for row in heard)
        return grew, len(heard) - grew

    def _open_one(self, felt: Feelings, row: int, state: State, now: float) -> None:
        """A stall claims no growth, so nothing that its guest tells can make it a false alarm."""
        key, resident = felt.keys[row], float(felt.resident[row])
        grew = float(felt.grew[row]) if key in felt.woke else 0.0
        known = self._open.get(key)
        if known is None:
            demand = float(state.observation.demand[state.inventory.index[key]])
            known = self._open[key] = _Alarm(_life(key, state.inventory), now, resident - grew, demand, resident)
        elif key in felt.woke:
            known.at, known.stamp, known.resident = now, np.nan, resident
        known.next_look = max(now, known.due(key, state))

    def whom_to_ask(self, state: State, inventory: Inventory, now: float) -> list[str]:
        """Keys of the domains to look at now: those whose look is due, and those whose alarm is. No alarm outlives its
        guest, nor that a policy owns it.
        """
        self._asked_at = now
        self._open = {key: each for key, each in self._open.items() if each.life == _life(key, inventory)}
        alarmed = [key for key, each in self._open.items() if each.next_look <= now]
        return [*dict.fromkeys([*due(state, inventory, now), *alarmed])]

    def next_due(self) -> float:
        """When the next step for an alarm is due, with or without a look; infinite when there is none."""
        soon = self._judged_at + AGAIN_S
        return min(
            (min(each.next_look, soon if soon - each.at <= PATIENCE_S else np.inf) for each in self._open.values()),
            default=np.inf,
        )

    def settle(self, state: State, asked: Iterable[str], now: float) -> int:
        """After a step. Close the alarms that `asked` domains have told of, or that nobody tells of. Returns how many
        were false. A look that began before the alarm tells nothing of it.
        """
        self._judged_at = now
        looked = [key for key in self._open.keys() & asked if self._open[key].at <= self._asked_at]
        told = [key for key in looked if self._told(key, state, now)]
        false = sum(self._was_false(key, state) for key in told)
        self._close(told)
        self._close([key for key, each in self._open.items() if now - max(each.at, each.due(key, state)) >= PATIENCE_S])
        return false

    def _told(self, key: str, state: State, now: float) -> bool:
        """Whether its guest has sent statistics since it was felt to grow; if not, when to ask again."""
        alarm, row = self._open[key], state.inventory.index[key]
        stamp, sent_at = float(state.observation.stamp[row]), float(state.observation.sent_at[row])
        if sent_at >= alarm.at or (np.isfinite(alarm.stamp) and stamp != alarm.stamp):
            return True
        alarm.stamp, alarm.next_look = stamp, max(now + AGAIN_S, alarm.due(key, state))
        return False

    def _was_false(self, key: str, state: State) -> bool:
        """Its demand, of a sample that counts, has not grown nearly as much. Without such a sample nobody knows."""
        alarm, row = self._open[key], state.inventory.index[key]
        demand = float(state.observation.demand[row])
        known, grew = state.observation.fresh_at[row] >= alarm.at, alarm.resident - alarm.base
        return bool(known and grew > 0.0 and demand - alarm.demand < FALSE * grew)

    def _close(self, keys: Iterable[str]) -> None:
        for key in keys:
            del self._open[key]


def _life(key: str, inventory: Inventory) -> tuple[float, ...]:
    """What changes when its guest starts anew; nothing where no policy owns it."""
    row = inventory.index.get(key, -1)
    return (inventory.incarnation[row], inventory.reset_at[row]) if row >= 0 and inventory.acted_on[row] else ()

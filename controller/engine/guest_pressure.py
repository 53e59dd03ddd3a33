"""Which guests are short of memory, by how much, and since when: an observation, which no order ever changes."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.observation import Observation, much
from controller.engine.phases import Balloon, PhaseEvent
from controller.engine.reasons import first_that_applies
from controller.engine.snapshot import RunState
from controller.engine.tables import Bools, Floats, Ints, Table, column
from controller.engine.tuning import Tuning

PAGE = 4096.0
"""Bytes that a major fault reads at least."""


class PressureLevel(IntEnum):
    """How short of memory a guest is."""

    NONE = 0
    LOW = 1
    """It reads back what it had to give up, with little usable; or it has taken back memory by itself."""
    SHORT = 2
    """Usable memory is below the reserve its kernel needs: it reclaims in the path of its allocations."""
    EXHAUSTED = 3
    """Nothing is left: it tells its size, not its demand."""


@dataclass(frozen=True)
class GuestPressure(Table):
    """Columns of (n,); monotonic seconds. `assess` is its only writer."""

    level: Ints = column(int(PressureLevel.NONE))
    """By the newest telling sample; a guest that falls silent in need stays in need, for a while."""
    samples: Ints = column(0)
    """Telling samples in a row that showed it short of memory."""
    since: Floats = column(np.nan)
    """When the first of these was heard; NaN while there is none."""
    heard_at: Floats = column(-np.inf)
    """When it last told of its memory, by a telling sample or by deflating its balloon."""
    paging: Bools = column(False)
    """It read much back between its last two telling samples, so was short of memory, whatever these say."""
    robbed: Bools = column(False)
    """It had to swap much out between them."""
    deflated: Bools = column(False)
    """When it was last short it showed that by deflating its balloon: it needs more than it tells."""
    ended_at: Floats = column(-np.inf)
    """When it last came to have enough."""
    hold: Floats = column(0.0)
    """Seconds from then on for which it keeps what it was given, though it does not count as used."""

    @property
    def pressed(self) -> Bools:
        """(n,) guests that are short of memory."""
        return np.asarray(self.level > int(PressureLevel.NONE))

    def holds(self, now: float) -> Bools:
        """(n,) guests that keep what they have: they were short a while ago."""
        return np.asarray(now - self.ended_at < self.hold)


def assess(
    pressure: GuestPressure,
    observation: Observation,
    balloon: Balloon,
    inventory: Inventory,
    now: float,
    tuning: Tuning,
) -> GuestPressure:
    """Pressure after a step's `observation`, and what `balloon` did in it.

    A guest that is short while its balloon moves tells so, although its demand cannot be told.
    """
    told_size, usable, swapped = observation.told_size, observation.usable, observation.swapped
    least = much(told_size, tuning)
    # A page from swap is a major fault, too. What comes home into memory that has room for all that is still there
    # shows nothing.
    home = np.where(usable - tuning.low * told_size >= swapped, observation.home_rate, 0.0)
    paging = np.maximum(observation.swap_in_rate, PAGE * observation.fault_rate) - home > least
    cases = [
        (usable < np.maximum(tuning.nothing_left * told_size, tuning.nothing_left_bytes), PressureLevel.EXHAUSTED),
        (usable < tuning.low * told_size, PressureLevel.SHORT),
        (paging & (usable < tuning.easy * told_size), PressureLevel.LOW),
    ]
    level = first_that_applies(cases, PressureLevel.NONE)
    short, telling = level > int(PressureLevel.NONE), observation.telling
    samples, since = np.where(short, pressure.samples + 1, 0), np.where(short, np.fmin(pressure.since, now), np.nan)
    robbed = observation.swap_out_rate > least
    told = pressure.put(
        telling,
        level=level,
        samples=samples,
        since=since,
        heard_at=now,
        paging=paging,
        robbed=robbed,
        deflated=pressure.deflated & ~short,
    )
    deflates = balloon.event == int(PhaseEvent.DEFLATED)
    if np.count_nonzero(deflates):
        level, since = np.maximum(told.level, int(PressureLevel.LOW)), np.fmin(told.since, now)
        told = told.put(deflates, level=level, since=since, heard_at=now, deflated=True)
    over = (now - told.heard_at > tuning.silent_need) | (observation.run_state == int(RunState.NOT_RUNNING))
    return _ended(told.put(over, level=int(PressureLevel.NONE)), pressure, inventory, now, tuning)


def _ended(
    pressure: GuestPressure, before: GuestPressure, inventory: Inventory, now: float, tuning: Tuning
) -> GuestPressure:
    """How long guests that are no longer short keep what they were given: a stabilisation window. Who is short again
    soon after that, twice as long: what it does with the memory shows in no demand, as reading files does not.
    """
    ended = before.pressed & ~pressure.pressed
    if not np.count_nonzero(ended):
        return pressure
    without = before.since - (before.ended_at + before.hold)
    first = np.maximum(inventory.stabilization, tuning.rest_shortest)
    longer = (2 * before.hold).clip(first, np.maximum(first, tuning.rest_longest))
    again = np.where(without < np.maximum(before.hold, tuning.rest_first), longer, first)
    return pressure.put(ended, ended_at=now, hold=np.where(without < 0, before.hold, again))

"""Recording: a live host's demand as a trace, by the engine's own eyes; nothing on the host is changed.

The engine runs without a policy, so it sees and moves nothing. What counts as a sample, and what demand is, is thereby
the same as when it decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.engine.inventory import DomainFacts, Inventory
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import step
from controller.loop.clock import Clock
from controller.loop.ports import Host
from controller.loop.snapshots import snapshot
from controller.replay.trace import TraceWriter

MIB = 2.0**20
"""Bytes."""

UNUSABLE = (Reason.NO_STATISTICS, Reason.STALE_STATISTICS, Reason.INVALID_STATISTICS, Reason.FUTURE_STATISTICS)
"""Why a running domain does not get into the trace."""

_NODE = NodeIdentity("record")


@dataclass(slots=True)
class Recorder:
    """Looks at every domain once an interval and appends who has something new. For one thread."""

    host: Host
    clock: Clock
    writer: TraceWriter
    left_out: Callable[[str, Reason], None]
    """Told once of each domain that cannot be recorded: its name and why."""
    samples: int = 0
    """Written so far."""
    full: bool = False
    """The file has reached its limit; nothing more is written."""
    _state: State = field(default_factory=State.initial)
    _facts: tuple[DomainFacts, ...] | None = None
    _inventory: Inventory | None = None
    _told: set[tuple[str, Reason]] = field(default_factory=set)

    def run(self, interval_s: float, duration_s: float = np.inf) -> None:
        """Until the clock is stopped, the file is full or the duration is over. Raises MeminfoError, OSError."""
        start = self.clock.monotonic()
        ahead = self.clock.wall() - start
        next_look = start
        while not self.clock.stopped and not self.full and next_look <= start + duration_s:
            self.clock.wait(0.0, max(next_look - self.clock.monotonic(), 0.0))
            if self.clock.monotonic() >= next_look and not self.clock.stopped:
                self.look(ahead)
                next_look = max(next_look + interval_s, self.clock.monotonic())

    def look(self, ahead: float) -> None:
        """One look; times in the trace are monotonic seconds and `ahead`, so that they never go back."""
        inventory = self._refresh()
        samples, moved, felt = self.host.look(inventory.index), self.host.drain_events(), self.host.feel()
        now = self.clock.monotonic()
        seen = snapshot(inventory, samples, self.host.read(), self.clock.wall(), moved=moved, felt=felt, answers={})
        self._state, _ = step(self._state, seen, now)
        observation = self._state.observation
        fresh = np.flatnonzero(observation.fresh_at == now)
        resident = dict(zip(felt.keys, (felt.resident / MIB).tolist(), strict=True))
        rows = [
            (
                now + ahead,
                self._name(inventory, row),
                observation.demand[row] / MIB,
                observation.maximum[row] / MIB,
                resident.get(inventory.keys[row], np.nan),
            )
            for row in fresh.tolist()
        ]
        self._tell(inventory, samples.rows.tolist())
        if rows:
            self.full = not self.writer.append(rows)
            self.samples += 0 if self.full else len(rows)

    def _refresh(self) -> Inventory:
        facts = self.host.inventory()
        if self._inventory is None or facts is not self._facts:
            self._facts = facts
            self._inventory = assign(facts, (), _NODE).inventory
        return self._inventory

    def _name(self, inventory: Inventory, row: int) -> str:
        """Names are unique on a connection only; a namesake on another is told apart by its key."""
        name = inventory.names[row]
        return name if inventory.names.count(name) == 1 else f"{name} ({inventory.keys[row]})"

    def _tell(self, inventory: Inventory, rows: Sequence[int]) -> None:
        for row in rows:
            reason = Reason(int(self._state.observation.trouble[row]))
            key = (inventory.keys[row], reason)
            if reason in UNUSABLE and key not in self._told:
                self._told.add(key)
                self.left_out(inventory.names[row], reason)

"""A node of scripted guests around the real engine: time and memory are made up, every decision is real."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from controller.api.policy import MemoryPolicy
from controller.api.wishes import Wishes
from controller.engine.decision import Action, Decision
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.snapshot import BalloonEvents, HostReading, Life, Outcome, Result, Samples, Snapshot
from controller.engine.state import State
from controller.engine.step import due, step

MIB = 2**20


def policy(name: str = "default", **spec: Any) -> MemoryPolicy:
    """A policy in Enforce with quick stabilisation and a look every second, unless said otherwise."""
    quick = {
        "mode": "Enforce",
        "shrink": {"stabilizationSeconds": 5},
        "limits": {"minimumPercent": 1},
        "spare": "Reclaim",
        "threshold": {"percent": 5},
        "monitoring": {"maximumIntervalSeconds": 1},
    }
    metadata = {"name": name} | spec.pop("metadata", {})
    return MemoryPolicy.model_validate(
        {
            "apiVersion": "ballast.dev/v1alpha1",
            "kind": "MemoryPolicy",
            "metadata": metadata,
            "spec": quick | spec,
        }
    )


@dataclass
class Guest:
    """One scripted guest; sizes in MiB."""

    name: str
    demand: float
    actual: float
    maximum: float = 4096
    definition: float | None = None
    """The maximum where None."""
    autodeflate: bool = False
    resident: bool = True
    obstacle: Reason = Reason.NONE
    wishes: Wishes = field(default_factory=Wishes)
    life: Life = Life.RUNNING
    incarnation: int = 1
    reset_at: float = 0.0
    started_at: float = 0.0
    period: int = 1
    """Seconds between two statistics; 0: none."""
    answers_after: int = 0
    """Seconds that QEMU takes to answer an order, and to obey; 0: at once."""
    grain: float = 0.0
    """MiB that the balloon misses its target by."""
    takes_back: bool = False
    """Deflates its balloon to its maximum a second after each shrink."""
    frozen: bool = False
    """Statistics do not advance."""
    stuck: bool = False
    """The balloon does not move."""
    keeps: float = 0
    """Size below which the guest gives nothing, whatever it reports."""
    slab: float = 0
    """MiB that it counts as usable, and that are neither free nor page cache."""
    moves_at: float = np.inf
    """MiB a second the balloon moves at most."""
    target: float | None = None
    updated: float = 0.0
    statistics: Mapping[str, float] = field(default_factory=dict)
    """Overrides of what the guest reports, in bytes or seconds, by column of Samples."""

    def facts(self) -> DomainFacts:
        return DomainFacts(
            key=self.name,
            uuid=f"00000000-0000-0000-0000-{sum(map(ord, self.name)):012d}",
            name=self.name,
            incarnation=self.incarnation,
            reset_at=self.reset_at,
            started_at=self.started_at,
            statistics_period=self.period,
            maximum=int(self.maximum * MIB),
            definition=int((self.maximum if self.definition is None else self.definition) * MIB),
            autodeflate=self.autodeflate,
            resident=self.resident,
            obstacle=self.obstacle,
            wishes=self.wishes,
        )

    def sample(self) -> dict[str, float]:
        held = min(self.demand, self.actual)
        free = max(self.actual - held - self.slab, 0.0) / 2
        known = {
            "life": float(self.life),
            "actual": self.actual * MIB,
            "maximum": self.maximum * MIB,
            "usable": (self.actual - held) * MIB,
            "unused": free * MIB,
            "caches": free * MIB,
            "available": self.actual * MIB,
            "swap_in": 0.0,
            "swap_out": 0.0,
            "major_faults": 0.0,
            "rss": self.actual * MIB,
            "updated": self.updated,
        }
        return known | dict(self.statistics)


class Node:
    """Guests, policies and the engine's state; `tick` lets a second pass and takes the steps that are due."""

    def __init__(
        self, guests: list[Guest], policies: list[MemoryPolicy] | None = None, host_mib: float = 65536
    ) -> None:
        self.guests = {guest.name: guest for guest in guests}
        self.policies = [policy()] if policies is None else policies
        self.host_mib = host_mib
        self.host_use_mib = 0.0
        self.pressure = False
        self.now = 1000.0
        self.wall_offset = 1.7e9
        self.state = State.initial()
        self.decisions: list[Decision] = []
        self.answers: dict[str, Result] = {}
        """What became of orders since the last step, by name; nothing of those that were done at once."""
        self.refuse_next: str = ""
        self.late: list[tuple[float, int, Action]] = []
        """Orders that QEMU has not answered: when it will, and the run of the guest that they are for."""
        self.merged_mib = 0.0
        self.mark_mib = 0.0
        self.looks: list[tuple[float, str]] = []
        self._inventory_of: Any = None

    @property
    def inventory(self) -> Any:
        facts = tuple(guest.facts() for guest in self.guests.values())
        marker = (facts, tuple(self.policies))
        if self._inventory_of is None or self._inventory_of[0] != marker:
            self._inventory_of = (marker, assign(facts, self.policies, NodeIdentity("node")).inventory)
        return self._inventory_of[1]

    def reset(self, guest: Guest) -> None:
        """The guest boots anew: its balloon is empty, and then goes to where it was sent last."""
        guest.reset_at = self.now + self.wall_offset
        guest.target = guest.actual if guest.target is None else guest.target
        guest.actual = guest.maximum

    def tick(self, seconds: int = 1) -> "Node":
        for _ in range(seconds):
            self.now += 1.0
            self._answer()
            moved = self._move_balloons()
            for guest in self.guests.values():
                if not guest.frozen and guest.period and int(self.now - 1000) % guest.period == 0:
                    guest.updated = self.now + self.wall_offset
            self._step(moved)
        return self

    def step(self) -> None:
        """A step that no look and no balloon asked for, as a policy's change does."""
        self._decide(self.inventory, [], {})

    def _answer(self) -> None:
        """Orders that come late take effect now; one that its guest does not answer for any more is refused."""
        due_now = [(run, action) for at, run, action in self.late if at <= self.now]
        self.late = [each for each in self.late if each[0] > self.now]
        for run, action in due_now:
            guest = self.guests.get(action.name)
            if guest is None or guest.incarnation != run:
                continue
            self._answered(action, Result.REFUSED if self.refuse_next == action.name else Result.DONE)

    def _answered(self, action: Action, result: Result) -> None:
        self.answers[action.name] = result
        if result is Result.DONE:
            self.guests[action.name].target = action.target / MIB
        else:
            self.refuse_next = ""

    def _move_balloons(self) -> dict[str, float]:
        moved = {}
        for guest in self.guests.values():
            if guest.target is None or guest.stuck:
                continue
            if guest.takes_back and guest.actual <= guest.target:
                guest.actual = moved[guest.name] = guest.maximum
                guest.target = None
                continue
            target = guest.target + guest.grain if abs(guest.target - guest.actual) > guest.grain else guest.actual
            goal = max(target, min(max(guest.demand, guest.keeps), guest.actual))
            change = np.clip(goal - guest.actual, -guest.moves_at, guest.moves_at)
            if change:
                guest.actual += float(change)
                moved[guest.name] = guest.actual
        return moved

    def _step(self, moved: Mapping[str, float]) -> None:
        for _ in range(3):  # donors may have to be looked at before anything is taken from them
            inventory = self.inventory
            keys = due(self.state, inventory, self.now)
            if not keys and not moved:
                return
            self._decide(inventory, keys, moved)
            moved = {}

    def _decide(self, inventory: Any, keys: list[str], moved: Mapping[str, float]) -> None:
        self.looks += [(self.now, key) for key in keys]
        reports = [self.guests[key].sample() for key in keys]
        columns = {name: np.array([report[name] for report in reports]) for name in Guest("", 0, 0).sample()}
        life = columns.pop("life").astype(np.int64)
        rows = np.array([inventory.index[key] for key in keys], dtype=np.int64)
        used = sum(guest.actual for guest in self.guests.values()) + self.host_use_mib
        snapshot = Snapshot(
            inventory,
            Samples(rows=rows, life=life, **columns),
            self._reading((self.host_mib - used) * MIB + self.merged_mib * MIB),
            wall=self.now + self.wall_offset,
            events=BalloonEvents(
                np.array([inventory.index[key] for key in moved], dtype=np.int64),
                np.array([size * MIB for size in moved.values()]),
            ),
            outcomes=tuple(
                Outcome(inventory.index[name], result, "by libvirt")
                for name, result in self.answers.items()
                if name in inventory.index
            ),
        )
        self.answers = {}
        self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        self.state, decision = step(self.state, snapshot, self.now)
        self.decisions.append(decision)
        for action in decision.actions:
            self._apply(action)

    def _reading(self, available: float) -> HostReading:
        mark = self.mark_mib * MIB
        pressure = self.pressure or available < mark
        return HostReading(self.host_mib * MIB, available, 0.0, pressure, mark, self.merged_mib * MIB)

    def _apply(self, action: Action) -> None:
        if self.refuse_next == action.name:
            self.answers[action.name] = Result.REFUSED
            self.refuse_next = ""
            return
        guest = self.guests[action.name]
        if guest.answers_after:
            self.answers[action.name] = Result.UNKNOWN
            self.late.append((self.now + guest.answers_after, guest.incarnation, action))
        else:
            guest.target = action.target / MIB

    def actions(self, name: str | None = None) -> list[Action]:
        every = [action for decision in self.decisions for action in decision.actions]
        return [action for action in every if name in (None, action.name)]

    def proposals(self) -> list[Action]:
        return [action for decision in self.decisions for action in decision.proposals]

    def reason(self, name: str) -> Reason:
        return Reason(int(self.state.reason[self.state.inventory.index[name]]))

    def allocated(self) -> float:
        return sum(guest.actual for guest in self.guests.values())

"""A node of scripted guests around the real engine: time and memory are made up, every decision is real."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from controller.api.policy import MemoryPolicy
from controller.api.wishes import Wishes
from controller.engine.decision import Action, Decision
from controller.engine.inventory import DomainFacts, Pod
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.snapshot import (
    BalloonEvents,
    HostReading,
    OrderOutcome,
    OrderResult,
    RunState,
    Samples,
    Snapshot,
)
from controller.engine.state import State
from controller.engine.step import due, stands, step
from controller.engine.view import view

MIB = 2**20
PAGE = 4096
REASONS = {str(reason): reason for reason in Reason}


def policy(name: str = "default", **spec: Any) -> MemoryPolicy:
    """A policy in Enforce with quick stabilisation and a look every second, unless said otherwise."""
    quick = {
        "mode": "Enforce",
        "limits": {"minimumPercent": 1},
        "spare": "Reclaim",
    }
    advanced = {
        "shrink": {"stabilizationSeconds": 5},
        "threshold": {"percent": 5},
        "monitoring": {"maximumIntervalSeconds": 1},
    }
    return default_policy(name, **quick | spec | {"advanced": advanced | spec.get("advanced", {})})


def default_policy(name: str = "default", **spec: Any) -> MemoryPolicy:
    """A policy as a user gets it who writes `mode: Enforce`, and `spec`."""
    return MemoryPolicy.model_validate(
        {
            "apiVersion": "ballast.dev/v1alpha1",
            "kind": "MemoryPolicy",
            "metadata": {"name": name} | spec.pop("metadata", {}),
            "spec": {"mode": "Enforce"} | spec,
        }
    )


@dataclass
class ScriptedGuest:
    """One scripted guest; sizes in MiB, times in seconds."""

    name: str
    demand: float
    actual: float
    maximum: float = 4096
    definition: float | None = None
    """The maximum where None."""
    autodeflate: bool = False
    resident: bool = True
    in_file: bool = False
    devices: float = 0
    """MiB of memory devices beside its balloon, which libvirt counts into its maximum."""
    plugged: float = 0
    """Of these, what libvirt counts into the balloon's size in looks."""
    obstacle: Reason = Reason.NONE
    wishes: Wishes = field(default_factory=Wishes)
    pod: Pod | None = None
    run_state: RunState = RunState.RUNNING
    incarnation: int = 1
    reset_at: float = 0.0
    started_at: float = 0.0
    """Wall time at which it was seen to be started; 0: it ran before anybody looked."""
    frozen: bool = False
    """Statistics do not advance."""
    silent_in_need: bool = False
    """They do not while the guest has less than it needs, as in a swap storm."""
    period: float = 1.0
    """Between two reports of the guest, as its definition has it."""
    page_every: float = np.inf
    """Between two pages that it reads back from swap."""
    page_at: float = 0
    """When the first of them is."""
    reads: float = 0
    """Bytes a second that it reads from files and counts as swapped in, as Windows does."""
    swap_in: float = 0
    """Bytes, since it booted."""
    swap_out: float = 0
    pinned: bool = False
    """The host gets nothing back of what its balloon takes."""
    touched: float = np.inf
    """MiB that it has ever used, at most what it has: the host holds no more of it."""
    overhead: float = 0
    """MiB that QEMU holds beside."""
    held: float = 0
    """MiB of it that the host has held at most."""
    merged: float = 0
    """Of what it holds, the host stores so much only once (KSM); QEMU's resident memory counts it all the same."""
    stuck: bool = False
    """The balloon does not move."""
    keeps: float = 0
    """Size below which the guest gives nothing, whatever it reports."""
    slab: float = 0
    """MiB that it counts as usable, and that are neither free nor page cache."""
    moves_at: float = np.inf
    """MiB a second the balloon moves at most."""
    grain: float = 0
    """MiB in whole multiples of which the balloon moves."""
    misses: float = 0
    """MiB by which the balloon ends short of its target."""
    deflates_to: float | None = None
    """Size to which the guest deflates its balloon against orders, once after each."""
    waits: float = 0.0
    """Time for which an order for it waits for its turn: until then it can be withdrawn."""
    late: float = 0.0
    """Time that libvirt takes to carry out an order for it; nobody knows the outcome until then."""
    late_refusal: bool = False
    """An order that is late is refused in the end."""
    target: float | None = None
    updated: float = 0.0
    """Wall time of its newest report."""
    reported_at: float = -np.inf
    """The same by the monotonic clock."""
    statistics: Mapping[str, float] = field(default_factory=dict)
    """Overrides of what the guest reports, in bytes or seconds, by column of Samples."""
    report: Mapping[str, float] = field(default_factory=dict)
    """What it has told last, likewise."""
    defied: float | None = None
    """Target against which it has deflated its balloon."""

    def facts(self) -> DomainFacts:
        return DomainFacts(
            key=self.name,
            uuid=f"00000000-0000-0000-0000-{sum(map(ord, self.name)):012d}",
            name=self.name,
            incarnation=self.incarnation,
            reset_at=self.reset_at,
            started_at=self.started_at,
            maximum=int(self.maximum * MIB),
            definition=int((self.maximum if self.definition is None else self.definition) * MIB),
            autodeflate=self.autodeflate,
            resident=self.resident,
            in_file=self.in_file,
            devices=int(self.devices * MIB),
            plugged=int(self.plugged * MIB),
            statistics_period=self.period,
            obstacle=self.obstacle,
            wishes=self.wishes,
            pod=self.pod,
        )

    def start_anew(self) -> None:
        """Another QEMU with the same definition."""
        self.incarnation += 1
        self.actual, self.target, self.defied = self.maximum, None, None
        self.run_state, self.statistics, self.report = RunState.RUNNING, {}, {}
        self.swap_in = self.swap_out = self.updated = 0.0
        self.reported_at = -np.inf

    def live(self, now: float) -> None:
        """A second of its life."""
        self.touched = max(self.touched, min(self.demand, self.actual))
        self.held = max(self.held, min(self.actual, self.touched))
        self.swap_in += self.reads + (PAGE if (now - self.page_at) % self.page_every < 1 else 0)

    def tell(self, now: float, wall: float) -> None:
        """Send statistics when they are due."""
        silent = self.frozen or (self.silent_in_need and self.demand > self.actual)
        if silent or now - self.reported_at < self.period:
            return
        self.updated, self.reported_at, self.report = wall, now, self._memory()

    def _memory(self) -> dict[str, float]:
        held = min(self.demand, self.actual)
        free = max(self.actual - held - self.slab, 0.0) / 2
        return {
            "usable": (self.actual - held) * MIB,
            "unused": free * MIB,
            "caches": free * MIB,
            "available": (self.maximum if self.autodeflate else self.actual) * MIB,
            "swap_in": self.swap_in,
            "swap_out": self.swap_out,
            "major_faults": 0.0,
        }

    def resident_mib(self) -> float:
        """What the host holds of its memory, MiB."""
        if self.run_state == RunState.NOT_RUNNING:
            return 0.0
        return self.held if self.pinned else min(self.actual, self.touched)

    def process_mib(self) -> float:
        """What its QEMU holds, MiB."""
        return 0.0 if self.run_state == RunState.NOT_RUNNING else self.resident_mib() + self.overhead

    def sample(self) -> dict[str, float]:
        known = {
            "run_state": float(self.run_state),
            "actual": (self.actual + self.plugged) * MIB,
            "maximum": (self.maximum + self.devices) * MIB,
            "rss": self.process_mib() * MIB,
            "updated": self.updated,
        }
        return known | dict(self.report or self._memory()) | dict(self.statistics)

    def obey(self, target: float) -> None:
        """QEMU has taken an order; the balloon moves from the next second on."""
        self.target, self.defied = target, None

    def goal(self) -> float:
        """Where its balloon goes, MiB."""
        if self.target is None or self.stuck or self.defied == self.target:
            return self.actual
        goal = max(self.target, min(max(self.demand, self.keeps), self.actual))
        way = goal - self.actual
        short = min(self.misses, abs(way))
        goal -= np.copysign(short, way)
        if self.grain and goal != self.actual:
            round_off = np.floor if way > 0 else np.ceil
            goal = float(round_off(goal / self.grain) * self.grain)
            goal = self.actual if (goal - self.actual) * way <= 0 else goal
        return float(goal)

    def move(self) -> bool:
        """Let a second pass for its balloon; True when that changed its size."""
        change = max(-self.moves_at, min(self.goal() - self.actual, self.moves_at))
        if not change and self._deflates():
            change, self.defied = self.deflates_to - self.actual, self.target
        self.actual += change
        return bool(change)

    def _deflates(self) -> bool:
        unwilling = self.deflates_to is not None and self.target is not None and self.run_state == RunState.RUNNING
        return unwilling and self.defied != self.target and self.target < self.deflates_to


COLUMNS = tuple(ScriptedGuest("", 0, 0).sample())
"""Of Samples, but for the rows."""


@dataclass(frozen=True)
class LateOrder:
    """A balloon change that libvirt has not answered yet."""

    action: Action
    incarnation: int
    reset_at: float
    begins: float
    """When libvirt is asked for it."""
    due: float
    refused: bool

    @property
    def name(self) -> str:
        return self.action.name


class ScriptedNode:
    """Guests, policies and the engine's state; `tick` lets a second pass and takes the steps that are due."""

    def __init__(
        self, guests: list[ScriptedGuest], policies: list[MemoryPolicy] | None = None, host_mib: float = 65536
    ) -> None:
        self.guests = {guest.name: guest for guest in guests}
        self.policies = [policy()] if policies is None else policies
        self.host_mib = host_mib
        self.host_use_mib = 0.0
        self.pressure = False
        self.mark = 0.0
        """Part of the host that has to be available; with less it is under pressure. 0: `pressure` alone says so."""
        self.now = 1000.0
        self.wall_offset = 1.7e9
        self.state = State.initial()
        self.decisions: list[Decision] = []
        self.refuse_next: str = ""
        self.late_orders: list[LateOrder] = []
        self.outcomes: list[tuple[str, OrderResult]] = []
        """Not told yet, by name of the guest."""
        self.looks: list[tuple[float, str]] = []
        self._inventory_of: Any = None

    @property
    def inventory(self) -> Any:
        facts = tuple(guest.facts() for guest in self.guests.values())
        marker = (facts, tuple(self.policies))
        if self._inventory_of is None or self._inventory_of[0] != marker:
            self._inventory_of = (marker, assign(facts, self.policies, NodeIdentity("node")).inventory)
        return self._inventory_of[1]

    @property
    def wall(self) -> float:
        return self.now + self.wall_offset

    def reset(self, guest: ScriptedGuest) -> None:
        """The guest boots anew: its balloon is empty, and then goes to where it was sent last."""
        guest.reset_at = self.wall
        guest.target = guest.actual if guest.target is None else guest.target
        guest.actual, guest.defied = guest.maximum, None
        guest.swap_in = guest.swap_out = 0.0

    def tick(self, seconds: int = 1) -> "ScriptedNode":
        for _ in range(seconds):
            self._step(self._live())
        return self

    def tick_unattended(self, seconds: int) -> "ScriptedNode":
        """The controller is held up meanwhile; what it learns of balloons it learns by its next look."""
        for _ in range(seconds):
            self._live()
        return self

    def _live(self) -> dict[str, float]:
        self.now += 1.0
        self._answer_late()
        moved = self._move_balloons()
        for guest in self.guests.values():
            guest.live(self.now)
            guest.tell(self.now, self.wall)
        return moved

    def step(self) -> None:
        """A step that no look and no balloon asked for, as a policy's change does."""
        self._decide(self.inventory, [], {})

    def _move_balloons(self) -> dict[str, float]:
        return {guest.name: guest.actual for guest in self.guests.values() if guest.move()}

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
        columns = {name: np.array([report[name] for report in reports]) for name in COLUMNS}
        run_state = columns.pop("run_state").astype(np.int64)
        rows = np.array([inventory.index[key] for key in keys], dtype=np.int64)
        snapshot = Snapshot(
            inventory,
            Samples(rows=rows, run_state=run_state, **columns),
            self.reading(),
            wall=self.wall,
            events=BalloonEvents(
                np.array([inventory.index[key] for key in moved], dtype=np.int64),
                np.array([size * MIB for size in moved.values()]),
            ),
            outcomes=self._tell_outcomes(inventory),
        )
        self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        self.state, decision = step(self.state, snapshot, self.now)
        self.decisions.append(decision)
        self._withdraw()
        for action in decision.actions:
            self._apply(action)

    def reading(self) -> HostReading:
        """The host as it is."""
        merged = sum(min(guest.merged, guest.process_mib()) for guest in self.guests.values())
        resident = sum(guest.process_mib() for guest in self.guests.values())
        available = self.host_mib - (resident - merged + self.host_use_mib)
        pressure = self.pressure or available < self.mark * self.host_mib
        return HostReading(
            self.host_mib * MIB,
            available * MIB,
            pressure=pressure,
            mark=self.mark * self.host_mib * MIB,
            merged=merged * MIB,
        )

    def _apply(self, action: Action) -> None:
        guest = self.guests[action.name]
        if self.refuse_next == action.name:
            self.outcomes.append((action.name, OrderResult.REFUSED))
            self.refuse_next = ""
            return
        before = [order.due for order in self.late_orders if order.name == action.name]
        begins = self.now + guest.waits
        answered = max([begins + guest.late, *before])  # libvirt carries out one after the other
        if answered == self.now:
            guest.obey(action.target / MIB)
            return
        self.outcomes.append((action.name, OrderResult.UNKNOWN))
        self.late_orders.append(
            LateOrder(action, guest.incarnation, guest.reset_at, begins, answered, guest.late_refusal)
        )

    def _withdraw(self) -> None:
        """Orders that wait for their turn are not sent where they would not be given any more, as the loop has it."""
        for order in [order for order in self.late_orders if order.begins > self.now]:
            guest = self.guests.get(order.name)
            same_life = guest and (guest.incarnation, guest.reset_at) == (order.incarnation, order.reset_at)
            if not same_life or not stands(order.action, self.state):
                self.late_orders.remove(order)
                self.outcomes.append((order.name, OrderResult.WITHDRAWN))

    def _answer_late(self) -> None:
        answered = [order for order in self.late_orders if order.due <= self.now]
        self.late_orders = [order for order in self.late_orders if order.due > self.now]
        for order in answered:
            guest = self.guests.get(order.name)
            if guest is None or guest.incarnation != order.incarnation:
                continue
            if not order.refused:
                guest.obey(order.action.target / MIB)
            if order.name not in {later.name for later in self.late_orders}:
                self.outcomes.append((order.name, OrderResult.REFUSED if order.refused else OrderResult.DONE))

    def _tell_outcomes(self, inventory: Any) -> tuple[OrderOutcome, ...]:
        newest = dict(self.outcomes)
        known = [(inventory.index[name], result) for name, result in newest.items() if name in inventory.index]
        self.outcomes = []
        said = {
            OrderResult.DONE: "",
            OrderResult.REFUSED: "another job is running",
            OrderResult.UNKNOWN: "no answer within 2 s",
            OrderResult.WITHDRAWN: "taken back",
        }
        return tuple(OrderOutcome(row, result, said[result]) for row, result in known)

    def actions(self, name: str | None = None) -> list[Action]:
        every = [action for decision in self.decisions for action in decision.actions]
        return [action for action in every if name in (None, action.name)]

    def moves(self, name: str | None = None) -> list[Action]:
        """Those of the orders that are reallocations."""
        return [action for action in self.actions(name) if action.reason.moves]

    def proposals(self) -> list[Action]:
        return [action for decision in self.decisions for action in decision.proposals]

    def notices(self) -> list[Reason]:
        return [notice.reason for decision in self.decisions for notice in decision.notices]

    def domain(self, name: str) -> dict[str, Any]:
        """What a person is shown of a guest."""
        return next(domain for domain in view(self.state, self.now)["domains"] if domain["name"] == name)

    def shown(self) -> dict[str, Any]:
        """What a person is shown of the node."""
        return dict(view(self.state, self.now)["node"])

    def reason(self, name: str) -> Reason:
        return REASONS[self.domain(name)["reason"]]

    def allocated(self) -> float:
        return sum(guest.actual for guest in self.guests.values())


def node(*guests: ScriptedGuest, **settings: Any) -> ScriptedNode:
    """A node of these guests; `settings` as `ScriptedNode` takes them."""
    return ScriptedNode(list(guests), **settings)


def to_the_first_order(world: ScriptedNode, name: str | None = None) -> None:
    """Let time pass until the controller has ordered something, of the guest `name` where one is given."""
    while not world.actions(name):
        world.tick()

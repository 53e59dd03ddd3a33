"""Ballast itself in the simulated world: the very engine that runs live, fed by readings instead of libvirt."""

from uuid import NAMESPACE_DNS, uuid5

import numpy as np

from controller.api.policy import MemoryPolicy, NodeSelector, Part
from controller.engine.inventory import DomainFacts, Inventory, NodeBudget
from controller.engine.ownership import NodeIdentity, assign, node_budget
from controller.engine.snapshot import HostReading, RunState, Samples
from controller.engine.state import State
from controller.engine.step import DEFAULT, alert_at, next_due, step
from controller.engine.tables import Ints
from controller.engine.tuning import Tuning
from controller.host.senses import Feelings
from controller.loop.alarms import Alarms
from controller.loop.snapshots import snapshot
from controller.replay.feeling import Feeling
from controller.replay.world import SimulatedHost

MIB = 2.0**20
"""Bytes."""

NODE = NodeIdentity("replay")

MONOTONIC_START = 14 * 86400.0
"""Seconds on the engine's clock at the first instant: it is never near zero on a real host either. A multiple of all
usual intervals, so that looks meet guests' reports as those of other controllers do."""

WALL_OFFSET = 1.7e9
"""Seconds by which the wall clock, whose times guests report, is ahead of the engine's."""

OVERCOMMITTED_MIB = 1.0
"""MiB above the host's memory at which it swaps; less is rounding."""


class ReplayedBallast:
    """Drives the engine with one policy, in Enforce whatever it says: a replay that changes nothing shows nothing.

    Looks more often than guests report would show nothing new: intervals are never shorter than the statistics period.
    """

    hears = True

    def __init__(self, policy: MemoryPolicy, tuning: Tuning = DEFAULT, *, feels: bool = True) -> None:
        """`feels`: it knows what guests hold of the host between looks, as where /proc can be read."""
        self.feels = feels
        self._policy = policy
        self._tuning = tuning
        self.state = State.initial()
        """All the engine knows: for who draws or explains what it does."""
        self._inventory: Inventory | None = None
        self._generation = -1
        self._rows: Ints = np.empty(0, dtype=np.int64)
        self._feeling = Feeling()
        self._alarms = Alarms()

    def start(self, world: SimulatedHost) -> None:
        """Nothing is known yet; every domain is due at once."""
        self._offset = MONOTONIC_START - world.now
        self._fitted = enforced(self._policy, world.period_s)
        self._refresh(world)

    def next_look(self) -> float:
        """When the first domain falls due."""
        assert self._inventory is not None
        return min(next_due(self.state, self._inventory, -np.inf), self._alarms.next_due()) - self._offset

    def act(self, world: SimulatedHost) -> None:
        """One step of the engine: read whoever is due, hear of balloons that moved, order what it decides. No step
        is taken where all that happened is that growth was felt, and wakes nobody.
        """
        inventory = self._refresh(world)
        now = world.now + self._offset
        felt = self._feeling.feel(world, now) if self.feels else Feelings()
        self._alarms.hear(felt, self.state, now)
        keys, moved = self._alarms.whom_to_ask(self.state, inventory, now), world.resized()
        changed = inventory is not self.state.inventory
        if not (keys or felt.woke or len(moved) or changed or self._alarms.next_due() <= now):
            return
        seen = snapshot(
            inventory,
            self._look(world, np.array([inventory.index[key] for key in keys], dtype=np.int64)),
            HostReading(world.total_mib * MIB, world.free_mib() * MIB, pressure=_swaps(world)),
            now + WALL_OFFSET,
            moved={world.domains[row]: world.allocation[row] * MIB for row in moved.tolist()},
            felt=felt,
            answers={},
        )
        self.state, decision = step(self.state, seen, now, self._tuning)
        self._alarms.settle(self.state, keys, now)
        if self.feels:
            self._feeling.alert_at(inventory.keys, alert_at(self.state, self._tuning))
        if decision.actions:
            rows = self._rows[[action.row for action in decision.actions]]
            world.order(rows, np.array([action.target for action in decision.actions]) / MIB)

    def _refresh(self, world: SimulatedHost) -> Inventory:
        if self._inventory is None or world.generation != self._generation:
            self._generation = world.generation
            self._rows = world.rows
            facts = [_facts(world, row) for row in world.rows.tolist()]
            self._feeling.follow(facts)
            self._inventory = assign(facts, [self._fitted], NODE).inventory
        return self._inventory

    def _look(self, world: SimulatedHost, places: Ints) -> Samples:
        if len(places) == 0:
            return Samples.empty()
        seen = world.read(self._rows[places])
        size = seen.allocation * MIB
        unused, nothing = seen.unused * MIB, np.full(len(places), np.nan)
        return Samples(
            rows=places,
            run_state=np.full(len(places), int(RunState.RUNNING)),
            actual=size,
            maximum=seen.maximum * MIB,
            usable=unused,
            unused=unused,
            caches=nothing,
            available=(seen.used + seen.unused) * MIB,
            swap_in=seen.swap_in * MIB,
            swap_out=nothing,
            major_faults=seen.major_faults,
            rss=size,
            updated=seen.updated + self._offset + WALL_OFFSET,
        )


_HERE = {"mode": "Enforce", "node_selector": NodeSelector(), "rollout": None}
"""Of a spec, what has it act on whatever node a trace is of."""


def enforced(policy: MemoryPolicy, period_s: float) -> MemoryPolicy:
    """`policy` in Enforce on whatever node a trace is of, its intervals no shorter than `period_s` seconds."""
    monitoring = policy.spec.advanced.monitoring
    shortest = max(monitoring.minimum_interval_seconds, int(np.ceil(period_s)))
    longest = max(monitoring.maximum_interval_seconds, shortest)
    fitted = monitoring.model_copy(update={"minimum_interval_seconds": shortest, "maximum_interval_seconds": longest})
    tuned = _tuned(policy, monitoring=fitted)
    return tuned.model_copy(update={"spec": tuned.spec.model_copy(update=_HERE)})


def budget_of(policy: MemoryPolicy) -> NodeBudget:
    """What is kept of a host on which this is the only policy."""
    return node_budget([policy], NODE.budget)


def reserve_mib(policy: MemoryPolicy, host_mib: float) -> float:
    """MiB of a host of `host_mib` that the engine keeps from its guests."""
    return budget_of(policy).kept(host_mib * MIB) / MIB


def host_with(policy: MemoryPolicy, mib: float) -> float:
    """MiB of the smallest host that has `mib` left for guests beside the reserve."""
    budget = budget_of(policy)
    return max(mib + budget.reserve / MIB, mib / (1 - budget.reserve_fraction))


def with_model(policy: MemoryPolicy, kind: str) -> MemoryPolicy:
    """`policy` with the forecast model `kind`, its parameters those of the policy where it is the policy's own."""
    model = policy.spec.advanced.model
    return policy if kind == model.type else _tuned(policy, model=model.turned(kind))


def with_fixed_looks(policy: MemoryPolicy) -> MemoryPolicy:
    """`policy` without adaptive looks: every domain is looked at each shortest interval."""
    monitoring = policy.spec.advanced.monitoring
    fixed = monitoring.model_copy(update={"maximum_interval_seconds": monitoring.minimum_interval_seconds})
    return _tuned(policy, monitoring=fixed)


def _tuned(policy: MemoryPolicy, **blocks: Part) -> MemoryPolicy:
    """`policy` with these blocks of `advanced`."""
    advanced = policy.spec.advanced.model_copy(update=blocks)
    return policy.model_copy(update={"spec": policy.spec.model_copy(update={"advanced": advanced})})


def _facts(world: SimulatedHost, row: int) -> DomainFacts:
    name = world.domains[row]
    maximum = int(world.maximum[row] * MIB)
    return DomainFacts(
        key=name,
        uuid=str(uuid5(NAMESPACE_DNS, name)),
        name=name,
        incarnation=1,
        maximum=maximum,
        definition=maximum,
        autodeflate=world.autodeflate,
    )


def _swaps(world: SimulatedHost) -> bool:
    return float(world.allocation.sum()) > world.total_mib + OVERCOMMITTED_MIB

"""A node of very many domains, made up as arrays: what one step of the engine is fed with."""

import numpy as np
from numpy.typing import NDArray

from controller.api.policy import MemoryPolicy
from controller.engine.decision import Decision
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.snapshot import HostReading, Samples, Snapshot
from controller.engine.state import State
from controller.engine.step import step

Floats = NDArray[np.float64]

MIB = 2**20
EPOCH = 1.7e9
"""Wall clock at monotonic 0, seconds."""
MAXIMUM_MIB = 4096
DEMAND_MIB = (512.0, 1536.0)
"""Calm domains lie in between."""
NOISE = 0.002
"""Part of its demand by which a calm domain varies from look to look."""
BUSY_SHARE = 0.03
"""Part of the domains whose demand moves: a ramp up and down each, in phases of their own."""
RAMP_MIB = 512.0
RAMP_S = 120.0
"""Of a whole ramp, up and down."""
SURGE = 0.1
"""A storm's step of demand, as a part of it: nearly all of the headroom, so that the guest is short and has to grow."""

HOST_SHARE = 0.45
"""Memory of the host, as a part of all domains' maxima: enough for their demand, not for everybody's wishes."""


class Crowd:
    """`size` domains whose balloons obey at once, and the engine's state. Reproducible."""

    def __init__(self, size: int, spare: str) -> None:
        """`spare`: what the policy says of memory that nobody needs, `Share` or `Reclaim`."""
        facts = [_facts(number) for number in range(size)]
        self.inventory = assign(facts, [_policy(spare)], NodeIdentity("node")).inventory
        self.state = State.initial()
        self._random = np.random.default_rng(size)
        self._calm = self._random.uniform(*DEMAND_MIB, size)
        self._busy = self._random.random(size) < BUSY_SHARE
        self._phase = self._random.uniform(0, RAMP_S, size)
        self._now = 1000.0
        self._actual = np.ceil(self._demand() * 1.12 + 1)

    def next(self) -> tuple[State, Snapshot, float]:
        """Arguments of the next step: a second later, all domains due with fresh samples."""
        self._now += 1.0
        return self.state, self._look(), self._now

    def take(self, outcome: tuple[State, Decision]) -> int:
        """Let balloons follow; how many were asked to move."""
        self.state, decision = outcome
        for action in decision.actions:
            self._actual[action.row] = action.target / MIB
        return len(decision.actions)

    def run(self, steps: int) -> None:
        """That many steps."""
        for _ in range(steps):
            self.take(step(*self.next()))

    def surge(self, part: float) -> None:
        """Demand of this part of the domains makes a step, once and for all, at the next look."""
        chosen = self._random.random(len(self._calm)) < part
        self._calm = np.where(chosen, self._calm * (1 + SURGE), self._calm)

    def _demand(self) -> Floats:
        ramp = 1 - abs(2 * ((self._now + self._phase) / RAMP_S % 1) - 1)
        noise = 1 + NOISE * self._random.standard_normal(len(self._calm))
        return self._calm * noise + self._busy * ramp * RAMP_MIB

    def _look(self) -> Snapshot:
        actual = self._actual * MIB
        usable = np.maximum(actual - self._demand() * MIB, 0.0)
        size = len(actual)
        samples = Samples(
            rows=np.arange(size),
            run_state=np.zeros(size, dtype=np.int64),
            actual=actual,
            maximum=np.full(size, float(MAXIMUM_MIB * MIB)),
            usable=usable,
            unused=usable / 2,
            caches=usable / 2,
            available=actual,
            swap_in=np.zeros(size),
            swap_out=np.zeros(size),
            major_faults=np.zeros(size),
            rss=actual,
            updated=np.full(size, self._now + EPOCH),
        )
        total = HOST_SHARE * size * MAXIMUM_MIB * MIB
        return Snapshot(self.inventory, samples, HostReading(total, total - float(actual.sum())), self._now + EPOCH)


def _policy(spare: str) -> MemoryPolicy:
    """The defaults, but every domain is due every second, and soon gives back what it needed for a while."""
    spec = {
        "mode": "Enforce",
        "spare": spare,
        "advanced": {"shrink": {"stabilizationSeconds": 10}, "monitoring": {"maximumIntervalSeconds": 1}},
    }
    head = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "crowd"}}
    return MemoryPolicy.model_validate(head | {"spec": spec})


def _facts(number: int) -> DomainFacts:
    size = MAXIMUM_MIB * MIB
    uuid = f"00000000-0000-0000-0000-{number:012d}"
    return DomainFacts(key=uuid, uuid=uuid, name=f"domain-{number}", incarnation=1, maximum=size, definition=size)

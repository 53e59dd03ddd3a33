"""Very many guests that come at once. They and their libvirt are made up, and so is time: no machine at hand has the
memory. Ballast's own part is all there, from its loop down to its libvirt calls.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import libvirt

from benchmarks.recorded import OnePolicy
from controller.api.policy import MemoryPolicy
from controller.engine.reasons import Reason
from controller.host.host import LibvirtHost
from controller.host.sources import Source
from controller.loop.control import ControlLoop, Iteration
from controller.observe.statusstore import StatusStore
from faulting.fault import FaultResult
from lab.daemons import until
from lab.fake_libvirt import REPLY, SOURCE, FakeDomain, FakeHandle

KIB = 1024
MIB = 1024 * KIB
GUESTS = 200
MAXIMUM_MIB = 1024
START_MIB = 512
BUDGET_MIB = GUESTS * START_MIB
"""Used up when all have come: who needs more than it started with gets it from others."""
DEMAND_MIB = (100, 700)
"""Of a guest, from its boot on; four fifths of the budget together."""
BOOT_S = (2, 8)
"""Until a guest sends statistics."""
MIB_A_SECOND = 200
"""That a balloon moves."""
PATIENCE_S = 300
"""Until all are served, by their own time."""
READ_S = 10.0
"""Deadline, by our time, for Ballast to read the new guests' definitions."""
SEED = 200


@dataclass
class SimulatedTime:
    """Passes when told."""

    now: float = 1000.0
    epoch: float = 1.7e9
    stopped: bool = False

    def monotonic(self) -> float:
        """See controller.loop.clock.Clock."""
        return self.now

    def wall(self) -> float:
        """See controller.loop.clock.Clock."""
        return self.epoch + self.now

    def wait(self, at_least: float, at_most: float) -> None:
        """Never called: the loop is taken round by round."""
        raise NotImplementedError


class Comer(FakeDomain):
    """A guest that boots, and uses `demand_mib` from then on; its balloon goes where it is told."""

    def __init__(self, number: int, demand_mib: int, boots_s: int, time: SimulatedTime) -> None:
        super().__init__(number)
        self.demand = demand_mib * KIB
        self.size = self.target = START_MIB * KIB
        self.amiss = 0
        """Orders below demand, above the maximum, or given twice."""
        self._time = time
        self._speaks_at = time.now + boots_s

    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802 - libvirt's name
        """What it is defined as."""
        sizes = f"<memory unit='MiB'>{MAXIMUM_MIB}</memory><currentMemory unit='MiB'>{START_MIB}</currentMemory>"
        devices = "<devices><memballoon model='virtio'><stats period='1'/></memballoon></devices>"
        return f"<domain>{sizes}{devices}</domain>"

    def setMemoryFlags(self, kib: int, flags: int) -> None:  # noqa: N802 - libvirt's name
        """Taken note of, and judged."""
        super().setMemoryFlags(kib, flags)
        self.amiss += kib < min(self.demand, self.size) or kib > MAXIMUM_MIB * KIB or kib == self.target
        self.target = kib

    def reply(self) -> dict[str, int]:
        """As a real guest of this size would tell."""
        told = REPLY | {"balloon.current": self.size, "balloon.maximum": MAXIMUM_MIB * KIB, "balloon.rss": self.size}
        if self._time.now < self._speaks_at:
            return told | {"balloon.usable": 0, "balloon.unused": 0, "balloon.available": 0, "balloon.last-update": 0}
        left = max(self.size - self.demand, 0)
        guest = {"balloon.usable": left, "balloon.unused": left // 2, "balloon.available": self.size}
        return told | guest | {"balloon.last-update": int(self._time.wall())}

    def move(self) -> bool:
        """A second's way of the balloon; True when it moved."""
        way = max(-MIB_A_SECOND * KIB, min(MIB_A_SECOND * KIB, self.target - self.size))
        self.size += way
        return way != 0


@dataclass
class SimulatedCrowd:
    """The made-up host, and what happened on it."""

    proc: Path
    time: SimulatedTime = field(default_factory=SimulatedTime)
    handle: FakeHandle = field(default_factory=FakeHandle)
    comers: list[Comer] = field(default_factory=list)
    reasons: Counter[Reason] = field(default_factory=Counter)
    over_budget: int = 0
    """Seconds in which more was given away than there is."""

    def come(self, host: LibvirtHost) -> None:
        """All guests start, and libvirt tells of each."""
        chance = random.Random(SEED)  # noqa: S311 - nothing secret
        demands = [(chance.randint(*DEMAND_MIB), chance.randint(*BOOT_S)) for _ in range(GUESTS)]
        self.comers = [Comer(number, *drawn, self.time) for number, drawn in enumerate(demands, 1)]
        self.handle.domains = [*self.comers]
        for comer in self.comers:
            started = self.handle.callbacks[libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE]
            started(self.handle, comer, libvirt.VIR_DOMAIN_EVENT_STARTED, 0, None)
        until(lambda: len(host.inventory()) == GUESTS, READ_S, "all guests known")

    def pass_second(self, loop: ControlLoop) -> None:
        """Balloons move, and Ballast takes a round."""
        self.time.now += 1
        for comer in self.comers:
            if comer.move():
                moved = self.handle.callbacks[libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE]
                moved(self.handle, comer, comer.size, None)
        self.write_meminfo()
        self._note(loop.iterate())

    def write_meminfo(self) -> None:
        """A host of twice the budget, of which guests hold what they have."""
        total = 2 * BUDGET_MIB * KIB
        sizes = {"MemTotal": total, "MemAvailable": total - sum(comer.size for comer in self.comers)}
        lines = sizes | {"SwapTotal": 0, "SwapFree": 0}
        (self.proc / "meminfo").write_text("".join(f"{name}: {kib} kB\n" for name, kib in lines.items()))

    def served(self) -> bool:
        """All have what they need."""
        return all(comer.size >= comer.demand for comer in self.comers)

    def _note(self, outcome: Iteration) -> None:
        self.reasons.update(notice.reason for notice in outcome.decision.notices)
        self.over_budget += sum(max(comer.size, comer.target) for comer in self.comers) > BUDGET_MIB * KIB


@dataclass(frozen=True, slots=True)
class CrowdFault:
    """GUESTS guests at once."""

    name: str = "guests-at-once"
    done: str = (
        f"{GUESTS} guests come at once, and use up the budget (made up: guests, libvirt and time; not Ballast from its "
        "loop to its libvirt calls)"
    )

    def carry_out(self) -> FaultResult:
        """See Fault."""
        with tempfile.TemporaryDirectory() as folder:
            crowd = SimulatedCrowd(Path(folder))
            crowd.write_meminfo()
            with _ballast(crowd) as (host, loop):
                loop.iterate()
                crowd.come(host)
                since = crowd.time.now
                crowd.pass_second(loop)
                while not crowd.served() and crowd.time.now - since < PATIENCE_S:
                    crowd.pass_second(loop)
            return self._judged(crowd, since)

    def _judged(self, crowd: SimulatedCrowd, since: float) -> FaultResult:
        short = sum(comer.size < comer.demand for comer in crowd.comers)
        recovered = None if short else crowd.time.now - since
        lost = sum(comer.amiss for comer in crowd.comers) + crowd.over_budget
        seen = "; ".join(f"{count} guests: {reason}" for reason, count in crowd.reasons.items())
        return FaultResult(self.name, self.done, short, lost, recovered, seen or "its orders, no more")


@contextmanager
def _ballast(crowd: SimulatedCrowd) -> Iterator[tuple[LibvirtHost, ControlLoop]]:
    host = LibvirtHost([Source(SOURCE, lambda: crowd.handle)], crowd.proc)
    host.start()
    try:
        loop = ControlLoop(host, OnePolicy(_policy()), crowd.time, StatusStore("node", crowd.time.monotonic))
        yield host, loop
    finally:
        host.close()


def _policy() -> MemoryPolicy:
    """The defaults, in force."""
    head = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "crowd"}}
    return MemoryPolicy.model_validate(head | {"spec": {"mode": "Enforce", "budget": {"maximum": f"{BUDGET_MIB}Mi"}}})


FAULTS = (CrowdFault(),)

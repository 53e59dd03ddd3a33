"""A node without libvirt, time or threads: guests that are told what they use, and a clock that jumps."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from controller.api.documents import load
from controller.engine.decision import Action
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity
from controller.engine.snapshot import HostReading, OrderOutcome, OrderResult, Samples
from controller.engine.tables import Floats
from controller.host.look import read, to_samples
from controller.host.senses import Feelings, Sense
from controller.loop.control import ControlLoop
from controller.observe.statusstore import StatusStore

MIB = 2**20
EPOCH = 1_700_000_000.0


class FakeClock:
    """Time passes only in `wait`: all of it at once, unless `interrupt` says after how many seconds it is woken."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.stopped = False
        self.waits: list[tuple[float, float]] = []
        self.interrupt: Callable[[], float | None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now

    def wait(self, at_least: float, at_most: float) -> None:
        self.waits.append((at_least, at_most))
        woken_after = self.interrupt()
        self.now += at_most if woken_after is None else max(at_least, min(woken_after, at_most))


@dataclass
class FakeConnection:
    uri: str = "qemu:///system"
    connected: bool = True
    error: str = ""


@dataclass
class FakeHost:
    """Guests whose balloons obey at once, and a record of everything that was asked."""

    clock: FakeClock
    facts: tuple[DomainFacts, ...] = ()
    actual: dict[str, int] = field(default_factory=dict)
    demand: dict[str, int] = field(default_factory=dict)
    connection: FakeConnection = field(default_factory=FakeConnection)
    events: dict[str, int] = field(default_factory=dict)
    answers: dict[str, tuple[OrderResult, str]] = field(default_factory=dict)
    """Late ones, to orders whose outcome was unknown."""
    slab: dict[str, int] = field(default_factory=dict)
    """Bytes that guests count as usable, and that are neither free nor page cache."""
    periods: dict[str, int] = field(default_factory=dict)
    """Whole seconds between two statistics of a guest; 1 where there is none."""
    sent_after: float = 0.0
    """Seconds after the whole one, which is told as its time, that statistics are sent."""
    silent: set[str] = field(default_factory=set)
    """Guests that send no statistics."""
    stuck: set[str] = field(default_factory=set)
    """Guests whose balloons do not move."""
    refusing: dict[str, str] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    """Domains whose orders libvirt does not answer in time; `take` has one taken after all."""
    pending: dict[str, Action] = field(default_factory=dict)
    """Their orders, by key."""
    withdrawn_at: int | None = None
    """How many looks there were when the last of them was taken back."""
    looks: list[list[str]] = field(default_factory=list)
    applied: list[Action] = field(default_factory=list)
    lost: list[Action] = field(default_factory=list)
    """Orders that were refused as the connection was down."""
    ensured: dict[str, int] = field(default_factory=dict)
    restored: list[str] = field(default_factory=list)
    resident: dict[str, int] = field(default_factory=dict)
    """Bytes that are felt of guests; nothing is of others."""
    grown: dict[str, int] = field(default_factory=dict)
    """Bytes by which guests have just been felt to grow; told once."""
    alerts: dict[str, float] = field(default_factory=dict)
    """Resident bytes from which on growth wakes the loop."""
    stalled: set[str] = field(default_factory=set)
    """Guests whose QEMU has just stalled for memory; told once."""
    pause: float = 0.0
    """Seconds by which growth may be felt late."""

    def add(
        self, name: str, actual: int = 1024, demand: int = 256, maximum: int = 2048, started_at: float = 0.0
    ) -> str:
        """A running domain; sizes in MiB. Its key is its name."""
        domain = DomainFacts(name, name, name, 1, maximum * MIB, maximum * MIB, started_at=started_at)
        self.facts = (*self.facts, domain)
        self.actual[name], self.demand[name] = actual * MIB, demand * MIB
        return name

    def remove(self, key: str) -> None:
        self.facts = tuple(each for each in self.facts if each.key != key)

    def change(self, key: str, **facts: object) -> None:
        self.facts = tuple(replace(each, **facts) if each.key == key else each for each in self.facts)

    def inventory(self) -> tuple[DomainFacts, ...]:
        return self.facts

    def look(self, rows: Mapping[str, int]) -> Samples:
        self.looks.append(list(rows))
        if not self.connection.connected:
            return Samples.empty()
        return to_samples(read(list(rows), [self._reply(key) for key in rows]), rows)

    def _reply(self, key: str) -> dict[str, float]:
        facts = next(each for each in self.facts if each.key == key)
        known = {
            "state.state": 1,
            "state.reason": 1,
            "balloon.current": self.actual[key] // 1024,
            "balloon.maximum": facts.maximum // 1024,
            "balloon.rss": self.actual[key] // 1024,
        }
        return known if key in self.silent else known | self._statistics(key)

    def _statistics(self, key: str) -> dict[str, float]:
        return {
            "balloon.usable": (self.actual[key] - self.demand[key]) // 1024,
            "balloon.unused": (self.actual[key] - self.demand[key] - self.slab.get(key, 0)) // 1024,
            "balloon.disk_caches": 0,
            "balloon.available": self.actual[key] // 1024,
            "balloon.swap_in": 0,
            "balloon.swap_out": 0,
            "balloon.major_fault": 0,
            "balloon.last-update": self._sent_at(key),
        }

    def _sent_at(self, key: str) -> int:
        period = self.periods.get(key, 1)
        return int((self.clock.wall() - self.sent_after) // period * period)

    def apply(self, actions: Sequence[Action]) -> tuple[OrderOutcome, ...]:
        if not self.connection.connected:
            self.lost += actions
            return tuple(OrderOutcome(each.row, OrderResult.REFUSED, "the connection is down") for each in actions)
        refused = tuple(
            OrderOutcome(each.row, OrderResult.REFUSED, self.refusing[each.key])
            for each in actions
            if each.key in self.refusing
        )
        for action in actions:
            if action.key in self.late:
                self.pending[action.key] = action
            elif action.key not in self.refusing:
                self._carry_out(action)
        unknown = tuple(
            OrderOutcome(each.row, OrderResult.UNKNOWN, "no answer") for each in actions if each.key in self.late
        )
        return refused + unknown

    def withdraw(self, stands: Callable[[Action], bool]) -> None:
        for key in [key for key, action in self.pending.items() if not stands(action)]:
            del self.pending[key]
            self.answers[key] = (OrderResult.WITHDRAWN, "taken back")
            self.withdrawn_at = len(self.looks)

    def take(self, key: str) -> None:
        """QEMU takes the late order to a domain, and libvirt answers."""
        self._carry_out(self.pending.pop(key))
        self.answers[key] = (OrderResult.DONE, "")

    def _carry_out(self, action: Action) -> None:
        self.applied.append(action)
        if action.key not in self.stuck:
            self.actual[action.key] = action.target

    def drain_answers(self) -> dict[str, tuple[OrderResult, str]]:
        answers, self.answers = self.answers, {}
        return answers

    def drain_events(self) -> dict[str, int]:
        events, self.events = self.events, {}
        return events

    def grow(self, key: str, mib: int) -> None:
        """The guest takes memory into use that is new to it: all of that is demand."""
        self.demand[key] += mib * MIB
        self.feel_growth(key, mib)

    def feel_growth(self, key: str, mib: int) -> None:
        """Its QEMU's resident size grows, for whatever reason."""
        self.resident[key] += mib * MIB
        self.grown[key] = mib * MIB

    def alert_at(self, keys: tuple[str, ...], resident: Floats) -> None:
        self.alerts = dict(zip(keys, resident.tolist(), strict=True))

    def feel(self) -> Feelings:
        keys = tuple(self.resident)
        resident, grew = np.array([*self.resident.values()]), np.array([self.grown.get(key, 0) for key in keys])
        woke = frozenset(key for key in self.grown if self.resident[key] >= self.alerts.get(key, 0.0))
        self.grown = {}
        stalled, self.stalled = frozenset(self.stalled), set()
        since = np.full(len(keys), self.clock.now - 0.25)
        return Feelings(keys, resident.astype(np.float64), grew, since, woke, stalled, self.pause)

    def senses(self) -> tuple[Sense, ...]:
        resident = Sense("resident", "/proc/PID/statm", len(self.resident), cpu_percent=0.125)
        return (resident, Sense("pressure", "PSI", len(self.facts)))

    def read(self) -> HostReading:
        return HostReading(total=16384 * MIB, available=8192 * MIB)

    def status(self) -> tuple[FakeConnection, ...]:
        return (replace(self.connection),)

    def ensure_statistics(self, key: str, seconds: int) -> None:
        self.ensured[key] = seconds

    def restore_statistics(self, keys: Collection[str]) -> None:
        self.restored += keys


class FakeSource:
    """Policies from YAML texts."""

    def __init__(self) -> None:
        self.version = 0
        self.node = NodeIdentity("node")
        self.awaited = ""
        self.inherited = ()
        self.outage = ""
        self.policies: tuple[object, ...] = ()
        self.problems: tuple[str, ...] = ()

    def set(self, *specs: str) -> None:
        """One policy a spec (YAML in flow style), named p0, p1, ..."""
        head = "apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy"
        texts = [f"{{{head}, metadata: {{name: p{n}}}, spec: {spec}}}" for n, spec in enumerate(specs)]
        loaded = load("\n---\n".join(texts), "test")
        assert loaded.problems == ()
        self.policies = loaded.policies
        self.version += 1

    def current(self) -> tuple[int, tuple[object, ...]]:
        return self.version, self.policies


class LoopHarness:
    """A loop with everything around it."""

    def __init__(self, *specs: str, observe: bool = False) -> None:
        self.clock = FakeClock()
        self.host = FakeHost(self.clock)
        self.source = FakeSource()
        self.source.set(*specs)
        self.status_store = StatusStore("node", self.clock.monotonic)
        self.loop = ControlLoop(self.host, self.source, self.clock, self.status_store, observe=observe)

    def turn(self, times: int = 1) -> None:
        """Iterate, waiting in between as `run` does."""
        for _ in range(times):
            self.loop.iterate()
            self.clock.wait(0.0, self.loop.pause())

    def domain(self, key: str) -> dict[str, object]:
        """The domain in the published document."""
        return next(each for each in self.status_store.document()["domains"] if each["key"] == key)

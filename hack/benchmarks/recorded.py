"""A node of very many domains that answer like real ones: libvirt's replies, recorded once and played for ever.

Everything of Ballast runs as it does on a real node, but for the wire to libvirtd and back, which `look` measures
on real guests.
"""

import random
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.api.policy import MemoryPolicy
from controller.engine.decision import Action
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity
from controller.engine.snapshot import HostReading, OrderOutcome, OrderResult, Samples
from controller.engine.tables import Floats
from controller.host import meminfo
from controller.host.actuators import BALLOON
from controller.host.calls import Calls
from controller.host.connection import CONNECTION_SETTINGS, Connection, Link
from controller.host.domaincache import CachedDomain
from controller.host.look import to_samples
from controller.host.looker import Looker
from controller.host.senses import Feelings, Sense, Senses
from controller.host.sources import Source
from controller.host.taskpool import TaskPool
from controller.host.unavailable import UnavailableDomains
from controller.loop.control import ControlLoop
from controller.observe.statusstore import StatusStore

Reply = dict[str, Any]

DOMAINS = 1_000
KIB = 1024
HOST_KIB = 2**30
"""Of the made-up host: 1 TiB, enough for all domains at their maximum."""
SPREAD = (0.7, 1.3)
"""Factors by which the replicas' use differs from the guests' they were recorded of."""
BUSY_SHARE = 0.03
"""Part of the domains whose demand changes from look to look."""
CHANGE_KIB = 24 * KIB
"""By which it does, up or down."""
PROCESSES = 20
"""Real ones, whose sizes the domains share: a thousand would only take the machine's memory."""

POLICY = MemoryPolicy.model_validate(
    {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "MemoryPolicy",
        "metadata": {"name": "recorded"},
        "spec": {"mode": "Enforce", "advanced": {"monitoring": {"maximumIntervalSeconds": 1}}},
    }
)
"""The defaults, but every domain is due at every look."""


class Domain:
    """What a look asks of a libvirt.virDomain."""

    def __init__(self, number: int) -> None:
        self._uuid = f"00000000-0000-0000-0000-{number:012d}"

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        """Its UUID, a new text each time, as the binding makes it."""
        return "".join(self._uuid)


class Player:
    """What a look asks of a libvirt.virConnect: replies of all domains, a second later each time."""

    def __init__(self, recorded: Sequence[Mapping[str, Any]], count: int) -> None:
        self._random = random.Random(count)  # noqa: S311 - no secret; numpy's would be 3 MiB of `memory`
        self.domains = [Domain(number) for number in range(count)]
        self._replies = [self._vary(recorded[number % len(recorded)]) for number in range(count)]
        self._busy = [number for number in range(count) if self._random.random() < BUSY_SHARE]
        self.now = 1000.0

    def maximum(self, number: int) -> int:
        """Bytes."""
        return int(self._replies[number]["balloon.maximum"]) * KIB

    def tick(self) -> None:
        """A second passes in the guests."""
        self.now += 1.0
        for reply in self._replies:
            reply["balloon.last-update"] += 1
        for number in self._busy:
            reply = self._replies[number]
            usable = reply["balloon.usable"] + self._random.randrange(-CHANGE_KIB, CHANGE_KIB)
            reply["balloon.usable"] = min(max(usable, reply["balloon.current"] // 16), reply["balloon.current"] // 2)

    def move(self, number: int, size: int) -> None:
        """The balloon of a domain obeys at once; `size` in bytes."""
        reply = self._replies[number]
        change = size // KIB - reply["balloon.current"]
        for name in ("balloon.current", "balloon.usable", "balloon.available"):
            reply[name] += change

    def domainListGetStats(self, domains: list[Domain], _groups: int, _flags: int) -> list[tuple[Domain, Reply]]:  # noqa: N802 - libvirt's name
        """All that was recorded, as libvirt gives it."""
        return list(zip(domains, self._replies, strict=True))

    def _vary(self, reply: Mapping[str, Any]) -> Reply:
        used = (reply["balloon.current"] - reply["balloon.usable"]) * self._random.uniform(*SPREAD)
        return dict(reply) | {"balloon.usable": reply["balloon.current"] - int(used)}


SOURCE = "recorded:///"
"""Where its domains are found."""


@dataclass
class PlayerClock:
    """The player's time; nobody waits."""

    player: Player
    epoch: float
    stopped: bool = False

    def monotonic(self) -> float:
        """See controller.loop.clock.Clock."""
        return self.player.now

    def wall(self) -> float:
        """See controller.loop.clock.Clock."""
        return self.epoch + self.player.now

    def wait(self, at_least: float, at_most: float) -> None:
        """Never called: looks are made one by one."""
        raise NotImplementedError

    def wake(self) -> None:
        """Nobody waits."""


@dataclass(frozen=True, slots=True)
class RecordedConnection:
    """To a libvirt that always answers."""

    uri: str = SOURCE
    connected: bool = True
    error: str = ""


class RecordedHost:
    """Stands in for controller.host.host.Host; looks, periods and the host's memory are read by the real code."""

    def __init__(self, player: Player, proc: Path) -> None:
        self._player = player
        self._proc = proc
        self._senses: Senses | None = None
        (proc / "meminfo").write_text(_meminfo())
        source = Source(SOURCE, lambda: player)
        self._connection = Connection(source, lambda: None, lambda _key, _size: None, CONNECTION_SETTINGS, TaskPool())
        self._looker = Looker({SOURCE: self._connection}, UnavailableDomains())
        entries = [_entry(player, number) for number in range(len(player.domains))]
        self._facts = tuple(entry.facts for entry in entries)
        self._numbers = {facts.key: number for number, facts in enumerate(self._facts)}
        self._connection.link = Link(player, {entry.facts.key: entry for entry in entries}, Calls(lambda: None))

    def inventory(self) -> tuple[DomainFacts, ...]:
        """Nothing ever changes."""
        return self._facts

    def look(self, rows: Mapping[str, int]) -> Samples:
        """The real looker's, on the player's replies."""
        return to_samples(self._looker.look(rows), rows)

    def apply(self, actions: Sequence[Action]) -> tuple[OrderOutcome, ...]:
        """All obey."""
        for action in actions:
            self._player.move(self._numbers[action.key], action.target)
        return ()

    def withdraw(self, stands: Callable[[Action], bool]) -> None:
        """Nothing waits."""

    def drain_answers(self) -> Mapping[str, tuple[OrderResult, str]]:
        """None: nothing is late."""
        return {}

    def drain_events(self) -> Mapping[str, float]:
        """None: sizes are seen at the next look."""
        return {}

    def follow(self, senses: Senses) -> None:
        """From now on these feel its domains."""
        self._senses = senses

    def feel(self) -> Feelings:
        """What its senses do; nothing without any."""
        return self._senses.feel() if self._senses else Feelings()

    def alert_at(self, keys: tuple[str, ...], resident: Floats) -> None:
        """Its senses are told, where it has any."""
        if self._senses:
            self._senses.alert_at(keys, resident)

    def senses(self) -> tuple[Sense, ...]:
        """As the real host's."""
        return self._senses.status() if self._senses else (Sense("resident", "nothing", 0),)

    def read(self) -> HostReading:
        """From a meminfo file, as always."""
        memory = meminfo.read(self._proc)
        return HostReading(memory.total, memory.available, memory.swap_used)

    def status(self) -> tuple[RecordedConnection]:
        """One connection, which is never lost."""
        return (RecordedConnection(),)

    def ensure_statistics(self, key: str, seconds: int) -> None:
        """As the real host does; every period is set already."""
        self._connection.want_period(key, seconds)

    def restore_statistics(self, keys: Collection[str]) -> None:
        """As the real host does."""
        self._connection.release_periods(keys)


@dataclass(frozen=True, slots=True)
class OnePolicy:
    """The policy source."""

    policy: MemoryPolicy = POLICY
    problems: tuple[str, ...] = ()
    outage = ""
    node = NodeIdentity("node")
    awaited = ""
    inherited = ()

    def current(self) -> tuple[int, tuple[MemoryPolicy, ...]]:
        """Always the same."""
        return 1, (self.policy,)


@dataclass(frozen=True, slots=True)
class Played:
    """A host that is played, and its time."""

    player: Player
    clock: PlayerClock
    host: RecordedHost

    @classmethod
    def of(cls, recorded: Sequence[Mapping[str, Any]], count: int, proc: Path) -> "Played":
        """With `count` domains; `proc` is an empty folder."""
        player = Player(recorded, count)
        clock = PlayerClock(player, epoch=float(recorded[0]["balloon.last-update"]) - player.now)
        return cls(player, clock, RecordedHost(player, proc))


class Recorded:
    """A whole Ballast on `count` recorded domains: `tick` lets a second pass, `look` is one look of the process."""

    def __init__(self, recorded: Sequence[Mapping[str, Any]], count: int, proc: Path) -> None:
        played = Played.of(recorded, count, proc)
        self.status_store = StatusStore("node", played.clock.monotonic)
        self.host = played.host
        loop = ControlLoop(self.host, OnePolicy(), played.clock, self.status_store)
        self.loop_counters = loop.loop_counters
        self.tick = played.player.tick
        self.look = loop.iterate


@contextmanager
def felt(facts: Sequence[DomainFacts], folder: Path) -> Iterator[Senses]:
    """Senses of these domains, not started, with a /proc in the empty `folder`."""
    with ExitStack() as stack:
        command = ["sleep", "infinity"]
        processes = [stack.enter_context(subprocess.Popen(command)) for _ in range(PROCESSES)]
        for each in processes:
            stack.callback(each.kill)
        for number, domain in enumerate(facts):
            place = folder / str(number + 2)
            place.mkdir()
            (place / "cmdline").write_bytes(f"qemu\0-uuid\0{domain.uuid}\0".encode())
            (place / "statm").symlink_to(f"/proc/{processes[number % PROCESSES].pid}/statm")
        senses = Senses(folder, folder, lambda: facts, lambda: None, pid_files=folder)
        stack.callback(senses.close)
        yield senses


def _entry(player: Player, number: int) -> CachedDomain:
    domain = player.domains[number]
    uuid, size = domain.UUIDString(), player.maximum(number)
    facts = DomainFacts(f"{uuid}@{SOURCE}", uuid, f"domain-{number}", incarnation=1, maximum=size, definition=size)
    return CachedDomain(domain, persistent=True, facts=facts, actuator=BALLOON, identifier=facts.incarnation)


def _meminfo() -> str:
    """As /proc/meminfo is written, with the fields that are read among as many others as there are."""
    fields = {
        "MemTotal": HOST_KIB,
        "MemFree": HOST_KIB // 4,
        "MemAvailable": HOST_KIB // 2,
        "SwapTotal": 0,
        "SwapFree": 0,
    }
    lines = fields | {f"Other{number}": number for number in range(50)}
    return "".join(f"{name + ':':<16}{kib:>8} kB\n" for name, kib in lines.items())

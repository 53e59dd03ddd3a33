"""Very many nodes in one process: real agents, each with its loop, kopf and connections, on hosts that are fakes.

A fake host's guests are made up: their balloons obey at once and their demand rests. Everything between the control
loop and the API server is what runs on a real node.

The process takes orders on its standard input, a line each, and answers each with a line:
  await GENERATION   until every node acts on that generation of the policy: monotonic seconds of when it was so
  end                ends
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from controller.agent import Agent
from controller.cluster.access import access
from controller.engine.decision import Action
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity
from controller.engine.snapshot import HostReading, OrderOutcome, OrderResult, Samples
from controller.engine.tables import Floats
from controller.host.look import read, to_samples
from controller.host.senses import Feelings, Sense
from controller.loop.clock import SystemClock

POLICY = "fleet"
"""Name of the policy that `await` asks about."""
GUESTS = 10
"""Domains of a node, if nothing else is asked for."""
GIB = 2**30
POLL_S = 0.05
"""Seconds between two looks at whether every node acts on the policy."""
SWITCH_S = 0.2
"""Seconds after which a thread that waits for the interpreter's lock asks for it. News reaches every node at once; at
the default of 5 ms most of the processors' time would go into hundreds of threads that ask."""
ROLLOUT = 10
"""Nodes that start at a time, as a DaemonSet's do: each asks much more of the API server than one that runs."""
STACK_BYTES = 256 * 1024
"""Of a thread: five a node, and the default of 8 MiB each would be reserved."""


@dataclass(frozen=True, slots=True)
class IdleConnection:
    """To a libvirt that always answers."""

    uri: str = "fake:///"
    connected: bool = True
    error: str = ""


class IdleHost:
    """Guests that use half of what they have, for ever."""

    def __init__(self, guests: int) -> None:
        uuids = [f"00000000-0000-0000-0000-{number:012d}" for number in range(guests)]
        self._facts = tuple(
            DomainFacts(uuid, uuid, f"guest-{number}", 1, 2 * GIB, 2 * GIB) for number, uuid in enumerate(uuids)
        )

    def inventory(self) -> tuple[DomainFacts, ...]:
        """Nothing ever changes."""
        return self._facts

    def look(self, rows: Mapping[str, int]) -> Samples:
        """The same every time, but for the time."""
        kib, now = GIB // 1024, int(time.time())
        reply = {
            "state.state": 1,
            "state.reason": 1,
            "balloon.current": kib,
            "balloon.maximum": 2 * kib,
            "balloon.usable": kib // 2,
            "balloon.unused": kib // 2,
            "balloon.available": kib,
            "balloon.swap_in": 0,
            "balloon.swap_out": 0,
            "balloon.major_fault": 0,
            "balloon.rss": kib,
            "balloon.last-update": now,
        }
        return to_samples(read(list(rows), [reply] * len(rows)), rows)

    def apply(self, actions: Sequence[Action]) -> tuple[OrderOutcome, ...]:  # noqa: ARG002 - the port's signature
        """Nothing is asked for: the policy observes."""
        return ()

    def withdraw(self, stands: Callable[[Action], bool]) -> None:
        """Nothing waits."""

    def drain_answers(self) -> Mapping[str, tuple[OrderResult, str]]:
        """None: nothing is late."""
        return {}

    def drain_events(self) -> Mapping[str, float]:
        """None."""
        return {}

    def feel(self) -> Feelings:
        """Nothing."""
        return Feelings()

    def alert_at(self, keys: tuple[str, ...], resident: Floats) -> None:
        """Nothing is felt here."""

    def senses(self) -> tuple[Sense, ...]:
        """One that feels nobody."""
        return (Sense("resident", "nothing", 0),)

    def read(self) -> HostReading:
        """Half of it is free."""
        return HostReading(64 * GIB, 32 * GIB)

    def status(self) -> tuple["IdleConnection"]:
        """Its one connection, which is never lost."""
        return (IdleConnection(),)

    def ensure_statistics(self, key: str, seconds: int) -> None:
        """Every period is set already."""

    def restore_statistics(self, keys: Collection[str]) -> None:
        """None was set."""


class FleetNode:
    """One agent with its loop in a thread; a context manager."""

    def __init__(self, kubeconfig: Path, name: str, guests: int, cache: Path) -> None:
        self._clock = SystemClock()
        self._agent = Agent(access(kubeconfig), NodeIdentity(name), cache, IdleHost(guests), self._clock)
        self._loop = threading.Thread(target=self._agent.loop.run, name=f"loop of {name}", daemon=True)

    def acts_on(self, generation: int) -> bool:
        """Whether the newest decision was made under this generation of the policy, or a later one."""
        latest = self._agent.status_store.latest
        policy = None if latest is None else latest.in_force.get(POLICY)
        return policy is not None and policy.generation >= generation

    def __enter__(self) -> "FleetNode":
        self._agent.__enter__()
        self._loop.start()
        return self

    def stop(self) -> None:
        """Have the loop end, without waiting for it."""
        self._clock.stop()

    def __exit__(self, *_: object) -> None:
        self._clock.stop()
        self._loop.join()


def main(kubeconfig: Path, guests: int, names: Iterable[str]) -> None:
    """Run these nodes, with so many guests each, until told to end; the process's own end cuts the connections."""
    threading.stack_size(STACK_BYTES)
    sys.setswitchinterval(SWITCH_S)
    with tempfile.TemporaryDirectory(prefix="fleet-", dir=kubeconfig.parent) as folder, ExitStack() as stack:
        nodes: list[FleetNode] = []
        for name in names:
            cache = Path(folder) / name
            cache.mkdir()
            nodes.append(stack.enter_context(FleetNode(kubeconfig, name, guests, cache)))
            if len(nodes) % ROLLOUT == 0:
                _await(nodes[-ROLLOUT:], generation=1)
        for order in sys.stdin:
            verb, *arguments = order.split()
            if verb == "end":
                break
            print(_await(nodes, int(arguments[0])), flush=True)
        for node in nodes:
            node.stop()


def _await(nodes: Sequence[FleetNode], generation: int) -> float:
    behind = list(nodes)
    while behind:
        behind = [node for node in behind if not node.acts_on(generation)]
        if behind:
            time.sleep(POLL_S)  # a thousand status stores are looked at; an event each would be work of its own
    return time.monotonic()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

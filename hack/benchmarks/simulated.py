"""A control plane with simulated nodes, and Ballast on them when asked for: what happens there, in figures.

The nodes are real agents on fake hosts (`fleet`); the API server, etcd and the aggregator are real.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fleet import GUESTS, POLICY
from controller.cluster.access import access
from controller.cluster.client import Client
from controller.cluster.errors import ApiError
from controller.cluster.resources import MEMORY_POLICIES, NODE_MEMORY_STATES, NODES
from lab.daemons import until
from lab.errors import LabError
from lab.kubernetes.controlplane import ControlPlane

NODES_A_PROCESS = 250
"""More share one interpreter's lock, and wait for each other instead of for the API server."""
SETTLE_S = 15.0
"""Seconds without a change before rest is measured: what starting has stirred up is over by then."""
DEADLINE_S = 600.0
"""Until everything has started; and for whatever is waited for after that."""
QUIET_S = 15.0
"""Seconds before a change of the policy: an agent that has just written its state waits before it writes again."""
IDLE_S = 8.0
"""The last seconds of these, in which is seen what everything needs without a change."""

CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "ballast-system"
MONITORING: dict[str, int] = {"minimumIntervalSeconds": 30, "maximumIntervalSeconds": 60}
"""The hosts are fakes, and looking at them often is not what this is about."""
KIB_IN_MIB = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What the API server needs."""

    cpu: float
    """Percent of one core."""
    memory_mib: float


class Cpu(NamedTuple):
    """Seconds of processors."""

    agents: float
    """Of all nodes' agents together."""
    apiserver: float

    def minus(self, other: "Cpu") -> "Cpu":
        """What was added since."""
        return Cpu(self.agents - other.agents, self.apiserver - other.apiserver)

    def times(self, factor: float) -> "Cpu":
        """As much, so many times."""
        return Cpu(self.agents * factor, self.apiserver * factor)


@dataclass(frozen=True, slots=True)
class Change:
    """Seconds after a change of the policy was sent."""

    watched: float
    """Until one plain watch saw it."""
    acted: float
    """Until every node acted on it."""
    summed: float
    """Until the policy was Ready again, so every node's state was in its sums."""
    agents_cpu: float
    """Seconds of all nodes' agents together beyond what they need at rest: they share this machine, as nodes do not."""
    apiserver_cpu: float
    """Likewise."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What happens while nothing does."""

    usage: Usage
    writes: float
    """Requests a second that change Ballast's kinds."""
    agents_cpu: float
    """Percent of one core, of all agents together."""


class SimulatedCluster:
    """Nodes on a control plane, and Ballast when asked for."""

    def __init__(self, plane: ControlPlane, size: int, guests: int = GUESTS) -> None:
        """`size` nodes with so many guests each."""
        self._plane = plane
        self._guests = guests
        self._monitoring = MONITORING
        self._client = Client(access(plane.kubeconfig))
        self._names = [f"node-{number:05}" for number in range(size)]
        self._fleets: list[subprocess.Popen[str]] = []
        self._weight = 100
        plane.define(CRDS)
        plane.kubectl("create", "namespace", NAMESPACE)
        for name in self._names:
            self._client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})

    @contextmanager
    def ballast(self) -> Iterator[None]:
        """A policy, an agent a node and an aggregator, all started and Ready."""
        self._apply()
        with ExitStack() as stack:
            stack.enter_context(self._process("controller", "aggregator", *self._aggregator_options()))
            for first in range(0, len(self._names), NODES_A_PROCESS):
                names = self._names[first : first + NODES_A_PROCESS]
                fleet = self._process("benchmarks.fleet", str(self._plane.kubeconfig), str(self._guests), *names)
                self._fleets.append(stack.enter_context(fleet))
            self._acted(1)
            self._until_ready(1)
            yield
        self._fleets.clear()

    def change(self) -> Change:
        """Change the policy, and see how it spreads."""
        time.sleep(QUIET_S - IDLE_S)  # the time that is to pass
        idle = self.cpu(IDLE_S)
        self._weight += 1
        before = self._cpu_s()
        with _Watched(self._client) as watched:
            began = time.monotonic()
            generation = self._apply()
            acted = self._acted(generation)
            self._until_ready(generation)
            summed = time.monotonic() - began
            spent = self._cpu_s().minus(before).minus(idle.times(summed))
            return Change(watched.at(generation) - began, acted - began, summed, spent.agents, spent.apiserver)

    def monitor(self, **monitoring: int) -> None:
        """Change how often the guests are looked at, and wait until every node does so."""
        self._monitoring = monitoring
        self._acted(self._apply())

    def cpu(self, seconds: float) -> "Cpu":
        """What is needed a second, over so many from now on."""
        before, began = self._cpu_s(), time.monotonic()
        time.sleep(seconds)  # the time that is to pass
        return self._cpu_s().minus(before).times(1 / (time.monotonic() - began))

    def rest(self, seconds: float) -> Rest:
        """Let it settle, and do nothing for so long."""
        time.sleep(SETTLE_S)  # the time that is to pass
        writes, began = self._writes(), time.monotonic()
        cpu = self.cpu(seconds)
        usage = Usage(100 * cpu.apiserver, self.apiserver_mib())
        return Rest(usage, (self._writes() - writes) / (time.monotonic() - began), 100 * cpu.agents)

    def apiserver_mib(self) -> float:
        """Resident memory of the API server now."""
        return resident_mib(self._plane.apiserver_pid)

    def list_states(self) -> tuple[float, float]:
        """Seconds to list all states, and their bytes."""
        began = time.monotonic()
        states = self._client.list(NODE_MEMORY_STATES).items
        return time.monotonic() - began, float(sum(_bytes(state["status"]) for state in states))

    def status_bytes(self) -> float:
        """Of the policy's status."""
        return float(_bytes(self._status()))

    def _status(self) -> dict[str, Any]:
        return self._client.get(MEMORY_POLICIES, POLICY).get("status") or {}

    def _apply(self) -> int:
        """The policy with its present weight. Returns its generation."""
        policy = {
            "apiVersion": MEMORY_POLICIES.api_version,
            "kind": MEMORY_POLICIES.kind,
            "metadata": {"name": POLICY},
            "spec": {"weight": self._weight, "advanced": {"monitoring": self._monitoring}},
        }
        applied = self._client.apply(MEMORY_POLICIES, policy, field_manager="bench")
        return int(applied["metadata"]["generation"])

    def _acted(self, generation: int) -> float:
        """Wait until every node acts on it. Returns the monotonic time when the last one did."""
        for fleet in self._fleets:
            _order(fleet, f"await {generation}")
        return max(float(_answer(fleet)) for fleet in self._fleets)

    def _until_ready(self, generation: int) -> None:
        def ready() -> bool:
            try:
                status = self._status()
            except ApiError:  # it is busy with so many; whether it is too busy the deadline tells
                return False
            conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
            return (
                status.get("observedGeneration") == generation
                and status["nodes"] == len(self._names)
                and conditions["Ready"] == "True"
            )

        until(ready, DEADLINE_S, f"generation {generation} Ready")

    def _cpu_s(self) -> "Cpu":
        """Seconds so far."""
        return Cpu(sum(cpu_s(fleet.pid) for fleet in self._fleets), cpu_s(self._plane.apiserver_pid))

    def _writes(self) -> float:
        """Requests so far that change Ballast's kinds, its Lease and events."""
        text = self._plane.kubectl("get", "--raw", "/metrics")
        counted = re.findall(r"^apiserver_request_total\{(.*)\} (\S+)$", text, re.MULTILINE)
        return sum(float(count) for labels, count in counted if _is_write(labels))

    def _aggregator_options(self) -> list[str]:
        return ["--kubeconfig", str(self._plane.kubeconfig), "--namespace", NAMESPACE, "--listen", "none"]

    @contextmanager
    def _process(self, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        log = self._plane.root / f"{module}-{len(self._fleets)}.log"
        command = [sys.executable, "-m", module, *arguments]
        with log.open("w") as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


class _Watched:
    """One plain watch of the policy; a context manager."""

    def __init__(self, client: Client) -> None:
        version = client.list(MEMORY_POLICIES).resource_version
        self._watch = client.watch(MEMORY_POLICIES, version)
        self._seen: dict[int, float] = {}
        self._mailbox = threading.Condition()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def at(self, generation: int) -> float:
        """Monotonic time at which this generation was seen. Raises LabError when it is not in time."""
        with self._mailbox:
            if not self._mailbox.wait_for(lambda: generation in self._seen, DEADLINE_S):
                raise LabError(f"no watch saw generation {generation} within {DEADLINE_S:.0f} s")
        return self._seen[generation]

    def __enter__(self) -> "_Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.close()
        self._thread.join()

    def _follow(self) -> None:
        try:
            for event in self._watch:
                with self._mailbox:
                    self._seen.setdefault(event.object["metadata"].get("generation", 0), time.monotonic())
                    self._mailbox.notify_all()
        except ApiError:
            return


def _order(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str]) -> str:
    """The next line. Raises LabError when the process ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise LabError(f"a fleet of nodes ended with {process.wait()}; its log lies in the control plane's folder")
    return line


def _is_write(labels: str) -> bool:
    verb = re.search(r'verb="(\w+)"', labels)
    resource = re.search(r'resource="(\w+)"', labels)
    changes = verb is not None and verb[1] in {"POST", "PUT", "PATCH", "APPLY", "DELETE"}
    return changes and resource is not None and resource[1] in {MEMORY_POLICIES.plural, NODE_MEMORY_STATES.plural}


def cpu_s(pid: int) -> float:
    """Seconds of processors that a process has had so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Resident memory of a process now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / KIB_IN_MIB


def _bytes(document: Any) -> int:
    return len(json.dumps(document, separators=(",", ":")).encode())

"""Many connections, as on a node of KubeVirt: a real agent, and the libvirt of each of CONNECTIONS pods.

The pods are objects of a real API server without a kubelet. DAEMONS libvirts with a real guest each answer for all of
them: their sockets are linked into the pods' folders. Looks by several connections meet at one guest, which costs more
than apart.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from statistics import median
from typing import Any

from benchmarks.figures import Baseline, Figure
from benchmarks.shared_guests import SharedGuests
from benchmarks.simulated import CRDS, DEADLINE_S, cpu_s, resident_mib
from benchmarks.stopwatch import Spent
from controller.cluster.access import access
from controller.cluster.client import Client
from controller.cluster.resources import MEMORY_POLICIES, NODES, PODS
from controller.engine.inventory import Pod
from controller.host.host import LibvirtHost
from controller.host.podsocket import SOCKET, VOLUME, open_pod
from controller.host.sources import Source
from lab.ballast import BallastProcess
from lab.daemons import until
from lab.errors import LabError
from lab.guest import Guest, GuestSpec
from lab.kubernetes.controlplane import ControlPlane
from lab.libvirtd import PrivateLibvirtd

PART = "connections"
CONNECTIONS = 110
"""Pods that the kubelet runs at most, unless told otherwise."""
DAEMONS = 5
"""All but the first answer for many pods."""
GUEST_MIB = 128
REST_S = 60
"""Seconds between two looks at a stable domain, the policy's default; here from the start."""
SETTLE_S = 30.0
"""Seconds until what starting has stirred up is over."""
MEASURED_S = 60.0
STARTS = 3
"""Pods that start one after the other; the slowest counts."""
HANGS = 5
"""Times that a libvirt hangs, for LOOKS looks each, after as many when none does."""
LOOKS = 3
"""The slowest counts where one hangs: it is left out of a look that follows soon."""
PAUSE_S = 1.0
"""Seconds between two looks, the shortest interval."""

MEMORY_GOAL_MIB = 140.0
CPU_GOAL_PERCENT = 1.0
"""Of one core."""
FIRST_LOOK_GOAL_S = 3.0
DELAY_GOAL_S = 0.3

NODE = "bench"
NAMESPACE = "default"
POLICY = {
    "apiVersion": MEMORY_POLICIES.api_version,
    "kind": MEMORY_POLICIES.kind,
    "metadata": {"name": "bench"},
    "spec": {"advanced": {"monitoring": {"minimumIntervalSeconds": REST_S, "maximumIntervalSeconds": REST_S}}},
}


class Launchers:
    """Pods of virtual machines on the node, by name."""

    def __init__(self, plane: ControlPlane, daemons: Sequence[PrivateLibvirtd], folder: Path) -> None:
        """`folder` is to be the kubelet's, of pods; on the file system of the sockets."""
        self.folder = folder
        self._client = Client(access(plane.kubeconfig))
        self._sockets = [daemon.sockets / "libvirt-sock" for daemon in daemons]
        self.pods: list[Pod] = []
        plane.define(CRDS)
        plane.kubectl("wait", "--for=create", "serviceaccount/default", f"--timeout={DEADLINE_S:.0f}s")
        self._client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        self._client.create(MEMORY_POLICIES, POLICY)

    def start(self) -> None:
        """One more. Its libvirt is one of the daemons: that of the first pod is nobody else's."""
        number = len(self.pods)
        name = f"virt-launcher-{number}"
        made = self._client.create(PODS, _pod(name), namespace=NAMESPACE)
        uid = made["metadata"]["uid"]
        volume = self.folder.joinpath(uid, *VOLUME)
        volume.mkdir(parents=True)
        daemon = 1 + number % (len(self._sockets) - 1) if number else 0
        (volume / SOCKET).hardlink_to(self._sockets[daemon])
        self.pods.append(Pod(uid, NAMESPACE, name))

    def sources(self) -> list[Source]:
        """As the agent makes them."""
        return [Source(f"{NAMESPACE}/{pod.name}", partial(open_pod, self.folder, pod.uid), pod) for pod in self.pods]


class MeasuredAgent(BallastProcess):
    """A running `ballast agent --kubevirt`."""

    def __init__(self, plane: ControlPlane, launchers: Launchers, folder: Path) -> None:
        access_options = ["--node-name", NODE, "--kubeconfig", str(plane.kubeconfig), "--cache-dir", str(folder)]
        options = ["agent", *access_options, "--kubevirt", "--pods-directory", str(launchers.folder)]
        self._launch(options, folder / "ballast.log", keep=False)

    def until_looked_at(self, count: int) -> None:
        """At so many domains."""
        until(lambda: self._looked_at() >= count, DEADLINE_S, f"{count} domains looked at")

    def rest(self) -> "_Rest":
        """CPU over MEASURED_S, once it has settled; the others after that."""
        time.sleep(SETTLE_S)  # the time that is to pass
        before, began = cpu_s(self.pid), time.monotonic()
        time.sleep(MEASURED_S)  # likewise
        percent = 100 * (cpu_s(self.pid) - before) / (time.monotonic() - began)
        return _Rest(percent, resident_mib(self.pid), len(list(Path(f"/proc/{self.pid}/task").iterdir())))

    def _looked_at(self) -> int:
        with suppress(LabError):  # not listening yet
            return sum(domain["looks"] > 0 for domain in self.state()["domains"])
        return 0


@dataclass(frozen=True, slots=True)
class _Rest:
    """An agent that has nothing to do."""

    percent: float
    """Of a core."""
    resident_mib: float
    threads: int


def measure(_shared: SharedGuests) -> list[Figure]:
    """An agent at rest with one connection and with CONNECTIONS, pods that start, and a libvirt that hangs."""
    with ExitStack() as stack:
        daemons = [stack.enter_context(PrivateLibvirtd()) for _ in range(DAEMONS)]
        for number, daemon in enumerate(daemons):
            stack.enter_context(Guest(daemon, GuestSpec(f"guest-{number}", maximum=GUEST_MIB)))
        plane = stack.enter_context(ControlPlane())
        launchers = Launchers(plane, daemons, daemons[0].root / "pods")
        figures = _agent(plane, launchers)
        return [*figures, _delay(launchers, daemons[0])]


def _agent(plane: ControlPlane, launchers: Launchers) -> list[Figure]:
    with MeasuredAgent(plane, launchers, plane.root) as agent:
        launchers.start()
        agent.until_looked_at(1)
        alone = agent.rest()
        first = _first_look(agent, launchers)
        for _ in range(CONNECTIONS - len(launchers.pods)):
            launchers.start()
        agent.until_looked_at(CONNECTIONS)
        many = agent.rest()
        last = _first_look(agent, launchers)
    what = f"of the agent at rest, {CONNECTIONS} connections"
    baseline = partial(Baseline, "with one connection")
    return [
        Figure(PART, f"CPU {what}", many.percent, "%", baseline(alone.percent), CPU_GOAL_PERCENT),
        Figure(
            PART, f"resident memory {what}", many.resident_mib, "MiB", baseline(alone.resident_mib), MEMORY_GOAL_MIB
        ),
        Figure(PART, f"threads {what}", many.threads, "", baseline(alone.threads)),
        Figure(
            PART,
            f"from a pod's start to its first look, beside {CONNECTIONS} others",
            last,
            "s",
            Baseline("beside one other", first),
            FIRST_LOOK_GOAL_S,
        ),
    ]


def _first_look(agent: MeasuredAgent, launchers: Launchers) -> float:
    """Seconds; the slowest of STARTS pods, one after the other."""
    slowest = 0.0
    for _ in range(STARTS):
        began = time.monotonic()
        launchers.start()
        agent.until_looked_at(len(launchers.pods))
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def _delay(launchers: Launchers, hung: PrivateLibvirtd) -> Figure:
    """How much longer the others' looks take when the libvirt of the first pod hangs."""
    host = LibvirtHost(launchers.sources())
    host.start()
    calm: list[float] = []
    delayed: list[float] = []
    try:
        until(lambda: len(host.inventory()) == len(launchers.pods), DEADLINE_S, "all connected")
        rows = {facts.key: row for row, facts in enumerate(host.inventory())}
        for _ in range(HANGS):
            calm += _looks(host, rows)
            os.kill(hung.pid, SIGSTOP)
            try:
                delayed.append(max(_looks(host, rows)))
            finally:
                os.kill(hung.pid, SIGCONT)
            until(lambda: len(host.look(rows).rows) == len(rows), DEADLINE_S, "all answer again")
    finally:
        host.close()
    what = f"one hung libvirt delays a look at {len(rows) - 1} other guests by"
    none = Baseline("a look, none hangs", median(calm))
    return Figure(PART, what, median(delayed) - none.value, "s", none, DELAY_GOAL_S)


def _looks(host: LibvirtHost, rows: Mapping[str, int]) -> list[float]:
    """Seconds of each of LOOKS looks, PAUSE_S apart."""
    seconds = []
    for _ in range(LOOKS):
        time.sleep(PAUSE_S)  # as the loop does between two looks
        seconds.append(Spent.on(lambda: host.look(rows)).wall / 1000)
    return seconds


def _pod(name: str) -> dict[str, Any]:
    """As KubeVirt makes it, as far as the agent reads it; it stays on a node that nobody runs."""
    compute = {"name": "compute", "image": "none", "resources": {"requests": {"memory": "64Mi"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"kubevirt.io": "virt-launcher"}},
        "spec": {"nodeName": NODE, "containers": [compute], "tolerations": [{"operator": "Exists"}]},
    }

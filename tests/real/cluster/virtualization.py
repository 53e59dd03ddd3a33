"""Ballast on a node of KubeVirt, with virtual machines in pods."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from installation import PATIENCE_S, QUICK, Installation, quick

from lab.daemons import until
from lab.guest import Guest
from lab.kubernetes.cluster import NAMESPACE
from lab.kubernetes.node import LabNode
from lab.kubernetes.virtlauncher import OVERHEAD_MIB, VirtLauncher, VirtualMachine

KUBEVIRT = Path(__file__).parents[3] / "manifests" / "kubevirt"
MIB = 2**20
MEMORY_MIB = 256
"""Of a guest, likewise."""
PROMISED_MIB = 128
"""Of that, by its pod's request, if nothing else is asked for."""
STEP_MIB, ROOM_MIB = 10, 40
"""By which workloads grow at most, and what their guests have to have available before: without swap, a kernel kills
where the next step has no room when it comes, and what it counts as available it may not get in time.
"""
THRESHOLD_MIB = 10
"""So little is not worth a move."""
ROOMY: dict[str, Any] = quick(threshold={"percent": 1, "quantity": f"{THRESHOLD_MIB}Mi"}) | {
    "headroom": {"quantity": f"{ROOM_MIB + 2 * THRESHOLD_MIB}Mi"}
}
"""A policy whose guests have that room in the end."""


class InstalledNearKubevirt(Installation):
    """Ballast on `node`; pods end with its `end`."""

    def __init__(self, node: LabNode) -> None:
        super().__init__(node.plane)
        self._node = node
        self._stack = ExitStack()

    def start(
        self,
        name: str,
        *,
        memory: int = MEMORY_MIB,
        promised: int = PROMISED_MIB,
        limit: int | None = None,
        guaranteed: bool = False,
        target: bool = False,
    ) -> VirtLauncher:
        """A pod with a guest, or as the `target` of one's migration. Sizes in MiB; the usual limit is KubeVirt's, and
        all of it is requested where the pod is to be `guaranteed`.
        """
        limit = memory + OVERHEAD_MIB if limit is None else limit
        request = promised + max(limit - memory, 0)
        machine = VirtualMachine(
            name,
            memory=memory,
            request=request,
            limit=limit,
            guaranteed=guaranteed,
            labels={"tier": "web"},
            period=1,
            target=target,
        )
        launcher = VirtLauncher(self._node, machine)
        return self._stack.enter_context(launcher)

    def end(self) -> None:
        """All pods."""
        self._stack.close()

    def enforce(self, **spec: Any) -> None:
        """The policy of all pods that `start` makes."""
        selectors = {"virtualMachineInstanceSelector": {"matchLabels": {"tier": "web"}}}
        self.apply("web", **QUICK | {"mode": "Enforce", "selectors": selectors} | spec)

    def annotate(self, launcher: VirtLauncher, annotation: str) -> None:
        self.kubectl("annotate", "pod", launcher.name, annotation, "--overwrite")

    def restart_agent(self) -> None:
        (agent,) = self.pod("agent")
        self.kubectl("delete", "-n", NAMESPACE, agent)
        self.wait_replaced(agent)

    def reasons(self, launcher: VirtLauncher) -> set[str]:
        """Why the guest in a pod has what it has; empty where there is none."""
        return {each["reason"] for each in self.state()["domains"] if pod_of(each) == launcher.name}

    def looks(self) -> dict[str, int]:
        """How often each domain was looked at, by its pod."""
        return {pod_of(each): each["looks"] for each in self.state()["domains"]}

    def until_seen(self, *launchers: VirtLauncher) -> None:
        names = {each.name for each in launchers}
        until(lambda: {name for name, looks in self.looks().items() if looks} == names, PATIENCE_S, f"{names} seen")

    def until_looked_at(self, *launchers: VirtLauncher, times: int = 1) -> None:
        """So often from now on."""
        before = self.looks()

        def looked_at() -> bool:
            now = self.looks()
            return all(now.get(each.name, 0) >= before.get(each.name, 0) + times for each in launchers)

        until(looked_at, PATIENCE_S, f"{[each.name for each in launchers]} looked at")

    def orders(self, launcher: VirtLauncher) -> list[int]:
        """MiB that the guest of this name was told to have, in whichever pod, since the agent's start."""
        name = launcher.machine.spec.name
        return [int(size) for size in re.findall(rf" {name}: \d+ MiB -> (\d+) MiB ", self.log())]

    def connections(self) -> dict[str, str]:
        """Errors by name, of those that are told of."""
        return {each["uri"]: each["error"] for each in self.state()["connections"]}

    def log(self) -> str:
        return self.kubectl("logs", "-n", NAMESPACE, "daemonset/ballast-agent", "--timestamps")


def pod_of(domain: Mapping[str, Any]) -> str:
    """Name of the pod, of a domain as the agent tells of it; all are in one namespace."""
    return str(domain["key"]).partition("@default/")[2]


def grow(guests: Sequence[Guest], sizes: Iterable[int], sampled: Callable[[], object] = lambda: None) -> None:
    """Their workloads hold these MiB one after the other, all guests at a time, each time with room for more."""
    for held in sizes:
        for guest in guests:
            guest.use(held)
        news = [guest.news() for guest in guests]

        def roomy(news: Sequence[Callable[[], bool]] = news) -> bool:
            sampled()
            told = [come() for come in news]
            return all(told) and all(guest.statistics()["usable"] >= ROOM_MIB * 1024 for guest in guests)

        until(roomy, PATIENCE_S, f"{[guest.spec.name for guest in guests]} grown for {held} MiB")

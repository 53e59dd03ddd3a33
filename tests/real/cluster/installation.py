"""Ballast in a cluster, as its administrator has it in hand."""

import json
from collections.abc import Mapping
from typing import Any

from lab.daemons import until
from lab.kubernetes.cluster import NAMESPACE
from lab.kubernetes.controlplane import ControlPlane

PATIENCE_S = 180.0
QUICK: dict[str, Any] = {
    "limits": {"minimum": "96Mi", "minimumPercent": 1},
    "headroom": {"quantity": "48Mi"},
    "advanced": {"shrink": {"stabilizationSeconds": 3}, "monitoring": {"maximumIntervalSeconds": 1}},
    "spare": "Reclaim",
}
"""A policy that is quick in all respects."""


def quick(**blocks: Any) -> dict[str, Any]:
    """The same with these blocks of `advanced`."""
    return QUICK | {"advanced": QUICK["advanced"] | blocks}


def apply_policy(plane: ControlPlane, name: str, **spec: Any) -> None:
    """As an administrator does with a file."""
    head = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": name}}
    plane.kubectl("apply", "-f", "-", input=json.dumps(head | {"spec": spec}))


def rests_below(mib: int, state: Mapping[str, Any]) -> bool:
    """The only domain has less than so many MiB, and no shrink goes on that would be taken back."""
    (domain,) = state["domains"]
    return bool(domain["target"] == domain["allocation"] < mib * 2**20)


class Installation:
    """What was applied to `plane`, and what it says."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.kubectl = plane.kubectl

    def apply(self, name: str, **spec: Any) -> None:
        """A policy; returns when it is Ready as it is now."""
        apply_policy(self.plane, name, **spec)
        until(lambda: self._follows(name), PATIENCE_S, f"{name} Ready")

    def policy(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "mpol", name, "-o", "json"))
        return found

    def condition(self, name: str, kind: str) -> tuple[str, str]:
        """Status and reason."""
        conditions = self.policy(name)["status"]["conditions"]
        return next((each["status"], each["reason"]) for each in conditions if each["type"] == kind)

    def state(self) -> dict[str, Any]:
        """What the agent knows, asked in its pod."""
        return dict(json.loads(self.in_pod("ballast", "top", "-o", "json")))

    def sense(self, name: str) -> tuple[int, str]:
        """Of how many domains it tells, and why not of others."""
        sense = next(each for each in self.state()["senses"] if each["name"] == name)
        return sense["domains"], sense["trouble"]

    def in_pod(self, *command: str) -> str:
        """What a command in the agent's pod prints."""
        return self.kubectl("exec", "-n", NAMESPACE, "daemonset/ballast-agent", "--", *command)

    def pod(self, component: str) -> list[str]:
        """Names of the pods that run."""
        label = f"app.kubernetes.io/component={component}"
        return self.kubectl("get", "pods", "-n", NAMESPACE, "-l", label, "-o", "name").split()

    def wait_replaced(self, agent: str) -> None:
        """Wait until another pod than this has become the agent, and is Ready.

        The status of its DaemonSet tells of the one that is gone, for as long as nobody has counted anew.
        """
        until(lambda: agent not in self.pod("agent") != [], PATIENCE_S, "another pod")
        (after,) = self.pod("agent")
        self.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", after, f"--timeout={PATIENCE_S:.0f}s")

    def _follows(self, name: str) -> bool:
        policy = self.policy(name)
        ready = next(each for each in policy["status"]["conditions"] if each["type"] == "Ready")
        return (ready["status"], ready.get("observedGeneration")) == ("True", policy["metadata"]["generation"])

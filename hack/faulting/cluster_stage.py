"""Where a fault of the cluster happens: guests of a host whose Ballast is the agent of a Node in a real cluster."""

import json
from pathlib import Path
from typing import Any, Self

from faulting.stage import POLICY_NAME, REST_MIB, Stage
from lab.ballast import AggregatorProcess, NodeAgent
from lab.daemons import until
from lab.guest import Guest
from lab.kubernetes.controlplane import ControlPlane

NODE = "lab"
CRDS = Path(__file__).parents[2] / "crds"
RAISED_MIB = 230
"""The minimum after the policy's change: more than a guest has at rest, so that balloons show whether it counts."""
FOLLOWED_S = 240.0
"""Deadline for a change to be known everywhere: more than the time between two lists of policies."""
JSON_LOG = ("--log-format", "json")


class ClusterStage(Stage):
    """A stage with a control plane, a Node for the host, and the policy in the cluster. Nothing of Ballast runs yet.

    Agent and aggregators write one log, `log`. `folder` is the node's, with the log and the agent's cache.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        self.folder = self.host.root / "node"
        self.folder.mkdir()
        self.log = self.folder / "ballast.log"
        with self.stack as stack:
            self.plane = stack.enter_context(ControlPlane())
            self.access = self.plane.kubeconfig
            """How the agent reaches the API server."""
            self.plane.define(CRDS)
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
            self.plane.kubectl("apply", "-f", "-", input=json.dumps(node))
            self.plane.kubectl("apply", "-f", str(self.policies))
            self.stack = stack.pop_all()
        return self

    def start(self, wound: str = "", port: int = 0) -> None:
        """Start the agent (again). None of the wounds is for it, and its port is a free one."""
        if wound or port:
            raise ValueError(wound or port)
        self.agent = NodeAgent(NODE, self.access, self.host.uri, self.folder, *JSON_LOG)
        self.ballast = self.stack.enter_context(self.agent)

    def start_aggregator(self, identity: str = "a", access: Path | None = None) -> AggregatorProcess:
        """One more aggregator, with this name in the Lease."""
        made = AggregatorProcess(identity, access or self.plane.kubeconfig, self.log, *JSON_LOG)
        return self.stack.enter_context(made)

    def run(self) -> None:
        """Start agent and aggregator, and wait until guests are small and the policy is Ready."""
        self.start_aggregator()
        super().run()
        self.followed()

    def work(self, guest: Guest) -> None:
        """Have a guest need memory, get it, and give it back."""
        self.served(guest, 0.0)
        guest.use(REST_MIB)
        self.settle()

    def raise_minimum(self, mib: int = RAISED_MIB) -> None:
        """Change the policy."""
        self.change(limits={"minimum": f"{mib}Mi"})

    def rule_anew(self, mib: int = RAISED_MIB) -> None:
        """Change the policy, and wait until that counts on both guests and its status says so."""
        self.raise_minimum(mib)
        self.raised(mib)
        self.followed()

    def change(self, **spec: Any) -> None:
        """Merge this into the policy's spec."""
        self.plane.kubectl("patch", "mpol", POLICY_NAME, "--type=merge", "-p", json.dumps({"spec": spec}))

    def raised(self, mib: int = RAISED_MIB) -> None:
        """Wait until both guests have the minimum of the changed policy."""
        until(
            lambda: all(self.watch.allocation(guest.uuid) >= mib - 1 for guest in self.guests),
            FOLLOWED_S,
            f"guests at the policy's new minimum of {mib} MiB",
        )

    def followed(self) -> None:
        """Wait until the policy's status says that the node follows the policy as it is."""
        until(self._followed, FOLLOWED_S, "the policy Ready in its present generation")

    def condition(self, kind: str) -> dict[str, Any]:
        """Of the policy; empty while there is none."""
        return _condition(self._policy(), kind)

    def _followed(self) -> bool:
        found = self._policy()
        ready = _condition(found, "Ready")
        now = found["metadata"]["generation"]
        return ready.get("status") == "True" and ready["observedGeneration"] == now

    def _policy(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.plane.kubectl("get", "mpol", POLICY_NAME, "-o", "json"))
        return found


def _condition(of: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = of.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})

"""The node agent: the control loop, fed by the API server and reporting to it. Wiring only.

Neither kopf nor the API server is in the loop's way: they wake it, and it leaves what there is to report on a status
store.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from controller.cluster.access import Load
from controller.cluster.cache import Cache
from controller.cluster.client import Client
from controller.cluster.findings import findings
from controller.cluster.podwatch import PodWatch, Tell
from controller.cluster.policies import ClusterPolicies
from controller.cluster.report import Context
from controller.cluster.reporter import Reporter, ReportInput
from controller.engine.ownership import NodeIdentity
from controller.loop.clock import WakeableClock
from controller.loop.control import ControlLoop
from controller.loop.ports import Host
from controller.observe.machinenotes import machine_notes
from controller.observe.statusstore import StatusStore, lost, short


@dataclass(frozen=True, slots=True)
class Options:
    """What an administrator asked for."""

    launchers: Tell | None = None
    """Is told which pods of KubeVirt's virtual machines there are."""
    observe: bool = False
    """Nothing is changed, whatever the modes of policies."""
    label_node: bool = False
    """The Node gets a label while it stays short."""


PLAIN = Options()


class Agent:
    """Everything of one node but the host itself; a context manager. `loop.run` does the work meanwhile."""

    def __init__(
        self,
        load: Load,
        node: NodeIdentity,
        cache_dir: Path,
        host: Host,
        clock: WakeableClock,
        options: Options = PLAIN,
        turned: Callable[[StatusStore], None] = lambda _status_store: None,
    ) -> None:
        """`load` reads the access to the API server, `node` is what is known of it without; `turned` is called each
        time the loop came round. Raises AccessError, CacheError.
        """
        self._node_name = node.name
        self._client = Client(load)
        self.requests = self._client.requests
        self.policies = ClusterPolicies(
            self._client, load, node, Cache(cache_dir, node.name), clock.wake, clock.monotonic
        )
        tell = options.launchers
        self._pods = None if tell is None else PodWatch(self._client, node.name, tell, clock.monotonic)
        self.reporter = Reporter(
            self._client,
            node.name,
            self._report_input,
            clock.monotonic,
            label_node=options.label_node,
            machines=None if self._pods is None else self._pods.machines,
        )
        self.status_store = StatusStore(node.name, clock.monotonic, self._published)
        self._turned = turned
        self.loop = ControlLoop(host, self.policies, clock, self.status_store, observe=options.observe)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(self._client.close)
        self._stack.enter_context(self.policies)
        if self._pods is not None:
            self._stack.enter_context(self._pods)
        self._stack.enter_context(self.reporter.worker)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _published(self) -> None:
        self.reporter.worker.wake()
        self._turned(self.status_store)

    def _report_input(self) -> ReportInput | None:
        """What the loop published last; nothing before the policies are known and the domains were looked at."""
        latest = self.status_store.latest
        if latest is None or latest.awaited or not latest.looked:
            return None
        ownership = latest.ownership
        context = Context(
            self._node_name,
            self.policies.node_uid,
            latest.in_force,
            ownership.conflicted,
            ownership.overridden,
            short(latest),
            ownership.paused,
        )
        conflicts = [remark.text for remark in ownership.remarks if remark.event == "conflict"]
        found = findings(latest.state, lost(latest.connections), conflicts, context.short)
        return ReportInput(latest.state, context, found, self.policies.node.labels, machine_notes(latest))

"""A node of a hundred virtual machines: the pods are objects of a real API server, their libvirts are fakes."""

import gc
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controller.agent import Agent, Options
from controller.cluster.access import access
from controller.cluster.pods import Launcher
from controller.engine.ownership import NodeIdentity
from controller.host.host import LibvirtHost
from controller.host.sources import Source
from controller.host.taskpool import IDLE
from controller.loop.clock import SystemClock
from lab.daemons import until
from lab.fake_libvirt import FakeDomain, FakeHandle
from lab.kubernetes.controlplane import ControlPlane

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # see `collect`

PODS = 100
NODE = "full"
PATIENCE_S = 120.0
THREADS = 12 + IDLE
"""Of an agent: its loop, kopf, feeds, reporter, libvirt's events and senses, and keepers; none is a pod's own."""


def pod(number: int) -> dict[str, Any]:
    """On a node without a kubelet."""
    labels = {"kubevirt.io": "virt-launcher", "half": "first" if number < PODS // 2 else "second"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"virt-launcher-{number}", "labels": labels},
        "spec": {
            "nodeName": NODE,
            "containers": [{"name": "compute", "image": "none", "resources": {"requests": {"memory": "64Mi"}}}],
            "tolerations": [{"operator": "Exists"}],
        },
    }


class FullNode:
    """An agent in this process, and the pods of its node."""

    def __init__(self, plane: ControlPlane, cache: Path, stack: ExitStack) -> None:
        self.plane = plane
        self.clock = SystemClock()
        self.host = LibvirtHost(wake=self.clock.wake)
        self.agent = Agent(
            access(plane.kubeconfig), NodeIdentity(NODE), cache, self.host, self.clock, Options(self.connect)
        )
        stack.callback(collect)
        stack.callback(self.host.close)
        self.host.start()
        stack.enter_context(self.agent)
        loop = threading.Thread(target=self.agent.loop.run)
        loop.start()
        stack.callback(loop.join)
        stack.callback(self.clock.stop)

    def connect(self, launchers: tuple[Launcher, ...], missing: Callable[[], str]) -> None:
        """A libvirt for each, with a guest of its own."""
        sources = [Source(f"default/{each.pod.name}", partial(fake, each.pod.name), each.pod) for each in launchers]
        self.host.connect(sources, missing)

    def looked_at(self) -> set[str]:
        """Names of pods."""
        domains = self.agent.status_store.document()["domains"]
        return {str(each["key"]).partition("@default/")[2] for each in domains if each["looks"]}

    def until_looked_at(self, numbers: range) -> None:
        names = {f"virt-launcher-{number}" for number in numbers}
        until(lambda: self.looked_at() == names, PATIENCE_S, f"{len(names)} looked at")


def collect() -> None:
    """kopf leaves a connection that ends amid a new watch to the garbage collector: not to that of a later test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def fake(name: str) -> FakeHandle:
    return FakeHandle(FakeDomain(int(name.rpartition("-")[2])))


@pytest.fixture
def full(contract: ControlPlane, tmp_path: Path) -> Iterator[FullNode]:
    """With all of its pods."""
    contract.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=180s")
    items = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}, *map(pod, range(PODS))]
    contract.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    with ExitStack() as stack:
        yield FullNode(contract, tmp_path, stack)
    contract.kubectl("delete", "pods", "-l", "kubevirt.io", "--force", "--grace-period=0")
    contract.kubectl("delete", "node", NODE)
    contract.kubectl("delete", "nms", "--all")


def test_an_agent_sees_to_a_hundred_pods_and_forgets_those_that_end(full):
    before = threading.active_count()
    full.until_looked_at(range(PODS))
    assert len(full.host.status()) == PODS
    assert all(each.connected for each in full.host.status())
    until(lambda: threading.active_count() <= before + THREADS, PATIENCE_S, "no thread stays for a pod")
    full.plane.kubectl("delete", "pods", "-l", "half=second", "--force", "--grace-period=0")
    full.until_looked_at(range(PODS // 2))
    assert len(full.host.status()) == PODS // 2

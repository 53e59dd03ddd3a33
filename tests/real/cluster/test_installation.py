"""All of it as a user installs it: pods of the DaemonSet and the Deployment on a real node, with real guests there."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from installation import PATIENCE_S, QUICK, Installation, quick, rests_below
from kustomized import kustomization

from lab.daemons import until
from lab.guest import Guest, GuestSpec
from lab.kubernetes import image
from lab.kubernetes.cluster import NAMESPACE, OVERLAY, apply
from lab.kubernetes.controlplane import ControlPlane
from lab.kubernetes.node import LabNode
from lab.libvirtd import PrivateLibvirtd

IN_USE_MIB = 40
FULL_MIB = 512
PRESSURE = "/host/proc/pressure/memory"
OPEN_FILES = "import os; print(*(os.readlink(each.path) for each in os.scandir('/proc/1/fd')))"
"""Of the pod's first process, for Python in the pod; the folder that is listed is gone when its turn comes."""

WRITE = """
try:
    open('/host/proc/sys/vm/swappiness', 'w')
except OSError as error:
    print(error.strerror)
"""


class InstalledWithGuest(Installation):
    """With a guest on its one node."""

    def __init__(self, plane: ControlPlane, guest: Guest) -> None:
        super().__init__(plane)
        self.guest = guest

    def look_again(self, times: int) -> None:
        """Wait until the agent has looked at the guest so many times more."""
        before = self.looks()
        until(lambda: self.looks() >= before + times, PATIENCE_S, f"{times} more looks")

    def looks(self) -> int:
        return int(self.state()["domains"][0]["looks"])

    def leader(self) -> str:
        """Name of the pod that holds the Lease: its identity is that and something unique."""
        path = "jsonpath={.spec.holderIdentity}"
        return self.kubectl("get", "lease", "ballast-aggregator", "-n", NAMESPACE, "-o", path).partition("_")[0]


@pytest.fixture(scope="module")
def running() -> Iterator[InstalledWithGuest]:
    """`kubectl apply -k` on a node with a guest that uses little."""
    with ExitStack() as stack:
        host = stack.enter_context(PrivateLibvirtd())
        guest = stack.enter_context(Guest(host, GuestSpec("idle", maximum=FULL_MIB, persistent=True)))
        plane = stack.enter_context(ControlPlane(scheduler=True))
        node = LabNode(plane, "lab", mounts={"/run/libvirt": host.sockets})
        image.install(node)
        # Without libvirt: no pod waits there, and so the rollouts end.
        other = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other"}}
        plane.kubectl("create", "-f", "-", input=json.dumps(other))
        apply(plane, OVERLAY)
        guest.wait_ready().use(IN_USE_MIB)
        yield InstalledWithGuest(plane, guest)


@pytest.fixture
def site(running: InstalledWithGuest) -> Iterator[InstalledWithGuest]:
    """Without policies before and after, and the guest with all of its memory."""
    yield running
    running.kubectl("delete", "mpol", "--all")
    running.guest.wait_until(lambda guest: guest.actual() == FULL_MIB, PATIENCE_S, "given back")


def shrunk(guest: Guest) -> bool:
    return guest.actual() < FULL_MIB - 100


def test_guests_follow_a_policy_that_is_applied_changed_and_deleted(site):
    site.apply("all", mode="Observe", **QUICK)
    site.look_again(6)
    (domain,) = site.state()["domains"]
    assert (domain["policy"], domain["mode"], site.guest.actual()) == ("all", "Observe", FULL_MIB)

    site.apply("all", mode="Enforce", **quick(threshold={"quantity": "512Mi"}))
    site.look_again(6)
    until(lambda: site.state()["domains"][0]["reason"] == "WithinThreshold", PATIENCE_S, "left as it is")
    assert site.guest.actual() == FULL_MIB

    site.apply("all", mode="Enforce", **QUICK)
    site.guest.wait_until(shrunk, PATIENCE_S, "shrunk")

    site.apply("all", mode="Enforce", **quick(model={"type": "LastValue"}))
    columns = site.kubectl("get", "mpol", "all", "--no-headers").split()
    assert columns[:7] == ["all", "Enforce", "0", "1", "1", columns[5], "True"]
    name, *sizes, domains, _reported, _age = site.kubectl("get", "nms", "--no-headers").split()
    assert (name, len(sizes), domains) == ("lab", 6, "1")

    site.kubectl("delete", "mpol", "all")
    site.guest.wait_until(lambda guest: guest.actual() == FULL_MIB, PATIENCE_S, "given back")
    assert site.guest.evidence().oom_kills == 0


def test_a_conflict_is_told_in_the_status_and_by_an_event_of_the_aggregators_own_token(site):
    site.apply("first")
    site.apply("second")
    until(lambda: site.condition("second", "Conflicted") == ("True", "OwnedByOthers"), PATIENCE_S, "conflict")
    assert site.condition("first", "Conflicted") == ("False", "NoConflict")

    def told() -> str:
        return site.kubectl("describe", "mpol", "second").partition("Events:")[2]

    until(lambda: "OwnedByOthers" in told(), PATIENCE_S, "event")
    assert "ballast.dev/aggregator" in told()


def test_an_agent_that_is_killed_is_replaced_and_guests_keep_their_memory_meanwhile(site):
    site.apply("all", mode="Enforce", **QUICK)
    site.guest.wait_until(shrunk, PATIENCE_S, "shrunk")
    until(lambda: rests_below(FULL_MIB - 100, site.state()), PATIENCE_S, "balloon at its target")
    (before,) = site.pod("agent")
    site.kubectl("delete", "-n", NAMESPACE, before, "--grace-period=0", "--force")
    assert shrunk(site.guest)
    site.wait_replaced(before)
    assert site.state()["domains"][0]["policy"] == "all"
    assert shrunk(site.guest)
    site.kubectl("delete", "mpol", "all")
    site.guest.wait_until(lambda guest: guest.actual() == FULL_MIB, PATIENCE_S, "the new one follows")


def test_a_leader_that_is_killed_is_followed_by_the_other_replica(site):
    site.apply("all", **QUICK)
    leader = site.leader()
    assert f"pod/{leader}" in site.pod("aggregator")
    site.kubectl("delete", "pod", "-n", NAMESPACE, leader, "--grace-period=0", "--force")
    until(lambda: site.leader() not in ("", leader), PATIENCE_S, "another leader")
    site.apply("all", weight=200, **QUICK)


def test_what_was_applied_shows_no_difference_after_all_have_run(site):
    spec = {"mode": "Enforce", **QUICK}
    site.apply("all", **spec)
    site.guest.wait_until(shrunk, PATIENCE_S, "shrunk")
    policy = site.policy("all")
    metadata = policy["metadata"]
    document = {key: policy[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "all"}, "spec": spec}
    assert site.kubectl("diff", "-f", "-", input=json.dumps(document)) == ""
    assert site.kubectl("diff", "-k", str(OVERLAY)) == ""
    assert set(metadata["annotations"]) == {"kubectl.kubernetes.io/last-applied-configuration"}
    assert metadata.keys().isdisjoint({"finalizers", "labels", "ownerReferences"})


def test_without_the_component_the_kernel_wakes_nobody_and_the_agent_says_so(site):
    assert PRESSURE not in site.in_pod("python3", "-c", OPEN_FILES)
    log = site.kubectl("logs", "-n", NAMESPACE, "daemonset/ballast-agent")
    assert "host memory pressure is taken from MemAvailable" in log


def test_with_the_component_for_pressure_the_kernel_wakes_the_agent(site, tmp_path):
    with component(site, "pressure", tmp_path):
        assert PRESSURE in site.in_pod("python3", "-c", OPEN_FILES)
        log = site.kubectl("logs", "-n", NAMESPACE, "daemonset/ballast-agent")
        assert "host memory pressure is taken from MemAvailable" not in log
        site.apply("all", **QUICK)


def test_the_agent_feels_guests_by_the_hosts_processes(site):
    until(lambda: site.sense("resident") == (1, ""), PATIENCE_S, "felt")


def test_nothing_of_the_hosts_proc_can_be_written_by_way_of_the_agent(site):
    assert site.in_pod("python3", "-c", WRITE).strip() == "Read-only file system"


def test_with_the_component_for_meminfo_nobody_is_felt_and_guests_follow_their_policy(site, tmp_path):
    with component(site, "meminfo", tmp_path):
        site.apply("all", mode="Enforce", **QUICK)
        site.guest.wait_until(shrunk, PATIENCE_S, "shrunk")
        told = "idle: /host/proc holds no processes; mount all of the host's there"
        until(lambda: site.sense("resident") == (0, told), PATIENCE_S, "nobody felt")


@contextmanager
def component(site: InstalledWithGuest, name: str, folder: Path) -> Iterator[None]:
    """The installation with a component of the manifests, and what the lab needs."""
    patches = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text())["patches"]
    try:
        apply(site.plane, kustomization(folder, [name], patches=patches))
        yield
    finally:
        apply(site.plane, OVERLAY)

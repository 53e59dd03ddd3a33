"""The aggregator on a real API server: statuses appear, follow the nodes, survive their leader, and rest."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from another_schema import odd_policy
from api_client import STATUS

from controller.aggregation.contribution import PolicyCounts
from controller.aggregation.rollup import STALE_AFTER_S, Policy, PolicySummary
from controller.aggregation.status import STATUS_BYTES, render
from controller.api.policy import NodeSelector
from controller.cli.aggregator_service import AggregatorSettings, wire
from controller.cluster.access import access
from controller.cluster.client import Client
from controller.cluster.election import LEASE_DURATION_S
from controller.cluster.errors import ApiError
from controller.cluster.policyevents import PolicyEvents
from controller.cluster.resources import EVENTS, LEASES, MEMORY_POLICIES, NODE_MEMORY_STATES, NODES
from controller.cluster.statuswriter import StatusWriter
from controller.cluster.store import PolicyStore
from controller.engine.ownership import NodeIdentity, assign
from controller.loop.clock import SystemClock
from controller.observe.aggregatorstatus import LEASE
from lab.daemons import until
from lab.kubernetes.controlplane import ControlPlane

CRDS = Path(__file__).parents[3] / "crds"
NAMESPACE = "ballast-system"
SOON_S = 120
"""Deadline for what takes the aggregator a second or two on an idle machine."""
NAMES = ("node-a", "node-b")
OBSERVED = "2026-01-31T12:00:00Z"


class StatesWithoutMachines:
    """Nodes without machines, and states as their agents would write them."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.client = Client(access(plane.kubeconfig))

    def add_node(self, name: str, **labels: str) -> None:
        self.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})

    def report(self, node: str, observed_time: str = OBSERVED, generation: int = 1, **figures: int) -> None:
        """What the agent of `node` does about the policy `all`."""
        uid = self.client.get(NODES, node)["metadata"]["uid"]
        listed = {each["metadata"]["name"]: each["metadata"]["uid"] for each in self.client.list(MEMORY_POLICIES).items}
        uids = [uid for name, uid in listed.items() if name == "all"]
        entries = [{"name": "all", "uid": uid, "observedGeneration": generation} for uid in uids]
        counts = {
            "domains": 4,
            "stableDomains": 4,
            "conflictedDomains": 0,
            "stuckDomains": 0,
            "unmetDomains": 0,
            "reallocations": 7,
            "looks": 100,
            "looksSaved": 900,
            "shortfall": "0Mi",
        } | figures
        status = {
            "observedTime": observed_time,
            "memory": STATUS["memory"],
            "domains": 4,
            "stableDomains": 4,
            "policies": [each | {"mode": "Observe"} | counts for each in entries],
        }
        owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
        state = {
            "apiVersion": NODE_MEMORY_STATES.api_version,
            "kind": NODE_MEMORY_STATES.kind,
            "metadata": {"name": node, "ownerReferences": [owner]},
            "status": status,
        }
        for subresource in ("", "status"):
            self.client.apply(NODE_MEMORY_STATES, state, field_manager="ballast-agent", subresource=subresource)

    def apply(self, **spec: Any) -> None:
        """The policy `all`, as its user would apply it; nodes take up a new one at once, but no changes."""
        applied = self.plane.kubectl("apply", "-f", "-", input=self.manifest(**spec))
        if "created" in applied:
            for name in NAMES:
                self.report(name)

    def manifest(self, **spec: Any) -> str:
        metadata = {"name": "all"}
        return json.dumps(
            {"apiVersion": MEMORY_POLICIES.api_version, "kind": "MemoryPolicy", "metadata": metadata, "spec": spec}
        )

    def policy(self) -> dict[str, Any]:
        return self.client.get(MEMORY_POLICIES, "all")

    def status(self) -> dict[str, Any]:
        return self.policy().get("status") or {}

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason."""
        found = [each for each in self.status().get("conditions", ()) if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    def becomes(self, **expected: Any) -> None:
        """Wait until the status says so."""
        until(lambda: expected.items() <= self.status().items(), SOON_S, f"status {expected}")

    def leader(self) -> str:
        """Who holds the Lease; empty when nobody does."""
        leases = self.client.list(LEASES, namespace=NAMESPACE).items
        holders = {lease["metadata"]["name"]: lease["spec"].get("holderIdentity") for lease in leases}
        return holders.get(LEASE) or ""

    def clear(self) -> None:
        self.plane.kubectl("delete", "memorypolicies,nodememorystates,nodes", "--all")
        self.plane.kubectl("delete", "lease", "--all", "-n", NAMESPACE)


@pytest.fixture(scope="module")
def prepared(control_plane: ControlPlane) -> StatesWithoutMachines:
    control_plane.define(CRDS)
    control_plane.kubectl("create", "namespace", NAMESPACE)
    return StatesWithoutMachines(control_plane)


@pytest.fixture
def cluster(prepared: StatesWithoutMachines) -> Iterator[StatesWithoutMachines]:
    """Two nodes that report, and no policy yet."""
    for name in NAMES:
        prepared.add_node(name, tier="gold" if name == "node-a" else "tin")
        prepared.report(name)
    yield prepared
    prepared.clear()


Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(cluster: StatesWithoutMachines, tmp_path: Path) -> Iterator[Start]:
    """`start("a")` runs `ballast aggregator` with this identity; what runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(identity: str) -> subprocess.Popen[str]:
        command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "controller", "aggregator"]
        access = ["--kubeconfig", str(cluster.plane.kubeconfig), "--namespace", NAMESPACE]
        options = ["--identity", identity, "--listen", "none"]
        environment = os.environ | {"TMPDIR": str(tmp_path)}  # what is killed leaves no unpacked key elsewhere
        process = subprocess.Popen([*command, *access, *options], env=environment, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


class HurriedClock(SystemClock):
    """Real time, and as much more as is wished for."""

    more = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.more


@contextmanager
def running(cluster: StatesWithoutMachines, clock: SystemClock, identity: str = "here") -> Iterator[None]:
    """An aggregator in this process, for its clock."""
    with ExitStack() as stack:
        aggregator = wire(AggregatorSettings(cluster.plane.kubeconfig, NAMESPACE, identity), None, clock, stack)
        thread = threading.Thread(target=aggregator.run)
        thread.start()
        try:
            yield
        finally:
            clock.stop()
            thread.join()


def test_a_policy_becomes_ready_and_kubectl_can_wait_for_it(cluster, start):
    start("a")
    cluster.apply()
    cluster.plane.kubectl("wait", "--for=condition=Ready", "mpol/all", f"--timeout={SOON_S}s")
    status = cluster.status()
    assert {field: status[field] for field in ("nodes", "reportingNodes", "unknownNodes", "domains", "stable")} == {
        "nodes": 2,
        "reportingNodes": 2,
        "unknownNodes": 0,
        "domains": 8,
        "stable": "8/8",
    }
    assert status["observedGeneration"] == cluster.policy()["metadata"]["generation"]
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [
        ("Ready", "True"),
        ("Stable", "True"),
        ("Degraded", "False"),
        ("Conflicted", "False"),
    ]
    assert len(json.dumps(status, separators=(",", ":"))) <= STATUS_BYTES
    columns = cluster.plane.kubectl("get", "mpol", "all", "--no-headers").split()
    assert columns[:8] == ["all", "Observe", "0", "2", "8", "8/8", "True", "False"]


def test_a_changed_policy_is_ready_again_when_every_node_follows(cluster, start):
    start("a")
    cluster.apply()
    cluster.becomes(observedGeneration=1)
    cluster.apply(weight=200)
    cluster.becomes(observedGeneration=2)
    assert cluster.condition("Ready") == ("False", "NodesPending")
    for name in NAMES:
        cluster.report(name, "2026-01-31T12:00:01Z", generation=2)
    cluster.plane.kubectl("wait", "--for=condition=Ready", "mpol/all", f"--timeout={SOON_S}s")


def test_a_policy_deleted_and_made_anew_is_ready_when_every_node_follows_the_new_one(cluster, start):
    start("a")
    cluster.apply()
    cluster.plane.kubectl("wait", "--for=condition=Ready", "mpol/all", f"--timeout={SOON_S}s")
    cluster.plane.kubectl("delete", "mpol", "all")
    cluster.plane.kubectl("apply", "-f", "-", input=cluster.manifest())
    cluster.becomes(observedGeneration=1, nodes=2, domains=0)
    assert cluster.condition("Ready") == ("False", "NodesPending")
    for name in NAMES:
        cluster.report(name, "2026-01-31T12:00:01Z")
    cluster.plane.kubectl("wait", "--for=condition=Ready", "mpol/all", f"--timeout={SOON_S}s")


def test_only_selected_nodes_count_and_labels_are_followed(cluster, start):
    start("a")
    cluster.apply(nodeSelector={"matchLabels": {"tier": "gold"}})
    cluster.becomes(nodes=1, domains=4)
    cluster.plane.kubectl("label", "node", "node-b", "tier=gold", "--overwrite")
    cluster.becomes(nodes=2, domains=8)


def test_a_rollout_is_enforced_by_as_many_nodes_as_it_says_which_stay_until_they_are_gone(cluster, start):
    for name in ("node-c", "node-d", "node-e"):
        cluster.add_node(name)
        cluster.report(name)
    cluster.apply(mode="Enforce", rollout={"maximumNodes": 2})
    assert enforcing(cluster) == set()
    start("a")
    cluster.becomes(enforcing="2/5", observedGeneration=1)
    first = enforcing(cluster)
    assert (len(first), sorted(first)) == (2, cluster.status()["enforcingNodes"])
    gone, stays = sorted(first)
    cluster.plane.kubectl("delete", "node", gone)
    cluster.becomes(enforcing="2/4")
    second = enforcing(cluster)
    assert (gone in second, stays in second, len(second)) == (False, True, 2)
    cluster.apply(mode="Enforce", rollout={"maximumNodes": "70%"})
    cluster.becomes(enforcing="3/4", observedGeneration=2)
    assert second < enforcing(cluster)
    assert cluster.plane.kubectl("get", "mpol", "all", "-o", "wide", "--no-headers").split().count("3/4") == 1
    cluster.apply(mode="Enforce")
    until(lambda: "enforcing" not in cluster.status(), SOON_S, "no rollout any more")
    assert "enforcingNodes" not in cluster.status()
    assert len(enforcing(cluster)) == 5


def enforcing(cluster: StatesWithoutMachines) -> set[str]:
    """Nodes whose agents enforce the policy `all` as it is now."""
    page = cluster.client.list(MEMORY_POLICIES)

    def enforces(node: str) -> bool:
        store = PolicyStore(node)
        store.replace(page.items, page.resource_version, store.told)
        return assign((), store.known.policies, NodeIdentity(node)).inventory.modes == ("Enforce",)

    return {name for name in (*NAMES, "node-c", "node-d", "node-e") if enforces(name)}


def test_what_is_wrong_on_a_node_is_told_with_the_nodes_name(cluster, start):
    start("a")
    cluster.apply()
    cluster.report("node-b", "2026-01-31T12:00:01Z", stuckDomains=1, stableDomains=2, conflictedDomains=3)
    cluster.becomes(stuckDomains=1, stable="6/8", conflictedDomains=3)
    assert cluster.condition("Stable") == ("False", "DomainsUnstable")
    assert cluster.condition("Degraded") == ("True", "DomainsStuck")
    assert cluster.condition("Conflicted") == ("True", "OwnedByOthers")
    (worst,) = cluster.status()["worstNodes"]
    assert (worst["name"], worst["reason"], worst["stuckDomains"]) == ("node-b", "Stuck", 1)
    until(lambda: len(events(cluster)) == 2, SOON_S, "events")
    assert events(cluster) == {("Warning", "DomainsStuck"), ("Warning", "OwnedByOthers")}
    assert "OwnedByOthers" in cluster.plane.kubectl("describe", "mpol", "all").partition("Events:")[2]


def events(cluster: StatesWithoutMachines) -> set[tuple[str, str]]:
    """Type and reason of what kubectl shows of the policy `all`."""
    uid = cluster.policy()["metadata"]["uid"]
    listed = cluster.client.list(EVENTS, namespace="default").items
    return {(each["type"], each["reason"]) for each in listed if each["regarding"].get("uid") == uid}


@pytest.mark.parametrize(
    "name", ["x" * 253, "a." * 100 + "b", ".".join(["x" * 57, "y"])], ids=["longest", "dots", "cut"]
)
def test_an_event_of_any_policy_is_taken(cluster, name):
    condition = {"type": "Degraded", "status": "True", "reason": "Stuck", "message": "\U0001f418" * 2000}
    PolicyEvents(cluster.client, "i" * 253, time.monotonic, time.time).tell(name, "uid", condition)
    told = cluster.client.list(EVENTS, namespace="default").items
    assert [each["regarding"]["name"] for each in told if each["regarding"]["name"] == name] == [name]


def test_a_policy_of_another_schema_is_told_so_and_the_others_go_on(cluster, start):
    start("a")
    with odd_policy(cluster.plane):

        def told() -> dict[str, Any]:
            conditions = cluster.client.get(MEMORY_POLICIES, "odd").get("status", {}).get("conditions", ())
            return next((each for each in conditions if each["type"] == "Ready"), {})

        until(lambda: told().get("reason") == "PolicyUnreadable", SOON_S, "unreadable")
        assert told()["status"] == "False"
        assert "spec.moonPhase: 'full': unknown field; remove it" in told()["message"]
        cluster.apply()
        cluster.plane.kubectl("wait", "--for=condition=Ready", "mpol/all", f"--timeout={SOON_S}s")


def test_a_node_that_is_deleted_takes_its_state_and_its_sums_along(cluster, start):
    start("a")
    cluster.apply()
    cluster.becomes(nodes=2)
    cluster.plane.kubectl("delete", "node", "node-b")
    cluster.becomes(nodes=1, domains=4)
    states = lambda: cluster.plane.kubectl("get", "nms", "-o", "name").split()  # noqa: E731 - asked again and again
    until(lambda: states() == ["nodememorystate.ballast.dev/node-a"], SOON_S, "state collected")


def test_a_leader_that_is_killed_is_followed_by_the_other_which_goes_on_writing(cluster, start):
    first = start("a")
    until(lambda: cluster.leader() == "a", SOON_S, "a leads")
    start("b")
    cluster.apply()
    cluster.becomes(nodes=2)
    first.send_signal(signal.SIGKILL)
    cluster.report("node-a", "2026-01-31T12:00:01Z", reallocations=100)
    until(lambda: cluster.leader() == "b", LEASE_DURATION_S + SOON_S, "b leads")
    cluster.becomes(reallocations=107)


def test_a_leader_that_is_stopped_gives_the_lead_away_at_once(cluster, start):
    first = start("a")
    until(lambda: cluster.leader() == "a", SOON_S, "a leads")
    start("b")
    cluster.apply()
    cluster.becomes(nodes=2)
    first.terminate()
    assert first.wait(SOON_S) == 0
    assert cluster.leader() != "a"
    until(lambda: cluster.leader() == "b", SOON_S, "b leads")


def test_at_rest_nothing_is_written_and_the_applied_policy_shows_no_difference(cluster, start):
    cluster.apply(weight=200)
    for name in NAMES:
        cluster.report(name, "2026-01-31T12:00:01Z", looks=200)
    start("a")  # once all is reported: looks alone are not written for minutes
    cluster.becomes(looks=400)
    before = cluster.policy()["metadata"]
    for second in range(2, 8):
        cluster.report("node-a", f"2026-01-31T12:00:{second:02}Z", looks=200 + second)
        cluster.plane.kubectl("annotate", "node", "node-b", f"second={second}", "--overwrite")
    cluster.apply(weight=200)
    assert cluster.plane.kubectl("diff", "-f", "-", input=cluster.manifest(weight=200)) == ""
    assert cluster.policy()["metadata"] == before
    assert "finalizers" not in before
    assert set(before.get("annotations", {})) == {"kubectl.kubernetes.io/last-applied-configuration"}
    owners = {each["manager"]: each.get("subresource") for each in before["managedFields"]}
    assert owners == {"kubectl-client-side-apply": None, "ballast-aggregator": "status"}


def test_a_node_that_stops_reporting_becomes_unknown_with_the_time_of_its_last_report(cluster):
    clock = HurriedClock()
    cluster.apply()
    with running(cluster, clock):
        cluster.becomes(nodes=2, reportingNodes=2)
        clock.more += STALE_AFTER_S * 2 / 3
        cluster.report("node-a", "1999-01-01T00:00:00Z")
        cluster.becomes(nodes=2, reportingNodes=2)
        until(lambda: cluster.status()["reportingNodes"] == 2, SOON_S, "still known")
        clock.more += STALE_AFTER_S / 3
        cluster.becomes(nodes=2, reportingNodes=1, unknownNodes=1, domains=4)
        assert cluster.condition("Ready") == ("False", "NodesUnknown")
        (worst,) = cluster.status()["worstNodes"]
        writers = cluster.client.get(NODE_MEMORY_STATES, "node-b")["metadata"]["managedFields"]
        written = max(each["time"] for each in writers)
        assert (worst["name"], worst["unknown"], worst["lastReportTime"]) == ("node-b", True, written)
        cluster.report("node-b", "1999-01-01T00:00:00Z")
        cluster.becomes(reportingNodes=2, unknownNodes=0, domains=8)


def test_an_api_server_that_goes_away_and_comes_back_is_taken_up_again(cluster, start):
    start("a")
    cluster.apply()
    cluster.becomes(nodes=2)
    cluster.plane.kill_apiserver()
    cluster.plane.start_apiserver()
    cluster.report("node-a", "2026-01-31T12:00:01Z", stuckDomains=2)
    until(lambda: cluster.status().get("stuckDomains") == 2, LEASE_DURATION_S + SOON_S, "written after the outage")


def test_a_write_of_a_former_leader_is_refused_once_the_next_has_written(cluster):
    cluster.apply()
    metadata = cluster.policy()["metadata"]
    summary = PolicySummary(Policy("all", metadata["uid"], 1, NodeSelector()), PolicyCounts(), ())
    writer = StatusWriter(cluster.client)
    writer.write("all", metadata["resourceVersion"], render(summary, None, OBSERVED))
    late = render(summary, None, "2026-01-31T12:00:01Z")
    with pytest.raises(ApiError) as overtaken:
        writer.write("all", metadata["resourceVersion"], late)
    assert overtaken.value.conflict
    assert cluster.status()["lastChangeTime"] == OBSERVED


def test_a_status_is_not_written_to_another_policy_of_the_same_name_nor_does_it_make_one(cluster):
    cluster.apply()
    before = cluster.policy()["metadata"]
    status = render(PolicySummary(Policy("all", before["uid"], 1, NodeSelector()), PolicyCounts(), ()), None, OBSERVED)
    cluster.plane.kubectl("delete", "mpol", "all")
    writer = StatusWriter(cluster.client)
    with pytest.raises(ApiError) as gone:
        writer.write("all", before["resourceVersion"], status)
    assert gone.value.not_found
    cluster.apply()
    with pytest.raises(ApiError) as another:
        writer.write("all", before["resourceVersion"], status)
    assert another.value.conflict
    assert "nodes" not in cluster.status()

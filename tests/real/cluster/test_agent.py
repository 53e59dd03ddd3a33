"""`ballast agent` as a process, against a real API server; libvirt's test driver or real guests are its node."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import installation
import pytest
from another_schema import odd_policy

from controller.api.documents import load
from controller.cluster.access import access
from controller.cluster.cache import FILE
from controller.cluster.client import Client
from controller.cluster.findings import findings
from controller.cluster.nodeevents import NodeEvents
from controller.cluster.resources import EVENTS
from controller.engine.guest_pressure import PressureLevel
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import align
from lab.ballast import AggregatorProcess, BallastProcess, NodeAgent
from lab.daemons import until
from lab.guest import Guest, GuestSpec
from lab.kubernetes.controlplane import ControlPlane
from lab.libvirtd import PrivateLibvirtd
from lab.relay import Relay

TEST_DRIVER = "test:///default"
"""One running domain, `test`, inside the libvirt library."""
PATIENCE_S = 120.0
PAUSED_S = 30.0
"""Deadline for a pause to hold, or to end; it takes a second or two."""
CRDS = Path(__file__).parents[3] / "crds"
NODE = "node-a"
QUICK = {"mode": "Enforce"} | installation.QUICK


class UserCluster:
    """The control plane as a user has it in hand."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.kubectl = plane.kubectl

    def apply(self, name: str, **spec: Any) -> None:
        installation.apply_policy(self.plane, name, **spec)

    def delete(self, name: str) -> None:
        self.kubectl("delete", "memorypolicy", name)

    def get(self, *what: str) -> dict[str, Any]:
        """One object, with all of its metadata."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *what, "-o", "json", "--show-managed-fields"))
        return found

    def make_node(self, **labels: str) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}}
        self.kubectl("apply", "-f", "-", input=json.dumps(node))

    def reported(self) -> dict[str, Any]:
        """The status of the node's state; empty while there is none."""
        found = self.kubectl("get", "nodememorystate", NODE, "-o", "json", "--ignore-not-found")
        status: dict[str, Any] = json.loads(found).get("status", {}) if found else {}
        return status


@pytest.fixture
def cluster(contract: ControlPlane) -> Iterator[UserCluster]:
    """With the node, and without policies before and after."""
    made = UserCluster(contract)
    made.make_node(tier="gold")
    yield made
    made.kubectl("delete", "memorypolicies", "--all")
    made.kubectl("delete", "nodememorystates", "--all")
    made.kubectl("delete", "node", NODE, "--ignore-not-found")
    made.kubectl("delete", "events", "--all", "-n", "default")


StartAgent = Callable[..., NodeAgent]


@pytest.fixture
def start(cluster: UserCluster, tmp_path: Path) -> Iterator[StartAgent]:
    """`start()` runs an agent on the node; log and cache are in `tmp_path`."""
    with ExitStack() as stack:

        def started(
            kubeconfig: Path = cluster.plane.kubeconfig, uri: str = TEST_DRIVER, ready: bool = True
        ) -> NodeAgent:
            agent = stack.enter_context(NodeAgent(NODE, kubeconfig, uri, tmp_path))
            if ready:
                until(lambda: agent.not_ready() == "", PATIENCE_S, f"agent ready; it says {agent.not_ready()}")
            return agent

        yield started


def owners(agent: NodeAgent) -> dict[str, str | None]:
    """By domain, the policy that owns it."""
    return {domain["name"]: domain["policy"] for domain in agent.state()["domains"]}


def wait_owner(agent: NodeAgent, policy: str | None) -> None:
    until(lambda: owners(agent) == {"test": policy}, PATIENCE_S, f"owner {policy}")


def mode(agent: NodeAgent) -> str:
    return str(agent.state()["policies"][0]["mode"])


def log(folder: Path) -> list[str]:
    return (folder / "ballast.log").read_text().splitlines()


def test_a_policy_counts_when_applied_changed_and_deleted_and_is_never_written_to(cluster, start):
    agent = start()
    assert owners(agent) == {"test": None}
    cluster.apply("all", mode="Observe")
    wait_owner(agent, "all")
    before = cluster.get("memorypolicy", "all")["metadata"]
    assert mode(agent) == "Observe"
    until(lambda: cluster.reported().get("policyCount") == 1, PATIENCE_S, "reported")
    assert cluster.get("memorypolicy", "all")["metadata"] == before
    cluster.apply("all", mode="Enforce")
    until(lambda: mode(agent) == "Enforce", PATIENCE_S, "mode changed")
    cluster.delete("all")
    wait_owner(agent, None)


def test_what_the_kubelet_keeps_free_is_known_and_kept_whatever_policies_say(cluster, start, tmp_path):
    status = {"capacity": {"memory": "8Gi"}, "allocatable": {"memory": "7Gi"}}
    cluster.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    cluster.apply("all", budget={"reserve": "0", "reservePercent": 0})
    agent = start()
    until(lambda: agent.state()["node"]["reserve"] == 100 * 2**20, PATIENCE_S, "default threshold of eviction kept")
    (remembered,) = tmp_path.rglob(FILE)
    until(lambda: json.loads(remembered.read_text())["node"]["withheld"] == 2**30, PATIENCE_S, "withheld from pods")


def test_no_policy_takes_from_what_the_node_keeps_by_its_own_setting(cluster, start, monkeypatch):
    cluster.apply("all", mode="Enforce", budget={"reserve": "0", "reservePercent": 0})
    monkeypatch.setenv("BALLAST_AGENT_BUDGET", "reserve=1Gi reservePercent=0")
    start()
    until(lambda: cluster.reported().get("memory", {}).get("reserve") == "1024Mi", PATIENCE_S, "what the node keeps")
    cluster.apply("all", mode="Enforce", budget={"reserve": "2Gi"})
    until(lambda: cluster.reported()["memory"]["reserve"] == "2048Mi", PATIENCE_S, "what the policy keeps besides")


def test_a_pause_stops_all_that_is_enforced_within_seconds_and_until_it_is_deleted(cluster, start):
    cluster.apply("all", mode="Enforce")
    agent = start()
    until(lambda: mode(agent) == "Enforce", PATIENCE_S, "enforced")
    cluster.apply("stop", mode="Pause")
    until(lambda: agent.state()["node"]["paused"], PAUSED_S, "paused")
    assert {each["name"]: each["mode"] for each in agent.state()["policies"]} == {"all": "Observe", "stop": "Pause"}
    until(lambda: conditions(cluster).get("Paused") == "True", PATIENCE_S, "paused, says the state")
    cluster.delete("stop")
    until(lambda: mode(agent) == "Enforce", PAUSED_S, "enforced again")
    until(lambda: conditions(cluster).get("Paused") == "False", PATIENCE_S, "not paused, says the state")


def conditions(cluster: UserCluster) -> dict[str, str]:
    return {each["type"]: each["status"] for each in cluster.reported().get("conditions", ())}


def test_the_nodes_state_is_small_and_belongs_to_the_node(cluster, start):
    for number in range(30):
        cluster.apply(f"policy-{number}-{'x' * 40}")
    start()
    until(lambda: cluster.reported().get("policyCount") == 30, PATIENCE_S, "all reported")
    state = cluster.get("nodememorystate", NODE)
    uid = cluster.get("node", NODE)["metadata"]["uid"]
    assert state["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid}]
    managers = [(each["manager"], each.get("subresource", "")) for each in state["metadata"]["managedFields"]]
    assert managers == [("ballast-agent", ""), ("ballast-agent", "status")]
    assert len(json.dumps(state, separators=(",", ":"))) <= 4096
    assert state["status"]["policiesLeftOut"] == 0
    assert (
        0
        < len(state["status"]["policies"])
        < 30
        == len(state["status"]["policies"]) + len(state["status"]["briefPolicies"])
    )


def test_the_state_goes_with_its_node(cluster, start):
    with start():
        until(cluster.reported, PATIENCE_S, "reported")
    cluster.kubectl("delete", "node", NODE)
    until(lambda: not cluster.reported(), PATIENCE_S, "collected")


def test_labels_of_the_node_count_when_they_change(cluster, start):
    cluster.apply("gold", nodeSelector={"matchLabels": {"tier": "gold"}})
    agent = start()
    wait_owner(agent, "gold")
    cluster.kubectl("label", "node", NODE, "tier=lead", "--overwrite")
    wait_owner(agent, None)
    cluster.kubectl("label", "node", NODE, "tier=gold", "--overwrite")
    wait_owner(agent, "gold")


def test_the_loop_goes_on_while_the_api_server_is_away_and_the_state_catches_up(cluster, start, tmp_path):
    cluster.apply("all")
    agent = start()
    wait_owner(agent, "all")
    until(cluster.reported, PATIENCE_S, "reported")
    lines = len(log(tmp_path))
    cluster.plane.kill_apiserver()
    try:
        until(lambda: "API server" in "\n".join(log(tmp_path)[lines:]), PATIENCE_S, "noticed")
        looks = agent.state()["domains"][0]["looks"]
        until(lambda: agent.state()["domains"][0]["looks"] >= looks + 2, PATIENCE_S, "looks without API server")
        assert owners(agent) == {"test": "all"}
        assert agent.not_ready() == ""
        until(lambda: "does not answer" in agent.state()["outage"], PATIENCE_S, "outage told")
        assert agent.state()["problems"] == []
    finally:
        cluster.plane.start_apiserver()
    cluster.apply("all", mode="Enforce")
    until(lambda: mode(agent) == "Enforce", PATIENCE_S, "the new mode")
    until(lambda: cluster.reported()["policies"][0]["mode"] == "Enforce", PATIENCE_S, "reported")
    told = [line for line in log(tmp_path)[lines:] if "WARNING" in line or "ERROR" in line]
    assert 1 <= len(told) <= 4, told
    assert not any("Traceback" in line for line in log(tmp_path))


def test_a_policy_deleted_while_nothing_was_heard_is_gone(cluster, start, tmp_path):
    cluster.apply("kept")
    cluster.apply("deleted", priority=5)
    with Relay(cluster.plane.url) as relay:
        agent = start(relay.kubeconfig(cluster.plane.kubeconfig, tmp_path))
        wait_owner(agent, "deleted")
        relay.cut()
        cluster.delete("deleted")
        # An API server that was started anew knows nothing older: every watch that goes on is 410 Gone.
        cluster.plane.kill_apiserver()
        cluster.plane.start_apiserver()
        cluster.kubectl("label", "node", NODE, "tier=lead", "--overwrite")
        relay.mend()
        wait_owner(agent, "kept")
        cluster.apply("kept", mode="Enforce")
        until(lambda: mode(agent) == "Enforce", PATIENCE_S, "heard again")
        cluster.apply("lead", priority=9, nodeSelector={"matchLabels": {"tier": "lead"}})
        wait_owner(agent, "lead")


def test_an_agent_started_while_the_api_server_is_away_goes_on_from_its_cache(cluster, start):
    cluster.apply("gold", nodeSelector={"matchLabels": {"tier": "gold"}})
    with start() as agent:
        wait_owner(agent, "gold")
    cluster.plane.kill_apiserver()
    try:
        agent = start()
        wait_owner(agent, "gold")
    finally:
        cluster.plane.start_apiserver()
    cluster.delete("gold")
    wait_owner(agent, None)


def test_without_api_server_and_cache_it_waits_and_says_for_what(cluster, start):
    cluster.apply("all")
    cluster.plane.kill_apiserver()
    try:
        agent = start(ready=False)
        missing = f"waiting for the first list of MemoryPolicies and the Node {NODE}\n"
        until(lambda: agent.not_ready() == missing, PATIENCE_S, "that missing, and no more")
        assert owners(agent) == {"test": None}
    finally:
        cluster.plane.start_apiserver()
    wait_owner(agent, "all")
    assert agent.not_ready() == ""


def test_without_libvirt_it_waits_and_says_so(start):
    agent = start(uri="qemu:///embed?root=/nonexistent/ballast", ready=False)
    until(lambda: "waiting" not in agent.not_ready() and "qemu:///" in agent.not_ready(), PATIENCE_S, "libvirt missing")


def test_a_policy_of_another_schema_is_reported_and_the_others_go_on(cluster, start):
    cluster.apply("good")
    with odd_policy(cluster.plane):
        agent = start()
        (problem,) = agent.state()["problems"]
        assert problem.startswith("MemoryPolicy odd: spec.moonPhase: 'full': unknown field")
        assert owners(agent) == {"test": "good"}
        cluster.apply("good", mode="Enforce")
        until(lambda: mode(agent) == "Enforce", PATIENCE_S, "the others go on")
    until(lambda: not agent.state()["problems"], PATIENCE_S, "problem gone")


def test_a_conflict_is_an_event_of_the_node(cluster, start):
    cluster.apply("first")

    cluster.apply("second")
    start()

    def told() -> str:
        return cluster.kubectl("get", "events", "--field-selector", f"involvedObject.name={NODE},reason=Conflicted")

    until(lambda: "MemoryPolicy second is Conflicted: MemoryPolicy first owns test" in told(), PATIENCE_S, "event")
    assert f"node/{NODE}" in told()
    assert "MemoryPolicy second is Conflicted" in cluster.kubectl("describe", "node", NODE)


def test_kinds_that_are_installed_late_or_anew_are_watched(tmp_path):
    with ControlPlane() as plane:
        cluster = UserCluster(plane)
        cluster.make_node()
        with NodeAgent(NODE, plane.kubeconfig, TEST_DRIVER, tmp_path) as agent:
            until(lambda: "kubectl apply -k crds" in "\n".join(log(tmp_path)), PATIENCE_S, "said what is missing")
            awaited = "waiting for the first list of MemoryPolicies"
            until(lambda: awaited in agent.not_ready(), PATIENCE_S, "said what is awaited")
            for name in ("late", "anew"):
                plane.define(CRDS)
                cluster.apply(name)
                wait_owner(agent, name)
                cluster.apply(name, mode="Enforce")
                until(lambda: mode(agent) == "Enforce", PATIENCE_S, "watched")
                # the API server takes minutes where an agent still wrote a state as its kind began to go
                cluster.kubectl("delete", "-k", str(CRDS), "--timeout=180s")
                wait_owner(agent, None)
    told = [line for line in log(tmp_path) if "WARNING" in line or "ERROR" in line]
    assert len(told) <= 12, told


@pytest.fixture
def agents_kubeconfig(cluster: UserCluster, installed: ControlPlane, tmp_path: Path) -> Iterator[Path]:
    """What a pod of the DaemonSet on the node may do, with a token as the kubelet gives it."""
    system = ("-n", "ballast-system")
    spec = {"serviceAccountName": "ballast-agent", "nodeName": NODE, "containers": [{"name": "agent", "image": "none"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "its-agent"}, "spec": spec}
    cluster.kubectl("apply", *system, "-f", "-", input=json.dumps(pod))
    bound = ("--bound-object-kind=Pod", "--bound-object-name=its-agent")
    token = cluster.kubectl("create", "token", "ballast-agent", *system, *bound).strip()
    config = json.loads(installed.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "agent.kubeconfig"
    file.write_text(json.dumps(config))
    yield file
    cluster.kubectl("delete", "pod", "its-agent", *system, "--force")


def test_the_rights_of_the_manifests_are_all_it_needs(cluster, start, agents_kubeconfig, tmp_path):
    cluster.apply("first")
    agent = start(agents_kubeconfig)
    wait_owner(agent, "first")
    cluster.apply("second")
    until(lambda: cluster.reported().get("policyCount") == 2, PATIENCE_S, "reported")
    told = ("get", "events", "--field-selector", f"involvedObject.name={NODE},reason=Conflicted", "-o", "name")
    until(lambda: cluster.kubectl(*told) != "", PATIENCE_S, "event")
    assert not [line for line in log(tmp_path) if "forbidden" in line]


def test_of_more_policies_than_a_state_has_room_for_in_full_every_generation_is_told(cluster, start, tmp_path):
    """And what the aggregator makes of it is the truth: none is Ready before the node runs its present generation."""
    names = [f"layer-{number:02}" for number in range(25)]
    for number, name in enumerate(names):
        cluster.apply(name, priority=number)
    start()
    until(lambda: cluster.reported().get("policyCount") == len(names), PATIENCE_S, "reported")
    told = cluster.reported()
    assert (told["policiesLeftOut"], len(told["briefPolicies"]) > 0) == (0, True)
    cluster.kubectl("create", "namespace", "ballast-system", check=False)
    with AggregatorProcess("a", cluster.plane.kubeconfig, tmp_path / "aggregator.log"):
        cluster.kubectl("wait", "--for=condition=Ready", "mpol", "--all", f"--timeout={PATIENCE_S:.0f}s")
        by_uid = {cluster.get("mpol", name)["metadata"]["uid"][:13]: name for name in names}
        brief = next(by_uid[uid] for uid in cluster.reported()["briefPolicies"])
        assert condition(cluster, brief, "Conflicted") == ("False", "Overridden")
        assert condition(cluster, names[-1], "Conflicted") == ("False", "NoConflict")
        assert cluster.get("mpol", brief)["status"]["overriddenDomains"] == 1
        cluster.apply(brief, priority=names.index(brief), weight=7)
        cluster.kubectl("wait", "--for=jsonpath={.status.observedGeneration}=2", f"mpol/{brief}", "--timeout=120s")
        cluster.kubectl("wait", "--for=condition=Ready", f"mpol/{brief}", f"--timeout={PATIENCE_S:.0f}s")
        generations = [numbers[0] for numbers in cluster.reported()["briefPolicies"].values()]
        assert sorted(generations)[-2:] == [1, 2]
    assert (
        cluster.kubectl("get", "events", "-n", "default", "--field-selector", "reason=Conflicted", "-o", "name") == ""
    )


def test_a_rollout_comes_to_the_node_once_the_aggregator_names_it_and_again_after_each_change(cluster, start, tmp_path):
    cluster.apply("all", mode="Enforce", rollout={"maximumNodes": 1})
    agent = start()
    wait_owner(agent, "all")
    assert (mode(agent), agent.state()["warnings"]) == ("Observe", [])
    assert "does not name this node" in agent.state()["domains"][0]["advice"]
    cluster.kubectl("create", "namespace", "ballast-system", check=False)
    with AggregatorProcess("a", cluster.plane.kubeconfig, tmp_path / "aggregator.log"):
        until(lambda: mode(agent) == "Enforce", PATIENCE_S, "named")
        cluster.apply("all", mode="Enforce", rollout={"maximumNodes": "100%"}, weight=7)
        cluster.kubectl("wait", "--for=jsonpath={.status.observedGeneration}=2", "mpol/all", "--timeout=120s")
        until(lambda: agent.state()["policies"][0]["generation"] == 2, PATIENCE_S, "the new spec")
        until(lambda: mode(agent) == "Enforce", PATIENCE_S, "named again")
    cluster.apply("all", mode="Enforce", rollout={"maximumNodes": 1}, weight=8)
    until(lambda: mode(agent) == "Observe", PATIENCE_S, "nobody says who enforces the newest spec")


def test_a_policy_deleted_and_made_anew_is_ready_each_time_whatever_was_being_written_of_its_predecessor(
    cluster, start, tmp_path
):
    start()
    cluster.kubectl("create", "namespace", "ballast-system", check=False)
    manifest = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "again"}}
    with AggregatorProcess("a", cluster.plane.kubeconfig, tmp_path / "aggregator.log"):
        for weight in range(100, 103):
            text = json.dumps(manifest | {"spec": {"weight": weight}})
            cluster.kubectl("replace", "--force", "-f", "-", input=text) if weight > 100 else cluster.apply("again")
            uid = cluster.get("mpol", "again")["metadata"]["uid"]
            cluster.kubectl("wait", "--for=condition=Ready", "mpol/again", f"--timeout={PATIENCE_S:.0f}s")
            assert cluster.reported()["policies"][0]["uid"] == uid


def test_agent_and_aggregator_count_what_they_ask_of_the_api_server(cluster, start, tmp_path):
    agent = start()
    until(lambda: cluster.reported() != {}, PATIENCE_S, "the node's state")
    assert figures(agent)['rest_client_requests_total{code="200",method="GET"}'] > 0
    with AggregatorProcess("a", cluster.plane.kubeconfig, tmp_path / "aggregator.log") as aggregator:
        until(aggregator.leads, PATIENCE_S, "an aggregator that leads")
        listed = 'rest_client_requests_total{code="200",method="GET"}'  # also by one that does not lead yet
        until(lambda: figures(aggregator).get(listed, 0) > 0, PATIENCE_S, "it lists")
        served = figures(aggregator)
        assert served['leader_election_master_status{name="ballast-aggregator"}'] == 1
        assert sum(number for name, number in served.items() if 'total{code="20' in name and '"GET"' not in name) > 0


def figures(ballast: BallastProcess) -> dict[str, float]:
    """What its `/metrics` has, by name and labels."""
    with urlopen(f"{ballast.url}/metrics") as answer:  # noqa: S310 - http, and our own
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(number) for name, _, number in pairs}


def condition(cluster: UserCluster, policy: str, kind: str) -> tuple[str, str]:
    """Status and reason."""
    listed = cluster.get("mpol", policy)["status"]["conditions"]
    return next((each["status"], each["reason"]) for each in listed if each["type"] == kind)


def test_names_that_qemu_takes_keep_no_event_from_being_written(cluster):
    """Each of these names is longer, in bytes, than a fifth of what the API server takes of a note."""
    names = [f"{number}{name}" for number, name in enumerate(["vm" + "\u4e2d" * 61, "\x9b2J\u202emv", "a\nb"] * 2)]
    facts = [DomainFacts(name, name, name, 1, 2**30, 2**30) for name in names]
    seen = align(State.initial(), assign(facts, load(ALL, "test").policies, NodeIdentity(NODE)).inventory, 0.0)
    seen.reason[:] = Reason.STUCK
    seen.pressure.level[:] = PressureLevel.SHORT
    client = Client(access(cluster.plane.kubeconfig))
    found = findings(seen, ["qemu:///system: " + "\u4e2d" * 1000], [f"all is Conflicted: {', '.join(names)}"])
    NodeEvents(client, NODE).send([each._replace(hold_s=0.0) for each in found], "uid", 1000.0, WALL)
    notes = {each["reason"]: each["note"] for each in client.list(EVENTS, namespace="default").items}
    client.close()
    assert {"Stuck", "LibvirtUnreachable", "Conflicted", "GuestPressure"} <= notes.keys()
    assert [note for note in notes.values() if not note.isprintable()] == []


ALL = "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}"
WALL = "2026-01-31T12:00:00.000000Z"


def test_a_stuck_balloon_is_an_event_of_the_node(cluster, start):
    with PrivateLibvirtd() as libvirtd, Guest(libvirtd, GuestSpec("stiff", maximum=256)) as guest:
        guest.wait_ready()
        guest.clutter(100_000)
        cluster.apply(
            "quick",
            **installation.quick(threshold={"percent": 1, "quantity": "4Mi"})
            | {"mode": "Enforce", "headroom": {"quantity": "12Mi"}},
        )
        start(uri=libvirtd.uri)
        told = ("get", "events", "--field-selector", f"involvedObject.name={NODE},reason=Stuck")
        until(lambda: "stiff: the balloon did not move" in cluster.kubectl(*told), PATIENCE_S, "event")
        until(lambda: cluster.reported()["policies"][0]["stuckDomains"] == 1, PATIENCE_S, "reported")


def test_real_guests_follow_kubectl_apply_and_delete(cluster, start):
    with PrivateLibvirtd() as libvirtd, Guest(libvirtd, GuestSpec("idle", maximum=512)) as guest:
        guest.wait_ready()
        guest.use(40)
        agent = start(uri=libvirtd.uri)
        full = guest.actual()
        cluster.apply("quick", **QUICK)
        guest.wait_until(lambda guest: guest.actual() < full - 100, PATIENCE_S, "shrunk")
        cluster.delete("quick")
        guest.wait_until(lambda guest: guest.actual() == full, PATIENCE_S, "given back what its definition says")
        assert owners(agent) == {"idle": None}
        assert guest.evidence().oom_kills == 0


def test_an_agent_that_is_stopped_leaves_guests_what_they_have(cluster, start, tmp_path):
    with PrivateLibvirtd() as libvirtd, Guest(libvirtd, GuestSpec("idle", maximum=512)) as guest:
        guest.wait_ready()
        guest.use(40)
        full = guest.actual()
        cluster.apply("quick", **QUICK)
        with start(uri=libvirtd.uri) as agent:
            until(lambda: installation.rests_below(full - 100, agent.state()), PATIENCE_S, "shrunk, and at rest")
        assert "guests keep the memory they have" in log(tmp_path)[-1]
        guest.wait_fresh()
        assert guest.actual() < full - 100

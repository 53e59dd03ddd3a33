"""Real tokens against real RBAC and admission: what Ballast's service accounts need is allowed, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import STATES, STATUS, Answer, ApiClient

from lab.daemons import until

ROOT = Path(__file__).parents[3]
SYSTEM = "ballast-system"
POLICIES = "/apis/ballast.dev/v1alpha1/memorypolicies"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/{}/events"
NODES = ("node-a", "node-b")
ADMISSION_S = 90
"""Deadline for the API server to take up a new admission policy, and for aggregated roles; either takes a second."""
OTHERS = "the agent on node node-a may not write the state of node node-b"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
POLICY = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "everything"}}
READY = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-31T12:00:00Z",
    "reason": "AllNodesFollow",
    "message": "2 of 2 nodes follow generation 1",
}


@pytest.fixture(scope="module")
def admin(installed) -> Iterator[ApiClient]:
    """May do everything; with two nodes, an agent's pod on each and one on none, a policy, and node-b's state."""
    admin = ApiClient.of_kubeconfig(installed.kubeconfig)
    made = [
        *(create(admin, "/api/v1/nodes", "v1", "Node", name) for name in NODES),
        *(create(admin, f"/api/v1/namespaces/{SYSTEM}/pods", "v1", "Pod", name, spec=pod(name)) for name in NODES),
        create(admin, f"/api/v1/namespaces/{SYSTEM}/pods", "v1", "Pod", "unscheduled", spec=pod(None)),
        create(admin, POLICIES, POLICY["apiVersion"], "MemoryPolicy", "everything"),
        create(admin, STATES, POLICY["apiVersion"], "NodeMemoryState", "node-b"),
        create(admin, LEASES, "coordination.k8s.io/v1", "Lease", "other", spec={"holderIdentity": "other"}),
    ]
    yield admin
    for path in made:
        admin.ask("DELETE", path, {"gracePeriodSeconds": 0})
    admin.ask("DELETE", f"{STATES}/node-a")
    admin.ask("DELETE", f"{LEASES}/ballast-aggregator")
    admin.close()


@pytest.fixture(scope="module")
def agent(installed, admin) -> Iterator[ApiClient]:
    """The agent on node-a, with a token as the kubelet gives it to its pod; once admission knows the policy."""
    client = ApiClient.of_token(installed.url, installed.ca, token(admin, "ballast-agent", "node-a"))
    until(lambda: OTHERS in apply_state(client, "node-b").message, ADMISSION_S, "admission policy in force")
    yield client
    client.close()


@pytest.fixture(scope="module")
def aggregator(installed, admin) -> Iterator[ApiClient]:
    yield from connected(installed, token(admin, "ballast-aggregator", None))


@pytest.fixture(params=["no pod", "a pod that is on no node"])
def homeless(request, installed, admin) -> Iterator[ApiClient]:
    """The agent's service account with a token that tells of no node."""
    name = None if request.param == "no pod" else "unscheduled"
    yield from connected(installed, token(admin, "ballast-agent", name))


def connected(installed: Any, token: str) -> Iterator[ApiClient]:
    client = ApiClient.of_token(installed.url, installed.ca, token)
    yield client
    client.close()


def create(admin: ApiClient, path: str, version: str, kind: str, name: str, **parts: Any) -> str:
    """Path of a new object."""
    body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **parts}
    answer = admin.ask("POST", path, body)
    assert answer.status == 201, answer
    return f"{path}/{name}"


def pod(node: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = {"serviceAccountName": "ballast-agent", "containers": [{"name": "agent", "image": "none"}]}
    return spec if node is None else {**spec, "nodeName": node}


def token(admin: ApiClient, account: str, bound_to: str | None) -> str:
    """A token of the service account, bound to a pod or to nothing."""
    spec: dict[str, Any] = {"audiences": []}
    if bound_to is not None:
        uid = admin.ask("GET", f"/api/v1/namespaces/{SYSTEM}/pods/{bound_to}").body["metadata"]["uid"]
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": bound_to, "uid": uid}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    answer = admin.ask("POST", f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{account}/token", request)
    assert answer.status == 201, answer
    return str(answer.body["status"]["token"])


def apply_state(client: ApiClient, node: str, domains: int = 0) -> Answer:
    """Two server-side applies, as the agent writes its state; the answer to the first that is refused, or the last."""
    body = {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "NodeMemoryState",
        "metadata": {"name": node},
        "status": {**STATUS, "domains": domains},
    }
    made = client.ask("PATCH", f"{STATES}/{node}?fieldManager=ballast-agent&force=true", body, APPLY)
    return made if made.message else apply_status(client, node, body)


def apply_status(client: ApiClient, node: str, body: dict[str, Any]) -> Answer:
    """One server-side apply of the status."""
    return client.ask("PATCH", f"{STATES}/{node}/status?fieldManager=ballast-agent&force=true", body, APPLY)


def event(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "node-a-", "namespace": namespace},
        "eventTime": "2026-01-31T12:00:00.000000Z",
        "reportingController": "ballast.dev/agent",
        "reportingInstance": "node-a",
        "action": "Look",
        "reason": "Stuck",
        "type": "Warning",
        "regarding": {"kind": "Node", "name": "node-a"},
    }


def lease(name: str, version: str = "") -> dict[str, Any]:
    metadata = {"name": name, "namespace": SYSTEM, **({"resourceVersion": version} if version else {})}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {"holderIdentity": "me"},
    }


class TestAgentRights:
    @pytest.mark.parametrize("path", [POLICIES, f"{POLICIES}/everything", "/api/v1/nodes/node-a"])
    def test_it_reads_policies_and_its_node(self, agent, path):
        assert agent.ask("GET", path).status == 200

    def test_it_watches_its_node_by_name(self, agent):
        path = "/api/v1/nodes?watch=true&fieldSelector=metadata.name%3Dnode-a&timeoutSeconds=1"
        assert agent.ask("GET", path).status == 200

    def test_it_writes_its_own_state_again_and_again(self, agent):
        assert {apply_state(agent, "node-a", domains).status for domains in (1, 2)} <= {200, 201}
        assert agent.ask("GET", f"{STATES}/node-a").body["status"]["domains"] == 2

    def test_it_tells_of_its_node_in_an_event_and_counts_it_up(self, agent):
        made = agent.ask("POST", EVENTS.format("default"), event("default"))
        assert made.status == 201
        series = {"series": {"count": 2, "lastObservedTime": "2026-01-31T12:00:01.000000Z"}}
        path = f"{EVENTS.format('default')}/{made.body['metadata']['name']}"
        assert agent.ask("PATCH", path, series, MERGE).status == 200

    def test_it_does_not_write_the_state_of_another_node(self, agent):
        answer = apply_state(agent, "node-b")
        assert answer.status == 403
        assert OTHERS in answer.message

    def test_it_does_not_write_the_status_of_another_nodes_state(self, agent):
        body = {"apiVersion": "ballast.dev/v1alpha1", "kind": "NodeMemoryState", "metadata": {"name": "node-b"}}
        answer = apply_status(agent, "node-b", body | {"status": STATUS})
        assert answer.status == 403
        assert OTHERS in answer.message

    def test_it_does_not_make_the_state_of_another_node(self, agent):
        assert apply_state(agent, "node-c").status == 403

    def test_a_name_that_the_server_gives_is_not_its_node_either(self, agent):
        body = {
            "apiVersion": "ballast.dev/v1alpha1",
            "kind": "NodeMemoryState",
            "metadata": {"generateName": "node-a"},
            "status": STATUS,
        }
        assert agent.ask("POST", STATES, body).status == 403

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", POLICIES, {**POLICY, "metadata": {"name": "mine"}}),
            ("PATCH", f"{POLICIES}/everything", {"spec": {"mode": "Enforce"}}),
            ("PATCH", f"{POLICIES}/everything", {"metadata": {"finalizers": ["ballast.dev/mine"]}}),
            ("DELETE", f"{POLICIES}/everything", None),
            ("PATCH", f"{POLICIES}/everything/status", {"status": {"nodes": 1}}),
            ("DELETE", f"{STATES}/node-a", None),
            ("DELETE", f"{STATES}/node-b", None),
            ("DELETE", STATES, None),
            ("GET", STATES, None),
            ("PATCH", "/api/v1/nodes/node-a", {"metadata": {"labels": {"a": "b"}}}),
            ("POST", LEASES, lease("ballast-aggregator")),
            ("PATCH", f"{LEASES}/other", {"spec": {"holderIdentity": "me"}}),
            ("GET", LEASES, None),
            ("GET", "/api/v1/secrets", None),
            ("GET", "/api/v1/pods", None),
            ("POST", EVENTS.format(SYSTEM), event(SYSTEM)),
            ("GET", EVENTS.format("default"), None),
        ],
    )
    def test_it_may_do_nothing_else(self, agent, method, path, body):
        assert agent.ask(method, path, body, MERGE if method == "PATCH" else "application/json").status == 403

    @pytest.mark.usefixtures("agent")
    def test_without_a_node_in_its_token_it_writes_no_state_at_all(self, homeless):
        answer = apply_state(homeless, "node-a")
        assert answer.status == 403
        assert "not bound to a pod on a node" in answer.message


@pytest.fixture(scope="class")
def labelling(installed, agent) -> Iterator[ApiClient]:
    """The agent, with the component that lets it label its node; once admission knows its policy."""
    folder = str(ROOT / "manifests" / "components" / "node-label")
    installed.kubectl("apply", "-f", f"{folder}/rbac.yaml", "-f", f"{folder}/admission.yaml")
    short = {"ballast.dev/short": "true"}
    until(lambda: label(agent, "node-b", short).message.endswith(OWN_NODE), ADMISSION_S, "admission policy in force")
    yield agent
    installed.kubectl("delete", "-f", f"{folder}/rbac.yaml", "-f", f"{folder}/admission.yaml")


OWN_NODE = "an agent may label the node its pod is on, and no other"


def label(client: ApiClient, node: str, labels: dict[str, str | None]) -> Answer:
    return client.ask("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": labels}}, MERGE)


class TestLabellingAgent:
    """With the component `node-label`."""

    def test_it_labels_its_node_and_takes_the_label_away(self, labelling):
        assert label(labelling, "node-a", {"ballast.dev/short": "true"}).body["metadata"]["labels"] == {
            "ballast.dev/short": "true"
        }
        assert label(labelling, "node-a", {"ballast.dev/short": None}).status == 200

    def test_it_labels_no_other_node(self, labelling):
        assert label(labelling, "node-b", {"ballast.dev/short": "true"}).status == 403

    @pytest.mark.parametrize(
        "patch",
        [
            {"metadata": {"labels": {"ballast.dev/short": "true", "role": "x"}}},
            {"metadata": {"labels": {"keep": None}}},
            {"metadata": {"labels": {"keep": "other"}}},
            {"metadata": {"annotations": {"a": "b"}}},
            {"metadata": {"finalizers": ["ballast.dev/mine"]}},
            {"spec": {"unschedulable": True}},
            {"spec": {"taints": [{"key": "ballast.dev/short", "effect": "NoSchedule"}]}},
        ],
    )
    def test_it_changes_nothing_else_of_its_node(self, labelling, admin, patch):
        assert label(admin, "node-a", {"keep": "this"}).status == 200
        assert labelling.ask("PATCH", "/api/v1/nodes/node-a", patch, MERGE).status == 403
        assert label(admin, "node-a", {"keep": None}).status == 200

    @pytest.mark.parametrize("path", ["/api/v1/nodes/node-a/status", "/api/v1/nodes/node-b/status"])
    def test_it_does_not_write_a_nodes_status(self, labelling, path):
        assert labelling.ask("PATCH", path, {"status": {"phase": "x"}}, MERGE).status == 403


class TestAggregator:
    @pytest.mark.parametrize("path", [POLICIES, STATES, "/api/v1/nodes"])
    def test_it_reads_policies_states_and_nodes(self, aggregator, path):
        assert aggregator.ask("GET", path).status == 200
        assert aggregator.ask("GET", f"{path}?watch=true&timeoutSeconds=1").status == 200

    def test_it_writes_a_status_and_nothing_but_the_status(self, aggregator, admin):
        status = {"nodes": 2, "stable": "0/0", "conditions": [READY]}
        body = {**POLICY, "spec": {"mode": "Enforce"}, "status": status}
        path = f"{POLICIES}/everything/status?fieldManager=ballast-aggregator&force=true"
        assert aggregator.ask("PATCH", path, body, APPLY).status == 200
        policy = admin.ask("GET", f"{POLICIES}/everything").body
        assert (policy["status"], policy["spec"]["mode"]) == (status, "Observe")

    def test_it_tells_of_a_policy_in_an_event(self, aggregator):
        about = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "name": "everything"}
        told = {**event("default"), "regarding": about}
        assert aggregator.ask("POST", EVENTS.format("default"), told).status == 201

    def test_it_takes_and_keeps_its_lease(self, aggregator):
        made = aggregator.ask("POST", LEASES, lease("ballast-aggregator"))
        assert made.status == 201
        held = lease("ballast-aggregator", made.body["metadata"]["resourceVersion"])
        assert aggregator.ask("PUT", f"{LEASES}/ballast-aggregator", held).status == 200
        assert aggregator.ask("GET", f"{LEASES}/ballast-aggregator").status == 200

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", POLICIES, {**POLICY, "metadata": {"name": "mine"}}),
            ("PATCH", f"{POLICIES}/everything", {"spec": {"mode": "Enforce"}}),
            ("PATCH", f"{POLICIES}/everything", {"metadata": {"annotations": {"a": "b"}}}),
            ("DELETE", f"{POLICIES}/everything", None),
            ("PATCH", f"{STATES}/node-b", {"metadata": {"labels": {"a": "b"}}}),
            ("PATCH", f"{STATES}/node-b/status", {"status": {"domains": 9}}),
            ("DELETE", f"{STATES}/node-b", None),
            ("PATCH", "/api/v1/nodes/node-a", {"metadata": {"labels": {"a": "b"}}}),
            ("GET", f"{LEASES}/other", None),
            ("PUT", f"{LEASES}/other", lease("other")),
            ("DELETE", f"{LEASES}/ballast-aggregator", None),
            ("POST", LEASES.replace(SYSTEM, "kube-system"), lease("ballast-aggregator")),
            ("POST", EVENTS.format(SYSTEM), event(SYSTEM)),
            ("GET", "/api/v1/secrets", None),
            ("GET", "/api/v1/pods", None),
        ],
    )
    def test_it_may_do_nothing_else(self, aggregator, method, path, body):
        assert aggregator.ask(method, path, body, MERGE if method == "PATCH" else "application/json").status == 403


class TestPeople:
    """Rights of the ordinary cluster roles, once bound for the whole cluster."""

    @pytest.mark.parametrize(
        ("role", "verb", "kind", "allowed"),
        [
            ("view", "list", "memorypolicies", True),
            ("view", "watch", "nodememorystates", True),
            ("view", "patch", "memorypolicies", False),
            ("edit", "list", "memorypolicies", True),
            ("edit", "create", "memorypolicies", False),
            ("edit", "patch", "memorypolicies", False),
            ("edit", "delete", "memorypolicies", False),
            ("admin", "create", "memorypolicies", True),
            ("admin", "patch", "memorypolicies", True),
            ("admin", "patch", "memorypolicies/status", False),
            ("edit", "patch", "memorypolicies/status", False),
            ("edit", "delete", "nodememorystates", False),
            ("admin", "delete", "nodememorystates", True),
            ("admin", "patch", "nodememorystates", False),
            ("admin", "patch", "nodememorystates/status", False),
        ],
    )
    def test_view_edit_and_admin_say_what_people_may_do(self, installed, person, role, verb, kind, allowed):
        plural, _, subresource = kind.partition("/")
        part = [f"--subresource={subresource}"] if subresource else []
        answer = installed.kubectl(
            "auth", "can-i", verb, f"{plural}.ballast.dev", *part, f"--kubeconfig={person(role)}", check=False
        )
        assert answer.splitlines()[0] == ("yes" if allowed else "no")


@pytest.fixture(scope="module")
def person(installed):
    """Kubeconfig of somebody who has the cluster role."""
    until(lambda: "ballast.dev" in installed.kubectl("get", "clusterrole", "view", "-o", "yaml"), ADMISSION_S, "roles")
    files = {}
    for role in ("view", "edit", "admin"):
        files[role] = installed.write_kubeconfig(f"person-{role}")
        installed.kubectl(
            "create", "clusterrolebinding", f"person-{role}", f"--clusterrole={role}", f"--user=person-{role}"
        )
    yield files.__getitem__
    installed.kubectl("delete", "clusterrolebinding", *(f"person-{role}" for role in files))

"""An installation with all components whose namespace and names kustomize has changed.

Its agents may do what they need, and are held to their own node all the same.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from api_client import STATES, STATUS, Answer, ApiClient
from kustomized import COMPONENTS, MANIFESTS, kustomization

from lab.daemons import until

EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
OTHERS = "may not write the state of node node-b"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
ADMISSION_S = 90
"""Deadline for the API server to take up a new admission policy; it takes a second."""
RENAMED = [
    {"namespace": "memory"},
    {"namespace": "kube-system"},
    {"namespace": "elsewhere", "namePrefix": "pre-", "nameSuffix": "-suf"},
]


class RenamedAgent(NamedTuple):
    """An agent's pod on `node-a`."""

    account: str
    """`NAMESPACE:NAME` of its service account."""
    client: ApiClient


@pytest.fixture(scope="module", params=RENAMED, ids=lambda changes: "-".join(changes.values()))
def agent(request, contract, tmp_path_factory) -> Iterator[RenamedAgent]:
    """Of an installation with other names; once admission knows the policy. The namespaces stay."""
    chosen = [name for name in COMPONENTS if name != "openshift"]  # this API server has no such kinds
    folder = kustomization(tmp_path_factory.mktemp("renamed"), chosen, "base", **request.param)
    namespace = request.param["namespace"]
    account = f"{request.param.get('namePrefix', '')}ballast-agent{request.param.get('nameSuffix', '')}"
    contract.kubectl("apply", "-k", str(folder))
    pod = {"serviceAccountName": account, "nodeName": "node-a", "containers": [{"name": "agent", "image": "none"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "renamed", "namespace": namespace}, "spec": pod}
    contract.kubectl("apply", "-f", "-", input=json.dumps(body))
    bound = ("--bound-object-kind=Pod", "--bound-object-name=renamed")
    token = contract.kubectl("create", "token", account, "-n", namespace, *bound).strip()
    client = ApiClient.of_token(contract.url, contract.ca, token)
    until(lambda: OTHERS in apply(client, "node-b").message, ADMISSION_S, "admission policy in force")
    yield RenamedAgent(f"{namespace}:{account}", client)
    client.close()
    contract.kubectl("delete", "pod", "renamed", "-n", namespace, "--force")
    contract.kubectl("delete", "nodememorystates", "node-a", "node-b", "--ignore-not-found")
    objects = contract.kubectl("kustomize", str(folder)).split("\n---\n")
    gone = [each for each in objects if "kind: Namespace\n" not in each]
    contract.kubectl("delete", "-f", "-", input="\n---\n".join(gone))


def apply(client: ApiClient, node: str) -> Answer:
    """Server-side applies, as the agent writes its state; the answer to the first that is refused, or the last."""
    body = {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "NodeMemoryState",
        "metadata": {"name": node},
        "status": STATUS,
    }
    for path in (f"{STATES}/{node}", f"{STATES}/{node}/status"):
        answer = client.ask("PATCH", f"{path}?fieldManager=ballast-agent&force=true", body, APPLY)
        if answer.message:
            break
    return answer


def event() -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "node-a-", "namespace": "default"},
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        "reportingController": "ballast.dev/agent",
        "reportingInstance": "node-a",
        "action": "Look",
        "reason": "Stuck",
        "type": "Warning",
        "regarding": {"kind": "Node", "name": "node-a"},
    }


def test_an_agent_writes_the_state_of_its_own_node(agent):
    assert apply(agent.client, "node-a").status in {200, 201}


def test_an_agent_does_not_write_the_state_of_another_node(agent):
    answer = apply(agent.client, "node-b")
    assert (answer.status, OTHERS in answer.message) == (403, True)


def test_an_agent_finds_virtual_machines_by_their_pods(agent):
    assert agent.client.ask("GET", "/api/v1/pods?labelSelector=kubevirt.io").status == 200


def test_an_agent_labels_its_own_node_and_no_other(agent, contract):
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("node-a", "node-b")]
    together = json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
    contract.kubectl("create", "-f", "-", input=together)
    short = {"metadata": {"labels": {"ballast.dev/short": "true"}}}
    try:
        until(
            lambda: "and no other" in agent.client.ask("PATCH", "/api/v1/nodes/node-b", short, MERGE).message,
            ADMISSION_S,
            "admission policy in force",
        )
        assert agent.client.ask("PATCH", "/api/v1/nodes/node-a", short, MERGE).status == 200
    finally:
        contract.kubectl("delete", "-f", "-", input=together)


def test_events_that_are_told_again_need_the_role_of_the_page(agent, contract):
    """Near KubeVirt an agent may create events anywhere, but change none without it."""
    created = agent.client.ask("POST", EVENTS, event())
    assert created.status == 201
    again = {"series": {"count": 2, "lastObservedTime": event()["eventTime"]}}

    def told_again() -> int:
        return agent.client.ask("PATCH", f"{EVENTS}/{created.body['metadata']['name']}", again, MERGE).status

    assert told_again() == 403
    namespace, _, account = agent.account.partition(":")
    page = (MANIFESTS / "README.md").read_text()
    (rights,) = (block for block in re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S) if "ballast-events" in block)
    mine = rights.replace("ballast-agent,", f"{account},").replace("namespace: memory", f"namespace: {namespace}")
    contract.kubectl("apply", "-f", "-", input=mine)
    try:
        until(lambda: told_again() == 200, ADMISSION_S, "rights to events")
    finally:
        contract.kubectl("delete", "-f", "-", input=mine)

"""The lab's control plane is a real one: it serves, forgets nothing, collects garbage, and leaves nothing behind."""

import json

import pytest

from lab.errors import LabError
from lab.kubernetes.binaries import KUBERNETES
from lab.kubernetes.controlplane import ControlPlane


@pytest.fixture
def owner(control_plane: ControlPlane):
    """A Node without a machine."""
    control_plane.kubectl(
        "create", "-f", "-", input='{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "owner"}}'
    )
    yield json.loads(control_plane.kubectl("get", "node", "owner", "-o", "json"))
    control_plane.kubectl("delete", "node", "owner", "--ignore-not-found")


def test_the_api_server_has_the_version_that_was_asked_for(control_plane):
    assert json.loads(control_plane.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == KUBERNETES


def test_kubectl_says_why_it_was_refused(control_plane):
    with pytest.raises(LabError, match=r'configmaps "none" not found'):
        control_plane.kubectl("get", "configmap", "none")
    assert 'configmaps "none" not found' in control_plane.kubectl("get", "configmap", "none", check=False)


def test_a_killed_api_server_comes_back_with_its_data(control_plane):
    control_plane.kubectl("create", "configmap", "kept", "--from-literal=key=value")
    control_plane.kill_apiserver()
    assert "refused" in control_plane.kubectl("get", "configmap", "kept", check=False)
    control_plane.start_apiserver()
    assert control_plane.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.key}") == "value"
    control_plane.kubectl("delete", "configmap", "kept")


def test_what_a_node_owns_goes_with_the_node(control_plane, owner):
    reference = {"apiVersion": "v1", "kind": "Node", "name": "owner", "uid": owner["metadata"]["uid"]}
    metadata = {"name": "owned", "ownerReferences": [reference]}
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    control_plane.kubectl("create", "-f", "-", input=json.dumps(owned))
    control_plane.kubectl("delete", "node", "owner")
    control_plane.kubectl("wait", "--for=delete", "configmap/owned", "--timeout=180s")


def test_a_user_without_roles_may_do_nothing(control_plane):
    nobody = control_plane.write_kubeconfig("nobody")
    answer = control_plane.kubectl(f"--kubeconfig={nobody}", "get", "nodes", check=False)
    assert 'User "nobody" cannot list resource "nodes"' in answer


def test_nothing_is_left_after_the_context(left_of):
    with ControlPlane(scheduler=True) as plane:
        assert len(left_of(plane.root)) == 6  # the folder, the reaper and four programs
    assert left_of(plane.root) == []

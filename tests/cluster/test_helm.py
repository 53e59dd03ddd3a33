"""The Helm chart says the same as the kustomizations, and installs."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.kubernetes.binaries import binary
from lab.kubernetes.controlplane import ControlPlane
from lab.kubernetes.node import Node

MANIFESTS = Path(__file__).parents[2] / "manifests"
CHART = MANIFESTS / "helm"
NAMESPACE = "ballast-system"
VALUES = {
    "default": {},
    "overlays/libvirt-socket": {"agent": {"socketFolder": "/opt/libvirt/run"}},
    "overlays/meminfo": {"agent": {"proc": "Meminfo"}},
    "overlays/monitoring": {"monitoring": {"enabled": True}},
    "overlays/node-label": {"agent": {"labelNode": True}},
    "overlays/pressure": {"agent": {"pressure": True}},
}
"""By kustomization: what the chart is given to be the same."""
WRONG = [
    ({"image": {"digest": "latest"}}, "digest"),
    ({"agent": {"proc": "Some"}}, "proc"),
    ({"agent": {"connections": []}}, "connections"),
    ({"aggregator": {"replicas": 0}}, "replicas"),
    ({"aggregator": {"replica": 3}}, "replica"),
    ({"monitor": {"enabled": True}}, "monitor"),
    ({"networkPolicy": {"apiServerPorts": [0]}}, "apiServerPorts"),
]

Identity = tuple[str, str, str]


def helm(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    given = ["--values=-"] if values is not None else []
    command = [str(binary("helm")), *arguments, *given]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


def template(values: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    line = ("template", "ballast", str(CHART), f"--namespace={NAMESPACE}", "--include-crds", "--kube-version=1.34")
    return helm(*line, *arguments, values=values)


def by_identity(text: str) -> dict[Identity, dict[str, Any]]:
    """Objects by kind, namespace and name. The namespace itself is Helm's to make."""
    objects = [each for each in yaml.safe_load_all(text) if each and each["kind"] != "Namespace"]
    return {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): in_order(each)
        for each in objects
    }


def in_order(found: dict[str, Any]) -> dict[str, Any]:
    """Mounts and volumes have names: their order means nothing."""
    if found["kind"] == "DaemonSet":
        pod = found["spec"]["template"]["spec"]
        pod["volumes"].sort(key=lambda volume: volume["name"])
        pod["containers"][0]["volumeMounts"].sort(key=lambda mount: mount["name"])
    return found


def test_every_kustomization_for_users_has_its_values():
    assert {f"overlays/{path.name}" for path in (MANIFESTS / "overlays").iterdir()} == VALUES.keys() - {"default"}


@pytest.mark.parametrize("kustomization", VALUES)
def test_the_chart_says_what_the_kustomization_says(kustomization):
    command = [str(binary("kubectl")), "kustomize", str(MANIFESTS / kustomization)]
    expected = by_identity(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    rendered = template(VALUES[kustomization])
    assert rendered.returncode == 0, rendered.stderr
    found = by_identity(rendered.stdout)
    assert found.keys() == expected.keys()
    assert [identity for identity in expected if found[identity] != expected[identity]] == []


def test_helm_finds_nothing_to_complain_about():
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.mark.parametrize(("values", "named"), WRONG, ids=lambda case: case if isinstance(case, str) else "")
def test_a_value_that_makes_no_sense_is_refused_by_its_name(values, named):
    done = template(values)
    assert (done.returncode, named in done.stderr) == (1, True), done.stderr


def test_everything_of_a_release_in_another_namespace_is_there_but_the_rights_to_events():
    command = ("template", "ballast", str(CHART), "--namespace=memory", "--kube-version=1.34")
    namespaces = {namespace for _, namespace, _ in by_identity(helm(*command).stdout)}
    assert namespaces == {"", "memory", "default"}
    assert NAMESPACE not in helm(*command).stdout


def test_an_image_by_digest_is_asked_for_by_it_and_with_its_secret():
    digest = f"sha256:{'a' * 64}"
    image = {"repository": "registry.example.org/ballast", "digest": digest}
    rendered = template({"image": image, "imagePullSecrets": [{"name": "login"}]})
    pods = [
        each["spec"]["template"]["spec"]
        for each in by_identity(rendered.stdout).values()
        if "template" in each.get("spec", {})
    ]
    assert len(pods) == 2
    for pod in pods:
        assert pod["containers"][0]["image"] == f"registry.example.org/ballast@{digest}"
        assert pod["imagePullSecrets"] == [{"name": "login"}]


@pytest.fixture
def released(node: Node) -> Iterator[ControlPlane]:
    """A release in a namespace of its own, its agent with the libvirt that is part of libvirt's library."""
    values = {"agent": {"connections": ["test:///default"], "socketFolder": "/usr"}}
    cluster = ("--namespace=memory", f"--kubeconfig={node.plane.kubeconfig}")
    done = helm(
        "install", "ballast", str(CHART), "--create-namespace", "--wait", "--timeout=90s", *cluster, values=values
    )
    assert done.returncode == 0, done.stderr + node.plane.kubectl("get", "pods,events", "-n", "memory")
    yield node.plane
    node.plane.kubectl("delete", "mpol", "--all")
    assert helm("uninstall", "ballast", "--wait", *cluster).returncode == 0
    left = node.plane.kubectl("get", "daemonsets,deployments,networkpolicies,roles", "-n", "memory", "-o", "name")
    kinds = node.plane.kubectl("get", "crd", "-o", "name")
    node.plane.kubectl("delete", "namespace", "memory")
    node.plane.kubectl("delete", "-f", str(CHART / "crds"))
    assert left == ""
    assert "memorypolicies.ballast.dev" in kinds


def test_a_release_is_installed_follows_a_policy_and_goes_but_for_the_kinds(released):
    policy = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "all"}}
    released.kubectl("apply", "-f", "-", input=json.dumps(policy))
    released.kubectl("wait", "mpol/all", "--for=condition=Ready", "--timeout=60s")
    state = json.loads(
        released.kubectl("exec", "-n", "memory", "daemonset/ballast-agent", "--", "ballast", "top", "-o", "json")
    )
    assert [(each["name"], each["policy"]) for each in state["domains"]] == [("test", "all")]

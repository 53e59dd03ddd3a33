"""The Helm chart says the same as the kustomizations, and installs."""

import json
import subprocess
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import yaml
from kustomized import COMPONENTS, MANIFESTS, kustomization, rendered

from lab.kubernetes.binaries import binary
from lab.kubernetes.controlplane import ControlPlane
from lab.kubernetes.node import LabNode

CHART = MANIFESTS / "helm"
NAMESPACE = "ballast-system"
VALUES: dict[str, dict[str, Any]] = {
    "kubevirt": {"kubevirt": {"enabled": True}},
    "libvirt-socket": {"agent": {"socketFolder": "/opt/libvirt/run"}},
    "meminfo": {"agent": {"proc": "Meminfo"}},
    "monitoring": {"monitoring": {"enabled": True}},
    "node-label": {"agent": {"labelNode": True}},
    "openshift": {"openshift": {"enabled": True}},
    "pressure": {"agent": {"pressure": True}},
    "selinux": {"agent": {"selinux": True}},
}
"""By component: what the chart is given to be the same."""
SMALL = ["libvirt-socket", "selinux"]
"""Components that change one value, which no other changes otherwise."""
OTHERS = sorted(VALUES.keys() - {"kubevirt", *SMALL})
COMBINATIONS = [
    [*where, *chosen]
    for where in ([], ["kubevirt"])
    for count in range(len(OTHERS) + 1)
    for chosen in combinations(OTHERS, count)
] + [[*SMALL, *chosen] for chosen in ([], OTHERS)]
"""All there are of the others. KubeVirt has no libvirt on the node, whose socket could be elsewhere."""
WRONG = [
    ({"image": {"digest": "latest"}}, "digest"),
    ({"agent": {"proc": "Some"}}, "proc"),
    ({"agent": {"connections": []}}, "connections"),
    ({"aggregator": {"replicas": 0}}, "replicas"),
    ({"aggregator": {"replica": 3}}, "replica"),
    ({"monitor": {"enabled": True}}, "monitor"),
    ({"networkPolicy": {"apiServerPorts": [0]}}, "apiServerPorts"),
    ({"agent": {"connections": ["qemu:///system qemu:///session"]}}, "connections"),
    ({"kubevirt": {"enabled": "yes"}}, "enabled"),
    ({"kubevirt": {"podsFolder": "pods"}}, "podsFolder"),
    ({"openshift": True}, "openshift"),
    ({"agent": {"extraEnv": [{"value": "1"}]}}, "name"),
    ({"agent": {"extraEnv": [{"name": "A", "value": 1}]}}, "value"),
]

Identity = tuple[str, str, str]


def helm(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    given = ["--values=-"] if values is not None else []
    command = [str(binary("helm")), *arguments, *given]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


def template(values: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    line = ("template", "ballast", str(CHART), f"--namespace={NAMESPACE}", "--kube-version=1.34")
    return helm(*line, *arguments, values=values)


def by_identity(objects: list[dict[str, Any]]) -> dict[Identity, dict[str, Any]]:
    """Objects by kind, namespace and name. The namespace itself is Helm's to make."""
    return {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): in_order(each)
        for each in objects
        if each and each["kind"] != "Namespace"
    }


def in_order(found: dict[str, Any]) -> dict[str, Any]:
    """Mounts, volumes and variables have names: their order means nothing."""
    if found["kind"] in {"DaemonSet", "Deployment"}:
        pod = found["spec"]["template"]["spec"]
        pod.get("volumes", []).sort(key=lambda volume: volume["name"])
        pod["containers"][0].get("volumeMounts", []).sort(key=lambda mount: mount["name"])
        pod["containers"][0]["env"].sort(key=lambda variable: variable["name"])
    return found


def test_every_component_has_its_values():
    assert VALUES.keys() == set(COMPONENTS)


def test_whatever_components_are_combined_the_chart_says_the_same(tmp_path):
    for chosen in COMBINATIONS:
        expected = by_identity(rendered(kustomization(tmp_path, chosen, "base")))
        found = by_identity(documents(template(values_of(chosen))))
        assert found.keys() == expected.keys(), chosen
        assert [(identity, chosen) for identity in expected if found[identity] != expected[identity]] == []


@pytest.mark.parametrize("where", [SMALL, ["kubevirt"]])
def test_the_order_of_components_means_nothing(where, tmp_path):
    orders = [*where, *OTHERS], [*reversed(OTHERS), *reversed(where)]
    forward, backward = (by_identity(rendered(kustomization(tmp_path, each, "base"))) for each in orders)
    assert forward == backward


def test_the_chart_has_the_kinds_and_the_folder_of_kubevirt_is_the_component(tmp_path):
    expected = by_identity(rendered(MANIFESTS / "kubevirt"))
    assert by_identity(rendered(kustomization(tmp_path, ["kubevirt"]))) == expected
    assert by_identity(documents(template(VALUES["kubevirt"], "--include-crds"))) == expected


def values_of(components: list[str]) -> dict[str, Any]:
    """What the chart is given for all of them."""
    found: dict[str, Any] = {}
    for part, value in (each for name in components for each in VALUES[name].items()):
        found[part] = found.get(part, {}) | value
    return found


def documents(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def test_where_kubevirt_runs_libvirt_as_root_the_agent_is_root_with_the_power_to_open_its_sockets():
    objects = by_identity(documents(template({"kubevirt": {"enabled": True, "root": True, "podsFolder": "/k/pods"}})))
    pod = objects["DaemonSet", NAMESPACE, "ballast-agent"]["spec"]["template"]["spec"]
    allowed = pod["containers"][0]["securityContext"]
    assert (allowed["runAsUser"], allowed["capabilities"]) == (0, {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]})
    assert "/k/pods" in {volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}


def test_what_is_added_to_the_environment_is_there():
    option = {"name": "BALLAST_AGENT_EVICTION_THRESHOLD", "value": "500Mi"}
    values = {"agent": {"extraEnv": [option]}, "aggregator": {"extraEnv": [{"name": "A", "value": "1"}]}}
    objects = by_identity(documents(template(values)))
    agent, aggregator = (
        objects[kind, NAMESPACE, f"ballast-{name}"]["spec"]["template"]["spec"]["containers"][0]["env"]
        for kind, name in (("DaemonSet", "agent"), ("Deployment", "aggregator"))
    )
    assert option in agent
    assert {"name": "A", "value": "1"} in aggregator


@pytest.mark.parametrize("selector", [None, {"kubernetes.io/os": None}])
def test_values_mean_what_they_say_whatever_yaml_makes_of_them(selector):
    values = {
        "monitoring": {"enabled": True, "namespace": "123"},
        "kubevirt": {"enabled": True, "podsFolder": "/pods #1"},
        "agent": {"nodeSelector": selector},
    }
    objects = by_identity(documents(template(values, "--namespace=1e3")))
    pod = objects["DaemonSet", "1e3", "ballast-agent"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubevirt.io/schedulable": "true"}
    assert "/pods #1" in {volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
    (scraped,) = objects["NetworkPolicy", "1e3", "ballast-metrics"]["spec"]["ingress"]
    assert scraped["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "123"}


def test_helm_finds_nothing_to_complain_about():
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.mark.parametrize(("values", "named"), WRONG, ids=lambda case: case if isinstance(case, str) else "")
def test_a_value_that_makes_no_sense_is_refused_by_its_name(values, named):
    done = template(values)
    assert (done.returncode, named in done.stderr) == (1, True), done.stderr


def test_everything_of_a_release_in_another_namespace_is_there_but_the_rights_to_events():
    done = template(values_of(COMPONENTS), "--namespace=memory")
    assert {namespace for _, namespace, _ in by_identity(documents(done))} == {"", "memory", "default"}
    assert NAMESPACE not in done.stdout


def test_an_image_by_digest_is_asked_for_by_it_and_with_its_secret():
    digest = f"sha256:{'a' * 64}"
    image = {"repository": "registry.example.org/ballast", "digest": digest}
    done = template({"image": image, "imagePullSecrets": [{"name": "login"}]})
    pods = [
        each["spec"]["template"]["spec"]
        for each in by_identity(documents(done)).values()
        if "template" in each.get("spec", {})
    ]
    assert len(pods) == 2
    for pod in pods:
        assert pod["containers"][0]["image"] == f"registry.example.org/ballast@{digest}"
        assert pod["imagePullSecrets"] == [{"name": "login"}]


@pytest.fixture
def released(node: LabNode) -> Iterator[ControlPlane]:
    """A release in a namespace of its own, its agent with the libvirt that is part of libvirt's library."""
    values = {"agent": {"connections": ["test:///default"], "socketFolder": "/usr"}}
    cluster = ("--namespace=memory", f"--kubeconfig={node.plane.kubeconfig}")
    done = helm(
        "install", "ballast", str(CHART), "--create-namespace", "--wait", "--timeout=300s", *cluster, values=values
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
    released.kubectl("wait", "mpol/all", "--for=condition=Ready", "--timeout=180s")
    state = json.loads(
        released.kubectl("exec", "-n", "memory", "daemonset/ballast-agent", "--", "ballast", "top", "-o", "json")
    )
    assert [(each["name"], each["policy"]) for each in state["domains"]] == [("test", "all")]

"""What is installed with one `kubectl apply -k`, and what a user sees of it, on a real API server."""

import copy
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from api_client import STATUS as AGENT_SAYS
from kustomized import COMPONENTS, MANIFESTS, kustomization, rendered

from lab.daemons import until

PUBLISHED_S = 120
"""Deadline for the API server to publish a new schema; it takes a few seconds."""
ROOT = MANIFESTS.parent
SAMPLES = [path.read_text() for path in (MANIFESTS / "samples").glob("*.yaml")]
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
GAP = re.compile(r" {2,}")
"""Between the columns of `kubectl get`."""


@pytest.fixture
def policies(contract) -> Iterator[Any]:
    """The control plane, without policies afterwards."""
    yield contract
    contract.kubectl("delete", "memorypolicies", "--all")


def find(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


class TestKinds:
    @pytest.mark.parametrize("name", ["memorypolicies", "nodememorystates"])
    def test_they_are_established_without_a_complaint(self, contract, name):
        crd = json.loads(contract.kubectl("get", "crd", f"{name}.ballast.dev", "-o", "json"))
        conditions = {each["type"]: each["status"] for each in crd["status"]["conditions"]}
        assert conditions == {"Established": "True", "NamesAccepted": "True"}

    def test_kubectl_explains_them(self, contract):
        explain = ("explain", "memorypolicy.spec.headroom")
        until(lambda: "FIELDS" in contract.kubectl(*explain, check=False), PUBLISHED_S, "schema published")
        explained = contract.kubectl(*explain)
        assert "What a domain gets in addition to the upper forecast." in explained
        assert "Added to the upper forecast, absolute. A size such as 512Mi" in explained

    @pytest.mark.parametrize("short", ["mpol", "nms", "ballast"])
    def test_short_names_and_the_category_work(self, contract, short):
        assert "No resources found" in contract.kubectl("get", short) or contract.kubectl("get", short) == ""

    def test_kubectl_shows_what_a_policy_does(self, policies):
        policies.kubectl("apply", "-f", "-", input=json.dumps(policy("everything")))
        assert row(policies, "mpol") == ["everything", "Observe", "0", "2", "12", "9/12", "True"]
        assert columns(policies, "mpol") == [
            *("NAME", "MODE", "PRIORITY", "NODES", "DOMAINS", "STABLE", "READY", "DEGRADED", "AGE")
        ]

    def test_kubectl_shows_more_when_asked(self, policies):
        policies.kubectl("apply", "-f", "-", input=json.dumps(policy("everything")))
        assert columns(policies, "mpol", "-o", "wide")[8:] == [
            *("REALLOCATIONS", "SHORTFALL", "LOOKS-SAVED", "ENFORCING", "OVERRIDDEN", "LAST-CHANGE", "AGE")
        ]
        assert row(policies, "mpol", "-o", "wide")[7:12] == ["40", "64Mi", "8000", "1/2", "3"]

    def test_kubectl_shows_what_a_node_reports(self, contract):
        contract.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(STATE))
        contract.kubectl("apply", "--server-side", "--subresource=status", "-f", "-", input=json.dumps(STATE))
        memory = ["TOTAL", "BUDGET", "ALLOCATED", "DEMAND", "SHORT", "RECLAIMABLE"]
        assert columns(contract, "nms") == ["NAME", *memory, "DOMAINS", "REPORTED", "AGE"]
        sizes = ["64000Mi", "60000Mi", "30000Mi", "20000Mi", "0Mi", "9000Mi"]
        assert row(contract, "nms")[:8] == ["node-1", *sizes, "12"]
        assert columns(contract, "nms", "-o", "wide")[-5:] == ["POLICIES", "STABLE", "PRESSURE", "STAYSSHORT", "PAUSED"]
        assert row(contract, "nms", "-o", "wide")[-5:] == ["1", "11", "False", "True", "False"]
        contract.kubectl("delete", "nms", "node-1")

    def test_a_policy_that_nobody_has_seen_yet_is_not_ready(self, policies):
        policies.kubectl("apply", "-f", "-", input=json.dumps(policy("everything")))
        told = policies.kubectl("get", "mpol", "everything", "-o", "jsonpath={.status.conditions[*].reason}")
        assert told == "Pending"

    def test_a_wait_for_the_condition_ends(self, policies):
        policies.kubectl("apply", "-f", "-", input=json.dumps(policy("everything")))
        report(policies, "everything")
        policies.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "mpol/everything")


def policy(name: str) -> dict[str, Any]:
    return {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": name}}


STATUS = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-31T12:00:00Z",
            "reason": "AllNodesReport",
            "message": "all nodes report",
        }
    ],
    "nodes": 2,
    "domains": 12,
    "stable": "9/12",
    "reallocations": 40,
    "looksSaved": 8000,
    "overriddenDomains": 3,
    "shortfall": "64Mi",
    "enforcing": "1/2",
    "enforcingNodes": ["node-1"],
    "lastChangeTime": "2026-01-31T12:00:00Z",
}
STATE = {
    "apiVersion": "ballast.dev/v1alpha1",
    "kind": "NodeMemoryState",
    "metadata": {"name": "node-1"},
    "status": {
        "observedTime": "2026-01-31T12:00:00Z",
        "memory": AGENT_SAYS["memory"],
        "conditions": [
            condition | {"lastTransitionTime": "2026-01-31T12:00:00Z", "reason": "Told", "message": ""}
            for condition in (
                {"type": "HostMemoryPressure", "status": "False"},
                {"type": "GuestMemoryShort", "status": "True"},
                {"type": "Paused", "status": "False"},
            )
        ],
        "domains": 12,
        "stableDomains": 11,
        "policyCount": 1,
    },
}


def report(plane: Any, name: str) -> None:
    """Write a status, as the aggregator does."""
    patch = json.dumps({"status": STATUS})
    plane.kubectl("patch", "mpol", name, "--subresource=status", "--type=merge", f"--patch={patch}")


def columns(plane: Any, kind: str, *options: str) -> list[str]:
    return GAP.split(plane.kubectl("get", kind, *options).splitlines()[0].strip())


def row(plane: Any, kind: str, *options: str) -> list[str]:
    if kind == "mpol":
        report(plane, "everything")
    (line,) = plane.kubectl("get", kind, "--no-headers", *options).splitlines()
    cells = GAP.split(line.strip())
    return cells if options else cells[:-1]


class TestPolicies:
    @pytest.mark.parametrize("texts", [SAMPLES, EXAMPLES], ids=["samples", "README"])
    def test_policies_applied_twice_differ_in_nothing_also_with_a_status(self, policies, texts):
        together = "\n---\n".join(texts)
        policies.kubectl("apply", "-f", "-", input=together)
        for name in policies.kubectl("get", "mpol", "-o", "name").split():
            report(policies, name.partition("/")[2])
        again = policies.kubectl("apply", "-f", "-", input=together)
        assert len(again.splitlines()) == len(list(yaml.safe_load_all(together)))
        assert all(line.endswith(" unchanged") for line in again.splitlines())
        assert policies.kubectl("diff", "-f", "-", input=together) == ""

    @pytest.mark.parametrize(
        ("spec", "told"),
        [
            (
                {"limits": {"minimum": "2Gi", "maximum": 2**30}},
                "spec.limits.maximum: 1073741824 is less than minimum, which is 2Gi; raise maximum or lower minimum",
            ),
            (
                {"limits": {"minimumPercent": 5, "maximumPercent": 4}},
                "spec.limits.maximumPercent: 4 is less than minimumPercent, which is 5; raise maximumPercent or lower",
            ),
            (
                {"advanced": {"monitoring": {"minimumIntervalSeconds": 90}}},
                "spec.advanced.monitoring.maximumIntervalSeconds: 60 is less than minimumIntervalSeconds, which is 90;",
            ),
            (
                {"headroom": {"quantity": "512MB"}},
                "spec.headroom.quantity: 512MB is neither 0 nor a size from 1Mi to 4Ei, or less than any size that is",
            ),
            (
                {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn"}]}},
                "matchExpressions[0].values: operator NotIn compares with values, but there are none; list at least",
            ),
            (
                {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
                "matchExpressions[0].values: operator Exists takes no values; remove the values, or use In or NotIn",
            ),
            (
                {"nodeSelector": {"matchLabels": {"a b": "c"}}},
                'spec.nodeSelector.matchLabels: ["a b"] not label keys that Kubernetes takes; use 1 to 63 letters,',
            ),
            (
                {"domainSelector": {"matchLabels": {"tier": None}}},
                'spec.domainSelector.matchLabels: ["tier"] without a value; give it one, or remove it',
            ),
            (
                {"mode": "Enforce", "domainSelector": {}},
                "spec.domainSelector: empty, so that it would select everything for Enforce; give it entries, or",
            ),
            (
                {"mode": "Enforce", "selectors": {"namespaceSelector": {}}},
                "spec.selectors: an empty selector, or none, would select everything for Enforce; give each entries,",
            ),
            (
                {"advanced": {"model": {"type": "OLS", "ridge": {}}}},
                "spec.advanced.model.ridge: only counts with type Ridge, but type is OLS; remove it, or set type: R",
            ),
        ],
    )
    def test_a_refused_policy_is_told_the_field_what_is_wrong_and_the_remedy(self, contract, spec, told):
        wrong = {**policy("wrong"), "spec": spec}
        refusal = contract.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(wrong), check=False)
        assert told in re.sub(r'Invalid value: ".*?": ', "", refusal)


class TestInstallation:
    def test_applied_again_it_differs_in_nothing(self, installed):
        installed.kubectl("apply", "-k", str(MANIFESTS / "default"))
        assert installed.kubectl("diff", "-k", str(MANIFESTS / "default")) == ""

    @pytest.mark.parametrize("component", sorted({*COMPONENTS} - {"openshift"}))
    def test_every_component_can_be_applied(self, installed, component, tmp_path):
        folder = kustomization(tmp_path, [component])
        answer = installed.kubectl("apply", "--dry-run=server", "-k", str(folder))
        assert "daemonset.apps/ballast-agent" in answer

    def test_with_the_component_for_monitoring_metrics_can_be_had(self, tmp_path):
        objects = rendered(kustomization(tmp_path, ["monitoring"], "base"))
        for kind, name in (("DaemonSet", "agent"), ("Deployment", "aggregator")):
            (container,) = find(objects, kind, f"ballast-{name}")["spec"]["template"]["spec"]["containers"]
            listen = {"name": f"BALLAST_{name.upper()}_LISTEN", "value": "0.0.0.0:9178"}
            assert listen in container["env"]
            assert container["ports"] == [{"name": "metrics", "containerPort": 9178}]

    def test_what_the_prometheus_operator_and_grafana_take_can_be_rendered(self):
        kinds = [(each["kind"], each["metadata"]["name"]) for each in rendered(MANIFESTS / "monitoring")]
        assert kinds == [("ConfigMap", "ballast-dashboard"), ("PodMonitor", "ballast"), ("PrometheusRule", "ballast")]

    def test_alerts_lead_to_where_the_page_says_the_runbooks_are(self, tmp_path):
        (written,) = (each for each in kustomizations() if "replacements" in each)
        own = {part: written[part] for part in written.keys() - {"resources", "components"}}
        objects = rendered(kustomization(tmp_path, [], "monitoring", **own))
        rules = find(objects, "PrometheusRule", "ballast")["spec"]["groups"][0]["rules"]
        places = [rule["annotations"]["runbook_url"] for rule in rules]
        assert places == [f"https://wiki.example.org/ballast#{rule['alert'].lower()}" for rule in rules]
        assert [each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"] == ["ballast-dashboard"]

    @pytest.mark.parametrize(
        ("components", "paths"),
        [
            ([], {"/run/libvirt", "/proc"}),
            (["libvirt-socket"], {"/opt/libvirt/run", "/proc"}),
            (["meminfo"], {"/run/libvirt", "/proc/meminfo"}),
            (["pressure"], {"/run/libvirt", "/proc", "/proc/pressure"}),
            (["kubevirt"], {"/var/lib/kubelet/pods", "/proc"}),
            (["kubevirt", "meminfo", "pressure"], {"/var/lib/kubelet/pods", "/proc/meminfo", "/proc/pressure"}),
        ],
    )
    def test_the_agent_sees_of_its_node_what_it_needs(self, components, paths, tmp_path):
        objects = rendered(kustomization(tmp_path, components, "base"))
        spec = find(objects, "DaemonSet", "ballast-agent")["spec"]["template"]["spec"]
        volumes = {each["name"]: each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each}
        writable = {each["name"] for each in spec["containers"][0]["volumeMounts"] if not each.get("readOnly")}
        assert set(volumes.values()) == paths
        assert writable & volumes.keys() <= {"pressure"}


def kustomizations() -> list[dict[str, Any]]:
    """Those on the page, which the reader has at the top of a clone."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (MANIFESTS / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return [each for block in blocks for each in yaml.safe_load_all(block) if "resources" in each]


@pytest.mark.parametrize("written", kustomizations(), ids=lambda each: "+".join(each.get("components", ["plain"])))
def test_every_kustomization_of_the_page_is_one(written, tmp_path):
    there = os.path.relpath(ROOT, tmp_path.resolve())
    paths = {
        part: [f"{there}/{path}" for path in written[part]] for part in ("resources", "components") if part in written
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(written | paths))
    assert ("DaemonSet", "ballast-agent") in {(each["kind"], each["metadata"]["name"]) for each in rendered(tmp_path)}


class TestPodSecurity:
    """Only the agent's hostPath volumes need a namespace without limits."""

    @pytest.fixture
    def pods(self, installed) -> Iterator[Any]:
        """Tries a pod in a namespace of a Pod Security level; returns the refusal, empty where it may run."""

        def attempt(level: str, template: dict[str, Any]) -> str:
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}
            create = ("create", "--dry-run=server", "--namespace", f"at-{level}", "-f", "-")
            answer = installed.kubectl(*create, input=json.dumps(body), check=False)
            return "" if "created" in answer else str(answer)

        for level in ("baseline", "restricted"):
            metadata = {"name": f"at-{level}", "labels": {"pod-security.kubernetes.io/enforce": level}}
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
            installed.kubectl("create", "-f", "-", input=json.dumps(namespace))
            for account in ("ballast-agent", "ballast-aggregator"):
                installed.kubectl("create", "serviceaccount", account, "--namespace", f"at-{level}")
        yield attempt
        installed.kubectl("delete", "namespace", "at-baseline", "at-restricted")

    def test_it_is_host_paths_and_nothing_else(self, pods):
        objects = rendered(MANIFESTS / "base")
        agent = find(objects, "DaemonSet", "ballast-agent")["spec"]["template"]
        aggregator = find(objects, "Deployment", "ballast-aggregator")["spec"]["template"]
        refusal = pods("baseline", agent)
        assert re.findall(r'violates PodSecurity "baseline:latest": (.*)', refusal) == [
            'hostPath volumes (volumes "libvirt", "proc")'
        ]
        assert pods("baseline", without_host_paths(agent)) == ""
        assert pods("restricted", aggregator) == ""


def without_host_paths(template: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(template)
    for volume in changed["spec"]["volumes"]:
        if volume.pop("hostPath", None):
            volume["emptyDir"] = {}
    return changed


class TestArgoCd:
    def test_its_configuration_takes_the_health_check_in(self, control_plane, tmp_path):
        argocd = tmp_path / "argocd"
        argocd.mkdir()
        argocd.joinpath("cm.yaml").write_text(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: argocd-cm, namespace: argocd}, data: {url: kept}}"
        )
        component = os.path.relpath(MANIFESTS / "argocd", argocd)
        argocd.joinpath("kustomization.yaml").write_text(f"{{resources: [cm.yaml], components: [{component}]}}")
        configured = yaml.safe_load(control_plane.kubectl("kustomize", str(argocd)))
        health = (MANIFESTS / "argocd" / "health.lua").read_text()
        key = "resource.customizations.health.ballast.dev_MemoryPolicy"
        assert (configured["metadata"]["name"], configured["data"]) == ("argocd-cm", {"url": "kept", key: health})

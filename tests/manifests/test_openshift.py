"""The SecurityContextConstraint has the form of OpenShift's kind, and allows what the agents' pods are, and no more.

Fields are those of the published CRD:
https://github.com/openshift/api/blob/master/security/v1/zz_generated.crd-manifests/0000_03_config-operator_01_securitycontextconstraints-Default.crd.yaml.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
OPENSHIFT = MANIFESTS / "components" / "openshift"
SCC = yaml.safe_load((OPENSHIFT / "scc.yaml").read_text())
RIGHTS = list(yaml.safe_load_all((OPENSHIFT / "rbac.yaml").read_text()))
REQUIRED = {
    **dict.fromkeys(("allowHostDirVolumePlugin", "allowHostIPC", "allowHostNetwork", "allowHostPID"), bool),
    **dict.fromkeys(("allowHostPorts", "allowPrivilegedContainer", "readOnlyRootFilesystem"), bool),
    **dict.fromkeys(("allowedCapabilities", "defaultAddCapabilities", "requiredDropCapabilities", "volumes"), list),
    "priority": int,
}
OPTIONAL = {
    **dict.fromkeys(("allowPrivilegeEscalation", "defaultAllowPrivilegeEscalation"), bool),
    **dict.fromkeys(("allowedFlexVolumes", "allowedUnsafeSysctls", "forbiddenSysctls"), list),
    **dict.fromkeys(("seccompProfiles", "users", "groups"), list),
    **dict.fromkeys(("runAsUser", "seLinuxContext", "fsGroup", "supplementalGroups"), dict),
    **{"apiVersion": str, "kind": str, "metadata": dict},
}


def pod() -> dict[str, Any]:
    """The agent's."""
    workload, *_ = yaml.safe_load_all((MANIFESTS / "base" / "agent.yaml").read_text())
    return dict(workload["spec"]["template"]["spec"])


def test_the_constraint_is_of_openshifts_kind_with_its_fields():
    assert (SCC["apiVersion"], SCC["kind"]) == ("security.openshift.io/v1", "SecurityContextConstraints")
    assert SCC.keys() >= REQUIRED.keys()
    types = REQUIRED | OPTIONAL
    assert {field: type(value) for field, value in SCC.items()} == {field: types[field] for field in SCC}
    assert all(each["type"] == "RunAsAny" for each in SCC.values() if isinstance(each, dict) and "type" in each)


def test_the_constraint_allows_the_volumes_of_the_agent_and_of_its_token_and_no_others():
    kinds = {kind for volume in pod()["volumes"] for kind in volume if kind != "name"}
    assert set(SCC["volumes"]) == kinds | {"projected"}
    assert SCC["allowHostDirVolumePlugin"] is True


@pytest.mark.parametrize("field", ["allowPrivilegedContainer", "allowPrivilegeEscalation", "allowHostNetwork"])
def test_the_constraint_allows_no_power_over_the_node(field):
    assert SCC[field] is False


def test_what_it_demands_the_agent_has():
    (container,) = pod()["containers"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is SCC["readOnlyRootFilesystem"] is True
    assert context["capabilities"]["drop"] == SCC["requiredDropCapabilities"]
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert SCC["seccompProfiles"] == ["runtime/default"]


def test_the_agents_account_alone_may_use_it():
    assert (SCC["users"], SCC["groups"]) == ([], [])
    role, agent, aggregator = RIGHTS
    assert role["rules"][0]["resourceNames"] == [SCC["metadata"]["name"]]
    assert [(each["roleRef"]["name"], each["subjects"][0]["name"]) for each in (agent, aggregator)] == [
        (role["metadata"]["name"], "ballast-agent"),
        ("system:openshift:scc:nonroot-v2", "ballast-aggregator"),
    ]

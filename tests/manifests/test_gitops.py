"""What the page gives Argo CD and Flux to read: fields that their kinds have, and objects that refer to each other.

Fields are those of the published CRDs, as far as the page uses them:
https://github.com/argoproj/argo-cd/blob/master/manifests/crds/application-crd.yaml,
https://github.com/fluxcd/kustomize-controller/blob/main/config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml,
https://github.com/fluxcd/source-controller/blob/main/config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
PAGE = (MANIFESTS / "README.md").read_text()
SECTION = PAGE.split("\n## GitOps\n")[1].split("\n## ")[0]
DURATION = r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+"

Object = dict[str, Any]

FIELDS = {
    "Application": {
        "spec.project": str,
        "spec.source.repoURL": str,
        "spec.source.targetRevision": str,
        "spec.source.path": str,
        "spec.destination.server": str,
        "spec.syncPolicy.automated.prune": bool,
        "spec.syncPolicy.automated.selfHeal": bool,
        "spec.syncPolicy.syncOptions": list,
        "spec.syncPolicy.retry.limit": int,
        "spec.syncPolicy.retry.backoff.duration": str,
        "spec.syncPolicy.retry.backoff.factor": int,
        "spec.syncPolicy.retry.backoff.maxDuration": str,
    },
    "GitRepository": {"spec.interval": str, "spec.url": str, "spec.ref.branch": str},
    "Kustomization": {
        "spec.dependsOn": list,
        "spec.interval": str,
        "spec.sourceRef.kind": str,
        "spec.sourceRef.name": str,
        "spec.path": str,
        "spec.prune": bool,
        "spec.wait": bool,
        "spec.timeout": str,
    },
}
REQUIRED = {
    "Application": {"spec.project", "spec.source.repoURL"},
    "GitRepository": {"spec.interval", "spec.url"},
    "Kustomization": {"spec.interval", "spec.prune", "spec.sourceRef.kind", "spec.sourceRef.name"},
}
GROUPS = {
    "Application": "argoproj.io/v1alpha1",
    "GitRepository": "source.toolkit.fluxcd.io/v1",
    "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
}


def documents() -> list[Object]:
    texts = re.findall(r"^```yaml\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    return [document for text in texts for document in yaml.safe_load_all(text)]


OBJECTS = [document for document in documents() if "kind" in document]


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    else:
        yield path, value


@pytest.mark.parametrize("document", OBJECTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
class TestObject:
    def test_it_is_of_a_kind_that_the_tool_has(self, document):
        assert document["apiVersion"] == GROUPS[document["kind"]]
        assert document.keys() == {"apiVersion", "kind", "metadata", "spec"}
        assert document["metadata"].keys() == {"name", "namespace"}

    def test_its_fields_are_those_of_its_kind(self, document):
        fields = dict(leaves(document["spec"], "spec"))
        known = FIELDS[document["kind"]]
        assert {path: type(value) for path, value in fields.items()} == {path: known[path] for path in fields}
        assert fields.keys() >= REQUIRED[document["kind"]]

    def test_its_durations_are_durations(self, document):
        times = {
            path: value for path, value in leaves(document["spec"], "spec") if re.search("(?i)dur|interv|timeo", path)
        }
        assert {path: value for path, value in times.items() if not re.fullmatch(DURATION, value)} == {}


def named(kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == kind}


def test_flux_finds_the_source_and_what_it_waits_for():
    stages = named("Kustomization")
    assert {stage["sourceRef"]["name"] for stage in stages.values()} == named("GitRepository").keys()
    assert {before["name"] for stage in stages.values() for before in stage.get("dependsOn", ())} <= stages.keys()


def test_argocd_and_flux_take_the_same_folders_of_the_same_repository():
    argo, flux = named("Application"), named("Kustomization")
    assert {name: spec["source"]["path"] for name, spec in argo.items()} == {
        name: spec["path"].removeprefix("./") for name, spec in flux.items()
    }
    assert {spec["source"]["repoURL"] for spec in argo.values()} == {
        spec["url"] for spec in named("GitRepository").values()
    }


def test_the_component_that_teaches_argo_cd_is_there():
    (kustomization,) = (each for each in documents() if "components" in each)
    (component,) = kustomization["components"]
    text = (MANIFESTS.parent / component / "kustomization.yaml").read_text()
    assert yaml.safe_load(text)["kind"] == "Component"

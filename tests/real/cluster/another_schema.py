"""A policy of another version's schema: the API server has it, and this version cannot read it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.daemons import until
from lab.kubernetes.controlplane import ControlPlane

CRDS = Path(__file__).parents[3] / "crds"
NAME = "odd"
PUBLISHED_S = 120
"""Deadline for the API server to take up a schema; it takes a second or two."""
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
PATCH = json.dumps([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": ANYTHING}])


@contextmanager
def odd_policy(plane: ControlPlane) -> Iterator[None]:
    """`spec.moonPhase` in the policy NAME, until the end of the `with` block."""
    policy = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": NAME}}
    policy["spec"] = {"moonPhase": "full"}

    def taken(*options: str) -> bool:
        return "created" in plane.kubectl("create", *options, "-f", "-", input=json.dumps(policy), check=False)

    try:
        plane.kubectl("patch", "crd", "memorypolicies.ballast.dev", "--type=json", "-p", PATCH)
        until(taken, PUBLISHED_S, "the schema is open")
        yield
    finally:
        plane.kubectl("delete", "mpol", NAME, "--ignore-not-found")
        plane.kubectl("apply", "-k", str(CRDS))
        until(lambda: not taken("--dry-run=server"), PUBLISHED_S, "the schema is closed")

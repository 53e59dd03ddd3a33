"""The CRD and the pydantic model are one contract: what the API server takes the model takes, with the same defaults.

`BALLAST_CONTRACT_POLICIES=50000 pytest tests/real/cluster/test_policy_contract.py` compares more.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pytest
from api_client import Answer, ApiClient
from pydantic import ValidationError
from random_policies import random_policies
from single_faults import single_faults

from controller.api.policy import Advanced, MemoryPolicy
from controller.api.quantity import format_quantity, parse_quantity

POLICIES = int(os.environ.get("BALLAST_CONTRACT_POLICIES", "2000"))
SEED = int(os.environ.get("BALLAST_CONTRACT_SEED", "1"))
DRY_RUN = "/apis/ballast.dev/v1alpha1/memorypolicies?dryRun=All&fieldValidation="
SHOWN = 5
"""Disagreements that a failure lists."""
REFUSALS = (400, 422)
"""Statuses of a policy that is not well-formed, and of one that is not valid."""
QUANTITIES = {"headroom": ("quantity",), "limits": ("minimum", "maximum"), "budget": ("reserve", "maximum")}
"""And `advanced.threshold.quantity`."""


@pytest.fixture(scope="module")
def client(contract) -> Iterator[ApiClient]:
    client = ApiClient.of_kubeconfig(contract.kubeconfig)
    yield client
    client.close()


def read(policy: dict[str, Any]) -> dict[str, Any] | None:
    """The spec with every default, as the model has it; None when it refuses the policy.

    Of `advanced` what the policy has of it: the API server stores no more.
    """
    try:
        spec = MemoryPolicy.model_validate(policy).spec
    except ValidationError:
        return None
    unwritten = {"advanced": Advanced.model_fields.keys() - spec.advanced.model_fields_set}
    return compact(spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=unwritten))


def compact(spec: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: the model has it where the API server stores none."""
    filled = {name: compact(value) if isinstance(value, dict) else value for name, value in spec.items()}
    filled |= {name: [*map(compact, value)] for name, value in spec.items() if name == "matchExpressions"}
    return {name: value for name, value in filled.items() if value not in ({}, [])}


def stored(answer: Answer) -> dict[str, Any] | None:
    """The spec with every default, as the API server would store it, in the model's notation."""
    assert answer.status == 201 or answer.status in REFUSALS, answer
    if answer.status != 201:
        return None
    spec: dict[str, Any] = answer.body["spec"]
    parts = [(spec.get("advanced", {}).get("threshold", {}), ("quantity",))]
    parts += [(spec.get(name, {}), fields) for name, fields in QUANTITIES.items()]
    for part, fields in parts:
        for field in part.keys() & set(fields):
            part[field] = format_quantity(parse_quantity(part[field]))
    return compact(spec)


def disagreements(client: ApiClient, policies: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What the API server and the model make different things of."""
    for policy in policies:
        answer = client.ask("POST", f"{DRY_RUN}Strict", policy)
        of_server, of_model = stored(answer), read(policy)
        if of_server != of_model:
            yield f"{json.dumps(policy)}\n  server: {answer.message or of_server}\n  model: {of_model}"


def test_one_thing_out_of_the_ordinary_is_taken_or_refused_alike(client):
    found = list(disagreements(client, single_faults()))
    assert not found, f"{len(found)} policies:\n" + "\n".join(found[:SHOWN])


OF_LABELS = "matchLabels or matchExpressions"
TOP = "as `kubectl explain mpol.spec` names it (tuning is under advanced)"


@pytest.mark.parametrize(
    ("spec", "where", "known"),
    [
        ({"domainSelecter": {"names": ["db"]}}, "", TOP),
        ({"domainSelector": None}, "", TOP),
        ({"threshold": {"percent": 5}}, "", TOP),
        (
            {"advanced": {"treshold": {"percent": 5}}},
            ".advanced",
            "to model, threshold, shrink, monitoring or stability",
        ),
        ({"nodeSelector": {"disktype": "ssd"}}, ".nodeSelector", f"to names, {OF_LABELS}"),
        (
            {"nodeSelector": {"names": ["a"], "matchLabel": {"disktype": "ssd"}}},
            ".nodeSelector",
            f"to names, {OF_LABELS}",
        ),
        (
            {"domainSelector": {"names": ["a"], "labels": {"tier": "db"}}},
            ".domainSelector",
            f"to names, uuids, {OF_LABELS}",
        ),
        ({"domainSelector": {"names": ["a"], "matchLabels": None}}, ".domainSelector", f"to names, uuids, {OF_LABELS}"),
        (
            {"domainSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists", "valeus": ["db"]}]}},
            ".domainSelector.matchExpressions[0]",
            "to key, operator or values",
        ),
        (
            {"selectors": {"all": True, "namespaceSelecter": {"matchLabels": {"tier": "db"}}}},
            ".selectors",
            "to all, namespaceSelector or virtualMachineInstanceSelector",
        ),
        (
            {"selectors": {"namespaceSelector": {"matchLabels": {"a": "b"}, "matchExpression": []}}},
            ".selectors.namespaceSelector",
            f"to {OF_LABELS}",
        ),
    ],
)
@pytest.mark.parametrize("validation", ["Ignore", "Strict"])
def test_a_misspelt_field_or_null_selector_is_refused_whatever_the_client_asks_for_and_the_right_names_are_told(
    client, spec, where, known, validation
):
    policy = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "a"}, "spec": spec}
    answer = client.ask("POST", f"{DRY_RUN}{validation}", policy)
    remedy = f"is unknown or null, `ballast check` tells which; correct it {known}, or remove it"
    assert re.fullmatch(rf".* is invalid: spec{re.escape(where)}: Invalid value: .*{re.escape(remedy)}", answer.message)
    assert answer.status == 422


def test_an_empty_spec_is_stored_without_selectors_and_what_is_advanced(client):
    policy = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "a"}}
    spec = client.ask("POST", f"{DRY_RUN}Strict", policy).body["spec"]
    assert spec.keys() & {"nodeSelector", "domainSelector", "selectors", "advanced"} == set()
    assert len(json.dumps(spec)) < 300


def test_thousands_of_policies_are_taken_or_refused_alike_and_get_the_same_defaults(client):
    policies = list(islice(random_policies(SEED), POLICIES))
    found = list(disagreements(client, policies))
    assert not found, f"{len(found)} of {POLICIES}:\n" + "\n".join(found[:SHOWN])


def test_half_of_the_random_policies_are_valid():
    valid = sum(read(policy) is not None for policy in islice(random_policies(SEED), 1000))
    assert 300 < valid < 700

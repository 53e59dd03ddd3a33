"""The status of a MemoryPolicy: what the aggregator writes, and how much of it there may be."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from controller.api.policystatus import MESSAGE_CHARACTERS, WORST_NODES, PolicyStatus

CONDITIONS = ("Ready", "Stable", "Degraded", "Conflicted")
TIME = "2026-01-31T12:00:00Z"


def condition(kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True",
        "observedGeneration": 4,
        "lastTransitionTime": TIME,
        "reason": "AllNodesReport",
        "message": "all nodes report",
    }


def worst(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "reason": "Unknown",
        "unknown": True,
        "lastReportTime": TIME,
        "domains": 0,
        "stableDomains": 0,
        "stuckDomains": 0,
        "shortfall": "0Mi",
    }


def status() -> dict[str, Any]:
    return {
        "observedGeneration": 4,
        "conditions": [condition(kind) for kind in CONDITIONS],
        "nodes": 3,
        "reportingNodes": 2,
        "unknownNodes": 1,
        "domains": 12,
        "stableDomains": 9,
        "conflictedDomains": 0,
        "overriddenDomains": 0,
        "stuckDomains": 1,
        "reallocations": 40,
        "looks": 900,
        "looksSaved": 8000,
        "shortfall": "64Mi",
        "stable": "9/12",
        "lastChangeTime": TIME,
        "worstNodes": [worst("node-1")],
    }


def written(given: dict[str, Any]) -> dict[str, Any]:
    parsed = PolicyStatus.model_validate(given)
    return parsed.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_a_status_survives_the_round_trip() -> None:
    assert written(status()) == status()


def test_fields_of_a_later_version_are_ignored() -> None:
    assert written({**status(), "weather": 1}) == status()


def test_the_largest_status_stays_within_four_kibibytes() -> None:
    largest = status()
    for each in largest["conditions"]:
        each["message"] = "m" * MESSAGE_CHARACTERS
    largest["worstNodes"] = [worst(f"rack-12-compute-{index:04}") for index in range(WORST_NODES)]
    assert len(json.dumps(written(largest), separators=(",", ":"))) <= 4096


def test_no_more_than_ten_nodes_are_named() -> None:
    crowded = status()
    crowded["worstNodes"] *= WORST_NODES + 1
    with pytest.raises(ValidationError, match="worstNodes"):
        PolicyStatus.model_validate(crowded)


@pytest.mark.parametrize("reason", ["", "two words", "1st", "Ends_"])
def test_a_reason_is_one_word(reason: str) -> None:
    odd = status()
    odd["conditions"][0]["reason"] = reason
    with pytest.raises(ValidationError, match="reason"):
        PolicyStatus.model_validate(odd)

"""The NodeMemoryState model: written by one version, read by another."""

from typing import Any

import pytest
from pydantic import ValidationError

from controller.api.nodestate import NodeMemoryState


def state() -> dict[str, Any]:
    return {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "NodeMemoryState",
        "metadata": {"name": "node-1"},
        "status": {
            "observedAt": "2026-01-31T12:00:00Z",
            "node": {"totalMebibytes": 64000, "budgetMebibytes": 60000, "allocatedMebibytes": 30000},
            "pressure": False,
            "stable": True,
            "domains": 12,
            "stableDomains": 11,
            "policyCount": 1,
            "policies": [
                {
                    "name": "everything",
                    "uid": "7a1f6f2e-8f1d-4f6f-9d55-0c8d7b0a2f11",
                    "observedGeneration": 3,
                    "mode": "Enforce",
                    "domains": 12,
                    "stableDomains": 11,
                    "conflictedDomains": 0,
                    "stuckDomains": 1,
                    "unmetDomains": 0,
                    "reallocations": 40,
                    "looks": 900,
                    "looksSaved": 8000,
                    "shortfallMebibytes": 64,
                }
            ],
            "worstDomains": [
                {
                    "name": "web-1",
                    "uuid": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
                    "reason": "Stuck",
                    "shortfallMebibytes": 64,
                    "allocationMebibytes": 1024,
                }
            ],
        },
    }


def test_a_state_survives_the_round_trip() -> None:
    written = NodeMemoryState.model_validate(state()).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written == state()


def test_fields_of_a_later_version_are_ignored() -> None:
    later = state()
    later["status"]["policies"][0]["moonPhase"] = "full"
    later["status"]["weather"] = 1
    assert NodeMemoryState.model_validate(later) == NodeMemoryState.model_validate(state())


def test_policies_are_counted_whatever_the_state_says() -> None:
    wrong = state()
    wrong["status"]["policyCount"] = 7
    assert NodeMemoryState.model_validate(wrong).status.policy_count == 1


def test_no_more_than_ten_domains_are_named() -> None:
    crowded = state()
    crowded["status"]["worstDomains"] *= 11
    with pytest.raises(ValidationError, match="worstDomains"):
        NodeMemoryState.model_validate(crowded)


@pytest.mark.parametrize("time", ["now", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z", ""])
def test_a_time_must_be_complete(time: str) -> None:
    vague = state()
    vague["status"]["observedAt"] = time
    with pytest.raises(ValidationError, match="RFC 3339"):
        NodeMemoryState.model_validate(vague)


@pytest.mark.parametrize("count", [-1, 1.0, "1", True])
def test_counts_are_integers_from_zero(count: object) -> None:
    odd = state()
    odd["status"]["domains"] = count
    with pytest.raises(ValidationError, match="domains"):
        NodeMemoryState.model_validate(odd)

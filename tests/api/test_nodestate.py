"""The NodeMemoryState model: written by one version, read by another."""

from typing import Any

import pytest
from pydantic import ValidationError

from controller.api.nodestate import NodeMemoryState

MEMORY = {
    "total": "64000Mi",
    "reserve": "3000Mi",
    "budget": "60000Mi",
    "allocated": "30000Mi",
    "demand": "20000Mi",
    "short": "0Mi",
    "reclaimable": "9000Mi",
}
CONDITION = {
    "type": "GuestMemoryShort",
    "status": "True",
    "lastTransitionTime": "2026-01-31T12:00:00Z",
    "reason": "DemandAboveBudget",
    "message": "the guests need more",
}


def state() -> dict[str, Any]:
    return {
        "apiVersion": "ballast.dev/v1alpha1",
        "kind": "NodeMemoryState",
        "metadata": {"name": "node-1"},
        "status": {
            "observedTime": "2026-01-31T12:00:00Z",
            "conditions": [CONDITION],
            "memory": MEMORY,
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
                    "shortfall": "64Mi",
                }
            ],
            "worstDomains": [
                {
                    "name": "web-1",
                    "uuid": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
                    "reason": "Stuck",
                    "shortfall": "64Mi",
                    "allocation": "1024Mi",
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
    vague["status"]["observedTime"] = time
    with pytest.raises(ValidationError, match="RFC 3339"):
        NodeMemoryState.model_validate(vague)


@pytest.mark.parametrize(
    "size", ["-1Mi", "1.5Mi", "1Gi", "1", "Mi", 1.0, "1152921504606846976Mi", "12345678901234567Mi"]
)
def test_sizes_are_whole_mebibytes(size: object) -> None:
    odd = state()
    odd["status"]["memory"]["short"] = size
    with pytest.raises(ValidationError, match=r"memory\.short"):
        NodeMemoryState.model_validate(odd)


@pytest.mark.parametrize("size", [64, "64Mi"])
def test_a_size_is_written_as_a_quantity(size: object) -> None:
    read = state()
    read["status"]["memory"]["short"] = size
    status = NodeMemoryState.model_validate(read).status
    assert (status.memory.short, status.model_dump(mode="json")["memory"]["short"]) == (64, "64Mi")


@pytest.mark.parametrize(("status", "holds"), [("True", True), ("False", False), ("Unknown", False)])
def test_a_condition_holds_when_it_is_true(status: str, holds: bool) -> None:
    read = state()
    read["status"]["conditions"] = [CONDITION | {"type": "OfALaterVersion"}, CONDITION | {"status": status}]
    seen = NodeMemoryState.model_validate(read).status
    assert (seen.holds("GuestMemoryShort"), seen.holds("HostMemoryPressure")) == (holds, False)


@pytest.mark.parametrize("count", [-1, 1.0, "1", True])
def test_counts_are_integers_from_zero(count: object) -> None:
    odd = state()
    odd["status"]["domains"] = count
    with pytest.raises(ValidationError, match="domains"):
        NodeMemoryState.model_validate(odd)

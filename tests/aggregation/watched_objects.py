"""Objects as the API server would send them, for tests that need no more of them."""

from typing import Any

API_VERSION = "ballast.dev/v1alpha1"
FIGURES = {
    "domains": 4,
    "stableDomains": 4,
    "conflictedDomains": 0,
    "overriddenDomains": 0,
    "stuckDomains": 0,
    "unmetDomains": 0,
    "reallocations": 7,
    "looks": 100,
    "looksSaved": 900,
    "shortfall": "0Mi",
}
MEMORY = {
    "total": "64000Mi",
    "reserve": "3000Mi",
    "budget": "60000Mi",
    "allocated": "30000Mi",
    "demand": "20000Mi",
    "short": "0Mi",
    "reclaimable": "9000Mi",
}


def policy(
    name: str = "all", generation: int = 1, version: str = "1", uid: str = "", status: Any = None, **spec: Any
) -> dict[str, Any]:
    metadata = {"name": name, "uid": uid or f"uid-{name}", "generation": generation, "resourceVersion": version}
    return {
        "apiVersion": API_VERSION,
        "kind": "MemoryPolicy",
        "metadata": metadata,
        "spec": spec,
    } | ({} if status is None else {"status": status})


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def state(
    name: str,
    observed_at: str = "2026-01-31T12:00:00Z",
    written: str = "",
    generation: int = 1,
    uid: str = "uid-all",
    **figures: Any,
) -> dict[str, Any]:
    """The state of a node that does what the policy `all` says."""
    entry = {"name": "all", "uid": uid, "observedGeneration": generation, "mode": "Enforce", **FIGURES, **figures}
    return {
        "apiVersion": API_VERSION,
        "kind": "NodeMemoryState",
        "metadata": {"name": name} | ({"managedFields": [{"time": written}]} if written else {}),
        "status": {
            "observedTime": observed_at,
            "memory": MEMORY,
            "domains": entry["domains"],
            "stableDomains": entry["stableDomains"],
            "policies": [entry],
        },
    }

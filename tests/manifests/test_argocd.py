"""Argo CD's health of a MemoryPolicy, in the dialect of Lua that Argo CD runs."""

from pathlib import Path
from typing import Any

import pytest
from lupa.lua51 import LuaRuntime

HEALTH = (Path(__file__).parents[2] / "manifests" / "argocd" / "health.lua").read_text()


def health(policy: dict[str, Any]) -> tuple[str, str]:
    """Status and message, as Argo CD gets them."""
    lua = LuaRuntime()
    lua.globals().obj = lua.table_from(policy, recursive=True)
    answer = lua.execute(HEALTH)
    return answer["status"], answer["message"]


def policy(*, observed: int = 2, **conditions: str) -> dict[str, Any]:
    """Generation 2 of a policy with these conditions, each with its type as the message."""
    told = [{"type": kind, "status": status, "message": f"about {kind}"} for kind, status in conditions.items()]
    return {"metadata": {"generation": 2}, "status": {"observedGeneration": observed, "conditions": told}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (policy(Ready="True", Degraded="False"), ("Healthy", "about Ready")),
        (policy(Ready="True", Degraded="False", Stable="False", Conflicted="True"), ("Healthy", "about Ready")),
        (policy(Ready="False", Degraded="False"), ("Progressing", "about Ready")),
        (policy(Ready="Unknown"), ("Progressing", "about Ready")),
        (policy(Ready="False", Degraded="True"), ("Degraded", "about Degraded")),
        (policy(Ready="True", Degraded="True"), ("Degraded", "about Degraded")),
        (
            policy(observed=1, Ready="True", Degraded="True"),
            ("Progressing", "waiting for Ballast's aggregator to see generation 2"),
        ),
        ({"metadata": {"generation": 1}}, ("Progressing", "waiting for Ballast's aggregator")),
        ({"metadata": {}, "status": {}}, ("Progressing", "waiting for Ballast's aggregator")),
    ],
)
def test_the_health_follows_the_conditions(given, expected):
    assert health(given) == expected

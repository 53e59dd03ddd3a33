"""A policy that does at once what others take minutes for."""

from typing import Any

QUICK_POLICY: dict[str, Any] = {
    "apiVersion": "ballast.dev/v1alpha1",
    "kind": "MemoryPolicy",
    "metadata": {"name": "quick"},
    "spec": {
        "mode": "Enforce",
        "limits": {"minimum": "96Mi", "minimumPercent": 1},
        "headroom": {"quantity": "12Mi"},
        "advanced": {
            "threshold": {"percent": 1, "quantity": "4Mi"},
            "shrink": {"stabilizationSeconds": 3},
            "monitoring": {"maximumIntervalSeconds": 1},
        },
        "spare": "Reclaim",
    },
}

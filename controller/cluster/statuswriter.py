"""Writes `MemoryPolicy.status`, and nothing else of a policy: no finalizer, annotation or label."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.cluster.client import Client
from controller.cluster.resources import MEMORY_POLICIES
from controller.cluster.shape import sound, version_of

FIELD_MANAGER = "ballast-aggregator"
"""Owner of the status in `managedFields`; the fields of the spec stay with whoever applied them."""


@dataclass(frozen=True, slots=True)
class Written:
    """A policy's status as it stands in the API server after a write."""

    resource_version: str
    status: Mapping[str, Any]


class StatusWriter:
    """Server-side apply to the status subresource."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def write(self, name: str, resource_version: str, status: Mapping[str, Any]) -> Written:
        """Put the status of a policy. Raises ApiError.

        ApiError.conflict: someone wrote the policy since `resource_version`, such as the next leader, or it is another
        one of the same name. ApiError.not_found: the policy is gone.
        """
        body = {
            "apiVersion": MEMORY_POLICIES.api_version,
            "kind": MEMORY_POLICIES.kind,
            "metadata": {"name": name, "resourceVersion": resource_version},
            "status": dict(status),
        }
        stored = self._client.apply(MEMORY_POLICIES, body, field_manager=FIELD_MANAGER, subresource="status")
        return Written(version_of(stored), sound(stored).get("status") or {})

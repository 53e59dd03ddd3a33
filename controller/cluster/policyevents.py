"""Events of policies (`kubectl describe memorypolicy`): a condition that a person should know of has turned."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from controller.api.printable import cut
from controller.cluster.client import Client
from controller.cluster.errors import ApiError
from controller.cluster.findings import NOTE_BYTES
from controller.cluster.nodeevents import event_remedy
from controller.cluster.resources import EVENTS, MEMORY_POLICIES, Object

_log = logging.getLogger(__name__)
_FIELDS = {"fields": {"event": "cluster"}}

NAMESPACE = "default"
"""Of events about things that have no namespace: the API server takes no other."""
QUIET_S = 300.0
"""Least seconds between two events of one condition of one policy: what flaps is told by its status."""
CONTROLLER = "ballast.dev/aggregator"
INSTANCE_CHARACTERS = 128
"""Most that an event takes for the name of who reports it."""


class PolicyEvents:
    """Writes events. One that cannot be written is let go: the status says the same. Belongs to one thread."""

    def __init__(
        self, client: Client, identity: str, monotonic: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        """`identity` names this replica; `monotonic` and `wall` are seconds."""
        self._client = client
        self._identity = identity
        self._monotonic = monotonic
        self._wall = wall
        self._told: dict[tuple[str, str], float] = {}
        self._said: set[str] = set()

    def tell(self, policy: str, uid: str, condition: Mapping[str, Any]) -> None:
        """A condition of the policy has turned; `condition` is as it stands in the status."""
        now = self._monotonic()
        self._told = {key: at for key, at in self._told.items() if now - at < QUIET_S}
        key = uid, condition["type"]
        if key in self._told:
            return
        self._told[key] = now
        try:
            self._client.create(EVENTS, self._event(policy, uid, condition), namespace=NAMESPACE)
        except ApiError as error:
            self._say(error)
        else:
            self._said.clear()

    def _say(self, error: ApiError) -> None:
        """Once a kind, until one is written again."""
        if error.reason not in self._said:
            self._said.add(error.reason)
            _log.warning("events of MemoryPolicies cannot be written: %s", event_remedy(error), extra=_FIELDS)

    def _event(self, policy: str, uid: str, condition: Mapping[str, Any]) -> Object:
        regarding = {"apiVersion": MEMORY_POLICIES.api_version, "kind": MEMORY_POLICIES.kind, "name": policy}
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"generateName": f"{policy}-", "namespace": NAMESPACE},
            "eventTime": datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": "Warning" if condition["status"] == "True" else "Normal",
            "reason": condition["reason"],
            "note": cut(condition["message"], NOTE_BYTES),
            "action": condition["type"],
            "reportingController": CONTROLLER,
            "reportingInstance": self._identity[:INSTANCE_CHARACTERS],
            "regarding": regarding | {"uid": uid},
        }

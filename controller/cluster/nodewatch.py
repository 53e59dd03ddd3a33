"""The Node we are on, watched by its name: its labels, for node selectors, and its UID, for owner references.

Only a list tells its status, and so how much memory pods may have: of what a Node says often that is the largest part.
"""

import logging
import time
from collections.abc import Callable

from controller.api.problems import shown
from controller.api.quantity import parse_quantity
from controller.cluster.client import Client, Watch
from controller.cluster.errors import ApiError, invalid
from controller.cluster.resources import NODES, Object
from controller.cluster.retry import FIRST_S, Retry
from controller.cluster.shape import sound, version_of
from controller.cluster.worker import Worker

_log = logging.getLogger(__name__)

RELIST_S = 3600.0
"""Seconds between two lists that nothing else asked for: a kubelet that was restarted may keep more for the system."""


class NodeWatch:
    """Tells what the Node's metadata is, from a thread of its own. `worker` is to be entered."""

    def __init__(
        self, client: Client, name: str, changed: Callable[[Object], None], regained: Callable[[], None]
    ) -> None:
        """`changed` gets the Node's name, uid, labels, and bytes of memory `withheld` from pods. `regained`: it is
        heard again after a break.

        After a break it is listed anew. What broke the watch may have been a restore of the cluster from a backup, and
        a watch from a version that is yet to come hears nothing.
        """
        self._client = client
        self._name = name
        self._selector = f"metadata.name={name}"
        self._changed = changed
        self._regained = regained
        self._watch: Watch | None = None
        self._version = ""
        self._told: Object | None = None
        self._withheld = 0
        self._listed_at = float("-inf")
        self._broken = False
        self._away = False
        self._retry = Retry(f"Node {name}")
        self.worker = Worker("node", self._turn, self._interrupt)

    @property
    def outage(self) -> str:
        """Why the API server cannot be asked; empty while it answers. A watch that goes on notices first."""
        return self._retry.problem if self._away else ""

    def _turn(self) -> float:
        """List if need be, then watch until the server ends it."""
        try:
            if not self._version or time.monotonic() - self._listed_at >= RELIST_S:
                page = next(self._client.pages(NODES, field_selector=self._selector))
                self._away = False
                if not page.items:
                    return self._retry.failed("missing", "there is no Node of this name; is --node-name right?")
                self._tell(page.items[0])
                self._version, self._listed_at = page.resource_version, time.monotonic()
            self._follow()
        except ApiError as error:
            if self.worker.stopped:
                return 0.0
            self._version = ""
            if error.gone:
                return FIRST_S
            self._away = error.unreachable
            return self._retry.failed(error.reason, str(error), error.retry_after_s)
        return FIRST_S

    def _follow(self) -> None:
        watch = self._client.watch(NODES, self._version, field_selector=self._selector, metadata_only=True)
        self._watch = watch
        if self.worker.stopped:
            watch.close()
        if self._retry.worked() or self._broken:
            self._broken = self._away = False
            self._regained()
        try:
            self._hear(watch)
        except ApiError as error:
            if not error.unreachable:
                raise
            self._version = ""
            self._broken = True  # as when an API server is replaced; whether it is away the next request tells

    def _hear(self, watch: Watch) -> None:
        for event in watch:
            self._version = version_of(event.object)
            if event.type in {"ADDED", "MODIFIED"}:
                self._tell(event.object)

    def _tell(self, node: Object) -> None:
        """Of a Node that is deleted the last labels count on: its guests are still here. Raises ApiError."""
        metadata = sound(node)["metadata"]
        if metadata["name"] != self._name:
            raise invalid(f"metadata.name: {shown(metadata['name'])}: Node {self._name} was asked for")
        if "status" in node:
            self._withheld = withheld(node["status"])
        told = {
            "name": self._name,
            "uid": metadata.get("uid", ""),
            "labels": metadata.get("labels") or {},
            "withheld": self._withheld,
        }
        if told != self._told:
            self._told = told
            self._changed(told)

    def _interrupt(self) -> None:
        if self._watch is not None:
            self._watch.close()


def withheld(status: Object | None) -> int:
    """Bytes of a Node's memory that pods do not get: capacity less allocatable; 0 where it does not say.

    That is what the kubelet keeps for the system and itself, and its threshold of eviction. Huge pages are off the
    allocatable memory as well, but nobody has to leave them free.
    https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/
    """
    try:
        capacity, allocatable = (dict((status or {})[each]) for each in ("capacity", "allocatable"))
        huge = sum(_size(size) for name, size in capacity.items() if name.startswith("hugepages-"))
        return max(_size(capacity["memory"]) - _size(allocatable["memory"]) - huge, 0)
    except (KeyError, TypeError, ValueError):
        return 0


def _size(quantity: str | int) -> int:
    """Bytes. Raises ValueError."""
    return parse_quantity(quantity, least=0, least_bare=0)

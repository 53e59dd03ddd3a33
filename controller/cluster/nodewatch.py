"""The Node we are on, watched by its name: its labels, for node selectors, and its UID, for owner references."""

import logging
from collections.abc import Callable

from controller.api.problems import shown
from controller.cluster.client import Client, Watch
from controller.cluster.errors import ApiError, invalid
from controller.cluster.resources import NODES, Object
from controller.cluster.retry import FIRST_S, Retry
from controller.cluster.shape import sound, version_of
from controller.cluster.worker import Worker

_log = logging.getLogger(__name__)


class NodeWatch:
    """Tells what the Node's metadata is, from a thread of its own. `worker` is to be entered."""

    def __init__(
        self, client: Client, name: str, changed: Callable[[Object], None], regained: Callable[[], None]
    ) -> None:
        """`changed` gets the Node's metadata: name, uid, labels. `regained`: it is heard again after a break.

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
            if not self._version:
                page = next(self._client.pages(NODES, field_selector=self._selector, metadata_only=True))
                self._away = False
                if not page.items:
                    return self._retry.failed("missing", "there is no Node of this name; is --node-name right?")
                self._tell(page.items[0])
                self._version = page.resource_version
            self._follow()
        except ApiError as error:
            if self.worker.stopped:
                return 0.0
            self._version = ""
            if error.gone:
                return FIRST_S
            self._away = error.unreachable
            return self._retry.failed(error.reason, str(error), error.retry_after_s or 0.0)
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
        told = {"name": self._name, "uid": metadata.get("uid", ""), "labels": metadata.get("labels") or {}}
        if told != self._told:
            self._told = told
            self._changed(told)

    def _interrupt(self) -> None:
        if self._watch is not None:
            self._watch.close()

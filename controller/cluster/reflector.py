"""One kind of object, listed page by page and then watched, for ever: what is there, and what becomes of it."""

from collections.abc import Callable

from controller.aggregation.watchevents import (
    Deleted,
    Disconnected,
    ListComplete,
    Listed,
    Modified,
    Reconnected,
    WatchEvent,
)
from controller.cluster.client import Client, Watch
from controller.cluster.errors import ApiError
from controller.cluster.resources import Resource, full_name
from controller.cluster.retry import FIRST_S, Retry
from controller.cluster.shape import all_sound, sound, version_of
from controller.cluster.worker import Worker


class Reflector:
    """Hands on events of one kind, in order, from a thread of its own. `worker` is to be entered."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        tell: Callable[[WatchEvent], None],
        monotonic: Callable[[], float],
        metadata_only: bool = False,
        field_selector: str = "",
        label_selector: str = "",
    ) -> None:
        """`tell` is called from the reflector's thread. `metadata_only` leaves the rest of every object out."""
        self._client = client
        self._resource = resource
        self._tell = tell
        self._monotonic = monotonic
        self._metadata_only = metadata_only
        self._field_selector = field_selector
        self._label_selector = label_selector
        self._watch: Watch | None = None
        self._version = ""
        self._heard_at = monotonic()
        self._disconnected = False
        self._retry = Retry(resource.plural)
        self.worker = Worker(f"reflector of {resource.plural}", self.turn, self._interrupt)

    @property
    def problem(self) -> str:
        """Why nothing is heard at present; empty when all is well."""
        return self._retry.problem

    def turn(self) -> float:
        """List all, if that is needed, then watch until the watch ends. Returns the seconds to the next turn.

        Only after a watch that ended in its time another goes on from there. What broke it may have been a restore of
        the cluster from a backup: then versions are yet to come again, and a watch from one of those hears nothing.
        """
        began = self._monotonic()
        try:
            version, self._version = self._version or self._list(), ""
            self._version = self._follow(version)
        except ApiError as error:
            return 0.0 if self.worker.stopped else self._lose(error)
        return max(0.0, began + FIRST_S - self._monotonic())

    def _list(self) -> str:
        """Tell of all that is there. Returns the version to watch from."""
        names: set[str] = set()
        version = ""
        for page in self._client.pages(
            self._resource,
            field_selector=self._field_selector,
            label_selector=self._label_selector,
            metadata_only=self._metadata_only,
        ):
            self._hear()
            items = tuple(all_sound(page.items))
            names |= {full_name(each) for each in items}
            version = page.resource_version
            self._tell(Listed(self._resource.kind, items, page.server_time))
        self._tell(ListComplete(self._resource.kind, frozenset(names)))
        return version

    def _follow(self, version: str) -> str:
        """Tell of changes until the server ends the watch, as it does every few minutes. Returns where it ended."""
        watch = self._client.watch(
            self._resource,
            version,
            field_selector=self._field_selector,
            label_selector=self._label_selector,
            metadata_only=self._metadata_only,
        )
        self._hear()
        self._watch = watch
        if self.worker.stopped:
            watch.close()
        for event in watch:
            self._hear()
            version = version_of(event.object)
            if event.type == "DELETED":
                self._tell(Deleted(self._resource.kind, full_name(sound(event.object))))
            elif event.type != "BOOKMARK":
                self._tell(Modified(self._resource.kind, sound(event.object)))
        return version

    def _lose(self, error: ApiError) -> float:
        """Nothing is heard any more. Returns the seconds to wait before the next try."""
        if not self._disconnected:
            self._disconnected = True
            self._tell(Disconnected(self._resource.kind))
        if error.gone:
            return FIRST_S
        return self._retry.failed(error.reason, str(error), error.retry_after_s)

    def _hear(self) -> None:
        """The server has said something. Since when it had not, a connection that died silently does not tell."""
        self._retry.worked()
        silent_since, self._heard_at = self._heard_at, self._monotonic()
        if self._disconnected:
            self._disconnected = False
            self._tell(Reconnected(self._resource.kind, self._heard_at - silent_since))

    def _interrupt(self) -> None:
        if self._watch is not None:
            self._watch.close()

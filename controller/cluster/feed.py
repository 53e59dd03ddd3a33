"""One kind of object, listed page by page and then watched, for ever: what is there, and what becomes of it."""

import logging
import random
import threading
from collections.abc import Callable

from controller.aggregation.news import Changed, Complete, Lost, News, Removed, Resumed, Seen
from controller.cluster.client import Client, Watch
from controller.cluster.errors import ApiError
from controller.cluster.resources import Resource

_log = logging.getLogger(__name__)

SHORTEST_PAUSE_S = 1.0
"""Seconds before the first try to reach an API server that went away, doubled from try to try; and least seconds from
watch to watch, for one that ends each at once."""
LONGEST_PAUSE_S = 30.0
"""Most seconds between two tries, so that an API server that comes back is noticed soon, by all not at once."""
ENDING_S = 2.0
"""Seconds to wait for the thread at the end; a request in its midst, which changes nothing, is not waited for."""


class Feed:
    """Hands on news of one kind, in order, from a thread of its own; a context manager."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        tell: Callable[[News], None],
        monotonic: Callable[[], float],
        metadata_only: bool = False,
    ) -> None:
        """`tell` is called from the feed's thread. `metadata_only` leaves the rest of every object out."""
        self._client = client
        self._resource = resource
        self._tell = tell
        self._monotonic = monotonic
        self._metadata_only = metadata_only
        self._stop = threading.Event()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"feed {resource.plural}", daemon=True)
        self._version = ""
        self._lost_at: float | None = None
        self._pause_s = SHORTEST_PAUSE_S
        self._problem = ""

    @property
    def name(self) -> str:
        """For people: the plural of the kind."""
        return self._resource.plural

    @property
    def problem(self) -> str:
        """Why nothing is heard at present; empty when all is well."""
        return self._problem

    @property
    def alive(self) -> bool:
        """False when the thread died of something unforeseen."""
        return self._thread.is_alive()

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        watch = self._watch
        if watch is not None:
            watch.close()
        self._thread.join(ENDING_S)

    def turn(self) -> float:
        """List all, if that is needed, then watch until the watch ends. Returns the seconds to the next turn."""
        began = self._monotonic()
        try:
            if not self._version:
                self._version = self._list()
            self._follow()
        except ApiError as error:
            return 0.0 if self._stop.is_set() else self._lose(error)
        return max(0.0, began + SHORTEST_PAUSE_S - self._monotonic())

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self.turn())

    def _list(self) -> str:
        """Tell of all that is there. Returns the version to watch from."""
        names: set[str] = set()
        version = ""
        for page in self._client.pages(self._resource, metadata_only=self._metadata_only):
            self._resume()
            names |= {each["metadata"]["name"] for each in page.items}
            version = page.resource_version
            self._tell(Seen(self._resource.kind, tuple(page.items), page.server_time))
        self._tell(Complete(self._resource.kind, frozenset(names)))
        return version

    def _follow(self) -> None:
        """Tell of changes until the server ends the watch, as it does every few minutes."""
        watch = self._client.watch(self._resource, self._version, metadata_only=self._metadata_only)
        self._resume()
        self._watch = watch
        if self._stop.is_set():
            watch.close()
        for event in watch:
            self._version = event.object["metadata"]["resourceVersion"]
            if event.type == "DELETED":
                self._tell(Removed(self._resource.kind, event.object["metadata"]["name"]))
            elif event.type != "BOOKMARK":
                self._tell(Changed(self._resource.kind, event.object))

    def _lose(self, error: ApiError) -> float:
        """Nothing is heard any more. Returns the seconds to wait before the next try."""
        if error.gone:
            _log.debug("%s: the watch is too old, all are listed anew: %s", self._resource.plural, error)
            self._version = ""
        elif not self._problem:
            _log.warning(
                "%s: %s; tried again until it works",
                self._resource.plural,
                error,
                extra={"fields": {"event": "feed lost", "resource": self._resource.plural}},
            )
            self._problem = f"{self._resource.plural}: {error}"
        if self._lost_at is None:
            self._lost_at = self._monotonic()
            self._tell(Lost(self._resource.kind))
        pause, self._pause_s = self._pause_s, min(LONGEST_PAUSE_S, 2 * self._pause_s)
        return max(error.retry_after_s or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def _resume(self) -> None:
        """The server answers."""
        self._pause_s = SHORTEST_PAUSE_S
        if self._problem:
            self._problem = ""
            _log.info("%s: heard again", self._resource.plural, extra={"fields": {"event": "feed resumed"}})
        if self._lost_at is not None:
            deaf_s, self._lost_at = self._monotonic() - self._lost_at, None
            self._tell(Resumed(self._resource.kind, deaf_s))

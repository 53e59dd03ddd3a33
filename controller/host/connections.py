"""The connections to all sources, which come and go: a mapping by name that is replaced as a whole."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, ValuesView
from dataclasses import replace

from controller.engine.inventory import DomainFacts, Pod
from controller.host.connection import Connection, ConnectionSettings
from controller.host.sources import Source
from controller.host.taskpool import TaskPool

LOG = logging.getLogger(__name__)

_Part = tuple[tuple[DomainFacts, ...], Pod | None]
"""What one connection tells, and the pod it runs in."""


class Connections(Mapping[str, Connection]):
    """Thread-safe: whoever goes through it goes through what there was at that moment."""

    def __init__(
        self, wake: Callable[[], None], moved: Callable[[str, int], None], settings: ConnectionSettings
    ) -> None:
        """`wake` and `moved(key, bytes)` are called from other threads."""
        self._wake = wake
        self._moved = moved
        self._settings = settings
        self._task_pool = TaskPool()
        self._lock = threading.Lock()
        self._open = False
        self._now: Mapping[str, Connection] = {}
        self._parts: tuple[_Part, ...] = ()
        self._inventory: tuple[DomainFacts, ...] = ()

    def __getitem__(self, name: str) -> Connection:
        return self._now[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now)

    def __len__(self) -> int:
        return len(self._now)

    def values(self) -> ValuesView[Connection]:
        """Of this moment."""
        return self._now.values()

    def connect(self, sources: Iterable[Source]) -> None:
        """These, and no others, are connected to from now on; waits for nothing. Raises ValueError for a name that
        stands for two.
        """
        wanted: dict[str, Source] = {}
        for source in sources:
            if wanted.setdefault(source.name, source) is not source:
                raise ValueError(f"connection {source.name!r} is named twice; name each once")
        with self._lock:
            before, self._now = self._now, {name: self._followed(source) for name, source in wanted.items()}
            if self._open:
                for connection in _not_in(before, self._now):
                    LOG.info("%s: gone", connection.name)
                    connection.begin_close()
                for connection in _not_in(self._now, before):
                    connection.start()
        self._wake()

    def _followed(self, source: Source) -> Connection:
        """The connection to this source that there is, told of what is known by now, or a new one."""
        known = self._now.get(source.name)
        if known is None or known.source.identity != source.identity:
            return Connection(source, self._wake, self._moved, self._settings, self._task_pool)
        known.follow(source)
        return known

    def start(self, seconds: float) -> None:
        """Connect; returns when every connection is up or has failed once, or after so many seconds."""
        deadline = time.monotonic() + seconds
        with self._lock:
            self._open = True
            connections = self.values()
            for connection in connections:
                connection.start()
        for connection in connections:
            connection.settled.wait(max(deadline - time.monotonic(), 0.0))

    def close(self, unresponsive: Collection[str]) -> None:
        """End all, those of `unresponsive` domains, by key, last. Returns when they have ended, or in CLOSE_S."""
        with self._lock:
            self._open = False
            connections = self.values()
        began = time.monotonic()
        for connection in connections:
            connection.begin_close(unresponsive)
        for connection in connections:
            connection.close(time.monotonic() - began)

    def inventory(self) -> tuple[DomainFacts, ...]:
        """Facts of the running domains, of a lost connection the last known; the same object while all is equal."""
        with self._lock:
            parts = tuple((each.facts, each.source.pod) for each in self._now.values())
            if not _same(parts, self._parts):
                self._parts = parts
                self._inventory = tuple(
                    facts if pod is None else replace(facts, pod=pod) for part, pod in parts for facts in part
                )
            return self._inventory


def _not_in(some: Mapping[str, Connection], others: Mapping[str, Connection]) -> list[Connection]:
    """Those of `some` that are not among `others`; one of the same name may be another one."""
    return [connection for name, connection in some.items() if others.get(name) is not connection]


def _same(parts: tuple[_Part, ...], before: tuple[_Part, ...]) -> bool:
    return len(parts) == len(before) and all(
        facts is then and pod is pod_then for (facts, pod), (then, pod_then) in zip(parts, before, strict=True)
    )

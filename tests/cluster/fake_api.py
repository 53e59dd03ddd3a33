"""An API server of a few lines: what it holds, what it is asked, and failing on demand."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from controller.cluster.client import Event, Page
from controller.cluster.errors import ApiError
from controller.cluster.resources import MEMORY_POLICIES, NODE_MEMORY_STATES, NODES, Object, Resource

AWAY = ApiError(0, "Unreachable", "API server https://api:6443 does not answer: connection refused")
MISSING = ApiError(404, "NotFound", "not found (404 NotFound)")


def policy(name: str, version: int, /, uid: str = "", **spec: Any) -> Object:
    """As a list or a watch gives it."""
    metadata = {"name": name, "uid": uid or f"uid-{name}", "generation": version, "resourceVersion": str(version)}
    return {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": metadata, "spec": spec}


class FakeWatch:
    """Gives its events, then ends or fails as the real one."""

    def __init__(self, events: list[Event | ApiError]) -> None:
        self._events = events
        self.closed = False

    def __iter__(self) -> Iterator[Event]:
        for event in self._events:
            if isinstance(event, ApiError):
                raise event
            yield event

    def close(self) -> None:
        self.closed = True


class WaitingWatch:
    """Hears nothing until it is closed; fails then, as the real one whose connection is cut off."""

    def __init__(self, ended: ApiError) -> None:
        self._ended = ended
        self.waits, self.closed = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Event]:
        self.waits.set()
        assert self.closed.wait(30)
        raise self._ended

    def close(self) -> None:
        self.closed.set()


class FakeApi:
    """Stands in for controller.cluster.client.Client."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: dict[Resource, list[Object]] = {MEMORY_POLICIES: [], NODE_MEMORY_STATES: [], NODES: []}
        self.fails: ApiError | None = None
        self.watches: list[list[Event | ApiError]] = []
        self.watched: list[tuple[Resource, str, str]] = []
        self.written: list[tuple[str, Object]] = []
        self.lists = 0
        self.meanwhile: Callable[[], None] = lambda: None
        """Called while a list is under way."""

    def set(self, *policies: Object) -> None:
        """The policies there are."""
        self.objects[MEMORY_POLICIES] = list(policies)
        self.version += 1

    def set_node(self, uid: str = "node-uid", status: Object | None = None, **labels: str) -> None:
        """The Node `here`."""
        metadata = {"name": "here", "uid": uid, "labels": labels, "resourceVersion": str(self.version)}
        self.objects[NODES] = [{"metadata": metadata, "status": status or {}}]

    def list(self, resource: Resource) -> Page:
        return next(self.pages(resource))

    def pages(self, resource: Resource, **_: Any) -> Iterator[Page]:
        self._perhaps_fail()
        self.lists += 1
        page = Page(list(self.objects[resource]), str(self.version))
        self.meanwhile()
        yield page

    def watch(self, resource: Resource, version: str, *, field_selector: str, metadata_only: bool) -> FakeWatch:
        assert metadata_only
        self._perhaps_fail()
        self.watched.append((resource, version, field_selector))
        return FakeWatch(self.watches.pop(0) if self.watches else [])

    def get(self, resource: Resource, name: str, *, metadata_only: bool) -> Object:
        assert metadata_only
        self._perhaps_fail()
        found = [each for each in self.objects[resource] if each["metadata"]["name"] == name]
        if not found:
            raise MISSING
        return {"metadata": found[0]["metadata"]}

    def apply(self, resource: Resource, body: Object, *, field_manager: str, subresource: str = "") -> Object:
        """There is one object of a kind. Its status is kept apart: what is applied to the one leaves the other."""
        assert field_manager == "ballast-agent"
        self._perhaps_fail()
        (stored,) = self.objects[resource] or [None]
        if subresource:
            assert subresource == "status"
            if stored is None:
                raise MISSING
            new = stored | {"status": body["status"]}
        else:
            new = {"status": {}} | (stored or {}) | {field: part for field, part in body.items() if field != "status"}
        self._write(f"apply {resource.plural}{subresource and '/'}{subresource}", body)
        self.version += 1
        stored = new | {"metadata": new["metadata"] | {"resourceVersion": str(self.version)}}
        self.objects[resource] = [stored]
        return stored

    def create(self, resource: Resource, body: Object, *, namespace: str) -> Object:
        return self._write(f"create {resource.plural} in {namespace}", body)

    def merge(self, resource: Resource, name: str, patch: Object, *, namespace: str = "") -> Object:
        return self._write(f"merge {resource.plural} {name}{namespace and ' in '}{namespace}", patch)

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, what: str, body: Object) -> Object:
        self._perhaps_fail()
        self.written.append((what, body))
        return body

    def _perhaps_fail(self) -> None:
        if self.fails is not None:
            raise self.fails

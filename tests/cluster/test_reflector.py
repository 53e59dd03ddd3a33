"""Lists and watches become events in order, across watches that end, an API server that goes away, versions too old."""

from collections.abc import Iterator
from typing import Any

import pytest
from fake_api import FakeWatch, WaitingWatch

from controller.aggregation.watchevents import (
    Deleted,
    Disconnected,
    ListComplete,
    Listed,
    Modified,
    Reconnected,
    WatchEvent,
)
from controller.cluster.client import Event, Page
from controller.cluster.errors import ApiError
from controller.cluster.reflector import Reflector
from controller.cluster.resources import NODES
from controller.cluster.retry import FIRST_S, LONGEST_S

AWAY = ApiError(0, "Unreachable", "API server does not answer")
TOO_OLD = ApiError(410, "Expired", "too old resource version")
TIME = "2026-01-31T12:00:00Z"


def node(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}}


class ScriptedClient:
    """Answers in the order of a script: lists of pages, watches of events; an ApiError anywhere is raised there."""

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self.asked: list[str] = []

    def pages(self, _resource: Any, **_: Any) -> Iterator[Page]:
        self.asked.append("list")
        for page in self._next("list"):
            if isinstance(page, ApiError):
                raise page
            yield page

    def watch(self, _resource: Any, resource_version: str, **_: Any) -> FakeWatch:
        self.asked.append(f"watch {resource_version}")
        return FakeWatch(self._next("watch"))

    def _next(self, kind: str) -> list[Any]:
        expected, answer = self._script.pop(0)
        assert expected == kind
        if isinstance(answer, ApiError):
            raise answer
        return answer


class Listener:
    """A reflector from a scripted server, with the clock in hand."""

    def __init__(self, *script: Any) -> None:
        self.server = ScriptedClient(*script)
        self.heard: list[WatchEvent] = []
        self.now = 0.0
        self.reflector = Reflector(self.server, NODES, self.heard.append, lambda: self.now)


ONE_PAGE = ("list", [Page([node("a", "3")], "5", TIME)])
LISTED = [Listed("Node", (node("a", "3"),), TIME), ListComplete("Node", frozenset({"a"}))]


def test_a_list_of_pages_is_told_page_by_page_and_then_watched():
    pages = [Page([node("a", "3")], "5", TIME), Page([node("b", "4")], "5", TIME)]
    listener = Listener(("list", pages), ("watch", []))
    listener.reflector.turn()
    assert listener.heard == [
        Listed("Node", (node("a", "3"),), TIME),
        Listed("Node", (node("b", "4"),), TIME),
        ListComplete("Node", frozenset({"a", "b"})),
    ]
    assert listener.server.asked == ["list", "watch 5"]


def test_objects_in_a_namespace_are_told_by_both_names():
    pod = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "6"}}
    listener = Listener(("list", [Page([pod], "5", TIME)]), ("watch", [Event("DELETED", pod)]))
    listener.reflector.turn()
    assert listener.heard[1:] == [ListComplete("Node", frozenset({"n/a"})), Deleted("Node", "n/a")]


def test_only_what_is_selected_is_asked_for(monkeypatch):
    listener, asked = Listener(ONE_PAGE, ("watch", [])), []
    for name in ("pages", "watch"):
        call = getattr(listener.server, name)
        monkeypatch.setattr(listener.server, name, lambda *what, call=call, **how: asked.append(how) or call(*what))
    reflector = Reflector(listener.server, NODES, listener.heard.append, lambda: 0.0, True, "spec.nodeName=here", "a=b")
    reflector.turn()
    assert asked == [{"metadata_only": True, "field_selector": "spec.nodeName=here", "label_selector": "a=b"}] * 2


def test_changes_are_told_and_bookmarks_are_not():
    events = [
        Event("ADDED", node("b", "6")),
        Event("MODIFIED", node("a", "7")),
        Event("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
        Event("DELETED", node("b", "10")),
    ]
    listener = Listener(ONE_PAGE, ("watch", events))
    listener.reflector.turn()
    assert listener.heard[2:] == [
        Modified("Node", node("b", "6")),
        Modified("Node", node("a", "7")),
        Deleted("Node", "b"),
    ]


def test_a_watch_that_the_server_ends_goes_on_where_it_was():
    listener = Listener(ONE_PAGE, ("watch", [Event("BOOKMARK", {"metadata": {"resourceVersion": "9"}})]), ("watch", []))
    listener.reflector.turn()
    listener.reflector.turn()
    assert listener.server.asked == ["list", "watch 5", "watch 9"]
    assert listener.heard == LISTED


@pytest.mark.parametrize("too_old", [TOO_OLD, [Event("MODIFIED", node("a", "7")), TOO_OLD]])
def test_a_version_that_is_too_old_is_listed_anew(too_old):
    listener = Listener(ONE_PAGE, ("watch", too_old), ("list", [Page([], "20", TIME)]), ("watch", []))
    assert listener.reflector.turn() == FIRST_S
    listener.now = 1.0
    listener.reflector.turn()
    assert listener.server.asked == ["list", "watch 5", "list", "watch 20"]
    assert listener.heard[-4:] == [
        Disconnected("Node"),
        Reconnected("Node", 1.0),
        Listed("Node", (), TIME),
        ListComplete("Node", frozenset()),
    ]


def test_a_list_that_fails_in_its_midst_is_not_complete_and_begins_anew():
    listener = Listener(("list", [Page([node("a", "3")], "5", TIME), TOO_OLD]), ONE_PAGE, ("watch", []))
    listener.reflector.turn()
    assert [type(each) for each in listener.heard] == [Listed, Disconnected]
    listener.reflector.turn()
    assert listener.heard[2:] == [Reconnected("Node", 0.0), *LISTED]


def test_an_outage_is_told_once_with_its_length_and_everything_is_listed_anew(caplog):
    caplog.set_level("INFO", "controller")
    restored = ("list", [Page([], "3", TIME)])
    listener = Listener(ONE_PAGE, ("watch", [AWAY]), ("list", AWAY), ("list", AWAY), restored, ("watch", []))
    for now in (0.0, 100.0, 200.0, 300.0):
        listener.now = now
        listener.reflector.turn()
    assert listener.heard == [
        *LISTED,
        Disconnected("Node"),
        Reconnected("Node", 300.0),
        Listed("Node", (), TIME),
        ListComplete("Node", frozenset()),
    ]
    assert listener.server.asked == ["list", "watch 5", "list", "list", "list", "watch 3"]
    assert [record.message for record in caplog.records] == [
        "nodes: API server does not answer; tried again until it works",
        "nodes: works again",
    ]


@pytest.mark.parametrize("refusal", [AWAY, ApiError(500, "InternalError", "etcd")])
def test_a_watch_that_is_refused_is_not_begun_at_the_same_version_again(refusal):
    listener = Listener(ONE_PAGE, ("watch", refusal), ("list", [Page([], "3", TIME)]), ("watch", []))
    listener.reflector.turn()
    listener.reflector.turn()
    assert listener.server.asked == ["list", "watch 5", "list", "watch 3"]


def test_deafness_begins_when_something_was_heard_last_not_when_it_is_noticed():
    def dies_silently() -> Iterator[Event]:
        listener.now = 40.0
        yield Event("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
        listener.now = 355.0
        raise AWAY

    listener = Listener(ONE_PAGE, ("watch", dies_silently()), ONE_PAGE, ("watch", []))
    listener.reflector.turn()
    listener.now = 360.0
    listener.reflector.turn()
    assert listener.heard[2:4] == [Disconnected("Node"), Reconnected("Node", 320.0)]


def test_tries_are_ever_further_apart_until_one_works():
    listener = Listener(*[("list", AWAY)] * 9, ONE_PAGE, ("watch", [AWAY]))
    first, *_, last, again = [listener.reflector.turn() for _ in range(10)]
    assert first <= 2 * FIRST_S < LONGEST_S / 2 <= last
    assert again <= 2 * FIRST_S


def test_a_server_that_asks_to_be_left_alone_is():
    busy = ApiError(429, "TooManyRequests", "busy", retry_after_s=77.0)
    assert Listener(("list", busy)).reflector.turn() == 77.0


def test_watches_that_end_at_once_are_not_begun_in_a_rush():
    listener = Listener(ONE_PAGE, ("watch", []), ("watch", []))
    assert listener.reflector.turn() == FIRST_S
    listener.server.watch = lambda *_, **__: setattr(listener, "now", 300.0) or FakeWatch([])
    assert listener.reflector.turn() == 0.0


def test_what_is_wrong_is_told_as_long_as_it_is():
    listener = Listener(("list", AWAY), ONE_PAGE, ("watch", []))
    listener.reflector.turn()
    assert listener.reflector.problem == "nodes: API server does not answer"
    listener.reflector.turn()
    assert listener.reflector.problem == ""


class QuietServer(ScriptedClient):
    """Its watch hears nothing until it is closed, and fails then."""

    def __init__(self, *script: Any) -> None:
        super().__init__(*script)
        self.quiet = WaitingWatch(AWAY)

    def watch(self, _resource: Any, resource_version: str, **_: Any) -> WaitingWatch:
        self.asked.append(f"watch {resource_version}")
        return self.quiet


def test_a_watch_that_waits_for_news_is_ended_with_the_thread_and_that_is_no_outage(caplog):
    listener = Listener()
    server = QuietServer(ONE_PAGE)
    reflector = Reflector(server, NODES, listener.heard.append, lambda: listener.now)
    with reflector.worker:
        assert server.quiet.waits.wait(10)
    assert not reflector.worker._thread.is_alive()
    assert (server.quiet.closed.is_set(), listener.heard, reflector.problem, caplog.records) == (True, LISTED, "", [])


def test_a_watch_begun_while_the_thread_is_ended_is_ended_too():
    listener = Listener()
    server = QuietServer(ONE_PAGE, ONE_PAGE)
    reflector = Reflector(server, NODES, listener.heard.append, lambda: listener.now)
    with reflector.worker:
        assert server.quiet.waits.wait(10)
    server.quiet.closed.clear()
    assert reflector.turn() == 0.0
    assert server.quiet.closed.is_set()

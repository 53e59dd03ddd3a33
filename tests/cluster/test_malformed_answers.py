"""What an API server, or a proxy before it, may answer instead of what was asked for: refused, bounded, said once."""

import gc
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from fake_api import FakeApi, policy
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.client.configuration import Configuration

from controller.aggregation.clustercache import ClusterCache
from controller.aggregation.statusqueue import StatusQueue
from controller.aggregation.watchevents import ListComplete, Listed, Modified
from controller.cluster.cache import Cache
from controller.cluster.client import MAXIMUM_ANSWER, Client, Event, Page
from controller.cluster.deadline import Deadline
from controller.cluster.election import LeaseError, LeaseRecord, VersionedLease
from controller.cluster.errors import ApiError, of_status, refused
from controller.cluster.lease import ApiLease
from controller.cluster.nodewatch import NodeWatch
from controller.cluster.policies import ClusterPolicies
from controller.cluster.reflector import Reflector
from controller.cluster.resources import MEMORY_POLICIES, NODES
from controller.cluster.shape import LEVELS, MOST_TEXTS, sound
from controller.cluster.statuswriter import StatusWriter
from controller.engine.ownership import NodeIdentity
from lab.daemons import until

DEEP = b"[" * 100_000 + b"]" * 100_000
BODIES = {
    "nothing": b"",
    "a page for people": b"<html><body>502 Bad Gateway</body></html>",
    "half of it": b'{"metadata": {"name": "a", "resourceVer',
    "a list": b"[]",
    "a word": b'"ok"',
    "null": b"null",
    "no UTF-8": b"\xff\xfe",
    "nested": DEEP,
    "nested in a field": b'{"items": ' + DEEP + b"}",
    "a number without end": b'{"metadata": ' + b"9" * 5000 + b"}",
}


NODES_LISTED = {"kind": "NodeList", "metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}


@contextmanager
def answering(script: Callable[[socket.socket], None]) -> Iterator[Callable[[], Configuration]]:
    """The access to a server that reads a request and then follows the script."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    script(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield lambda: Configuration(host=f"http://127.0.0.1:{listening.getsockname()[1]}")
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def whole(body: bytes, head: str = "200 OK") -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(f"HTTP/1.1 {head}\r\n{length}".encode() + body)

    return script


def dripping(begun: bytes, drip: bytes) -> Callable[[socket.socket], None]:
    """Goes on a byte at a time, each long before any time-out, until whoever asked is gone."""

    def script(connection: socket.socket) -> None:
        connection.sendall(begun)
        while True:
            connection.sendall(drip)
            time.sleep(0.01)

    return script


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class TestClient:
    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    def test_what_is_no_object_is_an_error_of_the_api_and_nothing_else(self, body):
        with answering(whole(body)) as load:
            client = Client(load)
            for asked in (lambda: client.get(NODES, "a"), lambda: client.list(NODES), lambda: list(watch(client))):
                with pytest.raises(ApiError) as caught:
                    asked()
                assert caught.value.reason in {"InvalidAnswer", "Broken"}
                assert len(str(caught.value)) < 200

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    def test_a_refusal_may_say_anything(self, body):
        with answering(whole(body, "503 No")) as load, pytest.raises(ApiError) as caught:
            Client(load).get(NODES, "a")
        assert caught.value.status == 503
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize(
        "begun",
        [b"HTTP/1.1 ", OK + b"X-Header: ", OK + b"Content-Length: 5000\r\n\r\n{", CHUNKED, CHUNKED + b"1\r\n{\r\n"],
        ids=["status line", "header", "body", "size of a chunk", "chunk after chunk"],
    )
    def test_a_server_that_drips_is_given_up_in_the_time_of_a_whole_answer(self, begun):
        with answering(dripping(begun, b"0")) as load, pytest.raises(ApiError, match="no answer in time"):
            Client(load, answer_s=0.2).get(NODES, "a")

    def test_a_machine_without_a_thread_for_its_time_limit_is_an_error_of_the_api(self, monkeypatch):
        def start(_: object) -> None:
            raise RuntimeError("can't start new thread")

        with answering(whole(b"{}")) as load:
            monkeypatch.setattr(threading.Timer, "start", start)
            with pytest.raises(ApiError, match="can't start new thread") as caught:
                Client(load).get(NODES, "a")
        assert caught.value.unreachable

    def test_a_refusal_that_drips_is_given_up_too(self):
        head = f"HTTP/1.1 503 No\r\nContent-Length: {MAXIMUM_ANSWER}\r\n\r\n".encode()
        with answering(dripping(head, b"0")) as load, pytest.raises(ApiError):
            Client(load, answer_s=0.2).get(NODES, "a")

    def test_a_refusal_that_comes_in_pieces_is_read_as_a_whole(self):
        pieces = (b'{"reason": "Busy", ', b'"message": "later"}')
        body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (*pieces, b""))
        head = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n"
        with answering(lambda connection: connection.sendall(head + body)) as load, pytest.raises(ApiError) as caught:
            Client(load).get(NODES, "a")
        assert (caught.value.reason, str(caught.value)) == ("Busy", "later (503 Busy)")

    def test_of_a_refusal_without_end_a_little_is_read(self):
        sent = []

        def endless(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 1000000000\r\n\r\n{")
            for _ in range(1000):
                connection.sendall(b" " * 2**20)
                sent.append(2**20)

        with answering(endless) as load, pytest.raises(ApiError) as caught:
            Client(load).get(NODES, "a")
        assert caught.value.status == 503
        assert sum(sent) < MAXIMUM_ANSWER

    def test_a_socket_that_is_opened_after_the_time_is_up_is_cut_off_at_once(self):
        deadline = Deadline(0.01)
        deadline.begin()
        until(lambda: deadline.passed, 60, "its time is up")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            deadline.note(ours)
            theirs.settimeout(60)
            assert theirs.recv(1) == b""
        deadline.end()

    def test_of_the_sockets_of_a_request_the_last_alone_is_kept(self):
        deadline, (first, last) = Deadline(1000.0), socket.socketpair()
        with first, last:
            deadline.note(first)
            deadline.note(last)  # a warning here is of a socket that nobody has closed
        gc.collect()
        deadline.end()

    def test_a_request_under_way_keeps_no_process_from_ending(self):
        assert Deadline(1000.0)._timer.daemon

    def test_a_handshake_that_drips_is_given_up_too(self, monkeypatch):
        """Its time is up once it has begun: Python leaves a socket open that is cut off just before."""
        deadline = Deadline(1000.0)
        monkeypatch.setattr("controller.cluster.client.Deadline", lambda _seconds: deadline)
        goes_on = dripping(b"\x16\x03\x03\x3f\xff", b"\x02")

        def script(connection: socket.socket) -> None:
            deadline._pass()
            goes_on(connection)

        with answering(script) as load:
            client = Client(lambda: Configuration(host=load().host.replace("http:", "https:")))
            with pytest.raises(ApiError, match="no answer in time"):
                client.get(NODES, "a")

    def test_more_than_an_answer_may_have_is_not_read(self):
        sent = []

        def endless(connection: socket.socket) -> None:
            connection.sendall(OK + b"Content-Length: 1000000000\r\n\r\n{")
            for _ in range(1000):
                connection.sendall(b" " * 2**20)
                sent.append(2**20)

        with answering(endless) as load:
            for asked in (lambda client: client.get(NODES, "a"), lambda client: list(watch(client))):
                with pytest.raises(ApiError, match=f"more than {MAXIMUM_ANSWER} bytes"):
                    asked(Client(load))
        assert sum(sent) < 5 * MAXIMUM_ANSWER

    def test_a_redirect_is_not_followed_with_the_credentials(self):
        asked = []
        with answering(whole(b"{}")) as there:

            def away(connection: socket.socket) -> None:
                asked.append(1)
                whole(b"", f"302 Found\r\nLocation: {there().host}/elsewhere")(connection)

            with answering(away) as load, pytest.raises(ApiError) as caught:
                Client(load).get(NODES, "a")
        assert (caught.value.status, caught.value.reason, len(asked)) == (302, "Found", 1)

    def test_what_is_compressed_is_not_unpacked(self):
        bomb = gzip.compress(b" " * 2**20)
        with answering(whole(bomb, "200 OK\r\nContent-Encoding: gzip")) as load, pytest.raises(ApiError) as caught:
            Client(load).get(NODES, "a")
        assert caught.value.reason == "InvalidAnswer"

    def test_a_body_that_breaks_off_is_an_api_server_that_is_away(self):
        def half(connection: socket.socket) -> None:
            connection.sendall(OK + b"Content-Length: 50\r\n\r\n{}")

        with answering(half) as load, pytest.raises(ApiError) as caught:
            Client(load).get(NODES, "a")
        assert (caught.value.unreachable, caught.value.reason) == (True, "Unreachable")

    def test_a_watch_that_makes_no_sense_leaves_no_connection_open(self):
        ended = threading.Event()

        def script(connection: socket.socket) -> None:
            connection.sendall(CHUNKED + b"3\r\n[]\n\r\n")
            if connection.recv(1) == b"":
                ended.set()

        with answering(script) as load:
            with pytest.raises(ApiError, match="no object"):
                list(watch(Client(load)))
            assert ended.wait(60)

    def test_a_list_without_end_is_given_up(self, monkeypatch):
        monkeypatch.setattr("controller.cluster.client.MAXIMUM_LIST", 1000)
        page = json.dumps(NODES_LISTED | {"metadata": {"continue": "more", "resourceVersion": "1"}}).encode()
        with answering(whole(page)) as load, pytest.raises(ApiError, match=r"more than \d+ bytes"):
            Client(load).list(NODES)

    def test_connections_are_kept_for_the_next_request(self):
        connections = []
        body = json.dumps({"kind": "Node", "metadata": {"name": "a"}}).encode()

        def twice(connection: socket.socket) -> None:
            connections.append(connection)
            for _ in range(2):
                connection.sendall(OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
                connection.recv(65536)

        with answering(twice) as load:
            client = Client(load)
            assert client.get(NODES, "a") == client.get(NODES, "a")
            client.close()
        assert len(connections) == 1

    @pytest.mark.parametrize(
        "date", ["Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 99 Foo 20000 00:00:00", "yesterday", "", "-1"]
    )
    def test_a_date_that_makes_no_sense_is_none(self, date):
        with answering(whole(json.dumps(NODES_LISTED).encode(), f"200 OK\r\nDate: {date}")) as load:
            (page,) = Client(load).pages(NODES)
        assert page.server_time == ""

    @pytest.mark.parametrize(
        "said",
        [
            {"items": {}},
            {"items": [[]]},
            {"items": ["a"]},
            {"metadata": []},
            {"metadata": {}},
            {"metadata": {"resourceVersion": ""}},
            {"metadata": {"resourceVersion": 7}},
            {"metadata": {"resourceVersion": "9" * 5000}},
            {"metadata": {"resourceVersion": "seven"}},
            {"metadata": {"resourceVersion": "7", "continue": {}}},
            {"kind": "Status"},
            {"kind": "PodList"},
            {"kind": ["NodeList"]},
        ],
    )
    def test_a_list_of_another_form_is_an_error(self, said):
        with answering(whole(json.dumps(NODES_LISTED | said).encode())) as load, pytest.raises(ApiError) as caught:
            Client(load).list(NODES)
        assert caught.value.reason == "InvalidAnswer"

    @pytest.mark.parametrize("left_out", ["kind", "items", "metadata"])
    def test_what_does_not_say_that_it_is_a_list_is_no_empty_one(self, left_out):
        said = {field: value for field, value in NODES_LISTED.items() if field != left_out}
        with answering(whole(json.dumps(said).encode())) as load, pytest.raises(ApiError) as caught:
            Client(load).list(NODES)
        assert caught.value.reason == "InvalidAnswer"

    @pytest.mark.parametrize(
        "said", [{}, {"ok": True}, {"kind": "Status", "status": "Success"}, {"kind": "Node", "metadata": {"name": "b"}}]
    )
    def test_an_answer_to_another_question_is_none(self, said):
        with answering(whole(json.dumps(said).encode())) as load:
            client, body = Client(load), {"metadata": {"name": "a"}}
            for asked in (
                lambda: client.get(NODES, "a"),
                lambda: client.update(NODES, body),
                lambda: client.apply(NODES, body, field_manager="me"),
                lambda: list(client.watch(MEMORY_POLICIES, "1")),
            ):
                with pytest.raises(ApiError) as caught:
                    asked()
                assert caught.value.reason == "InvalidAnswer"

    def test_an_event_about_another_kind_is_an_error(self):
        line = json.dumps({"type": "DELETED", "object": {"kind": "Pod", "metadata": {"resourceVersion": "1"}}}).encode()
        with answering(whole(line + b"\n")) as load, pytest.raises(ApiError, match="kind: 'Pod': Node was asked for"):
            list(watch(Client(load)))

    @pytest.mark.parametrize(
        "line", [{}, {"type": "ADDED"}, {"type": [], "object": {}}, {"type": "ADDED", "object": []}, {"type": "GONE"}]
    )
    def test_an_event_of_another_form_is_an_error(self, line):
        with answering(whole(json.dumps(line).encode() + b"\n")) as load, pytest.raises(ApiError) as caught:
            list(watch(Client(load)))
        assert caught.value.reason == "InvalidAnswer"


def watch(client: Client) -> Any:
    return client.watch(NODES, "1")


class TestStatus:
    @pytest.mark.parametrize(
        "details", [["envoy"], "busy", 7, None, {"retryAfterSeconds": []}, {"retryAfterSeconds": {}}]
    )
    def test_details_may_be_of_any_form(self, details):
        error = refused(503, json.dumps({"code": 14, "message": "no", "details": details}).encode())
        assert (error.status, error.retry_after_s, str(error)) == (503, 0.0, "no (503 ServiceUnavailable)")

    @pytest.mark.parametrize("code", ["abc", None, [], {}, -1, 0, 10**400, 4.5, True])
    def test_a_code_that_is_none_is_an_error_of_the_server(self, code):
        assert of_status({"code": code}).status == 500

    @pytest.mark.parametrize("said", [None, [], "gone", 7])
    def test_what_is_no_status_is_an_error_of_the_server(self, said):
        assert of_status(said).status == 500

    def test_words_are_one_line_of_a_bounded_length(self):
        error = of_status({"message": "a\nb\x1b[2J\u202e" + "\u4e2d" * 10_000, "reason": "X" * 10_000})
        assert str(error).startswith("a\\nb\\x1b[2J\\u202e")
        assert str(error).isprintable()
        assert len(str(error).encode()) < 700


OBJECTS = {
    "no metadata": {},
    "metadata that is a list": {"metadata": []},
    "no name": {"metadata": {"uid": "u", "resourceVersion": "1"}},
    "a name that is a number": {"metadata": {"name": 7, "resourceVersion": "1"}},
    "a version that is a word": {"metadata": {"name": "here", "resourceVersion": "one"}},
    "labels that are a list": {"metadata": {"name": "here", "resourceVersion": "1", "labels": ["a"]}},
    "a label that is a number": {"metadata": {"name": "here", "resourceVersion": "1", "labels": {"a": 1}}},
    "a generation that is a word": {"metadata": {"name": "here", "resourceVersion": "1", "generation": "7"}},
    "times that are none": {"metadata": {"name": "here", "resourceVersion": "1", "managedFields": [{"time": "noon"}]}},
    "managers that are words": {"metadata": {"name": "here", "resourceVersion": "1", "managedFields": ["me"]}},
    "a status that is a list": {"metadata": {"name": "here", "resourceVersion": "1"}, "status": []},
    "a spec that is a word": {"metadata": {"name": "here", "resourceVersion": "1"}, "spec": "all"},
}


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else []


class TestObjects:
    @pytest.mark.parametrize(("value", "told"), [(1.5, "'1\\.5'"), (7, "'7'"), ([1], "'list'")])
    def test_what_is_out_of_place_is_told(self, value, told):
        with pytest.raises(ApiError, match=rf"metadata\.name: {told}: "):
            sound({"metadata": {"name": value, "resourceVersion": "1"}})

    def test_a_word_that_is_out_of_place_is_told(self):
        with pytest.raises(ApiError, match="spec: 'all': "):
            sound({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": "all"})

    @pytest.mark.parametrize("odd", OBJECTS.values(), ids=OBJECTS)
    def test_an_object_of_another_form_is_refused(self, odd):
        with pytest.raises(ApiError) as caught:
            sound(odd)
        assert caught.value.reason == "InvalidAnswer"

    def test_an_object_has_a_bounded_number_of_levels(self):
        metadata = {"name": "a", "resourceVersion": "1"}
        with pytest.raises(ApiError, match=f"more than {LEVELS} levels"):
            sound({"metadata": metadata, "spec": {"a": nested(LEVELS)}})
        sound({"metadata": metadata, "spec": {"a": nested(LEVELS - 4)}})

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("9999-12-31T23:59:59+14:00"),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "metadata",
                            "name",
                            "uid",
                            "labels",
                            "managedFields",
                            "time",
                            "status",
                            "conditions",
                            "type",
                            "spec",
                        ]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=12,
        ),
        st.sampled_from(["MemoryPolicy", "Node", "NodeMemoryState"]),
    )
    @settings(max_examples=3 * settings().max_examples)
    def test_whatever_passes_the_aggregator_can_take_in(self, odd, kind):
        told = {"metadata": {"name": "a", "resourceVersion": "1"}} | (odd if isinstance(odd, dict) else {})
        with suppress(ApiError):
            hear(kind, sound(told))


def hear(kind: str, told: Any) -> None:
    cluster_cache = ClusterCache()
    for each in ("MemoryPolicy", "Node", "NodeMemoryState"):
        cluster_cache.apply(ListComplete(each, frozenset()), 0.0)
    cluster_cache.apply(Listed(kind, (told,), "2026-01-31T12:00:00Z"), 0.0)
    cluster_cache.apply(Modified(kind, told), 1.0)
    status_queue = StatusQueue(cluster_cache)
    status_queue.touch(cluster_cache.take_changed(), 1.0)
    status_queue.next(10.0, "2026-01-31T12:00:00Z")


class TestFeed:
    """Of the aggregator: what it is told is news, or a problem that is said once."""

    @pytest.mark.parametrize("odd", OBJECTS.values(), ids=OBJECTS)
    @pytest.mark.parametrize("watched", [False, True])
    def test_an_odd_object_is_a_problem_and_no_news(self, odd, watched, caplog):
        api = FakeApi()
        if watched:
            api.watches = [[Event("MODIFIED", odd)] for _ in range(3)]
        else:
            api.objects[NODES] = [odd]
        news: list[Any] = []
        reflector = Reflector(AnyWatch(api), NODES, news.append, lambda: 0.0)
        for _ in range(3):
            assert reflector.turn() > 0
        assert "not an answer of an API server" in reflector.problem
        assert len([record for record in caplog.records if "not an answer" in record.message]) == 1
        assert not [each for each in news if getattr(each, "objects", ()) or hasattr(each, "object")]


class AnyWatch:
    """The client as reflectors use it, over FakeApi."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api

    def pages(self, resource: Any, **_: Any) -> Iterator[Page]:
        return self._api.pages(resource)

    def watch(self, resource: Any, version: str, **_: Any) -> Any:
        return self._api.watch(resource, version, field_selector="", metadata_only=True)


class OneAnswerClient:
    """A client whose every answer is the same."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def _give(self, *_: Any, **__: Any) -> Any:
        return self._answer

    get = create = update = apply = _give


LEASES = {
    "a holder that is a list": {"holderIdentity": []},
    "a duration that is text": {"leaseDurationSeconds": "15"},
    "a duration without end": {"leaseDurationSeconds": 10**30},
    "a time that is a number": {"renewTime": 7},
}


class TestWriters:
    @pytest.mark.parametrize("odd", OBJECTS.values(), ids=OBJECTS)
    def test_an_odd_answer_to_a_status_is_an_error_of_the_api(self, odd):
        with pytest.raises(ApiError):
            StatusWriter(OneAnswerClient(odd)).write("a", "1", {})

    @pytest.mark.parametrize("odd", OBJECTS.values(), ids=OBJECTS)
    def test_an_odd_lease_is_an_error_of_the_lease(self, odd):
        with pytest.raises(LeaseError):
            ApiLease(OneAnswerClient(odd), "ns", "lease").read()

    @pytest.mark.parametrize("spec", LEASES.values(), ids=LEASES)
    def test_a_lease_with_odd_fields_is_an_error_of_the_lease(self, spec):
        with pytest.raises(LeaseError):
            ApiLease(
                OneAnswerClient({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": spec}), "ns", "a"
            ).read()


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_of_labels_without_end_not_every_one_is_judged(field):
    with pytest.raises(ApiError, match=f"metadata.{field}: .*more than {MOST_TEXTS} of them"):
        sound({"metadata": {"name": "here", field: dict.fromkeys(range(MOST_TEXTS + 1))}})


def test_of_managers_without_end_the_first_that_makes_no_sense_is_told():
    with pytest.raises(ApiError) as caught:
        sound({"metadata": {"name": "here", "managedFields": [0] * 1000}})
    assert caught.value.__cause__.error_count() == 1


def test_a_lease_that_has_never_changed_hands_is_a_good_one():
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0}
    lease = ApiLease(OneAnswerClient({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": spec}), "ns", "a")
    assert lease.read() == VersionedLease(LeaseRecord("a", 15, "", "", 0), "1")


class KeepingClient(OneAnswerClient):
    """A client that keeps what it was given last."""

    def update(self, _resource: Any, body: Any, **_: Any) -> Any:
        self.updated = body
        return body

    get = OneAnswerClient._give


def test_what_others_keep_in_a_lease_stays_when_it_is_renewed():
    kept = {"metadata": {"name": "a", "resourceVersion": "7", "labels": {"by": "others"}}, "spec": {"strategy": "x"}}
    client = KeepingClient(kept)
    lease = ApiLease(client, "ns", "a")
    lease.read()
    held = lease.replace(LeaseRecord("me", 15, "then", "now", 3), "8")
    assert client.updated == {
        "metadata": {"name": "a", "resourceVersion": "8", "labels": {"by": "others"}},
        "spec": {
            "strategy": "x",
            "holderIdentity": "me",
            "leaseDurationSeconds": 15,
            "acquireTime": "then",
            "renewTime": "now",
            "leaseTransitions": 3,
        },
    }
    assert held == VersionedLease(LeaseRecord("me", 15, "then", "now", 3), "8")


def test_a_lease_that_says_nothing_is_taken():
    client = KeepingClient({"metadata": {"name": "a", "resourceVersion": "7"}, "spec": None})
    lease = ApiLease(client, "ns", "a")
    assert lease.read() == VersionedLease(LeaseRecord("", 0, "", "", 0), "7")
    taken = LeaseRecord("me", 15, "then", "now", 1)
    assert lease.replace(taken, "7") == VersionedLease(taken, "7")


class TestAgentAnswered:
    @pytest.mark.parametrize("odd", [each for name, each in OBJECTS.items() if "word" not in name], ids=str)
    def test_an_odd_node_is_a_problem_and_no_labels(self, odd):
        api, told = FakeApi(), []
        api.objects[NODES] = [odd]
        watch = NodeWatch(api, "here", told.append, lambda: None)
        assert watch._turn() > 0
        assert told == []

    @pytest.mark.parametrize("odd", OBJECTS.values(), ids=OBJECTS)
    def test_odd_policies_leave_those_known_in_force_and_are_said_once(self, odd, tmp_path, caplog):
        api = FakeApi()
        api.set(policy("good", 1))
        policies = ClusterPolicies(
            api, lambda: None, NodeIdentity("here"), Cache(tmp_path, "here"), lambda: None, lambda: 0.0, lambda *_: None
        )
        policies.node_told({"name": "here", "uid": "u", "labels": {}, "withheld": 0})
        policies.relist()
        api.objects[MEMORY_POLICIES] = [odd]
        for _ in range(3):
            assert policies.relist() > 0
            policies.told("MODIFIED", odd)
        assert [each.name for each in policies.current()[1]] == ["good"]
        said = [record.message for record in caplog.records if "not an answer" in record.message]
        assert len(said) == 2, said
        policies.__exit__(None, None, None)

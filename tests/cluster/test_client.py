"""The client against an HTTP server of a few lines: what it asks, and what becomes of each kind of answer."""

import gzip
import json
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from kubernetes.client.configuration import Configuration

from controller.cluster.access import AccessError, access
from controller.cluster.client import Client
from controller.cluster.errors import ApiError, unreachable
from controller.cluster.resources import EVENTS, LEASES, MEMORY_POLICIES, NODE_MEMORY_STATES, NODES

POLL_S = 0.01
"""Seconds in which the server notices that it is to end."""

Answer = tuple[int, dict[str, str], bytes]


class ScriptedApiServer:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.now = 0.0
        self.token = "first"  # noqa: S105 - no secret
        self.asked: list[tuple[str, str, dict[str, list[str]], dict[str, str], Any]] = []
        self.answers: list[Answer | Callable[[Any], None]] = []

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        """The next answer."""
        self.answers.append((status, headers, body if isinstance(body, bytes) else json.dumps(body).encode()))

    def load(self) -> Configuration:
        """The access to it."""
        configuration = Configuration(host=self.url)
        configuration.api_key["BearerToken"] = f"Bearer {self.token}"
        return configuration


@contextmanager
def serving() -> Iterator[ScriptedApiServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = json.loads(body) if body else None
            server.asked.append((self.command, parts.path, parse_qs(parts.query), dict(self.headers), asked))
            answer = server.answers.pop(0)
            if callable(answer):
                answer(self)
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 - the base class's naming

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = ScriptedApiServer(http.server_address[1])
    thread = threading.Thread(target=http.serve_forever, args=(POLL_S,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[ScriptedApiServer]:
    with serving() as made:
        yield made


@pytest.fixture
def client(server: ScriptedApiServer) -> Iterator[Client]:
    made = Client(server.load, monotonic=lambda: server.now)
    yield made
    made.close()


NODE = {"kind": "Node", "metadata": {"name": "a"}}


def test_paths_of_all_kinds():
    assert NODES.path(name="a/b") == "/api/v1/nodes/a%2Fb"
    assert MEMORY_POLICIES.path() == "/apis/ballast.dev/v1alpha1/memorypolicies"
    assert LEASES.path(namespace="x", name="y") == "/apis/coordination.k8s.io/v1/namespaces/x/leases/y"
    assert MEMORY_POLICIES.path(name="p", subresource="status").endswith("/memorypolicies/p/status")


def test_of_an_object_the_metadata_alone_can_be_asked_for(server, client):
    server.says({"kind": "PartialObjectMetadata", "metadata": {"name": "a"}})
    client.get(NODES, "a", metadata_only=True)
    assert server.asked[0][3]["Accept"] == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def test_an_object_is_got_with_the_token(server, client):
    server.says(NODE)
    assert client.get(NODES, "a") == NODE
    command, path, query, headers, body = server.asked[0]
    assert (command, path, query, body) == ("GET", "/api/v1/nodes/a", {}, None)
    assert headers["authorization"] == "Bearer first"
    assert headers["User-Agent"].startswith("ballast/")


def counted(client: Client) -> dict[tuple[str, str], float]:
    """Requests by code and method."""
    (family,) = client.requests.collect()
    return {
        (sample.labels["code"], sample.labels["method"]): sample.value
        for sample in family.samples
        if sample.name == "rest_client_requests_total"
    }


def test_requests_are_counted_by_code_and_method(server, client):
    server.says(NODE)
    server.says({"message": "who?"}, 401)
    server.says(NODE)
    server.says({"message": "no"}, 403)
    client.get(NODES, "a")
    client.get(NODES, "a")
    with pytest.raises(ApiError):
        client.merge(NODES, "a", {})
    assert counted(client) == {("200", "GET"): 2, ("401", "GET"): 1, ("403", "PATCH"): 1}


def test_a_request_that_nobody_answers_is_counted_as_client_go_does():
    with serving() as server:
        client = Client(server.load)
    with pytest.raises(ApiError):
        client.get(NODES, "a")
    assert counted(client) == {("<error>", "GET"): 1}


def test_requests_of_two_clients_can_be_counted_together(server, client):
    other = Client(server.load, requests=client.requests)
    for each in (client, other):
        server.says(NODE)
        each.get(NODES, "a")
    other.close()
    assert counted(client) == {("200", "GET"): 2}


def test_a_list_comes_page_by_page(server, client):
    kind = "MemoryPolicyList"
    server.says({"kind": kind, "items": [{"n": 1}], "metadata": {"resourceVersion": "7", "continue": "next"}})
    server.says({"kind": kind, "items": [{"n": 2}], "metadata": {"resourceVersion": "7"}})
    page = client.list(MEMORY_POLICIES, limit=1)
    assert (page.items, page.resource_version) == ([{"n": 1}, {"n": 2}], "7")
    assert [asked[2].get("continue") for asked in server.asked] == [None, ["next"]]


def test_an_empty_list_may_be_null(server, client):
    """As Go writes a list that nobody made."""
    server.says({"kind": "NodeList", "metadata": {"resourceVersion": "1", "continue": ""}, "items": None})
    assert client.list(NODES) == ([], "1", "")


def test_a_list_that_took_too_long_is_begun_again_once(server, client):
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    for _ in range(2):
        metadata = {"resourceVersion": "7", "continue": "next"}
        server.says({"kind": "MemoryPolicyList", "items": [{"n": 1}], "metadata": metadata})
        server.says(gone, 410)
    with pytest.raises(ApiError) as caught:
        client.list(MEMORY_POLICIES)
    assert caught.value.gone
    assert len(server.asked) == 4


def test_server_side_apply(server, client):
    body = {"apiVersion": "ballast.dev/v1alpha1", "kind": "NodeMemoryState", "metadata": {"name": "n"}}
    server.says(body)
    client.apply(NODE_MEMORY_STATES, body, field_manager="me")
    command, path, query, headers, asked = server.asked[0]
    assert (command, path) == ("PATCH", "/apis/ballast.dev/v1alpha1/nodememorystates/n")
    assert query == {"fieldManager": ["me"], "force": ["true"]}
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert asked == body


def test_create_update_and_merge(server, client):
    for answer in ({"kind": "Event"}, {"kind": "MemoryPolicy", "metadata": {"name": "p"}}, {"kind": "Event"}):
        server.says(answer)
    client.create(EVENTS, {"a": 1}, namespace="default")
    client.update(MEMORY_POLICIES, {"metadata": {"name": "p"}}, subresource="status")
    client.merge(EVENTS, "e", {"b": 2}, namespace="default")
    assert [asked[:2] for asked in server.asked] == [
        ("POST", "/apis/events.k8s.io/v1/namespaces/default/events"),
        ("PUT", "/apis/ballast.dev/v1alpha1/memorypolicies/p/status"),
        ("PATCH", "/apis/events.k8s.io/v1/namespaces/default/events/e"),
    ]
    assert server.asked[2][3]["Content-Type"] == "application/merge-patch+json"


def test_a_refusal_carries_the_servers_words(server, client):
    server.says({"kind": "Status", "reason": "Conflict", "message": "the object has been modified"}, 409)
    with pytest.raises(ApiError, match="the object has been modified") as caught:
        client.get(NODES, "a")
    assert (caught.value.status, caught.value.reason, caught.value.conflict) == (409, "Conflict", True)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("3600", 60.0), ("inf", 60.0), ("nan", 0.0), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)],
)
def test_a_busy_server_says_when_to_come_back_within_reason(server, client, said, seconds):
    server.says(b"too many", 429, Retry_After=said)
    with pytest.raises(ApiError, match="too many") as caught:
        client.get(NODES, "a")
    assert (caught.value.retry_after_s, caught.value.reason) == (seconds, "TooManyRequests")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"\xff"])
def test_an_answer_that_is_no_object_is_an_error(server, client, body):
    server.says(body)
    with pytest.raises(ApiError, match="in its answer"):
        client.get(NODES, "a")


def test_a_server_that_is_away_is_unreachable():
    with serving() as server:
        client = Client(server.load)
    with pytest.raises(
        ApiError, match=r"API server http://127.0.0.1:\d+ does not answer: connection refused"
    ) as caught:
        client.get(NODES, "a")
    assert (caught.value.unreachable, caught.value.retry_after_s) == (True, 0)


def test_a_server_that_says_nothing_is_given_up(server):
    silent = threading.Event()
    server.answers.append(lambda _handler: silent.wait(10))
    client = Client(server.load, answer_s=0.05)
    with pytest.raises(ApiError, match="no answer in time"):
        client.get(NODES, "a")
    silent.set()
    client.close()


def test_a_rotated_token_is_read_again(server, client):
    server.token = "second"  # noqa: S105 - no secret
    server.says({}, 401)
    server.says(NODE)
    assert client.get(NODES, "a") == NODE
    assert [asked[3]["authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]


def test_a_token_that_is_refused_twice_is_an_error(server, client):
    server.says({}, 401)
    server.says({}, 401)
    with pytest.raises(ApiError) as caught:
        client.get(NODES, "a")
    assert caught.value.unauthorized


def chunks(*lines: bytes, end: bool = True) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in lines:
            handler.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


def event(change: str, **content: Any) -> bytes:
    return json.dumps({"type": change, "object": {"kind": "Node"} | content}).encode() + b"\n"


def test_a_watch_gives_events_until_the_server_ends_it(server, client):
    first = event("ADDED", n=1)
    server.answers.append(chunks(first[:9], first[9:] + event("DELETED", n=2)))
    watch = client.watch(NODES, "7", field_selector="metadata.name=a", label_selector="a=b", timeout_s=60)
    server.now += 60
    assert list(watch) == [("ADDED", {"kind": "Node", "n": 1}), ("DELETED", {"kind": "Node", "n": 2})]
    query = server.asked[0][2]
    assert (query["resourceVersion"], query["fieldSelector"]) == (["7"], ["metadata.name=a"])
    assert query["labelSelector"] == ["a=b"]
    assert (query["timeoutSeconds"], query["allowWatchBookmarks"]) == (["60"], ["true"])


def test_a_watch_of_what_is_compacted_away_is_gone(server, client):
    server.answers.append(chunks(event("ERROR", code=410, reason="Expired", message="too old")))
    with pytest.raises(ApiError) as caught:
        list(client.watch(NODES, "7"))
    assert caught.value.gone


def test_a_watch_that_breaks_off_is_an_error(server, client):
    server.answers.append(chunks(event("ADDED", n=1), end=False))
    heard = []
    with pytest.raises(ApiError, match="the connection broke off") as caught:
        heard.extend(client.watch(NODES, "7"))
    assert caught.value.unreachable


def test_a_watch_that_the_server_ends_before_its_time_is_broken_though_it_ends_well(server, client):
    server.answers.append(chunks(event("ADDED", n=1)))
    watch = client.watch(NODES, "7", timeout_s=60)
    server.now += 59
    heard = []
    with pytest.raises(ApiError, match="ended a watch before its time") as caught:
        heard.extend(watch)
    assert (heard, caught.value.unreachable) == ([("ADDED", {"kind": "Node", "n": 1})], True)


def test_a_connection_that_ends_in_the_midst_of_tls_broke_off_and_no_more_is_said():
    cause = urllib3.exceptions.SSLError(ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF (_ssl.c:1006)"))
    cause.__cause__ = cause.args[0]
    assert str(unreachable("https://api", cause)) == "API server https://api does not answer: the connection broke off"


def test_a_watch_is_closed_by_another_thread_while_it_waits(server, client):
    waiting, over = threading.Event(), threading.Event()

    def hang(handler: Any) -> None:
        chunks(event("ADDED", n=1), end=False)(handler)
        handler.wfile.flush()
        over.wait(10)

    server.answers.append(hang)
    watch = client.watch(NODES, "7")
    heard = []

    def listen() -> None:
        for each in watch:
            heard.append(each)
            waiting.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert waiting.wait(10)
    watch.close()
    listener.join(10)
    assert not listener.is_alive()
    assert len(heard) == 1
    over.set()


def test_a_pod_that_names_no_kubeconfig_uses_its_service_account(monkeypatch):
    loaded = []
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr("controller.cluster.access.load_incluster_config", lambda **given: loaded.append(given))
    configuration = access(None)()
    assert loaded == [{"client_configuration": configuration}]


def test_whoever_names_no_kubeconfig_and_is_in_no_pod_uses_what_kubectl_does(monkeypatch):
    loaded = []
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("controller.cluster.access.load_kube_config", lambda **given: loaded.append(given))
    configuration = access(None)()
    assert loaded == [{"config_file": None, "client_configuration": configuration}]


def test_a_list_may_be_as_large_as_was_said_and_no_larger(server, client):
    body = {"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": []}
    size = len(json.dumps(body))
    for _ in range(2):
        server.says(body)
    assert len([*client.pages(NODES, most=size)]) == 1
    with pytest.raises(ApiError, match=f"more than {size - 1} bytes"):
        [*client.pages(NODES, most=size - 1)]


@pytest.mark.parametrize(("more", "reason"), [(0, "Busy"), (1, "ServiceUnavailable")])
def test_of_a_refusal_no_more_is_read_than_an_api_server_has_to_say(server, client, more, reason):
    said = {"reason": "Busy", "message": ""}
    said["message"] = "x" * (64 * 1024 + more - len(json.dumps(said)))
    server.says(said, 503)
    with pytest.raises(ApiError) as caught:
        client.get(NODES, "a")
    assert caught.value.reason == reason


def test_a_refusal_that_is_packed_is_not_unpacked(server, client):
    server.answers.append((503, {"Content-Encoding": "gzip"}, gzip.compress(b"so much")))
    with pytest.raises(ApiError) as caught:
        client.get(NODES, "a")
    assert (caught.value.status, "so much" in str(caught.value)) == (503, False)


def test_credentials_that_cannot_be_read_again_are_no_answer_of_a_server(server):
    loads = iter([server.load])

    def load() -> Configuration:
        try:
            return next(loads)()
        except StopIteration:
            raise AccessError("no token") from None

    server.says({}, 401)
    with pytest.raises(ApiError) as caught:
        Client(load).get(NODES, "a")
    assert (caught.value.status, caught.value.reason, str(caught.value)) == (0, "NoAccess", "no token")


def test_many_choices_are_no_answer(server, client):
    server.says({"metadata": {"name": "a", "resourceVersion": "1"}}, 300)
    with pytest.raises(ApiError) as caught:
        client.get(NODES, "a")
    assert caught.value.status == 300


def test_an_access_that_cannot_be_used_is_said_with_the_remedy(tmp_path):
    with pytest.raises(AccessError, match=r"--kubeconfig .*/nowhere: .*; name a kubeconfig that kubectl can use"):
        access(tmp_path / "nowhere")()


@pytest.mark.parametrize(("verified", "warnings_left"), [(False, 0), (True, 1)])
def test_only_a_server_that_is_not_to_be_verified_is_not_warned_of(server, recwarn, verified, warnings_left):
    """Told once that somebody wants it so; not at every request."""

    def load() -> Configuration:
        configuration = server.load()
        configuration.verify_ssl = verified
        return configuration

    Client(load).close()
    warnings.warn("unverified", urllib3.exceptions.InsecureRequestWarning, stacklevel=1)
    assert len(list(recwarn)) == warnings_left


@pytest.mark.parametrize("in_a_pod", [False, True])
def test_a_kubeconfig_tells_server_and_token_wherever_ballast_runs(tmp_path, monkeypatch, in_a_pod):
    if in_a_pod:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    configuration = access(tmp_path / "config")()
    assert configuration.host == "https://api:6443"
    assert configuration.auth_settings()["BearerToken"]["value"] == "Bearer secret"


def test_a_list_tells_when_the_server_made_it(server, client):
    def dated(handler: Any) -> None:
        body = json.dumps({"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": []}).encode()
        handler.send_response_only(200)
        handler.send_header("Date", "Sat, 31 Jan 2026 12:00:00 GMT")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server.answers.append(dated)
    assert next(client.pages(NODES)).server_time == "2026-01-31T12:00:00Z"


def test_empty_lines_between_events_say_nothing(server, client):
    line = json.dumps({"type": "ADDED", "object": {"kind": "Node", "metadata": {"name": "a", "resourceVersion": "2"}}})
    server.answers.append((200, {}, f"\n{line}\n\n{line}\n".encode()))
    events = []
    with pytest.raises(ApiError, match="ended a watch before its time"):
        events.extend(event.type for event in client.watch(NODES, "1"))
    assert events == ["ADDED", "ADDED"]


def hang_up(handler: Any) -> None:
    handler.close_connection = True


def get(client: Client) -> None:
    client.get(NODES, "a")


def watch(client: Client) -> None:
    list(client.watch(NODES, "7"))


@pytest.mark.parametrize("ask", [get, watch])
@pytest.mark.parametrize(
    "answer",
    [(200, {}, json.dumps(NODE).encode()), (404, {}, b"{}"), chunks(b"{", end=False), hang_up],
    ids=["granted", "refused", "broken off", "none"],
)
def test_once_a_request_has_ended_no_timer_waits_for_its_end(server, client, answer, ask):
    before = set(threading.enumerate())
    server.answers.append(answer)
    with suppress(ApiError):
        ask(client)
    timers = [each for each in set(threading.enumerate()) - before if isinstance(each, threading.Timer)]
    for timer in timers:
        timer.join(60)
    assert not any(timer.is_alive() for timer in timers)


@pytest.mark.parametrize("ask", [get, watch])
def test_nothing_more_is_read_of_an_answer_that_is_too_large(server, client, ask):
    """Its connection is closed, though the error may be kept for long."""
    left = threading.Event()

    def without_end(handler: Any) -> None:
        handler.connection.settimeout(60)
        handler.send_response(200)
        handler.end_headers()
        with suppress(ConnectionError):
            while True:
                handler.wfile.write(b" " * 2**16)
        left.set()

    server.answers.append(without_end)
    with pytest.raises(ApiError, match="more than 8388608 bytes") as caught:
        ask(client)
    assert left.wait(10), caught.value


def test_connections_that_are_silent_for_long_are_kept_alive(server):
    loaded = []

    def load() -> Configuration:
        loaded.append(server.load())
        return loaded[-1]

    Client(load).close()
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in loaded[-1].socket_options

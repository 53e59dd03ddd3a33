"""The HTTP endpoint over a real socket, on a port the system chooses."""

import asyncio
import errno
import gzip
import http.client
import json
import os
import re
import socket
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from unittest.mock import Mock

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from controller.engine.state import State
from controller.observe import clients
from controller.observe import http as http_module
from controller.observe.address import DEFAULT_LISTEN, Address
from controller.observe.clients import IDLE_CLIENTS, QUEUED_REQUESTS, TAKEN_ANSWERS, THREADS
from controller.observe.http import NO_PAGES, Endpoint, HttpResponder, ListenError, Page, Pages, Reply
from controller.observe.statusstore import SILENCE_S, ProbeResult, StatusSnapshot, StatusStore
from lab.ballast import free_port
from lab.daemons import until

LOOPBACK = Address("127.0.0.1", 0)


class ServedConnection:
    def __init__(self, uri: str = "qemu:///system", error: str = "") -> None:
        self.uri, self.connected, self.error = uri, not error, error


class Served:
    """A status store with its endpoint."""

    def __init__(self, more: Mapping[str, Page] = NO_PAGES) -> None:
        self.now = 100.0
        self.status_store = StatusStore("node-1", lambda: self.now)
        self.endpoint = Endpoint(LOOPBACK, self.status_store, more=more)

    def publish(self, *connections: ServedConnection, looked: bool = True, problems: tuple[str, ...] = ()) -> None:
        self.status_store.publish(StatusSnapshot(self.now, State.initial(), connections, problems, looked))

    def ask(self, method: str, path: str) -> tuple[int, dict[str, str], str]:
        """Status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoint.port, timeout=60)
        connection.request(method, path)
        reply = connection.getresponse()
        answer = reply.status, dict(reply.getheaders()), reply.read().decode()
        connection.close()
        return answer

    def send(self, raw: bytes) -> bytes:
        """Everything that comes back for these bytes: one answer at most."""
        with socket.create_connection(("127.0.0.1", self.endpoint.port), timeout=60) as connection:
            connection.sendall(raw)
            answer = connection.makefile("rb").read()
        assert answer.count(b"\r\nContent-Type: ") <= 1
        return answer


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Served]:
    """One for all tests."""
    served = Served()
    with served.endpoint:
        yield served


@pytest.fixture
def served(endpoint: Served) -> Served:
    endpoint.now += 1000
    endpoint.publish(ServedConnection())
    return endpoint


def test_state_is_the_whole_published_state_as_json(served):
    served.publish(ServedConnection(), problems=("a.yaml: broken",))
    status, headers, body = served.ask("GET", "/state")
    state = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert state["node"]["name"] == "node-1"
    assert state["connections"] == [{"uri": "qemu:///system", "connected": True, "error": ""}]
    assert (state["problems"], state["policies"], state["domains"]) == (["a.yaml: broken"], [], [])


def test_before_the_first_turn_the_state_is_empty_and_the_probes_say_so():
    status_store = StatusStore("node-1", lambda: 0.0)
    assert (status_store.document()["node"], status_store.document()["domains"]) == ({"name": "node-1"}, [])
    assert status_store.health().reasons == status_store.readiness().reasons == ("the loop has not run yet",)


def test_alive_while_the_loop_turns(served):
    served.now += SILENCE_S
    assert served.ask("GET", "/healthz")[::2] == (200, "ok\n")


def test_not_alive_when_the_loop_hangs(served):
    served.now += SILENCE_S + 1
    assert served.ask("GET", "/healthz")[::2] == (503, "the loop last ran 31 s ago, more than 30 s: it hangs\n")


def test_alive_without_libvirt_but_not_ready(served):
    served.publish(ServedConnection(error="qemu:///system: no socket; is libvirtd running?"))
    assert served.ask("GET", "/healthz")[0] == 200
    assert served.ask("GET", "/readyz")[::2] == (503, "qemu:///system: no socket; is libvirtd running?\n")


def test_not_ready_before_the_first_look(served):
    served.publish(ServedConnection(), looked=False)
    assert served.ask("GET", "/readyz")[::2] == (503, "the first look is not done\n")


def test_ready_while_one_of_several_connections_works(served):
    served.publish(ServedConnection("a:///", error="a:///: gone"), ServedConnection("b:///"))
    assert served.ask("GET", "/readyz")[::2] == (200, "ok\n")


def test_head_answers_like_get_without_the_body(served):
    _, headers, body = served.ask("GET", "/healthz")
    status, head_headers, head_body = served.ask("HEAD", "/healthz")
    assert (status, head_body) == (200, "")
    assert head_headers["Content-Length"] == headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_nothing_can_be_changed(served, method):
    head, *headers = served.send(f"{method} /state HTTP/1.1\r\n\r\n".encode()).splitlines()
    assert head.startswith(b"HTTP/1.0 405 ")
    assert b"Allow: GET, HEAD" in headers


def test_an_unknown_page_is_answered_with_the_pages_there_are(served):
    status, headers, body = served.ask("GET", "/")
    assert "Allow" not in headers
    assert (status, body) == (404, "no such page; there is /state, /healthz, /readyz, /metrics\n")


def test_a_query_is_ignored(served):
    assert served.ask("GET", "/state?pretty=1")[0] == 200


def test_a_long_request_line_is_refused(served):
    for length, status in ((2048, b"404"), (2049, b"414")):
        line = b"GET /" + b"a" * (length - 16) + b" HTTP/1.1\r\n"
        assert (len(line), served.send(line + b"\r\n").split()[1]) == (length, status)


def test_endless_headers_are_not_read_to_their_end(served):
    head = b"GET /state HTTP/1.1\r\nX: "
    assert b" 431 " in served.send(head + b"a" * (16 * 1024 - len(head))).splitlines()[0]


def test_headers_of_just_less_than_16_kib_are_read(served):
    head, end = b"GET /state HTTP/1.1\r\nX: ", b"\r\n\r\n"
    assert b" 200 " in served.send(head + b"a" * (16 * 1024 - 1 - len(head + end)) + end).splitlines()[0]


def test_lines_may_end_as_a_person_types_them(served):
    assert b" 200 " in served.send(b"GET /healthz HTTP/1.0\n\n").splitlines()[0]


def test_a_client_that_sends_drop_by_drop_is_turned_away_in_time(served, monkeypatch):
    monkeypatch.setattr(clients, "REQUEST_TIMEOUT_S", 0.3)
    with socket.create_connection(("127.0.0.1", served.endpoint.port), timeout=0.02) as connection:
        connection.sendall(b"GET /state HTTP/1.1\r\nX: ")
        reply = None
        while reply is None:
            try:
                connection.sendall(b"a")
                reply = connection.recv(1)
            except TimeoutError:
                continue
            except OSError:
                reply = b""
    assert reply == b""
    monkeypatch.undo()  # who asks at once may be kept from it, on a busy machine
    assert served.ask("GET", "/state")[0] == 200


def test_nobody_but_this_host_can_reach_it_unless_told_otherwise():
    address = Address.parse(DEFAULT_LISTEN)
    assert address is not None
    assert address.loopback


@pytest.mark.parametrize("garbage", [b"\r\n", b"\x00\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.x\r\n\r\n", b""])
def test_garbage_does_no_harm(served, garbage):
    with socket.create_connection(("127.0.0.1", served.endpoint.port), timeout=60) as connection:
        connection.sendall(garbage)
    assert served.ask("GET", "/state")[0] == 200


@pytest.mark.parametrize(("request_", "prompt"), [(b"GET /healthz HTTP/1.1", True), (b"/healthz", False), (b"", False)])
def test_a_line_that_is_no_request_is_no_probe(request_, prompt):
    answers = HttpResponder(Pages(StatusStore("node-1", lambda: 0.0)), Address("127.0.0.1", 0))
    assert answers.prompt(request_ + b"\r\n\r\n") is prompt


class ManyClients:
    """Clients that connect and send what they are given, at once."""

    def __init__(self, served: Served, count: int, sent: bytes = b"", received: int = 2**16) -> None:
        """`received`: bytes that each has room for."""
        self.sockets = [socket.socket() for _ in range(count)]
        for each in self.sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
            each.settimeout(60)
            each.connect(("127.0.0.1", served.endpoint.port))
            each.sendall(sent)

    def __enter__(self) -> "ManyClients":
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.sockets:
            each.close()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nX: "], ids=["nothing", "half a request"])
@pytest.mark.parametrize("count", [IDLE_CLIENTS, 3 * IDLE_CLIENTS])
def test_clients_that_send_no_request_keep_nobody_waiting(served, count, sent):
    with ManyClients(served, count, sent):
        for page in ("/healthz", "/state", "/metrics"):
            assert served.ask("GET", page)[0] == 200


def test_of_too_many_clients_that_send_nothing_the_first_is_turned_away(served):
    with ManyClients(served, IDLE_CLIENTS + 1) as idle:
        first, second, *_, last = idle.sockets
        assert first.recv(1) == b""
        for each in (second, last):
            each.sendall(PROBE)
            assert each.recv(12) == b"HTTP/1.0 200"


def test_a_client_that_sends_nothing_gives_way_to_nobody_who_has_left(served):
    with ManyClients(served, 1) as idle:
        for _ in range(IDLE_CLIENTS):
            assert served.ask("GET", "/healthz")[0] == 200
        (first,) = idle.sockets
        first.sendall(PROBE)
        assert first.recv(12) == b"HTTP/1.0 200"


def test_a_crowd_that_comes_at_once_is_let_in_singly(monkeypatch):
    """However many wait in the kernel: the process needs descriptors for its guests."""
    served, held, go_on, there = Served(), threading.Event(), threading.Event(), []
    monkeypatch.setattr(served.status_store, "health", lambda: (held.set(), go_on.wait(60), ProbeResult(()))[-1])
    accept = asyncio.SelectorEventLoop.sock_accept

    async def counted(loop, listener):
        there.append(len(os.listdir("/proc/self/fd")))
        return await accept(loop, listener)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_accept", counted)
    with served.endpoint, ManyClients(served, 1, PROBE) as asking:
        assert held.wait(60)
        with ManyClients(served, 4 * IDLE_CLIENTS) as crowd:
            there.clear()
            before = len(os.listdir("/proc/self/fd"))
            go_on.set()
            assert asking.sockets[0].recv(12) == b"HTTP/1.0 200"
            crowd.sockets[-1].sendall(PROBE)
            assert crowd.sockets[-1].recv(12) == b"HTTP/1.0 200"
    assert IDLE_CLIENTS <= max(there) - before <= IDLE_CLIENTS + 4


PROBE = b"GET /healthz HTTP/1.1\r\n\r\n"

LARGE = b"x" * 2**24
"""Bytes of an answer that no kernel takes off our hands."""


@pytest.fixture
def large() -> Iterator[Served]:
    """With a page that is slow to take."""
    served = Served({"/large": lambda _query: Reply(HTTPStatus.OK, "text/plain", LARGE)})
    with served.endpoint:
        served.publish(ServedConnection())
        yield served


def test_clients_that_take_no_answer_keep_nobody_waiting(large):
    with ManyClients(large, 3 * TAKEN_ANSWERS, b"GET /large HTTP/1.1\r\n\r\n", received=4096):
        for page in ("/healthz", "/state", "/metrics", "/large"):
            assert large.ask("GET", page)[0] == 200


def test_a_client_that_takes_no_answer_is_turned_away_in_time(large, monkeypatch):
    monkeypatch.setattr(clients, "REQUEST_TIMEOUT_S", 0.3)
    turned_away = threading.Event()
    monkeypatch.setattr(clients._log, "debug", lambda *_: turned_away.set())
    with ManyClients(large, 1, b"GET /large HTTP/1.1\r\n\r\n", received=4096) as slow:
        assert turned_away.wait(60)
        assert 0 < len(slow.sockets[0].makefile("rb").read()) < len(LARGE)


def test_whoever_takes_a_large_answer_gets_all_of_it(large):
    assert large.ask("GET", "/large")[2] == LARGE.decode()


def begun(served: Served) -> socket.socket:
    """A client that has taken the first byte of an answer, and knows how to take the rest."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    client.settimeout(60)
    client.connect(("127.0.0.1", served.endpoint.port))
    client.sendall(b"GET /large HTTP/1.1\r\n\r\n")
    assert client.recv(1) == b"H"
    return client


def rest(client: socket.socket) -> bytes:
    with suppress(ConnectionResetError), closing(client):
        return client.makefile("rb").read().partition(b"\r\n\r\n")[2]
    return b""


def test_of_an_answer_that_is_not_taken_little_is_copied(large):
    tracemalloc.start()
    try:
        with closing(begun(large)) as slow:
            assert len(slow.makefile("rb").read(1000)) == 1000
            assert large.ask("GET", "/healthz")[0] == 200  # the server's loop has turned
        assert tracemalloc.get_traced_memory()[1] < len(LARGE) / 4
    finally:
        tracemalloc.stop()


def test_of_too_many_clients_that_take_an_answer_the_first_is_cut_off(large, caplog, monkeypatch):
    monkeypatch.setattr(clients, "REQUEST_TIMEOUT_S", 60.0)
    monkeypatch.setattr(clients, "TAKEN_ANSWERS", 3)
    answers = [rest(each) == LARGE for each in [begun(large) for _ in range(4)]]
    assert answers == [False, True, True, True]
    assert caplog.records == []


def test_a_client_that_takes_an_answer_gives_way_to_nobody_who_has_left(large, monkeypatch):
    monkeypatch.setattr(clients, "REQUEST_TIMEOUT_S", 60.0)
    slow = begun(large)
    for _ in range(TAKEN_ANSWERS):
        assert large.ask("GET", "/state")[0] == 200
    assert rest(slow) == LARGE


class HeldPage:
    """A page whose answers are made when the test says so."""

    def __init__(self) -> None:
        self.begun, self.hold = threading.Semaphore(0), threading.Event()

    def __call__(self, _query: str) -> Reply:
        self.begun.release()
        self.hold.wait(300)
        return Reply(HTTPStatus.OK, "text/plain", b"at last")


@pytest.fixture
def held() -> Iterator[tuple[Served, HeldPage]]:
    """With a page that is slow to make, and all threads that make pages at it."""
    page = HeldPage()
    served = Served({"/held": page})
    with served.endpoint, ManyClients(served, THREADS, HELD) as busy:
        served.publish(ServedConnection())
        assert all(page.begun.acquire(timeout=60) for _ in range(THREADS))
        yield served, page
        page.hold.set()
        assert all(each.makefile("rb").read().endswith(b"at last") for each in busy.sockets)


HELD = b"GET /held HTTP/1.1\r\n\r\n"


def test_probes_are_answered_while_answers_are_being_made(held):
    served, _ = held
    assert [served.ask("GET", page)[0] for page in ("/healthz", "/readyz?verbose")] == [200, 200]


def test_requests_wait_for_their_turn_and_too_many_are_turned_away(held):
    served, page = held
    with ManyClients(served, QUEUED_REQUESTS - THREADS, HELD) as patient:
        assert served.ask("GET", "/healthz")[0] == 200
        assert served.send(HELD) == b""
        page.hold.set()
        assert all(each.makefile("rb").read().endswith(b"at last") for each in patient.sockets)


def test_whoever_waits_for_an_answer_gives_way_to_nobody(held):
    """The fixture sees that they get it."""
    served, _ = held
    with ManyClients(served, IDLE_CLIENTS + THREADS):
        assert served.ask("GET", "/healthz")[0] == 200


def test_a_page_that_fails_is_logged_and_the_next_request_is_answered(caplog):
    def broken(_query: str) -> Reply:
        raise ZeroDivisionError

    served = Served({"/broken": broken})
    with served.endpoint:
        served.publish(ServedConnection())
        assert served.send(b"GET /broken HTTP/1.1\r\n\r\n") == b""
        assert served.ask("GET", "/state")[0] == 200
    assert [record.message for record in caplog.records] == ["HTTP request failed"]


def test_answers_that_wait_for_their_turn_at_the_end_are_not_made():
    page, before = HeldPage(), set(threading.enumerate())
    served = Served({"/held": page})
    with served.endpoint:
        waiting = ManyClients(served, 2 * THREADS, HELD)
        served.publish(ServedConnection())
        assert all(page.begun.acquire(timeout=60) for _ in range(THREADS))
        assert served.ask("GET", "/healthz")[0] == 200
    with waiting:
        assert all(cut_off(each) for each in waiting.sockets)
    page.hold.set()
    for each in set(threading.enumerate()) - before:
        each.join(60)
    assert not page.begun.acquire(blocking=False)


def test_the_end_cuts_off_whoever_is_connected():
    other = Served()
    with other.endpoint:
        idle = ManyClients(other, 3)
        other.publish(ServedConnection())
        assert other.ask("GET", "/healthz")[0] == 200
    with idle:
        assert [each.recv(1) for each in idle.sockets] == [b""] * 3


def test_the_end_cuts_off_also_who_is_being_let_in():
    for _ in range(20):
        served = Served()
        with served.endpoint:
            crowd = ManyClients(served, 10)
        with crowd:
            assert all(cut_off(each) for each in crowd.sockets)


def cut_off(client: socket.socket) -> bool:
    """The other side closed the connection, be it that it never took it out of the kernel's queue."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_port_that_somebody_has_is_said_waited_for_and_had_when_it_is_free(served, caplog, monkeypatch):
    monkeypatch.setattr(http_module, "RETRY_S", 0.01)
    caplog.set_level("INFO")
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        endpoint = Endpoint(Address("127.0.0.1", port), served.status_store)
        assert endpoint.port == 0
        with endpoint:
            pass  # it ends at once, whatever it waits for
        endpoint.__enter__()
    try:
        with await_connection(port) as connection:
            connection.request("GET", "/metrics")
            metrics = connection.getresponse().read().decode()
    finally:
        endpoint.__exit__()
    (failures,) = re.findall(r"^ballast_listen_failures_total (\S+)$", metrics, re.MULTILINE)
    assert float(failures) >= 1
    said = [message for message in caplog.messages if message.startswith(f"--listen 127.0.0.1:{port}")]
    assert said == [
        f"--listen 127.0.0.1:{port}: Address already in use; is it another Ballast, which must not run beside this "
        "one? Else choose another address, or none. Going on without the page and /metrics; tried again until it works",
        f"--listen 127.0.0.1:{port}: works now",
    ]


def test_of_an_address_that_cannot_be_had_every_try_is_counted_and_the_first_is_said(served, caplog, monkeypatch):
    monkeypatch.setattr(http_module, "RETRY_S", 0.01)
    had, errors, listening = threading.Event(), 3 * [OSError(errno.EADDRINUSE, "in use")], http_module._listening

    def busy(address):
        if errors:
            raise errors.pop()
        had.set()
        return listening(address)

    monkeypatch.setattr(http_module, "_listening", busy)
    with Endpoint(LOOPBACK, served.status_store) as endpoint:
        assert had.wait(60)
        until(lambda: bool(endpoint.port), 60, "listening")
        with await_connection(endpoint.port) as connection:
            connection.request("GET", "/metrics")
            assert "\nballast_listen_failures_total 3.0\n" in connection.getresponse().read().decode()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]])
def test_what_json_cannot_say_is_not_served(value):
    with pytest.raises(ValueError, match="JSON"):
        Pages(Mock(document=lambda: {"node": value})).get("/state")


def test_requests_are_told_to_whoever_debugs(served, caplog):
    caplog.set_level("DEBUG")
    served.ask("GET", "/state")
    assert '"GET /state HTTP/1.1" 200 -' in caplog.messages


def await_connection(port: int) -> closing[http.client.HTTPConnection]:
    """Tries until somebody answers."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.connect()
        except ConnectionRefusedError:
            continue
        return closing(connection)


def test_an_address_that_is_not_here_yet_is_waited_for(served, caplog):
    assert Endpoint(Address("192.0.2.1", 9178), served.status_store).port == 0
    assert "--listen 192.0.2.1:9178: Cannot assign requested address; choose another address, or none" in caplog.text


def test_an_address_that_makes_no_sense_is_refused_with_the_remedy(served):
    with pytest.raises(ListenError, match=r"--listen nowhere\.invalid:9178: .*; choose another address, or none"):
        Endpoint(Address("nowhere.invalid", 9178), served.status_store)


@pytest.mark.parametrize(
    ("accept", "kind", "end"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", ""),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", ""),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8", ""),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# EOF\n",
        ),
        *(
            (
                f"application/openmetrics-text{parameters}",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                "# EOF\n",
            )
            for parameters in (
                "",
                ";version=x",
                f";version={'9' * 5000}",
                ";version=2\r\n X-Evil: 1",
                ";version",
                ";=;;,",
            )
        ),
    ],
)
def test_metrics_are_in_the_format_that_is_asked_for_whatever_its_parameters(served, caplog, accept, kind, end):
    raw = served.send(f"GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n\r\n".encode())
    head, _, body = raw.decode().partition("\r\n\r\n")
    assert f"Content-Type: {kind}\r\n" in head
    assert "X-Evil" not in head
    assert ("ballast_looks_total 0.0\n" in body, body.count("# EOF"), body.endswith(end)) == (True, bool(end), True)
    assert caplog.records == []


def test_metrics_of_a_connection_whose_uri_no_encoding_has_are_served(served):
    served.publish(ServedConnection("qemu:///\udcff"))
    status, _, text = served.ask("GET", "/metrics")
    assert (status, 'ballast_libvirt_connected{uri="qemu:///?"} 1.0' in text) == (200, True)


def test_openmetrics_have_types_that_the_text_format_lacks(served):
    openmetrics = served.send(b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text\r\n\r\n").decode()
    families = {each.name: each.type for each in text_string_to_metric_families(openmetrics.partition("\r\n\r\n")[2])}
    assert (families["ballast_build"], families["ballast_looks"]) == ("info", "counter")


@pytest.mark.parametrize("accept", ["application/openmetrics-text", "text/plain"])
def test_metrics_are_packed_for_whoever_unpacks_them(served, accept):
    ask = f"GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n"
    plain = served.send(f"{ask}\r\n".encode()).partition(b"\r\n\r\n")[2]
    head, _, packed = served.send(f"{ask}Accept-Encoding: br, gzip\r\n\r\n".encode()).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head.split(b"\r\n")
    assert f"Content-Length: {len(packed)}".encode() in head.split(b"\r\n")
    names = [line.rpartition(b" ")[0] for line in plain.splitlines()]
    assert [line.rpartition(b" ")[0] for line in gzip.decompress(packed).splitlines()] == names
    assert len(packed) < len(plain) / 3


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        ([], 200),
        (["127.0.0.1"], 200),
        (["127.0.0.1:9178"], 200),
        (["192.0.2.7:9178"], 200),
        (["[::1]:9178"], 200),
        (["[2001:db8::1]"], 200),
        (["LocalHost:9178"], 200),
        (["localhost."], 200),
        ([f"{socket.gethostname()}:9178"], 200),
        (["attacker.example"], 421),
        (["attacker.example:9178"], 421),
        (["127.0.0.1.attacker.example"], 421),
        (["localhost.attacker.example"], 421),
        (["attacker.example", "127.0.0.1"], 421),
        (["127.0.0.1", "attacker.example"], 421),
        (["127.0.0.1@attacker.example"], 421),
        (["0x7f000001"], 421),
        (["[::1].attacker.example"], 421),
        (["[127.0.0.1"], 421),
        ([""], 421),
    ],
)
@pytest.mark.parametrize("path", ["/state", "/healthz", "/metrics", "/none"])
def test_a_host_that_is_not_this_one_is_turned_away(served, hosts, status, path):
    headers = "".join(f"Host: {host}\r\n" for host in hosts)
    answer = served.send(f"GET {path} HTTP/1.0\r\n{headers}\r\n".encode())
    expected = 404 if (path, status) == ("/none", 200) else status
    assert answer.split()[1] == str(expected).encode()
    if status == 421:
        assert b"node-1" not in answer


def test_names_that_were_given_are_answered_to():
    address = Address("listening.example", 9178, ("Ballast.example",))
    assert [address.answers_to(name) for name in ("listening.example", "ballast.example:80", "x.ballast.example")] == [
        True,
        True,
        False,
    ]


def test_listening_beyond_loopback_is_warned_of_where_there_is_no_login(served, caplog):
    with Endpoint(Address("0.0.0.0", 0), served.status_store, secured=Mock()):  # noqa: S104 - what this is about
        assert caplog.records == []
    with Endpoint(Address("0.0.0.0", 0), served.status_store):  # noqa: S104 - as above
        assert "there is no login" in caplog.text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9178", Address("127.0.0.1", 9178)),
        ("[::1]:80", Address("::1", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("localhost:65535", Address("localhost", 65535)),
        ("none", None),
    ],
)
def test_addresses_are_read(text, address):
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "9178", ":9178", "host:", "host:65536", "host:-1", "host:9x", "host:९", "[]:1", "h:0000099999", "h:000080"],
)
def test_what_is_no_address_is_refused_with_the_remedy(text):
    with pytest.raises(ValueError, match=r"is not an address; write HOST:PORT, such as 127\.0\.0\.1:9178, or none"):
        Address.parse(text)


def test_a_system_without_descriptors_is_said_and_whoever_waits_is_let_in_later(caplog, monkeypatch):
    monkeypatch.setattr(clients, "PAUSE_S", 0.01)
    accept, errors = asyncio.SelectorEventLoop.sock_accept, [OSError(errno.EMFILE, "Too many open files")]

    async def full(loop, listener):
        if errors:
            raise errors.pop()
        return await accept(loop, listener)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_accept", full)
    other = Served()
    with other.endpoint:
        other.publish(ServedConnection())
        assert other.ask("GET", "/healthz")[0] == 200
    assert caplog.messages == ["HTTP: no client is let in for 0.01 s: [Errno 24] Too many open files"]

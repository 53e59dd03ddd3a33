"""How kopf reaches the API server: as the kubeconfig says, and through answers that have an end."""

import asyncio
import http.server
import json
import logging
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes.client.configuration import Configuration

from controller.cluster import access as access_module
from controller.cluster import boundedresponse, kopfwatch
from controller.cluster.access import AccessError, access
from controller.cluster.boundedresponse import TooLargeError
from controller.cluster.client import ANSWER_S, CONNECT_S, MAXIMUM_ANSWER, Client
from controller.cluster.kopfstorage import NoStorage
from controller.cluster.kopfwatch import Stop, _connection, _session, _settings, run_kopf
from controller.cluster.resources import NODES

NAME = "kubernetes.default.svc"


@contextmanager
def serving(answer: Callable[[Any], None], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that answers every GET so."""

    class KopfHandler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with suppress(OSError):
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), KopfHandler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(body: bytes) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def got(configuration: Configuration, server_name: str = "") -> str:
    """What a session of kopf's gets of the server's `/`."""

    async def ask() -> str:
        session = _session(_connection(configuration), server_name, lambda: None)
        async with session.aiohttp_session as asking, asking.get(f"{configuration.host}/") as answer:
            return await answer.text()

    return asyncio.run(ask())


@pytest.fixture
def kubeconfig(tmp_path) -> Callable[..., Path]:
    """Makes a kubeconfig whose cluster has these fields."""

    def make(**cluster: Any) -> Path:
        fields = {name.replace("_", "-"): value for name, value in cluster.items()}
        config = {
            "clusters": [{"name": "c", "cluster": fields}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(json.dumps(config))
        return tmp_path / "config"

    return make


def test_kopf_goes_through_the_proxy_of_the_kubeconfig(kubeconfig):
    asked = []

    def proxy(handler: Any) -> None:
        asked.append(handler.path)
        says(b"{}")(handler)

    with serving(proxy) as port:
        load = access(kubeconfig(server="http://api.invalid", proxy_url=f"http://127.0.0.1:{port}"))
        assert got(load()) == "{}"
    assert asked == ["http://api.invalid/"]


def test_a_proxy_gets_its_login_and_no_error_tells_it(kubeconfig):
    asked = []

    def proxy(handler: Any) -> None:
        asked.append(handler.headers["Proxy-Authorization"])
        says(b'{"kind": "Node", "metadata": {"name": "a"}}')(handler)

    with serving(proxy) as port:
        url = f"http://me:s%C3%A9cret@127.0.0.1:{port}"
        load = access(kubeconfig(server="http://api.invalid", proxy_url=url))
        got(load())
        Client(load).get(NODES, "a")
        with pytest.raises(aiohttp.ClientHttpProxyError) as refused:
            got(access(kubeconfig(server="https://api.invalid", proxy_url=url))())
    assert asked == [f"Basic {b64encode('me:sécret'.encode()).decode()}"] * 2
    assert f"127.0.0.1:{port}" in str(refused.value)
    assert "me:" not in str(refused.value)


def test_kopf_sends_its_token_asks_for_plain_bytes_and_has_no_request_wait_for_another(kubeconfig):
    together, sent = threading.Barrier(2, timeout=10), []

    def answer(handler: Any) -> None:
        sent.append((handler.headers["Authorization"], handler.headers["Accept-Encoding"]))
        together.wait()
        says(b"{}")(handler)

    async def ask(url: str) -> None:
        session = _session(_connection(access(kubeconfig(server=url))()), "", lambda: None).aiohttp_session
        async with session as asking:
            for answer in await asyncio.gather(asking.get(url), asking.get(url)):
                answer.release()

    with serving(answer) as port:
        asyncio.run(ask(f"http://127.0.0.1:{port}"))
    assert sent == [("Bearer t", "identity")] * 2


def test_kopf_leaves_the_proxy_out_where_the_environment_says_so(kubeconfig, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    with serving(says(b"{}")) as port:
        assert got(access(kubeconfig(server=f"http://127.0.0.1:{port}"))()) == "{}"


def test_a_proxy_that_speaks_socks_is_refused(kubeconfig):
    load = access(kubeconfig(server="https://api.invalid", proxy_url="socks5://127.0.0.1:1080"))
    with pytest.raises(AccessError, match="its proxy speaks SOCKS, which Ballast does not; name a kubeconfig"):
        load()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """Of a server called NAME, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN={NAME}"
    files = ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(folder / "key"), "-out", str(folder / "crt")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    (folder / "both").write_text((folder / "crt").read_text() + (folder / "key").read_text())
    return folder / "both"


def test_kopf_judges_the_certificate_by_the_server_name_of_the_kubeconfig(kubeconfig, certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(says(b"{}"), tls) as port:
        fields = {"server": f"https://127.0.0.1:{port}", "certificate_authority": str(certificate)}
        named = access(kubeconfig(**fields, tls_server_name=NAME))()
        assert got(named, named.tls_server_name) == "{}"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            got(access(kubeconfig(**fields))())
        other = access(kubeconfig(**fields, tls_server_name="other.example"))()
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            got(other, other.tls_server_name)


@pytest.mark.parametrize(("given", "name"), [(NAME, NAME), (None, "")])
def test_kopf_is_told_the_server_name_of_the_kubeconfig(kubeconfig, monkeypatch, given, name):
    fields = {"server": "https://127.0.0.1:1", **({"tls_server_name": given} if given else {})}
    names = []
    monkeypatch.setattr(kopfwatch, "_session", lambda _connection, name, _failed: names.append(name))
    registry = kopfwatch._registry(access(kubeconfig(**fields)), lambda: None, lambda *_: None)
    (login,) = registry._activities._handlers
    asyncio.run(login.fn())
    assert names == [name]


def test_a_server_that_is_not_verified_is_said_once(kubeconfig, caplog):
    access_module._say_unverified.cache_clear()
    load = access(kubeconfig(server="https://api.invalid", insecure_skip_tls_verify=True))
    load()
    load()
    (record,) = caplog.records
    assert record.message.startswith("API server https://api.invalid: its certificate is not verified")
    access(kubeconfig(server="https://api.invalid"))()
    assert len(caplog.records) == 1


@pytest.mark.slow
@pytest.mark.parametrize("watched", [False, True], ids=["list", "watch"])
def test_an_answer_without_end_ends_the_run_and_is_not_kept(watched):
    sent = []

    def endless(handler: Any) -> None:
        if "memorypolicies" in handler.path and ("watch=true" in handler.path) is watched:
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(b"{")
            for _ in range(1000):
                handler.wfile.write(b" " * 2**20)
                sent.append(2**20)
        elif "memorypolicies" in handler.path:
            says(b'{"metadata": {"resourceVersion": "1"}, "items": []}')(handler)
        else:
            says(json.dumps(DISCOVERY.get(handler.path, {})).encode())(handler)

    stop = Stop()
    given_up = threading.Timer(20, stop.cancel)
    given_up.start()
    with serving(endless) as port, pytest.raises(TooLargeError, match=f"more than {MAXIMUM_ANSWER} bytes"):
        run_kopf(lambda: Configuration(host=f"http://127.0.0.1:{port}"), lambda *_: None, stop)
    given_up.cancel()
    assert sum(sent) < 4 * MAXIMUM_ANSWER


def test_a_user_without_a_name_watches(monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 107")

    def answer(handler: Any) -> None:
        listed = {"metadata": {"resourceVersion": "1"}, "items": []} if "memorypolicies" in handler.path else {}
        says(json.dumps(DISCOVERY.get(handler.path, listed)).encode())(handler)

    monkeypatch.setattr("getpass.getuser", nameless)
    stop, told = Stop(), []
    with serving(answer) as port:
        run_kopf(
            lambda: Configuration(host=f"http://127.0.0.1:{port}"),
            lambda *news: told.append(news) or stop.cancel(),
            stop,
        )
    assert told[0] == (None, {})


class Pieces:
    """A StreamReader that gives these."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


@pytest.mark.parametrize("pieces", [(b"x" * 10,), (b"xxxxx", b"xxxxx"), (b"x" * 5 + b"\n" + b"x" * 4, b"x" * 6)])
def test_an_answer_or_a_line_of_it_may_be_just_as_large_as_allowed(pieces, monkeypatch):
    monkeypatch.setattr(boundedresponse, "MAXIMUM_ANSWER", 10)

    async def lines(pieces: tuple[bytes, ...]) -> bytes:
        return b"".join([piece async for piece in boundedresponse._Bounded(Pieces(*pieces)).iter_chunked(10)])

    assert asyncio.run(lines(pieces)) == b"".join(pieces)
    with pytest.raises(TooLargeError):
        asyncio.run(lines((*pieces, b"x")))


def resource(name: str, kind: str) -> dict[str, Any]:
    verbs = ["list", "watch", "get", "patch", "create"]
    return {"name": name, "singularName": kind.lower(), "kind": kind, "namespaced": False, "verbs": verbs}


VERSION = {"groupVersion": "ballast.dev/v1alpha1", "version": "v1alpha1"}
DISCOVERY: dict[str, Any] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [resource("namespaces", "Namespace"), resource("events", "Event")]},
    "/apis": {"groups": [{"name": "ballast.dev", "versions": [VERSION], "preferredVersion": VERSION}]},
    "/apis/ballast.dev/v1alpha1": {"resources": [resource("memorypolicies", "MemoryPolicy")]},
}


def test_kopf_writes_nothing_scans_nothing_and_gives_each_request_up_in_time():
    settings = _settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert isinstance(settings.persistence.diffbase_storage, NoStorage)
    assert isinstance(settings.persistence.progress_storage, NoStorage)
    assert settings.process.ultimate_exiting_timeout is None
    assert (settings.networking.connect_timeout, settings.networking.request_timeout) == (CONNECT_S, ANSWER_S)
    assert [*settings.networking.error_backoffs] == [min(2**number, 8) for number in range(6)]


def test_kopf_talks_to_no_other_operators_watches_all_namespaces_and_logs_nothing(monkeypatch):
    given: dict[str, Any] = {}

    async def operator(**options: Any) -> None:
        given.update(options)

    log = logging.getLogger("kopf")
    log.setLevel(logging.NOTSET)
    monkeypatch.setattr("kopf.operator", operator)
    run_kopf(Configuration, lambda *_: None, Stop())
    assert (given["standalone"], given["clusterwide"], log.isEnabledFor(logging.ERROR)) == (True, True, False)


def test_without_a_token_or_a_proxy_kopf_sends_none():
    connection = _connection(Configuration(host="http://127.0.0.1:1"))
    assert (connection.scheme, connection.token, connection.proxy_url, connection.insecure) == (None, None, None, False)


def test_the_token_goes_to_kopf_with_its_scheme():
    configuration = Configuration(host="http://127.0.0.1:1")
    configuration.api_key = {"authorization": "bearer secret"}
    connection = _connection(configuration)
    assert (connection.scheme, connection.token) == ("Bearer", "secret")

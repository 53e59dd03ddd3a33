"""The endpoint with TLS and logins, as Prometheus asks it: configured by a file in the format of its exporters."""

import functools
import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import traceback
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from controller.engine.state import State
from controller.observe import clients
from controller.observe.address import Address
from controller.observe.http import NO_PAGES, Endpoint, Page, Reply
from controller.observe.statusstore import StatusSnapshot, StatusStore
from controller.observe.webconfig import CHECKS, LARGEST, BusyError, WebConfig, WebConfigError

PASSWORD = "correct horse"  # noqa: S105 - of these tests alone
SALT = b"$2b$04$" + b"salt".ljust(22, b".")
"""The same each time: identifiers of tests contain what it makes."""
HASH = bcrypt.hashpw(PASSWORD.encode(), SALT).decode()
TLS = {"cert_file": "server.pem", "key_file": "server.key"}
CONFIG = {"tls_server_config": TLS, "basic_auth_users": {"prometheus": HASH}}
MANY = functools.reduce(lambda inner, _: [inner, inner], range(60), "TLS12")
"""A list that YAML writes in 60 lines, and that has more parts than any memory."""
MUTUAL = TLS | {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "client.pem"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """A folder with one for the server, one for a client, and one more, each signed by itself."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client", "other"):
        files = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
        subject = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509", "-days", "2")
        subprocess.run(["openssl", "req", *kind, *files, *subject], check=True, capture_output=True)
    return folder


def written(folder: Path, config: dict[str, Any]) -> Path:
    file = folder / "web.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


class SecureServed:
    """A status store at an endpoint."""

    def __init__(self, folder: Path, config: dict[str, Any], pages: Mapping[str, Page] = NO_PAGES) -> None:
        self.folder = folder
        self.file = written(folder, config)
        status_store = StatusStore("node-1", lambda: 0.0)
        status_store.publish(StatusSnapshot(0.0, State.initial(), (), (), True))
        self.config = WebConfig(self.file)
        self.endpoint = Endpoint(Address("127.0.0.1", 0), status_store, more=pages, secured=self.config)

    def trust(self, name: str = "server") -> ssl.SSLContext:
        """A client's, for a server with that certificate."""
        return ssl.create_default_context(cafile=self.folder / f"{name}.pem")

    def ask(self, path: str, login: str | None = None, context: ssl.SSLContext | None = None) -> tuple[int, str]:
        """Status and body. Raises OSError where there is no connection."""
        address = ("127.0.0.1", self.endpoint.port)
        connection = http.client.HTTPSConnection(*address, timeout=60, context=context or self.trust())
        header = {} if login is None else {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
        try:
            connection.request("GET", path, headers=header)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()


@pytest.fixture
def folder(certificates: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(certificates, tmp_path / "etc"))


@pytest.fixture
def served(folder: Path) -> Iterator[SecureServed]:
    served = SecureServed(folder, CONFIG)
    with served.endpoint:
        yield served


LOGIN = f"prometheus:{PASSWORD}"


def test_whoever_has_the_login_gets_the_metrics(served):
    status, body = served.ask("/metrics", LOGIN)
    assert (status, "ballast_build_info" in body) == (200, True)


@pytest.mark.parametrize("path", ["/metrics", "/state", "/healthz", "/", "/nowhere"])
@pytest.mark.parametrize(
    "login", [None, "", "prometheus:", "prometheus:wrong", f"somebody:{PASSWORD}", f":{PASSWORD}", f"prometheus:{HASH}"]
)
def test_nobody_else_gets_any_page(served, path, login):
    assert served.ask(path, login) == (401, "no login\n")


@pytest.mark.parametrize(
    "header", ["Bearer x", "Basic", "Basic \xe9", "Basic !!", "Basic cHJvbWV0aGV1cw==", "Basic " + "A" * 8000]
)
def test_a_header_that_is_no_login_is_none(served, header):
    context = served.trust()
    plain = socket.create_connection(("127.0.0.1", served.endpoint.port), timeout=60)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as client:
        client.sendall(f"GET /state HTTP/1.0\r\nAuthorization: {header}\r\n\r\n".encode("latin-1"))
        assert client.recv(1024).startswith(b"HTTP/1.0 401 ")


@pytest.mark.parametrize("password", ["a" * 73, "a\0b", "\U0001f40e" * 100])
def test_a_password_that_bcrypt_cannot_take_is_wrong(folder, password):
    config = WebConfig(written(folder, CONFIG))
    assert not config.admits(f"Basic {b64encode(f'prometheus:{password}'.encode()).decode()}")


def test_a_right_login_is_computed_once_and_a_wrong_one_each_time(folder, monkeypatch):
    config = WebConfig(written(folder, CONFIG))
    asked = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: asked.append(given) or given[0] == PASSWORD.encode())
    right, wrong, nobody = (
        f"Basic {b64encode(each.encode()).decode()}" for each in (LOGIN, "prometheus:wrong", f"nobody:{PASSWORD}")
    )
    answers = [config.admits(each) for each in (right, right, wrong, wrong, nobody, nobody)]
    assert answers == [True, True, False, False, False, False]
    assert len(asked) == 5


def test_logins_that_count_no_more_are_not_remembered_instead_of_others(folder, monkeypatch):
    monkeypatch.setattr("controller.observe.webconfig.KNOWN_LOGINS", 1)
    config = WebConfig(written(folder, CONFIG))
    assert config.admits(header(LOGIN))
    other = {"other": bcrypt.hashpw(b"word", SALT).decode()}
    written(folder, CONFIG | {"basic_auth_users": other})
    config.context()
    assert config.admits(header("other:word"))
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: pytest.fail("it was computed already"))
    assert config.admits(header("other:word"))


def test_no_more_logins_are_remembered_than_there_is_room_for(folder, monkeypatch):
    monkeypatch.setattr("controller.observe.webconfig.KNOWN_LOGINS", 1)
    config = WebConfig(written(folder, CONFIG | {"basic_auth_users": {"a": HASH, "b": HASH}}))
    asked = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: asked.append(given) or True)
    assert all(config.admits(header(f"{name}:x")) for name in "abab")
    assert len(asked) == 3


def header(login: str) -> str:
    return f"Basic {b64encode(login.encode()).decode()}"


def test_of_many_mistakes_the_first_are_told(folder):
    file = folder / "web.yaml"
    file.write_text("".join(f"field{number}: x\n" for number in range(20)))
    with pytest.raises(WebConfigError) as caught:
        WebConfig(file)
    assert str(caught.value).count("unknown field") + str(caught.value).count("required field") == 10


def test_a_client_that_speaks_no_tls_gets_nothing(served):
    with socket.create_connection(("127.0.0.1", served.endpoint.port), timeout=60) as client:
        client.sendall(b"GET /state HTTP/1.0\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP" not in client.recv(1024)
    assert served.ask("/healthz", LOGIN)[0] == 200


def test_clients_that_never_shake_hands_keep_nobody_out(served):
    idle = [socket.create_connection(("127.0.0.1", served.endpoint.port)) for _ in range(100)]
    assert served.ask("/healthz", LOGIN)[0] == 200
    for each in idle:
        each.close()


def test_a_client_that_never_shakes_hands_is_turned_away_in_time(served, monkeypatch):
    monkeypatch.setattr(clients, "REQUEST_TIMEOUT_S", 0.1)
    with socket.create_connection(("127.0.0.1", served.endpoint.port), timeout=30) as client:
        assert client.recv(1) == b""


def test_a_long_answer_arrives_whole_however_slowly_it_is_taken(folder, monkeypatch):
    monkeypatch.setattr(clients, "REQUEST_TIMEOUT_S", 60.0)
    body = bytes(range(256)) * 2**14
    served = SecureServed(
        folder, CONFIG, {"/long": lambda _request: Reply(HTTPStatus.OK, "application/octet-stream", body)}
    )
    served.endpoint._listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16
    )  # clients that are let in have the same
    asked = f"GET /long HTTP/1.0\r\nAuthorization: Basic {b64encode(LOGIN.encode()).decode()}\r\n\r\n".encode()
    with served.endpoint:
        plain = socket.create_connection(("127.0.0.1", served.endpoint.port), timeout=60)
        with served.trust().wrap_socket(plain, server_hostname="127.0.0.1") as client:
            client.sendall(asked)
            received = b"".join(iter(lambda: client.recv(2**12), b""))
    assert received.partition(b"\r\n\r\n")[2] == body


def test_a_client_may_have_to_show_a_certificate(folder):
    with_one, with_another = SecureServed(folder, {"tls_server_config": MUTUAL}), None
    with with_one.endpoint:
        context = with_one.trust()
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
        assert with_one.ask("/healthz", context=context)[0] == 200
        for name in ("other", ""):
            with_another = with_one.trust()
            if name:
                with_another.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
            with pytest.raises(OSError, match=r"alert|reset|EOF|closed|Broken"):
                with_one.ask("/healthz", context=with_another)


def test_old_versions_of_tls_are_refused(folder):
    served = SecureServed(folder, CONFIG | {"tls_server_config": TLS | {"min_version": "TLS13"}})
    with served.endpoint:
        old = served.trust()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            served.ask("/healthz", LOGIN, old)
        assert served.ask("/healthz", LOGIN)[0] == 200


def test_another_certificate_and_other_logins_count_as_soon_as_they_are_there(served, folder):
    assert served.ask("/healthz", LOGIN)[0] == 200
    for suffix in ("key", "pem"):
        (folder / f"other.{suffix}").replace(folder / f"server.{suffix}")
    other = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
    served.file.write_text(yaml.safe_dump(CONFIG | {"basic_auth_users": {"prometheus": other}}))
    assert served.ask("/healthz", LOGIN)[0] == 401
    assert served.ask("/healthz", "prometheus:other")[0] == 200


def test_what_is_broken_later_is_logged_once_and_the_last_good_one_counts(served, caplog):
    served.file.write_text("tls_server_config: {}")
    assert [served.ask("/healthz", LOGIN)[0] for _ in range(3)] == [200, 200, 200]
    (error,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert "web.yaml: tls_server_config.cert_file: a required field is missing" in error
    assert error.endswith("What was there before still counts")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "tls_server_config: a required field is missing; add"),
        ("[1]", "not a mapping but a list; write"),
        ("a: b: c", "not YAML: line 1: "),
        (f"basic_auth_users: {{a: {PASSWORD}", "not YAML: line 1: "),
        ("\xff: 1", "tls_server_config: a required field is missing"),
        (b"\xff", "not YAML: "),
        ("a: 2024-99-99", "a: unknown field; remove it"),
        ("a: " + "9" * 5000, "a: unknown field; remove it"),
        ("a: !!bool x", "a: unknown field; remove it"),
        (f"password: {PASSWORD}", "password: unknown field; remove it"),
        ("#" * LARGEST + "\n", f"larger than {LARGEST} bytes; "),
        (yaml.safe_dump(CONFIG | {"http_server_config": {}}), "http_server_config: unknown field; "),
        (yaml.safe_dump({"tls_server_config": TLS}), "anybody could read; add basic_auth_users"),
        (yaml.safe_dump({"basic_auth_users": {"a": HASH}}), "tls_server_config: a required field is missing"),
        (yaml.safe_dump(CONFIG | {"basic_auth_users": {"a": PASSWORD}}), "basic_auth_users.a: not a hash of bcrypt"),
        (yaml.safe_dump(CONFIG | {"basic_auth_users": {"a\x1b": PASSWORD}}), r"basic_auth_users['a\x1b']: not a hash"),
        (yaml.safe_dump(CONFIG | {"basic_auth_users": {"a": "$2b$31$" + "a" * 53}}), "with a cost of 4 to 14; "),
        (
            yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"cert_file": "none.pem"}}),
            "none.pem, server.key: No such",
        ),
        (
            yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"cert_file": "a\0"}}),
            "null byte; they must be PEM",
        ),
        (yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"key_file": "other.key"}}), "must be PEM files of"),
        (
            yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"min_version": "TLS10"}}),
            "min_version: 'TLS10': not a value of this field; did you mean TLS13? use TLS12 or TLS13",
        ),
        (
            yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"min_version": MANY}}),
            "min_version: not text but a list; use",
        ),
        (
            yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"client_ca_file": "client.pem"}}),
            "belong together; add",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_what_is_wrong_is_named(folder, text, told):
    file = folder / "web.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WebConfigError) as caught:
        WebConfig(file)
    assert str(caught.value).startswith(f"--web-config-file {file}: ")
    assert told in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o640, 0), (0o644, 1)])
def test_a_key_that_everybody_can_read_is_warned_of(folder, caplog, mode, told):
    (folder / "server.key").chmod(mode)
    WebConfig(written(folder, CONFIG))
    warning = f"{folder / 'server.key'}: every user of this host can read this key; chmod o-r it"
    assert caplog.messages == [warning] * told


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(WebConfigError, match="No such file or directory; name a file that Ballast may read"):
        WebConfig(tmp_path / "web.yaml")


class Guesser:
    """As many logins that nobody has as there is room for are checked for as long as the test says so."""

    def __init__(self, config: WebConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config, self.refused, self.hold = config, threading.Semaphore(0), threading.Event()
        self.inside, self.most = 0, 0
        monkeypatch.setattr(bcrypt, "checkpw", self.check)
        self.threads = [threading.Thread(target=self.guess) for _ in range(CHECKS + 1)]

    def guess(self) -> None:
        try:
            self.config.admits("Basic YTpi")
        except BusyError:
            self.refused.release()

    def check(self, *_: bytes) -> bool:
        self.inside += 1
        self.most = max(self.most, self.inside)
        assert self.hold.wait(60)
        self.inside -= 1
        return False

    def __enter__(self) -> "Guesser":
        for each in self.threads:
            each.start()
        assert self.refused.acquire(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        for each in self.threads:
            each.join(60)


def test_passwords_are_checked_one_at_a_time(folder, monkeypatch):
    with Guesser(WebConfig(written(folder, CONFIG)), monkeypatch) as guesser:
        pass
    assert guesser.most == 1


def test_whoever_guesses_passwords_keeps_nobody_out_who_was_there_before(served, monkeypatch):
    assert served.ask("/healthz", LOGIN)[0] == 200
    with Guesser(served.config, monkeypatch):
        assert served.ask("/healthz", "nobody:x") == (503, "other logins are being checked; try again\n")
        assert served.ask("/healthz", LOGIN)[0] == 200


def test_a_user_who_is_not_known_takes_as_long_as_one_who_is(folder, monkeypatch):
    config = WebConfig(written(folder, CONFIG | {"basic_auth_users": {"a": f"$2b$12$ABCDE{HASH[-48:]}", "b": HASH}}))
    asked = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda _, hashed: asked.append(hashed[:7]))
    for name in ("a", "nobody"):
        config.admits(f"Basic {b64encode(f'{name}:x'.encode()).decode()}")
    assert asked == [b"$2b$12$", b"$2b$12$"]


LARGE = b"x" * 2**24
"""Bytes of an answer that no kernel takes off our hands."""


def test_a_client_that_takes_a_large_answer_slowly_gets_all_of_it(folder):
    pages = {"/large": lambda _: Reply(HTTPStatus.OK, "text/plain", LARGE)}
    served = SecureServed(folder, CONFIG, pages)
    with served.endpoint, socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", served.endpoint.port))
        with served.trust().wrap_socket(plain, server_hostname="127.0.0.1") as client:
            login = b64encode(LOGIN.encode()).decode()
            client.sendall(f"GET /large HTTP/1.0\r\nAuthorization: Basic {login}\r\n\r\n".encode())
            _, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert body == LARGE

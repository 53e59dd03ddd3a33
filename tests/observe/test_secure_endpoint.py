"""The endpoint with TLS and logins, as Prometheus asks it: configured by a file in the format of its exporters."""

import http.client
import shutil
import socket
import ssl
import subprocess
import threading
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
from controller.observe import wire
from controller.observe.address import Address
from controller.observe.board import Board, Publication
from controller.observe.http import NO_PAGES, Endpoint, Page, Reply
from controller.observe.webconfig import WebConfig, WebConfigError

PASSWORD = "correct horse"  # noqa: S105 - of these tests alone
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
TLS = {"cert_file": "server.pem", "key_file": "server.key"}
CONFIG = {"tls_server_config": TLS, "basic_auth_users": {"prometheus": HASH}}
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


class Served:
    """A board at an endpoint."""

    def __init__(self, folder: Path, config: dict[str, Any], more: Mapping[str, Page] = NO_PAGES) -> None:
        self.folder = folder
        self.file = written(folder, config)
        board = Board("node-1", lambda: 0.0)
        board.publish(Publication(0.0, State.initial(), (), (), True))
        self.endpoint = Endpoint(Address("127.0.0.1", 0), board, more=more, secured=WebConfig(self.file))

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
def served(folder: Path) -> Iterator[Served]:
    served = Served(folder, CONFIG)
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


def test_a_long_answer_arrives_whole_however_slowly_it_is_taken(folder, monkeypatch):
    monkeypatch.setattr(wire, "REQUEST_TIMEOUT_S", 60.0)
    body = bytes(range(256)) * 2**14
    served = Served(folder, CONFIG, {"/long": lambda _request: Reply(HTTPStatus.OK, "application/octet-stream", body)})
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
    with_one, with_another = Served(folder, {"tls_server_config": MUTUAL}), None
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
    served = Served(folder, CONFIG | {"tls_server_config": TLS | {"min_version": "TLS13"}})
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
    assert "web.yaml: tls_server_config.cert_file: Field required" in error
    assert error.endswith("What was there before still counts")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "tls_server_config: Field required"),
        ("[]", "Input should be"),
        ("a: b: c", "not YAML"),
        ("\xff: 1", "tls_server_config: Field required"),
        (yaml.safe_dump(CONFIG | {"http_server_config": {}}), "http_server_config: Extra inputs are not permitted"),
        (yaml.safe_dump({"tls_server_config": TLS}), "anybody could read"),
        (yaml.safe_dump({"basic_auth_users": {"a": HASH}}), "tls_server_config: Field required"),
        (yaml.safe_dump(CONFIG | {"basic_auth_users": {"a": PASSWORD}}), "basic_auth_users.a: Value error, not a hash"),
        (yaml.safe_dump(CONFIG | {"basic_auth_users": {"a": "$2b$31$" + "a" * 53}}), "with a cost of 4 to 14"),
        (
            yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"cert_file": "none.pem"}}),
            "none.pem, server.key: No such",
        ),
        (yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"key_file": "other.key"}}), "must be PEM files of"),
        (yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"min_version": "TLS10"}}), "min_version: Input should"),
        (yaml.safe_dump(CONFIG | {"tls_server_config": TLS | {"client_ca_file": "client.pem"}}), "belong together"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_what_is_wrong_is_named(folder, text, told):
    file = folder / "web.yaml"
    file.write_text(text)
    with pytest.raises(WebConfigError) as caught:
        WebConfig(file)
    assert str(caught.value).startswith(f"--web-config-file {file}: ")
    assert told in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(WebConfigError, match="No such file or directory; name a file that Ballast may read"):
        WebConfig(tmp_path / "web.yaml")


def test_passwords_are_checked_one_at_a_time(folder, monkeypatch):
    config = WebConfig(written(folder, CONFIG))
    inside, most = [0], [0]

    def check(*_: bytes) -> bool:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.01)
        inside[0] -= 1
        return False

    monkeypatch.setattr(bcrypt, "checkpw", check)
    threads = [threading.Thread(target=config.admits, args=("Basic YTpi",)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1]

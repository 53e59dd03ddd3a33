"""Names and words from elsewhere, in everything that people read: nothing reaches a terminal that does not print."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from click.testing import CliRunner, Result
from test_top_command import DB, NODE, STATE, WEB

from controller.api.printable import printable
from controller.cli.listener import listener, loopback
from controller.cli.main import main
from controller.cli.once import table

ODD = "a\x1b]0;owned\x07\x9b31m\u202e\nnode forged: 1 MiB\r\u200b"
DOMAIN = WEB | {
    **dict.fromkeys(("name", "policy", "reason", "reason_text", "advice"), ODD),
    "last_action": WEB["last_action"] | {"reason": ODD, "reason_text": ODD},
}
ODD_STATE = STATE | {
    "node": NODE | {"name": ODD},
    "connections": [{"uri": ODD, "connected": False, "error": ODD}],
    "problems": [ODD],
    "warnings": [ODD],
    "outage": ODD,
    "domains": [DOMAIN, DOMAIN | {"last_action": None}],
}
EXPLAINED = {
    "node": {"name": ODD},
    "domains": [
        {
            "domain": DOMAIN,
            "standing": [ODD],
            "trail": {"step_s": 15, "demand": [1], "forecast": [None], "allocation": [2]},
            "decisions": [
                {
                    **dict.fromkeys(("outcome", "reason", "error"), ODD),
                    **{"age_s": 1.0, "allocation": 1, "target": None, "sentences": [ODD, ODD]},
                }
            ],
        }
    ],
    "near": [],
    "more": 0,
}
UNKNOWN = {"node": {"name": ODD}, "domains": [], "near": [ODD], "more": 0}


def clean(text: str, lines: int | None = None) -> None:
    """Every line prints, and there are no more than there should be."""
    found = text.rstrip("\n").split("\n")
    assert [line for line in found if printable(line) != line] == []
    assert not [line for line in found if line.startswith("node forged")]
    assert lines is None or len(found) == lines


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Answers every request with these bytes: status, reason, body."""

    class OddAnswers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = request.param
            self.send_response(status, "\x1b[31m\x9b31m")
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), OddAnswers) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def answering(data: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(data).encode()


def ballast(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("url", [answering(ODD_STATE)], indirect=True)
@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_table_of_top(url, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    result = ballast("top", "--once", "--url", url)
    assert result.exit_code == 0
    clean(result.output)


@pytest.mark.parametrize("url", [answering(EXPLAINED)], indirect=True)
@pytest.mark.parametrize("arguments", [("top", "--once"), ("explain",), ("describe",)])
def test_one_domains_history(url, arguments):
    result = ballast(*arguments, "--url", url, "web")
    assert result.exit_code == 0
    clean(result.output)


@pytest.mark.parametrize("url", [answering(UNKNOWN), (404, {}, b""), (200, {}, b"[]")], indirect=True)
def test_what_is_said_where_there_is_none(url):
    result = ballast("explain", "--url", url, "web\x9b")
    assert result.exit_code == 1
    clean(result.output, lines=1)


@pytest.mark.parametrize("url", [answering(ODD_STATE)], indirect=True)
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_documents(url, form):
    clean(ballast("top", "--url", url, "-o", form).output)


def test_the_decision_of_run_once():
    state = ODD_STATE | {"domains": [each | {"key": "k", "mode": "Enforce", "upper": 1} for each in (DOMAIN, DB)]}
    text = table(state, {"k": ODD})
    clean(text, lines=1 + 4 + 2 * 4)


def test_files_that_check_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{ODD}.yaml").write_text(f"{json.dumps(ODD)}: 1\n")
    for arguments in ((".",), (f"{ODD}.yaml",), (f"{ODD}.yaml", "-o", "yaml"), (f"nowhere{ODD}",)):
        result = ballast("check", *arguments)
        assert result.exit_code == 1
        clean(result.output)


@pytest.mark.parametrize("command", [("compare",), ("tune",), ("backtest", "--policy", f"{ODD}.yaml")])
def test_traces_and_policies_that_cannot_be_read(command):
    result = ballast(*command, "--trace", f"{ODD}.csv")
    assert result.exit_code == 1
    clean(result.output, lines=1)


def with_size(written: bytes) -> tuple[int, dict[str, str], bytes]:
    """A state in which the demand is written so."""
    return 200, {}, json.dumps(STATE | {"domains": [WEB | {"demand": "SIZE"}]}).encode().replace(b'"SIZE"', written)


HOSTILE = {
    "endless": (200, {}, b" " * (2**26 + 2**17) + json.dumps(STATE).encode()),
    "deep": (200, {}, b"[" * 100_000),
    "elsewhere": (302, {"Location": "http://127.0.0.1:1/state"}, b""),
    "no figures": answering(STATE | {"node": {"name": "n", "budget": "much"}}),
    "no name": answering(STATE | {"domains": [{key: value for key, value in WEB.items() if key != "name"}]}),
    "a size as text": answering(STATE | {"domains": [WEB | {"demand": "1"}]}),
    "an endless size": with_size(b"1e999"),
    "a huge size": answering(STATE | {"domains": [WEB | {"demand": 10**400}]}),
    "not a number": with_size(b"NaN"),
    "problems that are none": answering(STATE | {"problems": [1]}),
}


@pytest.mark.parametrize("url", HOSTILE.values(), ids=HOSTILE.keys(), indirect=True)
def test_an_answer_that_is_none_of_ballasts_is_said(url):
    result = ballast("top", "--once", "--url", url)
    assert result.exit_code == 1
    assert "is that a Ballast?" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("url", [answering(STATE)], indirect=True)
def test_a_proxy_has_nothing_to_do_with_loopback(url, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ballast("top", "--once", "--url", url).exit_code == 0
    spelt = ("localhost", "LocalHost", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]")  # noqa: S104 - asked
    for host in (*spelt, socket.gethostbyname("localhost")):
        assert ballast("top", "--once", "--url", url.replace("127.0.0.1", host)).exit_code == 0
    assert loopback("http://localhost.:9178") == loopback("http://localhost:9178")  # resolvers differ in that


@pytest.mark.parametrize("url", [answering(STATE)], indirect=True)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:7f00:1]"])  # noqa: S104 - asked
def test_a_user_who_took_the_port_is_named_and_not_believed(url, host, monkeypatch):
    """Who we are not is somebody else: the port is this process's user's."""
    monkeypatch.setattr("controller.cli.listener.trusted_users", lambda: {4711})
    result = ballast("top", "--once", "--url", url.replace("127.0.0.1", host))
    assert result.exit_code == 1
    assert "belongs to user root (0), not to root, 'ballast' or you: it is not Ballast" in result.output


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_without_a_port_the_user_is_looked_for_at_that_of_the_scheme(scheme, port, monkeypatch):
    monkeypatch.setattr(
        "controller.cli.listener._listeners", lambda asked: [("0100007F", 4711)] if asked == port else []
    )
    assert listener(f"{scheme}://127.0.0.1") == "4711"

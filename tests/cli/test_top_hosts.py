"""`ballast top --hosts`: a row a host, whatever hosts there are and whatever they answer."""

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from click.testing import CliRunner
from rich.console import Console
from test_top_command import DB, MIB, STATE, WEB

from controller.cli import fleet
from controller.cli.endpoint import fetch
from controller.cli.fleet import Fleet, FleetHost, Row, row, table
from controller.cli.main import main

LOGIN = "Basic b3BzOmE6YiBj"
"""Of the user `ops` with the password `a:b c`."""
NODE = STATE["node"] | {"demand": 1000 * MIB, "short": 0, "reclaimable": 500 * MIB, "paused": False}

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Each call starts a server that gives this answer to whoever has the login; returns its address."""
    with ExitStack() as stack:

        def start(body: bytes) -> str:
            class HostAnswer(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    allowed = self.headers.get("Authorization") in {None, LOGIN}
                    self.send_response(200 if allowed else 401)
                    self.end_headers()
                    self.wfile.write(body if allowed else b"")

                def log_message(self, *_: Any) -> None:
                    """Tests need no log."""

            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), HostAnswer))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            return f"127.0.0.1:{server.server_port}"

        yield start


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def state(**node: Any) -> bytes:
    return json.dumps(STATE | {"node": NODE | node}).encode()


def top(file: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["top", "--hosts", str(file), *options])
    return result.exit_code, result.output


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "hosts.txt"
    file.write_text(text)
    return file


def test_each_host_has_a_row_in_the_order_of_the_file(tmp_path, serve):
    first, second = serve(state()), serve(state(short=64 * MIB, paused=True))
    text = f"# ours\n\nwest-1 http://{first}\n  east-1\thttp://ops:a%3Ab%20c@{second}/\n"
    code, said = top(written(tmp_path, text))
    _, head, *rows = [line.split() for line in said.splitlines()]
    assert (code, head) == (0, ["HOST", "BUDGET", "ALLOCATED", "DEMAND", "SHORT", "RECLAIMABLE", "DOMAINS", "MODE"])
    assert rows == [
        ["west-1", "4096", "1536", "1000", "0", "500", "2", "Enforce", "1/2"],
        ["east-1", "4096", "1536", "1000", "64", "500", "2", "Paused"],
    ]


def test_programs_get_bytes_and_what_is_wrong(tmp_path, serve, silent, monkeypatch):
    monkeypatch.setattr(fleet, "HOST_S", 5.0)  # those that answer have their time, on a busy machine, too
    monkeypatch.setattr(Fleet, "__init__", init_with(5.0))
    hosts = f"good http://{serve(state())}\nwrong http://ops:secret@{serve(state())}\nslow http://{silent}\n"
    code, said = top(written(tmp_path, hosts), "-o", "json")
    good, wrong, slow = json.loads(said)["hosts"]
    assert code == 0
    assert (good["host"], good["budget"], good["error"]) == ("good", 4096 * MIB, "")
    assert (wrong["budget"], "answers 401 Unauthorized" in wrong["error"]) == (None, True)
    assert (slow["budget"], "slow" in slow["host"], bool(slow["error"])) == (None, True, True)
    assert "secret" not in said


def init_with(seconds: float) -> Callable[..., None]:
    original = Fleet.__init__
    return lambda self, hosts: original(self, hosts, seconds)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"null",
        b"[" * 100_000,
        b"\xff\xfe",
        json.dumps({"node": {"name": "x"}, "domains": "many"}).encode(),
        json.dumps(STATE | {"node": NODE | {"budget": "4096"}}).encode(),
        json.dumps(STATE | {"domains": [WEB | {"mode": 7}]}).encode(),
        b" " * (fleet.LONGEST_ANSWER + 1),
    ],
)
def test_a_hostile_answer_is_an_error_in_its_row_and_the_others_stay(tmp_path, serve, body):
    hosts = f"bad http://{serve(body)}\ngood http://{serve(state())}\n"
    bad, good = json.loads(top(written(tmp_path, hosts), "-o", "json")[1])["hosts"]
    assert (bad["budget"], good["error"]) == (None, "")
    assert bad["error"].endswith(("does not answer with JSON", "answers with something else"))


@pytest.fixture
def endless() -> Iterator[Callable[[bytes, bytes], str]]:
    """Each call starts a server that says the first once, and the second until nobody listens; returns its address."""
    with ExitStack() as stack:

        def start(once: bytes, ever: bytes) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer() -> None:
                client, _ = listening.accept()
                with client, suppress(OSError):
                    client.recv(4096)
                    client.sendall(once)
                    while True:
                        client.sendall(ever)

            threading.Thread(target=answer, daemon=True).start()
            return f"127.0.0.1:{listening.getsockname()[1]}"

        yield start


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("once", "ever"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (CHUNKED + b"0\r\n", b"a: b\r\n" * 1000),
        (CHUNKED, b"1\r\n \r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 1000),
    ],
    ids=["interim answers", "trailers", "chunks", "body"],
)
def test_an_answer_that_has_no_end_is_given_up(endless, once, ever):
    with pytest.raises(ClickException, match=r"does not answer with JSON|IncompleteRead"):
        fetch(f"http://{endless(once, ever)}", most=2**16, whole_s=60)


def test_interim_answers_are_no_way_to_hold_the_asker(endless):
    with pytest.raises(ClickException, match=r"longer than 0\.3 s"):
        fetch(f"http://{endless(b'', b'HTTP/1.1 100 Continue' + 2 * NEWLINE)}", most=2**60, whole_s=0.3)


NEWLINE = b"\r\n"


@pytest.mark.parametrize("name", ["[/a]", "[red]a", ":smile:"])
def test_a_name_is_drawn_as_it_is(name):
    drawn = io.StringIO()
    Console(file=drawn, width=100).print(table([Row(name)], 100))
    assert drawn.getvalue().splitlines()[-1].split()[0] == name


def test_figures_that_are_none_are_unknown():
    odd = STATE | {"node": NODE | {"demand": "1", "short": True, "reclaimable": 1e300}}
    found = row("a", odd)
    assert (found.demand, found.short, found.reclaimable) == (None, None, None)
    before = row("a", STATE | {"node": {"name": "x"}, "domains": []})
    assert (before.budget, before.error) == (None, "has not looked yet")


def test_what_is_wrong_on_a_host_is_bounded_printable_and_counted():
    gone = {"uri": "qemu:///system", "connected": False, "error": "\x1b[31m" + "long " * 1000}
    found = row("a", STATE | {"connections": [gone], "warnings": ["short"]})
    assert found.error.startswith("\\x1b[31mlong ")
    assert found.error.endswith("… (and 1 more)")
    assert len(found.error.encode()) <= fleet.LONGEST_ERROR + len(" (and 1 more)")


@pytest.mark.parametrize(
    ("modes", "told"),
    [([], "-"), (["Observe"], "Observe"), (["Enforce", None], "Enforce"), (["Enforce", "Observe"], "Enforce 1/2")],
)
def test_the_mode_is_that_of_the_domains(modes, told):
    assert row("a", STATE | {"domains": [DB | {"mode": mode} for mode in modes], "node": NODE}).mode == told


def test_fifty_hosts_that_hang_are_all_given_up(silent):
    hosts = [FleetHost(f"host-{number}", f"http://{silent}") for number in range(fleet.PARALLEL)]
    hanging = Fleet(hosts, host_s=0.5)
    hanging.read()
    assert all(each.error for each in hanging.rows)


def test_fifty_hosts_are_waited_for_together(monkeypatch):
    together = threading.Barrier(fleet.PARALLEL, timeout=60)
    monkeypatch.setattr(fleet, "_row", lambda host, _seconds: Row(host.name, budget=float(together.wait() >= 0)))
    asked = Fleet([FleetHost(f"host-{number}", "http://a") for number in range(fleet.PARALLEL)], host_s=60.0)
    asked.read()
    assert [each.budget for each in asked.rows] == [1.0] * fleet.PARALLEL


def test_a_host_that_was_given_up_is_asked_again_when_its_answer_is_in(monkeypatch):
    asked, begun, go_on = [], threading.Event(), threading.Event()

    def answer(host: FleetHost, _seconds: float) -> Row:
        asked.append(host.name)
        begun.set()
        go_on.wait(60)
        return Row(host.name, budget=1.0)

    monkeypatch.setattr(fleet, "_row", answer)
    one = Fleet([FleetHost("a", "http://a")], host_s=0.05)
    for _ in range(3):
        one.read()
    assert begun.wait(60)
    assert (asked, one.rows[0].error) == (["a"], "no whole answer within 0.05 s")
    go_on.set()
    one._host_s = 60.0
    while not one.rows[0].budget:
        one.read()
    assert asked == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "0 hosts; there must be 1 to 1000"),
        ("a http://h:1\nb\n", ":2: 1 words; write a name and a URL"),
        ("a http://h:1 more", ":1: 3 words"),
        ("a h:1", ":1: the second word is not a URL"),
        ("a ftp://ops:secret@h", ":1: the second word is not a URL"),
        ("a http://h:99999", ":1: the second word is not a URL"),
        ("a http://h:1\n\na http://h:2", ":3: a is there twice"),
        ("a\x1b http://h:1", ":1: the name is longer than 64 characters, or not printable"),
        ("n" * 65 + " http://h:1", ":1: the name is longer"),
        ("x\n" * 12, "and 2 more"),
        ("\n".join(f"h{number} http://h:1" for number in range(1001)), "1001 hosts"),
        ("#" * 300_000, "more than 256 KiB"),
    ],
)
def test_wrong_lines_are_named_by_their_number(tmp_path, text, told):
    code, said = top(written(tmp_path, text), "--once")
    assert (code, told in said, "secret" in said) == (1, True, False), said


def test_a_file_that_cannot_be_read_or_is_no_text_is_refused(tmp_path):
    assert "No such file or directory; name a file with a host a line" in top(tmp_path / "none", "--once")[1]
    (tmp_path / "binary").write_bytes(b"\xff")
    assert "not a text in UTF-8" in top(tmp_path / "binary", "--once")[1]


@pytest.mark.parametrize(
    "more", [["web"], ["--sort", "name"], ["--filter", "x"], ["-o", "wide"], ["--url", "http://h:1"]]
)
def test_options_for_one_host_are_refused(tmp_path, more):
    code, said = top(written(tmp_path, "a http://h:1"), *more)
    assert (code, "are for one host; leave them out with --hosts" in said) == (2, True)


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_nothing_is_cut_however_narrow_the_terminal_is(width):
    drawn = io.StringIO()
    error = "nothing answers at http://host-1.example.org:9179 (timed out)"
    short = row("host-2", STATE | {"node": NODE | {"short": 7 * MIB}})
    Console(file=drawn, width=width).print(table([Row("host-1", error=error), short], width))
    text = drawn.getvalue()
    assert "…" not in text
    assert f"!host-1:{error}".replace(" ", "") in "".join(text.split())
    assert "7" in next(line.split() for line in text.splitlines() if line.startswith("host-2"))
    assert ("RECLAIMABLE" in text, "SHORT" in text) == (width >= 80, True)

"""`ballast top` on a terminal: what its keys do, and that the terminal is afterwards as it was."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps

import pytest
from test_top_command import DB, NODE, STATE, WEB

from controller.cli.keyboard import Keyboard, named
from controller.cli.screen import PAGE, Screen
from controller.cli.sorting import SORTS

ROWS = [f"k{number}" for number in range(30)]


def after(*keys: str, screen: Screen | None = None, rows: list[str] | None = None) -> Screen:
    """The screen when these keys were pressed."""
    screen = screen or Screen()
    for key in keys:
        screen = screen.pressed(key, ROWS if rows is None else rows)
    return screen


class TestScreen:
    def test_q_ends_it(self):
        assert after("q").ended

    def test_a_slash_begins_a_filter_whose_letters_are_no_commands(self):
        screen = after("/", "w", "q", "?")
        assert (screen.wanted, screen.typing, screen.ended) == ("wq?", True, False)
        assert screen.footer == "/wq?▏"

    def test_a_filter_is_kept_by_enter_mended_by_backspace_and_dropped_by_escape(self):
        assert after("/", "w", "x", "backspace", "enter") == Screen(wanted="w")
        assert after("/", "w", "enter").footer.startswith("filter: w ")
        assert after("/", "w", "escape") == Screen()
        assert after("/", "w", "enter", "escape") == Screen()
        assert after("/", "w", "up") == Screen(wanted="w", typing=True)

    def test_left_and_right_go_through_all_orders_and_round(self):
        assert [after(*["right"] * count).sort for count in range(len(SORTS) + 2)] == [None, *SORTS, None]
        assert after("left").sort == SORTS[-1]

    @pytest.mark.parametrize(
        ("keys", "chosen"),
        [
            (("down",), "k0"),
            (("up",), "k29"),
            (("down", "down", "up"), "k0"),
            (("home", "up"), "k0"),
            (("end", "down"), "k29"),
            (("home", "pagedown"), f"k{PAGE}"),
            (("end", "pageup"), f"k{29 - PAGE}"),
        ],
    )
    def test_arrows_choose_a_domain_within_those_there_are(self, keys, chosen):
        assert after(*keys).chosen == chosen

    def test_there_is_nothing_to_choose_without_domains_and_one_that_is_gone_is_left(self):
        assert after("down", "enter", rows=[]) == Screen()
        assert after("down", screen=Screen(chosen="gone")).chosen == "k0"
        assert not after("enter", screen=Screen(chosen="gone")).opened

    def test_enter_opens_the_chosen_one_and_escape_goes_back(self):
        opened = after("down", "enter")
        assert opened == Screen(chosen="k0", opened=True)
        assert after("down", screen=opened) == opened
        assert after("escape", screen=opened) == Screen(chosen="k0")

    def test_a_question_mark_shows_the_keys_until_the_next_one(self):
        assert after("?").helping
        assert after("?", "q") == Screen()

    def test_a_key_that_means_nothing_changes_nothing(self):
        assert after("z", "enter", "backspace") == Screen()


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("\x1b[A\x1bOB\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        ("\x1b[5~\x1b[6~\x1b[H\x1bOF\x1b[1~\x1b[4~", ["pageup", "pagedown", "home", "end", "home", "end"]),
        ("\x1b", ["escape"]),
        ("\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"]),
        ("aé/", ["a", "é", "/"]),
        ("\x1b[15~\x1b[1;5A\x00\x9b\u202e", []),
    ],
)
def test_keys_are_told_by_what_terminals_send(sent, keys):
    assert named(sent) == keys


def test_an_interrupt_just_before_keys_are_waited_for_is_not_lost(monkeypatch):
    """As none is that another thread takes: Python runs the handler once `select` has ended."""
    waiting, wait = threading.Event(), select.select

    def interrupt() -> None:
        waiting.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    monkeypatch.setattr("controller.cli.keyboard.select.select", lambda *what: waiting.set() or wait(*what))
    threading.Thread(target=interrupt).start()
    with Keyboard() as keyboard, pytest.raises(KeyboardInterrupt):
        keyboard.keys(10.0)


@pytest.fixture
def url() -> Iterator[str]:
    class StateAnswers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(dumps(STATE | {"node": NODE, "domains": [WEB, DB]}).encode())

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), StateAnswers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Terminal:
    """`ballast top` on a terminal of its own."""

    def __init__(self, url: str) -> None:
        self.master, self._slave = pty.openpty()
        self.before = termios.tcgetattr(self._slave)
        command = [sys.executable, "-m", "controller", "top", "--url", url, "--interval", "60"]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "20"}
        ends = {"stdin": self._slave, "stdout": self._slave, "stderr": self._slave}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, **ends)
        self.shown = b""

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, text: str) -> None:
        """Read on until it shows the text."""
        end, start = time.monotonic() + 60, len(self.shown)
        while text.encode() not in self.shown[start:]:
            assert time.monotonic() < end, self.shown[start:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 2**16)

    def settings(self) -> list[object]:
        return termios.tcgetattr(self._slave)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def terminal(url: str) -> Iterator[Terminal]:
    """Showing the table."""
    running = Terminal(url)
    running.until("q quit")
    yield running
    running.close()


def test_keys_work_at_once_and_the_terminal_is_given_back(terminal):
    terminal.type("/web\r")
    terminal.until("filter: web")
    terminal.type("?")
    terminal.until("choose a domain")
    terminal.type("xq")
    assert terminal.process.wait(60) == 0
    assert terminal.settings() == terminal.before


def test_an_interrupt_ends_it_and_the_terminal_is_given_back(terminal):
    terminal.process.send_signal(2)
    assert terminal.process.wait(60) == 0
    assert terminal.settings() == terminal.before

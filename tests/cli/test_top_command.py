"""`ballast top`: the table of a `/state` document, and what it says when there is none."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from controller.cli.main import main
from controller.cli.table import View, render

MIB = 2**20
NODE = {
    "name": "node-1",
    "total": 8192 * MIB,
    "host_use": 700 * MIB,
    "budget": 4096 * MIB,
    "allocated": 1536 * MIB,
    "spare": 2560 * MIB,
    "pressure": False,
    "domains": 2,
    "stable_domains": 1,
    "looks_total": 40,
    "fixed_looks_total": 200,
    "reallocations_total": 3,
}
WEB = {
    "key": "web@qemu:///system",
    "uuid": "4dea22b3-1d52-d8f3-2516-782e98ab3fa0",
    "name": "web",
    "mode": "Enforce",
    "demand": 490 * MIB,
    "forecast": 620 * MIB,
    "upper": 640 * MIB,
    "minimum": 64 * MIB,
    "maximum": 2048 * MIB,
    "reallocations": 3,
    "allocation": 512 * MIB,
    "target": 768 * MIB,
    "interval_s": 1.0,
    "stable": False,
    "pressure": False,
    "reason": "Moving",
    "reason_text": "the balloon is moving",
    "policy": "all",
    "last_action": {
        "age_s": 4.0,
        "from": 512 * MIB,
        "to": 768 * MIB,
        "reason": "ForecastGrow",
        "reason_text": "forecast demand needs more memory",
    },
    "advice": "",
}
DB = WEB | {
    "key": "db@qemu:///system",
    "name": "db",
    "mode": "Observe",
    "demand": None,
    "forecast": None,
    "allocation": 1024 * MIB,
    "target": 1024 * MIB,
    "interval_s": 60.0,
    "stable": True,
    "reason": "Paused",
    "reason_text": "the domain is paused",
    "last_action": None,
}
STATE = {
    "node": NODE,
    "connections": [],
    "problems": [],
    "outage": "",
    "warnings": [],
    "policies": [],
    "domains": [WEB, DB],
}


def drawn(state: dict[str, object], width: int = 160, view: View | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(state, view))
    return console.file.getvalue().splitlines()


def row(name: str, lines: list[str]) -> list[str]:
    return next(line.split() for line in lines if line.startswith(name))


def titles(lines: list[str]) -> list[str]:
    return next(line.split() for line in lines if line.startswith("NAME"))


def test_the_nodes_lines_are_on_top():
    first, second = drawn(STATE)[:2]
    assert first == "node-1  1 of 2 domains stable, 3 reallocations, 40 looks (fixed: 200)"
    assert second.startswith("budget [")
    assert second.endswith("] 1536 of 4096 MiB allocated, 2560 spare; host uses 700 of 8192 MiB")


@pytest.mark.parametrize(
    ("node", "bar"),
    [
        ({}, "█" * 7 + "▒" * 15 + "·" * 38),
        ({"allocated": 0}, "·" * 60),
        ({"allocated": 8192 * MIB}, "█" * 7 + "▒" * 53),
        ({"budget": 0, "allocated": None, "spare": None}, "·" * 60),
    ],
)
def test_the_bar_shows_what_of_the_budget_guests_use_have_beyond_that_and_leave(node, bar):
    assert drawn(STATE | {"node": NODE | node})[1].partition("[")[2].partition("]")[0] == bar


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_bar_takes_the_room_there_is(width):
    line = next(line for line in drawn(STATE, width) if line.startswith("budget"))
    assert 9 <= len(line.partition("[")[2].partition("]")[0]) <= 60
    assert len(line) <= width


def test_a_domain_has_its_policy_its_numbers_and_its_last_change_with_the_reason():
    words = " ".join(row("web", drawn(STATE)))
    assert words == (
        "web all Enforce 490 MiB 620 MiB 512 MiB 768 MiB 1s ~ unstable ▲ +256 MiB 4s ago "
        "forecast demand needs more memory"
    )


def test_a_domain_that_is_left_alone_says_why():
    assert " ".join(row("db", drawn(STATE))) == (
        "db all Observe - - 1024 MiB 1024 MiB 1m00s = stable - the domain is paused"
    )


def test_a_domain_without_a_policy_has_neither_its_name_nor_a_mode():
    lines = drawn(STATE | {"domains": [DB | {"policy": None, "mode": None}]})
    assert row("db", lines)[1:3] == ["-", "-"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reason": "Paused", "reason_text": "the domain is paused"}, "the domain is paused"),
        ({"last_action": WEB["last_action"] | {"age_s": 61.0}}, "the balloon is moving"),
        ({}, "forecast demand needs more memory"),
    ],
)
def test_a_change_is_the_reason_while_it_is_new_and_nothing_else_holds(changes, told):
    assert " ".join(row("web", drawn(STATE | {"domains": [WEB | changes]}))).endswith(f" ago {told}")


def test_what_can_be_done_about_a_domain_that_is_left_alone_follows_the_reason_where_there_is_room():
    state = STATE | {
        "domains": [DB | {"reason_text": "the domain is paused by somebody", "advice": "wake it up again"}]
    }
    assert " ".join(row("db", drawn(state))).endswith("- the domain is paused by somebody: wake it up again")
    assert " ".join(row("db", drawn(state, 120))).endswith("- the domain is paused by somebody")
    assert " ".join(row("db", drawn(state, 60))).endswith("- Paused")


def test_a_shrink_looks_like_one():
    shrink = WEB | {"last_action": WEB["last_action"] | {"from": 768 * MIB, "to": 512 * MIB}}
    assert "▼ -256 MiB" in " ".join(row("web", drawn(STATE | {"domains": [shrink]})))


def test_pressure_is_said_in_words():
    lines = drawn(STATE | {"node": NODE | {"pressure": True}, "domains": [WEB | {"pressure": True}]})
    assert "HOST UNDER PRESSURE" in lines[0]
    assert "! pressure" in " ".join(row("web", lines))


ALL = ["NAME", "POLICY", "MODE", "DEMAND", "FORECAST", "ALLOC", "TARGET", "EVERY"]


@pytest.mark.parametrize(
    ("width", "view", "expected"),
    [
        (200, View(wide=True), [*ALL[:5], "UPPER", *ALL[5:7], "MIN", "MAX", "EVERY", "MOVES", "CHANGE", "UUID"]),
        (
            400,
            View(wide=True),
            [*ALL[:5], "UPPER", *ALL[5:7], "MIN", "MAX", "EVERY", "STABILITY", "MOVES", "CHANGE", "UUID"],
        ),
        (160, View(), [*ALL, "STABILITY", "CHANGE"]),
        (120, View(), [*ALL, "CHANGE"]),
        (80, View(), ["NAME", "POLICY", "MODE", "DEMAND", "ALLOC", "TARGET", "CHANGE"]),
        (60, View(), ["NAME", "MODE", "ALLOC", "CHANGE"]),
        (40, View(), ["NAME", "ALLOC"]),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns_and_every_reason_whole(width, view, expected):
    longest = DB | {"reason": "HostPressureShrink", "reason_text": "the host is short of memory"}
    lines = drawn(STATE | {"domains": [WEB, longest]}, width, view)
    assert titles(lines) == [*expected, "REASON"]
    assert all(len(line) <= width for line in lines)
    assert lines[-1].rstrip().endswith(("HostPressureShrink", "the host is short of memory"))
    assert len([line for line in lines if line.startswith(("web", "db"))]) == 2


def test_long_names_are_cut_in_the_middle_where_their_ends_tell_them_apart():
    named = [WEB | {"name": f"machine-of-the-build-farm-{n}", "policy": "p" * 62 + str(n)} for n in (1, 2)]
    assert [line.split()[:2] for line in drawn(STATE | {"domains": named}, 120)[-2:]] == [
        ["machine-of-t…uild-farm-1", "ppppppp…pppppp1"],
        ["machine-of-t…uild-farm-2", "ppppppp…pppppp2"],
    ]


def test_the_column_that_is_sorted_by_is_marked():
    assert "NAME▴" in titles(drawn(STATE, view=View(sort="name")))
    assert "ALLOC▾" in titles(drawn(STATE, view=View(sort="allocation")))
    assert "▾" in titles(drawn(STATE, 80, view=View(sort="stability")))


def test_as_many_rows_as_there_is_room_for_with_the_chosen_one_among_them():
    many = STATE | {"domains": [WEB | {"name": f"vm-{n}", "key": f"k{n}"} for n in range(20)]}
    lines = drawn(many, view=View(chosen="k12", lines=8))
    assert [line.split()[0] for line in lines[3:]] == ["vm-10", "vm-11", "vm-12", "vm-13", "vm-14"]
    assert [line.split()[0] for line in drawn(many, view=View(lines=8))[3:]] == [f"vm-{n}" for n in range(5)]
    assert drawn(many, view=View(chosen="k19", lines=8))[-1].startswith("vm-19")


def test_lost_connections_refused_policies_and_policies_without_effect_stand_above_the_table():
    lost = {"uri": "qemu:///system", "connected": False, "error": "qemu:///system: no socket"}
    wrong = {"problems": ["a.yaml:1: broken"], "outage": "MemoryPolicies: away", "warnings": ["idle selects none"]}
    lines = drawn(STATE | {"connections": [lost]} | wrong)
    assert "! idle selects none" in lines
    assert "! qemu:///system: no socket" in lines
    assert "! policy refused: a.yaml:1: broken" in lines
    assert "! policies as last known: MemoryPolicies: away" in lines


def test_a_node_without_domains_and_one_that_just_started():
    assert drawn(STATE | {"node": NODE | {"domains": 0}, "domains": []})[-1] == "no running domains"
    assert drawn(STATE | {"node": {"name": "n"}, "domains": []})[0] == "n  the loop has not run yet"


def test_a_filter_that_no_domain_matches_does_not_look_like_a_node_without_domains():
    assert drawn(STATE, view=View(wanted="nobody"))[-1] == "no domain matches the filter"


def test_a_name_is_text_not_markup():
    assert row("[red]", drawn(STATE | {"domains": [WEB | {"name": "[red]web"}]}))[0] == "[red]web"


@pytest.mark.parametrize("pace", ["nan", "0", "-inf"])
def test_an_interval_that_is_none_is_a_usage_error(pace):
    result = top("--interval", pace)
    assert result.exit_code == 2
    assert "Invalid value for '--interval'" in result.output


class _Answers(BaseHTTPRequestHandler):
    body = b""
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/state" else 404)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that answers /state with the test's `(status, body)`."""
    status, body = request.param
    handler = type("Answers", (_Answers,), {"status": status, "body": body})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        thread.join()


def top(*arguments: str):
    return CliRunner().invoke(main, ["top", *arguments])


@pytest.mark.parametrize("url", [(200, json.dumps(STATE).encode())], indirect=True)
@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_the_state_as_a_document(url, form, parse):
    result = top("--url", url, "-o", form)
    assert (result.exit_code, parse(result.output)) == (0, STATE)


@pytest.mark.parametrize("url", [(200, json.dumps(STATE).encode())], indirect=True)
def test_names_alone(url):
    result = top("--url", url, "-o", "name", "--sort", "name")
    assert (result.exit_code, result.output) == (0, "db\nweb\n")


@pytest.mark.parametrize("url", [(200, json.dumps(STATE).encode())], indirect=True)
@pytest.mark.parametrize("once", [["--once"], []], ids=["once", "a file is none that it is followed in"])
def test_a_file_gets_every_column_of_wide_output_once(url, once):
    result = top("--url", url, *once, "-o", "wide")
    assert titles(result.output.splitlines())[-3:] == ["CHANGE", "UUID", "REASON"]


@pytest.mark.parametrize("url", [(200, json.dumps(STATE).encode())], indirect=True)
def test_once_prints_the_table_and_ends(url):
    result = top("--url", f"{url}/", "--once")
    assert result.exit_code == 0
    assert "web" in result.output


NAMED = [(200, json.dumps(STATE | {"domains": [WEB | {"name": "wéb-例"}]}).encode())]


@pytest.mark.parametrize("url", NAMED, ids=["named"], indirect=True)
@pytest.mark.parametrize(("encoding", "name"), [("utf-8", "wéb-例"), ("latin-1", "wéb-?"), ("ascii", "w?b-?")])
def test_a_terminal_of_any_encoding_shows_what_it_can(url, encoding, name):
    result = CliRunner(charset=encoding).invoke(main, ["top", "--once", "--url", url])
    assert (result.exit_code, name in result.output) == (0, True)


@pytest.mark.parametrize("url", NAMED, ids=["named"], indirect=True)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_a_document_in_any_encoding_says_the_same(url, encoding):
    result = CliRunner(charset=encoding).invoke(main, ["top", "-o", "yaml", "--url", url])
    assert yaml.safe_load(result.output)["domains"][0]["name"] == "wéb-例"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ((503, b""), "answers 503 Service Unavailable; is that a Ballast?"),
        ((200, b"<html>"), "does not answer with JSON; is that a Ballast?"),
        ((200, b"[]"), "answers with something else; is that a Ballast?"),
        ((200, b'{"domains": ["a.example"]}'), "answers with something else; is that a Ballast?"),
        ((200, b'{"domains": 3, "node": {"name": "n"}}'), "answers with something else; is that a Ballast?"),
        ((200, b'{"domains": [], "node": "n"}'), "answers with something else; is that a Ballast?"),
        ((200, b"\xff"), "does not answer with JSON; is that a Ballast?"),
        *(
            ((200, json.dumps(STATE | odd).encode()), "answers with something else; is that a Ballast?")
            for odd in (
                {"domains": [WEB | {"demand": -(2**62)}]},
                {"domains": [WEB, WEB | {"last_action": WEB["last_action"] | {"age_s": None}}]},
                {"node": NODE | {"budget": -1}},
            )
        ),
    ],
    indirect=["url"],
)
def test_something_else_at_the_address_is_said(url, message):
    result = top("--url", url, "--once")
    assert result.exit_code == 1
    assert message in result.output


def test_nothing_at_the_address_is_said_with_the_remedy():
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        free = server.server_address[1]
    result = top("--url", f"http://127.0.0.1:{free}")
    assert result.exit_code == 1
    assert f"nothing answers at http://127.0.0.1:{free}" in result.output
    assert "is `ballast run` running" in result.output


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:9178", "file:///etc/passwd", "ftp://host/", "http://", "http://[::1"),
        *("http://127.0.0.1:99999", "http://127.0.0.1:http", "http://127.0.0.1:-1", "http://127.0.0.1:0"),
    ],
)
def test_what_is_no_address_is_a_usage_error(address):
    result = top("--url", address, "--once")
    assert result.exit_code == 2
    assert "is not a URL; write it like http://127.0.0.1:9178" in " ".join(result.output.split())

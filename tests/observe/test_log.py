"""What is logged: one line an event, nothing for what did not change."""

import io
import json
import logging
import os
from collections.abc import Callable, Iterator

import pytest

from controller.api.printable import printable
from controller.engine.decision import Action, Figures, Notice
from controller.engine.reasons import Reason
from controller.observe.eventlog import EventLog
from controller.observe.log import configure
from controller.observe.remarks import Remark
from controller.observe.text import change, mib, seconds

MIB = 2**20
SEEN = Figures(demand=500.0 * MIB, forecast=600.0 * MIB, wanted=760.0 * MIB, planned=768.0 * MIB)
GROW = Action(0, "u1", "web", 512 * MIB, 768 * MIB, Reason.FORECAST_GROW, SEEN)


def no_advice(_notice: Notice) -> str:
    return ""


def notices(notices: list[Notice]) -> None:
    """Log them, without a word on what to do about them."""
    EventLog().notices(notices, no_advice)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Starts logging in a format; afterwards gives the lines that came since the last call."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root, ours = logging.getLogger(), logging.getLogger("controller")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()

    def take() -> list[str]:
        taken = stream.getvalue().splitlines()
        stream.seek(0)
        stream.truncate()
        return taken

    def start(style: str = "json", level: str = "info") -> Callable[[], list[str]]:
        configure(style, level, stream)
        return take

    yield start
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_an_action_is_one_line_with_its_numbers_and_reason(lines):
    take = lines()
    EventLog().actions([GROW], {})
    (line,) = map(json.loads, take())
    assert line["message"] == ("web: 512 MiB -> 768 MiB (+256 MiB): forecast demand needs more memory [ForecastGrow]")
    assert (line["event"], line["domain"], line["key"]) == ("action", "web", "u1")
    assert (line["from_mib"], line["to_mib"], line["reason"]) == (512, 768, "ForecastGrow")
    assert (line["demand_mib"], line["forecast_mib"], line["wanted_mib"], line["planned_mib"]) == (500, 600, 760, 768)


def test_an_action_on_a_domain_of_unknown_demand_has_no_number_for_it(lines):
    take = lines()
    EventLog().actions([Action(0, "u1", "web", 512 * MIB, 768 * MIB, Reason.RELEASE_RESTORE)], {})
    (line,) = map(json.loads, take())
    assert (line["demand_mib"], line["forecast_mib"]) == (None, None)


def test_a_proposal_says_that_nothing_was_done(lines):
    take = lines()
    EventLog().proposals([GROW])
    (line,) = map(json.loads, take())
    assert line["message"].startswith("web: would change 512 MiB -> 768 MiB (+256 MiB): ")
    assert line["event"] == "proposal"


def test_a_refusal_takes_the_place_of_the_action_and_is_said_once_until_it_changes(lines):
    take = lines()
    event_log = EventLog()
    for message in ("busy", "busy", "gone"):
        event_log.actions([GROW], {"u1": message})
    assert [json.loads(line)["error"] for line in take()] == ["busy", "gone"]


def test_a_refusal_is_said_again_after_a_success(lines):
    take = lines()
    event_log = EventLog()
    event_log.actions([GROW], {"u1": "busy"})
    event_log.actions([GROW], {})
    event_log.actions([GROW], {"u1": "busy"})
    assert [json.loads(line)["event"] for line in take()] == ["refusal", "action", "refusal"]


def test_a_notice_is_one_line_and_a_warning_where_someone_should_act(lines):
    take = lines()
    notices([Notice("u1", "web", Reason.STUCK), Notice("u2", "db", Reason.PAUSED)])
    stuck, paused = map(json.loads, take())
    assert (stuck["level"], stuck["reason"], stuck["domain"]) == ("warning", "Stuck", "web")
    assert (paused["level"], paused["message"]) == ("info", "db: the domain is paused [Paused]")


def test_a_notice_says_what_can_be_done_about_it(lines):
    take = lines()
    EventLog().notices([Notice("u2", "db", Reason.INVALID_WISHES)], lambda notice: f"mend {notice.name}")
    (line,) = map(json.loads, take())
    text = "db: the wishes in the domain's metadata or its pod's annotations are not valid: mend db [InvalidWishes]"
    assert (line["message"], line["advice"]) == (text, "mend db")


def test_a_remark_is_said_when_it_begins_to_hold(lines):
    take = lines()
    event_log = EventLog()
    conflict, elsewhere = Remark("conflict", "second", "lost web"), Remark("elsewhere", "far", "not here")
    event_log.remarks([conflict, elsewhere])
    event_log.remarks([conflict, elsewhere])
    first, second = map(json.loads, take())
    assert (first["level"], first["event"], first["policy"]) == ("warning", "conflict", "second")
    assert (second["level"], second["message"]) == ("info", "not here")
    event_log.remarks([])
    event_log.remarks([conflict])
    assert [json.loads(line)["message"] for line in take()] == ["lost web"]


def test_a_refusal_is_said_again_of_a_domain_that_was_gone(lines):
    take = lines()
    event_log = EventLog()
    event_log.actions([GROW], {"u1": "busy"})
    event_log.forget(["u1", "stranger"])
    event_log.actions([GROW], {"u1": "busy"})
    assert [json.loads(line)["error"] for line in take()] == ["busy", "busy"]


def test_a_look_that_changed_nothing_leaves_no_line(lines):
    take = lines(level="debug")
    event_log = EventLog()
    event_log.notices([], no_advice)
    event_log.remarks([])
    event_log.proposals([])
    event_log.actions([], {})
    assert take() == []


def test_human_lines_have_time_level_and_message(lines):
    take = lines("human")
    notices([Notice("u2", "db", Reason.PAUSED)])
    (line,) = take()
    assert line[19:] == " INFO db: the domain is paused [Paused]"


@pytest.fixture
def to_file(lines, monkeypatch, tmp_path) -> Iterator[Callable[..., list[str]]]:
    """Logs one record of each level and an exception to a file, with a JOURNAL_STREAM; gives the lines of the file."""
    lines()

    def log(style: str, event_log: Callable[[os.stat_result], str]) -> list[str]:
        path = tmp_path / "stderr"
        with path.open("w") as stream:
            monkeypatch.setenv("JOURNAL_STREAM", event_log(os.fstat(stream.fileno())))
            configure(style, "debug", stream)
            for level in ("debug", "info", "warning", "error", "critical"):
                logging.getLogger("controller.x").log(getattr(logging, level.upper()), "a %s", level)
            try:
                raise ValueError("two\nlines")
            except ValueError:
                logging.getLogger("controller.x").exception("broken")
        return path.read_text().splitlines()

    return log


def itself(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def test_each_line_to_the_journal_has_its_priority_and_no_time(to_file):
    told = to_file("human", itself)
    assert told[:6] == [
        *("<7>DEBUG a debug", "<6>INFO a info", "<4>WARNING a warning", "<3>ERROR a error", "<2>CRITICAL a critical"),
        "<3>ERROR broken",
    ]
    assert told[-1] == "<3>lines"
    assert {line[:3] for line in told[5:]} == {"<3>"}


def test_json_lines_to_the_journal_have_their_priority(to_file):
    told = to_file("json", itself)
    assert [line[:4] for line in told] == ["<7>{", "<6>{", "<4>{", "<3>{", "<2>{", "<3>{"]
    assert json.loads(told[2].removeprefix("<4>"))["message"] == "a warning"


@pytest.mark.parametrize(
    "event_log",
    [
        lambda _: "",
        lambda _: "8:1",
        lambda _: "no number",
        lambda status: f"{status.st_dev}:{status.st_ino + 1}",
        lambda status: f"{itself(status)}\n",
    ],
)
def test_a_stream_that_is_not_the_journal_has_times_and_no_priorities(to_file, event_log):
    told = to_file("human", event_log)
    assert [line[19:] for line in told[:2]] == [" DEBUG a debug", " INFO a info"]
    assert all(line.startswith("{") for line in to_file("json", event_log))


def test_a_stream_without_a_descriptor_is_not_the_journal(lines, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    take = lines("human")
    notices([Notice("u2", "db", Reason.PAUSED)])
    (line,) = take()
    assert line[19:] == " INFO db: the domain is paused [Paused]"


@pytest.mark.parametrize("style", ["human", "json"])
def test_a_name_cannot_forge_a_line(lines, style):
    take = lines(style)
    notices([Notice("u2", "db\nERROR \x1b[31mforged", Reason.PAUSED)])
    (line,) = take()
    assert "\x1b" not in line


@pytest.mark.parametrize("style", ["human", "json"])
def test_a_line_is_no_longer_than_can_be_read(lines, style):
    take = lines(style)
    logging.getLogger("controller").warning("%s", "x" * 3_000_000, extra={"fields": {"advice": "y" * 3_000_000}})
    (line,) = take()
    assert len(line) < 3000


@pytest.mark.parametrize("style", ["human", "json"])
def test_what_does_not_print_is_escaped_in_a_traceback_too(lines, style):
    take = lines(style)
    try:
        raise ValueError("\x1b[31m\x9b\u202e")
    except ValueError:
        logging.getLogger("controller").exception("failed")
    assert all(printable(line) == line for line in take())


def test_levels_below_the_one_chosen_are_silent(lines):
    take = lines(level="error")
    EventLog().actions([GROW], {})
    assert take() == []


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (513 * MIB, "512 MiB -> 513 MiB (+1 MiB)"),
        (511 * MIB, "512 MiB -> 511 MiB (-1 MiB)"),
        (513 * MIB - 1, "stays at 513 MiB"),
        (511 * MIB + 1, "stays at 511 MiB"),
    ],
)
def test_a_change_is_told_from_a_mebibyte_on(after, text):
    assert change(512 * MIB, after) == text


@pytest.mark.parametrize(("size", "text"), [(None, "-"), (0, "0 MiB"), (1.5 * MIB, "2 MiB"), (4096 * MIB, "4096 MiB")])
def test_sizes_are_shown_in_mib(size, text):
    assert mib(size) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [
        *[(None, "-"), (-1, "0s"), (4.4, "4s"), (59.4, "59s"), (59.6, "1m00s"), (125, "2m05s")],
        *[(3599, "59m59s"), (3600, "1h00m"), (12000, "3h20m"), (90000, "25h00m")],
    ],
)
def test_times_are_shown_short(span, text):
    assert seconds(span) == text

"""What is logged: one line an event, nothing for what did not change."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from controller.engine.decision import Action, Notice
from controller.engine.reasons import Reason
from controller.observe.journal import Journal
from controller.observe.log import configure
from controller.observe.text import mib, seconds

MIB = 2**20
GROW = Action(0, "u1", "web", 512 * MIB, 768 * MIB, Reason.FORECAST_GROW)


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
    Journal().actions([GROW], {})
    (line,) = map(json.loads, take())
    assert line["message"] == ("web: 512 MiB -> 768 MiB (+256 MiB): forecast demand needs more memory [ForecastGrow]")
    assert (line["event"], line["domain"], line["key"]) == ("action", "web", "u1")
    assert (line["from_mib"], line["to_mib"], line["reason"]) == (512, 768, "ForecastGrow")


def test_a_proposal_says_that_nothing_was_done(lines):
    take = lines()
    Journal().proposals([GROW])
    (line,) = map(json.loads, take())
    assert line["message"].startswith("web: would change 512 MiB -> 768 MiB (+256 MiB): ")
    assert line["event"] == "proposal"


def test_a_refusal_takes_the_place_of_the_action_and_is_said_once_until_it_changes(lines):
    take = lines()
    journal = Journal()
    for message in ("busy", "busy", "gone"):
        journal.actions([GROW], {"u1": message})
    assert [json.loads(line)["error"] for line in take()] == ["busy", "gone"]


def test_a_refusal_is_said_again_after_a_success(lines):
    take = lines()
    journal = Journal()
    journal.actions([GROW], {"u1": "busy"})
    journal.actions([GROW], {})
    journal.actions([GROW], {"u1": "busy"})
    assert [json.loads(line)["event"] for line in take()] == ["refusal", "action", "refusal"]


def test_a_notice_is_one_line_and_a_warning_where_someone_should_act(lines):
    take = lines()
    Journal().notices([Notice("u1", "web", Reason.STUCK), Notice("u2", "db", Reason.PAUSED)])
    stuck, paused = map(json.loads, take())
    assert (stuck["level"], stuck["reason"], stuck["domain"]) == ("warning", "Stuck", "web")
    assert (paused["level"], paused["message"]) == ("info", "db: the domain is paused [Paused]")


def test_conflicts_and_policies_that_select_nothing_are_said_when_they_begin(lines):
    take = lines()
    journal = Journal()
    names = {"u1": "web"}
    for _ in range(2):
        journal.ownership(names, {"second": ("u1",)}, ("idle",))
    conflict, unmatched = map(json.loads, take())
    assert (conflict["event"], conflict["policy"], conflict["domain"]) == ("conflict", "second", "web")
    assert (unmatched["event"], unmatched["policy"]) == ("unmatched", "idle")
    journal.ownership(names, {}, ())
    journal.ownership(names, {"second": ("u1",)}, ())
    assert [json.loads(line)["event"] for line in take()] == ["conflict"]


def test_a_look_that_changed_nothing_leaves_no_line(lines):
    take = lines(level="debug")
    journal = Journal()
    journal.notices([])
    journal.proposals([])
    journal.actions([], {})
    assert take() == []


def test_human_lines_have_time_level_and_message(lines):
    take = lines("human")
    Journal().notices([Notice("u2", "db", Reason.PAUSED)])
    (line,) = take()
    assert line[19:] == " INFO db: the domain is paused [Paused]"


def test_the_journal_of_systemd_writes_the_time_itself(lines, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    take = lines("human")
    Journal().notices([Notice("u2", "db", Reason.PAUSED)])
    assert take() == ["INFO db: the domain is paused [Paused]"]


@pytest.mark.parametrize("style", ["human", "json"])
def test_a_name_cannot_forge_a_line(lines, style):
    take = lines(style)
    Journal().notices([Notice("u2", "db\nERROR \x1b[31mforged", Reason.PAUSED)])
    (line,) = take()
    assert "\x1b" not in line


def test_levels_below_the_one_chosen_are_silent(lines):
    take = lines(level="error")
    Journal().actions([GROW], {})
    assert take() == []


@pytest.mark.parametrize(("size", "text"), [(None, "-"), (0, "0 MiB"), (1.5 * MIB, "2 MiB"), (4096 * MIB, "4096 MiB")])
def test_sizes_are_shown_in_mib(size, text):
    assert mib(size) == text


@pytest.mark.parametrize(
    ("span", "text"), [(None, "-"), (-1, "0s"), (4.4, "4s"), (59.6, "1m00s"), (125, "2m05s"), (12000, "3h20m")]
)
def test_times_are_shown_short(span, text):
    assert seconds(span) == text

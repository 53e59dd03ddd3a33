"""What is said of a failure that lasts, and how long the next try waits. Chance is in the test's hands."""

import threading

import pytest

from controller.cluster import retry as retry_module
from controller.cluster.errors import of_status, refused
from controller.cluster.retry import FIRST_S, LONGEST_S, ODD, ODD_S, Retry, part_of, spread
from controller.cluster.worker import DEFECT_S, DEFECTS, Worker


class Chance:
    """Stands in for `random` and `time`: the middle of whatever is asked for, at a time that is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []
        self.now = 1000.0

    def uniform(self, low: float, high: float) -> float:
        self.asked.append((low, high))
        return (low + high) / 2

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def chance(monkeypatch) -> Chance:
    made = Chance()
    monkeypatch.setattr(retry_module, "random", made)
    monkeypatch.setattr(retry_module, "time", made)
    return made


def test_pauses_double_up_to_the_longest_and_begin_anew_when_it_has_worked(chance):
    retry = Retry("it")
    assert [retry.failed("Away", "x") for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, LONGEST_S, LONGEST_S]
    retry.worked()
    assert retry.failed("Away", "x") == FIRST_S == 1.0
    assert set(chance.asked) == {(0.5, 1.5)}


@pytest.mark.usefixtures("chance")
def test_a_longest_pause_may_be_chosen():
    retry = Retry("it", longest_s=3.0)
    assert [retry.failed("Away", "x") for _ in range(4)] == [1.0, 2.0, 3.0, 3.0]


@pytest.mark.usefixtures("chance")
def test_a_server_that_asks_for_more_time_gets_it():
    retry = Retry("it")
    assert retry.failed("Busy", "x", at_least_s=7.0) == 7.0
    assert retry.failed("Busy", "x", at_least_s=1.0) == 2.0


@pytest.mark.usefixtures("chance")
def test_of_each_kind_the_first_failure_is_said_and_its_end_once(caplog):
    caplog.set_level("INFO", "controller")
    retry = Retry("it")
    for kind in ("Away", "Away", "Refused", "Away"):
        retry.failed(kind, kind.lower())
    assert retry.problem == "it: away"
    assert (retry.worked(), retry.worked()) == (True, False)
    assert retry.problem == ""
    retry.failed("Away", "away again")
    assert caplog.messages == [
        "it: away; tried again until it works",
        "it: refused; tried again until it works",
        "it: works again",
        "it: away again; tried again until it works",
    ]


def test_answers_in_between_do_not_end_a_failure_that_comes_now_and_then(chance, caplog):
    caplog.set_level("INFO", "controller")
    retry = Retry("it")
    pauses = []
    for _ in range(3):
        pauses.append(retry.failed(ODD, "HTML"))
        chance.now += ODD_S - 1
        retry.worked()
    assert pauses == [1.0, 2.0, 4.0]
    assert caplog.messages == ["it: HTML; tried again until it works", "it: works again"]
    chance.now += 1
    retry.worked()
    assert retry.failed(ODD, "HTML") == FIRST_S
    assert caplog.messages[-1] == "it: HTML; tried again until it works"


@pytest.mark.usefixtures("chance")
def test_other_failures_than_that_are_said_anew(caplog):
    retry = Retry("it")
    retry.failed(ODD, "HTML")
    retry.failed("Away", "away")
    retry.worked()
    retry.failed("Away", "away")
    assert caplog.messages.count("it: away; tried again until it works") == 2


def test_times_are_spread_by_a_fifth_and_parts_taken_of_the_whole(chance):
    assert (spread(100.0), spread(100.0, 0.5), part_of(3.0)) == (100.0, 100.0, 1.5)
    assert chance.asked == [(0.8, 1.2), (0.5, 1.5), (0.0, 3.0)]


def test_a_thread_that_meets_a_defect_rests_before_it_goes_on(monkeypatch):
    monkeypatch.setattr("controller.cluster.worker.spread", lambda seconds: seconds)

    def turn() -> float:
        raise KeyError

    assert Worker("it", turn)._once() == DEFECT_S
    assert Worker("it", lambda: 3.0)._once() == 3.0


def test_no_more_defects_are_said_than_a_log_bears(caplog):
    made = [type(f"Defect{number}", (Exception,), {}) for number in range(DEFECTS + 2)]
    turns = iter(made)

    def turn() -> float:
        raise next(turns)

    worker = Worker("it", turn)
    for _ in made:
        worker._once()
    assert len(caplog.records) == DEFECTS


def test_the_end_of_a_thread_interrupts_what_it_waits_for():
    hold, began = threading.Event(), threading.Event()

    def turn() -> float:
        began.set()
        hold.wait()
        return 60.0

    with Worker("it", turn, hold.set) as worker:
        assert began.wait(10)
        assert not worker.stopped
    assert worker.stopped
    assert not worker._thread.is_alive()


@pytest.mark.parametrize(("code", "status"), [(99, 500), (100, 100), (404, 404), (999, 999), (1000, 500)])
def test_a_status_is_one_of_http(code, status):
    assert of_status({"code": code}).status == status


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"code": 404}, "NotFound (404 NotFound)"),
        ({"code": 404, "reason": "Gone away"}, "Gone away (404 Gone away)"),
        ({"code": 799}, "Unknown (799 Unknown)"),
        ({"code": 404, "message": " no such pod \n"}, "no such pod (404 NotFound)"),
    ],
)
def test_what_a_server_leaves_out_of_an_error_is_made_up(said, shown):
    assert str(of_status(said)) == shown


def test_words_and_messages_of_a_server_are_cut_where_people_stop_reading():
    error = of_status({"code": 404, "reason": "r" * 65, "message": "m" * 513})
    assert (len(error.reason.encode()), error.reason[:61]) == (64, "r" * 61)
    assert error.message.startswith("m" * 509)
    assert "m" * 512 not in error.message
    kept = of_status({"code": 404, "reason": "r" * 64, "message": "m" * 512})
    assert (kept.reason, kept.message) == ("r" * 64, f"{'m' * 512} (404 {'r' * 64})")


def test_of_a_page_of_a_proxy_the_beginning_is_shown():
    assert refused(502, b"<" * 500).message == f"{'<' * 200} (502 BadGateway)"


@pytest.mark.parametrize(
    ("seconds", "pause"), [(0, 0.0), (1.5, 1.5), ("2", 2.0), (60, 60.0), (61, 60.0), (-1, 0.0), (True, 0.0)]
)
def test_a_pause_that_a_status_asks_for_is_bounded(seconds, pause):
    assert of_status({"code": 429, "details": {"retryAfterSeconds": seconds}}).retry_after_s == pause
    assert of_status({"code": 429, "details": {"retryAfterSeconds": 9}}, "4").retry_after_s == 4.0


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (409, "conflict"),
        (410, "gone"),
    ],
)
def test_errors_are_told_apart(code, name):
    names = ("unreachable", "unauthorized", "forbidden", "not_found", "conflict", "gone")
    assert [each for each in names if getattr(of_status({"code": code}), each)] == [name]

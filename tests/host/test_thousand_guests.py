"""A thousand guests of which fifty hang: what does not wait for them, ends. How long it takes is for `./hack/bench`."""

from collections.abc import Iterator

import pytest

from benchmarks.away import EACH, GOAL_S, GUESTS, HangingCrowd, hanging_crowd
from controller.engine.snapshot import OrderOutcome, OrderResult, RunState
from controller.host import connection, periods
from controller.host.calls import LIMIT, MOST_HANGING
from controller.host.looker import LOOK_S
from controller.host.mover import MOVE_S, ORDERS_AT_ONCE
from lab.daemons import until
from lab.fake_libvirt import key_of


@pytest.fixture
def crowd(tmp_path) -> Iterator[HangingCrowd]:
    with hanging_crowd(tmp_path) as crowd:
        yield crowd


def test_the_deadlines_of_a_turn_are_less_than_five_seconds_together():
    assert sum(LOOK_S) + MOVE_S < GOAL_S


@pytest.mark.slow
def test_turns_end_while_guests_hang_and_know_that_those_do(crowd):
    crowd.hang()
    for _ in range(3):
        crowd.loop.iterate()
    run_state = crowd.status_store.latest.state.observation.run_state
    assert {*run_state[::EACH]} == {RunState.UNRESPONSIVE}


@pytest.mark.slow
def test_guests_that_answer_are_seen_and_moved_while_more_hang_than_one_connection_bears(crowd):
    hung = crowd.domains[:2] + crowd.domains[500:504]
    assert LIMIT < len(hung) < MOST_HANGING
    for domain in hung:
        domain.answers.clear()
    healthy = [key_of(domain) for domain in crowd.domains if domain not in hung]

    def seen() -> bool:
        rows = crowd.rows
        samples = crowd.host.look(rows)
        running = {*samples.rows[samples.run_state == RunState.RUNNING].tolist()}
        return running >= {rows[key] for key in healthy}

    until(seen, 30, "all that answer are seen")
    late = crowd.host.apply([each for each in crowd.orders() if each.key in healthy])
    answers: dict[str, tuple[OrderResult, str]] = {}
    until(lambda: answers.update(crowd.host.drain_answers()) or len(answers) == len(late), 30, "all have answered")
    assert [len(domain.set) for domain in crowd.domains] == [int(domain not in hung) for domain in crowd.domains]


def test_orders_behind_those_that_hang_go_on_when_qemu_answers(crowd):
    crowd.hang()
    outcomes: tuple[OrderOutcome, ...] = crowd.host.apply(crowd.orders())
    healthy_before_the_last_that_hangs = (ORDERS_AT_ONCE - 1) * (EACH - 1)
    assert GUESTS - len(outcomes) == healthy_before_the_last_that_hangs
    assert {each.result for each in outcomes} == {OrderResult.UNKNOWN}
    for domain in crowd.domains:
        domain.answers.set()
    answers: dict[str, tuple[OrderResult, str]] = {}
    until(lambda: answers.update(crowd.host.drain_answers()) or len(answers) == len(outcomes), 30, "all have answered")
    assert set(answers.values()) == {(OrderResult.DONE, "")}
    assert [len(domain.set) for domain in crowd.domains] == [1] * GUESTS


def test_orders_that_wait_are_not_sent_when_ballast_ends(crowd):
    crowd.hang()
    crowd.host.apply(crowd.orders())
    crowd.host.close()
    for domain in crowd.domains:
        domain.answers.set()
    sent = ORDERS_AT_ONCE + (ORDERS_AT_ONCE - 1) * (EACH - 1)
    until(lambda: sum(len(domain.set) for domain in crowd.domains) >= sent, 30, "what was sent is taken")
    assert sum(len(domain.set) for domain in crowd.domains) == sent


@pytest.mark.slow
def test_the_periods_of_all_that_answer_are_put_back_in_the_end(crowd, monkeypatch):
    monkeypatch.setattr(periods, "CLOSING_SET_S", 0.2)  # 7 s with the second that it is, 50 of which hang
    monkeypatch.setattr(periods, "CLOSING_S", 100.0)  # a busy machine takes longer for the 950
    monkeypatch.setattr(connection, "CLOSE_S", 200.0)
    crowd.loop.iterate()
    until(lambda: all(domain.period for domain in crowd.domains), 30, "periods are set")
    crowd.hang()
    crowd.host.look(crowd.rows)
    crowd.loop.release()
    crowd.host.close()
    assert [domain for domain in crowd.domains if domain.period] == crowd.hung

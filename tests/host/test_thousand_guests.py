"""A thousand guests of which fifty hang: the loop is never away for longer than five seconds. Time is real."""

import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.recorded import OnePolicy
from controller.api.policy import MemoryPolicy
from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.engine.snapshot import Life, Outcome, Result
from controller.host import periods
from controller.host.calls import LIMIT, MOST_HANGING
from controller.host.connection import CLOSE_SECONDS, Keeping
from controller.host.host import Host
from controller.host.mover import ORDERS_AT_ONCE
from controller.loop.clock import SystemClock
from controller.loop.control import ControlLoop
from controller.observe.board import Board
from lab.daemons import until
from lab.fake_libvirt import FakeDomain, FakeHandle

MIB = 2**20
AWAY_SECONDS = 5.0
GUESTS, EACH = 1000, 20
"""Of which every twentieth hangs, from the first on."""
KB = {"MemTotal": 512 * 2**20, "MemAvailable": 256 * 2**20, "SwapTotal": 0, "SwapFree": 0}
HEAD = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "all"}}


class Crowd:
    """The guests, and Ballast as it is from its loop to its libvirt calls."""

    def __init__(self, host: Host, domains: list[FakeDomain]) -> None:
        self.host, self.domains = host, domains
        clock = SystemClock()
        policy = MemoryPolicy.model_validate(HEAD | {"spec": {"mode": "Enforce"}})
        self.loop = ControlLoop(host, OnePolicy(policy), clock, Board("node", clock.monotonic))

    @property
    def keys(self) -> list[str]:
        return [domain.UUIDString() for domain in self.domains]

    @property
    def hung(self) -> list[FakeDomain]:
        return self.domains[::EACH]

    def hang(self) -> None:
        for domain in self.hung:
            domain.answers.clear()

    def orders(self) -> tuple[Action, ...]:
        return tuple(
            Action(row, domain.UUIDString(), domain.name(), 128 * MIB, 200 * MIB, Reason.FORECAST_GROW)
            for row, domain in enumerate(self.domains)
        )


@pytest.fixture
def crowd(tmp_path) -> Iterator[Crowd]:
    (tmp_path / "meminfo").write_text("".join(f"{name}: {size} kB\n" for name, size in KB.items()))
    domains = [FakeDomain(number) for number in range(GUESTS)]
    for domain in domains:
        domain.period = 0
    host = Host(["fake:///"], tmp_path, keeping=Keeping(open_handle=lambda _uri: FakeHandle(*domains)))
    host.start()
    yield Crowd(host, domains)
    for domain in domains:
        domain.answers.set()
    host.close()


def away(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_no_turn_takes_longer_than_five_seconds(crowd):
    crowd.hang()
    assert max(away(crowd.loop.iterate) for _ in range(3)) < AWAY_SECONDS


def test_a_look_and_the_orders_after_it_take_less_than_five_seconds_together(crowd):
    crowd.hang()
    assert away(lambda: (crowd.host.look(crowd.keys), crowd.host.apply(crowd.orders()))) < AWAY_SECONDS


def test_those_that_answer_are_seen_and_moved_while_more_hang_than_one_connection_bears(crowd):
    hung = crowd.domains[:2] + crowd.domains[500:504]
    assert LIMIT < len(hung) < MOST_HANGING
    for domain in hung:
        domain.answers.clear()
    healthy = [domain.UUIDString() for domain in crowd.domains if domain not in hung]

    def seen() -> bool:
        look = crowd.host.look(crowd.keys)
        lives = dict(zip(look.keys, look.life, strict=True))
        return all(lives.get(key) == Life.RUNNING for key in healthy)

    until(seen, 30, "all that answer are seen")
    assert crowd.host.apply([each for each in crowd.orders() if each.key in healthy]) == ()


def test_orders_behind_those_that_hang_go_on_when_qemu_answers(crowd):
    crowd.hang()
    outcomes: list[Outcome] = []
    assert away(lambda: outcomes.extend(crowd.host.apply(crowd.orders()))) < AWAY_SECONDS - 3
    healthy_before_the_last_that_hangs = (ORDERS_AT_ONCE - 1) * (EACH - 1)
    assert GUESTS - len(outcomes) == healthy_before_the_last_that_hangs
    assert {each.result for each in outcomes} == {Result.UNKNOWN}
    for domain in crowd.domains:
        domain.answers.set()
    answers: dict[str, tuple[Result, str]] = {}
    until(lambda: answers.update(crowd.host.drain_answers()) or len(answers) == len(outcomes), 30, "all have answered")
    assert set(answers.values()) == {(Result.DONE, "")}
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


def test_the_periods_of_all_that_answer_are_put_back_in_the_end(crowd, monkeypatch):
    monkeypatch.setattr(periods, "CLOSING_SET_SECONDS", 0.2)  # 7 s with the second that it is, 50 of which hang
    crowd.loop.iterate()
    until(lambda: all(domain.period for domain in crowd.domains), 30, "periods are set")
    crowd.hang()
    crowd.host.look(crowd.keys)
    crowd.loop.release()
    assert away(crowd.host.close) < CLOSE_SECONDS
    assert [domain for domain in crowd.domains if domain.period] == crowd.hung

"""Looks that hang, break, or find domains gone. The fake hangs where a stopped QEMU does."""

import math
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from queue import SimpleQueue

import libvirt
import pytest

from controller.engine.inventory import Pod
from controller.engine.snapshot import RunState
from controller.host import looker as looker_module
from controller.host.calls import LIMIT, NUDGE_S, wait_any
from controller.host.looker import AT_ONCE, HELD_S, LOOK_S, SHARED_S, Looker
from controller.host.unavailable import UnavailableDomains
from lab.daemons import until
from lab.fake_libvirt import REPLY, SOURCE, WITHOUT_JOB, FakeDomain, FakeHandle, error, key_of

SECONDS = (0.1, 10.0, 10.0)
"""A first deadline short enough to wait for; the others are never reached unless all calls hang."""


def lives(look) -> dict[str, RunState]:
    return {key: RunState(run_state) for key, run_state in zip(look.keys, look.run_state, strict=True)}


@pytest.fixture
def domains() -> list[FakeDomain]:
    return [FakeDomain(number) for number in (1, 2, 3)]


def test_all_domains_are_one_call(connect, domains):
    handle = FakeHandle(*domains)
    look = Looker({SOURCE: connect(handle)}, UnavailableDomains()).look([key_of(domain) for domain in domains])
    assert handle.bulk_calls == [["guest1", "guest2", "guest3"]]
    assert set(lives(look).values()) == {RunState.RUNNING}


def test_only_what_is_due_is_asked(connect, domains):
    handle = FakeHandle(*domains)
    Looker({SOURCE: connect(handle)}, UnavailableDomains()).look([key_of(domains[1])])
    assert handle.bulk_calls == [["guest2"]]


def test_nothing_due_is_no_call(connect, domains):
    handle = FakeHandle(*domains)
    assert Looker({SOURCE: connect(handle)}, UnavailableDomains()).look([]).keys == ()
    assert handle.bulk_calls == []


def test_a_hanging_domain_does_not_hide_the_others(connect, domains):
    domains[1].answers.clear()
    handle, unavailable, began = FakeHandle(*domains), UnavailableDomains(), time.monotonic()
    look = Looker({SOURCE: connect(handle)}, unavailable, seconds=SECONDS).look(map_keys(domains))
    assert list(lives(look).values()) == [RunState.RUNNING, RunState.UNRESPONSIVE, RunState.RUNNING]
    assert unavailable.unresponsive == {key_of(domains[1])}
    assert len(handle.bulk_calls) == 2
    assert time.monotonic() - began < 5


def map_keys(domains: list[FakeDomain]) -> list[str]:
    return [key_of(domain) for domain in domains]


def test_two_hanging_domains_do_not_hide_the_third(connect, domains):
    domains[0].answers.clear()
    domains[1].answers.clear()
    looker = Looker({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(), seconds=(0.1, 0.1, 10.0))
    look = looker.look(map_keys(domains))
    assert list(lives(look).values()) == [RunState.UNRESPONSIVE, RunState.UNRESPONSIVE, RunState.RUNNING]


def test_a_domain_that_is_known_to_hang_costs_one_call_and_no_waiting(connect, domains):
    domains[1].answers.clear()
    handle = FakeHandle(*domains)
    looker = Looker({SOURCE: connect(handle)}, UnavailableDomains(), seconds=SECONDS)
    looker.look(map_keys(domains))
    handle.bulk_calls.clear()
    looker._seconds = (10.0,)
    began = time.monotonic()
    looker.look(map_keys(domains))
    assert len(handle.bulk_calls) == 1
    assert time.monotonic() - began < HELD_S


def test_a_domain_that_answers_again_is_looked_at_again(connect, domains):
    domains[1].answers.clear()
    unavailable = UnavailableDomains()
    looker = Looker({SOURCE: connect(FakeHandle(*domains))}, unavailable, seconds=SECONDS)
    looker.look(map_keys(domains))
    domains[1].answers.set()
    with domains[1].job:  # the call that was left behind has returned
        pass
    assert set(lives(looker.look(map_keys(domains))).values()) == {RunState.RUNNING}
    assert unavailable.unresponsive == set()


class SlowHandle(FakeHandle):
    """Its bulk calls return when they are let, in the order in which they were made."""

    def __init__(self, *domains: FakeDomain) -> None:
        super().__init__(*domains)
        self.gates: SimpleQueue[threading.Event] = SimpleQueue()

    def domainListGetStats(self, domains, groups, flags):  # noqa: N802 - libvirt's name
        gate = threading.Event()
        self.gates.put(gate)
        replies = super().domainListGetStats(domains, groups, flags)
        assert gate.wait(10)
        return replies

    def let(self) -> None:
        """The oldest call returns."""
        self.gates.get(timeout=10).set()


@pytest.fixture
def slow(connect, domains):
    """A libvirt whose first look is over before it answers, who looks at it, and what wakes the loop."""
    handle, woken = SlowHandle(*domains), threading.Semaphore(0)
    looker = Looker({SOURCE: connect(handle, wake=woken.release)}, UnavailableDomains(), seconds=(0.01,))
    assert woken.acquire(timeout=10)  # it is connected
    return handle, looker, woken


def test_a_late_answer_wakes_the_loop_and_is_used_by_the_next_look(slow, domains):
    handle, looker, woken = slow
    assert set(lives(looker.look(map_keys(domains))).values()) == {RunState.UNRESPONSIVE}
    handle.let()
    assert woken.acquire(timeout=10)
    assert set(lives(looker.look(map_keys(domains))).values()) == {RunState.RUNNING}
    assert len(handle.bulk_calls) == 1


def test_of_a_late_answer_only_what_is_asked_for_is_used(slow, domains):
    handle, looker, woken = slow
    looker.look(map_keys(domains))
    handle.let()
    assert woken.acquire(timeout=10)
    assert looker.look([key_of(domains[0])]).keys == (key_of(domains[0]),)


def test_a_slow_libvirt_is_not_asked_again_before_it_has_answered(slow, domains):
    handle, looker, woken = slow
    looker.look(map_keys(domains))
    handle.let()
    assert woken.acquire(timeout=10)
    looker.look(map_keys(domains))
    assert looker.look(map_keys(domains)).keys == ()
    assert looker.look(map_keys(domains)).keys == ()
    assert len(handle.bulk_calls) == 2
    assert "libvirt answers, but late" in looker._connections[SOURCE].error()
    handle.let()
    assert woken.acquire(timeout=10)
    assert set(lives(looker.look(map_keys(domains))).values()) == {RunState.RUNNING}


def test_a_slow_libvirt_is_asked_once_and_gets_all_the_time_that_a_look_has(connect, domains):
    handle = FakeHandle(*domains)
    connection = connect(handle)
    connection.link.calls.slow = True
    looker = Looker({SOURCE: connection}, UnavailableDomains(), seconds=(0.0, 0.0, 10.0))
    assert set(lives(looker.look(map_keys(domains))).values()) == {RunState.RUNNING}
    assert len(handle.bulk_calls) == 1


class WaitingTime:
    """Stands in for `time` in the looker: it passes while calls are waited for, and only then; none of them ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        monkeypatch.setattr(looker_module, "time", self)
        monkeypatch.setattr(looker_module, "wait_any", self.wait)

    def monotonic(self) -> float:
        return self.passed

    def wait(self, _calls: object, seconds: float) -> None:
        self.passed += seconds


def starts(connection, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The calls that it is told to start."""
    calls, started = connection.link.calls, []
    start = calls.start
    monkeypatch.setattr(calls, "start", lambda *given: started.append(given) or start(*given))
    return started


def test_a_look_whose_calls_all_hang_takes_its_deadlines_and_no_longer(connect, domains, monkeypatch):
    for domain in domains:
        domain.answers.clear()
    connection = connect(FakeHandle(*domains))
    asked, time_ = starts(connection, monkeypatch), WaitingTime(monkeypatch)
    look = Looker({SOURCE: connection}, UnavailableDomains(), seconds=(2.0, 1.0, 0.5)).look(map_keys(domains))
    assert lives(look) == dict.fromkeys(map_keys(domains), RunState.UNRESPONSIVE)
    assert (time_.passed, len(asked)) == (pytest.approx(3.5), 3)


@pytest.fixture
def shared(connect) -> tuple[Looker, FakeDomain, FakeDomain]:
    """Two connections with a domain each; the second one's hangs."""
    fine, hung = FakeDomain(1), FakeDomain(2)
    connections = {"a": connect(FakeHandle(fine), "a"), "b": connect(FakeHandle(hung), "b")}
    hung.answers.clear()
    return Looker(connections, UnavailableDomains(), seconds=(0.5, 10.0, 10.0)), fine, hung


@pytest.mark.parametrize("slow", [False, True])
def test_a_connection_that_hangs_keeps_the_others_guests_waiting_for_a_moment_only(shared, monkeypatch, slow):
    looker, fine, hung = shared
    looker._connections["b"].link.calls.slow = slow
    time_ = WaitingTime(monkeypatch)
    wait = time_.wait

    def both(calls, seconds):
        calls = list(calls)
        wait(calls, seconds)
        wait_any(calls, 10.0 if len(calls) > 1 else 0.1)  # the one that answers has its time, on a busy machine, too

    monkeypatch.setattr(looker_module, "wait_any", both)
    assert lives(looker.look([key_of(fine, "a"), key_of(hung, "b")])) == {key_of(fine, "a"): RunState.RUNNING}
    assert time_.passed <= SHARED_S + NUDGE_S


@pytest.fixture
def crowd(connect) -> tuple[Looker, list[FakeDomain]]:
    """Many connections with a domain each."""
    domains = [FakeDomain(number) for number in range(4 * AT_ONCE)]
    connections = {str(domain.ID()): connect(FakeHandle(domain), str(domain.ID())) for domain in domains}
    return Looker(connections, UnavailableDomains()), domains


def test_many_connections_are_asked_by_a_few_threads(crowd, monkeypatch):
    monkeypatch.setattr(looker_module, "SLOW_START_S", 10.0)
    looker, domains = crowd
    awaited, lock, running, most = threading.Event(), threading.Lock(), set(), []
    ask = looker_module._ask

    def counted(question):
        with lock:
            running.add(question)
            most.append(len(running))
        assert awaited.wait(10)
        with lock:
            running.remove(question)
        return ask(question)

    monkeypatch.setattr(looker_module, "_ask", counted)
    monkeypatch.setattr(looker_module, "wait_any", lambda *waited: awaited.set() or wait_any(*waited))
    keys = [key_of(domain, str(domain.ID())) for domain in domains]
    assert lives(looker.look(keys)) == dict.fromkeys(keys, RunState.RUNNING)
    assert max(most) <= AT_ONCE


def test_connections_that_hang_keep_none_from_being_asked(crowd):
    looker, domains = crowd
    for domain in domains[:-1]:
        domain.answers.clear()
    keys = [key_of(domain, str(domain.ID())) for domain in domains]
    assert lives(looker.look(keys)) == {keys[-1]: RunState.RUNNING}


def test_only_a_connection_that_is_waited_for_is_helped_on(shared):
    looker, fine, hung = shared
    helped = []
    for name, connection in looker._connections.items():
        connection.link.calls._nudge = partial(helped.append, name)
    looker.look([key_of(fine, "a"), key_of(hung, "b")])
    until(lambda: set(helped) != set(), 10, "somebody is")
    assert set(helped) == {"b"}


def test_a_connection_that_others_did_not_wait_for_is_asked_again_and_then_hangs(shared):
    looker, fine, hung = shared
    keys = [key_of(fine, "a"), key_of(hung, "b")]
    handle = looker._connections["b"].link.handle
    seen, calls = [], []

    def told() -> bool:
        seen.append(lives(looker.look(keys)))
        calls.append(len(handle.bulk_calls))
        return keys[1] in seen[-1]

    until(told, 10, "it counts as hanging")
    assert seen[-1] == {keys[0]: RunState.RUNNING, keys[1]: RunState.UNRESPONSIVE}
    assert all(before == {keys[0]: RunState.RUNNING} for before in seen[:-1])
    assert (calls[0], max(calls)) == (1, 2)


def test_a_guest_that_others_did_not_wait_for_tells_in_a_later_look(shared):
    looker, fine, hung = shared
    keys = [key_of(fine, "a"), key_of(hung, "b")]
    looker._seconds = (10.0,)  # it takes less than that
    assert lives(looker.look(keys)).keys() == {keys[0]}
    hung.answers.set()
    until(lambda: lives(looker.look(keys)).get(keys[1]) == RunState.RUNNING, 10, "its answer is used")
    link = looker._connections["b"].link
    assert (len(link.handle.bulk_calls) <= 2, link.calls.slow) == (True, False)


def test_a_connection_that_is_gone_is_no_loss(shared):
    looker, fine, hung = shared
    connections = looker._connections
    looker._unavailable.unresponsive = {key_of(hung, "b")}
    del connections["b"]
    look = looker.look([key_of(fine, "a"), key_of(hung, "b")])
    assert lives(look) == {key_of(fine, "a"): RunState.RUNNING}
    assert looker._unavailable.unresponsive == set()


@pytest.mark.parametrize("end", [lambda connections: connections.pop("b"), lambda connections: lose(connections["b"])])
def test_a_connection_that_ends_as_it_is_to_be_asked_tells_nothing_of_its_guests(shared, monkeypatch, end):
    looker, fine, hung = shared
    collect = looker._collect

    def ends(pending) -> bool:
        if "b" in looker._connections:
            end(looker._connections)
        return collect(pending)

    monkeypatch.setattr(looker, "_collect", ends)
    assert lives(looker.look([key_of(fine, "a"), key_of(hung, "b")])) == {key_of(fine, "a"): RunState.RUNNING}
    assert looker._unavailable.unresponsive == set()


def lose(connection) -> None:
    connection.link = None


def test_what_a_false_libvirt_tells_of_others_and_in_words_is_not_heard(connect, domains, monkeypatch):
    handle = FakeHandle(*domains)
    looker = Looker({SOURCE: connect(handle)}, UnavailableDomains())
    passed_over = {name: REPLY[name] for name in WITHOUT_JOB}
    replies = [(domains[0], {**REPLY, "balloon.current": "much"}), (domains[1], passed_over)]
    monkeypatch.setattr(handle, "domainListGetStats", lambda *_: replies)
    look = looker.look([key_of(domains[0])])
    assert lives(look) == {key_of(domains[0]): RunState.RUNNING}
    assert math.isnan(look.values[0, 2])


def test_a_libvirt_whose_text_is_none_tells_nothing(connect, domains, monkeypatch):
    handle = FakeHandle(*domains)
    looker = Looker({SOURCE: connect(handle)}, UnavailableDomains())
    monkeypatch.setattr(handle, "domainListGetStats", lambda *_: b"\xff".decode())
    assert looker.look(map_keys(domains)).keys == ()


def test_a_libvirt_that_answers_in_time_again_is_slow_no_longer(slow, domains):
    handle, looker, woken = slow
    looker.look(map_keys(domains))
    handle.let()
    assert woken.acquire(timeout=10)
    looker.look(map_keys(domains))
    handle.domainListGetStats = super(SlowHandle, handle).domainListGetStats
    looker._seconds = (10.0,)
    looker.look(map_keys(domains))
    assert looker._connections[SOURCE].error() == ""


class StoppedHandle(FakeHandle):
    """A libvirtd that is stopped: once it goes on it takes up all calls at once, and the newest answers first."""

    def __init__(self, *domains: FakeDomain) -> None:
        super().__init__(*domains)
        self.second = threading.Event()
        """The second call has answered."""

    def domainListGetStats(self, domains, groups, flags):  # noqa: N802 - libvirt's name
        asked = list(domains)
        if not self.bulk_calls:
            with asked[0].job:
                self.bulk_calls.append([domain.name() for domain in asked])
                assert self.second.wait(10)
            threading.Event().wait(HELD_S / 6)
            return [(domain, domain.statistics()) for domain in asked]
        replies = super().domainListGetStats(asked, groups, flags)
        self.second.set()
        return replies


def test_a_domain_that_is_passed_over_for_an_earlier_call_of_ours_is_waited_for(connect, domains):
    handle = StoppedHandle(*domains)
    look = Looker({SOURCE: connect(handle)}, UnavailableDomains(), seconds=SECONDS).look(map_keys(domains))
    assert list(lives(look).items()) == [(key, RunState.RUNNING) for key in map_keys(domains)]
    assert len(handle.bulk_calls) == 2


def test_a_late_call_that_passed_a_domain_over_tells_nothing_of_it(connect, domains):
    skipped = {name: REPLY[name] for name in WITHOUT_JOB}
    domains[0].reply = lambda: skipped
    handle, woken = SlowHandle(*domains), threading.Semaphore(0)
    unavailable = UnavailableDomains(unresponsive={key_of(domains[0])})  # it is not asked again by the same call
    looker = Looker({SOURCE: connect(handle, wake=woken.release)}, unavailable, seconds=(0.01, 0.5))
    assert woken.acquire(timeout=10)  # it is connected
    looker.look(map_keys(domains))
    handle.let()
    assert woken.acquire(timeout=10)
    assert list(lives(looker.look(map_keys(domains))).values()) == [RunState.RUNNING] * 2
    assert len(handle.bulk_calls) == 2


def test_a_late_answer_about_a_balloon_that_has_moved_since_is_not_used(connect, domains):
    handle, woken = SlowHandle(*domains), threading.Semaphore(0)
    connection, moved = connect(handle, wake=woken.release), key_of(domains[1])
    looker = Looker(
        {SOURCE: connection},
        UnavailableDomains(),
        seconds=(0.01,),
        moved_at=lambda each: time.monotonic() if each == moved else -math.inf,
    )
    looker.look(map_keys(domains))
    assert woken.acquire(timeout=10)  # it was connected
    handle.let()
    assert woken.acquire(timeout=10)
    assert set(looker.look(map_keys(domains)).keys) == {key_of(domains[0]), key_of(domains[2])}


def test_a_slow_libvirt_that_hangs_is_asked_again(slow, domains, monkeypatch):
    handle, looker, woken = slow
    looker.look(map_keys(domains))
    handle.let()
    assert woken.acquire(timeout=10)
    looker.look(map_keys(domains))
    looker.look(map_keys(domains))
    monkeypatch.setattr(looker_module, "LATE_S", 0.0)
    looker.look(map_keys(domains))
    assert len(handle.bulk_calls) == 3


def test_an_answer_in_time_wakes_nobody(connect, domains):
    woken = threading.Semaphore(0)
    looker = Looker({SOURCE: connect(FakeHandle(*domains), wake=woken.release)}, UnavailableDomains())
    assert woken.acquire(timeout=10)  # it is connected
    looker.look(map_keys(domains))
    assert not woken.acquire(timeout=0.1)


def test_a_libvirt_that_does_not_answer_in_time_is_doubted(slow, domains, monkeypatch):
    _, looker, _ = slow
    doubts = []
    monkeypatch.setattr(looker._connections[SOURCE], "doubt", lambda: doubts.append(1))
    looker.look(map_keys(domains))
    assert doubts == [1]


def test_domains_of_a_connection_that_is_not_open_are_left_out(connect, domains):
    connection = connect(FakeHandle(*domains))
    connection.close()
    look = Looker({SOURCE: connection}, UnavailableDomains()).look(map_keys(domains))
    assert look.keys == ()


def test_what_hung_for_long_is_old_news(slow, domains, monkeypatch):
    handle, looker, woken = slow
    monkeypatch.setattr(looker_module, "LATE_S", 0.0)
    looker.look(map_keys(domains))
    handle.let()
    assert woken.acquire(timeout=10)
    assert set(lives(looker.look(map_keys(domains))).values()) == {RunState.UNRESPONSIVE}


def test_a_hung_call_that_returns_tells_nothing_of_those_that_were_heard_of_meanwhile(connect, domains):
    domains[1].answers.clear()
    woken = threading.Semaphore(0)
    handle = FakeHandle(*domains)
    looker = Looker({SOURCE: connect(handle, wake=woken.release)}, UnavailableDomains(), seconds=SECONDS)
    looker.look(map_keys(domains))
    assert woken.acquire(timeout=10)  # it was connected
    domains[0].reply = dict
    domains[1].answers.set()
    assert woken.acquire(timeout=10)
    handle.bulk_calls.clear()
    looker.look([key_of(domains[0])])
    assert handle.bulk_calls == [["guest1"]]


def test_no_thread_for_a_look_is_no_answer(connect, domains, monkeypatch):
    looker = Looker({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains())

    def no_thread(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert set(lives(looker.look(map_keys(domains))).values()) == {RunState.UNRESPONSIVE}


def test_calls_left_behind_are_bounded_and_then_nothing_is_asked(connect):
    domains = [FakeDomain(number) for number in range(LIMIT + 1)]
    for domain in domains:
        domain.answers.clear()
    handle = FakeHandle(*domains)
    connection = connect(handle)
    looker = Looker({SOURCE: connection}, UnavailableDomains(), seconds=(0.05, 0.05, 0.05))
    for _ in range(3):
        assert set(lives(looker.look(map_keys(domains))).values()) == {RunState.UNRESPONSIVE}
    assert len(handle.bulk_calls) == LIMIT
    assert "too many calls hang" in connection.error()


class PolledHandle(FakeHandle):
    """Somebody else's call holds its first domain while this many bulk calls are made."""

    def __init__(self, *domains: FakeDomain, calls: int) -> None:
        super().__init__(*domains)
        self.calls = calls

    def domainListGetStats(self, domains, groups, flags):  # noqa: N802 - libvirt's name
        self.calls -= 1
        with self.domains[0].job if self.calls >= 0 else nullcontext():
            return super().domainListGetStats(domains, groups, flags)


def test_a_domain_that_another_program_asks_just_now_is_asked_again(connect, domains):
    handle = PolledHandle(*domains, calls=2)
    look = Looker({SOURCE: connect(handle)}, UnavailableDomains()).look(map_keys(domains))
    assert list(lives(look).values()) == [RunState.RUNNING] * 3
    assert handle.bulk_calls == [["guest1", "guest2", "guest3"], ["guest1"], ["guest1"]]


def test_a_domain_that_another_programs_call_holds_is_unresponsive_and_then_costs_no_waiting(connect, domains):
    handle, unavailable = FakeHandle(*domains), UnavailableDomains()
    looker = Looker({SOURCE: connect(handle)}, unavailable)
    with domains[0].job:
        began = time.monotonic()
        assert list(lives(looker.look(map_keys(domains))).values()) == [
            RunState.UNRESPONSIVE,
            RunState.RUNNING,
            RunState.RUNNING,
        ]
        assert HELD_S <= time.monotonic() - began < LOOK_S[0]
        handle.bulk_calls.clear()
        assert lives(looker.look(map_keys(domains)))[key_of(domains[0])] == RunState.UNRESPONSIVE
        assert len(handle.bulk_calls) == 1
    assert lives(looker.look(map_keys(domains)))[key_of(domains[0])] == RunState.RUNNING
    assert unavailable.unresponsive == set()


def test_a_domain_that_a_job_lets_nobody_ask_is_busy(connect, domains):
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_UNBOUNDED
    with domains[0].job:
        look = Looker({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains()).look(map_keys(domains))
    assert list(lives(look).values()) == [RunState.BUSY, RunState.RUNNING, RunState.RUNNING]


def test_a_job_that_another_programs_call_keeps_from_being_asked_about_hangs_nothing(connect, domains, monkeypatch):
    monkeypatch.setattr(domains[0], "jobInfo", lambda: pytest.fail("it waits for the domain"))
    unavailable = UnavailableDomains(in_job={key_of(domains[0])})
    with domains[0].job:
        look = Looker({SOURCE: connect(FakeHandle(*domains))}, unavailable).look(map_keys(domains))
    assert list(lives(look).values()) == [RunState.UNRESPONSIVE, RunState.RUNNING, RunState.RUNNING]


@pytest.mark.parametrize("call", ["jobInfo", "controlInfo"])
def test_a_domain_that_ends_while_it_is_asked_about_a_job_hides_no_other(connect, domains, call, monkeypatch):
    def gone():
        raise error(libvirt.VIR_ERR_NO_DOMAIN, "Domain not found")

    monkeypatch.setattr(domains[0], call, gone)
    handle, unavailable = FakeHandle(*domains), UnavailableDomains(in_job={key_of(domains[0])})
    with domains[0].job if call == "controlInfo" else nullcontext():
        look = Looker({SOURCE: connect(handle)}, unavailable).look(map_keys(domains))
    assert list(lives(look).values())[1:] == [RunState.RUNNING] * 2
    assert unavailable.in_job == set()


def test_a_domain_found_in_a_job_stays_busy_until_the_job_is_over(connect, domains):
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_UNBOUNDED
    unavailable = UnavailableDomains(in_job={key_of(domains[0])})
    looker = Looker({SOURCE: connect(FakeHandle(*domains))}, unavailable)
    assert lives(looker.look(map_keys(domains)))[key_of(domains[0])] == RunState.BUSY
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_NONE
    assert lives(looker.look(map_keys(domains)))[key_of(domains[0])] == RunState.RUNNING
    assert unavailable.in_job == set()


def test_a_domain_that_vanished_is_not_running(connect, domains):
    handle = FakeHandle(*domains)
    looker = Looker({SOURCE: connect(handle)}, UnavailableDomains())
    handle.domains = domains[1:]
    look = looker.look([*map_keys(domains), "never-seen@fake:///"])
    assert lives(look)[key_of(domains[0])] == RunState.NOT_RUNNING
    assert lives(look)["never-seen@fake:///"] == RunState.NOT_RUNNING
    assert lives(look)[key_of(domains[1])] == RunState.RUNNING


def test_a_domain_that_vanished_in_a_job_has_none_any_more(connect, domains):
    unavailable = UnavailableDomains(in_job={"never-seen@fake:///"})
    look = Looker({SOURCE: connect(FakeHandle(*domains))}, unavailable).look(
        ["never-seen@fake:///", key_of(domains[0])]
    )
    assert lives(look) == {"never-seen@fake:///": RunState.NOT_RUNNING, key_of(domains[0]): RunState.RUNNING}
    assert unavailable.in_job == set()


def test_a_call_that_breaks_looks_at_nothing(connect, domains):
    handle = FakeHandle(*domains)
    looker = Looker({SOURCE: connect(handle)}, UnavailableDomains())
    handle.bulk_error = error(libvirt.VIR_ERR_RPC, "connection reset")
    look = looker.look(map_keys(domains))
    assert look.keys == ()


@pytest.mark.parametrize(("pod", "level"), [(None, "WARNING"), (Pod("1234", "prod", "launcher-web"), "INFO")])
def test_a_call_that_breaks_is_a_warning_where_no_pod_ends_with_its_libvirt(connect, domains, caplog, pod, level):
    caplog.set_level("INFO", "controller")
    connection = connect(handle := FakeHandle(*domains))
    connection.source = replace(connection.source, pod=pod)
    handle.bulk_error = error(libvirt.VIR_ERR_RPC, "connection reset")
    Looker({SOURCE: connection}, UnavailableDomains()).look(map_keys(domains))
    told = [(record.levelname, record.message) for record in caplog.records if record.name == looker_module.__name__]
    assert told == [(level, f"{SOURCE}: nothing was looked at: connection reset")]


def test_each_connection_gets_its_own_call(connect):
    mine, yours = FakeDomain(1), FakeDomain(1)
    first, second = FakeHandle(mine), FakeHandle(yours)
    looker = Looker({"a": connect(first, "a"), "b": connect(second, "b")}, UnavailableDomains())
    look = looker.look([key_of(mine, "a"), key_of(yours, "b")])
    assert look.keys == (key_of(mine, "a"), key_of(yours, "b"))
    assert (first.bulk_calls, second.bulk_calls) == ([["guest1"]], [["guest1"]])


def test_a_connection_that_is_down_does_not_hide_the_other(connect, domains):
    looker = Looker(
        {"a": connect(FakeHandle(domains[0]), "a"), "b": connect(down := FakeHandle(), "b")}, UnavailableDomains()
    )
    down.bulk_error = error(libvirt.VIR_ERR_RPC)
    down.domains = [domains[1]]
    look = looker.look([key_of(domains[0], "a")])
    assert look.keys == (key_of(domains[0], "a"),)


def test_a_connection_that_breaks_under_a_look_is_seen_to_at_once(connect, domains):
    connection = connect(handle := FakeHandle(*domains))
    handle.bulk_error, handle.alive = error(libvirt.VIR_ERR_RPC, "connection reset"), False
    Looker({SOURCE: connection}, UnavailableDomains()).look(map_keys(domains))
    until(lambda: connection.link is None, 5, "it is known to be lost")


def test_a_look_at_one_domain_says_nothing_of_the_job_of_another(connect, domains):
    keys = map_keys(domains)
    unavailable = UnavailableDomains(in_job=set(keys[:2]))
    Looker({SOURCE: connect(FakeHandle(*domains))}, unavailable).look(keys[:1])
    assert unavailable.in_job == {keys[1]}

"""Balloon changes. The fake hangs, has jobs and refuses where a real domain cannot be made to at the right moment."""

import threading
import time
from dataclasses import replace

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.engine.snapshot import OrderOutcome, OrderResult
from controller.host import actuators
from controller.host import mover as mover_module
from controller.host.calls import Calls
from controller.host.mover import ORDERS_AT_ONCE, Mover, whole_kib
from controller.host.unavailable import UnavailableDomains
from lab.fake_libvirt import SOURCE, FakeDomain, FakeHandle, error, key_of

MIB = 2**20
KIB = 1024


def action(domain: FakeDomain, target: int, before: int = 128 * MIB, row: int = 0) -> Action:
    return Action(row, key_of(domain), domain.name(), before, target, Reason.FORECAST_GROW)


@pytest.fixture
def domains() -> list[FakeDomain]:
    return [FakeDomain(1), FakeDomain(2)]


def test_the_live_balloon_is_set_in_kib_and_nothing_else(connect, domains):
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains())
    assert mover.apply([action(domains[0], 200 * MIB)]) == ()
    assert domains[0].set == [(200 * KIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)]
    assert domains[1].set == []


@given(before=st.integers(0, 2**40), target=st.integers(0, 2**40), maximum=st.integers(0, 2**40))
def test_rounding_never_overshoots_and_never_passes_the_maximum(before, target, maximum):
    size = whole_kib(Action(0, "key", "name", before, target, Reason.NONE), maximum)
    assert size <= maximum
    if target <= maximum - KIB:
        assert size <= target if target > before else size >= target
        assert abs(size - target) < KIB


def test_a_domain_is_moved_by_its_own_actuator(connect, domains, monkeypatch):
    class Recorder:
        def __init__(self) -> None:
            self.orders: list[tuple[str, int]] = []

        def facts(self, _root, facts):
            return facts if facts.name == domains[1].name() else None

        def order(self, domain, size):
            self.orders.append((domain.name(), size))

    recorder = Recorder()
    monkeypatch.setattr(actuators, "ACTUATORS", (recorder, actuators.BALLOON))
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains())
    assert mover.apply([action(domain, 200 * MIB) for domain in domains]) == ()
    assert [domain.set for domain in domains] == [[(200 * KIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)], []]
    assert recorder.orders == [(domains[1].name(), 200 * MIB)]


def test_a_domain_in_a_job_is_refused_and_remembered(connect, domains):
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_UNBOUNDED
    unavailable = UnavailableDomains()
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, unavailable)
    assert mover.apply([action(domains[0], 200 * MIB, row=5)]) == (
        OrderOutcome(
            5,
            OrderResult.REFUSED,
            "the balloon was not set to 200 MiB: another job (migration, save, snapshot) is running on the domain",
        ),
    )
    assert unavailable.in_job == {key_of(domains[0])}
    assert domains[0].set == []


def test_a_backup_keeps_nobody_from_being_moved(connect, domains):
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_UNBOUNDED
    domains[0].job_operation = libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP
    unavailable = UnavailableDomains()
    assert Mover({SOURCE: connect(FakeHandle(*domains))}, unavailable).apply([action(domains[0], 200 * MIB)]) == ()
    assert domains[0].set == [(200 * KIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)]
    assert unavailable.in_job == set()


def test_a_job_that_is_over_is_none(connect, domains):
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_COMPLETED
    assert (
        Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains()).apply([action(domains[0], 200 * MIB)])
        == ()
    )


def test_a_job_that_ends_while_it_is_asked_about_is_none(connect, domains, monkeypatch):
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_UNBOUNDED
    monkeypatch.setattr(domains[0], "jobStats", lambda: {"type": libvirt.VIR_DOMAIN_JOB_NONE})
    assert (
        Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains()).apply([action(domains[0], 200 * MIB)])
        == ()
    )


def test_a_driver_that_knows_no_jobs_has_none(connect, domains, monkeypatch):
    def unsupported():
        raise error(libvirt.VIR_ERR_NO_SUPPORT, "this function is not supported by the connection driver")

    monkeypatch.setattr(domains[0], "jobInfo", unsupported)
    assert (
        Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains()).apply([action(domains[0], 200 * MIB)])
        == ()
    )


def test_a_domain_of_which_libvirt_cannot_tell_whether_it_has_a_job_is_not_moved(connect, domains, monkeypatch):
    def fails():
        raise error(libvirt.VIR_ERR_INTERNAL_ERROR, "the monitor is gone")

    monkeypatch.setattr(domains[0], "jobInfo", fails)
    (outcome,) = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains()).apply(
        [action(domains[0], 200 * MIB)]
    )
    assert (outcome.result, domains[0].set) == (OrderResult.REFUSED, [])
    assert "the monitor is gone" in outcome.message


def test_one_of_several_connections_keeps_the_others_waiting_for_a_moment_only(connect, monkeypatch):
    monkeypatch.setattr(mover_module, "SHARED_S", 0.01)
    hung, other = FakeDomain(1), FakeDomain(2)
    hung.answers.clear()
    connections = {SOURCE: connect(FakeHandle(hung)), "b": connect(FakeHandle(other), "b")}
    (outcome,) = Mover(connections, UnavailableDomains(), seconds=2.0).apply([action(hung, 200 * MIB)])
    assert outcome.message == "QEMU has not taken the order of 200 MiB within 0.01 s; it may do so yet"


def test_who_is_to_grow_comes_first(connect):
    domains = [FakeDomain(number) for number in range(ORDERS_AT_ONCE + 1)]
    for domain in domains:
        domain.answers.clear()
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(), seconds=0.01)
    *shrinks, grow = (action(domain, (100 if domain.number < ORDERS_AT_ONCE else 200) * MIB) for domain in domains)
    mover.apply([*shrinks, grow])
    domains[-1].answers.set()
    assert drained(mover, 1) == {grow.key: (OrderResult.DONE, "")}


def test_all_orders_of_a_turn_have_one_deadline_and_go_on_after_it(connect):
    domains = [FakeDomain(number) for number in range(20)]
    for domain in domains:
        domain.answers.clear()
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(), seconds=0.1)
    began = time.monotonic()
    outcomes = mover.apply([action(domain, 200 * MIB, row=row) for row, domain in enumerate(domains)])
    assert time.monotonic() - began < 1.0
    assert [(each.row, each.result) for each in outcomes] == [(row, OrderResult.UNKNOWN) for row in range(20)]
    for domain in domains:
        domain.answers.set()
    assert drained(mover, 20) == {key_of(domain): (OrderResult.DONE, "") for domain in domains}
    assert [domain.set for domain in domains] == [[(200 * KIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)]] * 20


def test_a_shrink_that_has_not_been_sent_in_time_is_not_sent_later(connect, monkeypatch):
    monkeypatch.setattr(mover_module, "SHRINK_WAITS_S", 0.05)
    domains = [FakeDomain(number) for number in range(ORDERS_AT_ONCE + 1)]
    for domain in domains:
        domain.answers.clear()
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(), seconds=0.5)
    outcomes = mover.apply([action(domain, 100 * MIB, row=row) for row, domain in enumerate(domains)])
    assert [each.result for each in outcomes] == [OrderResult.UNKNOWN] * len(domains)
    (answer,) = mover.drain_answers().items()
    assert answer == (
        key_of(domains[-1]),
        (
            OrderResult.REFUSED,
            "the balloon was not set to 100 MiB: it was not sent in time, as libvirt is busy with earlier orders",
        ),
    )


def crowded(connect, seconds: float = 0.01) -> tuple[list[FakeDomain], FakeHandle, Mover]:
    """One domain more than orders at a time; all hang, and have been told to grow."""
    domains = [FakeDomain(number) for number in range(ORDERS_AT_ONCE + 1)]
    for domain in domains:
        domain.answers.clear()
    handle = FakeHandle(*domains)
    mover = Mover({SOURCE: connect(handle)}, UnavailableDomains(), seconds=seconds)
    mover.apply([action(domain, 200 * MIB) for domain in domains])
    return domains, handle, mover


def test_of_an_order_without_an_answer_it_is_said_whether_it_was_sent(connect, caplog):
    domains = [FakeDomain(number) for number in range(ORDERS_AT_ONCE + 1)]
    for domain in domains:
        domain.answers.clear()
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(), seconds=0.01)
    sent = "QEMU has not taken the order of 200 MiB within 0.01 s; it may do so yet"
    assert [outcome.message for outcome in mover.apply([action(domain, 200 * MIB) for domain in domains])] == [
        *[sent] * ORDERS_AT_ONCE,
        "the order of 200 MiB waits, as libvirt is busy with earlier ones",
    ]
    assert caplog.messages == [f"domain guest{number}: {sent}" for number in range(ORDERS_AT_ONCE)]


def test_a_domain_whose_order_waits_gets_no_other(connect):
    domains, _, mover = crowded(connect)
    (refusal,) = mover.apply([action(domains[-1], 210 * MIB)])
    assert refusal.message.endswith("it is still busy with the previous change")


TAKEN_BACK = (
    OrderResult.WITHDRAWN,
    "the balloon was not set to 200 MiB: it was taken back before it was sent, as what it was decided on has changed",
)


def test_an_order_that_waits_is_not_sent_once_its_decision_does_not_stand(connect):
    domains, _, mover = crowded(connect)
    asked = []
    mover.withdraw(lambda action: asked.append(action.key))
    assert sorted(asked) == sorted(map(key_of, domains))
    assert mover.drain_answers() == {key_of(domains[-1]): TAKEN_BACK}
    for domain in domains:
        domain.answers.set()
    assert drained(mover, ORDERS_AT_ONCE) == {key_of(domain): (OrderResult.DONE, "") for domain in domains[:-1]}
    assert domains[-1].set == []


class HeldUp(FakeDomain):
    """Its libvirt does not say whether it has a job before it is let."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.asked, self.may_say = threading.Event(), threading.Event()

    def jobInfo(self) -> list[int]:  # noqa: N802 - libvirt's name
        self.asked.set()
        self.may_say.wait(10)
        return super().jobInfo()


@pytest.mark.parametrize("stands", [True, False])
def test_an_order_that_is_held_up_before_it_is_sent_is_sent_only_while_its_decision_stands(connect, stands):
    domain = HeldUp(1)
    mover = Mover({SOURCE: connect(FakeHandle(domain))}, UnavailableDomains(), seconds=0.01)
    mover.apply([action(domain, 200 * MIB)])
    assert domain.asked.wait(10)
    mover.withdraw(lambda _: stands)
    domain.may_say.set()
    assert drained(mover, 1) == {key_of(domain): (OrderResult.DONE, "") if stands else TAKEN_BACK}
    assert len(domain.set) == int(stands)


def test_a_shrink_that_is_held_up_for_too_long_before_it_is_sent_is_not_sent(connect, monkeypatch):
    monkeypatch.setattr(mover_module, "SHRINK_WAITS_S", 0.05)
    domain = HeldUp(1)
    mover = Mover({SOURCE: connect(FakeHandle(domain))}, UnavailableDomains(), seconds=0.1)
    mover.apply([action(domain, 100 * MIB)])
    domain.may_say.set()
    assert [result for result, _ in drained(mover, 1).values()] == [OrderResult.REFUSED]
    assert domain.set == []


def test_an_order_that_waits_is_sent_while_its_decision_stands(connect):
    domains, _, mover = crowded(connect)
    mover.withdraw(lambda action: action.target == 200 * MIB)
    for domain in domains:
        domain.answers.set()
    assert drained(mover, len(domains)) == {key_of(domain): (OrderResult.DONE, "") for domain in domains}


@pytest.mark.parametrize("change", [{"incarnation": 99}, {"reset_at": 7.0}])
def test_an_order_that_waits_is_not_sent_to_a_domain_that_was_started_anew(connect, change):
    domains, _, mover = crowded(connect)
    link, key = mover._connections[SOURCE].link, key_of(domains[-1])
    link.entries[key] = replace(link.entries[key], facts=replace(link.entries[key].facts, **change))
    mover.withdraw(lambda _: True)
    assert mover.drain_answers() == {key: TAKEN_BACK}


def test_an_order_that_waits_is_not_sent_to_a_domain_that_is_gone(connect):
    domains, _, mover = crowded(connect)
    del mover._connections[SOURCE].link.entries[key_of(domains[-1])]
    mover.withdraw(lambda _: True)
    assert mover.drain_answers() == {key_of(domains[-1]): TAKEN_BACK}


@pytest.mark.parametrize("end", [lambda handle: setattr(handle, "alive", False), FakeHandle.close])
def test_an_order_that_waits_is_not_sent_on_a_connection_that_has_ended(connect, end):
    domains, handle, mover = crowded(connect)
    end(handle)
    for domain in domains:
        domain.answers.set()
    answers = drained(mover, len(domains))
    assert answers[key_of(domains[-1])] == (
        OrderResult.REFUSED,
        "the balloon was not set to 200 MiB: the connection to libvirt was lost before it was sent",
    )
    assert domains[-1].set == []


def test_orders_on_a_new_connection_do_not_wait_for_those_on_the_old(connect):
    *_, last = domains = crowded(connect)[0]
    mover = Mover({SOURCE: (connection := connect(FakeHandle(*domains)))}, UnavailableDomains(), seconds=0.01)
    mover.apply([action(domain, 200 * MIB) for domain in domains[:-1]])
    connection.link = replace(connection.link, calls=Calls(int))
    last.answers.set()
    with last.job:
        pass
    last.set.clear()
    mover.apply([action(last, 210 * MIB)])
    assert last.set == [(210 * KIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)]


def test_orders_of_several_connections_have_one_deadline(connect):
    domains = [FakeDomain(1), FakeDomain(2)]
    for domain in domains:
        domain.answers.clear()
    connections = {name: connect(FakeHandle(domain), name) for name, domain in zip("ab", domains, strict=True)}
    mover = Mover(connections, UnavailableDomains(), seconds=0.5)
    began = time.monotonic()
    mover.apply([replace(action(domain, 200 * MIB), key=key) for domain in domains for key in connection_keys(domain)])
    assert time.monotonic() - began < 0.9


def connection_keys(domain: FakeDomain) -> list[str]:
    """Of the connection that it is on."""
    return [f"{domain.UUIDString()}@{'ab'[domain.number - 1]}"]


def test_the_end_of_a_late_order_wakes_the_loop(connect, domains):
    domains[0].answers.clear()
    woken = threading.Semaphore(0)
    mover = Mover({SOURCE: connect(FakeHandle(*domains), wake=woken.release)}, UnavailableDomains(), seconds=0.01)
    mover.apply([action(domains[0], 200 * MIB)])
    assert woken.acquire(timeout=10)  # it was connected
    assert not woken.acquire(blocking=False)
    domains[0].answers.set()
    assert woken.acquire(timeout=10)


@pytest.mark.parametrize("end", [lambda handle: setattr(handle, "alive", False), FakeHandle.close])
def test_an_order_under_which_the_connection_ends_may_have_been_taken(connect, domains, end):
    handle = FakeHandle(*domains)
    domains[0].refusal = error(libvirt.VIR_ERR_RPC, "connection reset")
    mover = Mover({SOURCE: connect(handle)}, UnavailableDomains())
    order = domains[0].setMemoryFlags

    def broken(*what):
        end(handle)
        order(*what)

    domains[0].setMemoryFlags = broken
    (outcome,) = mover.apply([action(domains[0], 200 * MIB)])
    assert outcome.result is OrderResult.UNKNOWN
    assert mover.drain_answers() == {key_of(domains[0]): (OrderResult.DONE, "")}


def drained(mover: Mover, count: int) -> dict[str, tuple[OrderResult, str]]:
    """The answers to `count` late orders."""
    answers, deadline = {}, time.monotonic() + 10
    while len(answers) < count and time.monotonic() < deadline:
        answers |= mover.drain_answers()
        time.sleep(0.01)
    return answers


def test_a_hanging_domain_does_not_keep_the_others(connect, domains):
    domains[0].answers.clear()
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(), seconds=0.1)
    (late,) = mover.apply([action(domains[0], 200 * MIB, row=0), action(domains[1], 200 * MIB, row=1)])
    assert (late.row, late.result) == (0, OrderResult.UNKNOWN)
    assert domains[1].set == [(200 * KIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)]


def test_a_domain_with_an_order_under_way_gets_no_other(connect, domains):
    domains[0].answers.clear()
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(), seconds=0.1)
    mover.apply([action(domains[0], 200 * MIB)])
    (refusal,) = mover.apply([action(domains[0], 210 * MIB)])
    assert refusal.message.endswith("it is still busy with the previous change")
    domains[0].answers.set()
    with domains[0].job:  # the order under way has come to its end
        pass
    assert domains[0].set == [(200 * KIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)]


@pytest.mark.parametrize(
    ("refusal", "answer"),
    [
        (None, (OrderResult.DONE, "")),
        (
            error(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"),
            (OrderResult.REFUSED, "the balloon was not set to 200 MiB: domain is not running"),
        ),
    ],
)
def test_a_late_order_is_unknown_until_libvirt_answers_and_that_is_told_once(connect, domains, refusal, answer, caplog):
    domains[0].refusal = refusal
    domains[0].answers.clear()
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(), seconds=0.1)
    assert [late.result for late in mover.apply([action(domains[0], 200 * MIB)])] == [OrderResult.UNKNOWN]
    assert mover.drain_answers() == {}
    domains[0].answers.set()
    caplog.clear()
    assert drained(mover, 1) == {key_of(domains[0]): answer}
    assert mover.drain_answers() == {}
    assert caplog.messages == [f"domain guest1: {answer[1]}"] * (answer[0] is OrderResult.REFUSED)


def test_an_unresponsive_domain_is_not_tried(connect, domains):
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains(unresponsive={key_of(domains[0])}))
    (refusal,) = mover.apply([action(domains[0], 200 * MIB)])
    assert refusal.message.endswith("the domain's QEMU does not answer")
    assert domains[0].set == []


def test_a_vanished_domain_is_refused(connect, domains):
    mover = Mover({SOURCE: connect(FakeHandle(domains[0]))}, UnavailableDomains())
    (refusal,) = mover.apply([action(domains[1], 200 * MIB)])
    assert refusal.message.endswith("the domain is not running")


def test_libvirts_words_are_cut_and_without_characters_that_do_not_print(connect, domains):
    domains[0].refusal = error(libvirt.VIR_ERR_OPERATION_INVALID, "no\x1b[2J\n" + "x" * 1000)
    (refusal,) = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains()).apply(
        [action(domains[0], 200 * MIB)]
    )
    assert refusal.message == "the balloon was not set to 200 MiB: no [2J " + "x" * 192 + "…"


def test_libvirts_refusal_is_passed_on(connect, domains):
    domains[0].refusal = error(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running")
    mover = Mover({SOURCE: connect(FakeHandle(*domains))}, UnavailableDomains())
    (refusal,) = mover.apply([action(domains[0], 200 * MIB)])
    assert refusal.message == "the balloon was not set to 200 MiB: domain is not running"


def test_without_a_connection_everything_is_refused_with_its_error(connect, domains):
    connection = connect(FakeHandle(*domains))
    connection.close()
    (refusal,) = Mover({SOURCE: connection}, UnavailableDomains()).apply([action(domains[0], 200 * MIB)])
    assert "fake:///" in refusal.message
    assert domains[0].set == []


def test_nothing_that_waits_is_sent_after_the_end(connect, monkeypatch):
    begun, start = [], Calls.start
    monkeypatch.setattr(
        Calls, "start", lambda calls, work, keys, *then: begun.append(keys) or start(calls, work, keys, *then)
    )
    domains = [FakeDomain(number) for number in range(ORDERS_AT_ONCE + 1)]
    for domain in domains[:-1]:
        domain.answers.clear()
    connection, ended = connect(FakeHandle(*domains)), threading.Semaphore(0)
    connection.wake = ended.release
    mover = Mover({SOURCE: connection}, UnavailableDomains(), seconds=0.1)
    assert len(mover.apply([action(domain, 200 * MIB) for domain in domains])) == len(domains)
    mover.close()
    for domain in domains:
        domain.answers.set()
    for _ in domains[:-1]:
        assert ended.acquire(timeout=10)  # by then the queue has begun what there is room for
    mover.drain_answers()
    assert begun == [(key_of(domain),) for domain in domains[:-1]]
    assert domains[-1].set == []

"""Looks that hang, break, or find domains gone. The fake hangs where a stopped QEMU does."""

import libvirt
import pytest

from controller.engine.snapshot import Life
from controller.host.calls import LIMIT
from controller.host.looker import Looker
from controller.host.trouble import Trouble
from lab.fake_libvirt import FakeDomain, FakeHandle, error

SECONDS = (0.1, 10.0, 10.0)
"""A first deadline short enough to wait for; the others are never reached unless all calls hang."""


def key(domain: FakeDomain, suffix: str = "") -> str:
    return domain.UUIDString() + suffix


def lives(look) -> dict[str, Life]:
    return {key: Life(life) for key, life in zip(look.keys, look.life, strict=True)}


@pytest.fixture
def domains() -> list[FakeDomain]:
    return [FakeDomain(number) for number in (1, 2, 3)]


def test_all_domains_are_one_call(connect, domains):
    handle = FakeHandle(*domains)
    look = Looker({"": connect(handle)}, Trouble()).look([key(domain) for domain in domains])
    assert handle.bulk_calls == [["guest1", "guest2", "guest3"]]
    assert set(lives(look).values()) == {Life.RUNNING}
    assert look.connected


def test_only_what_is_due_is_asked(connect, domains):
    handle = FakeHandle(*domains)
    Looker({"": connect(handle)}, Trouble()).look([key(domains[1])])
    assert handle.bulk_calls == [["guest2"]]


def test_nothing_due_is_no_call(connect, domains):
    handle = FakeHandle(*domains)
    assert Looker({"": connect(handle)}, Trouble()).look([]).keys == ()
    assert handle.bulk_calls == []


def test_a_hanging_domain_does_not_hide_the_others(connect, domains):
    domains[1].answers.clear()
    trouble = Trouble()
    look = Looker({"": connect(FakeHandle(*domains))}, trouble, seconds=SECONDS).look(map_keys(domains))
    assert list(lives(look).values()) == [Life.RUNNING, Life.UNRESPONSIVE, Life.RUNNING]
    assert trouble.unresponsive == {key(domains[1])}


def map_keys(domains: list[FakeDomain]) -> list[str]:
    return [key(domain) for domain in domains]


def test_two_hanging_domains_do_not_hide_the_third(connect, domains):
    domains[0].answers.clear()
    domains[1].answers.clear()
    looker = Looker({"": connect(FakeHandle(*domains))}, Trouble(), seconds=(0.1, 0.1, 10.0))
    look = looker.look(map_keys(domains))
    assert list(lives(look).values()) == [Life.UNRESPONSIVE, Life.UNRESPONSIVE, Life.RUNNING]


def test_a_domain_that_is_known_to_hang_costs_one_call_and_no_waiting(connect, domains):
    domains[1].answers.clear()
    handle = FakeHandle(*domains)
    looker = Looker({"": connect(handle)}, Trouble(), seconds=SECONDS)
    looker.look(map_keys(domains))
    handle.bulk_calls.clear()
    looker.look(map_keys(domains))
    assert len(handle.bulk_calls) == 1


def test_a_domain_that_answers_again_is_looked_at_again(connect, domains):
    domains[1].answers.clear()
    trouble = Trouble()
    looker = Looker({"": connect(FakeHandle(*domains))}, trouble, seconds=SECONDS)
    looker.look(map_keys(domains))
    domains[1].answers.set()
    with domains[1].job:  # the call that was left behind has returned
        pass
    assert set(lives(looker.look(map_keys(domains))).values()) == {Life.RUNNING}
    assert trouble.unresponsive == set()


def test_calls_left_behind_are_bounded_and_then_nothing_is_asked(connect):
    domains = [FakeDomain(number) for number in range(LIMIT + 1)]
    for domain in domains:
        domain.answers.clear()
    handle = FakeHandle(*domains)
    connection = connect(handle)
    looker = Looker({"": connection}, Trouble(), seconds=(0.05, 0.05, 0.05))
    for _ in range(3):
        assert set(lives(looker.look(map_keys(domains))).values()) == {Life.UNRESPONSIVE}
    assert len(handle.bulk_calls) == LIMIT
    assert "too many calls hang" in connection.error()


def test_somebody_elses_job_is_busy_not_unresponsive(connect, domains):
    with domains[0].job:
        look = Looker({"": connect(FakeHandle(*domains))}, Trouble()).look(map_keys(domains))
    assert list(lives(look).values()) == [Life.BUSY, Life.RUNNING, Life.RUNNING]


def test_a_domain_found_in_a_job_stays_busy_until_the_job_is_over(connect, domains):
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_UNBOUNDED
    trouble = Trouble(in_job={key(domains[0])})
    looker = Looker({"": connect(FakeHandle(*domains))}, trouble)
    assert lives(looker.look(map_keys(domains)))[key(domains[0])] == Life.BUSY
    domains[0].job_type = libvirt.VIR_DOMAIN_JOB_NONE
    assert lives(looker.look(map_keys(domains)))[key(domains[0])] == Life.RUNNING
    assert trouble.in_job == set()


def test_a_domain_that_vanished_is_not_running(connect, domains):
    handle = FakeHandle(*domains)
    looker = Looker({"": connect(handle)}, Trouble())
    handle.domains = domains[1:]
    look = looker.look([*map_keys(domains), "never-seen"])
    assert lives(look)[key(domains[0])] == Life.NOT_RUNNING
    assert lives(look)["never-seen"] == Life.NOT_RUNNING
    assert lives(look)[key(domains[1])] == Life.RUNNING


def test_a_call_that_breaks_looks_at_nothing(connect, domains):
    handle = FakeHandle(*domains)
    looker = Looker({"": connect(handle)}, Trouble())
    handle.bulk_error = error(libvirt.VIR_ERR_RPC, "connection reset")
    look = looker.look(map_keys(domains))
    assert (look.keys, look.connected) == ((), False)


def test_each_connection_gets_its_own_call(connect):
    mine, yours = FakeDomain(1), FakeDomain(1)
    first, second = FakeHandle(mine), FakeHandle(yours)
    looker = Looker({"a": connect(first, "@a"), "b": connect(second, "@b")}, Trouble())
    look = looker.look([key(mine, "@a"), key(yours, "@b")])
    assert look.keys == (key(mine, "@a"), key(yours, "@b"))
    assert (first.bulk_calls, second.bulk_calls) == ([["guest1"]], [["guest1"]])


def test_a_connection_that_is_down_does_not_hide_the_other(connect, domains):
    looker = Looker({"a": connect(FakeHandle(domains[0]), "@a"), "b": connect(down := FakeHandle(), "@b")}, Trouble())
    down.bulk_error = error(libvirt.VIR_ERR_RPC)
    down.domains = [domains[1]]
    look = looker.look([key(domains[0], "@a")])
    assert (look.keys, look.connected) == ((key(domains[0], "@a"),), True)

"""Sizes by QEMU's own word. The fake hangs, fails and is gone where a real domain cannot be made to at that moment."""

import threading

import libvirt
import pytest

from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.host import actuators
from controller.host import follower as module
from controller.host.follower import Follower
from lab.fake_libvirt import SOURCE, FakeDomain, FakeHandle, error, key_of

MIB = 2**20
KIB = 1024


def order(domain: FakeDomain, target: float, key: str = "") -> Action:
    name = domain.name()
    return Action(0, key or key_of(domain), name, 256 * MIB, int(target * MIB), Reason.CONTENTION_SHRINK)


@pytest.fixture
def domains() -> list[FakeDomain]:
    return [FakeDomain(1), FakeDomain(2)]


@pytest.fixture
def arrivals() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def follower(connect, domains, arrivals):
    made = Follower({SOURCE: connect(FakeHandle(*domains))}, lambda key, size: arrivals.append((key, size)))
    made._closed = False  # open, without its thread: tests take its turns
    yield made
    made.close()


@pytest.mark.parametrize(("at", "told"), [(201, False), (200.5, True), (200, True), (199.5, True), (199, False)])
def test_a_balloon_has_arrived_when_qemu_says_so(follower, domains, arrivals, at, told):
    domains[0].actual = int(at * KIB)
    follower.follow([order(domains[0], 200)])
    follower.turn()
    assert arrivals == ([(key_of(domains[0]), int(at * MIB))] if told else [])


def test_it_is_asked_until_it_has_and_then_no_more(follower, domains, arrivals):
    follower.follow([order(domains[0], 200)])
    for kib in (256 * KIB, 230 * KIB, 200 * KIB, 200 * KIB):
        domains[0].actual = kib
        follower.turn()
    assert arrivals == [(key_of(domains[0]), 200 * MIB)]


def test_a_later_order_comes_in_the_place_of_an_earlier_one(follower, domains, arrivals):
    follower.follow([order(domains[0], 200)])
    follower.follow([order(domains[0], 180)])
    domains[0].actual = 200 * KIB
    follower.turn()
    assert arrivals == []


def test_an_answer_to_a_question_that_was_asked_before_the_order_tells_nothing(follower, domains, arrivals):
    domains[0].actual = 200 * KIB
    follower.follow([order(domains[0], 200)])
    asked = follower._size
    follower._size = lambda key: (follower.follow([order(domains[0], 220)]), asked(key))[1]
    follower.turn()
    assert arrivals == []


def test_where_a_balloon_is_can_be_asked_whatever_it_was_sent_to(follower, domains, arrivals):
    follower.check(key_of(domains[0]))
    follower.follow([order(domains[1], 200)])
    follower.check(key_of(domains[1]))
    follower.turn()
    assert arrivals == [(key_of(domains[0]), 256 * MIB)]


def test_who_takes_long_is_left_to_libvirts_events(follower, domains, arrivals, monkeypatch):
    monkeypatch.setattr(module, "GIVE_UP_S", 0.0)
    domains[0].actual = 200 * KIB
    follower.follow([order(domains[0], 200)])
    follower.turn()
    assert arrivals == []


def test_others_are_followed_where_one_is_gone_refuses_or_is_nowhere(follower, domains, arrivals):
    domains[0].refusal = error(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running")
    gone = [order(domains[0], 256, f"nobody@{SOURCE}"), order(domains[0], 256, "somebody@elsewhere:///")]
    follower.follow([order(domains[0], 256), *gone, order(domains[1], 256)])
    follower.turn()
    assert arrivals == [(key_of(domains[1]), 256 * MIB)]


def test_one_that_hangs_keeps_others_waiting_once(follower, domains, arrivals, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    domains[0].answers.clear()
    follower.follow([order(domains[0], 256), order(domains[1], 256)])
    follower.turn()
    assert arrivals == [(key_of(domains[1]), 256 * MIB)]
    monkeypatch.setattr(module, "ANSWER_S", 3600.0)
    follower.turn()  # it is not asked again
    domains[0].answers.set()
    assert len(arrivals) == 1


def test_who_has_no_word_but_libvirts_is_not_followed(follower, domains, arrivals, monkeypatch):
    monkeypatch.setattr(actuators.Balloon, "size", lambda _self, _domain: None)
    follower.follow([order(domains[0], 256)])
    follower.turn()
    assert arrivals == []


def test_an_answer_without_a_size_tells_nothing(domains, monkeypatch):
    monkeypatch.setattr(FakeDomain, "memoryStats", lambda _self: {"rss": 1})
    assert actuators.BALLOON.size(domains[0]) is None


def test_it_follows_from_the_start_to_the_end(connect, domains):
    found = threading.Event()
    follower = Follower({SOURCE: connect(FakeHandle(*domains))}, lambda _key, _size: found.set())
    follower.follow([order(domains[0], 256)])
    assert follower._followed == {}
    follower.start()
    follower.follow([order(domains[0], 256)])
    assert found.wait(10)
    follower.close()
    follower.follow([order(domains[0], 256)])
    assert follower._followed == {}

"""Blocking calls with a deadline."""

import threading

import pytest

from controller.host.calls import Calls, TooManyHangError


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def hang(calls: Calls, gate: threading.Event, *keys: str):
    call = calls.start(gate.wait, keys)
    with pytest.raises(TimeoutError):
        calls.finish(call, 0)
    return call


def test_a_call_brings_back_its_result():
    assert Calls().run(lambda: 42, (), 10) == 42


def test_a_call_raises_what_it_raised():
    with pytest.raises(ZeroDivisionError):
        Calls().run(lambda: 1 // 0, (), 10)


def test_a_call_that_hangs_is_left_behind_with_its_domains(gate):
    calls = Calls()
    hang(calls, gate, "a", "b")
    assert calls.suspects() == {"a", "b"}
    assert not calls.hangs("a")


def test_a_domain_alone_in_a_hanging_call_is_known_to_hang(gate):
    calls = Calls()
    hang(calls, gate, "a")
    assert calls.hangs("a")
    assert not calls.hangs("b")


def test_a_call_that_returns_late_is_forgotten(gate):
    calls = Calls()
    call = hang(calls, gate, "a")
    gate.set()
    call.result(10)
    assert calls.suspects() == set()


def test_no_call_begins_while_too_many_hang(gate):
    calls = Calls(limit=2)
    first = hang(calls, gate)
    assert not calls.exhausted()
    hang(calls, gate)
    assert calls.exhausted()
    with pytest.raises(TooManyHangError, match="2 earlier calls"):
        calls.start(lambda: None, ())
    gate.set()
    first.result(10)
    assert not calls.exhausted()

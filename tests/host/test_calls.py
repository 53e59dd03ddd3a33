"""Blocking calls with a deadline."""

import threading
import time
from queue import SimpleQueue

import pytest

from controller.host import calls as module
from controller.host.calls import Call, Calls, NotStartedError, TooManyHangError, wait_any


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
    assert Calls(int).run(lambda: 42, (), 10) == 42


def test_a_call_raises_what_it_raised():
    with pytest.raises(ZeroDivisionError):
        Calls(int).run(lambda: 1 // 0, (), 10)


def test_a_call_that_hangs_is_left_behind_with_its_domains(gate):
    calls = Calls(int)
    hang(calls, gate, "a", "b")
    assert calls.suspects() == {"a", "b"}
    assert not calls.hangs("a")


def test_a_domain_alone_in_a_hanging_call_is_known_to_hang(gate):
    calls = Calls(int)
    hang(calls, gate, "a")
    assert calls.hangs("a")
    assert not calls.hangs("b")


def test_a_call_that_returns_late_is_forgotten(gate):
    calls = Calls(int)
    call = hang(calls, gate, "a")
    gate.set()
    call.result(10)
    assert calls.suspects() == set()


def test_no_call_begins_while_too_many_hang(gate):
    calls = Calls(int, limit=2)
    first = hang(calls, gate)
    assert not calls.exhausted()
    hang(calls, gate)
    assert calls.exhausted()
    with pytest.raises(TooManyHangError, match="2 earlier calls"):
        calls.start(lambda: None, ())
    gate.set()
    first.result(10)
    assert not calls.exhausted()


def test_a_call_that_takes_long_is_helped_by_another(monkeypatch):
    monkeypatch.setattr(module, "NUDGE_S", 0.01)
    nudged = threading.Event()
    assert Calls(nudged.set).run(lambda: nudged.wait(10), (), 10)


def test_a_call_that_returns_soon_is_alone():
    nudged = threading.Event()
    Calls(nudged.set).run(int, (), 10)
    assert not nudged.is_set()


def test_nudges_that_hang_do_not_pile_up(monkeypatch, gate):
    monkeypatch.setattr(module, "NUDGE_S", 0.01)
    nudges = []
    calls = Calls(lambda: (nudges.append(None), gate.wait()))
    with pytest.raises(TimeoutError):
        calls.run(gate.wait, (), 0.1)
    assert len(nudges) == 1


def test_who_needs_less_leaves_the_last_call_to_others(gate):
    calls = Calls(int, limit=2)
    calls.require(2)
    hang(calls, gate)
    calls.require(1)
    with pytest.raises(TooManyHangError, match="1 earlier calls"):
        calls.require(2)


def test_a_machine_without_threads_begins_no_call(monkeypatch):
    def no_thread(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(NotStartedError, match="can't start new thread"):
        Calls(int).start(int, ())


def test_whoever_asked_to_be_told_is_told_when_the_outcome_is_there(gate):
    told = SimpleQueue()
    call = Calls(int).start(gate.wait, (), lambda: told.put(call.done()))
    gate.set()
    assert told.get(timeout=10)


def test_whoever_waits_for_any_of_several_calls_rests_until_one_has_ended():
    ends, never = threading.Event(), threading.Event()
    waiting, other = Call(ends.wait, ()), Call(never.wait, ())
    began = time.monotonic()
    wait_any([waiting], 0.2)
    assert time.monotonic() - began >= 0.2
    threading.Timer(0.1, ends.set).start()
    wait_any([waiting, other], 10)
    assert (waiting.done(), other.done()) == (True, False)
    never.set()  # no thread is left to later tests
    wait_any([waiting], -1.0)

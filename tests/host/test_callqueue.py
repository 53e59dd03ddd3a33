"""Calls that go on when nobody waits for them any more."""

import threading
import time

import pytest

from controller.host import callqueue
from controller.host.callqueue import CallQueue, QueuedCall
from controller.host.calls import Calls, NotStartedError

SOON = 10.0
NEVER = float("inf")


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


class QueueWithEvents:
    """A queue and what came of it."""

    def __init__(self, at_once: int = 1, limit: int = 4) -> None:
        self.told = threading.Semaphore(0)
        self.calls = Calls(int, limit)
        self.call_queue = CallQueue(self.calls, at_once, self.told.release)

    def add(self, key: str, work=int, expires_at: float = NEVER) -> QueuedCall:
        queued_call = QueuedCall(key, expires_at)
        self.call_queue.add(queued_call, work)
        return queued_call


def test_calls_are_done_in_order_and_one_raises_what_its_call_raised():
    queue, order = QueueWithEvents(), []
    queued_calls = [queue.add("a", lambda: order.append("a")), queue.add("b", lambda: 1 // 0)]
    queue.call_queue.wait(queued_calls, SOON)
    assert order == ["a"]
    queued_calls[0].outcome()
    with pytest.raises(ZeroDivisionError):
        queued_calls[1].outcome()


def test_no_more_than_so_many_run_at_once(gate):
    queue = QueueWithEvents(at_once=2)
    queued_calls = [queue.add(key, gate.wait) for key in "abc"]
    assert [queued_call.call is not None for queued_call in queued_calls] == [True, True, False]
    gate.set()
    queue.call_queue.wait(queued_calls, SOON)
    assert all(queued_call.settled for queued_call in queued_calls)


def test_what_is_late_goes_on_and_its_end_is_told(gate):
    queue = QueueWithEvents()
    queued_calls = [queue.add("a", gate.wait), queue.add("b")]
    queue.call_queue.wait(queued_calls, 0.01)
    assert [queued_call.settled for queued_call in queued_calls] == [False, False]
    assert queue.calls.hangs("a")
    gate.set()
    assert queue.told.acquire(timeout=SOON)
    assert queue.told.acquire(timeout=SOON)
    assert [queued_call.settled for queued_call in queued_calls] == [True, True]


def test_the_end_of_what_was_waited_for_is_not_told():
    queue = QueueWithEvents()
    queue.call_queue.wait([queue.add("a")], SOON)
    assert not queue.told.acquire(timeout=0.1)


def test_what_waited_too_long_is_never_begun(gate):
    queue, begun = QueueWithEvents(), []
    queue.add("a", gate.wait)
    queued_call = queue.add("b", lambda: begun.append("b"), time.monotonic() + 0.01)
    queue.call_queue.wait([queued_call], 0.05)
    queue.call_queue.expire()
    with pytest.raises(NotStartedError, match="not sent in time"):
        queued_call.outcome()
    gate.set()
    assert begun == []


def test_what_is_withdrawn_while_it_waits_is_never_begun_and_what_runs_goes_on(gate):
    queue, begun = QueueWithEvents(), []
    runs, waits, other = queue.add("a", gate.wait), queue.add("b", lambda: begun.append("b")), queue.add("c")
    for queued_call in (runs, waits):
        queue.call_queue.withdraw(queued_call, "it is not wanted any more")
    gate.set()
    queue.call_queue.wait([runs, waits, other], SOON)
    runs.outcome()
    other.outcome()
    with pytest.raises(NotStartedError, match="not wanted any more"):
        waits.outcome()
    assert begun == []


def test_that_a_late_call_is_withdrawn_is_told(gate):
    queue = QueueWithEvents()
    runs, waits = queue.add("a", gate.wait), queue.add("b")
    queue.call_queue.wait([runs, waits], 0.0)
    queue.call_queue.withdraw(runs, "it is not wanted any more")
    assert not queue.told.acquire(blocking=False)
    queue.call_queue.withdraw(waits, "it is not wanted any more")
    assert queue.told.acquire(blocking=False)


def test_behind_calls_that_hang_nobody_waits(monkeypatch, gate):
    monkeypatch.setattr(callqueue, "LATE_S", 0.0)
    queue = QueueWithEvents()
    queue.add("a", gate.wait)
    queued_call = queue.add("b")
    with pytest.raises(NotStartedError, match="1 earlier orders hang"):
        queued_call.outcome()


def test_the_last_call_that_may_hang_is_left_to_looks():
    queued_call = QueueWithEvents(limit=1).add("a")
    with pytest.raises(NotStartedError, match="hang"):
        queued_call.outcome()


def test_a_closed_queue_begins_nothing_any_more(gate):
    queue = QueueWithEvents()
    queued_calls = [queue.add("a", gate.wait), queue.add("b")]
    queue.call_queue.close()
    gate.set()
    queue.call_queue.wait(queued_calls, SOON)
    with pytest.raises(NotStartedError, match="Ballast ends"):
        queued_calls[1].outcome()


def test_what_begins_late_is_left_behind_from_the_start(gate):
    queue, first = QueueWithEvents(), threading.Event()
    queued_calls = [queue.add("a", first.wait), queue.add("b", gate.wait)]
    queue.call_queue.wait(queued_calls, 0.01)
    first.set()
    assert queue.told.acquire(timeout=SOON)
    assert queue.calls.hangs("b")


def test_a_call_that_takes_long_is_helped_by_another(monkeypatch):
    monkeypatch.setattr(callqueue, "NUDGE_S", 0.01)
    nudged = threading.Event()
    helped, queued_call = CallQueue(Calls(nudged.set), 1, int), QueuedCall("a", NEVER)
    helped.add(queued_call, lambda: nudged.wait(SOON))
    helped.wait([queued_call], SOON)
    assert queued_call.settled
    assert nudged.is_set()

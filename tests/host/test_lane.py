"""Calls that go on when nobody waits for them any more."""

import threading
import time

import pytest

from controller.host import lane
from controller.host.calls import Calls, NotStartedError
from controller.host.lane import Errand, Lane

SOON = 10.0
NEVER = float("inf")


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


class Bench:
    """A lane and what came of it."""

    def __init__(self, at_once: int = 1, limit: int = 4) -> None:
        self.told = threading.Semaphore(0)
        self.calls = Calls(int, limit)
        self.lane = Lane(self.calls, at_once, self.told.release)

    def add(self, key: str, work=int, expires_at: float = NEVER) -> Errand:
        errand = Errand(key, expires_at)
        self.lane.add(errand, work)
        return errand


def test_errands_are_done_in_order_and_one_raises_what_its_call_raised():
    bench, order = Bench(), []
    errands = [bench.add("a", lambda: order.append("a")), bench.add("b", lambda: 1 // 0)]
    bench.lane.wait(errands, SOON)
    assert order == ["a"]
    errands[0].outcome()
    with pytest.raises(ZeroDivisionError):
        errands[1].outcome()


def test_no_more_than_so_many_run_at_once(gate):
    bench = Bench(at_once=2)
    errands = [bench.add(key, gate.wait) for key in "abc"]
    assert [errand.call is not None for errand in errands] == [True, True, False]
    gate.set()
    bench.lane.wait(errands, SOON)
    assert all(errand.settled for errand in errands)


def test_what_is_late_goes_on_and_its_end_is_told(gate):
    bench = Bench()
    errands = [bench.add("a", gate.wait), bench.add("b")]
    bench.lane.wait(errands, 0.01)
    assert [errand.settled for errand in errands] == [False, False]
    assert bench.calls.hangs("a")
    gate.set()
    assert bench.told.acquire(timeout=SOON)
    assert bench.told.acquire(timeout=SOON)
    assert [errand.settled for errand in errands] == [True, True]


def test_the_end_of_what_was_waited_for_is_not_told():
    bench = Bench()
    bench.lane.wait([bench.add("a")], SOON)
    assert not bench.told.acquire(timeout=0.1)


def test_what_waited_too_long_is_never_begun(gate):
    bench, begun = Bench(), []
    bench.add("a", gate.wait)
    errand = bench.add("b", lambda: begun.append("b"), time.monotonic() + 0.01)
    bench.lane.wait([errand], 0.05)
    bench.lane.expire()
    with pytest.raises(NotStartedError, match="not sent in time"):
        errand.outcome()
    gate.set()
    assert begun == []


def test_what_is_withdrawn_while_it_waits_is_never_begun_and_what_runs_goes_on(gate):
    bench, begun = Bench(), []
    runs, waits, other = bench.add("a", gate.wait), bench.add("b", lambda: begun.append("b")), bench.add("c")
    for errand in (runs, waits):
        bench.lane.withdraw(errand, "it is not wanted any more")
    gate.set()
    bench.lane.wait([runs, waits, other], SOON)
    runs.outcome()
    other.outcome()
    with pytest.raises(NotStartedError, match="not wanted any more"):
        waits.outcome()
    assert begun == []


def test_that_a_late_errand_is_withdrawn_is_told(gate):
    bench = Bench()
    runs, waits = bench.add("a", gate.wait), bench.add("b")
    bench.lane.wait([runs, waits], 0.0)
    bench.lane.withdraw(runs, "it is not wanted any more")
    assert not bench.told.acquire(blocking=False)
    bench.lane.withdraw(waits, "it is not wanted any more")
    assert bench.told.acquire(blocking=False)


def test_behind_errands_that_hang_nobody_waits(monkeypatch, gate):
    monkeypatch.setattr(lane, "LATE_SECONDS", 0.0)
    bench = Bench()
    bench.add("a", gate.wait)
    errand = bench.add("b")
    with pytest.raises(NotStartedError, match="1 earlier orders hang"):
        errand.outcome()


def test_the_last_call_that_may_hang_is_left_to_looks():
    errand = Bench(limit=1).add("a")
    with pytest.raises(NotStartedError, match="hang"):
        errand.outcome()


def test_a_closed_lane_begins_nothing_any_more(gate):
    bench = Bench()
    errands = [bench.add("a", gate.wait), bench.add("b")]
    bench.lane.close()
    gate.set()
    bench.lane.wait(errands, SOON)
    with pytest.raises(NotStartedError, match="Ballast ends"):
        errands[1].outcome()


def test_what_begins_late_is_left_behind_from_the_start(gate):
    bench, first = Bench(), threading.Event()
    errands = [bench.add("a", first.wait), bench.add("b", gate.wait)]
    bench.lane.wait(errands, 0.01)
    first.set()
    assert bench.told.acquire(timeout=SOON)
    assert bench.calls.hangs("b")


def test_a_call_that_takes_long_is_helped_by_another(monkeypatch):
    monkeypatch.setattr(lane, "NUDGE_SECONDS", 0.01)
    nudged = threading.Event()
    helped, errand = Lane(Calls(nudged.set), 1, int), Errand("a", NEVER)
    helped.add(errand, lambda: nudged.wait(SOON))
    helped.wait([errand], SOON)
    assert errand.settled
    assert nudged.is_set()

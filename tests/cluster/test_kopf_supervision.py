"""kopf may end in any way: it is started again, and nobody else notices."""

import asyncio
import gc
import logging
import threading

import aiohttp
import pytest

from controller.cluster import kopfwatch
from controller.cluster.kopfwatch import AWAY_S, BEGIN_S, LONGEST_S, RAN_S, KopfWatch, StopFlag, _leave, run_kopf
from controller.cluster.worker import Worker


class Supervised:
    """A KopfWatch whose thread does not run, over a kopf that does as it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs = self.asks = 0
        self.does = lambda _stop: None
        self.told: list[object] = []
        self.watch = KopfWatch(object, lambda *told: self.told.append(told), self._ask, lambda: self.now, self._run)

    def turn(self) -> float:
        return self.watch._turn()

    def _ask(self) -> None:
        self.asks += 1

    def _run(self, _load: object, tell: object, stop: StopFlag) -> None:
        self.runs += 1
        self.tell = tell
        self.does(stop)


@pytest.fixture
def supervised() -> Supervised:
    return Supervised()


def crash(_stop: StopFlag) -> None:
    raise RuntimeError("the watch stream failed")


def test_a_crash_is_said_once_and_retried_ever_less_often(supervised, caplog):
    supervised.does = crash
    pauses = [supervised.turn() for _ in range(20)]
    assert (supervised.runs, supervised.asks) == (20, 40)
    assert 0.5 <= pauses[0] <= 1.5
    assert 0.5 * LONGEST_S <= pauses[-1] <= 1.5 * LONGEST_S
    assert len(caplog.records) == 1
    assert "RuntimeError: the watch stream failed; tried again" in caplog.text


@pytest.mark.parametrize("error", [aiohttp.ClientConnectionError("refused"), TimeoutError()])
def test_an_api_server_that_does_not_answer_is_for_whoever_lists_to_say(supervised, error, caplog):
    def run(_stop: StopFlag) -> None:
        raise error

    supervised.does = run
    assert [supervised.turn() for _ in range(3)] == [AWAY_S] * 3
    assert (supervised.asks, caplog.records) == (6, [])


def test_what_tasks_of_kopf_leave_behind_is_no_traceback_in_the_log(caplog):
    async def leave() -> None:
        asyncio.get_running_loop().set_exception_handler(_leave)

        async def fail() -> None:
            raise aiohttp.ClientConnectionError("refused")

        task = asyncio.create_task(fail())
        await asyncio.wait([task])

    asyncio.run(leave())
    gc.collect()
    assert caplog.records == []


def test_a_run_that_ends_of_itself_is_a_failure_too(supervised, caplog):
    assert supervised.turn() > 0
    assert "ended of itself" in caplog.text


def test_after_a_long_run_the_pauses_begin_anew(supervised):
    supervised.does = crash
    for _ in range(10):
        supervised.turn()

    def run_long(stop: StopFlag) -> None:
        supervised.now += RAN_S
        crash(stop)

    supervised.does = run_long
    assert supervised.turn() <= 1.5


def test_a_restart_that_was_asked_for_is_no_failure(supervised, caplog):
    supervised.does = lambda _stop: supervised.watch.restart()
    assert supervised.turn() == 0.0
    assert (caplog.records, supervised.asks) == ([], 1)
    assert supervised.watch.worker._woken.is_set()
    told_to_stop = []
    supervised.does = lambda stop: told_to_stop.append(stop.is_set)
    supervised.turn()
    assert told_to_stop == [False]


def test_a_run_that_was_restarted_is_not_heard_any_more(supervised):
    def run(_stop: StopFlag) -> None:
        supervised.tell("ADDED", "before")
        supervised.watch.restart()
        supervised.tell("ADDED", "after")

    supervised.does = run
    supervised.turn()
    assert supervised.told == [("ADDED", "before")]


def test_a_watch_that_ended_is_not_gone_on_with(supervised, caplog):
    def run(stop: StopFlag) -> None:
        supervised.tell(None, {})
        supervised.tell("ADDED", "heard")
        supervised.tell(None, {})
        supervised.tell("ADDED", "from a version that may be no more")
        assert stop.is_set

    supervised.does = run
    assert supervised.turn() == 0.0
    assert supervised.told == [(None, {}), ("ADDED", "heard")]
    assert (supervised.asks, caplog.records) == (1, [])


def test_a_run_that_does_not_begin_to_watch_is_stranded_after_a_while(supervised):
    seen = []

    def run(_stop: StopFlag) -> None:
        seen.append((supervised.watch.starting, supervised.watch.stranded))
        supervised.now += BEGIN_S
        seen.append((supervised.watch.starting, supervised.watch.stranded))
        supervised.tell(None, {})
        seen.append((supervised.watch.starting, supervised.watch.stranded))

    supervised.does = run
    supervised.turn()
    assert seen == [(True, False), (True, True), (False, False)]
    supervised.now += BEGIN_S
    assert not supervised.watch.starting


def test_the_end_of_the_agent_ends_kopf(supervised):
    running = threading.Event()

    def run(stop: StopFlag) -> None:
        async def wait() -> None:
            with stop.in_loop() as flag:
                running.set()
                await flag.wait()

        asyncio.run(wait())

    supervised.does = run
    with supervised.watch.worker:
        running.wait()
    assert not supervised.watch.worker._thread.is_alive()
    assert supervised.runs == 1


def test_once_the_agent_ends_no_other_run_begins(supervised):
    with supervised.watch.worker:
        pass
    runs, asks = supervised.runs, supervised.asks
    assert (supervised.turn(), supervised.runs, supervised.asks) == (0.0, runs, asks)


def test_a_kopf_that_swallows_its_end_is_ended_all_the_same(monkeypatch):
    """Made up: a task of kopf's that is cancelled at the moment in which it swallows that, and watches on."""
    swallowed = []

    async def watch() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.append(True)
        await asyncio.Event().wait()

    async def operator(stop_flag: asyncio.Event, **_: object) -> None:
        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0)  # let it begin
        await stop_flag.wait()
        watcher.cancel()
        await asyncio.wait([watcher])

    monkeypatch.setattr(kopfwatch, "ENDING_S", 0.01)
    monkeypatch.setattr("kopf.operator", operator)
    stop = StopFlag()
    stop.set()
    run_kopf(object, lambda *_: None, stop)
    assert swallowed == [True]


def test_a_restart_is_not_kept_waiting_by_how_the_run_ended(supervised, caplog):
    def run(_stop: StopFlag) -> None:
        supervised.watch.restart()
        raise aiohttp.ClientConnectionError("the session is closed")

    supervised.does = run
    assert supervised.turn() == 0.0
    assert (supervised.asks, caplog.records) == (1, [])


def test_a_flag_set_before_the_loop_runs_is_not_lost():
    stop = StopFlag()
    stop.set()

    async def wait() -> None:
        with stop.in_loop() as flag:
            await flag.wait()

    asyncio.run(wait())


def test_each_defect_is_logged_once_with_its_traceback_and_the_thread_goes_on(caplog):
    turns = []
    enough = threading.Event()

    def turn() -> float:
        turns.append(len(turns))
        if len(turns) == 6:
            enough.set()
            return 60.0
        if turns[-1] % 2:
            raise KeyError("one")
        raise KeyError("other")

    with caplog.at_level(logging.ERROR), Worker("it", turn) as worker:
        while not enough.wait(0.01):
            worker.wake()
    assert [record.exc_info[1].args[0] for record in caplog.records] == ["other", "one"]
    assert {record.message for record in caplog.records} == {"it: a defect of Ballast; it goes on"}

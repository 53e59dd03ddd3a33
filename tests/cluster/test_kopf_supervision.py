"""kopf may end in any way: it is started again, and nobody else notices."""

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from kubernetes.client.configuration import Configuration

from controller.cluster import kopfwatch
from controller.cluster.kopfwatch import AWAY_S, LONGEST_S, RAN_S, KopfWatch, Stop, run_kopf
from controller.cluster.worker import Worker


class Supervised:
    """A KopfWatch whose thread does not run, over a kopf that does as it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs = self.asks = 0
        self.does = lambda _stop: None
        self.watch = KopfWatch(object, lambda *_: None, self._ask, lambda: self.now, self._run)

    def turn(self) -> float:
        return self.watch._turn()

    def _ask(self) -> None:
        self.asks += 1

    def _run(self, _load: object, _tell: object, stop: Stop) -> None:
        self.runs += 1
        self.does(stop)


@pytest.fixture
def supervised() -> Supervised:
    return Supervised()


def crash(_stop: Stop) -> None:
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
    def run(_stop: Stop) -> None:
        raise error

    supervised.does = run
    assert [supervised.turn() for _ in range(3)] == [AWAY_S] * 3
    assert (supervised.asks, caplog.records) == (6, [])


def test_what_tasks_of_kopf_leave_behind_is_no_traceback_in_the_log(kopf_that, caplog):
    async def fail() -> None:
        raise aiohttp.ClientConnectionError("refused")

    async def leave(*_: object) -> None:
        await asyncio.wait([asyncio.create_task(fail())])

    kopf_that(leave)
    gc.collect()
    assert caplog.records == []


def test_a_run_that_ends_of_itself_is_a_failure_too(supervised, caplog):
    assert supervised.turn() > 0
    assert "ended of itself" in caplog.text


def test_after_a_long_run_the_pauses_begin_anew(supervised):
    supervised.does = crash
    for _ in range(10):
        supervised.turn()

    def run_long(stop: Stop) -> None:
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
    supervised.does = lambda stop: told_to_stop.append(stop.cancelled())
    supervised.turn()
    assert told_to_stop == [False]


def test_the_end_of_the_agent_ends_kopf(supervised):
    running = threading.Event()

    def run(stop: Stop) -> None:
        async def wait() -> None:
            running.set()
            await asyncio.wait([asyncio.wrap_future(stop)])

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


Event = Callable[[str | None, str], Awaitable[None]]
"""Has kopf's handler called with an event's type, and an object that is only a name."""


@pytest.fixture
def kopf_that(monkeypatch) -> Callable[..., tuple[list[object], Stop]]:
    """Runs Ballast's part of kopf over a made-up one, whose script gets what tells of a watch and calls of handlers.
    Returns what was told, and whether the run was to end.
    """
    told, begins = [], []

    def runs(
        script: Callable[[Callable[[], None], Event, Stop], Awaitable[None]], stop: Stop | None = None
    ) -> tuple[list[object], Stop]:
        stop = stop or Stop()

        async def operator(registry, **_: object) -> None:
            (login,), (handler,) = registry._activities._handlers, registry._watching._handlers

            async def event(kind: str | None, name: str) -> None:
                await handler.fn(event={"type": kind, "object": name})

            await login.fn()
            await script(begins[0], event, stop)

        monkeypatch.setattr("kopf.operator", operator)
        monkeypatch.setattr(kopfwatch, "_session", lambda _connection, _name, watching: begins.append(watching))
        run_kopf(lambda: Configuration(host="http://127.0.0.1:1"), lambda *news: told.append(news), stop)
        return told, stop

    return runs


async def _on() -> None:
    """Whatever kopf does until it is ended."""
    await asyncio.Event().wait()


def test_a_watch_that_ended_is_not_gone_on_with(kopf_that):
    async def script(begins, event, _stop) -> None:
        await event(None, "listed before")
        begins()
        await event("ADDED", "heard")
        begins()
        await event("ADDED", "from a version that may be no more")
        await _on()

    told, stop = kopf_that(script)
    assert told == [(None, {}), ("ADDED", "heard")]
    assert stop.cancelled()


def test_a_run_that_was_restarted_is_not_heard_any_more(kopf_that):
    async def script(begins, event, stop) -> None:
        begins()
        stop.cancel()
        await event("ADDED", "after")
        await _on()

    assert kopf_that(script)[0] == [(None, {})]


def test_a_run_that_does_not_begin_to_watch_ends_after_a_while(kopf_that, monkeypatch):
    monkeypatch.setattr(kopfwatch, "BEGIN_S", 0.01)
    told, stop = kopf_that(lambda *_: _on())
    assert (told, stop.cancelled()) == ([], True)


def test_a_run_that_watches_goes_on_for_as_long_as_it_likes(kopf_that, monkeypatch):
    monkeypatch.setattr(kopfwatch, "BEGIN_S", 0.01)

    async def script(begins, event, stop) -> None:
        begins()
        await asyncio.wait([asyncio.wrap_future(stop)], timeout=0.05)
        await event("ADDED", "heard late")

    told, stop = kopf_that(script)
    assert (told, stop.cancelled()) == ([(None, {}), ("ADDED", "heard late")], False)


def test_what_ends_kopf_before_it_watches_is_raised(kopf_that):
    with pytest.raises(RuntimeError, match="the watch stream failed"):
        kopf_that(lambda _begins, _event, stop: crash(stop))


def test_a_kopf_that_swallows_its_end_is_ended_all_the_same(kopf_that, monkeypatch):
    """Made up: a task of kopf's that is cancelled at the moment in which it swallows that, and watches on."""
    swallowed = []

    async def watch() -> None:
        try:
            await _on()
        except asyncio.CancelledError:
            swallowed.append(True)
        await _on()

    async def script(_begins, _event, stop) -> None:
        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0)  # let it begin
        stop.cancel()
        try:
            await _on()
        except asyncio.CancelledError:
            watcher.cancel()
        await asyncio.wait([watcher])

    monkeypatch.setattr(kopfwatch, "ENDING_S", 0.01)
    kopf_that(script)
    assert swallowed == [True]


def test_a_restart_is_not_kept_waiting_by_how_the_run_ended(supervised, caplog):
    def run(_stop: Stop) -> None:
        supervised.watch.restart()
        raise aiohttp.ClientConnectionError("the session is closed")

    supervised.does = run
    assert supervised.turn() == 0.0
    assert (supervised.asks, caplog.records) == (1, [])


def test_a_run_that_is_to_stop_before_it_begins_ends(kopf_that):
    async def script(_begins, _event, _stop) -> None:
        await _on()

    stop = Stop()
    stop.cancel()
    kopf_that(script, stop)


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

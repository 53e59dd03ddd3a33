"""How a connection is kept. The fake breaks and freezes at exact moments."""

import errno
import threading
import time
from types import SimpleNamespace

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.engine.reasons import Reason
from controller.host import connection as module
from controller.host import periods
from controller.host.calls import LIMIT, MOST_HANGING
from controller.host.connection import (
    ABSENT_TRIES,
    BACKOFF_LONGEST_S,
    CLOSE_S,
    CONNECTION_SETTINGS,
    PART_S,
    Connection,
    ConnectionSettings,
    backoff,
)
from controller.host.opening import AbsentError
from controller.host.sources import Source, source_of
from controller.host.taskpool import Task, TaskPool
from lab.daemons import until
from lab.fake_libvirt import SOURCE, XML, FakeDomain, FakeHandle, error, key_of

NO_DAEMON = error(libvirt.VIR_ERR_SYSTEM_ERROR, "no socket", errno=errno.ENOENT)


class Daemon:
    """A libvirtd whose connections are handed out in order; the supervisor's rests end when the test says so."""

    def __init__(self, *answers: FakeHandle | libvirt.libvirtError, source: dict | None = None, **settings) -> None:
        self.answers = list(answers)
        self.attempts: list[int] = []
        self.woken = threading.Condition()
        self.moved: dict[str, int] = {}
        self.connection = Connection(
            Source(SOURCE, self.open, **source or {}),
            self.wake,
            self.moved.__setitem__,
            ConnectionSettings(backoff=self.rest, **settings),
            TaskPool(),
        )

    def open(self) -> FakeHandle:
        answer = self.answers.pop(0)
        if isinstance(answer, libvirt.libvirtError):
            raise answer
        return answer

    def rest(self, attempt: int, jitter: float) -> float:
        assert 0 <= jitter < 1
        self.attempts.append(attempt)
        return 0.0 if self.answers else 60.0

    def wake(self) -> None:
        with self.woken:
            self.woken.notify_all()

    def until(self, condition) -> None:
        with self.woken:
            assert self.woken.wait_for(condition, 10)


@pytest.fixture
def daemons():
    daemons: list[Daemon] = []

    def start(*answers, **options) -> Daemon:
        daemon = Daemon(*answers, **options)
        daemons.append(daemon)
        daemon.connection.start()
        assert daemon.connection.settled.wait(10)
        return daemon

    yield start
    for daemon in daemons:
        daemon.connection.close()


def test_a_connection_is_up_once_its_domains_are_listed(daemons):
    connection = daemons(FakeHandle(FakeDomain(1))).connection
    assert [facts.name for facts in connection.facts] == ["guest1"]
    assert (connection.link is not None, connection.error()) == (True, "")


def test_a_libvirtd_that_is_not_there_is_an_error_with_a_remedy(daemons):
    connection = daemons(NO_DAEMON).connection
    assert connection.link is None
    assert connection.error().startswith("fake:///: no socket; is libvirtd (or virtqemud) running?")


def test_tries_are_counted_until_one_succeeds(daemons):
    daemon = daemons(NO_DAEMON, NO_DAEMON, FakeHandle())
    daemon.until(lambda: daemon.connection.link)
    assert daemon.attempts == [1, 2]


def test_after_a_loss_facts_stay_and_the_next_connection_takes_over(daemons):
    guest, first, second = FakeDomain(1), FakeHandle(), FakeHandle()
    first.domains = second.domains = [guest]
    daemon = daemons(first, second)
    facts = daemon.connection.facts
    first.break_(libvirt.VIR_CONNECT_CLOSE_REASON_EOF)
    daemon.until(lambda: daemon.connection.link and daemon.connection.link.handle is second)
    assert daemon.connection.facts is facts
    assert daemon.attempts == [1]
    assert set(second.callbacks) == set(first.callbacks) != set()


def test_while_lost_there_is_no_link_but_a_reason(daemons):
    handle = FakeHandle(FakeDomain(1))
    daemon = daemons(handle)
    handle.break_(libvirt.VIR_CONNECT_CLOSE_REASON_EOF)
    daemon.until(lambda: daemon.connection.link is None)
    assert "was lost (libvirtd closed it)" in daemon.connection.error()
    assert len(daemon.connection.facts) == 1


def test_a_connection_that_died_without_a_word_is_found_out(daemons):
    handle = FakeHandle()
    daemon = daemons(handle)
    handle.alive = False
    daemon.connection.doubt()
    daemon.until(lambda: daemon.connection.link is None)


def test_a_frozen_libvirtd_is_noticed_and_gone_on_with(daemons):
    handle = FakeHandle(FakeDomain(1))
    daemon = daemons(handle, frozen_s=0.1)
    handle.answers.clear()
    daemon.connection.doubt()
    daemon.until(lambda: daemon.connection.link is None)
    assert "libvirtd does not answer" in daemon.connection.error()
    handle.answers.set()
    daemon.until(lambda: daemon.connection.link)
    assert daemon.connection.error() == ""
    assert daemon.attempts == []


def hang(connection: Connection, gate: threading.Event, number: int = LIMIT) -> None:
    """Have so many calls left behind on the connection."""
    for _ in range(number):
        connection.link.calls.leave(connection.link.calls.start(gate.wait, ("a", "b")))
    connection.doubt()


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def test_where_too_many_calls_hang_it_is_connected_anew_as_long_as_libvirtd_has_workers(daemons, gate):
    handles = [FakeHandle(FakeDomain(1)) for _ in range(MOST_HANGING // LIMIT + 1)]
    daemon = daemons(*handles, crowded_s=0.1)
    for handle in handles[1:-1]:
        hang(daemon.connection, gate)
        daemon.until(lambda handle=handle: daemon.connection.link and daemon.connection.link.handle is handle)
        assert daemon.connection.error() == ""
    hang(daemon.connection, gate)
    time.sleep(0.5)
    assert (daemon.connection.link.handle, len(daemon.answers)) == (handles[-2], 1)
    assert "too many calls hang" in daemon.connection.error()


def test_parting_from_a_connection_on_which_calls_hang_keeps_the_next_from_nothing(daemons, gate):
    first, second = FakeHandle(FakeDomain(1)), FakeHandle(FakeDomain(1))
    first.close = gate.wait
    daemon = daemons(first, second, crowded_s=0.1)
    hang(daemon.connection, gate)
    daemon.until(lambda: daemon.connection.link and daemon.connection.link.handle is second)


def test_what_hangs_is_known_on_the_next_connection_until_it_returns(daemons, gate):
    daemon = daemons(first := FakeHandle(FakeDomain(1)), FakeHandle(FakeDomain(1)), crowded_s=0.1)
    calls = daemon.connection.link.calls
    calls.leave(calls.start(gate.wait, ("alone",)))
    hang(daemon.connection, gate, LIMIT - 1)
    daemon.until(lambda: daemon.connection.link and daemon.connection.link.handle is not first)
    calls = daemon.connection.link.calls
    assert calls.suspects() == {"a", "b", "alone"}
    assert (calls.hangs("alone"), calls.hangs("a"), calls.exhausted()) == (True, False, False)
    gate.set()
    until(lambda: not calls.suspects(), 10, "nothing hangs")
    assert calls.beyond() == []


def test_a_libvirtd_that_was_frozen_and_goes_on_keeps_its_connection(daemons, gate):
    handle = FakeHandle(FakeDomain(1))
    daemon = daemons(handle, FakeHandle(), crowded_s=0.3)
    hang(daemon.connection, gate)
    gate.set()
    time.sleep(0.6)
    daemon.connection.doubt()
    assert (daemon.connection.link.handle, len(daemon.answers)) == (handle, 1)


def test_a_listing_that_is_not_sent_is_helped_on_its_way_and_is_not_frozen(daemons, caplog):
    handle = FakeHandle(FakeDomain(1))
    handle.getLibVersion = handle.answers.set
    daemon = daemons(handle)
    handle.answers.clear()
    daemon.connection.doubt()
    until(handle.answers.is_set, 10, "libvirt's client is woken")
    daemon.connection.close()
    assert "does not answer" not in caplog.text


def test_a_supervisor_that_meets_a_defect_connects_anew_and_tells(daemons, caplog):
    broken, good = FakeHandle(FakeDomain(1)), FakeHandle(FakeDomain(1))
    daemon = daemons(broken, good)

    def no_thread(_flags: int) -> list[FakeDomain]:
        raise RuntimeError("can't start new thread")

    broken.listAllDomains = no_thread
    daemon.connection.doubt()
    daemon.until(lambda: daemon.connection.link and daemon.connection.link.handle is good)
    assert daemon.connection.error() == ""
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert told.message == 'fake:///: RuntimeError("can\'t start new thread"); connecting again'
    assert told.exc_info


def test_a_period_released_while_the_connection_is_away_is_put_back_on_the_next(daemons):
    guest = FakeDomain(1)
    guest.period = 0
    first, second = FakeHandle(guest), FakeHandle(guest)
    second.answers.clear()
    daemon = daemons(first, second)
    key = daemon.connection.facts[0].key
    daemon.connection.want_period(key, 5)
    assert guest.periods.get(timeout=10) == 5
    first.break_(libvirt.VIR_CONNECT_CLOSE_REASON_EOF)
    daemon.until(lambda: daemon.connection.link is None)
    daemon.connection.release_periods([key])
    second.answers.set()
    assert guest.periods.get(timeout=10) == 0


def test_an_old_connection_says_nothing_about_the_new_one(daemons):
    first, second = FakeHandle(), FakeHandle()
    daemon = daemons(first, second)
    report = first.on_close
    first.break_(libvirt.VIR_CONNECT_CLOSE_REASON_EOF)
    daemon.until(lambda: daemon.connection.link and daemon.connection.link.handle is second)
    report(first, libvirt.VIR_CONNECT_CLOSE_REASON_EOF, None)
    assert daemon.connection.link.handle is second


def test_a_balloon_event_reports_bytes_and_wakes(daemons):
    guest = FakeDomain(1)
    handle = FakeHandle(guest)
    daemon = daemons(handle)
    handle.callbacks[libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE](handle, guest, 2048, None)
    assert daemon.moved == {key_of(guest): 2 * 2**20}


def test_a_reset_of_a_guest_is_a_fact_with_its_time_and_wakes(daemons):
    guest = FakeDomain(1)
    handle = FakeHandle(guest)
    daemon = daemons(handle)
    before = time.time()
    handle.callbacks[libvirt.VIR_DOMAIN_EVENT_ID_REBOOT](handle, guest, None)
    daemon.until(lambda: daemon.connection.facts[0].reset_at)
    assert before <= daemon.connection.facts[0].reset_at <= time.time()


@pytest.mark.parametrize(
    ("event", "details"),
    [
        (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, (libvirt.VIR_DOMAIN_EVENT_STARTED, 0)),
        (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, ("dimm0",)),
        (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, ("dimm0",)),
        (libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE, ("ua-virtiomem0", 4096)),
        (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, (2, "urn:somebody")),
    ],
)
def test_events_of_change_have_the_domains_read_again(daemons, event, details):
    old, new = FakeDomain(1), FakeDomain(2)
    handle = FakeHandle(old)
    daemon = daemons(handle)
    handle.domains = [old, new]
    handle.callbacks[event](handle, new, *details, None)
    daemon.until(lambda: len(daemon.connection.facts) == 2)


def test_closing_ends_the_supervisor_and_the_connection(daemons):
    handle = FakeHandle()
    daemon = daemons(handle)
    daemon.connection.close()
    assert (daemon.connection.link, handle.alive) == (None, False)
    assert daemon.connection.error() == "fake:///: closed"


class ManualPool(TaskPool):
    """Runs nothing: a test takes the turns of its one task, and sees how often that was woken."""

    wakes = 0

    def task(self, turn) -> Task:
        self.turn = turn
        return Task(turn, self._count)

    def _count(self, _task: Task) -> None:
        self.wakes += 1


def manual(open_, **settings) -> tuple[Connection, ManualPool]:
    pool = ManualPool()
    made = ConnectionSettings(backoff=lambda attempt, _jitter: 1000.0 + attempt, **settings)
    return Connection(Source(SOURCE, open_), lambda: None, lambda *_: None, made, pool), pool


def test_a_connection_at_rest_is_seen_to_at_the_next_tick_and_not_before():
    _, pool = manual(lambda: FakeHandle(FakeDomain(1)), tick_s=500.0)
    for _ in range(2):
        assert 490 < pool.turn() <= 500
    assert pool.wakes == 0


def test_while_too_many_calls_hang_domains_are_listed_on_news_only(gate):
    handle, listings = FakeHandle(FakeDomain(1)), []
    list_all = handle.listAllDomains
    handle.listAllDomains = lambda flags: listings.append(flags) or list_all(flags)
    connection, pool = manual(lambda: handle, tick_s=1e-9, crowded_s=1000.0)
    counts = []
    for hang_now in (False, True, False):
        if hang_now:
            for _ in range(LIMIT):
                connection.link.calls.leave(connection.link.calls.start(gate.wait, ("a", "b")))
        pool.turn()
        counts.append(len(listings))
    assert counts == [2, 4, 4]  # of persistent and of transient ones
    connection.doubt()
    pool.turn()
    assert len(listings) == 6


def test_a_period_that_was_set_is_read_again_once():
    guest = FakeDomain(1)
    guest.period = 0
    connection, pool = manual(lambda: FakeHandle(guest))
    pool.turn()
    connection.want_period(key_of(guest), 5)
    assert pool.wakes == 1
    pool.turn()
    assert (pool.wakes, guest.period) == (2, 5)
    pool.turn()
    assert (pool.wakes, connection.link.entries[key_of(guest)].period) == (2, 5)


def test_a_socket_that_is_yet_to_come_is_looked_for_often_for_a_while(monkeypatch):
    def absent():
        raise AbsentError("no socket yet")

    monkeypatch.setattr(module, "ABSENT_S", 0.0)
    _, pool = manual(absent)
    assert [pool.turn() for _ in range(ABSENT_TRIES + 1)] == [0.0] * ABSENT_TRIES + [1001.0 + ABSENT_TRIES]
    assert 1000 < pool.turn() < 1001 + ABSENT_TRIES


@given(attempt=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_backoff_grows_to_its_bound(attempt, jitter):
    assert backoff(attempt, jitter) <= backoff(attempt + 1, jitter) <= BACKOFF_LONGEST_S


def test_backoff_is_spread_over_half_of_it():
    assert (backoff(1, 0.0), backoff(2, 0.0)) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("key", "name"),
    [("UUID", ""), ("UUID@qemu:///system", "qemu:///system"), ("UUID@qemu+ssh://a@b/", "qemu+ssh://a@b/")],
)
def test_the_source_of_a_key(key, name):
    assert source_of(key) == name


def test_periods_that_there_was_no_time_for_are_set_in_the_next_round(daemons, monkeypatch):
    monkeypatch.setattr(periods, "SET_S", 0.01)
    monkeypatch.setattr(periods, "WORK_S", 0.005)
    hung, fine = FakeDomain(1), FakeDomain(2)
    hung.period = fine.period = 0
    connection = daemons(FakeHandle(hung, fine)).connection
    hung.answers.clear()
    for key, entry in connection.link.entries.items():
        connection._periods.want(key, entry, 5)
    connection._mailbox.post_period_work()
    assert fine.periods.get(timeout=10) == 5
    hung.answers.set()


def test_what_is_told_before_its_start_has_returned_is_not_lost(monkeypatch):
    handle, listed, start = FakeHandle(), threading.Semaphore(0), TaskPool.start

    def list_all(_flags: int) -> list[FakeDomain]:
        listed.release()
        return []

    def start_slowly(task_pool: TaskPool, *what) -> object:
        begun = start(task_pool, *what)
        assert connection.settled.wait(10)
        connection.doubt()
        return begun

    monkeypatch.setattr(handle, "listAllDomains", list_all)
    monkeypatch.setattr(TaskPool, "start", start_slowly)
    connection = Connection(
        Source(SOURCE, lambda: handle), lambda: None, lambda *_: None, CONNECTION_SETTINGS, TaskPool()
    )
    connection.start()
    for _ in range(4):  # persistent and transient ones, twice
        assert listed.acquire(timeout=5)
    connection.close()


@pytest.mark.parametrize(("asked", "seconds"), [(True, CLOSE_S - 1), (False, PART_S - 1)])
def test_closing_waits_longer_where_there_is_something_to_put_back(monkeypatch, asked, seconds):
    connection = Connection(Source(SOURCE, FakeHandle), lambda: None, lambda *_: None, CONNECTION_SETTINGS, TaskPool())
    monkeypatch.setattr(connection._periods, "pending", lambda: asked)
    waited = []
    connection._task = SimpleNamespace(ended=SimpleNamespace(wait=waited.append), wake=lambda: None)
    connection.close(1.0)
    assert waited == [seconds]


@pytest.mark.parametrize(
    "event",
    [
        libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
        libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
        libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE,
    ],
)
def test_memory_that_is_plugged_in_counts_as_soon_as_libvirt_tells(daemons, event):
    guest = FakeDomain(1)
    handle = FakeHandle(guest)
    daemon = daemons(handle)
    device = "<memory model='virtio-mem'><target><size>65536</size><current>4096</current></target></memory>"
    guest.XMLDesc = lambda _flags=0: XML.replace("</devices>", f"{device}</devices>")
    handle.callbacks[event](handle, guest, "virtiomem0", None)
    daemon.until(lambda: daemon.connection.facts[0].plugged == 4096 * 1024)
    assert daemon.connection.facts[0].obstacle is Reason.MEMORY_DEVICES
    assert daemon.connection.link.entries[key_of(guest)].facts.maximum == (262144 - 65536) * 1024

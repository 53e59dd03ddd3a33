"""The guest statistics period, on libvirt's own test driver."""

import re
import threading
import time
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import libvirt
import pytest

from controller.host import periods
from controller.host.calls import LIMIT, Calls
from controller.host.connection import CLOSE_SECONDS
from controller.host.looker import LOOK_SECONDS
from controller.host.marks import MARK_NAMESPACE, mark, marked
from controller.host.mover import MOVE_SECONDS
from controller.host.periods import CLOSING_SECONDS, CLOSING_SET_SECONDS, FOR_OTHERS, OFF, RETRY_SECONDS, Periods
from controller.host.pressure import CLOSE_SECONDS as CLOSE_PRESSURE_SECONDS
from controller.host.roster import Roster
from lab.fake_libvirt import FakeDomain, FakeHandle, key_of

ROOT = Path(__file__).parents[2]

WITHOUT_BALLOON = """<domain type='test'><name>bare</name><memory>1024</memory><os><type>hvm</type></os>
<devices><memballoon model='none'/></devices></domain>"""


class Bench:
    """Periods with the domains they are for, read again after each piece of work as the keeper does."""

    def __init__(self, handle: libvirt.virConnect) -> None:
        self.handle = handle
        self.now = 0.0
        self.calls = Calls(int)
        self.periods = Periods(lambda: self.now)
        self.roster = Roster("")
        self.refresh(())
        (self.key,) = self.roster.entries

    def refresh(self, changed: Collection[str]) -> None:
        self.roster.accept(self.roster.read(self.handle, changed))

    @property
    def entry(self):
        return self.roster.entries[self.key]

    def want(self, seconds: int) -> bool:
        return self.periods.want(self.key, self.entry, seconds)

    def work(self) -> set[str]:
        changed = self.periods.work(self.roster.entries, self.calls)
        self.refresh(changed)
        return changed

    def set_by_hand(self, seconds: int) -> None:
        self.entry.domain.setMemoryStatsPeriod(seconds, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        self.refresh({self.key})


@pytest.fixture
def bench(test_node) -> Bench:
    return Bench(test_node)


def test_a_missing_period_is_set_once(bench):
    assert bench.want(5)
    assert bench.work() == {bench.key}
    assert bench.entry.period == 5
    assert not bench.want(5)
    assert bench.work() == set()


def test_only_the_live_domain_is_changed(bench):
    bench.want(5)
    bench.work()
    assert "period" not in bench.entry.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)


def test_a_period_that_is_there_is_left_alone(bench):
    bench.set_by_hand(30)
    assert not bench.want(5)
    bench.work()
    assert bench.entry.period == 30


def test_a_period_of_ours_follows_the_policy(bench):
    bench.want(5)
    bench.work()
    assert bench.want(2)
    bench.work()
    assert bench.entry.period == 2


def test_release_puts_back_what_was_there(bench):
    bench.want(5)
    bench.work()
    assert bench.periods.release(bench.roster.entries, [bench.key])
    bench.work()
    assert bench.entry.period == OFF
    assert not bench.periods.release(bench.roster.entries, [bench.key])


def test_release_before_the_period_was_set_sets_nothing(bench):
    bench.want(5)
    bench.periods.release(bench.roster.entries, [bench.key])
    assert bench.work() == set()
    assert not bench.periods.pending()


def test_release_while_a_period_is_being_set_puts_it_back_afterwards(bench):
    class Interrupted(Calls):
        def run(self, work, keys, seconds):
            super().run(work, keys, seconds)
            bench.periods.release(bench.roster.entries, keys)

    bench.calls = Interrupted(int)
    bench.want(5)
    bench.work()
    assert bench.periods.pending()
    bench.calls = Calls(int)
    bench.work()
    assert (bench.entry.period, bench.periods.pending()) == (OFF, False)


def test_what_was_asked_of_a_domain_that_is_gone_is_forgotten(bench):
    bench.want(5)
    assert bench.periods.work({}, bench.calls) == set()
    assert not bench.periods.pending()


def test_release_leaves_a_period_of_somebody_else(bench):
    bench.set_by_hand(30)
    assert not bench.periods.release(bench.roster.entries, [bench.key])


def test_a_period_that_somebody_else_set_after_us_is_theirs(bench):
    bench.want(5)
    bench.work()
    bench.set_by_hand(30)
    bench.work()
    assert not bench.want(5)
    assert not bench.periods.release(bench.roster.entries, [bench.key])


def test_a_period_of_ours_is_ours_after_a_save_and_restore(bench, tmp_path):
    bench.want(5)
    bench.work()
    bench.entry.domain.save(str(tmp_path / "saved"))
    bench.refresh(())
    bench.handle.restore(str(tmp_path / "saved"))
    bench.refresh(())
    assert bench.entry.period == 5
    bench.periods.release(bench.roster.entries, [bench.key])
    bench.work()
    assert bench.entry.period == OFF


def test_a_period_that_an_earlier_run_has_set_is_ours(bench):
    bench.want(5)
    bench.work()
    bench.periods = Periods(lambda: bench.now)
    assert bench.want(2)
    bench.work()
    bench.periods = Periods(lambda: bench.now)
    assert bench.periods.release(bench.roster.entries, [bench.key])
    bench.work()
    assert bench.entry.period == OFF


def test_a_period_that_was_put_back_leaves_no_mark(bench):
    bench.want(5)
    bench.work()
    bench.periods.release(bench.roster.entries, [bench.key])
    bench.work()
    assert "ballast" not in bench.entry.domain.XMLDesc()
    bench.set_by_hand(5)
    assert not bench.periods.release(bench.roster.entries, [bench.key])


@pytest.mark.parametrize("asked", [5, OFF])
def test_what_somebody_else_set_unheard_is_left_alone(bench, asked):
    if asked == OFF:
        bench.want(5)
        bench.work()
        bench.periods.release(bench.roster.entries, [bench.key])
    else:
        bench.want(5)
    bench.entry.domain.setMemoryStatsPeriod(30, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    bench.work()
    assert bench.entry.period == 30


def test_what_could_not_be_put_back_is_tried_again_after_a_rest(bench):
    bench.want(5)
    bench.work()
    bench.periods.release(bench.roster.entries, [bench.key])
    bench.calls = Calls(int, limit=0)
    bench.work()
    assert not bench.periods.pending()
    bench.calls = Calls(int)
    bench.work()
    assert bench.entry.period == 5
    bench.now += RETRY_SECONDS
    assert bench.periods.pending()
    bench.work()
    assert bench.entry.period == OFF


def test_what_was_not_put_back_yet_and_is_wanted_again_stays(bench):
    bench.want(5)
    bench.work()
    bench.periods.release(bench.roster.entries, [bench.key])
    assert not bench.want(5)
    bench.work()
    assert (bench.entry.period, bench.periods.pending()) == (5, False)


def test_other_work_is_not_kept_waiting(bench):
    bench.want(5)
    assert bench.periods.work(bench.roster.entries, bench.calls, lambda: True) == set()
    assert bench.periods.pending()


def test_periods_of_domains_that_hang_leave_calls_to_looks_and_orders(connect, monkeypatch):
    monkeypatch.setattr(periods, "SET_SECONDS", 0.01)
    domains = [FakeDomain(number) for number in range(LIMIT)]
    for domain in domains:
        domain.period = OFF
        domain.answers.clear()
    connection = connect(FakeHandle(*domains))
    calls, ours = connection.link.calls, Periods()
    for key, entry in connection.link.entries.items():
        ours.want(key, entry, 5)
    ours.work(connection.link.entries, calls)
    calls.require(FOR_OTHERS)


class Crowd:
    """Domains whose periods Ballast has set; calls take five milliseconds."""

    def __init__(self, connect, size: int = 1000) -> None:
        self.domains = [SlowDomain(number) for number in range(size)]
        self.connection = connect(FakeHandle(*self.domains))
        self.connection.release_periods([key_of(domain) for domain in self.domains])


class SlowDomain(FakeDomain):
    """It takes its time, and its period is Ballast's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        mark(self, self.period)

    def setMemoryStatsPeriod(self, seconds: int, flags: int) -> None:  # noqa: N802 - libvirt's name
        time.sleep(0.005)
        super().setMemoryStatsPeriod(seconds, flags)


def test_a_thousand_periods_are_put_back_by_the_time_of_closing(connect):
    crowd = Crowd(connect)
    crowd.connection.close()
    assert [domain.period for domain in crowd.domains] == [OFF] * 1000


def test_domains_that_hang_keep_no_others_period(connect, monkeypatch):
    monkeypatch.setattr(periods, "CLOSING_SET_SECONDS", 0.5)
    crowd = Crowd(connect, 100)
    hung = crowd.domains[::20]
    for domain in hung:
        domain.answers.clear()
    crowd.connection.close()
    assert {domain.number for domain in crowd.domains if domain.period != OFF} == {domain.number for domain in hung}


def test_closing_fits_into_the_time_that_systemd_and_kubernetes_grant():
    unit = (ROOT / "manifests/systemd/ballast.service").read_text()
    pod = (ROOT / "manifests/base/agent.yaml").read_text()
    granted = re.findall(r"(?:TimeoutStopSec=|terminationGracePeriodSeconds: )(\d+)", unit + pod)
    turn, others = sum(LOOK_SECONDS) + MOVE_SECONDS, 10  # seconds that HTTP clients and the API server may take
    assert CLOSING_SECONDS + CLOSING_SET_SECONDS < CLOSE_SECONDS
    assert [turn + others + CLOSE_SECONDS + CLOSE_PRESSURE_SECONDS < int(seconds) for seconds in granted] == [
        True,
        True,
    ]


def test_a_failure_is_retried_after_a_rest(bench):
    bench.calls = Calls(int, limit=0)
    bench.want(5)
    assert bench.work() == set()
    assert not bench.want(5)
    bench.now += RETRY_SECONDS
    bench.calls = Calls(int)
    assert bench.want(5)
    assert bench.work() == {bench.key}


def test_a_domain_without_a_balloon_is_left_alone(bench):
    bare = bench.handle.createXML(WITHOUT_BALLOON)
    bench.refresh(())
    key = bare.UUIDString()
    assert not bench.periods.want(key, bench.roster.entries[key], 5)


def test_domains_that_are_known_to_hang_come_last(monkeypatch):
    monkeypatch.setattr(periods, "CLOSING_AT_ONCE", 1)
    domains, order = [SlowDomain(number) for number in range(3)], []
    for domain in domains:
        domain.periods = SimpleNamespace(put=lambda _seconds, number=domain.number: order.append(number))
    roster, ours = Roster(""), Periods()
    roster.accept(roster.read(FakeHandle(*domains), ()))
    ours.release(roster.entries, roster.entries)
    ours.put_back(roster.entries, Calls(int), {domains[0].UUIDString()})
    assert order == [1, 2, 0]


def test_where_nothing_is_to_be_put_back_no_thread_begins(monkeypatch):
    begun = []
    monkeypatch.setattr(periods.threading, "Thread", lambda **options: begun.append(options["name"]))
    Periods().put_back({}, Calls(int), ())
    assert begun == []


def test_a_period_that_is_set_late_is_put_back(monkeypatch):
    monkeypatch.setattr(periods, "SET_SECONDS", 0.01)
    domain = FakeDomain(1)
    domain.period = OFF
    roster, ours, calls = Roster(""), Periods(), Calls(int)
    roster.accept(roster.read(handle := FakeHandle(domain), ()))
    (key,) = roster.entries
    domain.answers.clear()
    ours.want(key, roster.entries[key], 5)
    ours.work(roster.entries, calls)
    roster.accept(roster.read(handle, {key}))  # it bears the mark, and no period yet
    domain.answers.set()
    assert domain.periods.get(timeout=10) == 5
    with domain.job:
        pass
    ours.release(roster.entries, [key])
    ours.put_back(roster.entries, Calls(int), ())
    assert (domain.period, domain.metadata) == (OFF, {})


def test_a_domain_that_hangs_is_not_asked_again_before_it_answers(bench):
    gate = threading.Event()
    bench.calls.leave(bench.calls.start(gate.wait, (bench.key,)))
    bench.want(5)
    assert bench.work() == set()
    assert bench.entry.period == OFF
    gate.set()


def test_a_mark_without_a_period_is_taken_away_with_the_others(bench):
    mark(bench.entry.domain, 5)
    bench.refresh({bench.key})
    assert bench.periods.release(bench.roster.entries, [bench.key])
    bench.work()
    assert bench.entry.marked == 0
    assert not bench.periods.release(bench.roster.entries, [bench.key])


def test_no_work_takes_longer_than_the_keeper_has(bench, monkeypatch):
    monkeypatch.setattr(periods, "WORK_SECONDS", 0.0)
    bench.want(5)
    assert bench.work() == set()
    assert bench.periods.pending()


def test_closing_takes_no_longer_than_it_may(bench, monkeypatch):
    monkeypatch.setattr(periods, "CLOSING_SECONDS", 0.0)
    bench.want(5)
    bench.periods.put_back(bench.roster.entries, bench.calls, ())
    bench.refresh({bench.key})
    assert bench.entry.period == OFF


def test_a_domain_that_can_no_longer_be_understood_is_left_alone():
    domain = FakeDomain(1)
    domain.period = OFF
    roster, ours = Roster(""), Periods()
    roster.accept(roster.read(FakeHandle(domain), ()))
    (key,) = roster.entries
    ours.want(key, roster.entries[key], 5)
    domain.XMLDesc = lambda: "<domain/>"
    assert ours.work(roster.entries, Calls(int)) == set()
    assert domain.period == OFF


@pytest.mark.parametrize(
    ("period", "seconds"), [("5", 5), ("0", 0), ("", 0), ("-5", 0), ("5s", 0), ("\u0665", 0), ("9" * 5000, 0)]
)
def test_a_mark_is_a_number_of_seconds_or_none(period, seconds):
    element = f"<b:statistics xmlns:b='{MARK_NAMESPACE}' period='{period}'/>"
    assert marked(f"<domain><metadata>{element}</metadata></domain>") == seconds


def test_a_mark_elsewhere_is_none():
    assert marked(f"<domain><title>{MARK_NAMESPACE}</title></domain>") == 0

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
from controller.host.connection import CLOSE_S
from controller.host.domaincache import DomainCache
from controller.host.looker import LOOK_S
from controller.host.marks import MARK_NAMESPACE, mark, marked
from controller.host.mover import MOVE_S
from controller.host.periods import CLOSING_S, CLOSING_SET_S, FOR_OTHERS, OFF, RETRY_S, Periods
from controller.host.pressure import CLOSE_S as CLOSE_PRESSURE_S
from lab.fake_libvirt import FakeDomain, FakeHandle, key_of

ROOT = Path(__file__).parents[2]

WITHOUT_BALLOON = """<domain type='test'><name>bare</name><memory>1024</memory><os><type>hvm</type></os>
<devices><memballoon model='none'/></devices></domain>"""


class PeriodsWithDomains:
    """Periods with the domains they are for, read again after each piece of work as the supervisor does."""

    def __init__(self, handle: libvirt.virConnect) -> None:
        self.handle = handle
        self.now = 0.0
        self.calls = Calls(int)
        self.periods = Periods(lambda: self.now)
        self.domain_cache = DomainCache("")
        self.refresh(())
        (self.key,) = self.domain_cache.entries

    def refresh(self, changed: Collection[str]) -> None:
        self.domain_cache.accept(self.domain_cache.read(self.handle, changed))

    @property
    def entry(self):
        return self.domain_cache.entries[self.key]

    def want(self, seconds: int) -> bool:
        return self.periods.want(self.key, self.entry, seconds)

    def work(self) -> set[str]:
        changed = self.periods.work(self.domain_cache.entries, self.calls)
        self.refresh(changed)
        return changed

    def set_by_hand(self, seconds: int) -> None:
        self.entry.domain.setMemoryStatsPeriod(seconds, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        self.refresh({self.key})


@pytest.fixture
def driver(test_node) -> PeriodsWithDomains:
    return PeriodsWithDomains(test_node)


def test_a_missing_period_is_set_once(driver):
    assert driver.want(5)
    assert driver.work() == {driver.key}
    assert driver.entry.period == 5
    assert not driver.want(5)
    assert driver.work() == set()


def test_only_the_live_domain_is_changed(driver):
    driver.want(5)
    driver.work()
    assert "period" not in driver.entry.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)


def test_a_period_that_is_there_is_left_alone(driver):
    driver.set_by_hand(30)
    assert not driver.want(5)
    driver.work()
    assert driver.entry.period == 30


def test_a_period_of_ours_follows_the_policy(driver):
    driver.want(5)
    driver.work()
    assert driver.want(2)
    driver.work()
    assert driver.entry.period == 2


def test_a_period_of_ours_follows_the_policy_before_it_has_been_read_again(driver):
    driver.want(5)
    driver.periods.work(driver.domain_cache.entries, driver.calls)
    assert driver.want(2)


def test_release_puts_back_what_was_there(driver):
    driver.want(5)
    driver.work()
    assert driver.periods.release(driver.domain_cache.entries, [driver.key])
    driver.work()
    assert driver.entry.period == OFF
    assert not driver.periods.release(driver.domain_cache.entries, [driver.key])


def test_release_before_the_period_was_set_sets_nothing(driver):
    driver.want(5)
    driver.periods.release(driver.domain_cache.entries, [driver.key])
    assert driver.work() == set()
    assert not driver.periods.pending()


def test_release_while_a_period_is_being_set_puts_it_back_afterwards(driver):
    class Interrupted(Calls):
        def run(self, work, keys, seconds):
            super().run(work, keys, seconds)
            driver.periods.release(driver.domain_cache.entries, keys)

    driver.calls = Interrupted(int)
    driver.want(5)
    driver.work()
    assert driver.periods.pending()
    driver.calls = Calls(int)
    driver.work()
    assert (driver.entry.period, driver.periods.pending()) == (OFF, False)


def test_what_was_asked_of_a_domain_that_is_gone_is_forgotten(driver):
    driver.want(5)
    assert driver.periods.work({}, driver.calls) == set()
    assert not driver.periods.pending()


def test_release_leaves_a_period_of_somebody_else(driver):
    driver.set_by_hand(30)
    assert not driver.periods.release(driver.domain_cache.entries, [driver.key])


def test_a_period_that_somebody_else_set_after_us_is_theirs(driver):
    driver.want(5)
    driver.work()
    driver.set_by_hand(30)
    driver.work()
    assert not driver.want(5)
    assert not driver.periods.release(driver.domain_cache.entries, [driver.key])


def test_a_period_of_ours_is_ours_after_a_save_and_restore(driver, tmp_path):
    driver.want(5)
    driver.work()
    driver.entry.domain.save(str(tmp_path / "saved"))
    driver.refresh(())
    driver.handle.restore(str(tmp_path / "saved"))
    driver.refresh(())
    assert driver.entry.period == 5
    driver.periods.release(driver.domain_cache.entries, [driver.key])
    driver.work()
    assert driver.entry.period == OFF


def test_a_period_that_an_earlier_run_has_set_is_ours(driver):
    driver.want(5)
    driver.work()
    driver.periods = Periods(lambda: driver.now)
    assert driver.want(2)
    driver.work()
    driver.periods = Periods(lambda: driver.now)
    assert driver.periods.release(driver.domain_cache.entries, [driver.key])
    driver.work()
    assert driver.entry.period == OFF


def test_a_period_that_was_put_back_leaves_no_mark(driver):
    driver.want(5)
    driver.work()
    driver.periods.release(driver.domain_cache.entries, [driver.key])
    driver.work()
    assert "ballast" not in driver.entry.domain.XMLDesc()
    driver.set_by_hand(5)
    assert not driver.periods.release(driver.domain_cache.entries, [driver.key])


@pytest.mark.parametrize("asked", [5, OFF])
def test_what_somebody_else_set_unheard_is_left_alone(driver, asked):
    if asked == OFF:
        driver.want(5)
        driver.work()
        driver.periods.release(driver.domain_cache.entries, [driver.key])
    else:
        driver.want(5)
    driver.entry.domain.setMemoryStatsPeriod(30, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    driver.work()
    assert driver.entry.period == 30


def test_what_could_not_be_put_back_is_tried_again_after_a_rest(driver):
    driver.want(5)
    driver.work()
    driver.periods.release(driver.domain_cache.entries, [driver.key])
    driver.calls = Calls(int, limit=0)
    driver.work()
    assert not driver.periods.pending()
    driver.calls = Calls(int)
    driver.work()
    assert driver.entry.period == 5
    driver.now += RETRY_S
    assert driver.periods.pending()
    driver.work()
    assert driver.entry.period == OFF


def test_what_was_not_put_back_yet_and_is_wanted_again_stays(driver):
    driver.want(5)
    driver.work()
    driver.periods.release(driver.domain_cache.entries, [driver.key])
    assert not driver.want(5)
    driver.work()
    assert (driver.entry.period, driver.periods.pending()) == (5, False)


def test_other_work_is_not_kept_waiting(driver):
    driver.want(5)
    assert driver.periods.work(driver.domain_cache.entries, driver.calls, lambda: True) == set()
    assert driver.periods.pending()


def test_periods_of_domains_that_hang_leave_calls_to_looks_and_orders(connect, monkeypatch):
    monkeypatch.setattr(periods, "SET_S", 0.01)
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


class DomainsWithPeriods:
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
    crowd = DomainsWithPeriods(connect)
    crowd.connection.close()
    assert [domain.period for domain in crowd.domains] == [OFF] * 1000


def test_domains_that_hang_keep_no_others_period(connect, monkeypatch):
    monkeypatch.setattr(periods, "CLOSING_SET_S", 0.5)
    crowd = DomainsWithPeriods(connect, 100)
    hung = crowd.domains[::20]
    for domain in hung:
        domain.answers.clear()
    crowd.connection.close()
    assert {domain.number for domain in crowd.domains if domain.period != OFF} == {domain.number for domain in hung}


def test_closing_fits_into_the_time_that_systemd_and_kubernetes_grant():
    unit = (ROOT / "manifests/systemd/ballast.service").read_text()
    pod = (ROOT / "manifests/base/agent.yaml").read_text()
    granted = re.findall(r"(?:TimeoutStopSec=|terminationGracePeriodSeconds: )(\d+)", unit + pod)
    turn, others = sum(LOOK_S) + MOVE_S, 10  # seconds that HTTP clients and the API server may take
    assert CLOSING_S + CLOSING_SET_S < CLOSE_S
    assert [turn + others + CLOSE_S + CLOSE_PRESSURE_S < int(seconds) for seconds in granted] == [
        True,
        True,
    ]


def test_a_failure_is_retried_after_a_rest(driver):
    driver.calls = Calls(int, limit=0)
    driver.want(5)
    assert driver.work() == set()
    assert not driver.want(5)
    driver.now += RETRY_S
    driver.calls = Calls(int)
    assert driver.want(5)
    assert driver.work() == {driver.key}


def test_a_domain_without_a_balloon_is_left_alone(driver):
    bare = driver.handle.createXML(WITHOUT_BALLOON)
    driver.refresh(())
    key = bare.UUIDString()
    assert not driver.periods.want(key, driver.domain_cache.entries[key], 5)


def test_domains_that_are_known_to_hang_come_last(monkeypatch):
    monkeypatch.setattr(periods, "CLOSING_AT_ONCE", 1)
    domains, order = [SlowDomain(number) for number in range(3)], []
    for domain in domains:
        domain.periods = SimpleNamespace(put=lambda _seconds, number=domain.number: order.append(number))
    domain_cache, ours = DomainCache(""), Periods()
    domain_cache.accept(domain_cache.read(FakeHandle(*domains), ()))
    ours.release(domain_cache.entries, domain_cache.entries)
    ours.put_back(domain_cache.entries, Calls(int), {domains[0].UUIDString()})
    assert order == [1, 2, 0]


def test_where_nothing_is_to_be_put_back_no_thread_begins(monkeypatch):
    begun = []
    monkeypatch.setattr(periods.threading, "Thread", lambda **options: begun.append(options["name"]))
    Periods().put_back({}, Calls(int), ())
    assert begun == []


def test_a_period_that_is_set_late_is_put_back(monkeypatch):
    monkeypatch.setattr(periods, "SET_S", 0.01)
    domain = FakeDomain(1)
    domain.period = OFF
    domain_cache, ours, calls = DomainCache(""), Periods(), Calls(int)
    domain_cache.accept(domain_cache.read(handle := FakeHandle(domain), ()))
    (key,) = domain_cache.entries
    domain.answers.clear()
    ours.want(key, domain_cache.entries[key], 5)
    ours.work(domain_cache.entries, calls)
    domain_cache.accept(domain_cache.read(handle, {key}))  # it bears the mark, and no period yet
    domain.answers.set()
    assert domain.periods.get(timeout=10) == 5
    with domain.job:
        pass
    ours.release(domain_cache.entries, [key])
    ours.put_back(domain_cache.entries, Calls(int), ())
    assert (domain.period, domain.metadata) == (OFF, {})


def test_a_domain_that_hangs_is_not_asked_again_before_it_answers(driver):
    gate = threading.Event()
    driver.calls.leave(driver.calls.start(gate.wait, (driver.key,)))
    driver.want(5)
    assert driver.work() == set()
    assert driver.entry.period == OFF
    gate.set()


def test_a_mark_without_a_period_is_taken_away_with_the_others(driver):
    mark(driver.entry.domain, 5)
    driver.refresh({driver.key})
    assert driver.periods.release(driver.domain_cache.entries, [driver.key])
    driver.work()
    assert driver.entry.marked == 0
    assert not driver.periods.release(driver.domain_cache.entries, [driver.key])


def test_no_work_takes_longer_than_the_supervisor_has(driver, monkeypatch):
    monkeypatch.setattr(periods, "WORK_S", 0.0)
    driver.want(5)
    assert driver.work() == set()
    assert driver.periods.pending()


def test_closing_takes_no_longer_than_it_may(driver, monkeypatch):
    monkeypatch.setattr(periods, "CLOSING_S", 0.0)
    driver.want(5)
    driver.periods.put_back(driver.domain_cache.entries, driver.calls, ())
    driver.refresh({driver.key})
    assert driver.entry.period == OFF


def test_a_domain_that_can_no_longer_be_understood_is_left_alone():
    domain = FakeDomain(1)
    domain.period = OFF
    domain_cache, ours = DomainCache(""), Periods()
    domain_cache.accept(domain_cache.read(FakeHandle(domain), ()))
    (key,) = domain_cache.entries
    ours.want(key, domain_cache.entries[key], 5)
    domain.XMLDesc = lambda: "<domain/>"
    assert ours.work(domain_cache.entries, Calls(int)) == set()
    assert domain.period == OFF


@pytest.mark.parametrize(
    ("period", "seconds"), [("5", 5), ("0", 0), ("", 0), ("-5", 0), ("5s", 0), ("\u0665", 0), ("9" * 5000, 0)]
)
def test_a_mark_is_a_number_of_seconds_or_none(period, seconds):
    element = f"<b:statistics xmlns:b='{MARK_NAMESPACE}' period='{period}'/>"
    assert marked(f"<domain><metadata>{element}</metadata></domain>") == seconds


def test_a_mark_elsewhere_is_none():
    assert marked(f"<domain><title>{MARK_NAMESPACE}</title></domain>") == 0

"""The guest statistics period, on libvirt's own test driver."""

from collections.abc import Collection

import libvirt
import pytest

from controller.host.calls import Calls
from controller.host.periods import OFF, RETRY_SECONDS, Periods
from controller.host.roster import Roster

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

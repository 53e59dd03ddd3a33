"""The election of a leader, with clocks in hand and a Lease in memory."""

from dataclasses import replace

import pytest

from controller.cluster.election import (
    JITTER,
    LEASE_DURATION_S,
    RENEW_DEADLINE_S,
    RETRY_S,
    Election,
    Held,
    LeaseError,
    Record,
)
from controller.cluster.lease import Candidate


class MemoryLease:
    """A Lease in memory: optimistic locking as in the API server, and an API server that can go away."""

    def __init__(self) -> None:
        self.held: Held | None = None
        self.away = False
        self.takes = lambda: None
        """Called by every request: for clocks that go on meanwhile."""

    def read(self) -> Held | None:
        self._arrive()
        return self.held

    def create(self, record: Record) -> Held:
        self._arrive()
        if self.held is not None:
            raise LeaseError("already exists")
        self.held = Held(record, "1")
        return self.held

    def replace(self, record: Record, version: str) -> Held:
        self._arrive()
        if self.held is None or self.held.version != version:
            raise LeaseError("conflict")
        self.held = Held(record, str(int(version) + 1))
        return self.held

    def _arrive(self) -> None:
        self.takes()
        if self.away:
            raise LeaseError("connection refused")


class Site:
    """Replicas around one Lease, with one true time and wall clocks that are wrong by hours."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lease = MemoryLease()

    def replica(self, name: str, wall_skew: float = 0.0) -> Election:
        return Election(self.lease, name, lambda: self.now, lambda: self.now + wall_skew)

    @property
    def record(self) -> Record:
        assert self.lease.held is not None
        return self.lease.held.record


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_first_makes_the_lease_and_leads(site):
    a = site.replica("a")
    assert a.turn() == RETRY_S
    assert (a.leading, a.leader) == (True, "a")
    assert site.record == Record("a", 15, "1970-01-01T00:16:40.000000Z", "1970-01-01T00:16:40.000000Z", 0)


def test_the_second_waits_and_tries_again_a_little_later_each_time(site):
    a, b = site.replica("a"), site.replica("b")
    a.turn()
    waits = [b.turn() for _ in range(20)]
    assert all(RETRY_S <= wait <= RETRY_S * JITTER for wait in waits)
    assert len(set(waits)) > 1
    assert (b.leading, b.leader) == (False, "a")


def test_renewing_changes_the_time_of_renewal_alone(site):
    a = site.replica("a")
    a.turn()
    before = site.record
    site.now += RETRY_S
    a.turn()
    assert site.record == replace(before, renewed_at="1970-01-01T00:16:42.000000Z")
    assert a.leading


def test_a_leader_that_is_gone_is_followed_after_the_lease_duration_and_not_before(site):
    a, b = site.replica("a"), site.replica("b")
    a.turn()
    b.turn()
    site.now += LEASE_DURATION_S - 0.001
    b.turn()
    assert not b.leading
    site.now += 0.001
    b.turn()
    assert (b.leading, site.record.holder, site.record.transitions) == (True, "b", 1)


@pytest.mark.parametrize(("said", "seconds"), [(30, 30), (5, 5), (0, LEASE_DURATION_S)])
def test_a_lease_is_waited_for_as_long_as_it_says(site, said, seconds):
    site.lease.held = Held(Record("other", said, "", "", 0), "7")
    b = site.replica("b")
    b.turn()
    site.now += seconds - 0.001
    b.turn()
    assert not b.leading
    site.now += 0.001
    b.turn()
    assert b.leading


def test_whoever_comes_late_waits_the_whole_duration_from_what_it_saw_itself(site):
    a = site.replica("a")
    a.turn()
    site.now += 10 * LEASE_DURATION_S
    b = site.replica("b")
    b.turn()
    assert not b.leading


def test_wall_clocks_hours_apart_change_nothing(site):
    a, b = site.replica("a", wall_skew=-7200.0), site.replica("b", wall_skew=7200.0)
    a.turn()
    for _ in range(20):
        site.now += RETRY_S
        a.turn()
        b.turn()
        assert (a.leading, b.leading) == (True, False)


def test_a_leader_without_an_api_server_stands_back_before_another_may_start(site):
    a, b = site.replica("a"), site.replica("b")
    a.turn()
    b.turn()
    site.lease.away = True
    site.now += RENEW_DEADLINE_S - 0.001
    a.turn()
    assert (a.leading, a.problem) == (True, "connection refused")
    site.now += 0.001
    assert not a.leading


def test_a_renewal_counts_from_when_it_was_sent(site):
    a = site.replica("a")
    a.turn()
    site.lease.takes = lambda: setattr(site, "now", site.now + 4.0)
    a.turn()
    site.now += RENEW_DEADLINE_S - 4.0
    assert not a.leading


def test_never_two_lead_whatever_happens_to_one_of_them(site):
    a, b = site.replica("a"), site.replica("b")
    a.turn()
    for step in range(400):
        site.now += 0.5
        site.lease.away = False
        if step % 4 == 0:
            site.lease.away = (step // 80) % 2 == 1
            a.turn()
            site.lease.away = False
        b.turn()
        assert not (a.leading and b.leading)
    assert b.leading or a.leading


def test_two_that_try_at_once_do_not_both_get_it(site):
    a, b = site.replica("a"), site.replica("b")
    read = site.lease.read

    def overtaken() -> Held | None:
        seen = read()
        site.lease.read = read
        b.turn()
        return seen

    site.lease.read = overtaken
    a.turn()
    assert (a.leading, b.leading, site.record.holder) == (False, True, "b")


def test_a_leader_whose_lease_was_taken_stands_back_at_once(site):
    a = site.replica("a")
    a.turn()
    assert site.lease.held is not None
    site.lease.held = Held(replace(site.record, holder="b"), "7")
    a.turn()
    assert (a.leading, a.leader) == (False, "b")


def test_a_lease_that_was_deleted_is_made_again(site):
    a = site.replica("a")
    a.turn()
    site.lease.held = None
    a.turn()
    assert (a.leading, site.record.holder) == (True, "a")


def test_a_lease_somebody_annotated_is_kept(site):
    a = site.replica("a")
    a.turn()
    site.lease.held = Held(site.record, "7")
    a.turn()
    assert (a.leading, site.lease.held.version) == (True, "8")


def test_whoever_releases_is_followed_at_the_next_try(site):
    a, b = site.replica("a"), site.replica("b")
    a.turn()
    b.turn()
    a.release()
    assert (a.leading, site.record.holder) == (False, "")
    b.turn()
    assert (b.leading, site.record.transitions) == (True, 1)


def test_releasing_what_one_does_not_hold_writes_nothing(site):
    a, b = site.replica("a"), site.replica("b")
    a.turn()
    b.turn()
    before = site.lease.held
    b.release()
    assert site.lease.held == before


def test_releasing_without_an_api_server_still_ends_leading(site):
    a = site.replica("a")
    a.turn()
    site.lease.away = True
    a.release()
    assert not a.leading


def test_a_failure_is_said_once_and_so_is_its_end(site, caplog):
    caplog.set_level("INFO", "controller")
    a = site.replica("a")
    site.lease.away = True
    a.turn()
    a.turn()
    site.lease.away = False
    a.turn()
    a.turn()
    assert [record.message for record in caplog.records] == [
        "election: connection refused",
        "election: the Lease can be read and written again",
        "a leads",
    ]


def test_whoever_begins_or_ends_to_lead_says_so_each_time_and_not_between(site):
    election = site.replica("a")
    told = []
    candidate = Candidate(election, lambda: told.append(election.leading))
    for away in (False, False, True, False):
        site.lease.away = away
        candidate._turn()
        site.now += RENEW_DEADLINE_S if away else 0.0
        candidate._turn()
    assert told == [True, False, True]

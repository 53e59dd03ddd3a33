"""The election of a leader, with clocks in hand and a Lease in memory."""

from dataclasses import replace

import pytest

from controller.cluster.election import (
    JITTER,
    LEASE_DURATION_S,
    RENEW_DEADLINE_S,
    RETRY_S,
    Election,
    LeaseError,
    LeaseRecord,
    VersionedLease,
)
from controller.cluster.lease import LeaseCandidate


class MemoryLease:
    """A Lease in memory: optimistic locking as in the API server, and an API server that can go away."""

    def __init__(self) -> None:
        self.held: VersionedLease | None = None
        self.away = False
        self.takes = lambda: None
        """Called by every request: for clocks that go on meanwhile."""

    def read(self) -> VersionedLease | None:
        self._arrive()
        return self.held

    def create(self, record: LeaseRecord) -> VersionedLease:
        self._arrive()
        if self.held is not None:
            raise LeaseError("already exists")
        self.held = VersionedLease(record, "1")
        return self.held

    def replace(self, record: LeaseRecord, version: str) -> VersionedLease:
        self._arrive()
        if self.held is None or self.held.version != version:
            raise LeaseError("conflict")
        self.held = VersionedLease(record, str(int(version) + 1))
        return self.held

    def _arrive(self) -> None:
        self.takes()
        if self.away:
            raise LeaseError("connection refused")


class Replicas:
    """Replicas around one Lease, with one true time and wall clocks that are wrong by hours."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lease = MemoryLease()

    def replica(self, name: str, wall_skew: float = 0.0) -> Election:
        return Election(self.lease, name, lambda: self.now, lambda: self.now + wall_skew)

    @property
    def record(self) -> LeaseRecord:
        assert self.lease.held is not None
        return self.lease.held.record


@pytest.fixture
def replicas() -> Replicas:
    return Replicas()


def test_the_first_makes_the_lease_and_leads(replicas):
    a = replicas.replica("a")
    assert a.turn() == RETRY_S
    assert (a.leading, a.leader) == (True, "a")
    assert replicas.record == LeaseRecord("a", 15, "1970-01-01T00:16:40.000000Z", "1970-01-01T00:16:40.000000Z", 0)


def test_the_second_waits_and_tries_again_a_little_later_each_time(replicas):
    a, b = replicas.replica("a"), replicas.replica("b")
    a.turn()
    waits = [b.turn() for _ in range(20)]
    assert all(RETRY_S <= wait <= RETRY_S * JITTER for wait in waits)
    assert len(set(waits)) > 1
    assert (b.leading, b.leader) == (False, "a")


def test_renewing_changes_the_time_of_renewal_alone(replicas):
    a = replicas.replica("a")
    a.turn()
    before = replicas.record
    replicas.now += RETRY_S
    a.turn()
    assert replicas.record == replace(before, renewed_at="1970-01-01T00:16:42.000000Z")
    assert a.leading


def test_a_leader_that_is_gone_is_followed_after_the_lease_duration_and_not_before(replicas):
    a, b = replicas.replica("a"), replicas.replica("b")
    a.turn()
    b.turn()
    replicas.now += LEASE_DURATION_S - 0.001
    b.turn()
    assert not b.leading
    replicas.now += 0.001
    b.turn()
    assert (b.leading, replicas.record.holder, replicas.record.transitions) == (True, "b", 1)


@pytest.mark.parametrize(("said", "seconds"), [(30, 30), (5, 5), (0, LEASE_DURATION_S)])
def test_a_lease_is_waited_for_as_long_as_it_says(replicas, said, seconds):
    replicas.lease.held = VersionedLease(LeaseRecord("other", said, "", "", 0), "7")
    b = replicas.replica("b")
    b.turn()
    replicas.now += seconds - 0.001
    b.turn()
    assert not b.leading
    replicas.now += 0.001
    b.turn()
    assert b.leading


def test_whoever_comes_late_waits_the_whole_duration_from_what_it_saw_itself(replicas):
    a = replicas.replica("a")
    a.turn()
    replicas.now += 10 * LEASE_DURATION_S
    b = replicas.replica("b")
    b.turn()
    assert not b.leading


def test_wall_clocks_hours_apart_change_nothing(replicas):
    a, b = replicas.replica("a", wall_skew=-7200.0), replicas.replica("b", wall_skew=7200.0)
    a.turn()
    for _ in range(20):
        replicas.now += RETRY_S
        a.turn()
        b.turn()
        assert (a.leading, b.leading) == (True, False)


def test_a_leader_without_an_api_server_stands_back_before_another_may_start(replicas):
    a, b = replicas.replica("a"), replicas.replica("b")
    a.turn()
    b.turn()
    replicas.lease.away = True
    replicas.now += RENEW_DEADLINE_S - 0.001
    a.turn()
    assert (a.leading, a.problem) == (True, "connection refused")
    replicas.now += 0.001
    assert not a.leading


def test_a_renewal_counts_from_when_it_was_sent(replicas):
    a = replicas.replica("a")
    a.turn()
    replicas.lease.takes = lambda: setattr(replicas, "now", replicas.now + 4.0)
    a.turn()
    replicas.now += RENEW_DEADLINE_S - 4.0
    assert not a.leading


def test_never_two_lead_whatever_happens_to_one_of_them(replicas):
    a, b = replicas.replica("a"), replicas.replica("b")
    a.turn()
    for step in range(400):
        replicas.now += 0.5
        replicas.lease.away = False
        if step % 4 == 0:
            replicas.lease.away = (step // 80) % 2 == 1
            a.turn()
            replicas.lease.away = False
        b.turn()
        assert not (a.leading and b.leading)
    assert b.leading or a.leading


def test_two_that_try_at_once_do_not_both_get_it(replicas):
    a, b = replicas.replica("a"), replicas.replica("b")
    read = replicas.lease.read

    def overtaken() -> VersionedLease | None:
        seen = read()
        replicas.lease.read = read
        b.turn()
        return seen

    replicas.lease.read = overtaken
    a.turn()
    assert (a.leading, b.leading, replicas.record.holder) == (False, True, "b")


def test_a_leader_whose_lease_was_taken_stands_back_at_once(replicas):
    a = replicas.replica("a")
    a.turn()
    assert replicas.lease.held is not None
    replicas.lease.held = VersionedLease(replace(replicas.record, holder="b"), "7")
    a.turn()
    assert (a.leading, a.leader) == (False, "b")


def test_a_lease_that_was_deleted_is_made_again(replicas):
    a = replicas.replica("a")
    a.turn()
    replicas.lease.held = None
    a.turn()
    assert (a.leading, replicas.record.holder) == (True, "a")


def test_a_lease_somebody_annotated_is_kept(replicas):
    a = replicas.replica("a")
    a.turn()
    replicas.lease.held = VersionedLease(replicas.record, "7")
    a.turn()
    assert (a.leading, replicas.lease.held.version) == (True, "8")


def test_whoever_releases_is_followed_at_the_next_try(replicas):
    a, b = replicas.replica("a"), replicas.replica("b")
    a.turn()
    b.turn()
    a.release()
    assert (a.leading, replicas.record.holder) == (False, "")
    b.turn()
    assert (b.leading, replicas.record.transitions) == (True, 1)


def test_releasing_what_one_does_not_hold_writes_nothing(replicas):
    a, b = replicas.replica("a"), replicas.replica("b")
    a.turn()
    b.turn()
    before = replicas.lease.held
    b.release()
    assert replicas.lease.held == before


def test_releasing_without_an_api_server_still_ends_leading_and_is_said(replicas, caplog):
    caplog.set_level("INFO", "controller")
    a = replicas.replica("a")
    a.turn()
    replicas.lease.away = True
    a.release()
    assert not a.leading
    assert caplog.messages[-1] == "the Lease was not given back, others wait until it runs out: connection refused"


def test_a_failure_is_said_once_and_so_is_its_end(replicas, caplog):
    caplog.set_level("INFO", "controller")
    a = replicas.replica("a")
    replicas.lease.away = True
    a.turn()
    a.turn()
    replicas.lease.away = False
    a.turn()
    a.turn()
    assert [record.message for record in caplog.records] == [
        "election: connection refused",
        "election: the Lease can be read and written again",
        "a leads",
    ]


def test_whoever_begins_or_ends_to_lead_says_so_each_time_and_not_between(replicas):
    election = replicas.replica("a")
    told = []
    candidate = LeaseCandidate(election, lambda: told.append(election.leading))
    for away in (False, False, True, False):
        replicas.lease.away = away
        candidate._turn()
        replicas.now += RENEW_DEADLINE_S if away else 0.0
        candidate._turn()
    assert told == [True, False, True]

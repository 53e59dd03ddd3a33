"""Patches: what is written when. With the clock in hand."""

import pytest
from watched_objects import node, policy, state

from controller.aggregation.clustercache import NODE, POLICY, STATE, ClusterCache
from controller.aggregation.ratelimiter import GATHER_S, SPACING_S
from controller.aggregation.status import REFRESH_S
from controller.aggregation.statusqueue import StatusPatch, StatusQueue
from controller.aggregation.watchevents import Deleted, Modified

STAMP = "2026-01-31T12:00:00Z"


class Office:
    """A status queue with its cluster cache; what it patches is written at once, as an API server would."""

    def __init__(self) -> None:
        self.cluster_cache = ClusterCache()
        self.status_queue = StatusQueue(self.cluster_cache)
        self.now = 1000.0
        self.version = 1
        self.apply(POLICY, policy())
        self.apply(NODE, node("a"))
        self.apply(STATE, state("a"))

    def apply(self, kind: str, raw: dict) -> None:
        self.cluster_cache.apply(Modified(kind, raw), self.now)
        self.status_queue.touch(self.cluster_cache.take_changed(), self.now)

    def patch(self) -> StatusPatch | None:
        return self.status_queue.next(self.now, STAMP)

    def write(self, patch: StatusPatch) -> None:
        self.version += 1
        self.status_queue.written(patch, str(self.version), patch.status, self.now)

    def settle(self) -> StatusPatch:
        """The first status, written."""
        self.now += GATHER_S
        patch = self.patch()
        assert patch is not None
        self.write(patch)
        self.now += SPACING_S
        return patch


@pytest.fixture
def office() -> Office:
    return Office()


def test_a_patch_is_for_the_very_policy_that_was_heard(office):
    patch = office.settle()
    assert (patch.policy, patch.uid, patch.version, patch.status["nodes"]) == ("all", "uid-all", "1", 1)


def test_nothing_is_drafted_twice(office):
    first = office.settle()
    office.apply(POLICY, policy(version="2", status=dict(first.status)))
    office.now += GATHER_S
    assert office.patch() is None
    assert office.status_queue.next_due == float("inf")


def test_a_new_figure_is_drafted_on_top_of_what_was_written(office):
    office.settle()
    office.apply(STATE, state("a", "2026-01-31T12:05:00Z", stuckDomains=1))
    office.now += GATHER_S
    patch = office.patch()
    assert patch is not None
    assert (patch.version, patch.status["stuckDomains"]) == ("2", 1)


def test_counts_of_looks_alone_wait_for_their_turn(office):
    office.settle()
    written_at = office.now - SPACING_S
    office.apply(STATE, state("a", "2026-01-31T12:05:00Z", looks=200))
    office.now += GATHER_S
    assert office.patch() is None
    assert office.status_queue.next_due == written_at + REFRESH_S
    office.now = written_at + REFRESH_S
    patch = office.patch()
    assert patch is not None
    assert patch.status["looks"] == 200


def test_counts_of_looks_come_along_with_any_other_change(office):
    office.settle()
    office.apply(STATE, state("a", "2026-01-31T12:05:00Z", looks=200, reallocations=8))
    office.now += GATHER_S
    patch = office.patch()
    assert patch is not None
    assert (patch.status["looks"], patch.status["reallocations"]) == (200, 8)


def test_a_status_that_somebody_changed_is_put_right(office):
    first = office.settle()
    office.apply(POLICY, policy(version="7", status=dict(first.status) | {"nodes": 99}))
    office.now += GATHER_S
    patch = office.patch()
    assert patch is not None
    assert (patch.version, patch.status["nodes"]) == ("7", 1)


def test_a_status_that_the_api_server_stores_otherwise_is_not_written_again_and_again(office):
    office.now += GATHER_S
    patch = office.patch()
    assert patch is not None
    pruned = {field: value for field, value in patch.status.items() if field != "stuckDomains"}
    office.status_queue.written(patch, "2", pruned, office.now)
    office.now += SPACING_S
    office.apply(POLICY, policy(version="2", status=pruned))
    office.now += GATHER_S
    assert office.patch() is None


def test_a_policy_of_the_same_name_is_another_one(office):
    office.settle()
    office.cluster_cache.apply(Deleted(POLICY, "all"), office.now)
    office.apply(POLICY, policy(uid="new", version="8"))
    office.now += GATHER_S
    patch = office.patch()
    assert patch is not None
    assert (patch.uid, patch.version) == ("new", "8")


def test_a_policy_made_anew_waits_neither_for_the_turn_of_its_predecessor_nor_for_what_failed_of_it(office):
    for _ in range(5):
        office.now = office.status_queue.next_due
        failing = office.patch()
        assert failing is not None
        office.status_queue.failed(failing, office.now)
    office.cluster_cache.apply(Deleted(POLICY, "all"), office.now)
    office.apply(POLICY, policy(uid="new", version="8"))
    assert office.status_queue.next_due == office.now + GATHER_S
    office.now += GATHER_S
    patch = office.patch()
    assert patch is not None
    assert patch.uid == "new"


def test_of_policies_that_are_gone_nothing_is_kept(office):
    for number in range(20):
        office.settle()
        office.cluster_cache.apply(Deleted(POLICY, "all"), office.now)
        office.apply(POLICY, policy(uid=f"new-{number}", version="8"))
    office.settle()
    assert (len(office.status_queue._rate_limiter._limits), len(office.status_queue._answers)) == (1, 1)


def test_an_answer_that_comes_after_the_policy_was_made_anew_is_not_taken_for_its_own(office):
    office.now += GATHER_S
    late = office.patch()
    assert late is not None
    office.cluster_cache.apply(Deleted(POLICY, "all"), office.now)
    office.apply(POLICY, policy(uid="new", version="8"))
    office.write(late)
    assert office.cluster_cache.stored["all"].version == "8"


def test_a_policy_that_is_gone_is_not_drafted(office):
    office.cluster_cache.apply(Deleted(POLICY, "all"), office.now)
    office.now += GATHER_S
    assert office.patch() is None


def test_a_policy_that_was_just_made_anew_gets_no_status_in_its_predecessors_turn(office):
    office.cluster_cache.apply(Deleted(POLICY, "all"), office.now)
    office.cluster_cache.apply(Modified(POLICY, policy(uid="new", version="8")), office.now)
    office.now += GATHER_S
    assert office.patch() is None


def test_a_patch_that_was_overtaken_is_made_anew_from_what_was_heard_meanwhile(office):
    office.now += GATHER_S
    patch = office.patch()
    assert patch is not None
    office.status_queue.overtaken(patch, office.now)
    office.apply(POLICY, policy(generation=2, version="5"))
    office.now += SPACING_S
    again = office.patch()
    assert again is not None
    assert (again.version, again.status["observedGeneration"]) == ("5", 2)


def test_a_patch_that_failed_comes_again_later(office):
    office.now += GATHER_S
    patch = office.patch()
    assert patch is not None
    office.status_queue.failed(patch, office.now)
    assert office.patch() is None
    office.now = office.status_queue.next_due
    assert office.patch() == patch

"""Drafts: what is written when. With the clock in hand."""

import pytest
from heard import node, policy, state

from controller.aggregation.desk import Desk, Draft
from controller.aggregation.news import Changed, Removed
from controller.aggregation.pace import GATHER_S, SPACING_S
from controller.aggregation.picture import NODE, POLICY, STATE, Picture
from controller.aggregation.status import REFRESH_S

STAMP = "2026-01-31T12:00:00Z"


class Office:
    """A desk with its picture; what it drafts is written at once, as an API server would."""

    def __init__(self) -> None:
        self.picture = Picture()
        self.desk = Desk(self.picture)
        self.now = 1000.0
        self.version = 1
        self.hear(POLICY, policy())
        self.hear(NODE, node("a"))
        self.hear(STATE, state("a"))

    def hear(self, kind: str, raw: dict) -> None:
        self.picture.hear(Changed(kind, raw), self.now)
        self.desk.touch(self.picture.take_changed(), self.now)

    def draft(self) -> Draft | None:
        return self.desk.next(self.now, STAMP)

    def write(self, draft: Draft) -> None:
        self.version += 1
        self.desk.written(draft, str(self.version), draft.status, self.now)

    def settle(self) -> Draft:
        """The first status, written."""
        self.now += GATHER_S
        draft = self.draft()
        assert draft is not None
        self.write(draft)
        self.now += SPACING_S
        return draft


@pytest.fixture
def office() -> Office:
    return Office()


def test_a_draft_is_for_the_very_policy_that_was_heard(office):
    draft = office.settle()
    assert (draft.policy, draft.uid, draft.version, draft.status["nodes"]) == ("all", "uid-all", "1", 1)


def test_nothing_is_drafted_twice(office):
    first = office.settle()
    office.hear(POLICY, policy(version="2", status=dict(first.status)))
    office.now += GATHER_S
    assert office.draft() is None
    assert office.desk.next_due == float("inf")


def test_a_new_figure_is_drafted_on_top_of_what_was_written(office):
    office.settle()
    office.hear(STATE, state("a", "2026-01-31T12:05:00Z", stuckDomains=1))
    office.now += GATHER_S
    draft = office.draft()
    assert draft is not None
    assert (draft.version, draft.status["stuckDomains"]) == ("2", 1)


def test_counts_of_looks_alone_wait_for_their_turn(office):
    office.settle()
    written_at = office.now - SPACING_S
    office.hear(STATE, state("a", "2026-01-31T12:05:00Z", looks=200))
    office.now += GATHER_S
    assert office.draft() is None
    assert office.desk.next_due == written_at + REFRESH_S
    office.now = written_at + REFRESH_S
    draft = office.draft()
    assert draft is not None
    assert draft.status["looks"] == 200


def test_counts_of_looks_come_along_with_any_other_change(office):
    office.settle()
    office.hear(STATE, state("a", "2026-01-31T12:05:00Z", looks=200, reallocations=8))
    office.now += GATHER_S
    draft = office.draft()
    assert draft is not None
    assert (draft.status["looks"], draft.status["reallocations"]) == (200, 8)


def test_a_status_that_somebody_changed_is_put_right(office):
    first = office.settle()
    office.hear(POLICY, policy(version="7", status=dict(first.status) | {"nodes": 99}))
    office.now += GATHER_S
    draft = office.draft()
    assert draft is not None
    assert (draft.version, draft.status["nodes"]) == ("7", 1)


def test_a_status_that_the_api_server_stores_otherwise_is_not_written_again_and_again(office):
    office.now += GATHER_S
    draft = office.draft()
    assert draft is not None
    pruned = {field: value for field, value in draft.status.items() if field != "stuckDomains"}
    office.desk.written(draft, "2", pruned, office.now)
    office.now += SPACING_S
    office.hear(POLICY, policy(version="2", status=pruned))
    office.now += GATHER_S
    assert office.draft() is None


def test_a_policy_of_the_same_name_is_another_one(office):
    office.settle()
    office.picture.hear(Removed(POLICY, "all"), office.now)
    office.hear(POLICY, policy(uid="new", version="8"))
    office.now += GATHER_S
    draft = office.draft()
    assert draft is not None
    assert (draft.uid, draft.version) == ("new", "8")


def test_a_policy_made_anew_waits_neither_for_the_turn_of_its_predecessor_nor_for_what_failed_of_it(office):
    for _ in range(5):
        office.now = office.desk.next_due
        failing = office.draft()
        assert failing is not None
        office.desk.failed(failing, office.now)
    office.picture.hear(Removed(POLICY, "all"), office.now)
    office.hear(POLICY, policy(uid="new", version="8"))
    assert office.desk.next_due == office.now + GATHER_S
    office.now += GATHER_S
    draft = office.draft()
    assert draft is not None
    assert draft.uid == "new"


def test_of_policies_that_are_gone_nothing_is_kept(office):
    for number in range(20):
        office.settle()
        office.picture.hear(Removed(POLICY, "all"), office.now)
        office.hear(POLICY, policy(uid=f"new-{number}", version="8"))
    office.settle()
    assert (len(office.desk._pace._turns), len(office.desk._answers)) == (1, 1)


def test_an_answer_that_comes_after_the_policy_was_made_anew_is_not_taken_for_its_own(office):
    office.now += GATHER_S
    late = office.draft()
    assert late is not None
    office.picture.hear(Removed(POLICY, "all"), office.now)
    office.hear(POLICY, policy(uid="new", version="8"))
    office.write(late)
    assert office.picture.stored["all"].version == "8"


def test_a_policy_that_is_gone_is_not_drafted(office):
    office.picture.hear(Removed(POLICY, "all"), office.now)
    office.now += GATHER_S
    assert office.draft() is None


def test_a_draft_that_was_overtaken_is_made_anew_from_what_was_heard_meanwhile(office):
    office.now += GATHER_S
    draft = office.draft()
    assert draft is not None
    office.desk.overtaken(draft, office.now)
    office.hear(POLICY, policy(generation=2, version="5"))
    office.now += SPACING_S
    again = office.draft()
    assert again is not None
    assert (again.version, again.status["observedGeneration"]) == ("5", 2)


def test_a_draft_that_failed_comes_again_later(office):
    office.now += GATHER_S
    draft = office.draft()
    assert draft is not None
    office.desk.failed(draft, office.now)
    assert office.draft() is None
    office.now = office.desk.next_due
    assert office.draft() == draft

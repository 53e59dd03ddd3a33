"""The aggregator's turns: only the leader writes, only what changed, and an API server that fails is borne."""

import threading
from typing import Any

import pytest
from heard import node, policy, state

from controller.aggregation.news import Changed, Complete, Lost, News, Seen
from controller.aggregation.pace import GATHER_S, SPACING_S
from controller.aggregation.picture import KINDS, NODE, POLICY, STATE
from controller.aggregator import HEARTBEAT_S, NEWS, Aggregator
from controller.cluster.errors import ApiError
from controller.cluster.statuswriter import Written
from controller.observe.totals import Totals


class Clock:
    """In hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.stopped = False

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def wait(self, at_least: float, at_most: float) -> None:
        raise NotImplementedError


class Leadership:
    def __init__(self) -> None:
        self.leading = True
        self.leader = "me"


class ApiServer:
    """Takes statuses, or refuses them as told."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str, dict[str, Any]]] = []
        self.error: ApiError | None = None
        self.asked = 0
        self.meanwhile = lambda: None

    def write(self, name: str, resource_version: str, status: dict[str, Any]) -> Written:
        self.asked += 1
        self.meanwhile()
        if self.error is not None:
            raise self.error
        self.written.append((name, resource_version, status))
        return Written(f"{resource_version}'", status)


class Site:
    """An aggregator in a cluster of fakes."""

    def __init__(self) -> None:
        self.clock, self.leadership, self.server = Clock(), Leadership(), ApiServer()
        self.published: list[Totals] = []
        self.troubles: list[str] = []
        self.told: list[tuple[str, str, str]] = []
        self.aggregator = Aggregator(
            self.leadership, self.server, self, self.clock, self.published.append, lambda: self.troubles
        )

    def tell(self, policy: str, _uid: str, condition: dict[str, Any]) -> None:
        self.told.append((policy, condition["type"], condition["status"]))

    def hear(self, *news: News) -> None:
        for each in news:
            self.aggregator.hear(each)

    def list_all(self, *policies: str) -> None:
        """A cluster of two nodes is heard of."""
        self.hear(
            Seen(POLICY, tuple(policy(name) for name in policies), ""),
            Seen(NODE, (node("a"), node("b")), ""),
            Seen(STATE, (state("a"), state("b")), ""),
            Complete(POLICY, frozenset(policies)),
            Complete(NODE, frozenset({"a", "b"})),
            Complete(STATE, frozenset({"a", "b"})),
        )

    def turn(self, later: float = 0.0) -> float:
        self.clock.now += later
        return self.aggregator.turn()


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_leader_writes_what_it_summed_once(site):
    site.list_all("all")
    assert site.turn() == GATHER_S
    assert site.turn(GATHER_S) == HEARTBEAT_S
    assert site.turn(HEARTBEAT_S) == HEARTBEAT_S
    ((name, version, status),) = site.server.written
    assert (name, version, status["nodes"], status["stable"]) == ("all", "1", 2, "8/8")
    assert status["conditions"][0]["lastTransitionTime"] == "1970-01-01T00:16:40Z"


def test_nothing_is_written_before_everything_was_listed(site):
    site.hear(Seen(POLICY, (policy(),), ""), *(Complete(kind, frozenset({"all"})) for kind in KINDS - {STATE}))
    site.turn()
    site.turn(60.0)
    assert site.server.asked == 0
    assert site.published[-1].complete is False


def test_whoever_does_not_lead_sums_and_writes_nothing(site):
    site.leadership.leading = False
    site.list_all("all")
    site.turn()
    assert site.turn(60.0) == HEARTBEAT_S
    assert site.server.asked == 0
    assert site.published[-1].policies["all"]["domains"] == 8


def test_whoever_begins_to_lead_writes_what_it_has_heard_before(site):
    site.leadership.leading = False
    site.list_all("all", "other")
    site.turn()
    site.leadership.leading = True
    site.turn(60.0)
    site.turn(GATHER_S)
    assert [name for name, _, _ in site.server.written] == ["all", "other"]


def test_whoever_ends_to_lead_in_the_midst_of_writing_writes_no_more(site):
    site.list_all("all", "other")
    site.turn()
    site.server.meanwhile = lambda: setattr(site.leadership, "leading", False)
    site.turn(GATHER_S)
    assert [name for name, _, _ in site.server.written] == ["all"]
    assert site.turn(60.0) == HEARTBEAT_S
    assert len(site.server.written) == 1


def test_many_changes_make_few_writes(site):
    site.list_all("all")
    for second in range(60):
        site.hear(Changed(STATE, state("a", f"2026-01-31T12:00:{second:02}Z", reallocations=second)))
        site.turn(1.0)
    assert len(site.server.written) == 60 / SPACING_S


def test_a_conflict_is_no_failure_and_the_newer_version_is_the_next_to_be_written(site):
    site.list_all("all")
    site.turn()
    site.server.error = ApiError(409, "Conflict", "modified")
    site.turn(GATHER_S)
    site.server.error = None
    site.hear(Changed(POLICY, policy(version="5")))
    site.turn(SPACING_S)
    assert [version for _, version, _ in site.server.written] == ["5"]
    assert site.published[-1].failed_writes == 0


def test_a_write_that_fails_is_said_once_and_tried_ever_later(site, caplog):
    caplog.set_level("INFO", "controller")
    site.list_all("all")
    site.turn()
    site.server.error = ApiError(403, "Forbidden", "not allowed")
    for _ in range(60):
        site.turn(1.0)
    assert site.server.asked == 3
    assert site.published[-1].problems == ("MemoryPolicy all: its status cannot be written: not allowed",)
    site.server.error = None
    for _ in range(60):
        site.turn(1.0)
    assert [record.message for record in caplog.records] == [
        "MemoryPolicy all: its status cannot be written: not allowed; tried again until it works",
        "MemoryPolicy all: its status can be written again",
    ]
    assert (site.published[-1].problems, site.published[-1].writes, site.published[-1].failed_writes) == ((), 1, 3)


def test_an_api_server_that_is_away_is_asked_now_and_then_not_for_every_policy(site, caplog):
    site.list_all("a1", "a2", "a3")
    site.turn()
    site.server.error = ApiError(0, "Unreachable", "away")
    assert site.turn(GATHER_S) == HEARTBEAT_S
    assert site.turn(1.0) == HEARTBEAT_S - 1.0
    assert site.server.asked == 1
    site.turn(HEARTBEAT_S)
    assert site.server.asked == 2
    assert caplog.records == []


def test_a_slow_api_server_does_not_keep_the_aggregator_from_its_other_work(site):
    site.list_all(*(f"p{number}" for number in range(10)))
    site.turn()
    site.server.meanwhile = lambda: setattr(site.clock, "now", site.clock.now + 2.0)
    site.turn(GATHER_S)
    assert site.server.asked == 3
    for _ in range(3):
        site.turn()
    assert len({name for name, _, _ in site.server.written}) == 10


def test_the_problem_of_a_policy_goes_with_it(site):
    site.list_all("all")
    site.turn()
    site.server.error = ApiError(403, "Forbidden", "not allowed")
    site.turn(GATHER_S)
    site.hear(Complete(POLICY, frozenset()))
    site.turn()
    assert site.published[-1].problems == ()


def test_what_keeps_news_from_coming_is_published(site):
    site.hear(Lost(STATE))
    site.troubles = ["Lease: away"]
    site.turn()
    assert site.published[-1].problems == ("Lease: away",)


def test_people_are_told_of_a_fault_when_its_status_has_been_written_and_of_its_end(site):
    site.list_all("all")
    site.turn()
    site.turn(GATHER_S)
    site.hear(Changed(STATE, state("a", "2026-01-31T12:00:01Z", stuckDomains=1)))
    site.server.error = ApiError(0, "Unreachable", "away")
    site.turn(60.0)
    site.turn(GATHER_S)
    assert site.told == []
    site.server.error = None
    site.turn(60.0)
    assert site.told == [("all", "Degraded", "True")]
    site.hear(Changed(STATE, state("a", "2026-01-31T12:00:02Z")))
    site.turn(60.0)
    site.turn(GATHER_S)
    assert site.told == [("all", "Degraded", "True"), ("all", "Degraded", "False")]


def test_sizes_are_published_in_bytes(site):
    site.list_all("all")
    site.hear(Changed(STATE, state("a", "2026-01-31T12:00:01Z", shortfall="3Mi")))
    site.turn()
    assert site.published[-1].policies["all"]["shortfall"] == 3 * 2**20


def test_news_that_comes_faster_than_it_is_taken_in_waits_and_is_not_kept(site):
    heard = threading.Semaphore(0)

    def flood() -> None:
        for _ in range(NEWS + 1):
            site.hear(Changed(NODE, node("a")))
            heard.release()

    flooding = threading.Thread(target=flood)
    flooding.start()
    for _ in range(NEWS):
        assert heard.acquire(timeout=10)
    assert not heard.acquire(timeout=0.2)
    site.turn()
    assert heard.acquire(timeout=10)
    flooding.join()


def test_whoever_tells_news_is_not_kept_waiting_by_an_aggregator_that_was_stopped(site):
    for _ in range(NEWS):
        site.hear(Changed(NODE, node("a")))
    site.clock.stopped = True
    site.hear(Changed(NODE, node("b")))

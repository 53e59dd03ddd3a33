"""The aggregator's turns: only the leader writes, only what changed, and an API server that fails is borne."""

import threading
from typing import Any

import pytest
from watched_objects import node, policy, state

from controller.aggregation.clustercache import KINDS, NODE, POLICY, STATE
from controller.aggregation.ratelimiter import GATHER_S, SPACING_S
from controller.aggregation.watchevents import Disconnected, ListComplete, Listed, Modified, WatchEvent
from controller.aggregator import HEARTBEAT_S, MOST_EVENTS, Aggregator
from controller.cluster.errors import ApiError
from controller.cluster.statuswriter import Written
from controller.observe.aggregatorstatus import AggregatorStatus


class ManualClock:
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


class FixedLeadership:
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


class FakedAggregator:
    """An aggregator in a cluster of fakes."""

    def __init__(self) -> None:
        self.clock, self.leadership, self.server = ManualClock(), FixedLeadership(), ApiServer()
        self.published: list[AggregatorStatus] = []
        self.troubles: list[str] = []
        self.told: list[tuple[str, str, str]] = []
        self.aggregator = Aggregator(
            self.leadership, self.server, self, self.clock, self.published.append, lambda: self.troubles
        )

    def tell(self, policy: str, _uid: str, condition: dict[str, Any]) -> None:
        self.told.append((policy, condition["type"], condition["status"]))

    def on_event(self, *event: WatchEvent) -> None:
        for each in event:
            self.aggregator.on_event(each)

    def list_all(self, *policies: str) -> None:
        """A cluster of two nodes is heard of."""
        self.on_event(
            Listed(POLICY, tuple(policy(name) for name in policies), ""),
            Listed(NODE, (node("a"), node("b")), ""),
            Listed(STATE, (state("a"), state("b")), ""),
            ListComplete(POLICY, frozenset(policies)),
            ListComplete(NODE, frozenset({"a", "b"})),
            ListComplete(STATE, frozenset({"a", "b"})),
        )

    def turn(self, later: float = 0.0) -> float:
        self.clock.now += later
        return self.aggregator.turn()


@pytest.fixture
def faked() -> FakedAggregator:
    return FakedAggregator()


def test_the_leader_writes_what_it_summed_once(faked):
    faked.list_all("all")
    assert faked.turn() == GATHER_S
    assert faked.turn(GATHER_S) == HEARTBEAT_S
    assert faked.turn(HEARTBEAT_S) == HEARTBEAT_S
    ((name, version, status),) = faked.server.written
    assert (name, version, status["nodes"], status["stable"]) == ("all", "1", 2, "8/8")
    assert status["conditions"][0]["lastTransitionTime"] == "1970-01-01T00:16:40Z"


def test_nothing_is_written_before_everything_was_listed(faked):
    faked.on_event(
        Listed(POLICY, (policy(),), ""), *(ListComplete(kind, frozenset({"all"})) for kind in KINDS - {STATE})
    )
    faked.turn()
    faked.turn(60.0)
    assert faked.server.asked == 0
    assert faked.published[-1].complete is False


def test_whoever_does_not_lead_sums_and_writes_nothing(faked):
    faked.leadership.leading = False
    faked.list_all("all")
    faked.turn()
    assert faked.turn(60.0) == HEARTBEAT_S
    assert faked.server.asked == 0
    assert faked.published[-1].policies["all"]["domains"] == 8


def test_whoever_begins_to_lead_writes_what_it_has_heard_before(faked):
    faked.leadership.leading = False
    faked.list_all("all", "other")
    faked.turn()
    faked.leadership.leading = True
    faked.turn(60.0)
    faked.turn(GATHER_S)
    assert [name for name, _, _ in faked.server.written] == ["all", "other"]


def test_whoever_ends_to_lead_in_the_midst_of_writing_writes_no_more(faked):
    faked.list_all("all", "other")
    faked.turn()
    faked.server.meanwhile = lambda: setattr(faked.leadership, "leading", False)
    faked.turn(GATHER_S)
    assert [name for name, _, _ in faked.server.written] == ["all"]
    assert faked.turn(60.0) == HEARTBEAT_S
    assert len(faked.server.written) == 1


def test_many_changes_make_few_writes(faked):
    faked.list_all("all")
    for second in range(60):
        faked.on_event(Modified(STATE, state("a", f"2026-01-31T12:00:{second:02}Z", reallocations=second)))
        faked.turn(1.0)
    assert len(faked.server.written) == 60 / SPACING_S


def test_a_conflict_is_no_failure_and_the_newer_version_is_the_next_to_be_written(faked):
    faked.list_all("all")
    faked.turn()
    faked.server.error = ApiError(409, "Conflict", "modified")
    faked.turn(GATHER_S)
    faked.server.error = None
    faked.on_event(Modified(POLICY, policy(version="5")))
    faked.turn(SPACING_S)
    assert [version for _, version, _ in faked.server.written] == ["5"]
    assert faked.published[-1].failed_writes == 0


def test_a_write_that_fails_is_said_once_and_tried_ever_later(faked, caplog):
    caplog.set_level("INFO", "controller")
    faked.list_all("all")
    faked.turn()
    faked.server.error = ApiError(403, "Forbidden", "not allowed")
    for _ in range(60):
        faked.turn(1.0)
    assert faked.server.asked == 3
    assert faked.published[-1].problems == ("MemoryPolicy all: its status cannot be written: not allowed",)
    faked.server.error = None
    for _ in range(60):
        faked.turn(1.0)
    assert [record.message for record in caplog.records] == [
        "MemoryPolicy all: its status cannot be written: not allowed; tried again until it works",
        "MemoryPolicy all: its status can be written again",
    ]
    assert (faked.published[-1].problems, faked.published[-1].writes, faked.published[-1].failed_writes) == ((), 1, 3)


def test_an_api_server_that_is_away_is_asked_now_and_then_not_for_every_policy(faked, caplog):
    faked.list_all("a1", "a2", "a3")
    faked.turn()
    faked.server.error = ApiError(0, "Unreachable", "away")
    assert faked.turn(GATHER_S) == HEARTBEAT_S
    assert faked.turn(1.0) == HEARTBEAT_S - 1.0
    assert faked.server.asked == 1
    faked.turn(HEARTBEAT_S)
    assert faked.server.asked == 2
    assert caplog.records == []


def test_a_slow_api_server_does_not_keep_the_aggregator_from_its_other_work(faked):
    faked.list_all(*(f"p{number}" for number in range(10)))
    faked.turn()
    faked.server.meanwhile = lambda: setattr(faked.clock, "now", faked.clock.now + 2.0)
    faked.turn(GATHER_S)
    assert faked.server.asked == 3
    for _ in range(3):
        faked.turn()
    assert len({name for name, _, _ in faked.server.written}) == 10


def test_the_problem_of_a_policy_goes_with_it(faked):
    faked.list_all("all")
    faked.turn()
    faked.server.error = ApiError(403, "Forbidden", "not allowed")
    faked.turn(GATHER_S)
    faked.on_event(ListComplete(POLICY, frozenset()))
    faked.turn()
    assert faked.published[-1].problems == ()


def test_what_keeps_events_from_coming_is_published(faked):
    faked.on_event(Disconnected(STATE))
    faked.troubles = ["Lease: away"]
    faked.turn()
    assert faked.published[-1].problems == ("Lease: away",)


def test_people_are_told_of_a_fault_when_its_status_has_been_written_and_of_its_end(faked):
    faked.list_all("all")
    faked.turn()
    faked.turn(GATHER_S)
    faked.on_event(Modified(STATE, state("a", "2026-01-31T12:00:01Z", stuckDomains=1)))
    faked.server.error = ApiError(0, "Unreachable", "away")
    faked.turn(60.0)
    faked.turn(GATHER_S)
    assert faked.told == []
    faked.server.error = None
    faked.turn(60.0)
    assert faked.told == [("all", "Degraded", "True")]
    faked.on_event(Modified(STATE, state("a", "2026-01-31T12:00:02Z")))
    faked.turn(60.0)
    faked.turn(GATHER_S)
    assert faked.told == [("all", "Degraded", "True"), ("all", "Degraded", "False")]


def test_sizes_are_published_in_bytes(faked):
    faked.list_all("all")
    faked.on_event(Modified(STATE, state("a", "2026-01-31T12:00:01Z", shortfall="3Mi")))
    faked.turn()
    assert faked.published[-1].policies["all"]["shortfall"] == 3 * 2**20


def test_of_a_rollout_it_is_published_how_many_nodes_may_enforce_and_of_others_nothing(faked):
    faked.list_all("all")
    named = {"observedGeneration": 1, "enforcingNodes": ["a"]}
    faked.on_event(Modified(POLICY, policy("few", status=named, mode="Enforce", rollout={"maximumNodes": 1})))
    faked.turn()
    assert {name: row["rollout_nodes"] for name, row in faked.published[-1].policies.items()} == {"all": None, "few": 1}


def test_events_that_comes_faster_than_it_is_taken_in_waits_and_is_not_kept(faked):
    heard = threading.Semaphore(0)

    def flood() -> None:
        for _ in range(MOST_EVENTS + 1):
            faked.on_event(Modified(NODE, node("a")))
            heard.release()

    flooding = threading.Thread(target=flood)
    flooding.start()
    for _ in range(MOST_EVENTS):
        assert heard.acquire(timeout=10)
    assert not heard.acquire(timeout=0.2)
    faked.turn()
    assert heard.acquire(timeout=10)
    flooding.join()


def test_whoever_tells_events_is_not_kept_waiting_by_an_aggregator_that_was_stopped(faked):
    for _ in range(MOST_EVENTS):
        faked.on_event(Modified(NODE, node("a")))
    faked.clock.stopped = True
    faked.on_event(Modified(NODE, node("b")))


@pytest.mark.parametrize("briefly", [False, True])
@pytest.mark.parametrize("numbers", [(10**6, 10**6), (10**9, 10**9), (2**50, 2**50), (3, 8)])
def test_whatever_a_node_counts_the_others_are_summed(faked, briefly, numbers):
    domains, stable = numbers
    told = state("a", "2026-01-31T12:00:01Z")
    if briefly:
        told["status"] |= {"policies": [], "briefPolicies": {"uid-all": [1, domains, stable, 0, 0]}}
    else:
        told["status"]["policies"][0] |= {"domains": domains, "stableDomains": stable}
    faked.list_all("all")
    faked.on_event(Modified(STATE, told), Modified(STATE, state("b", "2026-01-31T12:00:01Z", stableDomains=0)))
    faked.turn()
    faked.turn(GATHER_S)
    ((_, _, status),) = faked.server.written
    assert status["domains"] - status["stableDomains"] == 4

"""The Node's labels: watched by name, through breaks of all kinds."""

import time
from typing import Any

import pytest
from fake_api import AWAY, FakeApi, WaitingWatch

from controller.cluster.client import Event
from controller.cluster.errors import ApiError
from controller.cluster.nodewatch import RELIST_S, NodeWatch, withheld
from controller.cluster.resources import NODES

GIB = 2**30
GONE = ApiError(410, "Expired", "too old resource version (410 Expired)")


class ManualNodeWatch:
    """A NodeWatch whose thread does not run."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.api.set_node(tier="gold")
        self.told: list[dict[str, str]] = []
        self.regained = 0
        self.watch = NodeWatch(self.api, "here", lambda metadata: self.told.append(metadata["labels"]), self._regained)

    def turn(self) -> float:
        return self.watch._turn()

    def event(self, version: int, kind: str = "MODIFIED", **labels: str) -> Event:
        metadata = {"name": "here", "uid": "node-uid", "labels": labels, "resourceVersion": str(version)}
        return Event(kind, {"metadata": metadata})

    def _regained(self) -> None:
        self.regained += 1


@pytest.fixture
def watched() -> ManualNodeWatch:
    return ManualNodeWatch()


def test_only_this_node_is_asked_for(watched):
    watched.turn()
    assert watched.api.watched == [(NODES, "100", "metadata.name=here")]
    assert watched.told == [{"tier": "gold"}]


def test_another_node_is_not_taken_for_this_one(watched, caplog):
    other = {"metadata": {"name": "there", "uid": "u", "labels": {"tier": "lead"}, "resourceVersion": "101"}}
    watched.api.watches = [[Event("MODIFIED", other)]]
    watched.turn()
    assert "metadata.name: 'there': Node here was asked for" in caplog.text
    watched.api.objects[NODES].insert(0, other)
    watched.turn()
    assert watched.told == [{"tier": "gold"}]
    assert watched.watch._version == ""


def memory(capacity: object, allocatable: object, **more: object) -> dict[str, Any]:
    """Of a Node's status."""
    return {"capacity": {"memory": capacity} | more, "allocatable": {"memory": allocatable}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (memory("8Gi", "7Gi"), GIB),
        (memory("8388608Ki", "8286208Ki"), 100 * 2**20),
        (memory(str(8 * GIB), 7 * GIB), GIB),
        (memory("8Gi", "3Gi", **{"hugepages-2Mi": "2Gi", "hugepages-1Gi": "1Gi", "cpu": "4"}), 2 * GIB),
        (memory("7Gi", "8Gi"), 0),
        (memory("8Gi", "0"), 8 * GIB),
        (memory("8GB", "7Gi"), 0),
        (memory([], "7Gi"), 0),
        ({"capacity": [], "allocatable": {}}, 0),
        ({"capacity": {"memory": "8Gi"}, "allocatable": "7Gi"}, 0),
        ({}, 0),
        (None, 0),
    ],
)
def test_what_pods_do_not_get_of_a_nodes_memory(status, expected):
    assert withheld(status) == expected


def test_news_that_say_nothing_of_memory_leave_it_as_it_was_and_a_list_tells_it_anew(watched):
    told = []
    watched.watch = NodeWatch(watched.api, "here", lambda node: told.append(node["withheld"]), lambda: None)
    watched.api.set_node(status=memory("8Gi", "7Gi"))
    watched.api.watches = [[watched.event(101, tier="lead"), GONE], []]
    watched.turn()
    watched.api.set_node(status=memory("8Gi", "6Gi"))
    watched.turn()
    assert told == [GIB, GIB, 2 * GIB]


def test_a_node_is_listed_again_every_hour(watched, monkeypatch):
    now = time.monotonic()
    watched.turn()
    listed = watched.api.lists
    watched.turn()
    assert watched.api.lists == listed
    monkeypatch.setattr(time, "monotonic", lambda: now + RELIST_S + 60)
    watched.turn()
    watched.turn()
    assert watched.api.lists == listed + 1


def test_a_change_of_labels_is_told_and_nothing_else_is(watched):
    watched.api.watches = [[watched.event(101, tier="gold"), watched.event(102, tier="lead")]]
    watched.turn()
    assert watched.told == [{"tier": "gold"}, {"tier": "lead"}]


def test_the_watch_goes_on_where_it_ended(watched):
    watched.api.watches = [[watched.event(107, "BOOKMARK")], []]
    watched.turn()
    watched.turn()
    assert [version for _, version, _ in watched.api.watched] == ["100", "107"]


def test_after_410_it_lists_anew(watched):
    watched.api.watches = [[GONE], []]
    watched.turn()
    watched.api.set_node(tier="lead")
    watched.turn()
    assert watched.told == [{"tier": "gold"}, {"tier": "lead"}]


def test_a_watch_that_broke_off_does_not_go_on_where_it_was(watched):
    watched.api.watches = [[watched.event(107, tier="gold"), AWAY], []]
    watched.turn()
    watched.api.version = 50  # restored from a backup
    watched.api.set_node(tier="lead")
    watched.turn()
    assert [version for _, version, _ in watched.api.watched] == ["100", "50"]
    assert watched.told == [{"tier": "gold"}, {"tier": "lead"}]


@pytest.mark.parametrize("refusal", [AWAY, ApiError(500, "InternalError", "etcd")])
def test_a_watch_that_is_refused_is_not_begun_at_the_same_version_again(watched, refusal):
    watched.turn()
    watched.api.fails = refusal
    watched.turn()
    watched.api.fails = None
    watched.api.version = 50
    watched.turn()
    assert [version for _, version, _ in watched.api.watched] == ["100", "50"]


def test_a_break_is_not_worth_a_word_but_what_may_have_been_missed_is_asked_for(watched, caplog):
    watched.api.watches = [[AWAY], []]
    watched.turn()
    assert (watched.regained, caplog.records) == (0, [])
    watched.turn()
    assert (watched.regained, caplog.records) == (1, [])


def test_an_api_server_that_is_away_is_said_once(watched, caplog):
    watched.turn()
    watched.api.fails = AWAY
    for _ in range(9):
        watched.turn()
    assert len(caplog.records) == 1
    assert watched.watch.outage == f"Node here: {AWAY}"
    watched.api.fails = None
    watched.turn()
    assert (watched.regained, watched.watch.outage) == (1, "")


def test_labels_of_a_deleted_node_count_on(watched):
    watched.api.watches = [[watched.event(101, "DELETED")]]
    watched.turn()
    assert watched.told == [{"tier": "gold"}]


def test_a_node_that_does_not_exist_is_said_with_the_remedy(watched, caplog):
    watched.api.objects[NODES] = []
    assert watched.turn() > 0
    assert "is --node-name right?" in caplog.text
    assert watched.watch.outage == ""
    assert watched.told == []


def test_a_watch_that_waits_for_news_is_ended_with_the_thread(watched):
    ended = ApiError(0, "Unreachable", "closed")
    quiet = WaitingWatch(ended)
    watched.api.watch = lambda *_, **__: quiet
    with watched.watch.worker:
        assert quiet.waits.wait(10)
    assert quiet.closed.is_set()
    assert not watched.watch.worker._thread.is_alive()


def test_a_watch_begun_while_the_thread_is_ended_is_ended_too(watched, caplog):
    quiet = WaitingWatch(ApiError(500, "Broken", "closed"))
    watched.api.watch = lambda *_, **__: quiet
    with watched.watch.worker:
        assert quiet.waits.wait(10)
    quiet.closed.clear()
    assert watched.turn() == 0.0
    assert quiet.closed.is_set()
    assert caplog.records == []


def test_an_end_before_the_first_watch_is_no_fault(watched):
    watched.watch._interrupt()

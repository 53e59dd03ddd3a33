"""Which nodes enforce a policy that is rolled out to some of them."""

import json

import pytest
from watched_objects import node, policy, state

from controller.aggregation.clustercache import NODE, POLICY, STATE, ClusterCache
from controller.aggregation.rollout import NAMES_BYTES, enforcing
from controller.aggregation.rollup import STALE_AFTER_S
from controller.aggregation.status import STATUS_BYTES, render
from controller.aggregation.watchevents import Modified
from controller.api.policy import Rollout
from controller.api.policystatus import NAMED_NODES

T1, T2 = "2026-01-31T12:00:00Z", "2026-01-31T12:05:00Z"
NODES = [f"node-{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("asked", "nodes", "most"),
    [(1, 20, 1), (3, 20, 3), (30, 20, 30), ("1%", 20, 1), ("10%", 20, 2), ("10%", 21, 3), ("100%", 7, 7), ("9%", 0, 1)],
)
def test_a_share_is_rounded_up_and_never_none(asked, nodes, most):
    assert Rollout.model_validate({"maximumNodes": asked}).most(nodes) == most


def test_as_many_nodes_as_asked_for_enforce_and_are_named_in_order():
    chosen = enforcing(3, "uid", NODES, ())
    assert (len(chosen), list(chosen), set(chosen) <= set(NODES)) == (3, sorted(chosen), True)
    assert enforcing(30, "uid", NODES, ()) == tuple(sorted(NODES))


def test_another_policy_begins_on_other_nodes_and_the_same_one_on_the_same():
    firsts = {enforcing(1, f"uid-{number}", NODES, ()) for number in range(40)}
    assert len(firsts) > 10
    assert enforcing(3, "uid", NODES, ()) == enforcing(3, "uid", reversed(NODES), ())


def test_who_enforces_goes_on_whatever_nodes_come_and_while_the_number_grows():
    (last,) = set(enforcing(20, "uid", NODES, ())) - set(enforcing(19, "uid", NODES, ()))
    assert enforcing(1, "uid", NODES, [last]) == (last,)
    assert last in enforcing(2, "uid", [*NODES, "one", "two", "three"], [last])


def test_who_is_gone_is_replaced_and_nobody_else():
    before = enforcing(3, "uid", NODES, ())
    after = enforcing(3, "uid", [name for name in NODES if name != before[0]], before)
    assert (before[0] in after, set(before[1:]) <= set(after), len(after)) == (False, True, 3)


def test_fewer_enforce_where_fewer_may_and_they_are_some_of_those_before():
    before = enforcing(5, "uid", NODES, ())
    assert set(enforcing(2, "uid", NODES, before)) < set(before)


@pytest.mark.parametrize("length", [1, 40, 253])
def test_the_names_take_no_more_than_their_room_and_at_least_one_fits(length):
    names = [f"{number:0{length}}" if length > 1 else chr(0x4E00 + number) for number in range(500)]
    chosen = enforcing(500, "uid", names, ())
    assert 1 <= len(chosen) <= NAMED_NODES
    assert sum(len(json.dumps(name)) + 1 for name in chosen) <= NAMES_BYTES
    assert enforcing(500, "uid", names, chosen) == chosen


def test_names_may_take_just_as_much_as_is_allowed():
    names = [f"{number:03}" * 71 for number in range(4)] + ["x" * (NAMES_BYTES - 4 * 216 - 3)]
    assert sum(len(json.dumps(name)) + 1 for name in names) == NAMES_BYTES
    assert len(enforcing(500, "uid", names, ())) == 5


def test_the_most_names_that_fit_are_those_of_one_character():
    assert NAMES_BYTES // len('"a",') == NAMED_NODES


class Cluster:
    """Five nodes that report, and the status of one policy as it is written."""

    def __init__(self, **spec: object) -> None:
        self.cluster_cache = ClusterCache()
        self.status: dict | None = None
        for name in NODES[:5]:
            self.cluster_cache.apply(Modified(NODE, node(name, tier="gold")), 0.0)
            self.cluster_cache.apply(Modified(STATE, state(name)), 0.0)
        self.spec(1, **spec)

    def spec(self, generation: int, **spec: object) -> None:
        self.cluster_cache.apply(Modified(POLICY, policy(generation=generation, **spec)), 0.0)

    def write(self) -> dict:
        summary = self.cluster_cache.rollup.summary("all")
        assert summary is not None
        self.status = render(summary, self.status, T1)
        return self.status


TWO = {"mode": "Enforce", "rollout": {"maximumNodes": 2}}


def test_the_status_names_them_and_says_how_many_there_are_of_how_many():
    status = Cluster(**TWO).write()
    assert (len(status["enforcingNodes"]), status["enforcing"], status["observedGeneration"]) == (2, "2/5", 1)


@pytest.mark.parametrize("spec", [{"mode": "Enforce"}, TWO | {"mode": "Observe"}, TWO | {"mode": "Pause"}])
def test_where_all_or_none_enforce_nobody_is_named(spec):
    assert {"enforcing", "enforcingNodes"} & Cluster(**spec).write().keys() == set()


def test_a_policy_that_cannot_be_read_names_nobody():
    cluster = Cluster(**TWO)
    cluster.write()
    cluster.spec(2, **TWO, moonPhase="full")
    assert "enforcingNodes" not in cluster.write()


def test_enforcing_nodes_stay_over_changes_of_spec_and_leader_and_end_with_their_nodes_or_selection():
    cluster = Cluster(**TWO)
    one, two = cluster.write()["enforcingNodes"]
    cluster.spec(2, **TWO, weight=7)
    assert cluster.write()["enforcingNodes"] == [one, two]
    cluster.cluster_cache.apply(Modified(NODE, node(one, tier="tin")), 0.0)
    cluster.spec(3, **TWO, nodeSelector={"matchLabels": {"tier": "gold"}})
    status = cluster.write()
    assert (one in status["enforcingNodes"], two in status["enforcingNodes"], status["enforcing"]) == (
        False,
        True,
        "2/4",
    )


def test_a_node_without_an_agent_is_not_chosen():
    cluster = Cluster(mode="Enforce", rollout={"maximumNodes": "100%"})
    cluster.cluster_cache.apply(Modified(NODE, node("idle")), 0.0)
    assert cluster.write()["enforcing"] == "5/5"


def test_a_node_that_is_silent_is_not_chosen_and_one_that_falls_silent_stays():
    cluster = Cluster(mode="Enforce", rollout={"maximumNodes": 1})
    (chosen,) = cluster.write()["enforcingNodes"]
    cluster.cluster_cache.expire(STALE_AFTER_S)
    assert cluster.write()["enforcingNodes"] == [chosen]
    cluster.cluster_cache.apply(Modified(STATE, state("node-0", observed_at=T2)), STALE_AFTER_S)
    cluster.status = None
    assert (cluster.write()["enforcingNodes"], cluster.status["enforcing"]) == (["node-0"], "1/5")


@pytest.mark.parametrize(
    ("odd", "stays"),
    [({"conditions": [{"type": "New"}]}, True), ({"nodes": "many"}, True), ({"enforcingNodes": "node-0"}, False)],
)
def test_who_enforces_goes_on_also_where_the_rest_of_the_status_makes_no_sense(odd, stays):
    cluster = Cluster(mode="Enforce", rollout={"maximumNodes": 1})
    (first,) = cluster.write()["enforcingNodes"]
    assert first != "node-0"
    cluster.status = cluster.status | {"enforcingNodes": ["node-0"]} | odd
    assert cluster.write()["enforcingNodes"] == (["node-0"] if stays else [first])


def test_a_status_with_long_names_and_much_trouble_stays_within_its_bound():
    cluster = Cluster(mode="Enforce", rollout={"maximumNodes": 1000})
    for number in range(100):
        name = f"{number:03}" + ("x" * 57 + ".") * 4 + "y"
        cluster.cluster_cache.apply(Modified(NODE, node(name)), 0.0)
        trouble = {"stuckDomains": 10**6, "unmetDomains": 10**6, "conflictedDomains": 10**6, "shortfall": "9999999Mi"}
        cluster.cluster_cache.apply(Modified(STATE, state(name, generation=7, domains=10**6, **trouble)), 0.0)
    status = cluster.write()
    assert len(json.dumps(status, separators=(",", ":")).encode()) <= STATUS_BYTES
    assert status["enforcingNodes"] != []

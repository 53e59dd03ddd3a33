"""Events of the cluster, whatever their order and gaps, make one cluster cache."""

from watched_objects import node, policy, state

from controller.aggregation.clustercache import KINDS, NODE, POLICY, STATE, ClusterCache, StoredStatus
from controller.aggregation.contribution import PolicyCounts
from controller.aggregation.rollup import STALE_AFTER_S
from controller.aggregation.watchevents import Deleted, Disconnected, ListComplete, Listed, Modified, Reconnected

SERVER_TIME = "2026-01-31T12:00:00Z"


def everything(now: float = 0.0) -> ClusterCache:
    """One policy, two nodes that report."""
    cluster_cache = ClusterCache()
    cluster_cache.apply(Listed(POLICY, (policy(),), SERVER_TIME), now)
    cluster_cache.apply(ListComplete(POLICY, frozenset({"all"})), now)
    cluster_cache.apply(Listed(NODE, (node("a"), node("b")), SERVER_TIME), now)
    cluster_cache.apply(ListComplete(NODE, frozenset({"a", "b"})), now)
    cluster_cache.apply(Listed(STATE, (state("a"),), SERVER_TIME), now)
    cluster_cache.apply(Listed(STATE, (state("b"),), SERVER_TIME), now)
    cluster_cache.apply(ListComplete(STATE, frozenset({"a", "b"})), now)
    cluster_cache.take_changed()
    return cluster_cache


def figures(cluster_cache: ClusterCache) -> PolicyCounts:
    return cluster_cache.rollup.figures()["all"]


def test_the_cache_is_complete_when_every_kind_was_listed_to_its_end():
    cluster_cache = ClusterCache()
    for kind in sorted(KINDS):
        cluster_cache.apply(Listed(kind, (), SERVER_TIME), 0.0)
        assert not cluster_cache.complete
        cluster_cache.apply(ListComplete(kind, frozenset()), 0.0)
    assert cluster_cache.complete


def test_pages_add_up():
    cluster_cache = everything()
    assert (figures(cluster_cache).nodes, figures(cluster_cache).domains) == (2, 8)


def test_a_policy_is_remembered_with_what_stands_in_the_api_server():
    cluster_cache = everything()
    cluster_cache.apply(Modified(POLICY, policy(version="9", status={"nodes": 2})), 1.0)
    assert cluster_cache.stored == {"all": StoredStatus("uid-all", "9", {"nodes": 2})}
    assert cluster_cache.take_changed() == {"all"}


def test_a_rollout_has_as_many_nodes_as_its_status_names_for_the_present_generation():
    cluster_cache = everything()
    assert cluster_cache.rollouts() == {}
    named = {"observedGeneration": 2, "enforcingNodes": ["a", "b"]}
    spec = {"mode": "Enforce", "rollout": {"maximumNodes": 2}}
    for generation, nodes in ((1, 0), (2, 2), (3, 0)):
        cluster_cache.apply(Modified(POLICY, policy(generation=generation, status=named, **spec)), 1.0)
        assert cluster_cache.rollouts() == {"all": nodes}
    cluster_cache.apply(Modified(POLICY, policy(generation=3, **spec)), 1.0)
    assert cluster_cache.rollouts() == {"all": 0}


def test_what_a_list_does_not_name_is_gone():
    cluster_cache = everything()
    cluster_cache.apply(ListComplete(STATE, frozenset({"a"})), 1.0)
    assert figures(cluster_cache).nodes == 1
    cluster_cache.apply(ListComplete(NODE, frozenset({"b"})), 1.0)
    assert figures(cluster_cache).nodes == 0
    cluster_cache.apply(ListComplete(POLICY, frozenset()), 1.0)
    assert (cluster_cache.rollup.policies(), cluster_cache.stored) == (frozenset(), {})


def test_what_is_removed_is_gone():
    cluster_cache = everything()
    cluster_cache.apply(Deleted(STATE, "a"), 1.0)
    cluster_cache.apply(Deleted(NODE, "b"), 1.0)
    assert figures(cluster_cache).nodes == 0
    cluster_cache.apply(Deleted(POLICY, "all"), 1.0)
    assert cluster_cache.stored == {}
    assert cluster_cache.take_changed() == frozenset()


def test_a_change_of_labels_is_heard():
    cluster_cache = everything()
    cluster_cache.apply(Modified(POLICY, policy(generation=2, nodeSelector={"matchLabels": {"tier": "gold"}})), 1.0)
    assert figures(cluster_cache).nodes == 0
    cluster_cache.apply(Modified(NODE, node("a", tier="gold")), 1.0)
    assert figures(cluster_cache).nodes == 1


def test_a_node_whose_clock_is_years_wrong_is_as_alive_as_any():
    cluster_cache = everything()
    for minute in range(0, 60, 5):
        cluster_cache.apply(Modified(STATE, state("a", f"1999-01-01T00:{minute:02}:00Z")), minute * 60.0)
        cluster_cache.apply(Modified(STATE, state("b", f"2077-01-01T00:{minute:02}:00Z")), minute * 60.0)
        cluster_cache.expire(minute * 60.0)
    assert figures(cluster_cache).reporting_nodes == 2


def test_a_state_that_was_old_when_first_heard_of_is_unknown_in_time():
    cluster_cache = ClusterCache()
    cluster_cache.apply(Listed(POLICY, (policy(),), SERVER_TIME), 0.0)
    cluster_cache.apply(Listed(NODE, (node("a"), node("b")), SERVER_TIME), 0.0)
    ten_minutes_ago, an_hour_ago = "2026-01-31T11:50:00Z", "2026-01-31T11:00:00Z"
    cluster_cache.apply(
        Listed(STATE, (state("a", written=ten_minutes_ago), state("b", written=an_hour_ago)), SERVER_TIME), 0.0
    )
    cluster_cache.expire(0.0)
    assert figures(cluster_cache).unknown_nodes == 1
    cluster_cache.expire(STALE_AFTER_S - 601.0)
    assert figures(cluster_cache).unknown_nodes == 1
    cluster_cache.expire(STALE_AFTER_S - 600.0)
    assert figures(cluster_cache).unknown_nodes == 2


def test_nobody_becomes_unknown_while_we_cannot_hear():
    cluster_cache = everything()
    cluster_cache.apply(Disconnected(STATE), 100.0)
    cluster_cache.expire(10 * STALE_AFTER_S)
    assert figures(cluster_cache).unknown_nodes == 0
    cluster_cache.apply(Reconnected(STATE, 10 * STALE_AFTER_S - 100.0), 10 * STALE_AFTER_S)
    cluster_cache.expire(10 * STALE_AFTER_S)
    assert figures(cluster_cache).unknown_nodes == 0
    cluster_cache.expire(11 * STALE_AFTER_S - 1.0)
    assert figures(cluster_cache).unknown_nodes == 0
    cluster_cache.expire(11 * STALE_AFTER_S)
    assert figures(cluster_cache).unknown_nodes == 2


def test_not_hearing_of_nodes_or_policies_does_not_keep_states_from_growing_old():
    cluster_cache = everything()
    cluster_cache.apply(Disconnected(NODE), 0.0)
    cluster_cache.apply(Disconnected(POLICY), 0.0)
    cluster_cache.apply(Reconnected(NODE, 800.0), 800.0)
    cluster_cache.expire(STALE_AFTER_S)
    assert figures(cluster_cache).unknown_nodes == 2

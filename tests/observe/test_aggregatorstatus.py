"""What the aggregator shows: its document, its probes, its metrics."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from controller.observe.aggregatorstatus import AggregatorCollector, AggregatorStatus, AggregatorStatusStore
from controller.observe.http import Pages


def board_with(now: float = 0.0, **totals: Any) -> AggregatorStatusStore:
    """A status store; with `totals` one that they were published on."""
    status_store = AggregatorStatusStore("me", lambda: now)
    if totals:
        status_store.publish(
            AggregatorStatus(**{"at": 0.0, "complete": True, "leading": False, "leader": "other"} | totals)
        )
    return status_store


def test_before_the_first_turn_the_probes_say_so():
    status_store = board_with()
    assert status_store.health().reasons == status_store.readiness().reasons == ("the aggregator has not run yet",)
    document = status_store.document()
    assert [document[name] for name in ("complete", "leading", "leader", "writes", "policies")] == [
        False,
        False,
        "",
        0,
        [],
    ]


def test_a_replica_that_stands_by_is_ready():
    assert board_with(complete=True).readiness().ok


def test_a_replica_that_has_not_heard_everything_is_not_ready_and_says_why():
    status_store = board_with(complete=False, problems=("nodes: forbidden",))
    assert status_store.health().ok
    assert status_store.readiness().reasons == ("nodes: forbidden", "policies, Nodes and states are not all listed yet")


def test_a_loop_that_hangs_is_not_healthy():
    assert board_with(now=30.0, complete=True).health().ok
    assert board_with(now=31.0, complete=True).health().reasons == (
        "the aggregator last ran 31 s ago, more than 30 s: it hangs",
    )


def test_the_document():
    document = board_with(policies={"b": {"nodes": 1}, "a": {"nodes": 2}}, writes=3).document()
    assert document.pop("version")
    assert document == {
        "identity": "me",
        "leader": "other",
        "lease": "ballast-aggregator",
        "leading": False,
        "complete": True,
        "problems": [],
        "writes": 3,
        "failed_writes": 0,
        "policies": [{"name": "a", "nodes": 2}, {"name": "b", "nodes": 1}],
    }


def test_who_leads_is_told_as_by_client_go():
    text = Pages(board_with(leading=True), AggregatorCollector).get("/metrics").body.decode()
    assert 'leader_election_master_status{name="ballast-aggregator"} 1.0\n' in text


def test_the_metrics():
    status_store = board_with(leading=True, writes=3, policies={"a": {"nodes": 7, "shortfall": 1024}})
    text = Pages(status_store, AggregatorCollector).get("/metrics").body.decode()
    samples = {
        (sample.name, sample.labels.get("policy")): sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
    }
    assert samples["ballast_aggregator_writes_total", None] == 3
    assert samples["ballast_cluster_nodes", "a"] == 7
    assert samples["ballast_cluster_shortfall_bytes", "a"] == 1024
    assert ("ballast_cluster_domains", "a") not in samples

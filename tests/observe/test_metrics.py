"""Prometheus metrics of a published state."""

import platform

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from controller import __version__
from controller.engine.reasons import Reason
from controller.observe.loopcounters import LoopCounters
from controller.observe.metrics import StateCollector, loop_metrics, registry

MIB = 2**20
REASONS = [str(reason) for reason in Reason]


class FakeBoard:
    """Hands out a document."""

    def __init__(self, **parts: object) -> None:
        self._document = {
            "node": {"name": "n"},
            "connections": [],
            "problems": [],
            "outage": "",
            "silence_s": 0.0,
            "policies": [],
            "domains": [],
        }
        self._document |= parts

    def document(self) -> dict[str, object]:
        return self._document


def domain(**figures: object) -> dict[str, object]:
    identity = {"key": "u1", "name": "web", "uuid": "u1", "policy": "p", "mode": "Enforce", "reason": "Moving"}
    return identity | figures


def scrape(status_store: FakeBoard) -> CollectorRegistry:
    own = CollectorRegistry()
    own.register(StateCollector(status_store))
    return own


@pytest.mark.parametrize(
    ("field", "metric"),
    [
        ("demand", "ballast_domain_demand_bytes"),
        ("upper", "ballast_domain_upper_forecast_bytes"),
        ("allocation", "ballast_domain_allocation_bytes"),
        ("target", "ballast_domain_target_bytes"),
        ("reallocations", "ballast_domain_reallocations_total"),
        ("shortfall_byte_seconds", "ballast_domain_shortfall_byte_seconds_total"),
    ],
)
def test_a_domains_figures(field, metric):
    own = scrape(FakeBoard(domains=[domain(**{field: 5 * MIB})]))
    assert own.get_sample_value(metric, {"domain": "web", "key": "u1"}) == 5 * MIB


@pytest.mark.parametrize(
    ("field", "metric"),
    [
        ("budget", "ballast_node_budget_bytes"),
        ("allocated", "ballast_node_allocated_bytes"),
        ("spare", "ballast_node_spare_bytes"),
        ("demand", "ballast_node_demand_bytes"),
        ("short", "ballast_node_short_bytes"),
        ("stays_short", "ballast_node_short"),
        ("reclaimable", "ballast_node_reclaimable_bytes"),
        ("paused", "ballast_node_paused"),
        ("minimums_fit", "ballast_node_minimums_fit"),
        ("looks_total", "ballast_looks_total"),
        ("fixed_looks_total", "ballast_fixed_looks_total"),
        ("shortfall_byte_seconds_total", "ballast_shortfall_byte_seconds_total"),
        ("slack_byte_seconds_total", "ballast_slack_byte_seconds_total"),
        ("forecasts_total", "ballast_forecasts_total"),
        ("forecast_error_total", "ballast_forecast_error_bytes_total"),
        ("last_value_error_total", "ballast_last_value_error_bytes_total"),
        ("broken_bounds_total", "ballast_broken_bounds_total"),
    ],
)
def test_the_nodes_figures(field, metric):
    assert scrape(FakeBoard(node={"name": "n", field: 7})).get_sample_value(metric) == 7


def test_a_figure_that_is_not_known_has_no_sample():
    own = scrape(FakeBoard(domains=[domain(demand=None)]))
    assert own.get_sample_value("ballast_domain_demand_bytes", {"domain": "web", "key": "u1"}) is None


def test_domains_of_one_name_are_told_apart_by_key():
    own = scrape(FakeBoard(domains=[domain(key="u1@a", demand=1), domain(key="u1@b", demand=2)]))
    assert own.get_sample_value("ballast_domain_demand_bytes", {"domain": "web", "key": "u1@b"}) == 2


def test_the_owner_is_told_and_nothing_that_changes_with_each_decision():
    outcomes = [("Moving", "Enforce"), ("Stuck", "Observe"), ("Unresponsive", "Enforce")]
    told = [scrape(FakeBoard(domains=[domain(reason=reason, mode=mode)])) for reason, mode in outcomes]
    labels = {"domain": "web", "key": "u1", "uuid": "u1", "policy": "p", "namespace": "", "name": ""}
    assert [own.get_sample_value("ballast_domain_info", labels) for own in told] == [1, 1, 1]


def test_a_domain_without_an_owner_has_no_policy():
    own = scrape(FakeBoard(domains=[domain(policy=None, mode=None, reason="NoPolicy")]))
    labels = {"domain": "web", "key": "u1", "uuid": "u1", "policy": "", "namespace": "", "name": ""}
    assert own.get_sample_value("ballast_domain_info", labels) == 1


def test_a_machine_of_kubevirt_has_the_labels_of_kubevirts_own_metrics():
    own = scrape(FakeBoard(domains=[domain(name="shop_web-1", namespace="shop", virtual_machine="web-1")]))
    labels = {"domain": "shop_web-1", "key": "u1", "uuid": "u1", "policy": "p", "namespace": "shop", "name": "web-1"}
    assert own.get_sample_value("ballast_domain_info", labels) == 1


def test_a_change_of_mode_breaks_no_other_series_of_a_policy():
    own = [scrape(FakeBoard(policies=[{"name": "p", "mode": mode, "domains": 3}])) for mode in ("Observe", "Enforce")]
    assert [each.get_sample_value("ballast_policy_domains", {"policy": "p"}) for each in own] == [3, 3]
    assert own[1].get_sample_value("ballast_policy_info", {"policy": "p", "mode": "Enforce"}) == 1


def test_domains_are_counted_by_the_outcome_of_their_last_decision():
    own = scrape(FakeBoard(domains=[domain(reason="Stuck", pressure=True), domain(reason="Stuck"), domain()]))
    by_reason = {reason: own.get_sample_value("ballast_domains_by_reason", {"reason": reason}) for reason in REASONS}
    assert {reason: count for reason, count in by_reason.items() if count} == {"Stuck": 2, "Moving": 1}
    assert own.get_sample_value("ballast_stuck_domains") == 2
    assert own.get_sample_value("ballast_pressed_domains") == 1


def test_series_of_domains_can_be_left_out():
    loop_counters = LoopCounters(lambda: 0.0)
    status_store = FakeBoard(node={"name": "n", "domains": 1}, domains=[domain(demand=5, looks=3)])
    own = registry(status_store, loop_metrics(loop_counters, per_domain=False), int)
    series = [sample for family in own.collect() for sample in family.samples]
    assert [sample.name for sample in series if "domain" in sample.labels or "key" in sample.labels] == []
    assert own.get_sample_value("ballast_domains") == 1
    assert own.get_sample_value("ballast_skips_total", {"reason": "Stuck"}) == 0


def test_when_the_loop_last_ran_is_told_by_the_wall_clock():
    own = CollectorRegistry()
    own.register(StateCollector(FakeBoard(silence_s=1.5), wall=lambda: 1e9))
    assert own.get_sample_value("ballast_loop_last_run_timestamp_seconds") == 1e9 - 1.5


def test_a_loop_that_has_not_run_has_no_time():
    assert scrape(FakeBoard(silence_s=None)).get_sample_value("ballast_loop_last_run_timestamp_seconds") is None


def test_no_series_tells_when_a_counter_began():
    loop_counters = LoopCounters(lambda: 0.0)
    series = [
        sample.name
        for each in registry(FakeBoard(), loop_metrics(loop_counters, per_domain=True), int).collect()
        for sample in each.samples
    ]
    assert "ballast_step_duration_seconds_count" in series
    assert [name for name in series if name.endswith("_created")] == []


def test_connections_and_refused_policies():
    connections = [{"uri": "a:///", "connected": True}, {"uri": "b:///", "connected": False}]
    own = scrape(FakeBoard(connections=connections, problems=["one", "two"]))
    assert own.get_sample_value("ballast_libvirt_connected", {"uri": "a:///"}) == 1
    assert own.get_sample_value("ballast_libvirt_connected", {"uri": "b:///"}) == 0
    assert own.get_sample_value("ballast_policy_problems") == 2
    assert own.get_sample_value("ballast_policy_source_up") == 1


def test_an_outage_is_no_refusal():
    own = scrape(FakeBoard(outage="MemoryPolicies: connection refused"))
    assert own.get_sample_value("ballast_policy_source_up") == 0
    assert own.get_sample_value("ballast_policy_problems") == 0
    assert scrape(FakeBoard(outage=None)).get_sample_value("ballast_policy_source_up") is None


def test_version_and_process_are_told_before_any_look():
    own = registry(FakeBoard(), StateCollector, int)
    labels = {"version": __version__, "python": platform.python_version()}
    assert own.get_sample_value("ballast_build_info", labels) == 1
    assert own.get_sample_value("process_resident_memory_bytes") > 0


def test_the_exposition_is_well_formed_whatever_a_domain_is_called():
    nasty = 'a"b\\c\nd'
    text = generate_latest(scrape(FakeBoard(domains=[domain(name=nasty, demand=1)]))).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["ballast_domain_demand_bytes"].samples[0].labels["domain"] == nasty
    assert all(family.documentation for family in families.values())

"""Every alert, judged by promtool: once with series that must make it fire, once with such that must leave it silent.

Series are in promtool's notation, a value a minute: `0+5x90` is 0, 5, 10 and so on for 90 minutes.
"""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from lab.prometheus.programs import program

RULES = Path(__file__).parents[2] / "manifests" / "monitoring" / "alerts.yaml"
ALERTS = [rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
NODE = 'instance="node-1", job="ballast"'
MIB = 2**20
UP = "up"
LATER = "10h"
"""When it is looked at; longer than any alert waits."""


def leads(pod: str) -> str:
    """Whether this replica of the aggregator leads."""
    return f'leader_election_master_status{{name="ballast-aggregator", pod="{pod}"}}'


class Case(NamedTuple):
    """Series (without the node's labels) and their values."""

    fires: dict[str, str]
    silent: dict[str, str]


CASES = {
    "BallastDown": Case({UP: "1x590 0x10"}, {UP: "1x590 0x2 1x10"}),
    "BallastAbsent": Case({UP: "_x600"}, {UP: "0x595 1x5"}),
    "BallastAgentMissing": Case(
        {
            'kube_daemonset_status_desired_number_scheduled{daemonset="ballast-agent"}': "3x600",
            'kube_daemonset_status_number_ready{daemonset="ballast-agent"}': "3x580 2x20",
        },
        {
            'kube_daemonset_status_desired_number_scheduled{daemonset="ballast-agent"}': "3x600",
            'kube_daemonset_status_number_ready{daemonset="ballast-agent"}': "2x580 3x20",
        },
    ),
    "BallastLoopHangs": Case(
        {"ballast_loop_last_run_timestamp_seconds": "0+60x590 35400x10"},
        {"ballast_loop_last_run_timestamp_seconds": "-12+60x600"},
    ),
    "BallastLibvirtDisconnected": Case(
        {'ballast_libvirt_connected{uri="qemu:///system"}': "1x590 0x10"},
        {'ballast_libvirt_connected{uri="qemu:///system"}': "1x598 0x2"},
    ),
    "BallastBalloonStuck": Case({"ballast_stuck_domains": "0x580 2x20"}, {"ballast_stuck_domains": "0x595 2x5"}),
    "BallastGuestsUnderPressure": Case({"ballast_pressed_domains": "1x600"}, {"ballast_pressed_domains": "0 1 0x598"}),
    "BallastShortfall": Case(
        {"ballast_shortfall_byte_seconds_total": f"0+{60 * 40 * MIB}x600"},
        {"ballast_shortfall_byte_seconds_total": f"0+{60 * 20 * MIB}x600"},
    ),
    "BallastHostPressure": Case({"ballast_node_pressure": "1x600"}, {"ballast_node_pressure": "0x597 1x3"}),
    "BallastNodeShort": Case({"ballast_node_short": "1x600"}, {"ballast_node_short": "0x597 1x3"}),
    "BallastOvercommitted": Case(
        {"ballast_node_allocated_bytes": "101x600", "ballast_node_budget_bytes": "100x600"},
        {"ballast_node_allocated_bytes": "100x600", "ballast_node_budget_bytes": "100x600"},
    ),
    "BallastNoStatistics": Case(
        {
            'ballast_domains_by_reason{reason="StaleStatistics"}': "1x600",
            'ballast_domains_by_reason{reason="NoStatistics"}': "0x600",
        },
        {
            'ballast_domains_by_reason{reason="Stuck"}': "1x600",
            'ballast_domains_by_reason{reason="NoStatistics"}': "0x600",
        },
    ),
    "BallastPolicyRefused": Case({"ballast_policy_problems": "1x600"}, {"ballast_policy_problems": "1x590 0x10"}),
    "BallastPolicyConflict": Case(
        {'ballast_policy_conflicted_domains{policy="a", mode="Enforce"}': "3x600"},
        {'ballast_policy_conflicted_domains{policy="a", mode="Enforce"}': "0x600"},
    ),
    "BallastRestless": Case(
        {
            "ballast_domains": "10x600",
            'ballast_reallocations_total{reason="ForecastGrow", direction="grow"}': "0+15x600",
            'ballast_reallocations_total{reason="ForecastShrink", direction="shrink"}': "0+15x600",
        },
        {
            "ballast_domains": "10x600",
            'ballast_reallocations_total{reason="ForecastGrow", direction="grow"}': "0+9x600",
            'ballast_reallocations_total{reason="ForecastShrink", direction="shrink"}': "0+9x600",
        },
    ),
    "BallastForecastUseless": Case(
        {
            "ballast_forecast_error_bytes_total": "0+130x600",
            "ballast_last_value_error_bytes_total": "0+100x600",
            "ballast_forecasts_total": "0+10x600",
        },
        {
            "ballast_forecast_error_bytes_total": "0+110x600",
            "ballast_last_value_error_bytes_total": "0+100x600",
            "ballast_forecasts_total": "0+10x600",
        },
    ),
    "BallastLibvirtSlow": Case(
        {
            'ballast_libvirt_call_duration_seconds_bucket{call="look", le="1.0"}': "0+8x600",
            'ballast_libvirt_call_duration_seconds_bucket{call="look", le="2.5"}': "0+10x600",
            'ballast_libvirt_call_duration_seconds_bucket{call="look", le="+Inf"}': "0+10x600",
        },
        {
            'ballast_libvirt_call_duration_seconds_bucket{call="look", le="1.0"}': "0+10x600",
            'ballast_libvirt_call_duration_seconds_bucket{call="look", le="2.5"}': "0+10x600",
            'ballast_libvirt_call_duration_seconds_bucket{call="look", le="+Inf"}': "0+10x600",
        },
    ),
    "BallastCutOff": Case({"ballast_policy_source_up": "1x580 0x20"}, {"ballast_policy_source_up": "0x580 1x20"}),
    "BallastNoLeader": Case(
        {leads("a"): "0x600", leads("b"): "1x590 0x10"},
        {leads("a"): "0x600", leads("b"): "1x600"},
    ),
    "BallastNodesSilent": Case(
        {'ballast_cluster_unknown_nodes{policy="a"}': "0x580 4x20"},
        {'ballast_cluster_unknown_nodes{policy="a"}': "4x580 0x20"},
    ),
    "BallastStatusNotWritten": Case(
        {"ballast_aggregator_failed_writes_total": "0x580 0+1x20"},
        {"ballast_aggregator_failed_writes_total": "0x580 1x20"},
    ),
}


def test_every_alert_has_its_case():
    assert list(CASES) == ALERTS


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_once_for_its_cause_and_no_other_does(alert, tmp_path):
    judge(CASES[alert].fires, [{"labels": f'{{alertname="{alert}"}}', "value": 1}], tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_stays_silent_without_its_cause_as_all_others_do(alert, tmp_path):
    judge(CASES[alert].silent, [], tmp_path)


def test_the_scrape_jobs_of_the_page_are_valid(tmp_path):
    page = (RULES.parent / "README.md").read_text()
    jobs = re.findall(r"^```yml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(jobs) == 2
    for number, job in enumerate(jobs):
        path = tmp_path / f"{number}.yaml"
        here = re.sub("kubernetes_sd_configs: .*", "static_configs: []", job)  # Debian builds Prometheus without
        path.write_text(here.replace("/etc/prometheus/ballast-alerts.yaml", str(RULES)))
        command = [program("promtool"), "check", "config", "--lint-fatal", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


NO_AGGREGATOR_IN_SIGHT = {'ballast_policy_generation{policy="a"}': "7x600"}


def test_an_aggregator_that_is_gone_leads_no_more_where_there_is_a_cluster(tmp_path):
    alert = {"labels": '{alertname="BallastNoLeader"}', "value": 1}
    judge(NO_AGGREGATOR_IN_SIGHT, [alert], tmp_path)
    judge(NO_AGGREGATOR_IN_SIGHT | {leads("a"): "1x600"}, [], tmp_path)
    judge({'ballast_policy_generation{policy="from a folder"}': "0x600"}, [], tmp_path)


def judge(series: dict[str, str], firing: list[dict[str, object]], folder: Path) -> None:
    """Fails with promtool's words unless exactly these alerts fire, each for one set of labels."""
    case = {
        "interval": "1m",
        "input_series": [
            {"series": on_node(name), "values": values} for name, values in ({UP: "1x600"} | series).items()
        ],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": LATER,
                "exp_samples": firing,
            }
        ],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    done = subprocess.run([program("promtool"), "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def on_node(series: str) -> str:
    """The series with the labels that a scrape gives."""
    name, _, labels = series.partition("{")
    return f"{name}{{{NODE}, {labels}" if labels else f"{name}{{{NODE}}}"

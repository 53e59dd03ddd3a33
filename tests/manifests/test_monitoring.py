"""Alerts and dashboard as they are shipped; what they do is tested with a real Prometheus (`tests/real`)."""

import json
import re
from pathlib import Path

import pytest
import yaml

MONITORING = Path(__file__).parents[2] / "manifests" / "monitoring"
ALERTS = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
RULES = ALERTS["groups"][0]["rules"]


def load(name: str) -> dict[str, object]:
    return yaml.safe_load((MONITORING / name).read_text())


def test_the_operators_rules_are_the_plain_ones():
    assert load("prometheusrule.yaml")["spec"] == ALERTS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_what_is_the_matter_and_where_to_read_what_to_do(rule):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert list(rule["annotations"]) == ["summary", "description", "runbook_url"]
    assert all(rule["annotations"].values())
    assert rule["annotations"]["runbook_url"] == f"runbooks.md#{rule['alert'].lower()}"


def test_the_runbooks_have_a_part_for_each_alert_in_the_same_order():
    parts = re.findall("^## (.*)\n\n\\S", (MONITORING / "runbooks.md").read_text(), re.MULTILINE)
    assert parts == [rule["alert"] for rule in RULES]


def test_an_agent_is_scraped_by_its_nodes_name_and_an_aggregator_by_its_pods():
    (endpoint,) = load("podmonitor.yaml")["spec"]["podMetricsEndpoints"]
    pod = {
        "__meta_kubernetes_pod_label_app_kubernetes_io_component": "",
        "__meta_kubernetes_pod_node_name": "node-1",
        "__meta_kubernetes_pod_name": "pod-1",
    }
    named = {}
    for component in ("agent", "aggregator"):
        labels = pod | {
            "__meta_kubernetes_pod_label_app_kubernetes_io_component": component,
            "instance": "10.0.0.1:9178",
        }
        for rule in endpoint["relabelings"]:
            given = ";".join(labels[label] for label in rule["sourceLabels"])
            if matched := re.fullmatch(rule.get("regex", "(.*)"), given):
                labels[rule["targetLabel"]] = matched.expand(rule.get("replacement", "$1").replace("$", "\\"))
        named[component] = labels["instance"], labels["node"]
    assert named == {"agent": ("node-1", "node-1"), "aggregator": ("pod-1", "node-1")}
    assert endpoint["honorLabels"] is True


def test_the_kustomization_leaves_nothing_out():
    kustomization = load("kustomization.yaml")
    named = {*kustomization["resources"], *kustomization["configMapGenerator"][0]["files"]}
    assert named == {path.name for path in MONITORING.iterdir()} - {
        *("kustomization.yaml", "alerts.yaml", "README.md", "runbooks.md")
    }


def test_no_two_panels_of_the_dashboard_share_an_id_or_a_place():
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24

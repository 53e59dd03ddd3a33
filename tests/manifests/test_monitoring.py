"""Alerts and dashboard as they are shipped; what they do is tested with a real Prometheus (`tests/real`)."""

import json
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
def test_every_alert_says_how_bad_it_is_what_is_the_matter_and_what_to_do(rule):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert list(rule["annotations"]) == ["summary", "description", "runbook"]
    assert all(rule["annotations"].values())


def test_the_kustomization_leaves_nothing_out():
    kustomization = load("kustomization.yaml")
    named = {*kustomization["resources"], *kustomization["configMapGenerator"][0]["files"]}
    assert named == {path.name for path in MONITORING.iterdir()} - {"kustomization.yaml", "alerts.yaml", "README.md"}


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

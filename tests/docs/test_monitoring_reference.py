"""The tables of metrics and alerts are those of the code and of the rules."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from doc_pages import ROOT, read, table
from prometheus_client.metrics_core import Metric

from controller.observe.metrics import ListenCollector, StateCollector
from controller.observe.tally import Tally
from controller.observe.totals import TotalsCollector

PAGE = read("manifests/monitoring/README.md")
MONITORING = ROOT / "manifests" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]


class Everything(dict[str, Any]):
    """A row in which every figure is known."""

    def __missing__(self, _field: str) -> int:
        return 1

    def __contains__(self, _field: object) -> bool:
        return True

    def __or__(self, other: Any) -> "Everything":
        return Everything({**self, **other})

    def get(self, field: str, default: Any = None) -> Any:  # noqa: ARG002 - dict's signature
        return self[field]


class Known:
    """A board on which every figure is known."""

    def document(self) -> dict[str, Any]:
        one = [Everything()]
        return Everything(node=Everything(), connections=one, problems=[], policies=one, domains=one)


def families() -> Iterator[Metric]:
    """All that an agent and an aggregator serve, each once."""
    yield from StateCollector(Known(), Tally(lambda: 0.0)).collect()
    yield from ListenCollector(lambda: 0).collect()
    yield from (each for each in TotalsCollector(Known()).collect() if each.name != "ballast_build_info")


def row(metric: Metric) -> list[str]:
    """As the page writes it."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    labels = list(dict.fromkeys(label for sample in metric.samples for label in sample.labels if label != "le"))
    return [f"`{name}`", metric.type, ", ".join(f"`{label}`" for label in labels), metric.documentation]


def test_every_metric_is_listed_with_its_type_its_labels_and_its_meaning():
    assert table(PAGE, "Metric") == [row(metric) for metric in families()]


def test_every_alert_is_listed_with_its_severity_and_how_long_it_waits():
    documented = [cells[:3] for cells in table(PAGE, "Alert")]
    assert documented == [[f"`{rule['alert']}`", rule["labels"]["severity"], rule["for"]] for rule in RULES]


@pytest.mark.parametrize("file", ["alerts.yaml", "dashboard.json"])
def test_alerts_and_dashboard_ask_for_metrics_that_exist(file):
    served = {row(metric)[0].strip("`") for metric in families()}
    used = set(re.findall(r"\b(?<!:)ballast_[a-z_]+\b(?=[{\[ )<>]|$)", "\n".join(expressions(file))))
    assert used
    assert {name.removesuffix("_bucket") for name in used} <= served


def expressions(file: str) -> list[str]:
    """All PromQL of a file."""
    if file == "alerts.yaml":
        return [rule["expr"] for rule in RULES]
    panels = yaml.safe_load((MONITORING / file).read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_the_dashboard_shows_everything_that_an_aggregator_serves():
    shown = "\n".join(expressions("dashboard.json"))
    served = [row(metric)[0].strip("`") for metric in families()]
    assert [name for name in served if re.match("ballast_(aggregator|cluster)_", name) and name not in shown] == []

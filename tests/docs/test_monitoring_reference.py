"""The tables of metrics and alerts are those of the code and of the rules."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from doc_pages import ROOT, read, table
from prometheus_client.metrics_core import Metric

from controller.cluster.client import request_counter
from controller.observe.address import Address
from controller.observe.aggregatorstatus import AggregatorCollector
from controller.observe.http import Endpoint
from controller.observe.loopcounters import LoopCounters
from controller.observe.metrics import Collecting, ListenCollector, StateCollector, loop_metrics
from controller.observe.statusstore import ProbeResult

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


class EveryFigureKnown:
    """A status store on which every figure is known."""

    def __init__(self, connections: int = 1, policies: int = 1, domains: int = 1) -> None:
        self._document = Everything(
            node=Everything(),
            connections=[Everything(uri=f"test:///{number}") for number in range(connections)],
            problems=[],
            policies=[Everything(name=f"p{number}") for number in range(policies)],
            domains=[Everything(key=f"k{number}") for number in range(domains)],
        )

    def document(self) -> dict[str, Any]:
        return self._document

    def health(self) -> ProbeResult:
        return ProbeResult()

    readiness = health


def families() -> Iterator[Metric]:
    """All that an agent and an aggregator serve, each once."""
    requests = request_counter()
    requests.labels("200", "GET").inc()
    yield from StateCollector(EveryFigureKnown(), LoopCounters(lambda: 0.0), requests).collect()
    yield from ListenCollector(lambda: 0).collect()
    yield from (each for each in AggregatorCollector(EveryFigureKnown()).collect() if each.name != "ballast_build")


def row(metric: Metric) -> list[str]:
    """As the page writes it."""
    name = metric.name + {"counter": "_total", "info": "_info"}.get(metric.type, "")
    labels = list(dict.fromkeys(label for sample in metric.samples for label in sample.labels if label != "le"))
    return [f"`{name}`", metric.type, ", ".join(f"`{label}`" for label in labels), metric.documentation]


def test_every_metric_is_listed_with_its_type_its_labels_and_its_meaning():
    assert table(PAGE, "Metric") == [row(metric) for metric in families()]


def series(collecting: Collecting, **there_are: int) -> int:
    """How many come with a scrape."""
    with Endpoint(Address("127.0.0.1", 0), EveryFigureKnown(**there_are), collecting) as endpoint:
        text = urlopen(f"http://127.0.0.1:{endpoint.port}/metrics").read().decode()
    named = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(set(named)) == len(named)
    return len(named)


NOTHING = {"connections": 0, "policies": 0, "domains": 0}


def each_adds(collecting: Collecting, what: str) -> int:
    """Series, the same of the first and of the seventh."""
    few, some, many = (series(collecting, **NOTHING | {what: number}) for number in (0, 1, 7))
    assert many - few == 7 * (some - few)
    return some - few


def test_how_many_series_there_are_is_what_a_scrape_has():
    loop_counters = LoopCounters(lambda: 0.0)
    whole, without = (loop_metrics(loop_counters, per_domain=per_domain) for per_domain in (True, False))
    assert {row[0]: int(row[1]) for row in table(PAGE, "For each")} == {
        "`ballast run` or agent": series(whole, **NOTHING),
        "libvirt connection of it": each_adds(whole, "connections"),
        "policy on it": each_adds(whole, "policies"),
        "domain on it": each_adds(whole, "domains"),
        "domain on it, with `--no-domain-metrics`": each_adds(without, "domains"),
        "aggregator": series(AggregatorCollector, **NOTHING),
        "policy at an aggregator": each_adds(AggregatorCollector, "policies"),
    }


def test_a_domain_has_at_most_eight_series():
    assert each_adds(loop_metrics(LoopCounters(lambda: 0.0), per_domain=True), "domains") <= 8


def test_every_alert_is_listed_with_its_severity_and_how_long_it_waits():
    documented = [cells[:3] for cells in table(PAGE, "Alert")]
    assert documented == [[f"`{rule['alert']}`", rule["labels"]["severity"], rule["for"]] for rule in RULES]


@pytest.mark.parametrize("file", ["alerts.yaml", "dashboard.json"])
def test_alerts_and_dashboard_ask_for_metrics_that_exist(file):
    served = {row(metric)[0].strip("`") for metric in families()}
    used = set(
        re.findall(r"\b(?<!:)(?:ballast|leader_election)_[a-z_]+\b(?=[{\[ )<>]|$)", "\n".join(expressions(file)))
    )
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
    assert [
        name for name in served if re.match("leader_|ballast_(aggregator|cluster)_", name) and name not in shown
    ] == []

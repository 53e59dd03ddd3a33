"""A real Prometheus scrapes a real run: metrics, alerts and dashboard as an operator has them.

What an aggregator serves is put together here: it has nothing to sum up without a cluster. `tests/real/cluster` has
one.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from quick_policy import QUICK_POLICY

from controller.observe.address import Address
from controller.observe.aggregatorstatus import AggregatorCollector, AggregatorStatus, AggregatorStatusStore
from controller.observe.http import Endpoint
from lab.ballast import BallastProcess
from lab.daemons import until
from lab.guest import GuestSpec
from lab.prometheus.programs import program
from lab.prometheus.server import Prometheus

MONITORING = Path(__file__).parents[2] / "manifests" / "monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PATIENCE_S = 60.0


class ScrapedBallast:
    """A `ballast run` and the Prometheus that scrapes it."""

    def __init__(self, ballast: BallastProcess, prometheus: Prometheus) -> None:
        self.ballast, self.prometheus = ballast, prometheus

    def value(self, expression: str) -> float | None:
        """Of the only series that the expression gives; None without one."""
        found = self.prometheus.query(expression)
        return float(found[0]["value"][1]) if found else None


@pytest.fixture
def watched(private_libvirtd, start_guests, tmp_path) -> Iterator[ScrapedBallast]:
    """One guest that gives its memory, and one that cannot: its balloon will be stuck."""
    (stiff,) = start_guests(GuestSpec("stiff", maximum=256))
    start_guests(GuestSpec("willing", maximum=384))
    stiff.clutter(100_000)
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(yaml.safe_dump(QUICK_POLICY))
    with ExitStack() as stack:
        log = tmp_path / "ballast.log"
        ballast = stack.enter_context(BallastProcess(policies, private_libvirtd.uri, log, keep=False))
        aggregator = stack.enter_context(Endpoint(Address("127.0.0.1", 0), sums(), AggregatorCollector))
        targets = [ballast.url.removeprefix("http://"), f"127.0.0.1:{aggregator.port}"]
        yield ScrapedBallast(ballast, stack.enter_context(Prometheus(targets, impatient_rules(tmp_path))))
    assert "Traceback" not in log.read_text()


def sums() -> AggregatorStatusStore:
    """Of an aggregator that leads, with one policy on two nodes."""
    status_store = AggregatorStatusStore("replica-1", time.monotonic)
    two = {"nodes": 2, "reporting_nodes": 2, "domains": 9, "stable_domains": 8, "rollout_nodes": 1}
    none = (
        *("unknown_nodes", "unreadable_nodes", "pending_nodes", "left_out_nodes"),
        *("conflicted_domains", "overridden_domains", "stuck_domains", "shortfall"),
    )
    policies = {"watched": two | dict.fromkeys(none, 0)}
    status_store.publish(
        AggregatorStatus(time.monotonic(), complete=True, leading=True, leader="replica-1", policies=policies)
    )
    return status_store


def impatient_rules(folder: Path) -> Path:
    """The alerts as they are shipped, but for the minutes they wait."""
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump(rules))
    return path


def test_metrics_dashboard_and_alerts_of_a_real_run(watched):
    until(lambda: watched.value("ballast_stuck_domains") == 1, PATIENCE_S, "a stuck balloon in Prometheus")
    until(
        lambda: (watched.value("sum(ballast_reallocations_total)") or 0) >= 1, PATIENCE_S, "reallocations in Prometheus"
    )
    until(lambda: without_data(watched.prometheus) == [], PATIENCE_S, "data for every query of the dashboard")
    assert lint(watched.ballast) == ""
    node = watched.ballast.url.removeprefix("http://")
    # A busy machine may miss a scrape of a second: that moment is not the one.
    chosen = {"node": {node}, "domain": {"stiff", "willing"}}
    until(lambda: choices(watched.prometheus) == chosen, PATIENCE_S, "the dashboard's choices")
    series, samples = documented_series(policies=1, domains=2), f'scrape_samples_scraped{{instance="{node}"}}'
    until(lambda: watched.value(samples) == series, PATIENCE_S, "as many series as the page says")

    quiet = {
        "BallastDown",
        "BallastAbsent",
        "BallastLoopHangs",
        "BallastLibvirtDisconnected",
        "BallastNoStatistics",
        "BallastNoLeader",
        "BallastNodesSilent",
    }
    firing: dict[str, dict[str, str]] = {}

    def stuck_and_otherwise_well() -> bool:
        firing.clear()
        firing.update(watched.prometheus.firing())
        return "BallastBalloonStuck" in firing and firing.keys().isdisjoint(quiet)

    until(stuck_and_otherwise_well, PATIENCE_S, "alert of a stuck balloon, and of nothing that is well")
    assert firing["BallastBalloonStuck"]["summary"].startswith("1 balloons on 127.0.0.1:")

    os.kill(watched.ballast.pid, signal.SIGKILL)
    until(lambda: "BallastDown" in watched.prometheus.firing(), PATIENCE_S, "alert of a Ballast that is gone")


def documented_series(*, policies: int, domains: int) -> int:
    """Of a run with one connection, by the table of the page."""
    rows = re.findall(r"^\| (.*?) \| (\d+) \|", (MONITORING / "README.md").read_text(), re.MULTILINE)
    each = {what: int(number) for what, number in rows}
    own, connection = each["`ballast run` or agent"], each["libvirt connection of it"]
    return own + connection + policies * each["policy on it"] + domains * each["domain on it"]


def without_data(prometheus: Prometheus) -> list[str]:
    """Queries of the dashboard that give nothing."""
    return [query for query in queries() if not prometheus.query(query)]


def queries() -> list[str]:
    """All queries of the dashboard, of every node and domain."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    assert found
    return list(map(of_all, found))


def of_all(query: str) -> str:
    """A query of the dashboard as Grafana asks it before anybody has chosen a node."""
    values = {"$node": ".*", "$domain": ".*", "$__rate_interval": "30s"}
    return re.sub(r"\$\w+", lambda variable: values[variable[0]], query)


def choices(prometheus: Prometheus) -> dict[str, set[str]]:
    """What a user can choose from, by variable of the dashboard."""
    asked = {each["name"]: each["definition"] for each in DASHBOARD["templating"]["list"] if "definition" in each}
    split = {name: re.fullmatch(r"label_values\((.*), (\w+)\)", text) for name, text in asked.items()}
    return {
        name: {series["metric"][text[2]] for series in prometheus.query(of_all(text[1]))}
        for name, text in split.items()
        if text
    }


def lint(ballast: BallastProcess) -> str:
    """What `promtool check metrics` finds."""
    with urlopen(f"{ballast.url}/metrics") as answer:  # noqa: S310 - http, and our own
        text = answer.read()
    done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode()

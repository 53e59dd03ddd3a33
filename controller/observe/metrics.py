"""Prometheus metrics, computed from the published state when scraped; nothing is counted twice.

Names follow Prometheus: base units, `_total` for counters only. Per-domain series carry `domain` (libvirt's
name, for people) and `key` (UUID, with the connection where there are several: unique).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller import __version__

Document = dict[str, Any]


class Documented(Protocol):
    """Whatever has a `/state` document."""

    def document(self) -> Document:
        """The document as of now."""
        ...


Collecting = Callable[[Documented], Collector]
"""Makes the collector that turns a document into metrics."""

_NODE_GAUGES = {
    "total": ("ballast_node_memory_bytes", "Memory of the host."),
    "available": ("ballast_node_available_bytes", "Memory the host could still hand out (MemAvailable)."),
    "host_use": ("ballast_node_host_use_bytes", "Forecast of what the host itself uses."),
    "reserve": ("ballast_node_reserve_bytes", "Memory the node keeps for itself."),
    "budget": ("ballast_node_budget_bytes", "Memory the node may give to its domains."),
    "allocated": ("ballast_node_allocated_bytes", "Sum of the domains' allocations."),
    "spare": ("ballast_node_spare_bytes", "Budget that no forecast asks for."),
    "pressure": ("ballast_node_pressure", "1 while the host stalls for memory."),
    "stable": ("ballast_node_stable", "1 while every domain of the node is stable."),
    "domains": ("ballast_domains", "Domains Ballast knows."),
    "stable_domains": ("ballast_stable_domains", "Domains that are stable."),
}
_NODE_COUNTERS = {
    "looks_total": ("ballast_looks", "Looks at a domain."),
    "fixed_looks_total": ("ballast_fixed_looks", "Looks a fixed minimum interval would have cost."),
    "reallocations_total": ("ballast_reallocations", "Changes of a domain's allocation."),
}
_DOMAIN_GAUGES = {
    "demand": ("ballast_domain_demand_bytes", "Memory the guest cannot give up."),
    "forecast": ("ballast_domain_forecast_bytes", "Demand expected at the next look."),
    "upper": ("ballast_domain_upper_forecast_bytes", "Upper bound of the forecast, which decisions use."),
    "allocation": ("ballast_domain_allocation_bytes", "Current size of the balloon."),
    "target": ("ballast_domain_target_bytes", "Allocation wanted."),
    "minimum": ("ballast_domain_minimum_bytes", "Least the domain may have."),
    "maximum": ("ballast_domain_maximum_bytes", "Most the domain may have."),
    "shortfall": ("ballast_domain_shortfall_bytes", "Demand above allocation."),
    "slack": ("ballast_domain_slack_bytes", "Allocation above demand."),
    "interval_s": ("ballast_domain_interval_seconds", "Time between looks."),
    "stable": ("ballast_domain_stable", "1 while the domain is stable."),
    "pressure": ("ballast_domain_pressure", "1 while the guest is under memory pressure."),
}
_DOMAIN_COUNTERS = {
    "looks": ("ballast_domain_looks", "Looks at the domain."),
    "reallocations": ("ballast_domain_reallocations", "Changes of the domain's allocation."),
}
_POLICY_GAUGES = {
    "domains": ("ballast_policy_domains", "Domains the policy owns."),
    "stable_domains": ("ballast_policy_stable_domains", "Domains the policy owns that are stable."),
    "conflicted_domains": (
        "ballast_policy_conflicted_domains",
        "Domains the policy selects and another policy owns.",
    ),
}


class DocumentCollector(Collector, ABC):
    """Turns a board's `/state` document into metric families. A figure that is not known has no sample."""

    def __init__(self, board: Documented) -> None:
        self._board = board

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not need a state yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families of one consistent publication."""
        yield family(
            GaugeMetricFamily,
            "ballast_build_info",
            "Version of the running Ballast.",
            {"version": ""},
            [({"version": __version__}, 1)],
        )
        yield from self.figures(self._board.document())

    @abstractmethod
    def figures(self, document: Document) -> Iterator[Metric]:
        """The families of one document."""


class StateCollector(DocumentCollector):
    """The figures of a control loop."""

    def figures(self, document: Document) -> Iterator[Metric]:
        """Of the node, its policies and its domains."""
        yield family(
            GaugeMetricFamily,
            "ballast_libvirt_connected",
            "1 while the libvirt connection is up.",
            {"uri": ""},
            [({"uri": each["uri"]}, each["connected"]) for each in document["connections"]],
        )
        yield family(
            GaugeMetricFamily,
            "ballast_refused_policies",
            "Problems in policies that were refused.",
            {},
            [({}, len(document["problems"]))],
        )
        outage = document["outage"]
        yield family(
            GaugeMetricFamily,
            "ballast_policies_in_reach",
            "1 while policies can be asked for; at 0 those known last count.",
            {},
            [] if outage is None else [({}, not outage)],
        )
        node = [document["node"]]
        yield from families(GaugeMetricFamily, _NODE_GAUGES, {}, node)
        yield from families(CounterMetricFamily, _NODE_COUNTERS, {}, node)
        policy = {"policy": "name", "mode": "mode"}
        yield from families(GaugeMetricFamily, _POLICY_GAUGES, policy, document["policies"])
        yield from _domains(document["domains"])


def registry(board: Documented, collecting: Collecting = StateCollector) -> CollectorRegistry:
    """A registry of Ballast's own: the state, and the process's CPU and memory."""
    own = CollectorRegistry()
    own.register(collecting(board))
    ProcessCollector(registry=own)
    return own


Family = type[GaugeMetricFamily] | type[CounterMetricFamily]


def _domains(domains: list[Document]) -> Iterator[Metric]:
    identity = {"domain": "name", "key": "key"}
    yield from families(GaugeMetricFamily, _DOMAIN_GAUGES, identity, domains)
    yield from families(CounterMetricFamily, _DOMAIN_COUNTERS, identity, domains)
    owned = [each | {"present": 1} for each in domains]
    info = {
        "present": (
            "ballast_domain_info",
            "Who owns the domain, and the outcome of the last decision about it.",
        )
    }
    labels = identity | {"uuid": "uuid", "policy": "policy", "mode": "mode", "reason": "reason"}
    yield from families(GaugeMetricFamily, info, labels, owned)


def families(
    kind: Family, figures: dict[str, tuple[str, str]], labels: dict[str, str], rows: list[Document]
) -> Iterator[Metric]:
    """A family each of `figures` (field of a row to name and help), with a sample a row.

    `labels` are names of labels to fields of a row.
    """
    for field, (name, text) in figures.items():
        yield family(kind, name, text, labels, [(_labels(row, labels), row.get(field)) for row in rows])


def _labels(row: Document, labels: dict[str, str]) -> dict[str, str]:
    return {label: str(row[field] or "") for label, field in labels.items()}


def family(
    kind: Family,
    name: str,
    text: str,
    labels: Iterable[str],
    samples: Iterable[tuple[dict[str, str], float | None]],
) -> Metric:
    """One family; a figure that is None has no sample."""
    made = kind(name, text, labels=list(labels))
    for values, figure in samples:
        if figure is not None:
            made.add_metric(list(values.values()), float(figure))
    return made

"""Prometheus metrics, computed from the published state when scraped; what stands in no state is in the `Tally`.

Names follow Prometheus: base units, `_total` for counters and `_info` for labels only. Per-domain series carry `domain`
(libvirt's name, for people) and `key` (UUID, with the connection where there are several: unique). They are few, and
can be left out: what a query can make of others is none of them. Every other label has few values (reasons, directions,
policies, connections), and none changes while nobody changes a policy or a domain.
"""

import platform
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from controller import __version__
from controller.engine.reasons import Reason

Document = dict[str, Any]


class Documented(Protocol):
    """Whatever has a `/state` document."""

    def document(self) -> Document:
        """The document as of now."""
        ...


class Counting(Protocol):
    """Counts as things happen: a `Tally`, or a counter of prometheus_client."""

    def collect(self) -> Iterable[Metric]:
        """Families of metrics."""
        ...


Collecting = Callable[[Documented], Collector]
"""Makes the collector that turns a document into metrics."""

_NODE_GAUGES = {
    "total": ("ballast_node_memory_bytes", "Memory of the host."),
    "available": ("ballast_node_available_bytes", "Memory available on the host (MemAvailable)."),
    "host_use": ("ballast_node_host_use_bytes", "Memory that the host itself uses, without its guests."),
    "reserve": ("ballast_node_reserve_bytes", "Memory that the node keeps free."),
    "budget": ("ballast_node_budget_bytes", "Memory the node may give to its domains."),
    "allocated": ("ballast_node_allocated_bytes", "Sum of the domains' allocations."),
    "spare": ("ballast_node_spare_bytes", "Budget that is neither allocated nor promised to a domain."),
    "demand": ("ballast_node_demand_bytes", "Memory that the guests need together."),
    "short": ("ballast_node_short_bytes", "How much of that is above the budget."),
    "stays_short": ("ballast_node_short", "1 while the guests have needed more than the budget for three minutes."),
    "paused": ("ballast_node_paused", "1 while a MemoryPolicy of mode Pause keeps the node from enforcing."),
    "reclaimable": (
        "ballast_node_reclaimable_bytes",
        "Allocation above what guests want, which Enforce could take back; under Observe, what it would save.",
    ),
    "pressure": ("ballast_node_pressure", "1 while the host stalls for memory."),
    "minimums_fit": ("ballast_node_minimums_fit", "1 while all minimums are within the budget."),
    "stable": ("ballast_node_stable", "1 while every domain of the node is stable."),
    "domains": ("ballast_domains", "Domains Ballast knows."),
    "stable_domains": ("ballast_stable_domains", "Domains that are stable."),
}
_NODE_COUNTERS = {
    "looks_total": ("ballast_looks", "Looks at a domain."),
    "fixed_looks_total": ("ballast_fixed_looks", "Looks that one at every minimum interval would have taken."),
    "shortfall_byte_seconds_total": ("ballast_shortfall_byte_seconds", "Demand above allocation, over time."),
    "slack_byte_seconds_total": ("ballast_slack_byte_seconds", "Allocation above demand, over time."),
    "forecasts_total": ("ballast_forecasts", "Forecasts that were compared with a later sample."),
    "forecast_error_total": ("ballast_forecast_error_bytes", "Sum of the forecasts' absolute errors."),
    "last_value_error_total": (
        "ballast_last_value_error_bytes",
        "The same for forecasts that demand stays the same, which a model has to beat.",
    ),
    "broken_bounds_total": ("ballast_broken_bounds", "Demands above their upper forecast."),
}
_DOMAIN_GAUGES = {
    "demand": ("ballast_domain_demand_bytes", "Memory the guest cannot give up."),
    "upper": ("ballast_domain_upper_forecast_bytes", "Upper bound of the demand forecast, which decisions use."),
    "allocation": ("ballast_domain_allocation_bytes", "Current size of the balloon."),
    "target": ("ballast_domain_target_bytes", "Allocation wanted."),
    "pressure": ("ballast_domain_pressure", "1 while the guest is under memory pressure."),
}
_DOMAIN_COUNTERS = {
    "reallocations": ("ballast_domain_reallocations", "Changes of the domain's allocation."),
    "shortfall_byte_seconds": ("ballast_domain_shortfall_byte_seconds", "Demand above allocation, over time."),
}
_DOMAIN_LABELS = {"domain": "name", "key": "key"}
_DOMAIN_INFO = _DOMAIN_LABELS | {
    "uuid": "uuid",
    "policy": "policy",
    "namespace": "namespace",
    "name": "virtual_machine",
}
_POLICY_GAUGES = {
    "domains": ("ballast_policy_domains", "Domains the policy owns."),
    "stable_domains": ("ballast_policy_stable_domains", "Domains the policy owns that are stable."),
    "conflicted_domains": (
        "ballast_policy_conflicted_domains",
        "Domains the policy selects and another policy of the same priority owns.",
    ),
    "overridden_domains": (
        "ballast_policy_overridden_domains",
        "Domains the policy selects and a policy of higher priority owns.",
    ),
    "generation": ("ballast_policy_generation", "`metadata.generation` in force; 0 for a policy from a folder."),
}


class DocumentCollector(Collector, ABC):
    """Turns a status store's `/state` document into metric families. A figure that is not known has no sample."""

    def __init__(self, status_store: Documented, *counting: Counting) -> None:
        """`counting` count what stands in no document."""
        self._status_store = status_store
        self._counting = counting

    def collect(self) -> Iterator[Metric]:
        """All families of one consistent publication, and what was counted beside it."""
        build = {"version": __version__, "python": platform.python_version()}
        yield family(InfoMetricFamily, "ballast_build", "The running Ballast.", build, [(build, 1)])
        yield from self.figures(self._status_store.document())
        for each in self._counting:
            yield from each.collect()

    @abstractmethod
    def figures(self, document: Document) -> Iterator[Metric]:
        """The families of one document."""


class StateCollector(DocumentCollector):
    """The figures of a control loop."""

    def __init__(
        self,
        status_store: Documented,
        *counting: Counting,
        per_domain: bool = True,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Without `per_domain` the families of domains are missing. `wall`: seconds since the epoch."""
        super().__init__(status_store, *counting)
        self._per_domain = per_domain
        self._wall = wall

    def figures(self, document: Document) -> Iterator[Metric]:
        """Of the node, its policies and its domains."""
        yield family(
            GaugeMetricFamily,
            "ballast_libvirt_connected",
            "1 while the libvirt connection is up.",
            {"uri": ""},
            [(_labels(each, {"uri": "uri"}), each["connected"]) for each in document["connections"]],
        )
        yield from self._loop(document)
        node = [document["node"]]
        yield from families(GaugeMetricFamily, _NODE_GAUGES, {}, node)
        yield from families(CounterMetricFamily, _NODE_COUNTERS, {}, node)
        policies = document["policies"]
        yield from families(GaugeMetricFamily, _POLICY_GAUGES, {"policy": "name"}, policies)
        yield info("ballast_policy", "Mode of the policy.", {"policy": "name", "mode": "mode"}, policies)
        yield from _outcomes(document["domains"])
        if self._per_domain:
            domains = document["domains"]
            yield from families(GaugeMetricFamily, _DOMAIN_GAUGES, _DOMAIN_LABELS, domains)
            yield from families(CounterMetricFamily, _DOMAIN_COUNTERS, _DOMAIN_LABELS, domains)
            yield info(
                "ballast_domain", "Policy that owns the domain; in KubeVirt, its machine.", _DOMAIN_INFO, domains
            )

    def _loop(self, document: Document) -> Iterator[Metric]:
        silence, outage = document["silence_s"], document["outage"]
        for name, text, figure in (
            ("ballast_policy_problems", "Problems of policies that were refused.", len(document["problems"])),
            (
                "ballast_policy_source_up",
                "1 while policies can be read; at 0 the last known ones apply.",
                None if outage is None else not outage,
            ),
            (
                "ballast_loop_last_run_timestamp_seconds",
                "When the loop last ran; more than 30 s ago means that it hangs.",
                None if silence is None else self._wall() - silence,
            ),
        ):
            yield family(GaugeMetricFamily, name, text, {}, [({}, figure)])


def loop_metrics(*counting: Counting, per_domain: bool) -> Collecting:
    """The metrics of a control loop, with or without series for each domain."""
    return lambda status_store: StateCollector(status_store, *counting, per_domain=per_domain)


class ListenCollector(Collector):
    """Whether the address of these metrics could be had; what was missed meanwhile is seen afterwards."""

    def __init__(self, failures: Callable[[], int]) -> None:
        self._failures = failures

    def collect(self) -> Iterator[Metric]:
        """One family."""
        yield family(
            CounterMetricFamily,
            "ballast_listen_failures",
            "Failed attempts to listen, as another process had the address of --listen.",
            {},
            [({}, self._failures())],
        )


def registry(status_store: Documented, collecting: Collecting, failures: Callable[[], int]) -> CollectorRegistry:
    """A registry of Ballast's own: the state, the endpoint, and the process's CPU and memory.

    The library's series of when each counter began are left out, in the whole process: they all tell of its start.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
    own = CollectorRegistry()
    own.register(collecting(status_store))
    own.register(ListenCollector(failures))
    ProcessCollector(registry=own)
    return own


Family = type[GaugeMetricFamily] | type[CounterMetricFamily] | type[InfoMetricFamily]
_SUFFIXES: dict[Family, str] = {GaugeMetricFamily: "", CounterMetricFamily: "_total", InfoMetricFamily: "_info"}
"""What a sample's name has beside that of its family."""


def _outcomes(domains: list[Document]) -> Iterator[Metric]:
    """How many domains are how, without a series for each."""
    reasons = Counter(str(domain["reason"]) for domain in domains)
    yield family(
        GaugeMetricFamily,
        "ballast_domains_by_reason",
        "Domains by the outcome of the last decision about them.",
        {"reason": ""},
        [({"reason": str(reason)}, reasons[str(reason)]) for reason in Reason],
    )
    for name, text, count in (
        ("ballast_stuck_domains", "Domains whose balloon does not move.", reasons[str(Reason.STUCK)]),
        (
            "ballast_pressed_domains",
            "Domains whose guest is under memory pressure.",
            sum(bool(domain.get("pressure")) for domain in domains),
        ),
    ):
        yield family(GaugeMetricFamily, name, text, {}, [({}, count)])


def families(
    kind: Family, figures: dict[str, tuple[str, str]], labels: dict[str, str], rows: list[Document]
) -> Iterator[Metric]:
    """A family each of `figures` (field of a row to name and help), with a sample a row.

    `labels` are names of labels to fields of a row.
    """
    identities = [_labels(row, labels) for row in rows]
    for field, (name, text) in figures.items():
        samples = zip(identities, [row.get(field) for row in rows], strict=True)
        yield family(kind, name, text, labels, samples)


def info(name: str, text: str, labels: dict[str, str], rows: list[Document]) -> Metric:
    """A family whose samples say nothing but their labels, one a row."""
    return family(InfoMetricFamily, name, text, labels, ((_labels(row, labels), 1) for row in rows))


def _labels(row: Document, labels: dict[str, str]) -> dict[str, str]:
    return {label: _encodable(str(row.get(field) or "")) for label, field in labels.items()}


def _encodable(text: str) -> str:
    """Names of libvirt and of files, and URIs of a command line, may hold halves of a sign, which no encoding has."""
    return text.encode(errors="replace").decode()


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
        if figure is not None:  # and not add_metric, which would make each series its own labels
            made.add_sample(name + _SUFFIXES[kind], values, float(figure))
    return made

"""Prometheus metrics, computed from the published state when scraped; what stands in no state is in the `Tally`.

Names follow Prometheus: base units, `_total` for counters only. Per-domain series carry `domain` (libvirt's
name, for people) and `key` (UUID, with the connection where there are several: unique). They can be left out; every
other label has few values: reasons, directions, policies, connections.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller import __version__
from controller.engine.reasons import Reason
from controller.observe.tally import Tally

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
        "ballast_reclaimable_bytes",
        "What guests have beyond what they want, which Enforce could give back.",
    ),
    "pressure": ("ballast_node_pressure", "1 while the host stalls for memory."),
    "minimums_fit": ("ballast_node_minimums_fit", "1 while all minimums are within the budget."),
    "stable": ("ballast_node_stable", "1 while every domain of the node is stable."),
    "domains": ("ballast_domains", "Domains Ballast knows."),
    "stable_domains": ("ballast_stable_domains", "Domains that are stable."),
    "looks_saved": ("ballast_looks_saved", "Looks saved since the start, compared with one at every minimum interval."),
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
    "forecast": ("ballast_domain_forecast_bytes", "Demand expected at the next look."),
    "forecast_error": ("ballast_domain_forecast_error_bytes", "Demand last seen less its forecast."),
    "upper": ("ballast_domain_upper_forecast_bytes", "Upper bound of the forecast, which decisions use."),
    "allocation": ("ballast_domain_allocation_bytes", "Current size of the balloon."),
    "target": ("ballast_domain_target_bytes", "Allocation wanted."),
    "minimum": ("ballast_domain_minimum_bytes", "Smallest allocation of the domain."),
    "maximum": ("ballast_domain_maximum_bytes", "Largest allocation of the domain."),
    "shortfall": ("ballast_domain_shortfall_bytes", "Demand above allocation."),
    "slack": ("ballast_domain_slack_bytes", "Allocation above demand."),
    "interval_s": ("ballast_domain_interval_seconds", "Time between looks."),
    "stable": ("ballast_domain_stable", "1 while the domain is stable."),
    "pressure": ("ballast_domain_pressure", "1 while the guest is under memory pressure."),
}
_DOMAIN_COUNTERS = {
    "looks": ("ballast_domain_looks", "Looks at the domain."),
    "reallocations": ("ballast_domain_reallocations", "Changes of the domain's allocation."),
    "shortfall_byte_seconds": ("ballast_domain_shortfall_byte_seconds", "Demand above allocation, over time."),
    "slack_byte_seconds": ("ballast_domain_slack_byte_seconds", "Allocation above demand, over time."),
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

    def __init__(self, board: Documented, tally: Tally | None = None, *, per_domain: bool = True) -> None:
        """Without `tally` its families are missing; without `per_domain` those that have a series a domain."""
        super().__init__(board)
        self._tally = tally
        self._per_domain = per_domain

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
            "1 while policies can be read; at 0 the last known ones apply.",
            {},
            [] if outage is None else [({}, not outage)],
        )
        yield family(
            GaugeMetricFamily,
            "ballast_loop_silence_seconds",
            "Time since the loop last ran; more than 30 s means that it hangs.",
            {},
            [({}, document["silence_s"])],
        )
        node = [_with_saved(document["node"])]
        yield from families(GaugeMetricFamily, _NODE_GAUGES, {}, node)
        yield from families(CounterMetricFamily, _NODE_COUNTERS, {}, node)
        policy = {"policy": "name", "mode": "mode"}
        yield from families(GaugeMetricFamily, _POLICY_GAUGES, policy, document["policies"])
        yield from _outcomes(document["domains"])
        if self._tally is not None:
            yield from self._tally.collect()
        if self._per_domain:
            yield from _domains(document["domains"])


def loop_metrics(tally: Tally, *, per_domain: bool) -> Collecting:
    """The metrics of a control loop, with or without a series a domain."""
    return lambda board: StateCollector(board, tally, per_domain=per_domain)


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


def registry(
    board: Documented, collecting: Collecting = StateCollector, failures: Callable[[], int] = lambda: 0
) -> CollectorRegistry:
    """A registry of Ballast's own: the state, the endpoint, and the process's CPU and memory."""
    own = CollectorRegistry()
    own.register(collecting(board))
    own.register(ListenCollector(failures))
    ProcessCollector(registry=own)
    return own


Family = type[GaugeMetricFamily] | type[CounterMetricFamily]


def _with_saved(node: Document) -> Document:
    """The node with the looks it saved, where they are known."""
    if "fixed_looks_total" not in node or "looks_total" not in node:
        return node
    return node | {"looks_saved": node["fixed_looks_total"] - node["looks_total"]}


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


def _domains(domains: list[Document]) -> Iterator[Metric]:
    identity = {"domain": "name", "key": "key"}
    yield from families(GaugeMetricFamily, _DOMAIN_GAUGES, identity, domains)
    yield from families(CounterMetricFamily, _DOMAIN_COUNTERS, identity, domains)
    labels = identity | {"uuid": "uuid", "policy": "policy", "mode": "mode", "reason": "reason"}
    yield family(
        GaugeMetricFamily,
        "ballast_domain_info",
        "The policy that owns the domain, and the outcome of the last decision about it.",
        labels,
        ((_labels(each, labels), 1) for each in domains),
    )


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


def _labels(row: Document, labels: dict[str, str]) -> dict[str, str]:
    return {label: _encodable(str(row[field] or "")) for label, field in labels.items()}


def _encodable(text: str) -> str:
    """Names of libvirt and of files may hold halves of a sign, which no encoding has."""
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
    sample_name = f"{name}_total" if kind is CounterMetricFamily else name
    for values, figure in samples:
        if figure is not None:
            made.add_sample(
                sample_name, values, float(figure)
            )  # not add_metric: it would make each series its own labels
    return made

"""What the aggregator last did, for whoever asks: its `/state` document, its probes and its metrics."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from controller import __version__
from controller.observe.metrics import Document, DocumentCollector, families
from controller.observe.statusstore import SILENCE_S, ProbeResult


@dataclass(frozen=True, slots=True)
class AggregatorStatus:
    """One turn's result."""

    at: float
    """Monotonic seconds."""
    complete: bool
    """Policies, Nodes and states have all been listed."""
    leading: bool
    leader: str
    """Identity of the leader, as last seen; empty when nobody leads."""
    problems: tuple[str, ...] = ()
    """What keeps the aggregator from its work, one line each."""
    policies: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    """Figures by policy, None where there is none; sizes in bytes."""
    writes: int = 0
    """Statuses written since the start."""
    failed_writes: int = 0


class AggregatorStatusStore:
    """Holds the newest totals. `publish` never waits; readers get a consistent whole without a lock."""

    def __init__(self, identity: str, monotonic: Callable[[], float]) -> None:
        self._identity = identity
        self._monotonic = monotonic
        self._latest: AggregatorStatus | None = None

    def publish(self, totals: AggregatorStatus) -> None:
        """Replace what readers see."""
        self._latest = totals

    def document(self) -> dict[str, Any]:
        """The `/state` document, JSON-able: sizes in bytes."""
        latest = self._latest or AggregatorStatus(nan, complete=False, leading=False, leader="")
        return {
            "version": __version__,
            "identity": self._identity,
            "leader": latest.leader,
            "lease": LEASE,
            "leading": latest.leading,
            "complete": latest.complete,
            "problems": list(latest.problems),
            "writes": latest.writes,
            "failed_writes": latest.failed_writes,
            "policies": [{"name": name, **figures} for name, figures in sorted(latest.policies.items())],
        }

    def health(self) -> ProbeResult:
        """Fine while the aggregator turns, also while the API server is away."""
        latest = self._latest
        if latest is None:
            return ProbeResult(("the aggregator has not run yet",))
        age = self._monotonic() - latest.at
        if age > SILENCE_S:
            return ProbeResult((f"the aggregator last ran {age:.0f} s ago, more than {SILENCE_S:.0f} s: it hangs",))
        return ProbeResult()

    def readiness(self) -> ProbeResult:
        """Fine when everything has been listed once: from then on this replica could lead, or does."""
        latest = self._latest
        if latest is not None and not latest.complete:
            return ProbeResult((*latest.problems, "policies, Nodes and states are not all listed yet"))
        return self.health()


LEASE = "ballast-aggregator"
"""Name of the Lease that replicas lead by."""

_LEADING = {"leading": ("leader_election_master_status", "1 while this replica leads and writes, as client-go has it.")}
_GAUGES = {
    "complete": ("ballast_aggregator_complete", "1 once policies, Nodes and states have all been listed."),
}
_COUNTERS = {
    "writes": ("ballast_aggregator_writes", "Policy statuses written."),
    "failed_writes": ("ballast_aggregator_failed_writes", "Policy statuses that could not be written."),
}
_POLICY_GAUGES = {
    "nodes": ("ballast_cluster_nodes", "Nodes that should run the policy."),
    "reporting_nodes": ("ballast_cluster_reporting_nodes", "Nodes that report."),
    "unknown_nodes": ("ballast_cluster_unknown_nodes", "Nodes that stopped reporting."),
    "unreadable_nodes": ("ballast_cluster_unreadable_nodes", "Nodes whose state cannot be read."),
    "pending_nodes": ("ballast_cluster_pending_nodes", "Nodes that have not yet applied the policy's generation."),
    "left_out_nodes": ("ballast_cluster_left_out_nodes", "Nodes whose state has no room for the policy."),
    "rollout_nodes": ("ballast_cluster_rollout_nodes", "Nodes that may enforce the policy, under a rollout."),
    "domains": ("ballast_cluster_domains", "Domains the policy owns."),
    "stable_domains": ("ballast_cluster_stable_domains", "Domains the policy owns that are stable."),
    "conflicted_domains": (
        "ballast_cluster_conflicted_domains",
        "Domains it selects and another policy of the same priority owns.",
    ),
    "overridden_domains": (
        "ballast_cluster_overridden_domains",
        "Domains it selects and a policy of higher priority owns.",
    ),
    "stuck_domains": ("ballast_cluster_stuck_domains", "Domains whose balloon does not move."),
    "shortfall": ("ballast_cluster_shortfall_bytes", "Demand above allocation, over all domains."),
}


class AggregatorCollector(DocumentCollector):
    """The figures of an aggregator."""

    def figures(self, document: Document) -> Iterator[Metric]:
        """Of the replica and of the policies."""
        yield from families(GaugeMetricFamily, _LEADING, {"name": "lease"}, [document])
        yield from families(GaugeMetricFamily, _GAUGES, {}, [document])
        yield from families(CounterMetricFamily, _COUNTERS, {}, [document])
        yield from families(GaugeMetricFamily, _POLICY_GAUGES, {"policy": "name"}, document["policies"])

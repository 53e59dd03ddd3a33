"""The cluster as it was last heard: events in, sums and the statuses that stand in the API server out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.aggregation.decode import age_s, decode_labels, decode_policy, decode_state, written_at
from controller.aggregation.identity import PolicyIdentity
from controller.aggregation.rollup import Policy, Rollup
from controller.aggregation.status import enforcing_nodes
from controller.aggregation.watchevents import (
    Deleted,
    Disconnected,
    ListComplete,
    Listed,
    Modified,
    Raw,
    Reconnected,
    WatchEvent,
)

POLICY, NODE, STATE = "MemoryPolicy", "Node", "NodeMemoryState"
KINDS = frozenset({POLICY, NODE, STATE})


@dataclass(slots=True)
class StoredStatus:
    """What the API server holds of a policy, apart from its spec."""

    uid: str
    version: str
    """Its resourceVersion."""
    status: Mapping[str, Any] | None


@dataclass(slots=True)
class ClusterCache:
    """Sums over everything that was heard. Times are seconds of one clock that never jumps."""

    rollup: Rollup = field(default_factory=Rollup)
    stored: dict[str, StoredStatus] = field(default_factory=dict)
    """By name of the policy."""
    _complete: set[str] = field(default_factory=set)
    _disconnected: set[str] = field(default_factory=set)
    _touched: set[str] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        """Everything has been heard once: from now on sums are sums of everything."""
        return self._complete == KINDS

    def identities(self) -> frozenset[PolicyIdentity]:
        """All policies that there are."""
        return frozenset(PolicyIdentity(name, stored.uid) for name, stored in self.stored.items())

    def apply(self, event: WatchEvent, now: float) -> None:
        """Take in one event."""
        match event:
            case Listed(kind, objects, server_time):
                for each in objects:
                    self._put(kind, each, now - age_s(written_at(each), server_time))
            case ListComplete(kind, names):
                for name in self._names(kind) - names:
                    self._drop(kind, name)
                self._complete.add(kind)
            case Modified(kind, changed):
                self._put(kind, changed, now)
            case Deleted(kind, name):
                self._drop(kind, name)
            case Disconnected(kind):
                self._disconnected.add(kind)
            case Reconnected(kind, outage_s):
                self._disconnected.discard(kind)
                if kind == STATE:
                    self.rollup.excuse_outage(outage_s, now)

    def expire(self, now: float) -> None:
        """Nodes not heard of for long are unknown from now on, unless it is us who cannot hear."""
        if STATE not in self._disconnected:
            self.rollup.expire(now)

    def take_changed(self) -> frozenset[str]:
        """Policies whose sums, or whose status in the API server, may have changed since the last call."""
        touched, self._touched = self._touched, set()
        return (self.rollup.take_changed() | touched) & self.rollup.policies()

    def rollouts(self) -> dict[str, int]:
        """By name of the policies under a rollout, how many nodes may enforce them now."""
        return {policy.name: self._enforcing(policy) for policy in self.rollup.rollouts()}

    def _enforcing(self, policy: Policy) -> int:
        """What a status says of another generation counts for nothing, as for agents."""
        status = self.stored[policy.name].status or {}
        return len(enforcing_nodes(status)) if status.get("observedGeneration") == policy.generation else 0

    def _put(self, kind: str, raw: Raw, heard_at: float) -> None:
        metadata = raw["metadata"]
        if kind == NODE:
            self.rollup.put_node(metadata["name"], decode_labels(raw))
        elif kind == STATE:
            self.rollup.put_report(decode_state(raw), heard_at)
        else:
            policy = decode_policy(raw)
            self.rollup.put_policy(policy)
            self.stored[policy.name] = StoredStatus(policy.uid, metadata.get("resourceVersion", ""), raw.get("status"))
            self._touched.add(policy.name)

    def _drop(self, kind: str, name: str) -> None:
        if kind == NODE:
            self.rollup.drop_node(name)
        elif kind == STATE:
            self.rollup.drop_report(name)
        else:
            self.rollup.drop_policy(name)
            self.stored.pop(name, None)

    def _names(self, kind: str) -> frozenset[str]:
        if kind == NODE:
            return self.rollup.nodes()
        return self.rollup.reports() if kind == STATE else self.rollup.policies()

"""The cluster as it was last heard: news in, sums and the statuses that stand in the API server out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.aggregation.identity import Identity
from controller.aggregation.ledger import Ledger
from controller.aggregation.news import Changed, Complete, Lost, News, Raw, Removed, Resumed, Seen
from controller.aggregation.reading import age_s, read_labels, read_policy, read_state, written_at

POLICY, NODE, STATE = "MemoryPolicy", "Node", "NodeMemoryState"
KINDS = frozenset({POLICY, NODE, STATE})


@dataclass(slots=True)
class Stored:
    """What the API server holds of a policy, apart from its spec."""

    uid: str
    version: str
    """Its resourceVersion."""
    status: Mapping[str, Any] | None


@dataclass(slots=True)
class Picture:
    """Sums over everything that was heard. Times are seconds of one clock that never jumps."""

    ledger: Ledger = field(default_factory=Ledger)
    stored: dict[str, Stored] = field(default_factory=dict)
    """By name of the policy."""
    _complete: set[str] = field(default_factory=set)
    _deaf: set[str] = field(default_factory=set)
    _touched: set[str] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        """Everything has been heard once: from now on sums are sums of everything."""
        return self._complete == KINDS

    def identities(self) -> frozenset[Identity]:
        """All policies that there are."""
        return frozenset(Identity(name, stored.uid) for name, stored in self.stored.items())

    def hear(self, news: News, now: float) -> None:
        """Take in one piece of news."""
        match news:
            case Seen(kind, objects, server_time):
                for each in objects:
                    self._put(kind, each, now - age_s(written_at(each), server_time))
            case Complete(kind, names):
                for name in self._names(kind) - names:
                    self._drop(kind, name)
                self._complete.add(kind)
            case Changed(kind, changed):
                self._put(kind, changed, now)
            case Removed(kind, name):
                self._drop(kind, name)
            case Lost(kind):
                self._deaf.add(kind)
            case Resumed(kind, deaf_s):
                self._deaf.discard(kind)
                if kind == STATE:
                    self.ledger.deaf(deaf_s, now)

    def expire(self, now: float) -> None:
        """Nodes not heard of for long are unknown from now on, unless it is us who cannot hear."""
        if STATE not in self._deaf:
            self.ledger.expire(now)

    def take_changed(self) -> frozenset[str]:
        """Policies whose sums, or whose status in the API server, may have changed since the last call."""
        touched, self._touched = self._touched, set()
        return (self.ledger.take_changed() | touched) & self.ledger.policies()

    def _put(self, kind: str, raw: Raw, heard_at: float) -> None:
        metadata = raw["metadata"]
        if kind == NODE:
            self.ledger.put_node(metadata["name"], read_labels(raw))
        elif kind == STATE:
            self.ledger.put_report(read_state(raw), heard_at)
        else:
            policy = read_policy(raw)
            self.ledger.put_policy(policy)
            self.stored[policy.name] = Stored(policy.uid, metadata.get("resourceVersion", ""), raw.get("status"))
            self._touched.add(policy.name)

    def _drop(self, kind: str, name: str) -> None:
        if kind == NODE:
            self.ledger.drop_node(name)
        elif kind == STATE:
            self.ledger.drop_report(name)
        else:
            self.ledger.drop_policy(name)
            self.stored.pop(name, None)

    def _names(self, kind: str) -> frozenset[str]:
        if kind == NODE:
            return self.ledger.nodes()
        return self.ledger.reports() if kind == STATE else self.ledger.policies()

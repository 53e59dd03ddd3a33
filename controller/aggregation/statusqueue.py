"""Which status is to be written next, if any: what changed, rarely enough, and nothing that stands there already."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.aggregation.clustercache import ClusterCache
from controller.aggregation.identity import PolicyIdentity
from controller.aggregation.ratelimiter import RateLimiter
from controller.aggregation.status import REFRESH_S, Difference, difference, render, turned


@dataclass(frozen=True, slots=True)
class StatusPatch:
    """A status to write."""

    policy: str
    uid: str
    version: str
    """The resourceVersion that it is a change of."""
    status: Mapping[str, Any]
    turned: tuple[Mapping[str, Any], ...] = ()
    """Its conditions of which people should be told."""

    @property
    def identity(self) -> PolicyIdentity:
        """Whose status it is."""
        return PolicyIdentity(self.policy, self.uid)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What the API server made of a patch: it may leave fields out that its schema does not know."""

    status: Mapping[str, Any]
    stored: Mapping[str, Any] | None


@dataclass(slots=True)
class StatusQueue:
    """Patches of statuses, one at a time. Times are seconds of one clock that never jumps."""

    cluster_cache: ClusterCache
    _rate_limiter: RateLimiter = field(default_factory=RateLimiter)
    _answers: dict[PolicyIdentity, _Accepted] = field(default_factory=dict)

    @property
    def next_due(self) -> float:
        """When there may be a patch; infinite when nothing is to be written."""
        return self._rate_limiter.next_due

    def touch(self, policies: Iterable[str], now: float) -> None:
        """These, by name, may need a write. What is gone is forgotten."""
        there = self.cluster_cache.identities()
        self._rate_limiter.keep(there)
        self._answers = {policy: answer for policy, answer in self._answers.items() if policy in there}
        names = frozenset(policies)
        for policy in there:
            if policy.name in names:
                self._rate_limiter.touch(policy, now)

    def next(self, now: float, stamp: str) -> StatusPatch | None:
        """The next status to write; None when none is due. `stamp` is the time as RFC 3339."""
        while (identity := self._rate_limiter.take(now)) is not None:
            patch = self._patch(identity, now, stamp)
            if patch is not None:
                return patch
        return None

    def written(self, patch: StatusPatch, version: str, status: Mapping[str, Any], now: float) -> None:
        """The patch was written, and the policy has this version and status now."""
        self._rate_limiter.wrote(patch.identity, now)
        self._answers[patch.identity] = _Accepted(patch.status, status)
        stored = self.cluster_cache.stored.get(patch.policy)
        if stored is not None and stored.uid == patch.uid:
            stored.version, stored.status = version, status

    def overtaken(self, patch: StatusPatch, now: float) -> None:
        """Somebody else wrote the policy in between: its event will come; try again then."""
        self._rate_limiter.wrote(patch.identity, now)
        self._rate_limiter.touch(patch.identity, now)

    def failed(self, patch: StatusPatch, now: float) -> None:
        """The patch could not be written: try again, ever later."""
        self._rate_limiter.failed(patch.identity, now)

    def _patch(self, identity: PolicyIdentity, now: float, stamp: str) -> StatusPatch | None:
        name = identity.name
        summary, stored = self.cluster_cache.rollup.summary(name), self.cluster_cache.stored.get(name)
        if summary is None or stored is None or stored.uid != identity.uid:
            return None
        answer = self._answers.get(identity)
        present = answer.status if answer is not None and answer.stored == stored.status else stored.status
        status = render(summary, present, stamp)
        change = difference(status, present)
        since_s = self._rate_limiter.since(identity, now)
        if change is Difference.COUNTS and since_s < REFRESH_S:
            self._rate_limiter.touch(identity, now, within=REFRESH_S - since_s)
        elif change is not Difference.NOTHING:
            return StatusPatch(name, stored.uid, stored.version, status, turned(status, present))
        return None

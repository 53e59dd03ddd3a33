"""Which status is to be written next, if any: what changed, rarely enough, and nothing that stands there already."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.aggregation.identity import Identity
from controller.aggregation.pace import Pace
from controller.aggregation.picture import Picture
from controller.aggregation.status import REFRESH_S, Difference, difference, render, turned


@dataclass(frozen=True, slots=True)
class Draft:
    """A status to write."""

    policy: str
    uid: str
    version: str
    """The resourceVersion that it is a change of."""
    status: Mapping[str, Any]
    turned: tuple[Mapping[str, Any], ...] = ()
    """Its conditions of which people should be told."""

    @property
    def identity(self) -> Identity:
        """Whose status it is."""
        return Identity(self.policy, self.uid)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the API server made of a draft: it may leave fields out that its schema does not know."""

    status: Mapping[str, Any]
    stored: Mapping[str, Any] | None


@dataclass(slots=True)
class Desk:
    """Drafts of statuses, one at a time. Times are seconds of one clock that never jumps."""

    picture: Picture
    _pace: Pace = field(default_factory=Pace)
    _answers: dict[Identity, _Answer] = field(default_factory=dict)

    @property
    def next_due(self) -> float:
        """When there may be a draft; infinite when nothing is to be written."""
        return self._pace.next_due

    def touch(self, policies: Iterable[str], now: float) -> None:
        """These, by name, may need a write. What is gone is forgotten."""
        there = self.picture.identities()
        self._pace.keep(there)
        self._answers = {policy: answer for policy, answer in self._answers.items() if policy in there}
        names = frozenset(policies)
        for policy in there:
            if policy.name in names:
                self._pace.touch(policy, now)

    def next(self, now: float, stamp: str) -> Draft | None:
        """The next status to write; None when none is due. `stamp` is the time as RFC 3339."""
        while (identity := self._pace.take(now)) is not None:
            draft = self._draft(identity, now, stamp)
            if draft is not None:
                return draft
        return None

    def written(self, draft: Draft, version: str, status: Mapping[str, Any], now: float) -> None:
        """The draft was written, and the policy has this version and status now."""
        self._pace.wrote(draft.identity, now)
        self._answers[draft.identity] = _Answer(draft.status, status)
        stored = self.picture.stored.get(draft.policy)
        if stored is not None and stored.uid == draft.uid:
            stored.version, stored.status = version, status

    def overtaken(self, draft: Draft, now: float) -> None:
        """Somebody else wrote the policy in between: its news will come; try again then."""
        self._pace.wrote(draft.identity, now)
        self._pace.touch(draft.identity, now)

    def failed(self, draft: Draft, now: float) -> None:
        """The draft could not be written: try again, ever later."""
        self._pace.failed(draft.identity, now)

    def _draft(self, identity: Identity, now: float, stamp: str) -> Draft | None:
        name = identity.name
        summary, stored = self.picture.ledger.summary(name), self.picture.stored.get(name)
        if summary is None or stored is None or stored.uid != identity.uid:
            return None
        answer = self._answers.get(identity)
        present = answer.status if answer is not None and answer.stored == stored.status else stored.status
        status = render(summary, present, stamp)
        change = difference(status, present)
        since_s = self._pace.since(identity, now)
        if change is Difference.COUNTS and since_s < REFRESH_S:
            self._pace.touch(identity, now, within=REFRESH_S - since_s)
        elif change is not Difference.NOTHING:
            return Draft(name, stored.uid, stored.version, status, turned(status, present))
        return None

"""The log's memory: says what changed, once. Nothing is written for a look that changed nothing."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from controller.engine.decision import Action, Notice
from controller.engine.reasons import Reason
from controller.observe.text import MIB, change

_log = logging.getLogger(__name__)


class Journal:
    """Remembers only what is needed to stay silent about the unchanged."""

    def __init__(self) -> None:
        self._refused: dict[str, str] = {}
        self._conflicts: set[tuple[str, str]] = set()
        self._unmatched: set[str] = set()

    def notices(self, notices: Iterable[Notice]) -> None:
        """One line a notice; the engine gives each once."""
        for notice in notices:
            fields = {
                "event": "notice",
                "domain": notice.name,
                "key": notice.key,
                "reason": str(notice.reason),
            }
            level = logging.WARNING if notice.reason in _WARNINGS else logging.INFO
            _log.log(level, "%s: %s [%s]", notice.name, notice.reason.text, notice.reason, extra={"fields": fields})

    def proposals(self, proposals: Iterable[Action]) -> None:
        """One line a proposal (Observe); the engine gives each once."""
        for action in proposals:
            _write(action, "proposal", "would change ")

    def actions(self, actions: Iterable[Action], refused: Mapping[str, str]) -> None:
        """One line an action; `refused` maps a domain's key to libvirt's message, repeated if it changes."""
        for action in actions:
            message = refused.get(action.key)
            if message is None:
                self._refused.pop(action.key, None)
                _write(action, "action", "")
            elif self._refused.get(action.key) != message:
                self._refused[action.key] = message
                fields = {"event": "refusal", "domain": action.name, "key": action.key, "error": message}
                _log.warning(
                    "%s: libvirt refused %s: %s",
                    action.name,
                    change(action.before, action.target),
                    message,
                    extra={"fields": fields},
                )

    def ownership(
        self, names: Mapping[str, str], conflicted: Mapping[str, Sequence[str]], unmatched: Iterable[str]
    ) -> None:
        """Policies that lost domains to another, and policies that select nothing.

        `names` maps keys to domains; those that are gone are forgotten.
        """
        conflicts = {(policy, key) for policy, keys in conflicted.items() for key in keys}
        for policy, key in sorted(conflicts - self._conflicts):
            name = names.get(key, key)
            _log.warning(
                "MemoryPolicy %s: domain %s belongs to another policy (higher priority, older, or first by "
                "name); narrow one domainSelector or change priority",
                policy,
                name,
                extra={"fields": {"event": "conflict", "policy": policy, "domain": name, "key": key}},
            )
        unmatched = set(unmatched)
        for policy in sorted(unmatched - self._unmatched):
            _log.warning(
                "MemoryPolicy %s selects no domain of this node; check its nodeSelector and domainSelector",
                policy,
                extra={"fields": {"event": "unmatched", "policy": policy}},
            )
        self._conflicts, self._unmatched = conflicts, unmatched
        for key in self._refused.keys() - names.keys():
            del self._refused[key]


_WARNINGS = frozenset(
    {
        Reason.STUCK,
        Reason.INVALID_WISHES,
        Reason.UNRESPONSIVE,
        Reason.INVALID_STATISTICS,
        Reason.STALE_STATISTICS,
        Reason.FUTURE_STATISTICS,
        Reason.NO_STATISTICS,
    }
)
"""Reasons that someone should look into; the others are a domain's ordinary life."""


def _write(action: Action, event: str, verb: str) -> None:
    fields = {
        "event": event,
        "domain": action.name,
        "key": action.key,
        "from_mib": round(action.before / MIB),
        "to_mib": round(action.target / MIB),
        "reason": str(action.reason),
    }
    _log.info(
        "%s: %s%s: %s [%s]",
        action.name,
        verb,
        change(action.before, action.target),
        action.reason.text,
        action.reason,
        extra={"fields": fields},
    )

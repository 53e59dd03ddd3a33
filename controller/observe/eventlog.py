"""The log's memory: says what changed, once. Nothing is written for a look that changed nothing."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite

from controller.engine.decision import Action, Figures, Notice
from controller.engine.reasons import Reason
from controller.observe.remarks import Remark
from controller.observe.text import MIB, change

_log = logging.getLogger(__name__)


class EventLog:
    """Remembers only what is needed to stay silent about the unchanged."""

    def __init__(self) -> None:
        self._refused: dict[str, str] = {}
        self._remarks: frozenset[Remark] = frozenset()
        self._unread = ""

    def notices(self, notices: Iterable[Notice], advise: Callable[[Notice], str]) -> None:
        """One line a notice, with what `advise` has to say about it; the engine gives each once."""
        for notice in notices:
            advice = advise(notice)
            fields = {
                "event": "notice",
                "domain": notice.name,
                "key": notice.key,
                "reason": str(notice.reason),
                "advice": advice,
            }
            level = logging.WARNING if notice.reason in WARNINGS else logging.INFO
            text = f"{notice.reason.text}: {advice}" if advice else notice.reason.text
            _log.log(level, "%s: %s [%s]", notice.name, text, notice.reason, extra={"fields": fields})

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

    def remarks(self, remarks: Sequence[Remark]) -> None:
        """One line for each remark that was not made before."""
        for remark in remarks:
            if remark not in self._remarks:
                fields = {"event": remark.event, "policy": remark.policy}
                level = logging.INFO if remark.ordinary else logging.WARNING
                _log.log(level, "%s", remark.text, extra={"fields": fields})
        self._remarks = frozenset(remarks)

    def host_unread(self, why: str) -> None:
        """One line when the host's memory cannot be read, and one when it can be again, `why` being empty."""
        if why and why != self._unread:
            _log.warning("%s; going on with what was read last", why, extra={"fields": {"event": "host unread"}})
        if self._unread and not why:
            _log.info("the host's memory can be read again", extra={"fields": {"event": "host read"}})
        self._unread = why

    def forget(self, keys: Iterable[str]) -> None:
        """Domains that are gone."""
        for key in keys:
            self._refused.pop(key, None)


WARNINGS = frozenset(
    {
        Reason.STUCK,
        Reason.INVALID_WISHES,
        Reason.UNREADABLE,
        Reason.UNRESPONSIVE,
        Reason.INVALID_STATISTICS,
        Reason.STALE_STATISTICS,
        Reason.FUTURE_STATISTICS,
        Reason.NO_STATISTICS,
        Reason.MINIMUM_UNMET,
    }
)
"""Reasons that someone should look into; the others are a domain's ordinary life."""


_WORTH = ("saving", "price")
_SIZES = tuple(name for name in Figures._fields if name not in {*_WORTH, "allocation", "target"})
"""Of the numbers that decided: MiB s, and MiB beside where the balloon goes from and to."""


def _whole_mib(size: float) -> int | None:
    return round(size / MIB) if isfinite(size) else None


def _write(action: Action, event: str, verb: str) -> None:
    fields = {
        "event": event,
        "domain": action.name,
        "key": action.key,
        "from_mib": round(action.before / MIB),
        "to_mib": round(action.target / MIB),
        **{f"{name}_mib": _whole_mib(getattr(action.figures, name)) for name in _SIZES},
        **{f"{name}_mib_s": _whole_mib(getattr(action.figures, name)) for name in _WORTH},
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

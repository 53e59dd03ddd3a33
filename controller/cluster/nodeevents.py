"""When a finding is worth an event of the Node, and the events themselves (`kubectl get events`)."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from controller.cluster.client import Client
from controller.cluster.errors import ApiError
from controller.cluster.findings import Finding
from controller.cluster.resources import EVENTS, Object

NAMESPACE = "default"
"""Of events about things that have no namespace: the API server takes no other."""
QUIET_S = 300.0
"""Least seconds between two requests about the same reason: what flaps is one event with a count."""
REPEAT_S = 1800.0
"""Seconds after which what lasts is told again: the API server forgets events after an hour."""
NAME_LENGTH = 230
"""Characters of the name of what an event is about in its own, which has 253 at most."""
CONTROLLER = "ballast.dev/agent"


@dataclass(slots=True)
class _SentEvent:
    """What has been said of one reason."""

    note: str
    at: float
    name: str
    count: int = 1


class NodeEvents:
    """Events about one Node. Belongs to one thread."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._since: dict[str, float] = {}
        self._told: dict[str, _SentEvent] = {}
        self._ended: set[str] = set()

    def send(self, found: Iterable[Finding], uid: str, now: float, wall: str) -> None:
        """Tell what is worth it. Raises ApiError; what was not told then is told at the next call.

        One that the server does not take keeps no other from being told. `uid` is the Node's, `now` monotonic seconds,
        `wall` the time as Kubernetes writes it, with microseconds.
        """
        holding = {finding.reason: finding for finding in found}
        self._ended |= self._since.keys() - holding.keys()
        self._since = {reason: self._since.get(reason, now) for reason in holding}
        refused: ApiError | None = None
        for reason, finding in holding.items():
            if now - self._since[reason] >= finding.hold_s:
                try:
                    self._consider(finding, uid, now, wall)
                except ApiError as error:
                    if error.unreachable:
                        raise
                    refused = refused or error
        if refused is not None:
            raise refused

    def _consider(self, finding: Finding, uid: str, now: float, wall: str) -> None:
        """Something new is an event of its own; what came back, or lasts, is one more of the same."""
        told = self._told.get(finding.reason)
        if told is None:
            self._create(finding, uid, now, wall)
        elif now - told.at < QUIET_S:
            return
        elif told.note != finding.note:
            self._create(finding, uid, now, wall)
        elif finding.reason in self._ended or now - told.at >= REPEAT_S:
            self._repeat(finding, told, uid, now, wall)
        else:
            return
        self._ended.discard(finding.reason)

    def _create(self, finding: Finding, uid: str, now: float, wall: str) -> None:
        regarding = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": uid}
        said = {"type": "Warning", "reason": finding.reason, "note": finding.note, "action": "Watching"}
        event = new_event(self._node, self._node, NAMESPACE, wall, regarding, said)
        self._client.create(EVENTS, event, namespace=NAMESPACE)
        self._told[finding.reason] = _SentEvent(finding.note, now, event["metadata"]["name"])

    def _repeat(self, finding: Finding, told: _SentEvent, uid: str, now: float, wall: str) -> None:
        series = {"series": {"count": told.count + 1, "lastObservedTime": wall}}
        try:
            self._client.merge(EVENTS, told.name, series, namespace=NAMESPACE)
        except ApiError as error:
            if not error.not_found:
                raise
            self._create(finding, uid, now, wall)
        else:
            told.at, told.count = now, told.count + 1


def new_event(node: str, about: str, namespace: str, wall: str, regarding: Object, said: Object) -> Object:
    """Of the agent on a node, named after what it is `about`; `said`: its type, reason, note and action."""
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{about[:NAME_LENGTH].rstrip('-.')}.{time.time_ns():x}", "namespace": namespace},
        "eventTime": wall,
        "reportingController": CONTROLLER,
        "reportingInstance": node[:128],
        "regarding": regarding,
    } | said


def event_remedy(error: ApiError) -> str:
    """The error, with what to do about missing rights: they stay behind when `default` is not their namespace."""
    if error.forbidden:
        remedy = f"give the service account rights to events in the namespace {NAMESPACE}"
        return f"{error}; {remedy}: manifests/README.md, Another namespace"
    return str(error)

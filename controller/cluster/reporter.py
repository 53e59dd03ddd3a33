"""Sends what the node reports: the newest state, on change or now and then, and events for people."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from controller.cluster.client import Client
from controller.cluster.errors import ApiError
from controller.cluster.findings import Finding
from controller.cluster.machineevents import MachineEvents, Machines, Note, machine_event_remedy
from controller.cluster.nodeevents import NodeEvents, event_remedy
from controller.cluster.report import Context, aged, drifted, report, settled, urgent
from controller.cluster.resources import NODE_MEMORY_STATES, NODES, Object
from controller.cluster.retry import Retry, part_of, spread
from controller.cluster.shape import version_of
from controller.cluster.worker import Worker
from controller.engine.state import State

FIELD_MANAGER = "ballast-agent"
GAP_S = 1.0
"""Least seconds between two looks at what there is to report."""
URGENT_S = 10.0
"""Least seconds between two writes, when others act on what changed."""
HERD_S = 3.0
"""Seconds over which nodes spread what all of them have to say at once, such as that a policy has changed. The sums
are written a few seconds apart anyhow, so nobody waits for it."""
SETTLED_S = 60.0
"""Least seconds between two writes for counts and sums that changed: a node whose domains are never at rest writes no
more than once a minute, below the 0.02 writes a second that a large cluster bears."""
REFRESH_S = 300.0
"""Seconds between two writes without a change, so that a node that ceased to report can be told."""


SHORT_LABEL = "ballast.dev/short"
"""On a Node that stays short, if agents are to label it."""

STANDS_S = 60.0
"""Seconds between two questions whether what was written still stands: it may have been deleted, or the cluster
restored from a backup, and nobody tells."""


class ReportInput(NamedTuple):
    """What there is to report at one time."""

    state: State
    context: Context
    found: list[Finding]
    labels: Mapping[str, str]
    """Of the Node, as they are now."""
    notes: Iterable[Note] = ()
    """What became of its machines of late."""


class _SentReport(NamedTuple):
    """What was written last, all of it. Times are monotonic seconds."""

    told: Object
    version: str
    """The API server's, of the object."""
    at: float
    refresh_at: float
    """When it is written again though nothing has changed."""
    stood_at: float
    """When it was last known to be as it was written."""


class Reporter:
    """One thread that writes the node's own state, events and perhaps a label. `worker` is to be entered."""

    def __init__(
        self,
        client: Client,
        node: str,
        report_input: Callable[[], ReportInput | None],
        monotonic: Callable[[], float],
        *,
        label_node: bool,
        machines: Machines | None = None,
    ) -> None:
        """`report_input` gives the newest, or None while nothing is known; `label_node`: the Node gets SHORT_LABEL.
        `machines` are told of in events of their own.
        """
        self._label_node = label_node
        self._client = client
        self._node = node
        self._report_input = report_input
        self._monotonic = monotonic
        self._events = NodeEvents(client, node)
        self._machine_events = None if machines is None else MachineEvents(client, node, machines)
        self._machine_retry = Retry("writing events about virtual machines")
        self._state_retry = Retry("reporting the node's state")
        self._event_retry = Retry("writing events")
        self._label_retry = Retry("labelling the Node")
        self._sent: _SentReport | None = None
        self._urgent_at: float | None = None
        self._looked_at = float("-inf")
        self._not_before: defaultdict[str, float] = defaultdict(float)
        self.worker = Worker("report", self.turn)

    def turn(self) -> float:
        """Send what is due. Returns the seconds until there may be more, if nothing is published before."""
        now = self._monotonic()
        if now - self._looked_at < GAP_S:
            return self._looked_at + GAP_S - now
        self._looked_at = now
        report_input = self._report_input()
        if report_input is None:
            return SETTLED_S
        wait = self._tell_state(report_input, now)
        self._tell_events(report_input, now)
        self._tell_machines(report_input, now)
        if self._label_node:
            self._tell_label(report_input, now)
        return min(wait, SETTLED_S)

    def _tell_state(self, report_input: ReportInput, now: float) -> float:
        """Write the state if it is time. Returns the seconds until it may be."""
        if now < self._not_before["state"]:
            return self._not_before["state"] - now
        told = report(report_input.state, report_input.context, _wall("seconds"))
        try:
            self._look_after(now)
            held_back = self._due(told, now) - now
            if held_back > 0:
                return held_back
            self._send(told, now)
        except ApiError as error:
            if error.not_found:
                self._sent = None  # somebody deleted it
            pause = self._state_retry.failed(error.reason, _with_remedy(error), error.retry_after_s)
            self._not_before["state"] = now + pause
            return pause
        return SETTLED_S

    def _send(self, told: Object, now: float) -> None:
        """Raises ApiError. The object is made, or given to another Node, before its status is written."""
        before = self._sent and self._sent.told
        if before is None or before["metadata"] != told["metadata"]:
            self._sent = None  # until all of it is written
            bare = {field: part for field, part in told.items() if field != "status"}
            before = self._client.apply(NODE_MEMORY_STATES, bare, field_manager=FIELD_MANAGER)
        told = aged(told, before)
        stored = self._client.apply(NODE_MEMORY_STATES, told, field_manager=FIELD_MANAGER, subresource="status")
        self._sent = _SentReport(told, version_of(stored), now, now + spread(REFRESH_S), now)
        self._urgent_at = None
        self._state_retry.worked()

    def _look_after(self, now: float) -> None:
        """Now and then, find out whether what was sent still stands; if not, it is to be sent again."""
        sent = self._sent
        if sent is None or now < sent.stood_at + STANDS_S:
            return
        self._sent = sent._replace(stood_at=now) if self._stored_version() == sent.version else None
        self._state_retry.worked()

    def _stored_version(self) -> str:
        """Of the state in the API server; empty without it."""
        try:
            stored = self._client.get(NODE_MEMORY_STATES, self._node, metadata_only=True)
        except ApiError as error:
            if error.not_found:
                return ""
            raise
        return version_of(stored)

    def _due(self, told: Object, now: float) -> float:
        """When this is to be written."""
        sent = self._sent
        if sent is None:
            return now
        if urgent(told) != urgent(sent.told):
            if self._urgent_at is None:
                self._urgent_at = now + part_of(HERD_S)
            return max(sent.at + URGENT_S, self._urgent_at)
        self._urgent_at = None
        changed = settled(told) != settled(sent.told) or drifted(told, sent.told)
        return sent.at + SETTLED_S if changed else sent.refresh_at

    def _tell_events(self, report_input: ReportInput, now: float) -> None:
        if now < self._not_before["events"]:
            return
        try:
            self._events.send(report_input.found, report_input.context.uid, now, _wall("microseconds"))
        except ApiError as error:
            pause = self._event_retry.failed(error.reason, event_remedy(error), error.retry_after_s)
            self._not_before["events"] = now + pause
        else:
            self._event_retry.worked()

    def _tell_machines(self, report_input: ReportInput, now: float) -> None:
        if self._machine_events is None:
            return
        try:
            if self._machine_events.send(report_input.notes, now, _wall("microseconds")):
                self._machine_retry.worked()
        except ApiError as error:
            self._machine_retry.failed(error.reason, machine_event_remedy(error))

    def _tell_label(self, report_input: ReportInput, now: float) -> None:
        """Make it as it should be, whoever changed it; the watch of the Node soon tells that it is."""
        value = "true" if report_input.context.short else None
        if value == report_input.labels.get(SHORT_LABEL) or now < self._not_before["label"]:
            return
        try:
            self._client.merge(NODES, self._node, {"metadata": {"labels": {SHORT_LABEL: value}}})
        except ApiError as error:
            pause = self._label_retry.failed(error.reason, str(error), error.retry_after_s)
            self._not_before["label"] = now + pause
        else:
            self._label_retry.worked()
            self._not_before["label"] = now + URGENT_S


def _wall(precision: str) -> str:
    return datetime.now(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def _with_remedy(error: ApiError) -> str:
    if error.not_found:
        return f"{error}; are the CustomResourceDefinitions installed? kubectl apply -k crds"
    return str(error)

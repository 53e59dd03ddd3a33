"""What the loop last did, for whoever asks: the only thing shared between the loop and the HTTP threads.

The loop leaves one immutable `StatusSnapshot` and goes on; whoever asks pays for putting it into words.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from controller import __version__
from controller.api.policy import Metadata
from controller.api.printable import LONGEST_NAME, LONGEST_PART, bounded
from controller.engine.balance import Shortage, shortage
from controller.engine.state import State
from controller.engine.view import view
from controller.observe.advice import HELD, advice
from controller.observe.decisionhistory import DecisionHistory
from controller.observe.explain import EXPLAINED, Scene, explanation, matching, near
from controller.observe.remarks import Ownership
from controller.observe.timeseries import TimeSeries

SILENCE_S = 30.0
"""Seconds without an iteration after which the loop counts as hung: three heartbeats, a slow one is fine."""


TOLD = 200
"""Problems, or warnings, that the state has at a time."""


class ConnectionView(Protocol):
    """State of one libvirt connection, as `host` reports it."""

    @property
    def uri(self) -> str:
        """Or what else people know it by."""
        ...

    @property
    def connected(self) -> bool: ...
    @property
    def error(self) -> str:
        """What is wrong, with the URI and the remedy; empty when nothing is."""
        ...


class SenseView(Protocol):
    """One way in which the host feels its guests, as `host` reports it."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str:
        """What it is taken from."""
        ...

    @property
    def domains(self) -> int:
        """Of how many it tells."""
        ...

    @property
    def trouble(self) -> str:
        """Why it tells of no others, with the remedy; empty when all is well."""
        ...

    @property
    def cpu_percent(self) -> float:
        """Of a processor, that it takes beside looks."""
        ...


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """One iteration's result."""

    at: float
    """Monotonic seconds."""
    state: State
    connections: tuple[ConnectionView, ...]
    problems: tuple[str, ...]
    """Policies that were refused, one line each."""
    looked: bool
    """Every domain there is had its chance to be looked at once."""
    ownership: Ownership = field(default_factory=Ownership)
    wishes_errors: Mapping[str, str] = field(default_factory=dict)
    """By key, what is wrong with the wishes in a domain's metadata."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """By key, what libvirt said when it last refused an order."""
    in_force: Mapping[str, Metadata] = field(default_factory=dict)
    """By name, the metadata of the policies in force, which tells which version of which object that is."""
    outage: str = ""
    """Why nobody can be asked for policies, so that those known last count; empty otherwise."""
    awaited: str = ""
    """What has to be known before policies count, and is not; empty otherwise."""
    decision_history: DecisionHistory = field(default_factory=DecisionHistory)
    time_series: TimeSeries = field(default_factory=TimeSeries)
    senses: tuple[SenseView, ...] = ()
    shortage: Shortage = field(default_factory=Shortage)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Answer of a probe: fine, or why not."""

    reasons: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True without a reason against it."""
        return not self.reasons


class StatusStore:
    """Holds the newest publication. `publish` never waits; readers get a consistent whole without a lock."""

    def __init__(
        self, node_name: str, monotonic: Callable[[], float], published: Callable[[], None] = lambda: None
    ) -> None:
        """`published` is called from the loop's thread after each publication; it must not wait."""
        self._published = published
        self._node_name = node_name
        self._monotonic = monotonic
        self._latest: StatusSnapshot | None = None

    def publish(self, status_snapshot: StatusSnapshot) -> None:
        """Replace what readers see."""
        self._latest = status_snapshot
        self._published()

    @property
    def latest(self) -> StatusSnapshot | None:
        """The newest publication; None before the first."""
        return self._latest

    def document(self) -> dict[str, Any]:
        """The `/state` document, JSON-able: sizes in bytes, times in seconds, null where unknown."""
        latest = self._latest
        if latest is None:
            return {
                "version": __version__,
                "node": {"name": self._node_name},
                "silence_s": None,
                "connections": [],
                "senses": [],
                "problems": [],
                "outage": None,
                "warnings": [],
                "policies": [],
                "domains": [],
            }
        seen = view(latest.state, self._monotonic())
        return {
            "version": __version__,
            "node": {
                "name": self._node_name,
                **seen["node"],
                "stays_short": latest.shortage.lasts,
                "paused": bool(latest.ownership.paused),
            },
            "silence_s": round(self._monotonic() - latest.at, 3),
            "connections": [_connection(each) for each in latest.connections],
            "senses": [_sense(each) for each in latest.senses],
            "problems": _some(latest.problems),
            "outage": bounded(latest.outage),
            "warnings": _some([*filter(None, [short(latest)]), *latest.ownership.warnings]),
            "policies": [
                policy
                | {
                    "conflicted_domains": latest.ownership.conflicted.get(policy["name"], 0),
                    "overridden_domains": latest.ownership.overridden.get(policy["name"], 0),
                    "generation": _generation(latest, policy["name"]),
                }
                for policy in seen["policies"]
            ],
            "domains": [_domain(domain, latest) for domain in seen["domains"]],
        }

    def explain(self, wanted: str) -> dict[str, Any]:
        """The `/explain` document of the domains with this name, UUID or key, JSON-able.

        `near` are names like it where none has it, `more` domains that have it besides those explained.
        """
        latest, document = self._latest, self.document()
        found = matching(document["domains"], wanted)
        if latest is None or not found:
            return {"node": document["node"], "domains": [], "near": near(document["domains"], wanted), "more": 0}
        scene = Scene(latest.state, latest.decision_history, latest.time_series, self._monotonic())
        known = [each for each in found if each["key"] in latest.state.inventory.index]
        told = [explanation(each, scene) for each in known[:EXPLAINED]]
        return {"node": document["node"], "domains": told, "near": [], "more": len(known) - len(told)}

    def health(self) -> ProbeResult:
        """Fine while the loop turns."""
        latest = self._latest
        if latest is None:
            return ProbeResult(("the loop has not run yet",))
        age = self._monotonic() - latest.at
        if age > SILENCE_S:
            return ProbeResult((f"the loop last ran {age:.0f} s ago, more than {SILENCE_S:.0f} s: it hangs",))
        return ProbeResult()

    def readiness(self) -> ProbeResult:
        """Fine when libvirt answers on at least one connection, if there are any, the policies are known and the first
        look is done.
        """
        latest = self._latest
        if latest is None:
            return ProbeResult(("the loop has not run yet",))
        reasons = list(self.health().reasons)
        if not reached(latest.connections):
            reasons += lost(latest.connections)
        if latest.awaited:
            reasons.append(f"waiting for {latest.awaited}")
        if not latest.looked:
            reasons.append("the first look is not done")
        return ProbeResult(tuple(reasons))


def reached(connections: Sequence[ConnectionView]) -> bool:
    """One of them is up, or there are none: a node may have no virtual machine yet."""
    return not connections or any(each.connected for each in connections)


def lost(connections: Sequence[ConnectionView]) -> list[str]:
    """One line for each connection that is down."""
    return [each.error or f"{each.uri}: not connected" for each in connections if not each.connected]


def short(latest: StatusSnapshot) -> str:
    """That the node stays short; empty while it does not."""
    return shortage(latest.state) if latest.shortage.lasts else ""


def _generation(latest: StatusSnapshot, policy: str) -> int:
    """`metadata.generation` in force; 0 where there is none."""
    metadata = latest.in_force.get(policy)
    return metadata.generation if metadata is not None else 0


def _domain(domain: dict[str, Any], latest: StatusSnapshot) -> dict[str, Any]:
    error, refusal = (said.get(domain["key"], "") for said in (latest.wishes_errors, latest.refusals))
    told = advice(domain["reason"], domain["name"], domain["mode"], error, refusal)
    if domain["policy"] in latest.ownership.held:
        told = f"{told}; {HELD}" if told else HELD
    namespace, machine = _kubevirt(domain["key"], domain["name"])
    return domain | {
        "name": bounded(domain["name"], LONGEST_NAME),
        "namespace": namespace,
        "virtual_machine": machine,
        "advice": bounded(told, LONGEST_PART),
    }


def _kubevirt(key: str, name: str) -> tuple[str | None, str | None]:
    """Namespace and name of the virtual machine that KubeVirt calls `NAMESPACE_NAME` in libvirt; None elsewhere.

    Only the key of a domain in a pod, `UUID@NAMESPACE/POD`, has a namespace.
    """
    namespace, _, rest = key.partition("@")[2].partition("/")
    if not (namespace and rest) or ":" in namespace or not name.startswith(f"{namespace}_"):
        return None, None
    return namespace, bounded(name.removeprefix(f"{namespace}_"), LONGEST_NAME)


def _connection(connection: ConnectionView) -> dict[str, Any]:
    return {"uri": connection.uri, "connected": connection.connected, "error": bounded(connection.error)}


def _sense(sense: SenseView) -> dict[str, Any]:
    return {
        "name": sense.name,
        "source": bounded(sense.source),
        "domains": sense.domains,
        "trouble": bounded(sense.trouble),
        "cpu_percent": round(sense.cpu_percent, 3),
    }


def _some(texts: Sequence[str]) -> list[str]:
    """As many as a person reads, each as long."""
    more = [f"and {len(texts) - TOLD} more; see the log"] if len(texts) > TOLD else []
    return [*map(bounded, texts[:TOLD]), *more]

"""Events of virtual machines in pods, on the objects that their owners look at (`kubectl describe vmi`)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from controller.api.printable import cut, printable
from controller.cluster.client import Client
from controller.cluster.errors import ApiError
from controller.cluster.findings import NOTE_BYTES
from controller.cluster.nodeevents import new_event
from controller.cluster.resources import EVENTS, Object

APART_S = 30.0
"""Least seconds between two events of a node, whatever its machines do: a write in so long is what a cluster bears."""
QUIET_S = 600.0
"""Least seconds between two changes of one machine that are told, and between two problems: a restless one is moved
every few seconds."""

Machines = Callable[[], Mapping[str, Object]]
"""By what follows `@` in a domain's key, `NAMESPACE/POD`: the object that is the machine to its owner."""


class Note(Protocol):
    """As the loop leaves it: the newest thing that is worth an owner's time."""

    @property
    def key(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def reason(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def warning(self) -> bool: ...


class MachineEvents:
    """Events about the machines of one node. Belongs to one thread."""

    def __init__(self, client: Client, node: str, machines: Machines) -> None:
        self._client = client
        self._node = node
        self._machines = machines
        self._told: dict[tuple[str, bool], tuple[float, float]] = {}
        """By key, and whether it is a problem: of what time the newest news was that was told, and when that was."""
        self._not_before = float("-inf")

    def send(self, notes: Iterable[Note], now: float, wall: str) -> bool:
        """Tell the owner of one machine, the most pressing: first what is wrong, then what waited longest. Returns
        whether there was one to be told.

        Raises ApiError; what was not taken is not tried again. Times as of `NodeEvents.send`.
        """
        if now < self._not_before:
            return False
        machines = self._machines()
        news = {note.key: note for note in notes if _place(note.key) in machines}
        self._told = {kind: told for kind, told in self._told.items() if kind[0] in news}
        waiting = [note for note in news.values() if self._is_due(note, now)]
        if not waiting:
            return False
        note = min(waiting, key=lambda each: (not each.warning, each.at))
        self._told[note.key, note.warning] = note.at, now
        self._not_before = now + APART_S
        self._create(note, machines[_place(note.key)], wall)
        return True

    def _is_due(self, note: Note, now: float) -> bool:
        of, told_at = self._told.get((note.key, note.warning), (float("-inf"), float("-inf")))
        return note.at > of and now - told_at >= QUIET_S

    def _create(self, note: Note, machine: Object, wall: str) -> None:
        namespace, _, pod = _place(note.key).partition("/")
        said = {
            "type": "Warning" if note.warning else "Normal",
            "reason": note.reason,
            "note": cut(printable(note.text), NOTE_BYTES),
            "action": "Watching" if note.warning else "Reallocating",
        }
        event = new_event(self._node, pod, namespace, wall, machine | {"namespace": namespace}, said)
        self._client.create(EVENTS, event, namespace=namespace)


def _place(key: str) -> str:
    return key.partition("@")[2]


def machine_event_remedy(error: ApiError) -> str:
    """The error, with what to do about missing rights."""
    remedy = "; apply manifests/components/kubevirt/rbac.yaml, which lets agents create events"
    return f"{error}{remedy if error.forbidden else ''}"

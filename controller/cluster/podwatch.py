"""The virt-launcher pods of this node, watched: which virtual machines there are, in which namespaces.

Pods tell all that is needed; KubeVirt's own API is not asked. https://kubevirt.io/user-guide/architecture/
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from controller.aggregation.watchevents import Deleted, ListComplete, Listed, Modified, Raw, WatchEvent
from controller.cluster.client import Client
from controller.cluster.errors import ApiError
from controller.cluster.pods import Launcher, launcher
from controller.cluster.reflector import Reflector
from controller.cluster.resources import NAMESPACES, PODS, Object, full_name

_log = logging.getLogger(__name__)

LABEL = "kubevirt.io=virt-launcher"
"""Of the pods that KubeVirt makes for virtual machines."""

Tell = Callable[[tuple[Launcher, ...], Callable[[], str]], None]
"""Takes all launchers, and a function that says why there may be others; it says nothing once all are known."""


class PodWatch:
    """Tells which pods of virtual machines there are, from threads of its own; a context manager.

    A pod whose namespace is not known yet is not told of: policies select by its namespace's labels. While the API
    server is away what was known last stays.
    """

    def __init__(self, client: Client, node_name: str, tell: Tell, monotonic: Callable[[], float]) -> None:
        self._node_name = node_name
        self._tell = tell
        self._lock = threading.Lock()
        self._launchers: dict[str, Launcher] = {}
        """By `NAMESPACE/NAME`."""
        self._labels: dict[str, Mapping[str, str]] = {}
        """Of namespaces, by name."""
        self._listed: frozenset[str] = frozenset()
        """Kinds of which all is known."""
        self._told: tuple[Launcher, ...] | None = None
        self._refused: dict[str, str] = {}
        """By name, what is wrong with a pod that makes no sense."""
        here = f"spec.nodeName={node_name}"
        self._reflectors = (
            Reflector(client, PODS, self.on_event, monotonic, field_selector=here, label_selector=LABEL),
            Reflector(client, NAMESPACES, self.on_event, monotonic, metadata_only=True),
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._tell((), self.missing)
        for reflector in self._reflectors:
            self._stack.enter_context(reflector.worker)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def machines(self) -> dict[str, Object]:
        """By `NAMESPACE/POD`, what is the virtual machine to its owner."""
        return {f"{each.pod.namespace}/{each.pod.name}": each.machine for each in self._told or ()}

    def missing(self) -> str:
        """Why there may be pods that are not known yet; empty once all are."""
        if len(self._listed) == len(self._reflectors):
            return ""
        problems = "; ".join(filter(None, (reflector.problem for reflector in self._reflectors)))
        return f"virt-launcher pods of node {self._node_name}: {problems or 'not listed yet'}"

    def on_event(self, event: WatchEvent) -> None:
        """Of pods and of namespaces, from either reflector."""
        with self._lock:
            match event:
                case Listed(kind, objects):
                    self._put(kind, objects)
                case Modified(kind, changed):
                    self._put(kind, (changed,))
                case Deleted(kind, name):
                    self._of(kind).pop(name, None)
                    self._refused.pop(name, None)
                case ListComplete(kind, names):
                    for name in self._of(kind).keys() - names:
                        del self._of(kind)[name]
                    if kind == PODS.kind:
                        self._refused = {name: said for name, said in self._refused.items() if name in names}
                    self._listed |= {kind}
            self._publish()

    def _of(self, kind: str) -> dict[str, Launcher] | dict[str, Mapping[str, str]]:
        return self._launchers if kind == PODS.kind else self._labels

    def _put(self, kind: str, objects: Iterable[Raw]) -> None:
        for each in objects:
            name = full_name(dict(each))
            if kind == NAMESPACES.kind:
                self._labels[name] = each["metadata"].get("labels") or {}
            elif (known := self._understood(name, each)) is not None:
                self._launchers[name] = known
            else:
                self._launchers.pop(name, None)

    def _understood(self, name: str, pod: Raw) -> Launcher | None:
        """A pod that makes no sense is left alone, and that is said once."""
        try:
            understood = launcher(dict(pod), self._node_name)
        except ApiError as error:
            if self._refused.get(name) != str(error):
                self._refused[name] = str(error)
                _log.warning("pod %s: left alone: %s", name, error, extra={"fields": {"event": "cluster"}})
            return None
        self._refused.pop(name, None)
        return understood

    def _publish(self) -> None:
        """Tell if there is something new, and all is known."""
        if self.missing():
            return
        told = tuple(
            replace(each, pod=replace(each.pod, namespace_labels=self._labels[each.pod.namespace]))
            for each in self._launchers.values()
            if each.pod.namespace in self._labels
        )
        if told != self._told:
            self._told = told
            self._tell(told, self.missing)

"""Policies from the API server, as the control loop asks for them: never before they are known.

kopf tells of changes at once; a list now and then repairs what a watch missed. When the API server does not answer
at the start, what was last known counts.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from controller.api.policy import MemoryPolicy
from controller.cluster.access import Load
from controller.cluster.cache import Cache, Remembered
from controller.cluster.client import Client
from controller.cluster.errors import ApiError
from controller.cluster.kopfwatch import KopfWatch, Run, run_kopf
from controller.cluster.nodewatch import NodeWatch
from controller.cluster.resources import MEMORY_POLICIES, Object
from controller.cluster.retry import Retry, spread
from controller.cluster.shape import all_sound, sound
from controller.cluster.store import KnownPolicies, PolicyStore, load_here
from controller.cluster.worker import Worker
from controller.engine.ownership import NodeIdentity

_log = logging.getLogger(__name__)

RELIST_S = 180.0
"""Seconds between two lists that nothing asked for: a watch can miss a deletion, and says nothing about it."""
TRIES = 3
"""Lists one after another, if each time the watch tells something meanwhile."""
AGAIN_S = 1.0
"""Seconds to the next list after so many in vain."""
CACHE_S = 15.0
"""Seconds between two lists while the cache cannot be written: each is a try."""


class ClusterPolicies:
    """A PolicySource over the API server; a context manager. `current` belongs to one thread."""

    def __init__(
        self,
        client: Client,
        load: Load,
        node: NodeIdentity,
        cache: Cache,
        wake: Callable[[], None],
        monotonic: Callable[[], float],
        run: Run = run_kopf,
    ) -> None:
        """`node` is what is known of it without the API server. `wake` is called from other threads when `current` has
        something new.
        """
        self._client = client
        self._identity = node
        self._cache = cache
        self._wake = wake
        self._store = PolicyStore(node.name)
        self._retry = Retry("MemoryPolicies")
        self._odd_events = Retry("events of MemoryPolicies")
        self._listed = False
        self._remembered = False
        self._last_known = cache.read()
        self._inherited: tuple[MemoryPolicy, ...] = ()
        self._metadata: Object | None = None
        self._lister = Worker("policies", self.relist)
        self._node = NodeWatch(client, node.name, self.node_told, self._lister.wake)
        self._kopf = KopfWatch(load, self.told, self._lister.wake, monotonic, run)
        self._stack = ExitStack()
        self._seen: tuple[int, KnownPolicies, Object | None, bool] = (0, self._store.known, None, False)

    @property
    def node(self) -> NodeIdentity:
        """Name, labels and what its kubelet keeps, as of the last `current`."""
        metadata = self._seen[2]
        if metadata is None:
            return self._identity
        return replace(self._identity, labels=metadata["labels"], withheld=metadata["withheld"])

    @property
    def inherited(self) -> tuple[MemoryPolicy, ...]:
        """The policies that the cache knew and the first list replaced: what was deleted meanwhile is among them."""
        return self._inherited

    @property
    def node_uid(self) -> str:
        """UID of the Node object; empty until it is known."""
        metadata = self._metadata
        return "" if metadata is None else str(metadata["uid"])

    @property
    def awaited(self) -> str:
        """What is still to come, as of the last `current`."""
        _, _, metadata, known = self._seen
        missing = [] if known else ["the first list of MemoryPolicies"]
        if metadata is None:
            missing.append(f"the Node {self._identity.name}")
        return " and ".join(missing)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why policies are refused, as of now."""
        return self._store.known.problems

    @property
    def outage(self) -> str:
        """Why the API server cannot be asked, as of now."""
        return self._retry.problem or self._node.outage

    def current(self) -> tuple[int, tuple[MemoryPolicy, ...]]:
        """The policies in force and a version that grows when they or the node change; none until all is known."""
        version, *before = self._seen
        seen = (self._store.known, self._metadata, self._listed or self._remembered)
        if seen[0] is not before[0] or seen[1] is not before[1] or seen[2] is not before[2]:
            version += 1
        self._seen = (version, *seen)
        return version, () if self.awaited else seen[0].policies

    def __enter__(self) -> Self:
        self._stack.enter_context(self._node.worker)
        self._stack.enter_context(self._lister)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def told(self, kind: str | None, policy: Object) -> None:
        """An event of the watch. As it begins it has missed what happened before: that is listed then."""
        if kind is None:
            self._lister.wake()
            return
        try:
            sound(policy)
        except ApiError as error:  # the next list has it right, or says the same
            self._odd_events.failed(error.reason, str(error))
            return
        self._odd_events.worked()
        self._take(self._store.remove(policy) if kind == "DELETED" else self._store.put(policy))

    def node_told(self, metadata: Object) -> None:
        """The Node's labels, UID or memory for pods are new."""
        self._metadata = metadata
        self._take(True)

    def relist(self) -> float:
        """Take what there is. Returns the seconds to the next list."""
        watching = self._listed
        try:
            listed = self._list()
        except ApiError as error:
            if not self._listed:
                self._remember()
            return self._retry.failed(error.reason, _with_remedy(error), error.retry_after_s)
        if self._retry.worked() and watching:
            self._kopf.restart()
        if not listed:
            return AGAIN_S
        return spread(CACHE_S if self._cache.retry else RELIST_S)

    def _list(self) -> bool:
        """Take the list; False when the watch kept telling something meanwhile."""
        for _ in range(TRIES):
            told = self._store.told
            page = self._client.list(MEMORY_POLICIES)
            changed = self._store.replace(all_sound(page.items), page.resource_version, told)
            if changed is not None:
                self._begin()
                self._keep()
                if changed:
                    self._wake()
                return True
        return False

    def _begin(self) -> None:
        """After the first list: the cache has served, and kopf watches from here, unless all is being ended."""
        if self._listed or self._lister.stopped:
            return
        if self._last_known is not None:
            self._inherited, self._last_known = _readable(self._last_known.policies, self._identity.name), None
        self._listed = True  # from now on the loop may ask, once, what it inherits
        self._stack.enter_context(self._kopf.worker)
        self._wake()

    def _remember(self) -> None:
        """The API server does not answer, and nothing is known yet: go on with what was known last."""
        remembered = self._last_known
        if remembered is None or self._remembered:
            return
        _log.warning(
            "the API server does not answer: going on with the %d MemoryPolicies known last",
            len(remembered.policies),
            extra={"fields": {"event": "cache"}},
        )
        self._store.replace(remembered.policies, "", self._store.told)
        self._remembered = True
        if self._metadata is None:
            self._metadata = remembered.node
        self._wake()

    def _take(self, changed: bool) -> None:
        if changed:
            self._keep()
            self._wake()
            if self._cache.retry:
                self._lister.wake()  # it lists more often then, and each list is a try

    def _keep(self) -> None:
        """For a start without API server; tried again at every list while it cannot be written."""
        if self._listed and self._metadata is not None:
            self._cache.write(Remembered(self._metadata, self._store.known.contents))


def _readable(contents: Iterable[Object], node: str) -> tuple[MemoryPolicy, ...]:
    loaded = [load_here(content, "the cache", node) for content in contents]
    return tuple(policy for each in loaded if not each.problems for policy in each.policies)


def _with_remedy(error: ApiError) -> str:
    if error.not_found:
        return f"{error}; are the CustomResourceDefinitions installed? kubectl apply -k crds"
    return str(error)

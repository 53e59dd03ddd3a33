"""The policies of the cluster as they are known here, whoever told of them last: a list, a watch, or the cache.

A policy that cannot be read is refused, and its last good version stays in force. Only one that is gone stops
counting. A list takes the place of everything that was known before it was asked for. Resource versions, which are
numbers that grow with every write, order what a watch tells after a list, and nothing else: a cluster restored from a
backup goes back in them.

A policy that is rolled out to some nodes keeps its rollout until its status names this node. The last good version of
one that is refused has it back: nobody tells any more who enforces that one.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from controller.api.documents import Loaded, load_object
from controller.api.policy import MemoryPolicy
from controller.cluster.resources import MEMORY_POLICIES, Object

_log = logging.getLogger(__name__)

_KEPT = ("name", "uid", "generation", "creationTimestamp")
"""What of an object's metadata counts here; the rest is other people's, and may be large."""


@dataclass(slots=True)
class _StoredPolicy:
    version: int
    content: Object
    """As last judged."""
    good: Object | None = None
    """Its last content that was all right."""
    policy: MemoryPolicy | None = None
    """That content, read."""
    problems: tuple[str, ...] = field(default=())
    """Why the present content is refused."""

    @property
    def uid(self) -> object:
        """Tells it from a successor of the same name."""
        return self.content["metadata"].get("uid")


@dataclass(frozen=True, slots=True)
class KnownPolicies:
    """The policies at one time."""

    version: int
    """Grows whenever `policies` change."""
    policies: tuple[MemoryPolicy, ...]
    problems: tuple[str, ...]
    """One line each."""
    contents: tuple[Object, ...]
    """What the policies were read from, for the cache."""


class PolicyStore:
    """Thread-safe. Every method that takes an event returns True when the policies in force or the problems changed."""

    def __init__(self, node: str) -> None:
        """`node` is the name of the one that the policies are known on."""
        self._node = node
        self._lock = threading.Lock()
        self._entries: dict[str, _StoredPolicy] = {}
        self._listed = 0
        self._told = 0
        self._known = KnownPolicies(0, (), (), ())

    @property
    def known(self) -> KnownPolicies:
        """A consistent whole."""
        return self._known

    @property
    def told(self) -> int:
        """Grows with everything that the watch tells and was not known."""
        return self._told

    def put(self, told: Object) -> bool:
        """One policy is new or has changed; an event older than what is known is ignored."""
        with self._lock:
            if _version(told["metadata"]) <= self._listed or not self._judge(told):
                return False
            self._told += 1
            return self._merge()

    def remove(self, told: Object) -> bool:
        """One policy is gone; the object as the watch gives it."""
        with self._lock:
            metadata = told["metadata"]
            entry = self._entries.get(metadata["name"])
            if entry is None or entry.uid != metadata.get("uid") or entry.version > _version(metadata):
                return False
            del self._entries[metadata["name"]]
            self._told += 1
            return self._merge()

    def replace(self, listed: Iterable[Object], resource_version: str, told: int) -> bool | None:
        """These are all there are, as of `resource_version`; `told` is as it was when they were asked for.

        None: the watch has told something since, which the list may know of or not; ask again.
        """
        with self._lock:
            if told != self._told:
                return None
            found = {each["metadata"]["name"]: each for each in listed}
            self._entries = {name: entry for name, entry in self._entries.items() if name in found}
            for entry in self._entries.values():
                entry.version = 0
            for each in found.values():
                self._judge({"apiVersion": MEMORY_POLICIES.api_version, "kind": MEMORY_POLICIES.kind} | each)
            self._listed = int(resource_version or 0)
            return self._merge()

    def _judge(self, told: Object) -> bool:
        """Take the policy, or refuse it and keep the last good one; a refusal is said once a content.

        False: that is known.
        """
        metadata = told["metadata"]
        name, version = metadata["name"], _version(metadata)
        before = self._entries.get(name)
        content = _trimmed(told)
        if before is not None and before.uid != metadata.get("uid"):
            before = None  # deleted and made anew: what its predecessor said counts no more
        if before is not None and (version < before.version or content == before.content):
            before.version = max(version, before.version)
            return False
        loaded = load_here(content, f"MemoryPolicy {name}", self._node)
        problems = tuple(map(str, loaded.problems))
        entry = _StoredPolicy(version, content, problems=problems)
        if not problems:
            entry.good, entry.policy = content, loaded.policies[0]
        elif before is not None and before.good is not None:
            entry.good = {name: value for name, value in before.good.items() if name != "status"}
            (entry.policy,) = load_here(entry.good, f"MemoryPolicy {name}", self._node).policies
        self._entries[name] = entry
        _say(name, entry, before)
        return True

    def _merge(self) -> bool:
        """Publish what the entries come to; True when something changed."""
        entries = [self._entries[name] for name in sorted(self._entries)]
        policies = tuple(entry.policy for entry in entries if entry.policy is not None)
        problems = tuple(problem for entry in entries for problem in entry.problems)
        before = self._known
        if (policies, problems) == (before.policies, before.problems):
            return False
        changed = policies != before.policies
        contents = tuple(entry.good for entry in entries if entry.good is not None)
        self._known = KnownPolicies(before.version + changed, policies, problems, contents)
        if changed:
            names = [policy.name for policy in policies]
            fields = {"event": "policies", "policies": names}
            _log.info("MemoryPolicies in force: %s", ", ".join(names) or "none", extra={"fields": fields})
        return True


def load_here(content: Object, source: str, node: str) -> Loaded:
    """As `load_object`, without the rollout of a policy that names `node` among those that enforce it.

    What was said of another generation of the policy counts for nothing.
    """
    loaded = load_object(content, source)
    named = node in _enforcing_nodes(content)
    return replace(loaded, policies=tuple(map(_everywhere, loaded.policies))) if named else loaded


def _everywhere(policy: MemoryPolicy) -> MemoryPolicy:
    return policy.model_copy(update={"spec": policy.spec.model_copy(update={"rollout": None})})


def _enforcing_nodes(content: Object) -> Sequence[str]:
    """What the status names; nothing where it makes no sense."""
    status, generation = content.get("status"), content["metadata"].get("generation")
    if not isinstance(status, dict) or generation is None or status.get("observedGeneration") != generation:
        return ()
    named = status.get("enforcingNodes")
    return named if isinstance(named, list) else ()


def _rollout_of(told: Object) -> Object:
    """What a status says of a rollout, where there is one: the rest changes often, and counts for nothing here."""
    spec, status = told.get("spec"), told.get("status")
    if not isinstance(spec, dict) or "rollout" not in spec or not isinstance(status, dict):
        return {}
    return {"status": {name: status[name] for name in ("observedGeneration", "enforcingNodes") if name in status}}


def _say(name: str, entry: _StoredPolicy, before: _StoredPolicy | None) -> None:
    for problem in entry.problems:
        _log.error("%s", problem, extra={"fields": {"event": "refused policy"}})
    if entry.problems:
        kept = "its last good version stays in force" if entry.policy else "nothing of it is in force"
        _log.warning("MemoryPolicy %s: refused; %s", name, kept, extra={"fields": {"event": "refused policy"}})
    elif before is not None and before.problems:
        _log.info("MemoryPolicy %s: accepted", name, extra={"fields": {"event": "accepted policy"}})


def _trimmed(told: Object) -> Object:
    """What a policy is read from."""
    metadata = {name: told["metadata"][name] for name in _KEPT if name in told["metadata"]}
    content = {"apiVersion": told.get("apiVersion"), "kind": told.get("kind"), "metadata": metadata}
    return content | ({"spec": told["spec"]} if "spec" in told else {}) | _rollout_of(told)


def _version(metadata: Object) -> int:
    return int(metadata.get("resourceVersion") or 0)

"""The policies of the cluster as they are known here, whoever told of them last: a list, a watch, or the cache.

A policy that cannot be read is refused, and its last good version stays in force. Only one that is gone stops
counting. Resource versions say which news is newer: Kubernetes' are numbers that grow with every write.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.api.documents import load_object
from controller.api.policy import MemoryPolicy
from controller.cluster.resources import MEMORY_POLICIES, Object

_log = logging.getLogger(__name__)

_KEPT = ("name", "uid", "generation", "creationTimestamp")
"""What of an object's metadata counts here; the rest is other people's, and may be large."""


@dataclass(slots=True)
class _Entry:
    version: int
    content: Object
    """As last judged."""
    good: Object | None = None
    """Its last content that was all right."""
    policy: MemoryPolicy | None = None
    """That content, read."""
    problems: tuple[str, ...] = field(default=())
    """Why the present content is refused."""


@dataclass(frozen=True, slots=True)
class Known:
    """The policies at one time."""

    version: int
    """Grows whenever `policies` change."""
    policies: tuple[MemoryPolicy, ...]
    problems: tuple[str, ...]
    """One line each."""
    contents: tuple[Object, ...]
    """What the policies were read from, for the cache."""


class PolicyStore:
    """Thread-safe. Every method that takes news returns True when the policies in force or the problems changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._newest = 0
        self._known = Known(0, (), (), ())

    @property
    def known(self) -> Known:
        """A consistent whole."""
        return self._known

    def put(self, told: Object) -> bool:
        """One policy is new or has changed; older news than is known is let pass."""
        with self._lock:
            self._newest = max(self._newest, _version(told["metadata"]))
            self._judge(told)
            return self._merge()

    def remove(self, told: Object) -> bool:
        """One policy is gone; the object as the watch gives it."""
        with self._lock:
            metadata = told["metadata"]
            self._newest = max(self._newest, _version(metadata))
            entry = self._entries.get(metadata["name"])
            if entry is None or entry.version > _version(metadata):
                return False
            del self._entries[metadata["name"]]
            return self._merge()

    def replace(self, listed: Iterable[Object], resource_version: str, believe: bool = False) -> bool | None:
        """These are all there are, as of `resource_version`. None: a watch has told newer things, list again.

        With `believe` it counts anyhow: a cluster that was restored from a backup goes back in its versions.
        """
        with self._lock:
            version = int(resource_version or 0)
            if version < self._newest and not believe:
                return None
            if version < self._newest:
                for entry in self._entries.values():
                    entry.version = 0
            told = {each["metadata"]["name"]: each for each in listed}
            self._entries = {name: entry for name, entry in self._entries.items() if name in told}
            for each in told.values():
                self._judge({"apiVersion": MEMORY_POLICIES.api_version, "kind": MEMORY_POLICIES.kind} | each)
            self._newest = version
            return self._merge()

    def _judge(self, told: Object) -> None:
        """Take the policy, or refuse it and keep the last good one; a refusal is said once a content."""
        metadata = told["metadata"]
        name, version = metadata["name"], _version(metadata)
        before = self._entries.get(name)
        content = _trimmed(told)
        if before is not None and before.content["metadata"].get("uid") != metadata.get("uid"):
            before = None  # deleted and made anew: what its predecessor said counts no more
        if before is not None and (version < before.version or content == before.content):
            before.version = max(version, before.version)
            return
        loaded = load_object(content, f"MemoryPolicy {name}")
        problems = tuple(map(str, loaded.problems))
        entry = _Entry(version, content, problems=problems)
        if not problems:
            entry.good, entry.policy = content, loaded.policies[0]
        elif before is not None:
            entry.good, entry.policy = before.good, before.policy
        self._entries[name] = entry
        _say(name, entry, before)

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
        self._known = Known(before.version + changed, policies, problems, contents)
        if changed:
            names = [policy.name for policy in policies]
            fields = {"event": "policies", "policies": names}
            _log.info("MemoryPolicies in force: %s", ", ".join(names) or "none", extra={"fields": fields})
        return True


def _say(name: str, entry: _Entry, before: _Entry | None) -> None:
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
    return content | ({"spec": told["spec"]} if "spec" in told else {})


def _version(metadata: Object) -> int:
    return int(metadata.get("resourceVersion") or 0)

"""The kinds Ballast reads and writes, and where the API server keeps them."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]
"""A Kubernetes object as JSON gives it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind, by its plural name; an empty `group` is the core group."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As it stands in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The URL's path; without `name` of the collection, without `namespace` of all, or of a cluster-wide kind."""
        parts = [f"apis/{self.group}" if self.group else "api", self.version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(parts)


def full_name(sound: Object) -> str:
    """`NAME`, or `NAMESPACE/NAME` of an object that is in a namespace."""
    metadata = sound["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


MEMORY_POLICIES = Resource("ballast.dev", "v1alpha1", "memorypolicies", "MemoryPolicy")
NODE_MEMORY_STATES = Resource("ballast.dev", "v1alpha1", "nodememorystates", "NodeMemoryState")
NODES = Resource("", "v1", "nodes", "Node")
PODS = Resource("", "v1", "pods", "Pod")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")

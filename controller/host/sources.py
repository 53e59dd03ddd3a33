"""Where domains are looked for: libvirt connections with a name that stays, and the pods some of them are in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from controller.engine.inventory import Pod
from controller.host.domaincache import Handle
from controller.host.locality import refusal
from controller.host.opening import open_here


@dataclass(frozen=True, slots=True)
class Source:
    """One libvirt that there is, or is about to be."""

    name: str
    """The part of its domains' keys behind the `@`, and its name for people: a URI, or `NAMESPACE/POD`."""
    open: Callable[[], Handle] = field(compare=False)
    """A new libvirt.virConnect, each time. Raises libvirtError."""
    pod: Pod | None = None
    """The pod that this libvirt runs in. It has one domain then, and comes and goes with the pod."""
    expected: bool = True
    """It should answer: that of a pod that is about to start, or to end, need not."""

    @property
    def identity(self) -> tuple[str, str]:
        """Another one is another libvirt: a pod may get the name of one that is no more."""
        return self.name, "" if self.pod is None else self.pod.uid


def source_of(key: str) -> str:
    """The name of its source, in a domain's key."""
    return key.partition("@")[2]


def fixed(uris: Iterable[str]) -> tuple[Source, ...]:
    """The sources that a person named. Raises ValueError for one of another host."""
    if refused := "; ".join(filter(None, map(refusal, uris := tuple(uris)))):
        raise ValueError(refused)
    return tuple(Source(uri, partial(open_here, uri)) for uri in uris)

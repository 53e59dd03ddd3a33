"""What the loop needs of the world: a host with domains, and someone who knows the policies."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from controller.api.policy import MemoryPolicy
from controller.engine.decision import Action
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity
from controller.engine.snapshot import HostReading, OrderOutcome, OrderResult, Samples
from controller.engine.tables import Floats
from controller.host.senses import Feelings, Sense
from controller.observe.statusstore import ConnectionView


class Host(Protocol):
    """Domains and memory of one node. What a domain or a connection does raises nothing; `status` tells.

    `controller.host.host.LibvirtHost` is the real one.
    """

    def inventory(self) -> tuple[DomainFacts, ...]:
        """All domains; the same object as long as nothing changed."""
        ...

    def look(self, rows: Mapping[str, int]) -> Samples:
        """Read the statistics of these domains, given with their rows in the inventory, in one call a connection."""
        ...

    def apply(self, actions: Sequence[Action]) -> tuple[OrderOutcome, ...]:
        """Change balloons, in order; what was not done, or may not have been."""
        ...

    def withdraw(self, stands: Callable[[Action], bool]) -> None:
        """Send none of the orders that wait for their turn and whose decision does not stand any more."""
        ...

    def drain_answers(self) -> Mapping[str, tuple[OrderResult, str]]:
        """Late answers to orders whose outcome was unknown, since the last call, by key."""
        ...

    def drain_events(self) -> Mapping[str, float]:
        """Balloon sizes that arrived on their own since the last call, bytes by key."""
        ...

    def feel(self) -> Feelings:
        """What was felt of domains since the last call, without asking libvirt or a guest."""
        ...

    def alert_at(self, keys: tuple[str, ...], resident: Floats) -> None:
        """Growth that is felt is to wake the loop only from so many resident bytes on, (n,), of each of `keys`."""
        ...

    def senses(self) -> Sequence[Sense]:
        """How each sense of the host is: that for resident size first."""
        ...

    def read(self) -> HostReading:
        """The host's own memory, now. Raises MeminfoError."""
        ...

    def status(self) -> Sequence[ConnectionView]:
        """State of every libvirt connection."""
        ...

    def ensure_statistics(self, key: str, seconds: int) -> None:
        """Set the guest's statistics period where it is missing."""
        ...

    def restore_statistics(self, keys: Collection[str]) -> None:
        """Put back the period of these domains where `ensure_statistics` changed it."""
        ...


class PolicySource(Protocol):
    """Where policies come from: a folder, or the API server."""

    def current(self) -> tuple[int, Sequence[MemoryPolicy]]:
        """A version that changes whenever the policies or the node do, and the policies. Raises nothing."""
        ...

    @property
    def inherited(self) -> Sequence[MemoryPolicy]:
        """What was in force when an earlier run on this node ended, as of the last `current`; empty if nobody knows."""
        ...

    @property
    def node(self) -> NodeIdentity:
        """The node as node selectors see it, as of the last `current`."""
        ...

    @property
    def awaited(self) -> str:
        """What is not known yet, as of the last `current`; empty when all is. Until then no policy means nothing."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """Why some policies were refused, one line each, as of the last `current`."""
        ...

    @property
    def outage(self) -> str:
        """Why nobody can be asked for policies at present, so that those known last count; empty when all is well."""
        ...

"""What sets how much memory a running domain has. What it can do are facts of the domain, which the engine reads."""

from typing import Any, Protocol

import libvirt

from controller.engine.inventory import DomainFacts
from controller.host.xml_values import Element

KIB = 1024


class Actuator(Protocol):
    """One way of doing that. Sizes in bytes."""

    def facts(self, root: Element, facts: DomainFacts) -> DomainFacts | None:
        """What it can do with the domain of this XML, and what keeps it from it (`obstacle`); None where it is not
        what moves the domain. `facts` are those for the balloon. Raises XmlError.
        """
        ...

    def order(self, domain: Any, size: int) -> None:
        """Ask a libvirt.virDomain for this size; its guest obeys later. May hang. Raises libvirtError."""
        ...

    def size(self, domain: Any) -> int | None:
        """What it has come to by QEMU's own word; None where there is only libvirt's. May hang. Raises libvirtError."""
        ...


class Balloon:
    """The virtio balloon, which moves every domain that nothing else does: it gives and takes pages."""

    def facts(self, _root: Element, facts: DomainFacts) -> DomainFacts:
        """As they are."""
        return facts

    def order(self, domain: Any, size: int) -> None:
        """In libvirt's unit; of the running domain only, never of its definition."""
        domain.setMemoryFlags(size // KIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def size(self, domain: Any) -> int | None:
        """libvirt asks for that where it is asked for the statistics of one domain alone."""
        kib = domain.memoryStats().get("actual")
        return kib * KIB if isinstance(kib, int) else None


BALLOON = Balloon()
ACTUATORS: tuple[Actuator, ...] = (BALLOON,)
"""The first that moves a domain is its own."""


def actuated(root: Element, facts: DomainFacts) -> tuple[DomainFacts, Actuator]:
    """The facts of the domain of this XML for what moves it, and that. Raises XmlError."""
    found = ((each.facts(root, facts), each) for each in ACTUATORS)
    return next((of_it, each) for of_it, each in found if of_it is not None)

"""What looker and mover know of domains that do not take part. Belongs to the control loop's thread."""

from dataclasses import dataclass, field
from typing import Any

import libvirt


@dataclass(slots=True)
class Trouble:
    """Domains by key."""

    unresponsive: set[str] = field(default_factory=set)
    """QEMU did not answer the last look."""
    in_job: set[str] = field(default_factory=set)
    """Found in a migration or the like when a move was tried; asked again at each look until it is over."""


def has_job(domain: Any) -> bool:
    """True while a migration, save, backup or the like runs on a libvirt.virDomain. Raises libvirtError."""
    return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)

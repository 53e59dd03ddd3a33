"""What looker and mover know of domains that do not take part. Belongs to the control loop's thread."""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import libvirt

from controller.host.sources import source_of


@dataclass(slots=True)
class UnavailableDomains:
    """Domains by key."""

    unresponsive: set[str] = field(default_factory=set)
    """QEMU did not answer the last look."""
    in_job: set[str] = field(default_factory=set)
    """Found in a migration or the like when a move was tried; asked again at each look until it is over."""

    def forget(self, connections: Container[str]) -> None:
        """Those of connections that are no more, by name."""
        for keys in (self.unresponsive, self.in_job):
            keys -= {key for key in keys if source_of(key) not in connections}


RUNNING_JOBS = frozenset({libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED})
"""Types of jobs that are not over."""


def barred(domain: Any) -> bool:
    """True while a job runs on a libvirt.virDomain that lets nobody move its balloon: an order would wait for its end.

    A backup lets them (qemu_backup.c: "We'll allow standard modify-type jobs"). A driver that knows no jobs has none.
    Raises libvirtError.
    """
    try:
        if domain.jobInfo()[0] not in RUNNING_JOBS:
            return False
        job = domain.jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return False
        raise
    lets = job.get(libvirt.VIR_DOMAIN_JOB_OPERATION) == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP
    return job["type"] in RUNNING_JOBS and not lets  # it may have ended between the two calls


def job_runs(domain: Any) -> bool:
    """True while a job holds the QEMU of a libvirt.virDomain; False while a call that waits for its answer does.

    libvirt tells without waiting for either. Raises libvirtError.
    """
    return domain.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_JOB  # type: ignore[no-any-return]

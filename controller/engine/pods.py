"""What the pod of a virtual machine means for its memory: what it was promised, and where the kernel kills."""

import math

from controller.api.quantity import SMALLEST_BARE
from controller.engine.inventory import DomainFacts

_PAGE_TABLES = 512
"""A page of 4 KiB takes an entry of 8 bytes: that part of a guest's memory, as KubeVirt reckons too."""
_BESIDE = 64 * 2**20
"""Bytes that QEMU and libvirt's daemon take beside the guest at least: 30 and 35 MiB in KubeVirt's own sum."""
_LEAST_BOUND = 2**30
"""Bytes. KubeVirt adds a few hundred MiB for itself, QEMU and libvirt, and 8 MiB a vCPU."""
_LARGE_GUEST = 64
"""Guests of more than 64 GiB have more vCPUs and page tables: up to this part of their memory is overhead."""


def promised_by_pod(domain: DomainFacts) -> int:
    """Bytes of its maximum that the scheduler guarantees: its pod's request less the overhead; 0 outside of a pod.

    The overhead is what the pod's limit, or its request where it has none, exceeds the guest's memory by. That tells
    nothing where it is below 0, as with requests of less than the guest, or more than KubeVirt ever adds, as with a
    limit of a user's own: there all of the request counts, which is the careful reading.
    """
    pod = domain.pod
    if pod is None:
        return 0
    guest = domain.maximum + domain.devices
    beyond = (pod.request if pod.limit is None else pod.limit) - guest
    overhead = beyond if 0 <= beyond <= max(_LEAST_BOUND, guest // _LARGE_GUEST) else 0
    return min(max(pod.request - overhead - domain.devices, 0), domain.maximum)


def room_in_pod(domain: DomainFacts) -> float:
    """Bytes that the balloon may give at most, so that the kernel kills nothing in its pod; inf where that is all."""
    if domain.pod is None or domain.pod.limit is None:
        return math.inf
    room = domain.pod.limit - _BESIDE - (domain.maximum + domain.devices) // _PAGE_TABLES - domain.devices
    return math.inf if room >= domain.maximum else float(max(room, SMALLEST_BARE))

"""Judges Ballast's orders by what QEMU itself wrote down of them, whatever Ballast says; sizes in MiB.

Lines are those of QEMU's `virtio_balloon_to_target`, as `GuestSpec.record` has them written.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from faulting.log import Claim

TOLERANCE_MIB = 4
"""Sizes nearer than this are one: statistics are of a second ago."""
TAKEN_WITHIN_S = 12.0
"""QEMU may take an order late, and Ballast logs it when it has waited long enough."""
PAGE = 4096
MIB = 2**20

LINE = re.compile(r"@(\d+\.\d+):virtio_balloon_to_target balloon target: 0x([0-9a-f]+) num_pages: (\d+)$")


@dataclass(frozen=True, slots=True)
class Order:
    """A size that QEMU's balloon was told to take."""

    at: float
    """Seconds since the epoch."""
    target: float
    maximum: float
    """All memory that QEMU has for the guest, hot-plugged too."""


def orders(record: Iterable[str]) -> list[Order]:
    """What one QEMU was told, oldest first, without its first order: that is libvirt's own, at every start."""
    found = []
    for line in record:
        if match := LINE.search(line.rstrip()):
            at, target, pages = float(match[1]), int(match[2], 16), int(match[3])
            found.append(Order(at, target / MIB, (target + pages * PAGE) / MIB))
    return found[1:]


def without(given: Sequence[Order], others: Iterable[float]) -> list[Order]:
    """The orders but those that somebody else gave, each the first after one of `others` (seconds since the epoch)."""
    theirs = [next((order for order in given if order.at >= at), None) for at in others]
    return [order for order in given if order not in theirs]


def doubled(given: Sequence[Order]) -> int:
    """How many orders repeat the one that the same QEMU had before."""
    return sum(abs(later.target - order.target) < 1 for order, later in pairwise(given))


def unheard(claims: Iterable[Claim], given: Sequence[Order]) -> int:
    """How many orders that Ballast says libvirt took never reached QEMU. All are of one guest, oldest first.

    Ballast may claim an order as late as it likes, but no next one is given before that.
    """
    rest = list(given)
    lost, before = 0, -inf
    for claim in claims:
        here = [order for order in rest if before <= order.at <= claim.at + TAKEN_WITHIN_S]
        fits = [order for order in here if abs(order.target - claim.target) <= 1]
        if fits:
            rest.remove(fits[0])
        else:
            lost += 1
        before = claim.at
    return lost


def below_demand(given: Iterable[Order], demand_at: Callable[[float], float | None]) -> int:
    """How many orders ask for memory that the guest used at rest just before; `demand_at` tells how much, or None."""
    return sum((demand := demand_at(order.at)) is not None and order.target < demand - TOLERANCE_MIB for order in given)


def above_limit(given: Iterable[Order], ceiling: float) -> int:
    """How many orders give a guest more than the policy's `ceiling`, a fraction of all it can have at that time."""
    return sum(order.target > ceiling * order.maximum + 1 for order in given)

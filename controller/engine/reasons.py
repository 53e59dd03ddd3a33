"""Why a domain was moved, or was left alone: one closed list, so that every skip has a reason a user can read.

`str(reason)` is the stable name used in `/state`, metrics and Kubernetes conditions; `reason.text` is the sentence.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Reason(IntEnum):
    """Outcome of one decision about one domain. Codes are only stable within a process; names are the contract."""

    NONE = 0
    # Left alone: the domain must not be touched (rule 5).
    NO_POLICY = 1
    OPTED_OUT = 2
    INVALID_WISHES = 3
    NO_BALLOON = 4
    HUGE_PAGES = 5
    LOCKED_MEMORY = 6
    HOST_DEVICES = 7
    CONFIDENTIAL = 8
    NOT_RUNNING = 9
    PAUSED = 10
    BUSY = 11
    BOOTING = 12
    UNRESPONSIVE = 13
    NO_STATISTICS = 14
    INVALID_STATISTICS = 15
    STALE_STATISTICS = 16
    FUTURE_STATISTICS = 17
    STUCK = 18
    UNREADABLE = 19
    MEMORY_DEVICES = 20
    COMMAND_LINE = 21
    AWAITING_POLICIES = 22
    GUARANTEED = 23
    # Looked at, and kept as it is.
    WITHIN_THRESHOLD = 30
    STABILIZING = 31
    WARMING_UP = 32
    AWAITING_MEMORY = 33
    NO_BUDGET = 34
    MOVING = 35
    OUTSIDE_CHANGE = 36
    HANDED_OVER = 37
    AT_MAXIMUM = 38
    MINIMUM_UNMET = 39
    NOT_RETURNED = 40
    REFUSED = 41
    # Moved (in Observe: would be moved).
    FORECAST_GROW = 60
    PRESSURE_GROW = 61
    SPARE_LENT = 62
    FORECAST_SHRINK = 63
    CONTENTION_SHRINK = 64
    HOST_PRESSURE_SHRINK = 65
    RELEASE_RESTORE = 66
    LIMITS = 67
    FELT_GROW = 68

    def __str__(self) -> str:
        return "".join(word.capitalize() for word in self.name.split("_"))

    @property
    def text(self) -> str:
        """One sentence for a person, without numbers."""
        return _TEXT[self]

    @property
    def moves(self) -> bool:
        """True when this reason stands for a reallocation."""
        return self >= Reason.FORECAST_GROW

    @property
    def skips(self) -> bool:
        """True when the domain must not be touched at all."""
        return Reason.NONE < self < Reason.WITHIN_THRESHOLD

    @property
    def noticed(self) -> bool:
        """True when a person should hear once that a domain came to it: it is skipped, and not for a moment only, does
        not get what its policy promised, or gives nothing back.
        """
        lasting = self.skips and self is not Reason.AWAITING_POLICIES
        return lasting or self in (Reason.MINIMUM_UNMET, Reason.NOT_RETURNED)


_TEXT = {
    Reason.NONE: "no decision yet",
    Reason.NO_POLICY: "no MemoryPolicy selects this domain",
    Reason.OPTED_OUT: "the domain's metadata opts out, or its pod's annotation does",
    Reason.INVALID_WISHES: "the wishes in the domain's metadata or its pod's annotations are not valid",
    Reason.NO_BALLOON: "the domain has no virtio memory balloon",
    Reason.HUGE_PAGES: "the domain's memory is backed by huge pages",
    Reason.LOCKED_MEMORY: "the domain's memory is locked",
    Reason.HOST_DEVICES: "host devices (VFIO) pin the domain's memory",
    Reason.CONFIDENTIAL: "the domain is a confidential guest",
    Reason.NOT_RUNNING: "the domain is not running",
    Reason.PAUSED: "the domain is paused",
    Reason.BUSY: "another job (migration, save, snapshot) is running on the domain",
    Reason.BOOTING: "the guest is still booting",
    Reason.UNRESPONSIVE: "the domain's QEMU does not answer",
    Reason.NO_STATISTICS: "the guest reports no memory statistics",
    Reason.INVALID_STATISTICS: "the guest's memory statistics make no sense",
    Reason.STALE_STATISTICS: "the guest's memory statistics stopped advancing",
    Reason.FUTURE_STATISTICS: "the guest's memory statistics are from the future",
    Reason.STUCK: "the balloon did not move within its deadline; retried later",
    Reason.UNREADABLE: "libvirt's description of the domain cannot be understood",
    Reason.MEMORY_DEVICES: "the guest has memory that its balloon does not hold (virtio-mem)",
    Reason.COMMAND_LINE: "QEMU's command line gives the domain memory that libvirt does not know of",
    Reason.AWAITING_POLICIES: "the MemoryPolicies are not known yet",
    Reason.GUARANTEED: "the domain's pod is Guaranteed: it was promised all of its memory",
    Reason.WITHIN_THRESHOLD: "no change is worth a move",
    Reason.STABILIZING: "shrinking waits until demand has been low for the stabilisation window",
    Reason.WARMING_UP: "too few fresh samples to shrink yet",
    Reason.AWAITING_MEMORY: "growing waits for memory that others are giving back",
    Reason.NO_BUDGET: "the node's budget is used up",
    Reason.MOVING: "the balloon is moving",
    Reason.OUTSIDE_CHANGE: "someone else changed the balloon; taken as the new truth",
    Reason.HANDED_OVER: "no longer to be changed by a policy: its shrink is taken back, as far as memory is free",
    Reason.AT_MAXIMUM: "the guest has all it may have, and needs more",
    Reason.MINIMUM_UNMET: "the minimums on this node are more than its budget and are met in proportion",
    Reason.NOT_RETURNED: "the host did not get back what the balloon took; not shrunk for a while",
    Reason.REFUSED: "libvirt refused the last order; tried again later",
    Reason.FORECAST_GROW: "forecast demand needs more memory",
    Reason.PRESSURE_GROW: "the guest is under memory pressure",
    Reason.SPARE_LENT: "spare memory is lent",
    Reason.FORECAST_SHRINK: "forecast demand needs less memory",
    Reason.CONTENTION_SHRINK: "others need the idle memory",
    Reason.HOST_PRESSURE_SHRINK: "the host is short of memory",
    Reason.RELEASE_RESTORE: "released by its policy: the definition's allocation is restored",
    Reason.LIMITS: "the allocation is outside the policy's limits",
    Reason.FELT_GROW: "the guest takes memory into use so fast that it will be short before it can say so",
}

REASONS = {int(reason): reason for reason in Reason}
"""By code."""


def first_that_applies(
    cases: Sequence[tuple[NDArray[np.bool_], IntEnum | NDArray[np.int64]]], otherwise: IntEnum
) -> NDArray[np.int64]:
    """(n,) codes: of the first case whose mask (n,) is set; a case may bring codes of its own, (n,)."""
    codes = np.full(len(cases[0][0]), int(otherwise), dtype=np.int64)
    for mask, code in reversed(cases):
        if np.count_nonzero(mask):  # few do, as a rule
            codes[mask] = code[mask] if isinstance(code, np.ndarray) else int(code)
    return codes

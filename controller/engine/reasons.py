"""Why a domain was moved, or was left alone: one closed list, so that every skip has a reason a user can read.

`str(reason)` is the stable name used in `/state`, metrics and Kubernetes conditions; `reason.text` is the sentence.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray


class Reason(IntEnum):
    """Outcome of one decision about one domain. Codes are only stable within a process; names are the contract."""

    text: str
    """One sentence for a person, without numbers."""

    def __new__(cls, code: int, text: str = "") -> Self:
        """Of a code and a sentence."""
        reason = int.__new__(cls, code)
        reason._value_ = code
        reason.text = text
        return reason

    NONE = 0, "no decision yet"
    # Left alone: the domain must not be touched (rule 5).
    NO_POLICY = 1, "no MemoryPolicy selects this domain"
    OPTED_OUT = 2, "the domain's metadata opts out, or its pod's annotation does"
    INVALID_WISHES = 3, "the wishes in the domain's metadata or its pod's annotations are not valid"
    NO_BALLOON = 4, "the domain has no virtio memory balloon"
    HUGE_PAGES = 5, "the domain's memory is backed by huge pages"
    LOCKED_MEMORY = 6, "the domain's memory is locked"
    HOST_DEVICES = 7, "host devices (VFIO) pin the domain's memory"
    CONFIDENTIAL = 8, "the domain is a confidential guest"
    NOT_RUNNING = 9, "the domain is not running"
    PAUSED = 10, "the domain is paused"
    BUSY = 11, "another job (migration, save, snapshot) is running on the domain"
    BOOTING = 12, "the guest is still booting"
    UNRESPONSIVE = 13, "the domain's QEMU does not answer"
    NO_STATISTICS = 14, "the guest reports no memory statistics"
    INVALID_STATISTICS = 15, "the guest's memory statistics make no sense"
    STALE_STATISTICS = 16, "the guest's memory statistics stopped advancing"
    FUTURE_STATISTICS = 17, "the guest's memory statistics are from the future"
    STUCK = 18, "the balloon did not move within its deadline; retried later"
    UNREADABLE = 19, "libvirt's description of the domain cannot be understood"
    MEMORY_DEVICES = 20, "the guest has memory that its balloon does not hold (virtio-mem)"
    COMMAND_LINE = 21, "QEMU's command line gives the domain memory that libvirt does not know of"
    AWAITING_POLICIES = 22, "the MemoryPolicies are not known yet"
    GUARANTEED = 23, "the domain's pod is Guaranteed: it was promised all of its memory"
    # Looked at, and kept as it is.
    WITHIN_THRESHOLD = 30, "no change is worth a move"
    STABILIZING = 31, "shrinking waits until demand has been low for the stabilisation window"
    WARMING_UP = 32, "too few fresh samples to shrink yet"
    AWAITING_MEMORY = 33, "growing waits for memory that others are giving back"
    NO_BUDGET = 34, "the node's budget is used up"
    MOVING = 35, "the balloon is moving"
    OUTSIDE_CHANGE = 36, "someone else changed the balloon; taken as the new truth"
    HANDED_OVER = 37, "no longer to be changed by a policy: its shrink is taken back, as far as memory is free"
    AT_MAXIMUM = 38, "the guest has all it may have, and needs more"
    MINIMUM_UNMET = 39, "the minimums on this node are more than its budget and are met in proportion"
    NOT_RETURNED = 40, "the host did not get back what the balloon took; not shrunk for a while"
    REFUSED = 41, "libvirt refused the last order; tried again later"
    # Moved (in Observe: would be moved).
    FORECAST_GROW = 60, "forecast demand needs more memory"
    PRESSURE_GROW = 61, "the guest is under memory pressure"
    SPARE_LENT = 62, "spare memory is lent"
    FORECAST_SHRINK = 63, "forecast demand needs less memory"
    CONTENTION_SHRINK = 64, "others need the idle memory"
    HOST_PRESSURE_SHRINK = 65, "the host is short of memory"
    RELEASE_RESTORE = 66, "released by its policy: the definition's allocation is restored"
    LIMITS = 67, "the allocation is outside the policy's limits"
    FELT_GROW = 68, "the guest takes memory into use so fast that it will be short before it can say so"

    def __str__(self) -> str:
        return "".join(word.capitalize() for word in self.name.split("_"))

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


def first_that_applies(
    cases: Sequence[tuple[NDArray[np.bool_], IntEnum | NDArray[np.int64]]], otherwise: IntEnum
) -> NDArray[np.int64]:
    """(n,) codes: of the first case whose mask (n,) is set; a case may bring codes of its own, (n,)."""
    codes = np.full(len(cases[0][0]), int(otherwise), dtype=np.int64)
    for mask, code in reversed(cases):
        if np.count_nonzero(mask):  # few do, as a rule
            codes[mask] = code[mask] if isinstance(code, np.ndarray) else int(code)
    return codes

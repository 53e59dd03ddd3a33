"""What a balloon is doing, and every way from one phase to another."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from controller.engine.reasons import Reason
from controller.engine.tables import Bools, Floats, Ints, Table, column


class Phase(IntEnum):
    """Of one balloon."""

    IDLE = 0
    """At rest, where it was left."""
    MOVING = 1
    """An order is under way."""
    UNKNOWN = 2
    """libvirt has not answered an order yet: it may take effect, or not."""
    STUCK = 3
    """It has not arrived. Where it is, is the truth; it is tried again later."""
    OVERRULED = 4
    """Someone else has set its size, which is left alone for a while."""


class PhaseEvent(IntEnum):
    """What became of one balloon in one step."""

    NONE = 0
    ORDERED = 1
    """It is about to be told a new size."""
    UNANSWERED = 2
    """libvirt has not answered the order within its deadline."""
    TAKEN = 3
    """libvirt has taken an order, late."""
    REFUSED = 4
    """libvirt has refused an order, or was not asked after all, and no earlier one stands."""
    RESUMED = 5
    """The same, and the balloon goes on to where it was sent before."""
    ARRIVED = 6
    """It has its size, or comes no closer than a page of its own."""
    STALLED = 7
    """It makes no progress."""
    CHOKED = 8
    """It shrinks, makes no progress, and its guest has nothing free: its kernel kills for the next page it needs."""
    REVERTED = 9
    """Its guest has taken back what it had just given up, and not for the first time: it does not give."""
    RESIZED = 10
    """Someone else has set its size."""
    DEFLATED = 11
    """Its guest has run out of memory and taken some back, as its definition allows."""
    DRIFTED = 12
    """It moved by itself, as it does when its guest boots or stops."""
    FOLLOWED = 13
    """It went on to where it had been told to go before."""
    EXPIRED = 14
    """The time is over for which it was left alone."""


_ANY = tuple(Phase)
_TRANSITIONS: tuple[tuple[PhaseEvent, tuple[Phase, ...], Phase], ...] = (
    (PhaseEvent.ORDERED, (Phase.IDLE, Phase.MOVING, Phase.STUCK, Phase.OVERRULED), Phase.MOVING),
    (PhaseEvent.UNANSWERED, _ANY, Phase.UNKNOWN),
    (PhaseEvent.TAKEN, (Phase.UNKNOWN,), Phase.MOVING),
    (PhaseEvent.REFUSED, _ANY, Phase.IDLE),
    (PhaseEvent.RESUMED, _ANY, Phase.MOVING),
    (PhaseEvent.ARRIVED, (Phase.MOVING, Phase.UNKNOWN), Phase.IDLE),
    (PhaseEvent.STALLED, (Phase.MOVING,), Phase.STUCK),
    (PhaseEvent.CHOKED, (Phase.MOVING,), Phase.STUCK),
    (PhaseEvent.REVERTED, (Phase.IDLE, Phase.MOVING), Phase.STUCK),
    (PhaseEvent.RESIZED, (Phase.IDLE, Phase.MOVING, Phase.STUCK, Phase.OVERRULED), Phase.OVERRULED),
    (PhaseEvent.DEFLATED, (Phase.IDLE, Phase.MOVING, Phase.STUCK, Phase.OVERRULED), Phase.IDLE),
    (PhaseEvent.DRIFTED, (Phase.MOVING,), Phase.IDLE),
    (PhaseEvent.EXPIRED, (Phase.STUCK, Phase.OVERRULED), Phase.IDLE),
)
"""Event, the phases in which it counts, the phase after it. In any other phase nothing changes."""

_NEXT = np.tile(np.arange(len(Phase)), (len(PhaseEvent), 1))
for _event, _phases, _after in _TRANSITIONS:
    _NEXT[_event, list(_phases)] = _after


def after(phase: Ints, event: Ints) -> Ints:
    """(n,) `Phase` codes after each balloon's event."""
    return np.asarray(_NEXT[event, phase])


@dataclass(frozen=True)
class Balloon(Table):
    """Columns of (n,); bytes and monotonic seconds. The module `balloon` is its only writer."""

    phase: Ints = column(int(Phase.IDLE))
    event: Ints = column(int(PhaseEvent.NONE))
    """Of the last step."""

    # The order under way.
    target: Floats = column(np.nan)
    """Size ordered and not reached yet; NaN when nothing is under way."""
    previous: Floats = column(np.nan)
    """`target` before the newest order: what QEMU still follows if that one is not taken."""
    progress: Floats = column(np.nan)
    """Size of the balloon when it was last ordered to move, or came closer to the target since."""
    progress_at: Floats = column(-np.inf)
    origin: Floats = column(np.nan)
    """Size before the shrink that is under way, or that its guest could not complete; NaN without one."""

    # Where it belongs.
    settled: Floats = column(np.nan)
    """Size at which it was last at rest; NaN before the first look."""
    home: Floats = column(np.nan)
    """Where it goes by itself when its guest boots anew: what QEMU was told last; NaN: what its definition says."""
    settles_at: Floats = column(np.nan)
    """Moves that nobody here ordered are somebody's only from then on; NaN before the first statistics."""
    rest_from: Floats = column(-np.inf)
    """It may have moved on until then, unheard: statistics from before are of another size."""
    allowance: Floats = column(np.nan)
    """Size up to which it may grow without an order, as QEMU was told so before."""

    # What it waits for.
    retry_at: Floats = column(-np.inf)
    """It was stuck and is not tried again before this time; a guest in need does not wait for it."""
    backoff: Floats = column(0.0)
    """Seconds that it waited for the last time."""
    refused_at: Floats = column(-np.inf)
    """When libvirt refused an order last."""
    refusal_rest: Floats = column(0.0)
    """Seconds from then in which nothing is ordered; fewer for a guest in need, see `balloon.resting`."""
    hold_until: Floats = column(-np.inf)
    """Someone else set its size, and that is left alone until then."""
    reverted_at: Floats = column(-np.inf)
    """When its guest last took back what it had just given up."""

    # Release.
    release: Bools = column(False)
    """Its policy is gone and the definition's allocation is still to be given back."""
    release_until: Floats = column(-np.inf)
    """Time at which giving back is abandoned for lack of memory."""

    # Records.
    proposed: Floats = column(np.nan)
    """In Observe: the size that Enforce would have set."""
    proposed_reason: Ints = column(int(Reason.NONE))
    reallocations: Ints = column(0)
    last_at: Floats = column(np.nan)
    """The newest reallocation."""
    last_from: Floats = column(np.nan)
    last_to: Floats = column(np.nan)
    last_reason: Ints = column(int(Reason.NONE))

    @property
    def failed(self) -> Bools:
        """(n,) balloons that are to be told to stay where they are: their last order came to nothing in this step."""
        return (self.event >= int(PhaseEvent.STALLED)) & (self.event <= int(PhaseEvent.REVERTED))

    @property
    def under_way(self) -> Bools:
        """(n,) balloons that have been told a size that they have not reached yet."""
        return np.isfinite(self.target)

    def shrinks(self, size: Floats) -> Bools:
        """(n,) balloons of `size`, (n,) bytes, that have been told a smaller one."""
        return self.target < size

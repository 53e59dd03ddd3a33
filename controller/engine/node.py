"""The host's own memory, and so the budget: what the node may give to its domains."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from controller.engine.inventory import Budget
from controller.engine.snapshot import HostReading
from controller.forecast import bound
from controller.forecast.history import History
from controller.forecast.wls import WLS

Floats = NDArray[np.float64]

HORIZON = np.array([10.0])
"""Seconds ahead for which the host's own use is forecast: by then every balloon asked for has moved."""

PERCENTILE = np.array([0.95])

LENDS_AFTER = 60.0
"""Seconds without pressure before spare memory is lent again: pressure that comes and goes is one shortage, and what it
took back is not to be pumped to and fro."""

SPACING = 1.0
"""Seconds between the points of the host's history."""

_ROW = np.array([0])
_MODEL = WLS()


@dataclass(frozen=True, slots=True)
class Node:
    """What is known of the host. Bytes."""

    reading: HostReading
    own_use: float
    """Memory of the host that no guest holds: its own processes, QEMU's overhead."""
    own_forecast: float
    """Upper forecast of it; never below present use."""
    history: History
    updated: float
    pressed_at: float = -np.inf
    """When the host was last seen under pressure, monotonic seconds."""

    @classmethod
    def blank(cls) -> "Node":
        """A host not looked at yet."""
        return cls(HostReading(0.0, 0.0), 0.0, 0.0, History.empty(1), -np.inf)


def observe(node: Node, reading: HostReading, least: float, most: float, now: float) -> Node:
    """The host after a reading, of which guests hold `least` to `most` bytes.

    What may be theirs changes nothing: own use is taken to be as it was, as far as the reading allows that.
    """
    node = replace(node, reading=reading, pressed_at=now if reading.pressure else node.pressed_at)
    used = reading.total - reading.available
    own_use = max(min(max(node.own_use, used - most), used - least), 0.0)
    if own_use == node.own_use == node.own_forecast:  # one more point on a flat line tells nothing
        return node
    if now - node.updated < SPACING:
        return replace(node, own_use=own_use, own_forecast=max(node.own_forecast, own_use))
    history = node.history.append(_ROW, now, np.array([own_use]))
    upper = bound.upper(_MODEL.fit(history.points(now)), HORIZON, PERCENTILE)
    return replace(node, own_use=own_use, own_forecast=max(float(upper[0]), own_use), history=history, updated=now)


def lends(node: Node, now: float) -> bool:
    """True where memory that nobody needs may be given away."""
    return now - node.pressed_at >= LENDS_AFTER


def budget(node: Node, limits: Budget) -> float:
    """Bytes that all domains together may have."""
    total = node.reading.total
    return max(min(total - node.own_forecast - limits.kept(total), limits.maximum), 0.0)

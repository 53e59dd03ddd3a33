"""The host's own memory, and so the budget: what the node may give to its domains."""

from dataclasses import dataclass, field

import numpy as np

from controller.engine.inventory import Budget
from controller.engine.snapshot import HostReading
from controller.engine.tables import Frozen
from controller.engine.tuning import Tuning
from controller.forecast import bound
from controller.forecast.history import History
from controller.forecast.wls import WLS

SPACING = 1.0
"""Seconds between the points of the host's history: as often as guests send statistics."""

_ROW = np.array([0])
_MODEL = WLS()


@dataclass(frozen=True)
class Host(Frozen):
    """What is known of the host. Bytes and monotonic seconds. `update` is its only writer."""

    reading: HostReading = field(default_factory=lambda: HostReading(0.0, 0.0))
    own_use: float = 0.0
    """Memory of the host that no guest holds: its own processes, QEMU's overhead."""
    own_forecast: float = 0.0
    """Upper forecast of it; never below present use."""
    budget: float = 0.0
    """What all domains together may have."""
    lendable: float = 0.0
    """What of that may be given to domains that do not need it: the host's low-memory mark stays out of reach."""
    lends_at: float = -np.inf
    """Memory that nobody needs is lent from then on."""
    backoff: float = 0.0
    """Seconds without pressure before that, the last time."""
    history: History = field(default_factory=lambda: History.empty(1))
    updated: float = -np.inf

    def lends(self, now: float) -> bool:
        """True where memory that nobody needs may be given away."""
        return now >= self.lends_at


def update(
    host: Host, reading: HostReading, held: tuple[float, float], limits: Budget, now: float, tuning: Tuning
) -> Host:
    """The host after a reading, of which guests hold between two numbers of bytes, see `balloon.held`."""
    host = _account(_press(host.having(reading=reading), now, tuning), held, now, tuning)
    free = reading.total - host.own_forecast
    budget = max(min(free - limits.kept(reading.total), limits.maximum), 0.0)
    clear = max(free - (1 + tuning.mark_margin) * reading.mark, 0.0)
    return host.having(budget=budget, lendable=min(budget, clear))


def _press(host: Host, now: float, tuning: Tuning) -> Host:
    """Pressure ends lending; when lending brings it back, for longer each time."""
    if not host.reading.pressure:
        return host
    backoff = host.backoff
    if now >= host.lends_at:
        recurs = now - host.lends_at < 2 * host.backoff
        backoff = min(2 * backoff, tuning.lends_longest) if recurs else tuning.lends_after
    return host.having(backoff=backoff, lends_at=now + backoff)


def _account(host: Host, held: tuple[float, float], now: float, tuning: Tuning) -> Host:
    """What may be the guests' changes nothing: own use is taken to be as it was, as far as the reading allows that.

    Memory that was merged is in use once, and held by several.
    """
    least, most = held
    used = host.reading.total - host.reading.available + host.reading.merged
    own_use = max(min(max(host.own_use, used - most), used - least), 0.0)
    if own_use == host.own_use == host.own_forecast:  # one more point on a flat line tells nothing
        return host
    if now - host.updated < SPACING:
        return host.having(own_use=own_use, own_forecast=max(host.own_forecast, own_use))
    history = host.history.append(_ROW, now, np.array([own_use]))
    upper = bound.upper(_MODEL.fit(history.points(now)), np.array([tuning.horizon]), np.array([tuning.percentile]))
    return host.having(own_use=own_use, own_forecast=max(float(upper[0]), own_use), history=history, updated=now)

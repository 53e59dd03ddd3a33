"""The host's own memory, and so the budget: what the node may give to its domains."""

from dataclasses import dataclass, field

import numpy as np

from controller.engine.held import Held
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
    devices: float = 0.0
    """Memory that domains hold beside their balloons."""
    budget: float = 0.0
    """What the balloons of all domains together may have."""
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


def update(host: Host, reading: HostReading, held: Held, limits: Budget, now: float, tuning: Tuning) -> Host:
    """The host after a reading; of what is in use guests hold `held`, see `held`."""
    host = _account(_press(host.having(reading=reading, devices=held.devices), now, tuning), held, now, tuning)
    clear = max(reading.total - host.own_forecast - (1 + tuning.mark_margin) * reading.mark - held.devices, 0.0)
    budget = allowed(host, host.own_forecast, limits)
    return host.having(budget=budget, lendable=min(budget, clear))


def allowed(host: Host, own_use: float, limits: Budget) -> float:
    """Bytes that all balloons together may have while the host itself uses `own_use`."""
    total = host.reading.total
    return max(min(total - own_use - limits.kept(total), limits.maximum) - host.devices, 0.0)


def _press(host: Host, now: float, tuning: Tuning) -> Host:
    """Pressure ends lending; when lending brings it back, for longer each time."""
    if not host.reading.pressure:
        return host
    backoff = host.backoff
    if now >= host.lends_at:
        recurs = now - host.lends_at < 2 * backoff  # what comes and goes is one shortage
        backoff = min(2 * backoff, tuning.rest_longest) if recurs else tuning.rest_first
    return host.having(backoff=backoff, lends_at=now + backoff)


def _account(host: Host, held: Held, now: float, tuning: Tuning) -> Host:
    """What may be the guests' changes nothing: own use is taken to be as it was, as far as the reading allows that.

    Memory that was merged is in use once, and held by several. Pages of files that are no shared memory are in no
    tmpfs, and in use although they count as available.
    """
    reading = host.reading
    uncounted = max(held.in_files - reading.shared, 0.0)
    used = reading.total - reading.available + reading.merged + uncounted
    own_use = max(min(max(host.own_use, used - held.most), used - held.least), 0.0)
    if own_use == host.own_use == host.own_forecast:  # one more point on a flat line tells nothing
        return host
    if now - host.updated < SPACING:
        return host.having(own_use=own_use, own_forecast=max(host.own_forecast, own_use))
    history = host.history.append(_ROW, now, np.array([own_use]))
    upper = bound.upper(_MODEL.fit(history.points(now)), np.array([tuning.horizon]), np.array([tuning.percentile]))
    return host.having(own_use=own_use, own_forecast=max(float(upper[0]), own_use), history=history, updated=now)

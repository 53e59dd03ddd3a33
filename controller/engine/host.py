"""The host's own memory, and so the budget: what the node may give to its domains."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from controller.engine.inventory import Inventory, NodeBudget
from controller.engine.observation import Observation
from controller.engine.phases import Balloon, Phase
from controller.engine.snapshot import TOLERANCE, HostReading
from controller.engine.tables import Floats, Frozen
from controller.engine.tuning import Tuning
from controller.forecast import bound
from controller.forecast.history import History
from controller.forecast.wls import WLS

SPACING = 1.0
"""Seconds between the points of the host's history: as often as guests send statistics."""

_ROW = np.array([0])
_MODEL = WLS()


class Held(NamedTuple):
    """Host memory in the hands of guests, bytes."""

    least: float
    most: float
    in_files: float = 0.0
    """Pages of files. Those that are in no tmpfs count as available to the kernel, which would have to write them."""
    devices: float = 0.0
    """What they have, or may come to have, beside their balloons."""
    given: float = 0.0
    """What all balloons together have, or were promised."""


@dataclass(frozen=True)
class HostState(Frozen):
    """What is known of the host. Bytes and monotonic seconds. `update` is its only writer."""

    reading: HostReading = field(default_factory=lambda: HostReading(0.0, 0.0))
    overdrawn_at: float = -np.inf
    """When balloons last had more than the budget: a guest came, or the host itself needs more."""
    strained: bool = False
    """It is under pressure although they have no more: the budget is too large for now."""
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


def update(
    host: HostState, reading: HostReading, held: Held, limits: NodeBudget, now: float, tuning: Tuning
) -> HostState:
    """The host after a reading; of what is in use guests hold `held`, see `held`.

    Pressure tells nothing new while balloons have more than the budget, and until what is too much has come back.
    """
    host = _account(host.having(reading=reading, devices=held.devices), held, now, tuning)
    budget = allowed(host, host.own_forecast, limits)
    overdrawn_at = now if held.given > budget + TOLERANCE else host.overdrawn_at
    strained = reading.pressure and now - overdrawn_at > tuning.horizon
    host = host.having(overdrawn_at=overdrawn_at, strained=strained)
    if strained:  # it ends lending; when lending brings it back, for longer each time
        backoff = host.backoff
        if now >= host.lends_at:
            recurs = now - host.lends_at < 2 * backoff  # what comes and goes is one shortage
            backoff = min(2 * backoff, tuning.rest_longest) if recurs else tuning.rest_first
        host = host.having(backoff=backoff, lends_at=now + backoff)
    clear = max(reading.total - host.own_forecast - (1 + tuning.mark_margin) * reading.mark - held.devices, 0.0)
    return host.having(budget=budget, lendable=min(budget, clear))


def allowed(host: HostState, own_use: float, limits: NodeBudget) -> float:
    """Bytes that all balloons together may have while the host itself uses `own_use`."""
    total = host.reading.total
    return max(min(total - own_use - limits.kept(total), limits.maximum) - host.devices, 0.0)


def _account(host: HostState, held: Held, now: float, tuning: Tuning) -> HostState:
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
    upper = bound.upper(_MODEL.fit(history.points(now, _ROW)), tuning.horizon, tuning.percentile)
    return host.having(own_use=own_use, own_forecast=max(float(upper[0]), own_use), history=history, updated=now)


def held(balloon: Balloon, observation: Observation, inventory: Inventory, committed: Floats) -> Held:
    """Host memory in the hands of guests; what QEMU holds beyond their sizes and their devices' is its own.

    What QEMU holds is known from each domain's last look; while a job hides it, it may be any more. A balloon that has
    moved since, or is on its way, may have changed that by as much, and nobody tells: guests touch what they get when
    they need it. Memory that the kernel merged counts for each guest that holds it. Of images of NVDIMM nobody tells
    how much is in memory.
    """
    size, rss = np.fmax(observation.allocation, 0.0), np.where(inventory.resident, observation.rss, np.nan)
    highest = np.where(size > 0, committed, 0.0)
    with_devices = highest + inventory.devices
    smallest = np.fmin(size, balloon.target)
    unanswered = balloon.phase == int(Phase.UNKNOWN)
    if np.count_nonzero(unanswered):
        smallest = np.where(unanswered, np.fmin(smallest, balloon.previous), smallest)
    images = inventory.devices - inventory.plugged
    least = np.fmin(smallest, np.maximum(rss - images, 0.0))
    grown = rss + np.fmax(highest - observation.rss_size, 0.0)
    most = np.where(observation.rss_known, np.fmin(with_devices, grown), with_devices)
    in_files = float(np.nansum(np.fmin(size, rss)[inventory.in_file])) if np.count_nonzero(inventory.in_file) else 0.0
    devices, given = float(inventory.devices.sum()), float(committed.sum())
    return Held(float(least.sum()), float(most.sum()), in_files, devices, given)

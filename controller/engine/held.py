"""How much of the host's memory is in the hands of guests: what their balloons leave them, and devices beside these."""

from typing import NamedTuple

import numpy as np

from controller.engine.inventory import Inventory
from controller.engine.observation import Observation
from controller.engine.phases import Balloon, Phase
from controller.engine.tables import Floats


class Held(NamedTuple):
    """Host memory in the hands of guests, bytes."""

    least: float
    most: float
    in_files: float = 0.0
    """Pages of files. Those that are in no tmpfs count as available to the kernel, which would have to write them."""
    devices: float = 0.0
    """What they have, or may come to have, beside their balloons."""


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
    return Held(float(least.sum()), float(most.sum()), in_files, float(inventory.devices.sum()))

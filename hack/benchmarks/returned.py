"""What guests hold of the host's memory once their workloads have ended: with Ballast and without, with and without
free page reporting, by which a guest returns what it does not use by itself.
"""

import time
from pathlib import Path

from benchmarks.figures import Baseline, Figure
from benchmarks.shared_guests import SharedGuests
from benchmarks.simulated import resident_mib
from lab.daemons import until
from lab.guest import Guest, GuestSpec

PART = "returned"
GUESTS = 10
MAXIMUM_MIB = 256
HELD_MIB = 140
"""What a workload held before it ended."""
LEFT_MIB = 20
"""What it holds then."""
SETTLE_S = 30.0
"""A guest reports free pages every two seconds, some at a time; Ballast moves balloons within this time, too."""
SETTLED_S = 120.0
"""Deadline for Ballast's moves; ten seconds on an idle machine."""
POLICY = {
    "mode": "Enforce",
    "spare": "Reclaim",
    "limits": {"minimum": "96Mi", "minimumPercent": 1},
    "advanced": {"shrink": {"stabilizationSeconds": 3}, "monitoring": {"maximumIntervalSeconds": 1}},
}


def measure(_shared: SharedGuests) -> list[Figure]:
    """Resident memory of all guests together, with Ballast and before it started."""
    figures = []
    for reporting in (False, True):
        without, controlled = _measure(reporting)
        what = f"resident memory of {GUESTS} guests under Ballast, free page reporting {'on' if reporting else 'off'}"
        figures.append(Figure(PART, what, controlled, "MiB", Baseline("without Ballast", without)))
    return figures


def _measure(reporting: bool) -> tuple[float, float]:
    specs = [
        GuestSpec(f"guest-{number}", maximum=MAXIMUM_MIB, swap=128, free_page_reporting=reporting)
        for number in range(GUESTS)
    ]
    with SharedGuests(specs) as shared:
        for guest in shared.guests:
            guest.use(HELD_MIB)
        for guest in shared.guests:
            guest.use(LEFT_MIB)
        time.sleep(SETTLE_S)  # the time that is to pass
        without = _resident_mib(shared)
        with shared.ballast(**POLICY):
            until(lambda: all(map(_small, shared.guests)), SETTLED_S, "guests shrunk")
            time.sleep(SETTLE_S)  # likewise
            return without, _resident_mib(shared)


def _small(guest: Guest) -> bool:
    return guest.actual() < HELD_MIB + LEFT_MIB


def _resident_mib(shared: SharedGuests) -> float:
    """Of the guests' QEMU, with what it needs itself."""
    folder = shared.libvirtd.root / "run/libvirt/qemu/run"
    return sum(resident_mib(int(Path(folder, f"{guest.spec.name}.pid").read_text())) for guest in shared.guests)

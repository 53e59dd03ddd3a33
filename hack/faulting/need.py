"""Faults that come while a guest needs more than it has: it cannot be given that, or cannot be asked."""

import time

from benchmarks.monitor import Monitor
from faulting.hostfault import HostFault
from faulting.judge import TOLERANCE_MIB
from faulting.log import complaints
from faulting.stage import BUDGET_MIB, KERNEL_MIB, NEED_MIB, REST_MIB, SWAP_MIB, Stage
from faulting.wounded import LATE_S
from lab.errors import LabError

BEYOND_MAXIMUM_MIB = 400
"""More than the guest's memory: it starves at its maximum, on its swap disk."""
TOLD_S = 8.0
"""How long the guest tells of its need before it falls silent: longer, the more it is believed to need."""
COLD_MIB = 100
"""Swapped out when the guest is in need, and hardly used: 25,600 pages, of which the kernel reads back 8 at a touch."""
PUSH_MIB = 180
"""What pushes it out: the guest has this much beside its kernel at first, but not the cold part too."""
CALM_S = 30.0
TRICKLES_S = 120.0
LEFT_MIB = 120
"""What another guest can need then: the budget has it beside that maximum."""


def _at_maximum(stage: Stage) -> float:
    """Recovered: from the report that no more can be done for the one until the other has what it needs."""
    stage.run()
    stage.taker.use(BEYOND_MAXIMUM_MIB, wait=False)
    stage.reported(stage.taker, "AtMaximum")
    took = stage.served(stage.giver, time.monotonic(), LEFT_MIB)
    stage.reported(stage.taker, "AtMaximum")
    stage.taker.use(REST_MIB)
    return took


def _silent(stage: Stage) -> float:
    """Recovered: from when there is memory for the silent one until it has what it needs."""
    silent = stage.join("silent", monitor=True, swap=2 * SWAP_MIB)
    stage.run()
    for guest in (stage.giver, stage.taker):
        stage.served(guest, 0.0)
    silent.use(NEED_MIB, wait=False)
    stage.wait(lambda: bool(stage.domain(silent).get("pressure")), "its need noticed")
    time.sleep(TOLD_S)  # its last words
    monitor = Monitor(silent.monitor)
    monitor.silence()
    monitor.close()
    stage.reported(silent, "StaleStatistics")
    if stage.watch.allocation(silent.uuid) >= NEED_MIB + KERNEL_MIB:
        raise LabError("it had what it needs before it fell silent")
    stage.giver.use(REST_MIB, wait=False)
    return stage.served(silent, time.monotonic())


def _backed_up(stage: Stage) -> float:
    """Recovered: from the need on, with the backup still under way."""
    stage.run()
    stage.taker.begin_backup()
    took = stage.served(stage.taker, time.monotonic())
    if not stage.taker.in_backup():
        raise LabError("the backup was over before the guest had what it needs")
    stage.taker.end_backup()
    return took


def _taken_late(stage: Stage) -> float:
    """Recovered: from when one of two guests in need gives back until the other has what it needs."""
    stage.start("order-late")
    stage.ballast.wait_for_domains(2)
    stage.settle()
    since = time.time()
    for guest in stage.guests:
        guest.use(NEED_MIB, wait=False)
    stage.wait(
        lambda: any("has not taken the order" in said for said in complaints(stage.log, since)), "an order that hangs"
    )
    time.sleep(LATE_S)  # by then QEMU has taken it
    stage.giver.use(REST_MIB, wait=False)
    took = stage.served(stage.taker, time.monotonic())
    most = _most_promised(stage)
    if most > BUDGET_MIB + TOLERANCE_MIB:
        raise LabError(f"{most:.0f} MiB promised of {BUDGET_MIB}")
    return took


def _trickles(stage: Stage) -> float:
    """Recovered: from its end until another guest that needs memory has it."""
    stage.giver.hold_cold(COLD_MIB)
    stage.giver.use(PUSH_MIB)
    stage.giver.use(REST_MIB)  # what is cold is in swap now
    stage.start()
    stage.wait(lambda: stage.small(stage.taker), "the other guest shrunk to its need")
    time.sleep(CALM_S)  # the forecasts' time to calm down
    begun, before = time.time(), stage.giver.evidence().swapped_in_pages
    time.sleep(stage.lasts_s)  # the length of the fault
    back = stage.giver.evidence().swapped_in_pages - before
    moves = sum(order.at > begun for guest in stage.guests for order in stage.orders(guest)[-1])
    if moves or back < stage.lasts_s / 2:
        raise LabError(f"{moves} moves, with {back} pages read back")
    return stage.served(stage.taker, time.monotonic())


def _most_promised(stage: Stage) -> float:
    """MiB that the balloons of the stage's guests were told to be together, at most."""
    sizes = {guest.uuid: BUDGET_MIB / 2 for guest in stage.guests}
    most = sum(sizes.values())
    told = [(order.at, guest.uuid, order.target) for guest in stage.guests for order in stage.orders(guest)[-1]]
    for _, uuid, target in sorted(told):
        sizes[uuid] = target
        most = max(most, sum(sizes.values()))
    return most


FAULTS = (
    HostFault(
        "guest-at-maximum",
        f"needs {BEYOND_MAXIMUM_MIB} MiB and may not have them; then another guest grows",
        _at_maximum,
    ),
    HostFault("guest-silent-in-need", "its statistics stop while it is in need and memory is short", _silent),
    HostFault("guest-backed-up", "a backup job from before its need until that is met", _backed_up),
    HostFault(
        "guest-trickles",
        "flat demand, a page touched in swap each second: no balloon moves; then another guest grows",
        _trickles,
        lasts_s=TRICKLES_S,
    ),
    HostFault(
        "order-late",
        f"QEMU stands still for {LATE_S:.0f} s at an order to grow, takes it then; both guests in need",
        _taken_late,
    ),
)

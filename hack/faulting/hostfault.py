"""A fault on a host: carried out on a stage of its own, then judged by what onlookers saw."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import libvirt

from faulting.fault import Result
from faulting.log import Order, orders, remarks, tracebacks
from faulting.stage import Stage
from lab.daemons import until
from lab.errors import LabError

TOLERANCE_MIB = 4
"""Sizes nearer than this are one: Ballast takes whole MiB in its log, QEMU rounds."""
QUIET_S = 30.0
"""Deadline for the last order to show on the balloon."""


@dataclass(frozen=True, slots=True)
class HostFault:
    """`make` carries it out on a stage with both guests ready and no Ballast yet, and returns seconds to recovery."""

    name: str
    done: str
    """What is done, for a person; says what of it is made up."""
    make: Callable[[Stage], float]
    doomed: frozenset[str] = frozenset()
    """Guests that the fault itself ends: theirs is no harm."""

    def carry_out(self) -> Result:
        """Set the stage, make the fault, judge. Raises LabError only when the stage cannot be set."""
        with Stage() as stage:
            since = time.time()
            problem, recovered = "", None
            try:
                recovered = round(self.make(stage), 1)
            except (LabError, libvirt.libvirtError) as error:
                problem = f"NOT RECOVERED: {str(error).splitlines()[0]}"
            lost = _lost(stage)
            harmed = _harmed(stage, self.doomed)
            return Result(self.name, self.done, len(harmed), lost, recovered, _seen(stage, since, problem))


def _seen(stage: Stage, since: float, problem: str) -> str:
    count = tracebacks(stage.log)
    noticed = (text.replace(f"{stage.host.uri}: ", "") for text in remarks(stage.log, since))
    seen = filter(None, [f"{count} TRACEBACKS" if count else "", problem, *noticed])
    return "; ".join(seen) or "its orders, no more"


def _harmed(stage: Stage, doomed: frozenset[str]) -> set[str]:
    harmed = {guest.spec.name for guest in stage.guests if not stage.alive(guest) or guest.evidence().oom_kills}
    return harmed - doomed | {order.name for order in orders(stage.log) if _below_demand(stage, order)}


def _below_demand(stage: Stage, order: Order) -> bool:
    demand = stage.watch.demand_at(order.uuid, order.at)
    return order.target < order.before and demand is not None and order.target < demand - TOLERANCE_MIB


def _lost(stage: Stage) -> int:
    given = orders(stage.log)
    last = {order.uuid: order for order in given}
    return doubled(given) + sum(not _shows(stage, order) for order in last.values())


def doubled(given: Sequence[Order]) -> int:
    """How many orders repeat the one the same guest had before."""
    last: dict[str, tuple[int, int]] = {}
    repeated = 0
    for order in given:
        change = order.before, order.target
        repeated += last.get(order.uuid) == change
        last[order.uuid] = change
    return repeated


def _shows(stage: Stage, order: Order) -> bool:
    """The balloon is where it was ordered, was ordered elsewhere since, or Ballast says why it is not."""
    guest = next((guest for guest in stage.guests if guest.uuid == order.uuid), None)
    if guest is None or not guest.alive():
        return True

    def settled() -> bool:
        if any(later.uuid == order.uuid and later.at > order.at for later in orders(stage.log)):
            return True
        there = abs(guest.actual() - order.target) <= TOLERANCE_MIB
        return there or stage.domain(guest).get("reason") in {"Stuck", "OutsideChange", "Paused", "StaleStatistics"}

    try:
        until(settled, QUIET_S, f"order to {order.name}")
    except LabError:
        return False
    return True

"""A fault on a host: carried out on a stage of its own, then judged by what onlookers saw."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain

import libvirt

from faulting import judge
from faulting.fault import Fault, FaultResult
from faulting.log import claims, remarks, tracebacks
from faulting.stage import CEILING, Stage
from lab.daemons import until
from lab.errors import LabError
from lab.guest import Guest

QUIET_S = 30.0
"""Deadline for the last order to show on the balloon."""
EXPLANATIONS = frozenset({"Stuck", "OutsideChange", "Paused", "StaleStatistics"})
"""Reasons of Ballast for a balloon that is not where it was told to go."""


@dataclass(frozen=True, slots=True)
class HostFault:
    """`make` carries it out on a stage with both guests ready and no Ballast yet, and returns seconds to recovery."""

    name: str
    done: str
    """What is done, for a person; says what of it is made up."""
    make: Callable[[Stage], float]
    doomed: frozenset[str] = frozenset()
    """Guests that the fault itself ends: theirs is no harm."""
    lasts_s: float = 0.0
    """How long it goes on, where that can be chosen; 0: it cannot."""

    def carry_out(self) -> FaultResult:
        """Set the stage, make the fault, judge. Raises LabError only when the stage cannot be set."""
        with Stage() as stage:
            stage.lasts_s = self.lasts_s
            return carried_out(self, stage, partial(self.make, stage), self.doomed)


def carried_out(
    fault: Fault, stage: Stage, make: Callable[[], float], doomed: frozenset[str] = frozenset()
) -> FaultResult:
    """What becomes of `fault`, made by `make` on a stage that is set."""
    since = time.time()
    problem, recovered = "", None
    try:
        recovered = round(make(), 1)
    except (LabError, libvirt.libvirtError) as error:
        problem = f"NOT RECOVERED: {str(error).splitlines()[0]}"
    lost = _lost(stage)
    harmed = _harmed(stage, doomed)
    return FaultResult(fault.name, fault.done, len(harmed), lost, recovered, _seen(stage, since, problem))


def _seen(stage: Stage, since: float, problem: str) -> str:
    count = tracebacks(stage.log)
    noticed = (
        text.replace(f"{stage.host.uri}: ", "").replace(f"{stage.host.root}/", "") for text in remarks(stage.log, since)
    )
    seen = filter(None, [f"{count} TRACEBACKS" if count else "", problem, *noticed])
    return "; ".join(seen) or "its orders, no more"


def _harmed(stage: Stage, doomed: frozenset[str]) -> set[str]:
    suffered = {guest.spec.name for guest in stage.guests if not stage.alive(guest) or guest.evidence().oom_kills}
    robbed = {guest.spec.name for guest in stage.cast if _robbed(stage, guest)}
    return suffered - doomed | robbed


def _robbed(stage: Stage, guest: Guest) -> bool:
    demand_at = partial(stage.watch.demand_at, guest.uuid)
    return any(judge.below_demand(given, demand_at) for given in stage.orders(guest))


def _lost(stage: Stage) -> int:
    """Orders that got lost on their way to QEMU, or from there to the guest, or should not have been given."""
    amiss = sum(not _shows(stage, guest) for guest in stage.guests)
    told = claims(stage.log)
    for guest in stage.cast:
        lives = stage.orders(guest)
        amiss += sum(judge.doubled(given) + judge.above_limit(given, CEILING) for given in lives)
        amiss += judge.unheard([claim for claim in told if claim.uuid == guest.uuid], list(chain(*lives)))
    return amiss


def _shows(stage: Stage, guest: Guest) -> bool:
    """The balloon is where QEMU was told last, or Ballast says why it is not."""

    def settled() -> bool:
        given = stage.orders(guest)[-1]
        there = not given or abs(guest.actual() - given[-1].target) <= judge.TOLERANCE_MIB
        return there or stage.domain(guest).get("reason") in EXPLANATIONS

    try:
        until(lambda: not guest.alive() or settled(), QUIET_S, f"last order to {guest.spec.name}")
    except LabError:
        return False
    return True

"""One replay: a trace, a host of some size, a controller; what came of it."""

from collections.abc import Iterator

import numpy as np

from controller.replay.contract import Controller
from controller.replay.score import ScoredReplay, score
from controller.replay.trace import Trace
from controller.replay.world import SimulatedHost

GAP_S = 0.1
"""Least seconds between two acts of a controller, as between two iterations of the live loop: balloons that arrive
close together are worth one step, not one each."""

ROUNDING = 1e-6
"""Fraction of demand: what is missing of sizes as recorded, rounded, differs by less."""


class ReplayError(Exception):
    """A replay that makes no sense; the message names the setting, the value and the remedy."""


def replay(
    trace: Trace,
    controller: Controller,
    host_mib: float,
    autodeflate: bool = False,
    free_page_reporting: bool = False,
) -> ScoredReplay:
    """What `controller` does to the domains of `trace` on a host that can give them `host_mib` MiB together.

    Deterministic: the same arguments give the same result. `free_page_reporting` changes what guests hold of the host,
    and so the figures of who feels it. Raises ReplayError for a host without memory and a trace without demand.
    """
    world = _world(trace, host_mib, autodeflate, free_page_reporting)
    for _ in played(world, controller):
        pass
    return score(trace, world.finish(), host_mib)


def serves(trace: Trace, controller: Controller, host_mib: float, enough: float, autodeflate: bool = False) -> bool:
    """Whether the harm of `replay` with these arguments is at most `enough`, a fraction of demand.

    As soon as more is missing, the replay ends: whoever searches a host's size mostly tries hosts that are too small.
    Raises ReplayError.
    """
    world = _world(trace, host_mib, autodeflate)
    need = sum(float(one.demand[:-1] @ np.diff(one.times)) for one in trace.series)
    missing, last = 0.0, world.now
    demand, size = world.demand.copy(), world.allocation.copy()
    for time in played(world, controller):
        at_rest = world.allocation == size
        missing += float(np.maximum(demand - size, 0.0)[at_rest].sum()) * (time - last)
        if missing > (enough + ROUNDING) * need:
            return False
        last, demand, size = time, world.demand.copy(), world.allocation.copy()
    return score(trace, world.finish(), host_mib).figures.harm <= enough


def _world(trace: Trace, host_mib: float, autodeflate: bool, free_page_reporting: bool = False) -> SimulatedHost:
    """Raises ReplayError."""
    if not 0 < host_mib < float("inf"):
        raise ReplayError(f"host memory: {host_mib} MiB cannot be shared out; give a positive size")
    if not any(one.demand[:-1].any() for one in trace.series):
        raise ReplayError("trace: demand is 0 throughout, so no harm can be a part of it; give one with demand")
    return SimulatedHost(trace, host_mib, autodeflate, free_page_reporting)


def played(world: SimulatedHost, controller: Controller) -> Iterator[float]:
    """Time after time at which something happens, until the trace ends; orders of that time are given after it."""
    controller.start(world)
    rested, look = world.now, controller.next_look()
    while (time := min(world.next_change(), max(_wake(controller, world, look), rested))) < world.end:
        world.advance(time)
        yield time
        if time >= max(_wake(controller, world, look), rested):
            controller.act(world)
            rested, look = time + GAP_S, controller.next_look()
    world.advance(world.end)


def _wake(controller: Controller, world: SimulatedHost, look: float) -> float:
    """When the controller should act next, for all that is known now; `look`: when at the latest."""
    heard = world.next_news() if controller.hears else np.inf
    felt = world.next_feeling() if controller.feels else np.inf
    return min(look, heard, felt)

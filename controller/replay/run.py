"""One replay: a trace, a host of some size, a controller; what came of it."""

from collections.abc import Callable

from controller.replay.contract import Controller
from controller.replay.score import Result, score
from controller.replay.trace import Trace
from controller.replay.world import Record, World

GAP_S = 0.1
"""Least seconds between two acts of a controller, as between two iterations of the live loop: balloons that arrive
close together are worth one step, not one each."""


class ReplayError(Exception):
    """A replay that makes no sense; the message names the setting, the value and the remedy."""


def replay(
    trace: Trace,
    controller: Controller,
    host_mib: float,
    autodeflate: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """What `controller` does to the domains of `trace` on a host that can give them `host_mib` MiB together.

    Deterministic: the same arguments give the same result. `progress` is told the seconds of the trace that are
    done, often. Raises ReplayError for a host without memory and a
    trace without demand.
    """
    if not 0 < host_mib < float("inf"):
        raise ReplayError(f"host memory: {host_mib} MiB cannot be shared out; give a positive size")
    if not any(one.demand[:-1].any() for one in trace.series):
        raise ReplayError("trace: demand is 0 throughout, so no harm can be a part of it; give one with demand")
    world = World(trace, host_mib, autodeflate)
    return score(trace, drive(world, controller, progress), host_mib)


def drive(world: World, controller: Controller, progress: Callable[[float], None] | None = None) -> Record:
    """Let `controller` act on `world` until its trace ends; see `replay`."""
    controller.start(world)
    rested = start = world.now
    while True:
        wake = max(_wake(controller, world), rested)
        time = min(world.next_change(), wake)
        if time >= world.end:
            break
        world.advance(time)
        if progress:
            progress(time - start)
        if time >= max(_wake(controller, world), rested):
            controller.act(world)
            rested = time + GAP_S
    world.advance(world.end)
    return world.finish()


def _wake(controller: Controller, world: World) -> float:
    """When the controller should act next, for all that is known now."""
    look = controller.next_look()
    return min(look, world.next_news()) if controller.hears else look

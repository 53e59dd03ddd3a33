"""One replay: a trace, a host of some size, a controller; what came of it."""

from collections.abc import Callable

from controller.replay.contract import Controller
from controller.replay.score import Result, score
from controller.replay.trace import Trace
from controller.replay.world import World


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
    done, often. Raises ReplayError for a host without memory.
    """
    if not 0 < host_mib < float("inf"):
        raise ReplayError(f"host memory: {host_mib} MiB cannot be shared out; give a positive size")
    world = World(trace, host_mib, autodeflate)
    controller.start(world)
    while True:
        look = controller.next_look()
        time = min(world.next_change(), max(look, world.now))
        if controller.hears:
            time = min(time, world.next_arrival())
        if time >= world.end:
            break
        world.advance(time)
        if progress:
            progress(time - trace.start)
        if look <= time or (controller.hears and world.has_news()):
            controller.act(world)
    world.advance(world.end)
    return score(trace, world.finish(), host_mib)

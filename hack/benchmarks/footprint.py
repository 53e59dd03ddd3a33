"""What `memory` measures, each in a process of its own. It loads as little as it can beside what a real process does:
the tables and the made-up chance of the other parts took 6 MiB.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.recorded import DOMAINS, Played, Recorded, RecordedHost, felt
from lab.daemons import until

SCRAPE_S = 15.0
"""Prometheus' usual interval; a scrape has its share in the memory that stays."""
LOOKS = 60
KNOWN_S = 30.0
"""Deadline for the policy to be known."""
SETTLE_S = 5.0
"""Seconds in which kopf has begun to watch, and the state is written."""
NODE = "bench"


def print_recorded() -> None:
    """The recorded loop with all that a real process has, fed with replies; then its `status`."""
    from controller.cli import service  # noqa: F401, PLC0415 - the libraries a real process has loaded, all of them
    from controller.observe.http import Pages  # noqa: PLC0415 - as late as there

    with tempfile.TemporaryDirectory() as proc, _feeling() as feels:
        recorded = Recorded(json.load(sys.stdin), DOMAINS, Path(proc))
        feels(recorded.host)
        pages = Pages(recorded.status_store)
        for look in range(LOOKS):
            recorded.tick()
            recorded.look()
            if look % SCRAPE_S == 0:
                pages.get("/metrics")
    print(Path("/proc/self/status").read_text())


def print_agent() -> None:
    """Likewise, of an agent with all of its threads."""
    from controller.agent import Agent  # noqa: PLC0415 - in this process only
    from controller.cli import agent_service  # noqa: F401, PLC0415 - the libraries a real process has loaded
    from controller.cluster.access import access  # noqa: PLC0415 - in this process only
    from controller.engine.ownership import NodeIdentity  # noqa: PLC0415 - likewise
    from controller.observe.http import Pages  # noqa: PLC0415 - as late as there

    given = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as proc, tempfile.TemporaryDirectory() as cache, _feeling() as feels:
        played = Played.of(given["replies"], DOMAINS, Path(proc))
        feels(played.host)
        agent = Agent(access(Path(given["kubeconfig"])), NodeIdentity(NODE), Path(cache), played.host, played.clock)
        pages = Pages(agent.status_store)
        with agent:
            until(lambda: bool(agent.policies.current()[1]), KNOWN_S, "policy known")
            for look in range(LOOKS):
                played.player.tick()
                agent.loop.iterate()
                if look % SCRAPE_S == 0:
                    pages.get("/metrics")
            time.sleep(SETTLE_S)  # for what the threads still do
            print(Path("/proc/self/status").read_text())


@contextmanager
def _feeling() -> Iterator[Callable[[RecordedHost], None]]:
    """What has a host feel its domains, by a thread that reads their sizes as on a real one."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def feels(host: RecordedHost) -> None:
            senses = stack.enter_context(felt(host.inventory(), Path(folder)))
            senses.start()
            host.follow(senses)

        yield feels

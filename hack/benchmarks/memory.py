"""Resident memory of Ballast: on real guests, and on very many recorded ones; beside Python with its libraries."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

from benchmarks.figures import Baseline, Figure
from benchmarks.look import DOMAINS, Reply, raw_call
from benchmarks.recorded import POLICY, Played, Recorded, RecordedHost
from benchmarks.senses import felt
from benchmarks.site import GUESTS, Site
from lab.daemons import until
from lab.kubernetes.controlplane import ControlPlane

PART = "memory"
GOAL_MIB = 110.0
WATCH_S = 45.0
SCRAPE_S = 15.0
"""Prometheus' usual interval; a scrape has its share in the memory that stays."""
LOOKS = 60
KNOWN_S = 30.0
"""Deadline for the policy to be known."""
SETTLE_S = 5.0
"""Seconds in which kopf has begun to watch, and the state is written."""
KIB_IN_MIB = 1024

LIBRARIES = "import numpy, pydantic, libvirt; print(open('/proc/self/status').read())"
RECORDED = "from benchmarks import memory; memory.print_recorded()"
AGENT = "from benchmarks import memory; memory.print_agent()"
NODE = "bench"
CRDS = Path(__file__).parents[2] / "crds"


def measure(site: Site) -> list[Figure]:
    """Resident now (VmRSS) and at most (VmHWM)."""
    bare = _usage(_run(LIBRARIES))
    real = _watch(site)
    _, replies = raw_call(site)
    recorded = _usage(_run(RECORDED, json.dumps(replies)))
    agent = _usage(_agent(replies))
    baseline = "Python with numpy, pydantic and libvirt"
    cases = (
        (f"ballast run, {GUESTS} real guests, {WATCH_S:g} s", real),
        (f"loop, {DOMAINS:,} recorded domains", recorded),
        (f"ballast agent with kopf, {DOMAINS:,} recorded domains", agent),
    )
    return [
        Figure(PART, f"{what}, {name}", usage[field], "MiB", Baseline(f"{baseline}, {name}", bare[field]), GOAL_MIB)
        for what, usage in cases
        for field, name in (("VmRSS", "resident"), ("VmHWM", "at most"))
    ]


def _watch(site: Site) -> dict[str, float]:
    """Of a real `ballast run` that is scraped as it would be."""
    with site.ballast(mode="Enforce", monitoring={"maximumIntervalSeconds": 1}) as ballast:
        end = time.monotonic() + WATCH_S
        while (left := end - time.monotonic()) > 0:
            with urlopen(f"{ballast.url}/metrics") as answer:  # noqa: S310 - http, and our own
                answer.read()
            time.sleep(min(left, SCRAPE_S))  # the time that is to pass
        return _usage(Path(f"/proc/{ballast.pid}/status").read_text())


def print_recorded() -> None:
    """In a process of its own: the recorded loop with all that a real process has, then its memory."""
    from controller.cli import service  # noqa: F401, PLC0415 - the libraries a real process has loaded, all of them
    from controller.observe.http import Pages  # noqa: PLC0415 - only in the child

    replies: list[Reply] = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as proc, _feeling() as feels:
        recorded = Recorded(replies, DOMAINS, Path(proc))
        feels(recorded.host)
        pages = Pages(recorded.board)
        for look in range(LOOKS):
            recorded.tick()
            recorded.look()
            if look % SCRAPE_S == 0:
                pages.get("/metrics")
    print(Path("/proc/self/status").read_text())


def _agent(replies: list[Reply]) -> str:
    """The agent's `status`, after LOOKS looks under a policy that kopf watches in a real API server."""
    with ControlPlane() as plane:
        plane.kubectl("apply", "-k", str(CRDS))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        for made in (node, POLICY.model_dump(mode="json", by_alias=True, exclude_unset=True)):
            plane.kubectl("apply", "-f", "-", input=json.dumps(made))
        return _run(AGENT, json.dumps({"replies": replies, "kubeconfig": str(plane.kubeconfig)}))


def print_agent() -> None:
    """As `print_recorded`, of an agent with all of its threads."""
    from controller.agent import Agent  # noqa: PLC0415 - only in the child
    from controller.cli import agent_service  # noqa: F401, PLC0415 - the libraries a real process has loaded
    from controller.cluster.access import access  # noqa: PLC0415 - only in the child
    from controller.observe.http import Pages  # noqa: PLC0415 - only in the child

    given = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as proc, tempfile.TemporaryDirectory() as cache, _feeling() as feels:
        played = Played.of(given["replies"], DOMAINS, Path(proc))
        feels(played.host)
        agent = Agent(access(Path(given["kubeconfig"])), NODE, Path(cache), played.host, played.clock)
        pages = Pages(agent.board)
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


def _run(script: str, text: str = "") -> str:
    return subprocess.run([sys.executable, "-c", script], input=text, capture_output=True, text=True, check=True).stdout


def _usage(status: str) -> dict[str, float]:
    """MiB by field of a process' `status`."""
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {field: int(lines[field].split()[0]) / KIB_IN_MIB for field in ("VmRSS", "VmHWM")}

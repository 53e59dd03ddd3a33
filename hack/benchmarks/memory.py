"""Resident memory: of Ballast on real guests, of Ballast on many recorded ones, and of Python with its libraries."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from benchmarks.figures import Baseline, Figure
from benchmarks.look import DOMAINS, Reply, raw_call
from benchmarks.recorded import Recorded
from benchmarks.site import GUESTS, Site
from lab.ballast import Ballast

PART = "memory"
GOAL_MIB = 110.0
WATCH_S = 60.0
SCRAPE_S = 15.0
"""Prometheus' usual interval; a scrape has its share in the memory that stays."""
LOOKS = 60
KIB_IN_MIB = 1024

LIBRARIES = "import numpy, pydantic, libvirt; print(open('/proc/self/status').read())"
RECORDED = "from benchmarks import memory; memory.print_recorded()"


def measure(site: Site) -> list[Figure]:
    """Resident now (VmRSS) and at most (VmHWM)."""
    bare = _usage(_run(LIBRARIES))
    real = _watch(site)
    _, replies = raw_call(site)
    recorded = _usage(_run(RECORDED, json.dumps(replies)))
    baseline = "Python with numpy, pydantic and libvirt"
    cases = (
        (f"ballast run, {GUESTS} real guests, {WATCH_S:g} s", real),
        (f"loop, {DOMAINS:,} recorded domains", recorded),
    )
    return [
        Figure(PART, f"{what}, {name}", usage[field], "MiB", Baseline(f"{baseline}, {name}", bare[field]), GOAL_MIB)
        for what, usage in cases
        for field, name in (("VmRSS", "resident"), ("VmHWM", "at most"))
    ]


def _watch(site: Site) -> dict[str, float]:
    """Of a real `ballast run` that is scraped as it would be."""
    count = len(site.guests)
    folder = site.folder("memory", mode="Enforce", monitoring={"maximumIntervalSeconds": 1})
    with Ballast(folder / "policies", site.libvirtd.uri, folder / "ballast.log", keep=False) as ballast:
        ballast.wait_for_domains(count)
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
    with tempfile.TemporaryDirectory() as proc:
        recorded = Recorded(replies, DOMAINS, Path(proc))
        pages = Pages(recorded.board)
        for look in range(LOOKS):
            recorded.tick()
            recorded.look()
            if look % SCRAPE_S == 0:
                pages.get("/metrics")
    print(Path("/proc/self/status").read_text())


def _run(script: str, text: str = "") -> str:
    return subprocess.run([sys.executable, "-c", script], input=text, capture_output=True, text=True, check=True).stdout


def _usage(status: str) -> dict[str, float]:
    """MiB by field of a process' `status`."""
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {field: int(lines[field].split()[0]) / KIB_IN_MIB for field in ("VmRSS", "VmHWM")}

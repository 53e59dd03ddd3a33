"""Resident memory of Ballast: on real guests, and on very many recorded ones; beside Python with its libraries."""

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from benchmarks.figures import Baseline, Figure
from benchmarks.footprint import NODE, SCRAPE_S
from benchmarks.look import raw_call
from benchmarks.recorded import DOMAINS, POLICY, Reply
from benchmarks.shared_guests import GUESTS, SharedGuests
from lab.kubernetes.controlplane import ControlPlane

PART = "memory"
GOAL_MIB = 110.0
WATCH_S = 45.0
KIB_IN_MIB = 1024

LIBRARIES = "import numpy, pydantic, libvirt; print(open('/proc/self/status').read())"
RECORDED = "from benchmarks import footprint; footprint.print_recorded()"
AGENT = "from benchmarks import footprint; footprint.print_agent()"
CRDS = Path(__file__).parents[2] / "crds"


def measure(shared: SharedGuests) -> list[Figure]:
    """Resident now (VmRSS) and at most (VmHWM)."""
    bare = _usage(_run(LIBRARIES))
    real = _watch(shared)
    _, replies = raw_call(shared)
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


def _watch(shared: SharedGuests) -> dict[str, float]:
    """Of a real `ballast run` that is scraped as it would be."""
    with shared.ballast(mode="Enforce", advanced={"monitoring": {"maximumIntervalSeconds": 1}}) as ballast:
        end = time.monotonic() + WATCH_S
        while (left := end - time.monotonic()) > 0:
            with urlopen(f"{ballast.url}/metrics") as answer:  # noqa: S310 - http, and our own
                answer.read()
            time.sleep(min(left, SCRAPE_S))  # the time that is to pass
        return _usage(Path(f"/proc/{ballast.pid}/status").read_text())


def _agent(replies: list[Reply]) -> str:
    """The agent's `status`, after LOOKS looks under a policy that kopf watches in a real API server."""
    with ControlPlane() as plane:
        plane.define(CRDS)
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        for made in (node, POLICY.model_dump(mode="json", by_alias=True, exclude_unset=True)):
            plane.kubectl("apply", "-f", "-", input=json.dumps(made))
        return _run(AGENT, json.dumps({"replies": replies, "kubeconfig": str(plane.kubeconfig)}))


def _run(script: str, text: str = "") -> str:
    return subprocess.run([sys.executable, "-c", script], input=text, capture_output=True, text=True, check=True).stdout


def _usage(status: str) -> dict[str, float]:
    """MiB by field of a process' `status`."""
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {field: int(lines[field].split()[0]) / KIB_IN_MIB for field in ("VmRSS", "VmHWM")}

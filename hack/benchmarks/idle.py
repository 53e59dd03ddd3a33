"""CPU of an agent whose domains are all stable: real loop, kopf and reports to a real API server, on a fake host.

The host answers for libvirt, whose call `look` measures on real guests.
"""

import time

from benchmarks.figures import Baseline, Figure
from benchmarks.shared_guests import SharedGuests
from benchmarks.simulated import SimulatedCluster
from lab.kubernetes.controlplane import ControlPlane

PART = "idle"
DOMAINS = 50
GOAL_PERCENT = 0.5
"""Of one core."""
LONGEST_S = 60
"""Seconds between two looks at a stable domain: the policy's default."""
CALM_S = 200.0
"""Seconds until looks are that rare: from 1 s on each interval is 1.5 times the last."""
MEASURED_S = 120.0
BASELINE_S = 30.0


def measure(_shared: SharedGuests) -> list[Figure]:
    """At rest under the default policy, beside the same node looked at every second."""
    with ControlPlane() as plane:
        cluster = SimulatedCluster(plane, size=1, guests=DOMAINS)
        with cluster.ballast():
            cluster.monitor(minimumIntervalSeconds=1, maximumIntervalSeconds=1)
            time.sleep(BASELINE_S)  # until all of it is in memory, and nothing new is reported
            busy = cluster.cpu(BASELINE_S)
            cluster.monitor(minimumIntervalSeconds=1, maximumIntervalSeconds=LONGEST_S)
            time.sleep(CALM_S)  # the time that is to pass
            calm = cluster.cpu(MEASURED_S)
    baseline = Baseline("looked at every second", 100 * busy.agents)
    what = f"CPU of ballast agent at rest, {DOMAINS} stable domains"
    return [Figure(PART, what, 100 * calm.agents, "%", baseline, GOAL_PERCENT)]

"""A whole cluster of simulated nodes on one real API server: what Ballast costs it, and how fast news travels.

All of them share this machine, so times hold what a thousand agents need of its processors, too.
"""

from collections.abc import Sequence

from benchmarks.figures import Baseline, Figure
from benchmarks.shared_guests import SharedGuests
from benchmarks.simulated import Change, Rest, SimulatedCluster, Usage
from lab.kubernetes.controlplane import ControlPlane

PART = "cluster"
SIZES = (100, 300, 1_000)
"""Nodes."""
AFTER_S = 30.0
"""Seconds of rest without Ballast, when it has ended."""
REST_S = 360.0
"""Seconds of rest with it: in so long every node refreshes its state once, none before the settling ends."""
CHANGES = 3
"""Changes of the policy; the slowest counts."""

WRITES_GOAL = 0.02
"""A second and node."""
ACTED_GOAL_S = 5.0
SUMMED_GOAL_S = 10.0
STATUS_GOAL_BYTES = 4096
KUBELET_WRITES = 1 / 10 + 1 / 300
"""A second: what a kubelet writes at rest, its lease every 10 s and its status every 5 min. Known, not measured."""


def measure(_shared: SharedGuests) -> list[Figure]:
    """All figures for every size, each with a control plane of its own."""
    return [figure for size in SIZES for figure in _measure(size)]


def _measure(size: int) -> list[Figure]:
    with ControlPlane() as plane:
        cluster = SimulatedCluster(plane, size)
        memory = cluster.apiserver_mib()
        with cluster.ballast():
            changes = [cluster.change() for _ in range(CHANGES)]
            rest = cluster.rest(REST_S)
        # Only now has Kubernetes itself come to rest: at first it finds that these nodes have no kubelet.
        without = Usage(cluster.rest(AFTER_S).usage.cpu, memory)
        return _figures(size, without, changes, rest, cluster)


def _figures(
    size: int, without: Usage, changes: Sequence[Change], rest: Rest, cluster: SimulatedCluster
) -> list[Figure]:
    nodes = f"{size:,} nodes"
    watched = Baseline("one plain watch", max(change.watched for change in changes))
    listed_s, states_bytes = cluster.list_states()
    acted, summed = (max(getattr(change, name) for change in changes) for name in ("acted", "summed"))
    return [
        Figure(PART, f"writes a node at rest, {nodes}", rest.writes / size, "/s", _KUBELET, WRITES_GOAL),
        Figure(PART, f"policy change acted on everywhere, {nodes}", acted, "s", watched, ACTED_GOAL_S),
        Figure(
            PART, f"all states summed, {nodes}", summed - acted, "s", Baseline("listing them", listed_s), SUMMED_GOAL_S
        ),
        Figure(
            PART,
            f"CPU of a change beyond rest, a node of {size:,}",
            1000 * max(change.agents_cpu for change in changes) / size,
            "ms",
            Baseline("the API server's for it", 1000 * max(change.apiserver_cpu for change in changes) / size),
        ),
        Figure(
            PART,
            f"status of the policy, {nodes}",
            cluster.status_bytes(),
            "B",
            Baseline("all states", states_bytes),
            STATUS_GOAL_BYTES,
        ),
        Figure(
            PART,
            f"CPU of an agent at rest, {nodes}",
            rest.agents_cpu / size,
            "%",
            Baseline("the API server at the same time", rest.usage.cpu / size),
        ),
        Figure(
            PART, f"API server's CPU at rest, {nodes}", rest.usage.cpu, "%", Baseline("without Ballast", without.cpu)
        ),
        Figure(
            PART,
            f"API server's memory, {nodes}",
            rest.usage.memory_mib,
            "MiB",
            Baseline("without Ballast", without.memory_mib),
        ),
    ]


_KUBELET = Baseline("a kubelet's lease and status (known)", KUBELET_WRITES)

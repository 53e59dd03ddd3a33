"""One scrape of /metrics over HTTP at 1,000 domains: how long it takes, and how much comes."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from benchmarks.figures import Baseline, Figure
from benchmarks.look import raw_call
from benchmarks.recorded import DOMAINS, Recorded
from benchmarks.shared_guests import SharedGuests
from benchmarks.stopwatch import Spent
from controller.observe.address import Address
from controller.observe.http import Endpoint
from controller.observe.metrics import Collecting, StateCollector, loop_metrics

PART = "scrape"
GOAL_MS = 200.0
GOAL_MIB = 5.0
WARM_UP_LOOKS = 10
SCRAPES = 15
MIB = 2**20


class Ready(Collector):
    """Families that were collected before."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """As they were."""
        yield from self._metrics


def measure(shared: SharedGuests) -> list[Figure]:
    """Beside prometheus_client alone, writing the same series from ready figures; and without series of domains."""
    _, replies = raw_call(shared)
    with tempfile.TemporaryDirectory() as proc:
        recorded = Recorded(replies, DOMAINS, Path(proc))
        for _ in range(WARM_UP_LOOKS):
            recorded.tick()
            recorded.look()
        with (
            _served(recorded, loop_metrics(recorded.loop_counters, per_domain=True)) as url,
            _served(recorded, loop_metrics(recorded.loop_counters, per_domain=False)) as node_url,
        ):
            ready = _ready(recorded)
            works = (lambda: _get(url), lambda: _get(node_url), lambda: generate_latest(ready))
            whole, node, bare = _in_turn(works)
            size, node_size = (len(_get(each)) / MIB for each in (url, node_url))
            packed = len(_get(url, "gzip")) / MIB
    every = f"{DOMAINS:,} domains"
    without = f"{every}, --no-domain-metrics"
    alone = "prometheus_client writing the same from ready figures"
    return [
        Figure(PART, f"a scrape, {every}", whole.wall, "ms", Baseline(alone, bare.wall), GOAL_MS),
        Figure(PART, f"its CPU, {every}", whole.cpu, "ms", Baseline(f"{alone}, CPU", bare.cpu)),
        Figure(PART, f"its size, {every}", size, "MiB", Baseline(f"its size, {without}", node_size), GOAL_MIB),
        Figure(PART, f"its size with gzip, {every}", packed, "MiB", Baseline("without", size)),
        Figure(PART, f"a scrape, {without}", node.wall, "ms", Baseline("with their series", whole.wall), GOAL_MS),
    ]


def _in_turn(works: Sequence[Callable[[], object]]) -> list[Spent]:
    """What each takes; they take turns, so that a busy machine is busy for all of them."""
    rounds = [[Spent.on(work) for work in works] for _ in range(SCRAPES)]
    return [Spent.typical(runs) for runs in zip(*rounds, strict=True)]


@contextmanager
def _served(recorded: Recorded, collecting: Collecting) -> Iterator[str]:
    with Endpoint(Address("127.0.0.1", 0), recorded.status_store, collecting) as endpoint:
        yield f"http://127.0.0.1:{endpoint.port}/metrics"


def _get(url: str, encoding: str = "identity") -> bytes:
    with urlopen(Request(url, headers={"Accept-Encoding": encoding})) as answer:  # noqa: S310 - http, and our own
        body: bytes = answer.read()
        return body


def _ready(recorded: Recorded) -> CollectorRegistry:
    ready = CollectorRegistry()
    ready.register(Ready(list(StateCollector(recorded.status_store, recorded.loop_counters).collect())))
    return ready

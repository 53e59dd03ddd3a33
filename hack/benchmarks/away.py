"""How long the loop is away when many guests hang: from the beginning of a turn to the end of its orders."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Baseline, Figure
from benchmarks.recorded import OnePolicy
from benchmarks.shared_guests import SharedGuests
from benchmarks.stopwatch import Spent
from controller.api.policy import MemoryPolicy
from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.host.host import LibvirtHost
from controller.host.sources import Source
from controller.loop.clock import SystemClock
from controller.loop.control import ControlLoop
from controller.observe.statusstore import StatusStore
from lab.fake_libvirt import SOURCE, FakeDomain, FakeHandle, key_of

PART = "away"
GUESTS, EACH = 1000, 20
"""Of which every twentieth hangs, from the first on."""
GOAL_S = 5.0
TURNS = 3

MIB = 2**20
KB = {"MemTotal": 512 * 2**20, "MemAvailable": 256 * 2**20, "SwapTotal": 0, "SwapFree": 0}
HEAD = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "all"}}


class HangingCrowd:
    """The guests, and Ballast as it is from its loop to its libvirt calls."""

    def __init__(self, host: LibvirtHost, domains: list[FakeDomain]) -> None:
        self.host, self.domains = host, domains
        clock = SystemClock()
        policy = MemoryPolicy.model_validate(HEAD | {"spec": {"mode": "Enforce"}})
        self.status_store = StatusStore("node", clock.monotonic)
        self.loop = ControlLoop(host, OnePolicy(policy), clock, self.status_store)

    @property
    def rows(self) -> dict[str, int]:
        """Of all guests, by key."""
        return {key_of(domain): row for row, domain in enumerate(self.domains)}

    @property
    def hung(self) -> list[FakeDomain]:
        """Those that hang after `hang`."""
        return self.domains[::EACH]

    def hang(self) -> None:
        """From now on they answer no more."""
        for domain in self.hung:
            domain.answers.clear()

    def orders(self) -> tuple[Action, ...]:
        """One for each guest."""
        return tuple(
            Action(row, key_of(domain), domain.name(), 128 * MIB, 200 * MIB, Reason.FORECAST_GROW)
            for row, domain in enumerate(self.domains)
        )


@contextmanager
def hanging_crowd(proc: Path) -> Iterator[HangingCrowd]:
    """It is connected, and nobody hangs yet; `proc` is an empty folder."""
    (proc / "meminfo").write_text("".join(f"{name}: {size} kB\n" for name, size in KB.items()))
    domains = [FakeDomain(number) for number in range(GUESTS)]
    for domain in domains:
        domain.period = 0
    host = LibvirtHost([Source(SOURCE, lambda: FakeHandle(*domains))], proc)
    host.start()
    try:
        yield HangingCrowd(host, domains)
    finally:
        for domain in domains:
            domain.answers.set()
        host.close()


@contextmanager
def _crowd() -> Iterator[HangingCrowd]:
    with tempfile.TemporaryDirectory() as proc, hanging_crowd(Path(proc)) as crowd:
        yield crowd


def measure(_shared: SharedGuests) -> list[Figure]:
    """The longest of TURNS turns, and a look with an order for every guest; beside a turn in which all answer."""
    with _crowd() as crowd:
        baseline = Baseline("a turn in which all answer", _seconds(crowd.loop.iterate))
    with _crowd() as crowd:
        crowd.hang()
        turn = max(_seconds(crowd.loop.iterate) for _ in range(TURNS))
    with _crowd() as crowd:
        crowd.hang()
        both = _seconds(lambda: (crowd.host.look(crowd.rows), crowd.host.apply(crowd.orders())))
    what = f"{GUESTS:,} domains of which {GUESTS // EACH} hang"
    return [
        Figure(PART, f"longest turn of the loop, {what}", turn, "s", baseline, GOAL_S),
        Figure(PART, f"a look and an order for each, {what}", both, "s", baseline, GOAL_S),
    ]


def _seconds(work: Callable[[], object]) -> float:
    return Spent.on(work).wall / 1000

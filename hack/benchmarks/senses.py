"""CPU of what the host feels: passes over the resident sizes of 1,000 domains' processes."""

import os
import tempfile
from pathlib import Path

from benchmarks.figures import Baseline, Figure
from benchmarks.recorded import DOMAINS, felt
from benchmarks.shared_guests import SharedGuests
from benchmarks.stopwatch import Spent
from controller.engine.inventory import DomainFacts
from controller.host.senses import Senses

PART = "senses"
RATE_HZ = 4
GOAL_PERCENT = 2.0
"""Of a core."""
PASSES = 200
GROWS = 10
"""Of so many domains one has grown since the pass before."""
GIB = 2**30


def measure(_shared: SharedGuests) -> list[Figure]:
    """A pass at RATE_HZ with what the loop asks for after each, beside the bare readings of the same files.

    Processes that really grew would be busy with that: files stand in for the statm of those that grow.
    """
    facts = [_facts(number) for number in range(DOMAINS)]
    with tempfile.TemporaryDirectory() as folder, felt(facts, Path(folder)) as senses:
        growing = [Path(folder, str(number), "statm") for number in sorted(map(int, os.listdir(folder)))[::GROWS]]
        for statm in growing:
            statm.unlink()
        _grow(growing, 0)
        senses.turn()  # finds and opens all
        runs = []
        for number in range(1, PASSES + 1):
            _grow(growing, number)
            runs.append(Spent.on(lambda: _pass(senses)))
        files = [os.open(each, os.O_RDONLY) for each in Path(folder).glob("*/statm")]
        bare = [Spent.on(lambda: [os.pread(each, 128, 0) for each in files]) for _ in range(PASSES)]
        for each in files:
            os.close(each)
    what = f"{DOMAINS:,} domains, of which {DOMAINS // GROWS} grow, at {RATE_HZ} Hz"
    baseline = Baseline("reading their statm alone", _percent(bare))
    return [Figure(PART, f"part of a core, {what}", _percent(runs), "%", baseline, GOAL_PERCENT)]


def _grow(growing: list[Path], times: int) -> None:
    """By a MiB each time."""
    for statm in growing:
        statm.write_text(f"300000 {20000 + 256 * times} 3000 10 0 30000 0\n")


def _pass(senses: Senses) -> None:
    senses.turn()
    senses.feel()


def _percent(runs: list[Spent]) -> float:
    return Spent.typical(runs).cpu / 1000 * RATE_HZ * 100


def _facts(number: int) -> DomainFacts:
    uuid = f"00000000-0000-0000-0000-{number:012d}"
    return DomainFacts(uuid, uuid, f"domain-{number}", incarnation=1, maximum=GIB, definition=GIB)

"""CPU of what the host feels: passes over the resident sizes of 1,000 domains' processes."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.figures import Baseline, Figure
from benchmarks.site import Site
from benchmarks.stopwatch import Spent
from controller.engine.inventory import DomainFacts
from controller.host.senses import Senses

PART = "senses"
DOMAINS = 1_000
RATE_HZ = 4
GOAL_PERCENT = 2.0
"""Of a core."""
PASSES = 200
PROCESSES = 20
"""Real ones, whose sizes the domains share: a thousand would only take the machine's memory."""
GIB = 2**30


def measure(_site: Site) -> list[Figure]:
    """A pass at RATE_HZ with what the loop asks for after each, beside the bare readings of the same files."""
    facts = [_facts(number) for number in range(DOMAINS)]
    with tempfile.TemporaryDirectory() as folder, felt(facts, Path(folder)) as senses:
        senses.turn()  # finds and opens all
        runs = [Spent.on(lambda: _pass(senses)) for _ in range(PASSES)]
        files = [os.open(each, os.O_RDONLY) for each in Path(folder).glob("*/statm")]
        bare = [Spent.on(lambda: [os.pread(each, 128, 0) for each in files]) for _ in range(PASSES)]
        for each in files:
            os.close(each)
    what = f"{DOMAINS:,} domains at {RATE_HZ} Hz"
    baseline = Baseline("reading their statm alone", _percent(bare))
    return [Figure(PART, f"part of a core, {what}", _percent(runs), "%", baseline, GOAL_PERCENT)]


@contextmanager
def felt(facts: Sequence[DomainFacts], folder: Path) -> Iterator[Senses]:
    """Senses of these domains, not started, with a /proc in the empty `folder`."""
    with ExitStack() as stack:
        command = ["sleep", "infinity"]
        processes = [stack.enter_context(subprocess.Popen(command)) for _ in range(PROCESSES)]
        for each in processes:
            stack.callback(each.kill)
        for number, domain in enumerate(facts):
            place = folder / str(number + 2)
            place.mkdir()
            (place / "cmdline").write_bytes(f"qemu\0-uuid\0{domain.uuid}\0".encode())
            (place / "statm").symlink_to(f"/proc/{processes[number % PROCESSES].pid}/statm")
        senses = Senses(folder, folder, lambda: facts, lambda: None, pid_files=folder)
        stack.callback(senses.close)
        yield senses


def _pass(senses: Senses) -> None:
    senses.turn()
    senses.feel()


def _percent(runs: list[Spent]) -> float:
    return Spent.typical(runs).cpu / 1000 * RATE_HZ * 100


def _facts(number: int) -> DomainFacts:
    uuid = f"00000000-0000-0000-0000-{number:012d}"
    return DomainFacts(uuid, uuid, f"domain-{number}", incarnation=1, maximum=GIB, definition=GIB)

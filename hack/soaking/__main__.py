"""`./hack/soak`: real guests with random workloads under Ballast's control, for hours, and a verdict."""

import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import click
from rich.console import Console
from rich.table import Table

from controller.cli.options import NumberRange
from lab.ballast import BallastProcess
from lab.endurance import Reading, TrendLine, judge, read
from lab.errors import LabError
from lab.guest import Evidence, Guest
from lab.libvirtd import PrivateLibvirtd
from lab.scenario import BUDGET_MIB, CAST, POLICY

SHORTEST_H = 0.02
"""72 s: less tells nothing of a trend."""
LONGEST_H = 24 * 31
READING_S = 2.0
"""Between two readings at first; rarer in a long soak, so that they stay few."""
MOST_READINGS = 2000
WORKLOAD_S = 45.0
"""How long a guest keeps an amount, on the average."""
IDLE_MIB, BUSY_MIB = 20, 140
"""Bounds of a workload. Five guests at the upper one, with their kernels and headroom, need about the budget."""
SWAP_MIB = 256


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--hours", type=NumberRange(SHORTEST_H, LONGEST_H), default=1.0, show_default=True, help="How long.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the workloads.")
def main(hours: float, seed: int) -> None:
    """Watch Ballast's memory, descriptors and threads while real guests change their demand at random.

    Ends with 1 when one of them grows, or a guest comes to harm. Ctrl-C cleans up.
    """
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    console = Console(highlight=False)
    try:
        faults = _run(console, hours * 3600, random.Random(seed))  # noqa: S311 - no secret
    except LabError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        console.print("interrupted: guests, libvirtd and Ballast are ended")
        sys.exit(128 + signal.SIGINT)
    if faults:
        raise click.ClickException(f"soak: {'; '.join(faults)}")
    console.print("soak: flat, and every guest alive")


def _run(console: Console, duration_s: float, chance: random.Random) -> list[str]:
    with ExitStack() as stack:
        host = stack.enter_context(PrivateLibvirtd())
        console.print(f"{len(CAST)} guests, lent {BUDGET_MIB} MiB: booting")
        specs = [replace(part.spec, swap=SWAP_MIB) for part in CAST]
        guests = [stack.enter_context(Guest(host, spec)) for spec in specs]
        for guest in guests:
            guest.wait_ready()
        policies = host.root / "policies"
        policies.mkdir()
        shutil.copy(POLICY, policies)
        ballast = stack.enter_context(BallastProcess(policies, host.uri, host.root / "ballast.log", keep=False))
        before = ballast.wait_for_domains(len(guests))["node"]
        console.print(f"workloads for {duration_s:g} s")
        readings = _watch(ballast, guests, duration_s, chance)
        after = ballast.state()["node"]
        lines, evidence = judge(readings), [guest.evidence() for guest in guests]
        alive = [bool(guest.domain.isActive()) for guest in guests]
    _show(console, lines, after["reallocations_total"] - before["reallocations_total"])
    return faults(lines, [guest.spec.name for guest in guests], alive, evidence)


def _watch(ballast: BallastProcess, guests: Sequence[Guest], duration_s: float, chance: random.Random) -> list[Reading]:
    """New amounts now and then, and readings all the time. Raises LabError when Ballast ends or does not answer."""
    spacing = max(READING_S, duration_s / MOST_READINGS)
    start = time.monotonic()
    change_at = [0.0] * len(guests)
    readings: list[Reading] = []
    while (now := time.monotonic() - start) < duration_s:
        for number, guest in enumerate(guests):
            if now >= change_at[number]:
                change_at[number] = now + chance.expovariate(1 / WORKLOAD_S)
                guest.use(chance.randint(IDLE_MIB, BUSY_MIB), wait=False)
        ballast.state()
        try:
            readings.append(read(ballast.pid, now))
        except (OSError, KeyError) as error:
            raise LabError(f"Ballast is gone; its log ends:\n{ballast.log_tail()}") from error
        time.sleep(spacing)  # the time that is to pass between two readings
    return readings


def faults(
    lines: Sequence[TrendLine], names: Sequence[str], alive: Sequence[bool], evidence: Sequence[Evidence]
) -> list[str]:
    """What is wrong, a clause each; nothing is the verdict one hopes for."""
    grown = [f"{line.name} grew from {line.settled:g} to {line.last:g}" for line in lines if not line.flat]
    dead = [f"guest {name} is gone" for name, lives in zip(names, alive, strict=True) if not lives]
    harmed = [
        f"guest {name}: {seen.oom_kills} out-of-memory kills, {seen.panics} panics"
        for name, seen in zip(names, evidence, strict=True)
        if seen.oom_kills or seen.panics
    ]
    return grown + dead + harmed


def _show(console: Console, lines: Sequence[TrendLine], reallocations: int) -> None:
    table = Table("", "after settling", "at the end", "at most", "allowed", "")
    for line in lines:
        figures = (f"{value:.1f}" for value in (line.settled, line.last, line.most, line.allowed))
        table.add_row(line.name, *figures, "flat" if line.flat else "GREW")
    console.print(table)
    console.print(f"{reallocations} reallocations")


if __name__ == "__main__":
    main(prog_name="./hack/soak")

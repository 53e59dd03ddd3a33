"""Faults of what is around: the disk, the port and the clock."""

import os
import socket
import subprocess
import time
from pathlib import Path

from controller.host.pressure import MARK_FRACTION
from faulting.hostfault import HostFault
from faulting.smallhost import SmallHost
from faulting.stage import BUDGET_MIB, SPEC, Stage
from faulting.wounded import JUMP_AFTER_S
from lab.daemons import until

SMALL_HOST_MIB = 1280
"""Room for both guests, and something to eat."""
JUMP_SETTLES_S = 10.0
"""How long Ballast lives with the new time before anybody needs anything."""


def _disk_full(stage: Stage) -> float:
    disk = small_disk(stage, "disk")
    stage.log = disk / "ballast.log"
    stage.run()
    filler = fill(disk)
    since = time.monotonic()
    took = stage.served(stage.taker, since)
    filler.unlink()
    until(lambda: stage.ballast.state() is not None, 10, "Ballast answering")
    return took


def small_disk(stage: Stage, name: str) -> Path:
    """A file system of 64 KiB, mounted in the stage's folder under this name until the stage ends."""
    disk = stage.host.root / name
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "ballast-faults", str(disk)], check=True)
    stage.stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
    return disk


def fill(disk: Path) -> Path:
    """Leave no byte free; the file that takes it all."""
    filler = disk / "filler"
    descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
    try:
        for size in (4096, 1):
            while True:
                try:
                    os.write(descriptor, b"\0" * size)
                except OSError:
                    break
    finally:
        os.close(descriptor)
    return filler


def _memory_eaten(stage: Stage) -> float:
    host = stage.stack.enter_context(SmallHost(SMALL_HOST_MIB, stage.host.root / "proc", stage.watch))
    stage.proc = host.proc
    stage.rule(
        budget={"maximum": f"{BUDGET_MIB}Mi", "reserve": "64Mi"},
        advanced=SPEC["advanced"] | {"shrink": {"stabilizationSeconds": 600}},
    )
    stage.start()
    stage.ballast.wait_for_domains(2)  # they keep what they have, and not because one of them was short of it

    def pressed() -> bool:
        host.eat(until_mib=MARK_FRACTION * SMALL_HOST_MIB / 2)  # also what guests give back
        return bool(stage.ballast.state()["node"]["pressure"])

    stage.wait(pressed, "pressure noticed")
    stage.settle()
    host.give_back()
    return stage.served(stage.taker, time.monotonic())


def _port_taken(stage: Stage) -> float:
    """Recovered: a guest was served, and the page is there once the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        stage.start(port=squatter.getsockname()[1])
        stage.settle()
        took = stage.served(stage.taker, time.monotonic())
    stage.ballast.wait_for_domains(len(stage.guests))
    return took


def _clock(wound: str, stage: Stage) -> float:
    stage.start(wound)
    stage.ballast.wait_for_domains(2)
    stage.settle()
    time.sleep(JUMP_AFTER_S + JUMP_SETTLES_S)  # the jump comes by itself
    return stage.served(stage.taker, time.monotonic())


FAULTS = (
    HostFault(
        "host-memory-eaten",
        "a process eats the host's memory, with no /proc/pressure (made up: the host's size); then a guest grows",
        _memory_eaten,
    ),
    HostFault("disk-full", "Ballast's log on a full disk (it keeps nothing else) while a guest grows", _disk_full),
    HostFault(
        "port-taken", "somebody else listens at Ballast's port from before its start; a guest grows", _port_taken
    ),
    HostFault(
        "clock-forward",
        "the time of day jumps an hour ahead (made up: in Ballast's process, for it and new statistics)",
        lambda stage: _clock("clock-forward", stage),
    ),
    HostFault(
        "clock-back",
        "the time of day jumps an hour back (made up, likewise)",
        lambda stage: _clock("clock-back", stage),
    ),
)

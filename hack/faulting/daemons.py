"""Faults of the programs on the host: libvirtd and Ballast itself, killed or frozen."""

import os
import signal
import time

from faulting.hostfault import HostFault
from faulting.stage import NEED_MIB, Stage

FROZEN_S = 60.0


def _libvirtd_killed(stage: Stage) -> float:
    stage.run()
    stage.host.kill()
    stage.taker.use(NEED_MIB, wait=False)
    stage.wait(lambda: not _connected(stage), "loss of libvirtd noticed")
    stage.host.start()
    back = time.monotonic()
    for guest in stage.guests:
        guest.reconnect(stage.host)
    return stage.served(stage.taker, back)


def _libvirtd_frozen(stage: Stage) -> float:
    stage.run()
    os.kill(stage.host.pid, signal.SIGSTOP)
    try:
        stage.taker.use(NEED_MIB, wait=False)
        time.sleep(FROZEN_S)  # the length of the fault
    finally:
        os.kill(stage.host.pid, signal.SIGCONT)
    return stage.served(stage.taker, time.monotonic())


def _ballast_killed(wound: str, stage: Stage) -> float:
    stage.start(wound)
    stage.wait(stage.ballast.ended, "Ballast dead at its first order")
    restart = time.monotonic()
    stage.start()
    return stage.served(stage.taker, restart)


def _connected(stage: Stage) -> bool:
    return all(each["connected"] for each in stage.ballast.state()["connections"])


FAULTS = (
    HostFault("libvirtd-killed", "libvirtd SIGKILL and restart while a guest grows", _libvirtd_killed),
    HostFault("libvirtd-frozen", f"libvirtd SIGSTOP for {FROZEN_S:.0f} s while a guest grows", _libvirtd_frozen),
    HostFault(
        "ballast-killed-before-order",
        "Ballast SIGKILL at the call of a balloon order, restart",
        lambda stage: _ballast_killed("before-order", stage),
    ),
    HostFault(
        "ballast-killed-after-order",
        "Ballast SIGKILL when libvirt has taken the order, restart",
        lambda stage: _ballast_killed("after-order", stage),
    ),
)

"""Faults of the programs on the host: libvirtd and Ballast itself, killed or frozen."""

import time
from functools import partial

import libvirt

from faulting.hostfault import HostFault
from faulting.stage import NEED_MIB, Stage

FROZEN_S = 60.0
KILLS = {
    "before-look": "with a look in its hands",
    "after-decision": "when it has decided, before any order",
    "before-order": "at the call of a balloon order",
    "after-order": "when libvirt has taken the order",
    "before-grow": "between a shrink and the grow that it pays for",
    "while-moving": "while the balloon moves",
}
"""Stages of a reallocation that Ballast does not live through: wounds, and what they come to."""


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
    with stage.host.frozen():
        stage.taker.use(NEED_MIB, wait=False)
        time.sleep(FROZEN_S)  # the length of the fault
    return stage.served(stage.taker, time.monotonic())


def _ballast_killed(wound: str, stage: Stage) -> float:
    stage.taker.use(NEED_MIB, wait=False)
    stage.start(wound)
    stage.wait(stage.ballast.ended, f"Ballast dead ({wound})")
    restart = time.monotonic()
    stage.start()
    return stage.served(stage.taker, restart)


def _ballast_killed_with_a_period_set(stage: Stage) -> float:
    stage.giver.domain.setMemoryStatsPeriod(0, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return _ballast_killed("period-set", stage)


def _connected(stage: Stage) -> bool:
    return all(each["connected"] for each in stage.ballast.state()["connections"])


FAULTS = (
    HostFault("libvirtd-killed", "libvirtd SIGKILL and restart while a guest grows", _libvirtd_killed),
    HostFault("libvirtd-frozen", f"libvirtd SIGSTOP for {FROZEN_S:.0f} s while a guest grows", _libvirtd_frozen),
    *(
        HostFault(f"ballast-killed-{wound}", f"Ballast SIGKILL {when}, restart", partial(_ballast_killed, wound))
        for wound, when in KILLS.items()
    ),
    HostFault(
        "ballast-killed-period-set",
        "Ballast SIGKILL when it has just set a guest's statistics period, restart",
        _ballast_killed_with_a_period_set,
    ),
)

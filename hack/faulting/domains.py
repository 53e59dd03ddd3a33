"""Faults of the guests, and what their owners do to them."""

import re
import time
from functools import partial
from typing import Any

import libvirt

from faulting.hostfault import HostFault
from faulting.judge import TOLERANCE_MIB
from faulting.log import remarks
from faulting.stage import BUDGET_MIB, NEED_MIB, REST_MIB, SPEC, Stage
from lab.errors import LabError
from lab.guest import MIB, Guest, virtio_mem
from lab.hoarder import hoarding_emulator

OUTSIDE_MIB = 320
"""What somebody else sets: neither what Ballast wants nor the maximum."""
HOLD_S = 25.0
"""An outside change is respected for 30 s at least; it was noticed within a few."""
PAUSE_S = 10.0
CLUTTER = 100_000
"""Files, each of 1.2 KiB; a fifth of that counts as available, and cannot be given up."""
KEEN: dict[str, Any] = {
    "headroom": {"quantity": "12Mi"},
    "advanced": SPEC["advanced"] | {"threshold": {"percent": 1, "quantity": "4Mi"}},
}
"""Of the policy: all that a guest promises is taken."""
DOUBT_S = 75.0
"""A stuck balloon is tried again after a minute, but not for what the guest could not give up."""
OBSERVED_S = 15.0
"""In force, a guest in need is grown within five."""
PLUGGED_MIB = 256
BEYOND_MIB = 440
"""What the guest holds then: more than it had in all, and than it has without being given more."""
DEVICE_MIB = 256
"""Of virtio-mem, beside what the balloon holds."""
RAMP_TO_MIB, RAMP_STEP_MIB, RAMP_EVERY_S = 520, 20, 1.0
"""More than the guest of 512 MiB has without its device."""
HOARDER_MIB, TOUCHED_MIB = 640, 480
"""Maximum of a guest that gives nothing back, and what of it was in use once: a shrink tells from 256 MiB on, so much
may be QEMU's own."""
HELD_S = 20.0
"""A guest that works is shrunk within five."""
EDGE_MIB = 20
"""Less is no step of a size."""
FLAPS = 6
FLAP_S = 4.0
"""Half a period of the guest that flaps: longer than a look, shorter than a stabilisation."""


def _begun(stage: Stage) -> None:
    """Ballast in the middle of a step: a shrink of the giver has been ordered."""
    stage.start()
    stage.ballast.wait_for_domains(2)
    stage.wait(lambda: stage.domain(stage.giver).get("reallocations", 0) >= 1, "a step begun")


def _set_from_outside(stage: Stage) -> float:
    stage.run()
    stage.set_from_outside(stage.taker, OUTSIDE_MIB)
    stage.wait(
        lambda: stage.watch.allocation(stage.taker.uuid) > OUTSIDE_MIB - EDGE_MIB, "the balloon as somebody set it"
    )
    since, changed = time.monotonic(), time.time()
    stage.reported(stage.taker, "OutsideChange")
    stage.wait(
        lambda: stage.watch.allocation(stage.taker.uuid) < OUTSIDE_MIB - EDGE_MIB, "managed again after the hold"
    )
    if any(changed <= order.at < changed + HOLD_S for order in stage.orders(stage.taker)[-1]):
        raise LabError(f"somebody's change was fought within {HOLD_S:.0f} s")
    return time.monotonic() - since


def _destroyed(stage: Stage) -> float:
    _begun(stage)
    stage.giver.domain.destroy()
    since = time.monotonic()
    return stage.served(stage.taker, since)


def _paused(stage: Stage) -> float:
    _begun(stage)
    stage.giver.domain.suspend()
    stage.reported(stage.giver, "Paused")
    time.sleep(PAUSE_S)  # the length of the fault
    stage.giver.domain.resume()
    return stage.served(stage.giver, time.monotonic())


def _rebooted(stage: Stage) -> float:
    _begun(stage)
    boots = _boots(stage.giver)
    since = time.time()
    stage.giver.domain.reset()
    stage.wait(lambda: f"{stage.giver.spec.name}: Booting" in remarks(stage.log, since), "giver reported as Booting")
    stage.wait(lambda: _boots(stage.giver) > boots, "guest up again")
    stage.wait(lambda: stage.small(stage.giver), "its balloon where it was before")
    _of_nobody(stage)
    return stage.served(stage.giver, time.monotonic())


def _of_nobody(stage: Stage) -> None:
    """What the giver's balloon did by itself must not be held against anybody."""
    if f"{stage.giver.spec.name}: OutsideChange" in remarks(stage.log, 0):
        raise LabError("what a balloon did by itself was taken for somebody's change")


def _boots(guest: Guest) -> int:
    return sum(event.word == "ready" for event in guest.events())


def _redefined(stage: Stage) -> float:
    _begun(stage)
    stage.giver.domain.undefine()
    stage.giver.domain.destroy()
    stage.replace_giver()
    _of_nobody(stage)
    return stage.served(stage.giver, time.monotonic())


def _saved(stage: Stage) -> float:
    _begun(stage)
    _save_and_restore(stage)
    _of_nobody(stage)
    return stage.served(stage.giver, time.monotonic())


def _saved_with_a_period(stage: Stage) -> float:
    """Recovered: also, at Ballast's end the period is off again."""
    stage.giver.domain.setMemoryStatsPeriod(0, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    stage.run()
    if _period(stage.giver) is None:
        raise LabError("Ballast did without the period")
    _save_and_restore(stage)
    took = stage.served(stage.giver, time.monotonic())
    stage.ballast.stop()
    if left := _period(stage.giver):
        raise LabError(f"a period of {left} s was left behind")
    stage.start()  # for the judge, who asks it
    stage.ballast.wait_for_domains(1)
    return took


def _period(guest: Guest) -> str | None:
    """Seconds between its statistics; None where they are off."""
    found = re.search(r"<stats period='(\d+)'/>", guest.domain.XMLDesc())
    return found[1] if found and found[1] != "0" else None


def _save_and_restore(stage: Stage) -> None:
    file = str(stage.host.root / "guests" / "saved")
    stage.giver.domain.save(file)
    connection = stage.host.connect()
    connection.restore(file)
    connection.close()
    stage.giver.rejoin(stage.host)


def _panicked(stage: Stage) -> float:
    _begun(stage)
    stage.giver.panic()
    since = time.monotonic()
    stage.reported(stage.giver, "StaleStatistics")
    return time.monotonic() - since  # nobody gets its memory: it keeps what it has, and what it was promised


def _gives_nothing(stage: Stage) -> float:
    stiff = stage.join("stiff", maximum=256, current=None, swap=0)
    stiff.clutter(CLUTTER)
    stage.rule(**KEEN, budget={"maximum": f"{BUDGET_MIB + stiff.spec.maximum - REST_MIB}Mi"})
    stage.start()
    stage.ballast.wait_for_domains(3)
    stage.reported(stiff, "Stuck")
    stuck = time.time()
    took = stage.served(stage.taker, time.monotonic())
    size = stage.domain(stiff)["allocation"] / MIB
    time.sleep(max(stuck + DOUBT_S - time.time(), 0.0))  # what is not to happen would have happened by then
    if any(order.at > stuck and order.target < size - EDGE_MIB for order in stage.orders(stiff)[-1]):
        raise LabError(f"asked within {DOUBT_S:.0f} s for what it could not give up")
    return took


def _observed(stage: Stage) -> float:
    """Recovered: from when the policy is in force again. In between the guest is given back what it had."""
    stiff = stage.join("stiff", maximum=256, current=None, swap=0)
    stiff.clutter(CLUTTER)
    keen = KEEN | {"budget": {"maximum": f"{BUDGET_MIB + stiff.spec.maximum}Mi"}}
    stage.rule(**keen)
    stage.start()
    stage.wait(lambda: stage.distance(stiff) > EDGE_MIB, "a shrink under way")
    stage.rule(**keen, mode="Observe")
    stage.wait(partial(_given_back, stage, stiff), "the guest given back what it had")
    stage.taker.use(NEED_MIB, wait=False)
    ended = time.time()
    time.sleep(OBSERVED_S)  # what is not to happen would have happened by then
    if any(order.at > ended for guest in stage.guests for order in stage.orders(guest)[-1]):
        raise LabError("a balloon was ordered in Observe")
    stage.rule(**keen)
    return stage.served(stage.taker, time.monotonic())


def _given_back(stage: Stage, guest: Guest) -> bool:
    """Its last order takes back all that the one before asked for, and its balloon is there."""
    told = [float(guest.spec.maximum), *(order.target for order in stage.orders(guest)[-1])]
    back = len(told) > 2 and told[-2] < told[-1] >= told[-3] - TOLERANCE_MIB
    return back and stage.distance(guest) <= TOLERANCE_MIB


def _plugged(stage: Stage) -> float:
    grown = stage.join("grown", slots=True)
    stage.start()
    stage.ballast.wait_for_domains(3)
    stage.wait(lambda: stage.domain(grown)["reallocations"] > 0, "grown made small")
    stage.reported(grown, "WithinThreshold")

    def size() -> float:
        return stage.watch.allocation(grown.uuid)

    with_plugged = stage.domain(grown)["allocation"] / MIB + PLUGGED_MIB
    grown.plug(PLUGGED_MIB)
    stage.wait(lambda: stage.domain(grown)["maximum"] > grown.spec.maximum * MIB, "the new maximum known")
    stage.wait(lambda: size() > with_plugged - EDGE_MIB, "what was plugged in, on top of the balloon's size")
    since = time.monotonic()
    grown.use(BEYOND_MIB, wait=False)
    stage.wait(lambda: size() > with_plugged + EDGE_MIB, "given more than that")
    return time.monotonic() - since


def _virtio_mem(stage: Stage) -> float:
    owner = stage.join("resizable", maximum=512, slots=True, current=None, swap=0, devices=virtio_mem(DEVICE_MIB))
    stage.rule(budget={"maximum": f"{BUDGET_MIB + owner.spec.maximum + DEVICE_MIB}Mi"})
    stage.start()
    stage.ballast.wait_for_domains(2)
    stage.reported(owner, "MemoryDevices")
    for mib in range(REST_MIB, RAMP_TO_MIB + 1, RAMP_STEP_MIB):
        owner.use(mib)
        time.sleep(RAMP_EVERY_S)  # the ramp's pace
    if owner.evidence().oom_kills or any(stage.orders(owner)):
        raise LabError(f"its balloon was ordered {stage.orders(owner)}, of its OOM killer {owner.evidence()}")
    return stage.served(stage.taker, time.monotonic())


def _hoards(stage: Stage) -> float:
    """Recovered: from when the hoarder needs more until it has that."""
    emulator = hoarding_emulator(stage.host.root / "guests")
    hoarder = stage.join("hoarder", maximum=HOARDER_MIB, current=None, emulator=str(emulator))
    stage.rule(budget={"maximum": f"{BUDGET_MIB + HOARDER_MIB}Mi"})
    for mib in (*range(0, TOUCHED_MIB, TOUCHED_MIB // 4), TOUCHED_MIB, REST_MIB):
        hoarder.use(mib)
    stage.start()
    stage.ballast.wait_for_domains(3)
    stage.reported(hoarder, "NotReturned")
    found = time.time()
    stage.wait(lambda: stage.distance(hoarder) <= TOLERANCE_MIB, "its balloon at rest")
    for guest in (stage.giver, stage.taker):
        stage.wait(partial(stage.small, guest), f"{guest.spec.name} shrunk to its need")
    time.sleep(HELD_S)  # what is not to happen would have happened by then
    size = stage.watch.allocation(hoarder.uuid)
    if any(order.at > found and order.target < size - EDGE_MIB for order in stage.orders(hoarder)[-1]):
        raise LabError("shrunk on, though the host got nothing back")
    return stage.served(hoarder, time.monotonic(), int(size))


def _flaps(stage: Stage) -> float:
    stage.run()
    for _ in range(FLAPS):
        for mib in (NEED_MIB, REST_MIB):
            stage.giver.use(mib, wait=False)
            time.sleep(FLAP_S)  # the guest's rhythm
    return stage.served(stage.taker, time.monotonic())


FAULTS = (
    HostFault(
        "guest-gives-nothing",
        "promises memory that its balloon cannot get; another guest is in need",
        _gives_nothing,
    ),
    HostFault(
        "guest-not-returned",
        f"its QEMU keeps all {TOUCHED_MIB} MiB it has touched, whatever the balloon takes (madvise does nothing there)",
        _hoards,
    ),
    HostFault("memory-plugged-in", f"{PLUGGED_MIB} MiB plugged in, and used beyond the old maximum", _plugged),
    HostFault(
        "guest-virtio-mem",
        f"{DEVICE_MIB} MiB of virtio-mem beside its balloon; it fills them by {RAMP_STEP_MIB} MiB/s",
        _virtio_mem,
    ),
    HostFault("outside-setmem", f"someone else's `virsh setmem` to {OUTSIDE_MIB} MiB", _set_from_outside),
    HostFault("guest-destroyed", "destroyed while it shrinks", _destroyed, frozenset({"giver"})),
    HostFault("guest-paused", f"paused for {PAUSE_S:.0f} s while it shrinks", _paused),
    HostFault("guest-rebooted", "reset while it shrinks", _rebooted),
    HostFault("guest-redefined", "destroyed, undefined and defined again under its name, mid-step", _redefined),
    HostFault("guest-saved", "saved and restored while it shrinks", _saved),
    HostFault(
        "guest-saved-with-period",
        "saved and restored with a statistics period that Ballast has set; SIGTERM later",
        _saved_with_a_period,
    ),
    HostFault("observe-while-shrinking", "the policy changed to Observe while a guest shrinks, and back", _observed),
    HostFault("guest-panicked", "kernel panic, statistics frozen", _panicked, frozenset({"giver"})),
    HostFault("guest-flaps", f"{FLAPS} times up and down by {NEED_MIB - REST_MIB} MiB, {FLAP_S:.0f} s each", _flaps),
)

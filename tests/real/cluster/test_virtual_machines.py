"""Virtual machines of ten pods under one policy: real guests, each with a libvirt of its own, on a real kubelet."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import pairwise
from signal import SIGCONT, SIGSTOP

import libvirt
import pytest
from installation import PATIENCE_S
from virtualization import MIB, ROOMY, STEP_MIB, THRESHOLD_MIB, InstalledNearKubevirt, grow

from controller.host.errorhints import explain_freeze
from lab.daemons import until
from lab.guest import Guest
from lab.kubernetes.virtlauncher import LIBVIRT, QEMU, VirtLauncher

PODS = 10
"""Each takes five seconds of a processor to boot, and a twentieth of one from then on."""
MEMORY_MIB, PROMISED_MIB = 256, 144
"""Of each guest, and of that by its pod's request: more than it needs at rest."""
BUDGET_MIB = PODS * PROMISED_MIB + 200
"""What two workloads at a time need, and three do not."""
IDLE_MIB = 10
HELD_MIB = range(IDLE_MIB + STEP_MIB, 91, STEP_MIB)
"""What a workload holds, step by step."""
BUSY_MIB = 50
"""With which it wants more than its guest was promised, and has room for at rest."""


class VirtualMachines:
    """PODS pods with their guests, ready."""

    def __init__(self, site: InstalledNearKubevirt, stack: ExitStack) -> None:
        self.site = site
        self.launchers = [start(site, f"web-{number}") for number in range(PODS)]
        self.guests = [stack.enter_context(closing(each.guest())) for each in self.launchers]
        for guest in self.guests:
            guest.wait_booted()

    def enforce(self, budget: int = BUDGET_MIB) -> None:
        """The policy of all of them, with so many MiB to give."""
        self.site.enforce(budget={"maximum": f"{budget}Mi"}, **ROOMY)

    def sizes(self) -> list[int]:
        """MiB of their balloons, by QEMU's word: libvirt hears of a shrink later than of a grow that it paid for."""
        return [guest.actual() for guest in self.guests]

    def rest(self, *guests: Guest) -> None:
        """Workloads of these guests end, of all if none is named, and each has what it was promised."""
        guests = guests or tuple(self.guests)
        for guest in guests:
            guest.use(IDLE_MIB)
        most = PROMISED_MIB + THRESHOLD_MIB
        until(lambda: max(map(Guest.recorded, guests)) <= most, PATIENCE_S, "all at rest")

    def errors(self) -> dict[str, str]:
        """By name, what is wrong with connections to pods' libvirts, where something is."""
        return {name: error for name, error in self.site.connections().items() if error}


def start(site: InstalledNearKubevirt, name: str, *, target: bool = False) -> VirtLauncher:
    """A pod as all of them."""
    return site.start(name, memory=MEMORY_MIB, promised=PROMISED_MIB, target=target)


def on_its_way(guest: Guest) -> bool:
    """It migrates."""
    return bool(guest.domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)


@pytest.fixture(scope="module")
def fleet(running: InstalledNearKubevirt) -> Iterator[VirtualMachines]:
    with ExitStack() as stack:
        yield VirtualMachines(running, stack)
    running.kubectl("delete", "mpol", "--all")


def test_ten_guests_move_memory_among_them_within_the_budget_and_keep_what_their_pods_request(fleet):
    fleet.enforce()
    fleet.rest()
    samples: list[list[int]] = []
    first, second = fleet.guests[:2], fleet.guests[5:7]
    for takers, givers in ((first, second), (second, first)):
        for guest in givers:
            guest.use(IDLE_MIB)
        grow(takers, HELD_MIB, lambda: samples.append(fleet.sizes()))
    # Guests are asked one after the other: between two rounds each had at least the smaller of its two sizes.
    assert max(sum(map(min, *two)) for two in pairwise(samples)) <= BUDGET_MIB
    assert min(map(min, samples)) >= PROMISED_MIB
    assert {guest.evidence().oom_kills for guest in fleet.guests} == {0}
    assert fleet.site.state()["node"]["budget"] == BUDGET_MIB * MIB


def test_a_libvirt_that_hangs_is_named_and_guests_of_other_pods_get_what_they_need(fleet):
    """How long a look may wait is measured by `./hack/bench connections`."""
    hung, name = fleet.launchers[0], f"default/{fleet.launchers[0].name}"
    fleet.enforce()
    fleet.rest()
    hung.signal(LIBVIRT, SIGSTOP)
    try:
        until(lambda: fleet.errors() == {name: explain_freeze(name)}, PATIENCE_S, "it, and no other, told of")
        before = fleet.site.looks()[hung.name]
        grow(fleet.guests[1:3], HELD_MIB)
        assert fleet.site.looks()[hung.name] == before
        assert fleet.errors()[name] == explain_freeze(name)
    finally:
        hung.signal(LIBVIRT, SIGCONT)
    fleet.site.until_looked_at(hung)
    until(lambda: name not in fleet.errors(), PATIENCE_S, "no longer told of")


def test_a_virtual_machine_whose_pod_opts_out_keeps_what_it_has_also_while_the_agent_starts_anew(fleet):
    out, guest, *others = fleet.launchers[3], fleet.guests[3], *fleet.guests[:2]
    fleet.enforce()
    fleet.rest()
    before = guest.recorded()
    fleet.site.annotate(out, "ballast.dev/mode=Off")
    until(lambda: fleet.site.reasons(out) == {"OptedOut"}, PATIENCE_S, "left alone")
    guest.use(BUSY_MIB)
    grow(others, HELD_MIB)
    fleet.site.restart_agent()
    fleet.site.until_looked_at(*fleet.launchers[:2], times=10)
    assert fleet.site.reasons(out) == {"OptedOut"}
    assert (guest.recorded(), fleet.site.orders(out)) == (before, [])
    fleet.site.annotate(out, "ballast.dev/mode-")
    guest.wait_until(lambda guest: guest.recorded() > before, PATIENCE_S, "minded again")


def test_memory_of_a_pod_that_is_evicted_amid_a_move_goes_to_those_who_wait_for_it(fleet):
    """Its guest starts with more than the budget has left, and stops when it has given back the first of it."""
    takers = fleet.guests[:2]
    fleet.enforce()
    fleet.rest()
    leaving = fleet.site.start("leaving", memory=2 * MEMORY_MIB, promised=PROMISED_MIB)
    with closing(leaving.guest()) as guest:
        until(lambda: guest.recorded() < 2 * MEMORY_MIB, PATIENCE_S, "its move")
        leaving.signal(QEMU, SIGSTOP)
        for taker in takers:
            taker.use(BUSY_MIB)
        fleet.site.until_looked_at(*fleet.launchers, times=5)
        assert max(map(Guest.recorded, takers)) <= PROMISED_MIB + THRESHOLD_MIB
        leaving.evict()
    grow(takers, HELD_MIB)
    fleet.site.until_seen(*fleet.launchers)
    until(lambda: fleet.site.state()["node"]["allocated"] == sum(fleet.sizes()) * MIB, PATIENCE_S, "all accounted for")
    assert sum(fleet.sizes()) <= BUDGET_MIB
    assert set(fleet.site.connections()) == {f"default/{each.name}" for each in fleet.launchers}


def test_a_guest_on_its_way_to_another_pod_is_left_alone_there_and_here_and_seen_to_when_it_has_come(fleet):
    """With all of its memory, by a policy of its own until it is on its way."""
    whole = {"virtualMachineInstanceSelector": {"matchLabels": {"vm.kubevirt.io/name": "moving"}}}
    fleet.enforce(budget=BUDGET_MIB + 2 * MEMORY_MIB)
    fleet.site.apply("whole", mode="Enforce", priority=1, selectors=whole, limits={"minimumPercent": 100})
    source, target = start(fleet.site, "moving"), start(fleet.site, "moving", target=True)
    with closing(source.guest()) as guest, ThreadPoolExecutor() as pool:
        guest.wait_booted()
        guest.use(IDLE_MIB)
        fleet.site.until_looked_at(source, times=5)
        migration = pool.submit(source.migrate, target.wait_up())
        until(lambda: migration.done() or on_its_way(guest), PATIENCE_S, "on its way")
        fleet.site.kubectl("delete", "mpol", "whole")
        until(lambda: fleet.site.reasons(source) == {"Busy"}, PATIENCE_S, "left alone")
        fleet.site.until_looked_at(*fleet.launchers, times=5)
        assert not migration.done(), migration.result()
        assert (guest.recorded(), fleet.site.orders(source)) == (MEMORY_MIB, [])
        source.hurry()
        migration.result(PATIENCE_S)
    with closing(target.guest()) as come:
        come.wait_until(lambda come: come.recorded() <= PROMISED_MIB + THRESHOLD_MIB, PATIENCE_S, "seen to")
        assert (come.uuid, come.evidence().oom_kills) == (guest.uuid, 0)
        fleet.site.until_seen(target, *fleet.launchers)
    target.delete()


def test_a_guest_never_gets_more_than_the_memory_limit_of_its_pod_leaves_it(fleet):
    limit = 448
    large = fleet.site.start("large", memory=512, limit=limit)
    with closing(large.guest()) as guest:
        assert large.memory_limit() == limit * MIB
        fleet.site.enforce(spare="Share")
        room = limit - 64 - 1
        guest.wait_until(lambda guest: guest.actual() <= room, PATIENCE_S, "no more than its pod has room for")
        fleet.site.enforce()
        guest.wait_until(lambda guest: guest.actual() < 200, PATIENCE_S, "shrunk")
        fleet.site.enforce(spare="Share")
        guest.wait_until(lambda guest: guest.actual() >= room, PATIENCE_S, "grown as far as it may be")
        fleet.site.until_looked_at(large, times=3)
        until(lambda: room in fleet.site.orders(large), PATIENCE_S, "that order in the log")
        assert max(fleet.site.orders(large)) == room == guest.actual()
    large.delete()

"""Virtual machines of several pods under one policy: real guests, each with a libvirt of its own, on a real kubelet."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

import pytest
from installation import PATIENCE_S
from virtualization import MIB, InstalledNearKubevirt

from lab.daemons import until
from lab.guest import Guest
from lab.kubernetes.virtlauncher import VirtLauncher

pytestmark = pytest.mark.timeout(900)
"""Seconds of a test, and of what is started for the first of them: on a busy machine guests boot for minutes."""

PODS = 4
"""Each takes five seconds of a processor to boot, and a twentieth of one from then on."""
MEMORY_MIB, PROMISED_MIB = 320, 176
"""Of each guest, and of that by its pod's request: more than it needs at rest."""
THRESHOLD_MIB = 10
"""By how much more a guest at rest may have: so little is not worth a move."""
BUDGET_MIB = PODS * PROMISED_MIB + 250
"""What two workloads at a time need, and three do not."""
HELD_MIB = (100, 120, 140)
"""What a workload holds, step by step: without swap, the next has to have room when it comes."""
ROOM_MIB = 100
"""Beside what its workload holds: its kernel's own, and the next step."""
IDLE_MIB = 10
HEADROOM_MIB = 64


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
        self.site.enforce(
            budget={"maximum": f"{budget}Mi"},
            headroom={"quantity": f"{HEADROOM_MIB}Mi"},
            threshold={"percent": 1, "quantity": f"{THRESHOLD_MIB}Mi"},
        )

    def rest(self, *guests: Guest) -> None:
        """Workloads of these guests end, of all if none is named, and each has what it was promised."""
        guests = guests or tuple(self.guests)
        for guest in guests:
            guest.use(IDLE_MIB)
        most = PROMISED_MIB + THRESHOLD_MIB
        until(lambda: max(map(size, guests)) <= most, PATIENCE_S, "all at rest")


def start(site: InstalledNearKubevirt, name: str) -> VirtLauncher:
    """A pod as all of them."""
    return site.start(name, memory=MEMORY_MIB, promised=PROMISED_MIB)


def size(guest: Guest) -> int:
    """MiB of its balloon, by libvirt's last word: QEMU is not asked."""
    return int(guest.domain.info()[2]) // 1024


@pytest.fixture(scope="module")
def fleet(running: InstalledNearKubevirt) -> Iterator[VirtualMachines]:
    with ExitStack() as stack:
        yield VirtualMachines(running, stack)
    running.kubectl("delete", "mpol", "--all")


def take(guests: Sequence[Guest]) -> None:
    """Their workloads grow, all at a time, as far as HELD_MIB; returns when all have the memory for it."""
    for held in HELD_MIB:
        for guest in guests:
            guest.use(held)

        def grown(wanted: int = held + ROOM_MIB) -> bool:
            return all(size(guest) >= wanted for guest in guests)

        until(grown, PATIENCE_S, f"{[guest.spec.name for guest in guests]} grown for {held} MiB")


def test_a_virtual_machine_whose_pod_opts_out_keeps_what_it_has_also_while_the_agent_starts_anew(fleet):
    out, guest, *others = fleet.launchers[3], fleet.guests[3], *fleet.guests[:2]
    fleet.enforce()
    fleet.rest()
    before = size(guest)
    fleet.site.annotate(out, "ballast.dev/mode=Off")
    until(lambda: fleet.site.reasons(out) == {"OptedOut"}, PATIENCE_S, "left alone")
    guest.use(HELD_MIB[0])
    take(others)
    fleet.site.restart_agent()
    fleet.site.until_looked_at(*fleet.launchers[:2], times=10)
    assert fleet.site.reasons(out) == {"OptedOut"}
    assert (size(guest), fleet.site.orders(out)) == (before, [])
    fleet.site.annotate(out, "ballast.dev/mode-")
    guest.wait_until(lambda guest: size(guest) > before, PATIENCE_S, "minded again")


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
        assert max(fleet.site.orders(large)) == room == guest.actual()
    large.delete()

"""What the host feels of real guests between looks."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import pytest

from controller.engine.inventory import DomainFacts
from controller.host.host import LibvirtHost
from controller.host.resident import Resident
from controller.host.senses import Feelings
from controller.host.sources import fixed
from lab.daemons import until
from lab.guest import GuestSpec
from lab.libvirtd import PrivateLibvirtd

MIB = 2**20
FELT_S = 60.0
"""Deadline; 0.2 s on an idle machine."""
STALL_S = 180.0
"""Deadline for a trigger whose window is 2 s."""
GROWTH_MIB = 100
NEW_PART = 0.4
"""Of that at least: some of it the guest had in use when it booted, and it is QEMU's already."""
CGROUPS = Path("/sys/fs/cgroup")
LIMIT_MIB = 32
NOBODY = 65534
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
QEMU = ["sh", "-c", "echo; read line", "-uuid", UUID, "-display"]
"""Called as it is."""
FACTS = DomainFacts("a", UUID, "a", 1, MIB, MIB)


@pytest.fixture
def host(private_libvirtd: PrivateLibvirtd) -> Iterator[Callable[[], LibvirtHost]]:
    """`host()` after the guests are up, when each of them can be felt."""
    hosts: list[LibvirtHost] = []

    def start() -> LibvirtHost:
        hosts.append(LibvirtHost(fixed([private_libvirtd.uri])))
        hosts[-1].start()
        until(lambda: known(hosts[-1].feel()), FELT_S, "resident sizes")
        return hosts[-1]

    yield start
    for each in hosts:
        each.close()


def known(feelings: Feelings) -> bool:
    return len(feelings.keys) > 0 and bool((feelings.resident > 0).all())


def felt(host: LibvirtHost, key: str, woken: set[str]) -> float:
    """MiB that are resident, once the guest has been felt to grow; 0 before. Who was is put into `woken`."""
    feelings = host.feel()
    woken |= feelings.woke
    return float(feelings.resident[feelings.keys.index(key)]) / MIB if key in woken else 0.0


@pytest.mark.parametrize("backing", ["", "<source type='memfd'/><access mode='shared'/>"], ids=["anonymous", "memfd"])
def test_what_a_guest_takes_into_use_is_felt(start_guests, host, backing):
    (guest,) = start_guests(GuestSpec("grower", backing=backing))
    watched = host()
    (key,) = [facts.key for facts in watched.inventory()]
    before, woken = float(watched.feel().resident[0]) / MIB, set()
    guest.use(GROWTH_MIB)
    until(lambda: felt(watched, key, woken) > before + NEW_PART * GROWTH_MIB, FELT_S, "felt")


def test_while_libvirtd_is_frozen_guests_are_felt(start_guests, host, private_libvirtd):
    (guest,) = start_guests(GuestSpec("grower"))
    watched = host()
    (key,) = [facts.key for facts in watched.inventory()]
    with private_libvirtd.frozen():
        guest.use(GROWTH_MIB)
        woken: set[str] = set()
        until(lambda: felt(watched, key, woken) > GROWTH_MIB, FELT_S, "felt")
        assert watched.senses()[0].domains == 1


def test_a_qemu_whose_cgroup_stalls_is_felt_and_no_longer_when_it_has_ended(start_guests, host, private_libvirtd):
    (guest,) = start_guests(GuestSpec("stalling"))
    with limited("machine-qemu-stalling.scope", private_libvirtd.qemu(guest.spec.name)) as stall:
        watched = host()
        pressure = watched.senses()[1]
        assert (pressure.name, pressure.domains, pressure.trouble) == ("pressure", 1, "")
        stall()
        until(lambda: watched.feel().stalled == {watched.inventory()[0].key}, STALL_S, "stalled")
        guest.domain.destroy()
        until(lambda: watched.senses()[1].domains == 0, FELT_S, "gone")


@pytest.mark.parametrize("hidepid", ["noaccess", "invisible", "ptraceable"])
def test_a_proc_that_hides_others_is_told_as_such_to_who_is_not_let_in(tmp_path, hidepid):
    with seen_by_nobody(hidepid, tmp_path) as (proc, resident):
        told = f"{proc} hides processes of others (hidepid, ProtectProc)"
        assert resident.entries["a"].trouble.startswith(told)


def test_a_proc_that_hides_others_shows_them_to_its_group(tmp_path):
    with seen_by_nobody(f"invisible,gid={NOBODY}", tmp_path) as (_, resident):
        assert resident.entries["a"].trouble == ""
        assert resident.read()[0] > 0


@contextmanager
def seen_by_nobody(hidepid: str, pid_files: Path) -> Iterator[tuple[Path, Resident]]:
    """What an unprivileged Ballast finds of a process that is root's."""
    with hiding(hidepid) as proc, subprocess.Popen(QEMU, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # it is no longer on its way from fork to exec
        resident = Resident(proc, pid_files)
        try:
            with unprivileged():
                resident.watch([FACTS])
            yield proc, resident
        finally:
            resident.close()
            process.kill()


@contextmanager
def hiding(hidepid: str) -> Iterator[Path]:
    """A /proc mounted with that option, which everybody may enter."""
    folder = Path(mkdtemp())
    folder.chmod(0o755)
    subprocess.run(["mount", "-t", "proc", "-o", f"hidepid={hidepid}", "proc", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom nobody lets in."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextmanager
def limited(name: str, pid: int) -> Iterator[Callable[[], None]]:
    """A cgroup of v2 with the process in it; the function starts another there that must reclaim all it reads."""
    if (CGROUPS / "unified").exists():
        cgroup, limit = CGROUPS / "unified" / name, CGROUPS / "memory" / name / "memory.limit_in_bytes"
    else:
        (CGROUPS / "cgroup.subtree_control").write_text("+memory")
        cgroup, limit = CGROUPS / name, CGROUPS / name / "memory.max"
    for folder in {cgroup, limit.parent}:
        folder.mkdir()
    (cgroup / "cgroup.procs").write_text(str(pid))
    limit.write_text(str(LIMIT_MIB * MIB))
    enter = "".join(f"echo $$ > {folder}/cgroup.procs; " for folder in (cgroup, limit.parent))
    image = Path("/tmp") / name  # noqa: S108 - a disk: in /dev/shm pages could not be reclaimed
    write = f"while :; do dd if=/dev/zero of={image} bs=1M count={4 * LIMIT_MIB} status=none; done"
    writers: list[subprocess.Popen[bytes]] = []
    try:
        yield lambda: writers.append(subprocess.Popen(["sh", "-c", enter + write]))
    finally:
        for each in writers:
            each.kill()
            each.wait()
        until(lambda: vacated(cgroup, limit.parent), FELT_S, "empty")
        for folder in {cgroup, limit.parent}:
            folder.rmdir()
        image.unlink(missing_ok=True)


def vacated(*cgroups: Path) -> bool:
    """Move what is left into the cgroup above; whether nothing was."""
    left = [(each, pid) for each in cgroups for pid in (each / "cgroup.procs").read_text().split()]
    for cgroup, pid in left:
        with suppress(ProcessLookupError):  # it has ended
            (cgroup.parent / "cgroup.procs").write_text(pid)
    return not left

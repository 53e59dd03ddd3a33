"""The host's effects on real guests: what is seen, what is moved, and what hangs without hanging anything else."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest

from controller.api.wishes import NAMESPACE
from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.engine.snapshot import RunState, Samples
from controller.host import looker
from controller.host.calls import LIMIT
from controller.host.host import LibvirtHost
from controller.host.looker import LOOK_S
from controller.host.marks import MARK_NAMESPACE
from controller.host.sources import fixed
from lab.daemons import until
from lab.guest import SLOW_MIB, Guest, GuestSpec, hurry, virtio_mem
from lab.libvirtd import PrivateLibvirtd, give_to_guests

MIB = 2**20
PATIENCE_S = 60.0


class HostWithGuests:
    """A Host on the private libvirtd. It waits for whoever answers, however busy the machine is; `hurried`, as long as
    Ballast does.
    """

    def __init__(self, uri: str, *, hurried: bool = False) -> None:
        self.woken = threading.Condition()
        self._uri = uri
        self.host = LibvirtHost(fixed([uri]), wake=self.wake)
        if not hurried:
            self.be_patient()
        self.host.start()
        self.until(lambda: self.host.status()[0].connected)

    def be_patient(self) -> None:
        """From now on."""
        self.host._looker._seconds = (LOOK_S[0], PATIENCE_S, PATIENCE_S)
        self.host._mover._seconds = PATIENCE_S

    def wake(self) -> None:
        with self.woken:
            self.woken.notify_all()

    def until(self, condition: Callable[[], object]) -> None:
        with self.woken:
            assert self.woken.wait_for(condition, PATIENCE_S)

    def look(self) -> Samples:
        """Rows in the order of the inventory, which is that of names."""
        return self.host.look({facts.key: row for row, facts in enumerate(self.host.inventory())})

    def lives(self) -> list[RunState]:
        return [RunState(life) for life in self.look().run_state]

    def key(self, guest: Guest) -> str:
        """By which the host knows it."""
        return f"{guest.uuid}@{self._uri}"

    def move(self, guest: Guest, mib: int) -> list[str]:
        """Shrink a guest; the messages of refusals."""
        return self._order(guest, guest.spec.maximum, mib)

    def grow(self, guest: Guest, mib: int) -> list[str]:
        """Likewise."""
        return self._order(guest, 0, mib)

    def _order(self, guest: Guest, before: int, mib: int) -> list[str]:
        action = Action(0, self.key(guest), guest.spec.name, before * MIB, mib * MIB, Reason.FORECAST_SHRINK)
        return [refusal.message for refusal in self.host.apply([action])]


@pytest.fixture
def watch(private_libvirtd: PrivateLibvirtd) -> Iterator[Callable[..., HostWithGuests]]:
    """`watch()` after the guests are up."""
    watched: list[HostWithGuests] = []

    def start(*, hurried: bool = False) -> HostWithGuests:
        watched.append(HostWithGuests(private_libvirtd.uri, hurried=hurried))
        return watched[-1]

    yield start
    for each in watched:
        each.host.close()


@pytest.fixture
def stopped(private_libvirtd: PrivateLibvirtd) -> Iterator[Callable[[Guest], Callable[[], None]]]:
    """`stopped(guest)` stops its QEMU and returns what resumes it."""
    pids: list[int] = []

    def resume() -> None:
        while pids:
            os.kill(pids.pop(), signal.SIGCONT)

    def stop(guest: Guest) -> Callable[[], None]:
        pids.append(private_libvirtd.qemu(guest.spec.name))
        os.kill(pids[-1], signal.SIGSTOP)
        return resume

    yield stop
    resume()


def test_a_look_sees_what_the_guest_says(start_guests, watch):
    (guest,) = start_guests(GuestSpec("seen", maximum=256, current=192, persistent=True))
    watched = watch()
    (facts,), samples = watched.host.inventory(), watched.look()
    assert (facts.name, facts.maximum, facts.definition) == ("seen", 256 * MIB, 192 * MIB)
    assert (facts.obstacle, samples.run_state.tolist()) == (Reason.NONE, [RunState.RUNNING])
    assert samples.actual.tolist() == [192 * MIB]
    assert samples.maximum.tolist() == [256 * MIB]
    assert (samples.actual - samples.usable)[0] / MIB == pytest.approx(guest.demand(), abs=2)
    assert samples.updated[0] <= guest.statistics()["last_update"]


def test_a_balloon_moves_and_reports_it_and_the_definition_stays(start_guests, watch):
    (guest,) = start_guests(GuestSpec("moved", maximum=256, persistent=True))
    watched = watch()
    facts = watched.host.inventory()
    assert watched.move(guest, 160) == []
    watched.until(lambda: watched.host.drain_events().get(watched.key(guest)) == 160 * MIB)
    assert watched.look().actual.tolist() == [160 * MIB]
    assert "<currentMemory unit='KiB'>262144<" in guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert watched.host.inventory() is facts


def test_qemu_itself_is_asked_whether_a_balloon_has_arrived(start_guests, watch):
    """No event of libvirt's is heard here, from which its own knowledge comes up to a second later."""
    (guest,) = start_guests(GuestSpec("followed", maximum=256))
    watched = watch()
    for connection in watched.host._connections.values():
        connection._moved = lambda _key, _size: None
    moved: dict[str, int] = {}
    assert watched.move(guest, 160) == []
    watched.until(lambda: moved.update(watched.host.drain_events()) or moved)
    assert [size / MIB for size in moved.values()] == [pytest.approx(160, abs=1)]
    assert watched.look().actual / MIB == pytest.approx([160], abs=1)


def test_a_missing_statistics_period_is_set_and_put_back(start_guests, watch):
    (guest,) = start_guests(GuestSpec("silent", stats_period=None))
    watched = watch()
    watched.host.ensure_statistics(watched.key(guest), 1)
    guest.wait_fresh()
    watched.host.restore_statistics([watched.key(guest)])
    watched.host.close()
    assert "<stats" not in guest.domain.XMLDesc()


def test_what_must_not_be_moved_is_seen_with_its_reason(start_guests, watch):
    wish = f"<b:memory xmlns:b='{NAMESPACE}' optOut='yes'/>"
    *_, paused = start_guests(
        GuestSpec("a-bare", balloon=False), GuestSpec("b-out", metadata=wish), GuestSpec("c-paused")
    )
    paused.domain.suspend()
    watched = watch()
    facts = watched.host.inventory()
    assert [domain.obstacle for domain in facts] == [Reason.NO_BALLOON, Reason.NONE, Reason.NONE]
    assert [domain.wishes.opt_out for domain in facts] == [False, True, False]
    assert watched.lives()[1:] == [RunState.RUNNING, RunState.PAUSED]


def test_virtio_mem_is_told_apart_from_what_the_balloon_holds(start_guests, watch):
    (guest,) = start_guests(GuestSpec("resizable", maximum=256, slots=True, devices=virtio_mem(128)))
    watched = watch()
    watched.until(lambda: watched.host.inventory()[0].plugged == 128 * MIB)
    (facts,), samples = watched.host.inventory(), watched.look()
    assert (facts.maximum, facts.devices, facts.obstacle) == (256 * MIB, 128 * MIB, Reason.MEMORY_DEVICES)
    assert (samples.actual - facts.plugged).tolist() == [256 * MIB]
    guest.domain.setMemoryFlags(200 * 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    watched.until(lambda: watched.host.drain_events().get(watched.key(guest)) == 200 * MIB)
    assert (watched.look().actual - facts.plugged).tolist() == [200 * MIB]


def test_an_nvdimm_is_no_memory_for_the_balloon(start_guests, watch, private_libvirtd):
    image = private_libvirtd.root / "guests" / "nvdimm"
    image.write_bytes(bytes(128 * MIB))
    give_to_guests(image)
    target = "<target><size unit='MiB'>128</size><node>0</node></target>"
    device = f"<memory model='nvdimm'><source><path>{image}</path></source>{target}</memory>"
    start_guests(GuestSpec("stored", maximum=256, slots=True, devices=device))
    watched = watch()
    (facts,), samples = watched.host.inventory(), watched.look()
    assert (facts.maximum, facts.devices, facts.obstacle) == (256 * MIB, 128 * MIB, Reason.NONE)
    assert (samples.actual.tolist(), samples.maximum.tolist()) == ([256 * MIB], [384 * MIB])


def test_a_destroyed_guest_is_not_running_and_then_gone(start_guests, watch):
    (guest,) = start_guests(GuestSpec("brief"))
    watched = watch()
    rows = {watched.key(guest): 0}
    guest.domain.destroy()
    assert watched.host.look(rows).run_state.tolist() == [RunState.NOT_RUNNING]
    assert len(watched.move(guest, 160)) == 1
    watched.until(lambda: watched.host.inventory() == ())


def test_a_stopped_qemu_keeps_nobody_else_from_being_seen_and_moved(start_guests, watch, stopped):
    hung, fine = start_guests(GuestSpec("a-hung"), GuestSpec("b-fine"))
    watched = watch()
    resume = stopped(hung)
    assert watched.lives() == [RunState.UNRESPONSIVE, RunState.RUNNING]
    assert watched.move(hung, 160) == ["the balloon was not set to 160 MiB: the domain's QEMU does not answer"]
    assert watched.move(fine, 160) == []
    watched.until(lambda: watched.host.drain_events().get(watched.key(fine)) == 160 * MIB)
    resume()
    until(lambda: watched.lives() == [RunState.RUNNING, RunState.RUNNING], PATIENCE_S, "both guests answer")
    assert watched.move(hung, 160) == []


def test_a_qemu_that_stops_under_an_order_keeps_nobody_else(start_guests, watch, stopped):
    hung, fine = start_guests(GuestSpec("a-hung"), GuestSpec("b-fine"))
    watched = watch(hurried=True)
    resume = stopped(hung)
    assert "QEMU has not taken the order" in watched.move(hung, 160)[0]
    assert watched.move(hung, 170)[0].endswith("it is still busy with the previous change")
    watched.be_patient()
    assert watched.move(fine, 160) == []
    assert watched.lives() == [RunState.UNRESPONSIVE, RunState.RUNNING]
    resume()
    until(lambda: watched.lives() == [RunState.RUNNING, RunState.RUNNING], PATIENCE_S, "both guests answer")
    watched.until(lambda: watched.look().actual.tolist() == [160 * MIB, 160 * MIB])


def test_where_as_many_calls_hang_as_may_the_others_are_seen_and_moved_on_another_connection(
    start_guests, watch, stopped
):
    hung, other = start_guests(GuestSpec("hung"), GuestSpec("other"))
    watched = watch()
    (connection,) = watched.host._connections.values()
    before = connection.link
    resume = stopped(hung)
    for _ in range(LIMIT):
        domain = before.entries[watched.key(hung)].domain
        before.calls.leave(before.calls.start(domain.memoryStats, (watched.key(hung),)))
    connection.doubt()
    until(lambda: watched.lives() == [RunState.UNRESPONSIVE, RunState.RUNNING], PATIENCE_S, "the other seen")
    assert connection.link.handle is not before.handle
    assert watched.move(other, 200) == []
    watched.until(lambda: watched.host.drain_events().get(watched.key(other)) == 200 * MIB)
    resume()
    until(lambda: watched.lives() == [RunState.RUNNING] * 2, PATIENCE_S, "both seen")


def test_a_killed_libvirtd_changes_nothing_and_is_found_again(start_guests, watch, private_libvirtd):
    (guest,) = start_guests(GuestSpec("survivor"))
    watched = watch()
    facts = watched.host.inventory()
    watched.move(guest, 160)
    watched.until(lambda: watched.host.drain_events().get(watched.key(guest)) == 160 * MIB)
    private_libvirtd.kill()
    watched.until(lambda: not watched.host.status()[0].connected)
    assert (len(watched.look().rows), watched.host.inventory() is facts) == (0, True)
    assert len(watched.move(guest, 200)) == 1
    private_libvirtd.start()
    watched.until(lambda: watched.host.status()[0].connected)
    guest.reconnect(private_libvirtd)
    assert watched.host.inventory() is facts
    assert watched.look().actual.tolist() == [160 * MIB]
    assert watched.move(guest, 200) == []
    watched.until(lambda: watched.host.drain_events().get(watched.key(guest)) == 200 * MIB)


def test_a_frozen_libvirtd_is_noticed_and_gone_on_with(start_guests, watch, private_libvirtd):
    start_guests(GuestSpec("waiting"))
    watched = watch(hurried=True)
    with private_libvirtd.frozen():
        assert watched.lives() == [RunState.UNRESPONSIVE]
        watched.until(lambda: not watched.host.status()[0].connected)
        assert "libvirtd does not answer" in watched.host.status()[0].error
        assert len(watched.look().rows) == 0
    watched.until(lambda: watched.host.status()[0].connected)
    until(lambda: watched.lives() == [RunState.RUNNING], PATIENCE_S, "the guest is seen again")


def test_what_a_slow_libvirtd_answers_is_used_within_the_look(start_guests, watch, private_libvirtd):
    start_guests(GuestSpec("patient"))
    watched = watch()
    with private_libvirtd.frozen() as go_on:
        timer = threading.Timer(LOOK_S[0], go_on)
        timer.start()
        samples = watched.look()
        timer.join()
    assert (samples.run_state.tolist(), samples.actual.tolist()) == ([RunState.RUNNING], [256 * MIB])


def test_what_a_slow_libvirtd_answers_later_wakes_and_is_used_by_the_next_look(start_guests, watch, private_libvirtd):
    start_guests(GuestSpec("patient"))
    watched = watch(hurried=True)
    watched.look()
    with private_libvirtd.frozen():
        assert watched.lives() == [RunState.UNRESPONSIVE]
    watched.until(lambda: watched.lives() == [RunState.RUNNING])
    until(lambda: not (watched.lives(), watched.host.status()[0].error)[1], PATIENCE_S, "as quick as ever")


def restored(guest: Guest, private_libvirtd: PrivateLibvirtd, folder: Path) -> None:
    """Save a guest, and restore it."""
    image = str(folder / "saved")
    guest.domain.save(image)
    private_libvirtd.connect().restore(image)
    guest.rejoin(private_libvirtd)


def test_a_statistics_period_that_was_set_is_put_back_after_a_save_and_restore(start_guests, watch, private_libvirtd):
    (guest,) = start_guests(GuestSpec("travelling", stats_period=None, persistent=True))
    watched = watch()
    watched.host.ensure_statistics(watched.key(guest), 1)
    guest.wait_fresh()
    before = watched.host.inventory()[0].incarnation
    restored(guest, private_libvirtd, private_libvirtd.root / "guests")
    watched.until(lambda: [facts.incarnation != before for facts in watched.host.inventory()] == [True])
    assert "<stats period='1'/>" in guest.domain.XMLDesc()
    watched.host.restore_statistics([watched.key(guest)])
    watched.host.close()
    assert "<stats" not in guest.domain.XMLDesc()
    assert MARK_NAMESPACE not in guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)


def test_a_period_that_a_killed_run_has_set_is_put_back_by_the_next(start_guests, watch):
    (guest,) = start_guests(GuestSpec("inherited", stats_period=None, persistent=True))
    first = watch()
    first.host.ensure_statistics(first.key(guest), 1)
    guest.wait_fresh()
    next_ = watch()
    next_.host.restore_statistics([next_.key(guest)])
    next_.host.close()
    assert "<stats" not in guest.domain.XMLDesc()


def test_the_mark_of_a_period_ends_with_the_domain(start_guests, watch):
    (guest,) = start_guests(GuestSpec("brief", stats_period=None, persistent=True))
    watched = watch()
    watched.host.ensure_statistics(watched.key(guest), 1)
    guest.wait_fresh()
    guest.domain.destroy()
    guest.domain.create()
    assert MARK_NAMESPACE not in guest.domain.XMLDesc()
    assert "<stats" not in guest.domain.XMLDesc()


def test_a_guest_that_another_program_asks_is_unresponsive_only_if_its_answer_takes_long(
    start_guests, watch, stopped, private_libvirtd, monkeypatch
):
    (guest,) = start_guests(GuestSpec("asked", maximum=256))
    watched, other = watch(), private_libvirtd.connect().lookupByUUIDString(guest.uuid)
    for life in (RunState.UNRESPONSIVE, RunState.RUNNING):
        until(lambda: watched.lives() == [RunState.RUNNING], PATIENCE_S, "seen")
        resume = stopped(guest)
        asking = threading.Thread(target=other.memoryStats)
        asking.start()
        until(
            lambda: guest.domain.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED, PATIENCE_S, "asked by another"
        )
        if life is RunState.RUNNING:
            watched.host._looker._seconds = (PATIENCE_S,)
            monkeypatch.setattr(looker, "HELD_S", PATIENCE_S / 2)  # however late a busy machine resumes it
            threading.Timer(0.1, resume).start()
        assert watched.lives() == [life]
        resume()
        asking.join()


@pytest.fixture
def target(watch) -> Iterator[PrivateLibvirtd]:
    """Another host that guests can migrate to."""
    assert watch  # whoever watches it ends before it does
    with PrivateLibvirtd() as daemon:
        yield daemon


LIVE = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE


def test_a_guest_is_left_alone_while_it_migrates_and_its_period_is_put_back_where_it_has_come_to(
    start_guests, watch, target
):
    (guest,) = start_guests(GuestSpec("migrant", maximum=256, stats_period=None, persistent=True))
    here, there = watch(), HostWithGuests(target.uri)
    try:
        here.host.ensure_statistics(here.key(guest), 1)
        guest.wait_fresh()
        guest.use(60)
        destination = target.connect()
        uri = f"unix://{target.root}/guests/migration.sock"  # every libvirtd would begin with the same port
        asked = {libvirt.VIR_MIGRATE_PARAM_URI: uri, libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: SLOW_MIB}
        going = threading.Thread(target=lambda: guest.domain.migrate3(destination, asked, LIVE))
        going.start()
        until(lambda: guest.domain.jobStats().get("memory_processed", 0) > 0, PATIENCE_S, "the migration under way")
        (refusal,) = here.move(guest, 200)
        assert Reason.BUSY.text in refusal
        hurry(guest.domain)
        going.join(120)
        here.until(lambda: here.host.inventory() == ())
        there.until(lambda: [facts.uuid for facts in there.host.inventory()] == [guest.uuid])
        come = destination.lookupByUUIDString(guest.uuid)
        assert "<stats period='1'/>" in come.XMLDesc()
        until(lambda: there.lives() == [RunState.RUNNING], PATIENCE_S, "seen where it is now")
        there.host.restore_statistics([there.key(guest)])
        there.host.close()
        assert "<stats" not in come.XMLDesc()
        assert MARK_NAMESPACE not in come.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        come.destroy()
        come.undefine()
    finally:
        there.host.close()


def test_a_backup_keeps_no_guest_from_being_moved(start_guests, watch, private_libvirtd):
    (guest,) = start_guests(GuestSpec("backed-up", maximum=256, current=160, swap=64))
    watched = watch()
    server = private_libvirtd.root / "guests" / "backup.sock"
    guest.domain.backupBegin(
        f"<domainbackup mode='pull'><server transport='unix' socket='{server}'/></domainbackup>", None
    )
    assert guest.domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE
    assert watched.lives() == [RunState.RUNNING]
    assert watched.grow(guest, 200) == []
    watched.until(lambda: watched.host.drain_events().get(watched.key(guest)) == 200 * MIB)
    assert watched.lives() == [RunState.RUNNING]
    guest.domain.abortJob()


def test_a_guest_began_with_its_qemu(start_guests, watch):
    began = time.time()
    start_guests(GuestSpec("known"))
    up = time.time()
    (facts,) = watch().host.inventory()
    assert began - 1 <= facts.started_at <= up

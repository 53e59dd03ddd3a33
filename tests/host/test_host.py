"""The facade, on libvirt's own test driver, which has domains and events but no balloon statistics."""

import math
import mmap
import threading
import time

import libvirt
import pytest

from controller.api.wishes import NAMESPACE
from controller.engine.decision import Action
from controller.engine.reasons import Reason
from controller.host import host as module
from controller.host.host import ConnectionStatus, LibvirtHost
from controller.host.look import read
from controller.host.meminfo import MeminfoError
from controller.host.sources import fixed
from lab.daemons import until
from lab.fake_libvirt import REPLY

MIB = 2**20
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"


class HostWithDomain:
    """A Host, and its domain as somebody else changes it."""

    def __init__(self, uri: str) -> None:
        self.woken = threading.Condition()
        self.host = LibvirtHost(fixed([uri]), wake=self.wake)
        self.host.start()
        # A private test node lives in its connection, so somebody else has to use that too.
        self.connection = self.host._connections[uri]
        self.domain = self.connection.link.handle.lookupByName("test")
        self.key = f"{self.domain.UUIDString()}@{uri}"

    def wake(self) -> None:
        with self.woken:
            self.woken.notify_all()

    def until(self, condition) -> None:
        with self.woken:
            assert self.woken.wait_for(condition, 10)


@pytest.fixture
def node(test_uri):
    node = HostWithDomain(test_uri)
    yield node
    node.host.close()


def test_a_host_is_connected_after_the_start(node, test_uri):
    assert node.host.status() == (ConnectionStatus(test_uri, True, ""),)


def test_the_inventory_is_the_same_object_while_nothing_changed(node):
    facts = node.host.inventory()
    assert [domain.name for domain in facts] == ["test"]
    assert node.host.inventory() is facts


def test_a_domain_that_ends_leaves_the_inventory_and_comes_back(node):
    node.domain.destroy()
    node.until(lambda: node.host.inventory() == ())
    node.domain.create()
    node.until(lambda: len(node.host.inventory()) == 1)


def test_changed_wishes_reach_the_inventory(node):
    node.domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<memory optOut='yes'/>", "b", NAMESPACE, 1)
    node.until(lambda: node.host.inventory()[0].wishes.opt_out)


def test_suspending_wakes_but_changes_no_facts(node):
    facts = node.host.inventory()
    with node.woken:
        node.domain.suspend()
        assert node.woken.wait(10)
    assert node.host.inventory() is facts


def test_looks_name_the_domains_by_row(node):
    (facts,) = node.host.inventory()
    assert node.host.look({facts.key: 7}).rows.tolist() == [7]


def test_a_statistics_period_that_was_asked_for_is_set_by_the_time_of_closing(node):
    node.host.ensure_statistics(node.key, 5)
    node.host.close()
    assert "<stats period='5'/>" in node.domain.XMLDesc()


def test_a_statistics_period_that_was_set_is_restored_by_the_time_of_closing(node):
    node.host.ensure_statistics(node.key, 5)
    node.host.restore_statistics([node.key])
    node.host.close()
    assert "<stats" not in node.domain.XMLDesc()


def test_the_host_itself_is_read(node):
    assert node.host.read().total > node.host.read().available > 0


def test_what_is_merged_and_what_is_shared_are_read_with_it(tmp_path, test_uri):
    (tmp_path / "kernel/mm/ksm").mkdir(parents=True)
    (tmp_path / "kernel/mm/ksm/pages_sharing").write_text("3\n")
    sizes = {"MemTotal": 9, "MemAvailable": 5, "SwapTotal": 4, "SwapFree": 1, "Shmem": 2}
    (tmp_path / "meminfo").write_text("".join(f"{name}: {size} kB\n" for name, size in sizes.items()))
    read = LibvirtHost(fixed([test_uri]), proc=tmp_path, sys=tmp_path).read()
    assert (read.total, read.available, read.swap_used, read.shared) == (9 * 1024, 5 * 1024, 3 * 1024, 2 * 1024)
    assert read.merged == 3 * mmap.PAGESIZE


def test_an_unreadable_proc_is_said_so(tmp_path, test_uri):
    with pytest.raises(MeminfoError, match="meminfo cannot be read"):
        LibvirtHost(fixed([test_uri]), proc=tmp_path).read()


def test_a_connection_that_cannot_be_opened_is_in_the_status(tmp_path):
    uri = f"qemu:///session?socket={tmp_path}/none"
    host = LibvirtHost(fixed([uri]))
    host.start()
    (status,) = host.status()
    assert (status.connected, host.inventory()) == (False, ())
    assert "is libvirtd (or virtqemud) running?" in status.error
    assert len(host.look({}).rows) == 0
    host.close()


def test_connections_are_named_once():
    with pytest.raises(ValueError, match="name each once"):
        LibvirtHost(fixed(["qemu:///system"] * 2))


def test_the_connection_is_part_of_the_key(tmp_path, test_uri):
    down = f"qemu:///session?socket={tmp_path}/none"
    host = LibvirtHost(fixed([test_uri, down]))
    host.start()
    (facts,) = host.inventory()
    assert facts.key == f"{facts.uuid}@{test_uri}"
    assert [status.connected for status in host.status()] == [True, False]
    assert host.look({facts.key: 0}).rows.tolist() == [0]
    assert len(host.look({f"{facts.uuid}@{down}": 0}).rows) == 0
    host.close()


def test_nothing_is_left_running_after_the_close(test_uri):
    host = LibvirtHost(fixed([test_uri]))
    host.close()
    host.start()
    host.close()
    host.close()
    until(lambda: not any(each.name.startswith("ballast") for each in threading.enumerate()), 10, "all have ended")


def test_domains_that_do_not_answer_are_put_back_last_in_the_end(node, monkeypatch):
    told = []
    connection = node.connection
    begin = connection.begin_close
    monkeypatch.setattr(connection, "begin_close", lambda keys: told.append(set(keys)) or begin(keys))
    node.host._unavailable.unresponsive = {"a"}
    node.host.close()
    assert told == [{"a"}]


def test_a_move_of_a_balloon_is_remembered_for_a_while(node, monkeypatch):
    moved_at = node.host._looker._moved_at
    before = time.monotonic()
    node.host._on_moved("a", 1)
    assert moved_at("b") < before <= moved_at("a")
    node.host.drain_events()
    assert moved_at("a") >= before
    monkeypatch.setattr(module, "LATE_S", -1.0)
    node.host.drain_events()
    assert moved_at("a") < before


def test_who_has_been_moved_is_followed_to_where_it_was_sent(node):
    order = Action(0, node.key, "test", 2048 * MIB, 1024 * MIB, Reason.CONTENTION_SHRINK)
    refused = Action(1, f"{UUID}@nowhere", "", 2048 * MIB, 1024 * MIB, Reason.CONTENTION_SHRINK)
    assert [each.row for each in node.host.apply([order, refused])] == [1]
    assert node.host._follower._followed.keys() <= {node.key}
    with node.woken:
        while not node.host._arrived:
            assert node.woken.wait(10)
    assert node.host.drain_events() == {node.key: 1024 * MIB}


def test_a_look_does_not_go_back_behind_what_qemu_has_said_itself(node, monkeypatch):
    def sizes() -> list[float]:
        return [size / MIB for size in node.host.look({"b": 3, node.key: 4, "silent": 5}).actual.tolist()]

    replies = [REPLY, REPLY, {}]
    monkeypatch.setattr(node.host._looker, "look", lambda rows: read(list(rows), replies))
    for key in (node.key, "silent", "not looked at"):
        node.host._on_arrived(key, 200 * MIB)
    assert sizes() == [256, 200, pytest.approx(math.nan, nan_ok=True)]
    node.host._on_moved(node.key, int(200.5 * MIB))
    assert sizes()[:2] == [256, 256]


def test_libvirts_word_counts_where_qemu_has_not_told_anything_else(node, monkeypatch):
    """An event may be older than what QEMU has said since, or newer: it is asked again."""
    checked = []
    monkeypatch.setattr(node.host._follower, "check", checked.append)
    node.host._on_arrived(node.key, 200 * MIB)
    node.host._on_moved("b", 100 * MIB)
    assert node.host.drain_events() == {node.key: 200 * MIB, "b": 100 * MIB}
    node.host._on_moved(node.key, 249 * MIB)
    assert (node.host.drain_events(), checked) == ({}, [node.key])
    node.host._on_arrived(node.key, 180 * MIB)
    node.host._on_moved(node.key, 180 * MIB)
    node.host._on_moved(node.key, 249 * MIB)
    assert (node.host.drain_events(), checked) == ({node.key: 249 * MIB}, [node.key])


@pytest.mark.parametrize("arrived", [255.5, 256.5])
def test_where_libvirt_has_heard_of_it_its_own_word_counts_again(node, monkeypatch, arrived):
    """What a balloon does by itself afterwards is to be seen, should an event get lost."""
    reply = dict(REPLY)
    monkeypatch.setattr(node.host._looker, "look", lambda rows: read(list(rows), [reply]))
    node.host._on_arrived(node.key, int(arrived * MIB))
    for size in (256, 300):
        reply["balloon.current"] = size * 1024
        assert node.host.look({node.key: 0}).actual.tolist() == [size * MIB]


def test_what_qemu_has_said_itself_is_old_after_a_while(node, monkeypatch):
    monkeypatch.setattr(node.host._looker, "look", lambda rows: read(list(rows), [REPLY]))
    node.host._on_arrived(node.key, 200 * MIB)
    monkeypatch.setattr(module, "LATE_S", 0.0)
    assert node.host.look({node.key: 0}).actual.tolist() == [256 * MIB]


def test_a_guest_that_ran_before_began_with_its_qemu(test_uri, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module.processes, "started", lambda *what: asked.append(what) or {UUID: 1.6e9})
    host = LibvirtHost(fixed([test_uri]), proc=tmp_path)
    host.start()
    assert [facts.started_at for facts in host.inventory()] == [1.6e9]
    assert asked == [(tmp_path, {UUID: "test"})]
    host.close()


def test_guests_are_felt_from_the_start_to_the_end_and_how_is_told(node):
    resident, pressure = node.host.senses()
    assert (resident.name, pressure.name, pressure.domains) == ("resident", "pressure", 0)
    assert pressure.source.endswith(f", and {node.host._pressure.source}")
    assert "has ended" not in resident.trouble
    assert node.host.feel().keys == ()
    node.host.close()
    assert "has ended" in node.host.senses()[0].trouble


def test_the_hosts_pressure_is_watched_from_the_start_to_the_end(test_uri, monkeypatch):
    done = []
    monkeypatch.setattr(module.Pressure, "start", lambda _self: done.append("start"))
    monkeypatch.setattr(module.Pressure, "close", lambda _self: done.append("close"))
    host = LibvirtHost(fixed([test_uri]))
    host.close()
    assert done == []
    host.start()
    host.close()
    host.close()
    assert done == ["start", "close"]

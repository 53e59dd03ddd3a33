"""Sources that come and go: what is known of their domains, what is gone, and what is lost."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import libvirt
import pytest

from controller.engine.inventory import Pod
from controller.host import connection as connection_module
from controller.host.host import ConnectionStatus, LibvirtHost
from controller.host.opening import AbsentError
from controller.host.sources import Source
from controller.host.taskpool import IDLE
from lab.daemons import until
from lab.fake_libvirt import FakeDomain, FakeHandle, error, key_of

WEB = Pod("1234", "prod", "launcher-web", labels={"app": "web"})


class HostWithPods:
    """A host whose pods the test makes."""

    def __init__(self) -> None:
        self.host = LibvirtHost()
        self.host.start()

    def names(self) -> list[str]:
        return [facts.key for facts in self.host.inventory()]

    def statuses(self) -> dict[str, bool]:
        return {status.uri: status.connected for status in self.host.status()}

    def until_seen(self, *keys: str) -> None:
        until(lambda: self.names() == list(keys), 10, "the domains are seen")


@pytest.fixture
def node() -> Iterator[HostWithPods]:
    node = HostWithPods()
    yield node
    node.host.close()


@pytest.fixture
def connecting_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "BACKOFF_FIRST_S", 0.05)


def source(handle: FakeHandle, pod: Pod = WEB, *, expected: bool = True) -> Source:
    return Source(f"{pod.namespace}/{pod.name}", lambda: handle, pod, expected)


def absent() -> FakeHandle:
    raise AbsentError("not there yet")


def test_a_host_without_sources_has_nothing_and_nothing_is_wrong(node):
    assert (node.names(), node.host.status(), len(node.host.look({}).rows)) == ([], (), 0)


def test_a_source_that_comes_brings_its_domains_and_the_facts_of_its_pod(node):
    node.host.connect([source(FakeHandle(guest := FakeDomain(1)))])
    node.until_seen(key_of(guest, "prod/launcher-web"))
    assert [facts.pod for facts in node.host.inventory()] == [WEB]
    assert node.host.status() == (ConnectionStatus("prod/launcher-web", True, ""),)


def test_a_source_that_goes_takes_its_domains_with_it_and_is_closed(node):
    here, there = FakeHandle(FakeDomain(1)), FakeHandle(guest := FakeDomain(2))
    other = source(there, replace(WEB, uid="5678", name="launcher-db"))
    node.host.connect([source(here), other])
    until(lambda: len(node.names()) == 2, 10, "both are seen")
    node.host.connect([other])
    assert node.names() == [key_of(guest, "prod/launcher-db")]
    assert node.statuses() == {"prod/launcher-db": True}
    until(lambda: not here.alive, 10, "it is closed")
    assert there.alive


def test_connections_that_stay_are_not_opened_again_and_facts_stay_the_same_object(node):
    opened = count()
    stays = replace(source(FakeHandle(FakeDomain(1))), open=lambda: next(opened) or FakeHandle(FakeDomain(1)))
    node.host.connect([stays])
    until(lambda: len(node.names()) == 1, 10, "it is seen")
    facts = node.host.inventory()
    node.host.connect([replace(stays, pod=replace(WEB))])
    assert node.host.inventory() is facts
    assert next(opened) == 1


def test_new_labels_of_a_pod_are_known_at_once_also_while_its_libvirt_is_away(node):
    handle = FakeHandle(FakeDomain(1))
    node.host.connect([source(handle)])
    until(lambda: len(node.names()) == 1, 10, "it is seen")
    handle.break_(libvirt.VIR_CONNECT_CLOSE_REASON_EOF)
    labelled = replace(WEB, annotations={"ballast.dev/mode": "Off"})
    node.host.connect([source(handle, labelled)])
    assert [facts.pod for facts in node.host.inventory()] == [labelled]


def test_a_pod_of_the_same_name_is_another_one(node):
    first, second = FakeHandle(FakeDomain(1)), FakeHandle(FakeDomain(1))
    node.host.connect([source(first)])
    until(lambda: len(node.names()) == 1, 10, "it is seen")
    node.host.connect([source(second, replace(WEB, uid="5678"))])
    assert node.names() == []
    until(lambda: len(node.names()) == 1, 10, "the new one is seen")
    until(lambda: not first.alive, 10, "the old one is closed")
    assert second.alive


def test_two_sources_of_one_name_are_refused_and_change_nothing(node):
    node.host.connect([source(FakeHandle(FakeDomain(1)))])
    with pytest.raises(ValueError, match="'prod/launcher-web' is named twice"):
        node.host.connect([source(FakeHandle()), source(FakeHandle())])
    assert len(node.host._connections) == 1


def test_a_pod_that_is_not_expected_to_answer_is_not_lost(node):
    node.host.connect([replace(source(FakeHandle(), expected=False), open=absent)])
    until(node.host._connections["prod/launcher-web"].settled.is_set, 10, "it was tried")
    assert node.host.status() == ()


def test_a_pod_that_is_expected_to_answer_and_does_not_is_lost_after_a_while(node, monkeypatch):
    node.host.connect([replace(source(FakeHandle()), open=absent)])
    assert node.host.status() == ()
    monkeypatch.setattr(connection_module, "EXCUSED_S", 0.0)
    assert node.statuses() == {"prod/launcher-web": False}
    until(lambda: "not there yet" in node.host.status()[0].error, 10, "the error is told")


def test_a_libvirt_that_ends_with_its_pod_is_not_lost(node, monkeypatch):
    monkeypatch.setattr(connection_module, "EXCUSED_S", 0.0)
    handle = FakeHandle(FakeDomain(1))
    node.host.connect([source(handle)])
    until(lambda: node.statuses() == {"prod/launcher-web": True}, 10, "it is connected")
    node.host.connect([source(handle, expected=False)])
    assert node.statuses() == {"prod/launcher-web": True}
    handle.break_(libvirt.VIR_CONNECT_CLOSE_REASON_EOF)
    until(lambda: node.statuses() == {}, 10, "it is gone")


def test_a_libvirt_is_tried_at_once_when_its_pod_has_begun(node):
    """Before that it is tried again after a while only."""
    ready = threading.Event()

    def open_() -> FakeHandle:
        if not ready.is_set():
            raise error(libvirt.VIR_ERR_SYSTEM_ERROR, "no")
        return FakeHandle(FakeDomain(1))

    waiting = replace(source(FakeHandle(), expected=False), open=open_)
    node.host.connect([waiting])
    connection = node.host._connections["prod/launcher-web"]
    connection._settings = replace(connection._settings, backoff=lambda _attempt, _jitter: 60.0)
    until(lambda: connection._tries > 0, 10, "it was tried")
    ready.set()
    connection._try_at = float("inf")
    node.host.connect([replace(waiting, expected=True)])
    until(lambda: len(node.names()) == 1, 10, "it is connected")


def test_a_socket_that_is_to_come_is_looked_for_often(node, monkeypatch):
    tries = count(1)
    monkeypatch.setattr(connection_module, "ABSENT_S", 0.01)

    def open_() -> FakeHandle:
        return FakeHandle(FakeDomain(1)) if next(tries) > 20 else absent()

    node.host.connect([replace(source(FakeHandle()), open=open_)])
    until(lambda: len(node.names()) == 1, 10, "it is there")


@pytest.mark.usefixtures("connecting_again_at_once")
def test_what_needs_no_connection_is_not_warned_of_and_what_does_is_once(node, monkeypatch, caplog):
    monkeypatch.setattr(connection_module, "ABSENT_S", 0.01)
    waiting = replace(source(handle := FakeHandle(FakeDomain(1)), expected=False), open=absent)
    node.host.connect([waiting])
    connection = node.host._connections["prod/launcher-web"]
    until(lambda: connection._tries > 3, 10, "it was tried")
    connection.source = replace(waiting, open=lambda: handle)
    until(lambda: connection.link, 10, "it is connected")
    handle.break_(libvirt.VIR_CONNECT_CLOSE_REASON_EOF)
    connection.source = waiting
    until(lambda: connection.link is None and connection._tries > 3, 10, "it is gone")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []
    monkeypatch.setattr(connection_module, "EXCUSED_S", 0.0)
    node.host.connect([replace(waiting, expected=True)])
    until(lambda: connection._tries > 3, 10, "it was tried")
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["prod/launcher-web: not there yet"]


@pytest.mark.usefixtures("connecting_again_at_once")
def test_an_opening_that_fails_of_a_defect_is_tried_again(node, caplog):
    tries = count()

    def open_() -> FakeHandle:
        if not next(tries):
            raise OSError("out of descriptors")
        return FakeHandle(FakeDomain(1))

    node.host.connect([replace(source(FakeHandle()), open=open_)])
    until(lambda: len(node.names()) == 1, 10, "it is connected")
    assert "prod/launcher-web: OSError('out of descriptors'); connecting again" in caplog.text


@pytest.mark.usefixtures("connecting_again_at_once")
def test_a_libvirt_whose_last_words_are_no_text_is_connected_to_again(node, monkeypatch):
    first, second = FakeHandle(FakeDomain(1)), FakeHandle(FakeDomain(2))
    monkeypatch.setattr(first, "close", b"\xff".decode)
    handles = iter([first, second])
    node.host.connect([replace(source(first), open=lambda: next(handles))])
    until(lambda: len(node.names()) == 1, 10, "it is seen")
    first.break_(libvirt.VIR_CONNECT_CLOSE_REASON_EOF)
    node.until_seen(key_of(second.domains[0], "prod/launcher-web"))


def test_a_pod_with_more_than_one_domain_is_left_alone(node, monkeypatch):
    monkeypatch.setattr(connection_module, "EXCUSED_S", 0.0)
    node.host.connect([source(FakeHandle(FakeDomain(1), FakeDomain(2)))])
    until(lambda: "2 domains, where a virt-launcher has one" in node.host.status()[0].error, 10, "it is refused")
    assert node.names() == []


def test_sources_that_may_be_missing_are_told_as_a_connection_that_is_down(node):
    node.host.connect([], lambda: "pods: forbidden")
    assert node.host.status() == (ConnectionStatus("discovery", False, "pods: forbidden"),)
    node.host.connect([], lambda: "")
    assert node.host.status() == ()


def test_statistics_of_a_domain_that_is_gone_are_asked_for_in_vain(node):
    node.host.ensure_statistics("1234@gone", 1)
    assert len(node.host.look({"1234@gone": 0}).rows) == 0


def test_sources_that_are_named_before_the_start_are_connected_to_by_it():
    host = LibvirtHost([source(FakeHandle(FakeDomain(1)))])
    assert host.inventory() == ()
    host.start()
    assert len(host.inventory()) == 1
    host.close()


def test_no_source_is_connected_to_after_the_end(node):
    node.host.close()
    opened = []
    node.host.connect([replace(source(FakeHandle()), open=lambda: opened.append(1) or FakeHandle())])
    assert opened == []


@pytest.mark.parametrize("many", [110, pytest.param(250, marks=pytest.mark.slow)])
def test_any_number_of_pods_is_seen_to_by_a_few_threads(node, many):
    pods = [replace(WEB, uid=str(number), name=f"launcher-{number}") for number in range(many)]
    before = threading.active_count()
    node.host.connect([source(FakeHandle(FakeDomain(number)), pod) for number, pod in enumerate(pods)])
    until(lambda: len(node.names()) == many, 10, "all are seen")
    until(lambda: threading.active_count() <= before + IDLE, 10, "nothing is left to do")
    assert len(node.host.look({key: row for row, key in enumerate(node.names())}).rows) == many
    until(lambda: threading.active_count() <= before + IDLE, 10, "no call keeps its thread")
    node.host.connect([])
    until(lambda: threading.active_count() <= before, 10, "the keepers have ended")


def test_the_only_domain_of_a_connection_is_not_read_again_at_each_listing(node, monkeypatch):
    handle, reads = FakeHandle(guest := FakeDomain(1)), []
    read, lists = guest.XMLDesc, handle.listAllDomains
    listed = count()
    monkeypatch.setattr(guest, "XMLDesc", lambda flags=0: reads.append(flags) or read(flags))
    monkeypatch.setattr(handle, "listAllDomains", lambda flags: (next(listed) and False) or lists(flags))
    node.host._connections._settings = replace(node.host._connections._settings, pod_tick_s=0.02)
    monkeypatch.setattr(connection_module, "REREAD_S", 0.6)
    node.host.connect([source(handle)])
    until(lambda: next(listed) > 3 * 2 * 30, 20, "it is listed often")
    assert 2 <= len(reads) <= 2 * 6

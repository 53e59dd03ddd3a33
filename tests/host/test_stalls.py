"""Stalls of each domain's QEMU, by the kernel."""

import os

import pytest
from fake_proc import FakeProc, Triggers, facts, uuid_of

from controller.host.processfiles import RETRY_S
from controller.host.stalls import Stalls

SCOPE = "machine.slice/machine-qemu\\x2d1\\x2da.scope"


class TimedStalls:
    """Stalls of a domain `a` whose QEMU is process 7, and a clock."""

    def __init__(self, proc: FakeProc, triggers: Triggers) -> None:
        self.proc = proc
        self.triggers = triggers
        self.now = 0.0
        self.domains = (facts("a"),)
        self.stalls = Stalls(proc.path, proc.sys, proc.pid_files, lambda: self.now)

    def read(self) -> list[bool]:
        self.stalls.watch(self.domains)
        return self.stalls.read().tolist()

    def trouble(self) -> str:
        return self.stalls.entries["a"].trouble

    def pressure(self, cgroup: str = SCOPE) -> str:
        return self.proc.sys / "fs/cgroup" / cgroup / "memory.pressure"


@pytest.fixture
def proc(tmp_path):
    proc = FakeProc(tmp_path)
    proc.start("a", 7)
    return proc


@pytest.fixture
def watch(proc, monkeypatch):
    """On a host with cgroups of v2."""
    proc.mount_cgroups()
    yield from watched(proc, monkeypatch)


def watched(proc, monkeypatch):
    triggers = Triggers()
    monkeypatch.setattr("controller.host.stalls.open_trigger", triggers.open)
    watch = TimedStalls(proc, triggers)
    yield watch
    watch.stalls.close()
    triggers.close()


@pytest.mark.parametrize(
    ("cgroup", "own"),
    [
        (f"/{SCOPE}/libvirt/emulator", SCOPE),
        (f"/{SCOPE}", SCOPE),
        ("/machine/qemu-1-a.libvirt-qemu/emulator", "machine/qemu-1-a.libvirt-qemu"),
    ],
)
def test_a_domain_stalls_with_the_whole_cgroup_that_libvirt_made_for_it(proc, watch, cgroup, own):
    proc.put(7, cgroup)
    assert watch.read() == [False]
    watch.triggers.fire(watch.pressure(own))
    assert watch.read() == [True]
    watch.triggers.polled(watch.pressure(own))
    assert watch.read() == [False]


def test_only_those_stall_whose_trigger_has_fired(proc, watch):
    proc.start("b", 8)
    watch.domains = (facts("b"), facts("a"), facts("without"))
    proc.put(7, f"/{SCOPE}")
    proc.put(8, "/machine/qemu-2-b.libvirt-qemu")
    watch.read()
    watch.triggers.fire(watch.pressure())
    assert watch.read() == [False, True, False]


def test_beside_v1_cgroups_of_v2_are_elsewhere(proc, monkeypatch):
    proc.mount_cgroups("unified")
    for watch in watched(proc, monkeypatch):
        proc.put(7, f"/{SCOPE}")
        watch.read()
        watch.triggers.fire(watch.pressure(f"unified/{SCOPE}"))
        assert watch.read() == [True]


def test_without_v2_nobody_is_searched_for_and_that_is_said(proc, monkeypatch):
    monkeypatch.setattr("controller.host.processfiles.find", lambda *_: pytest.fail("searched"))
    for watch in watched(proc, monkeypatch):
        assert watch.read() == [False]
        assert watch.trouble() == f"{proc.sys}/fs/cgroup holds no cgroups of v2"


@pytest.mark.parametrize(
    ("cgroup", "trouble"),
    [
        ("/", "libvirt has made no cgroup of v2 for it"),
        ("/user.slice/user-0.slice/session-3.scope", "libvirt has made no cgroup of v2 for it"),
        (f"/../../{SCOPE}/libvirt/emulator", "its cgroup lies outside of what this container sees"),
    ],
)
def test_a_cgroup_that_is_not_the_domains_alone_is_not_watched_and_that_is_said(proc, watch, cgroup, trouble):
    proc.put(7, cgroup)
    assert watch.read() == [False]
    assert (watch.trouble(), watch.triggers.ends) == (trouble, {})


def test_a_kernel_that_refuses_the_trigger_is_not_asked_again(proc, watch, monkeypatch):
    """Not even when another domain's process is searched for."""
    proc.put(7, f"/{SCOPE}")
    watch.domains += (facts("late"),)
    watch.triggers.refusal = OSError(30, "Read-only file system")
    watch.read()
    assert watch.trouble() == "no trigger on its cgroup's memory.pressure: Read-only file system"
    searched = []
    monkeypatch.setattr(
        "controller.host.processfiles.find", lambda _, names, *__: searched.append(names) or dict.fromkeys(names, ())
    )
    watch.now += RETRY_S
    assert watch.read() == [False, False]
    assert searched == [{uuid_of("late"): "late"}]


def test_what_was_refused_is_tried_again_when_the_domain_is_started_anew(proc, watch):
    proc.put(7, "/")
    watch.read()
    proc.put(7, f"/{SCOPE}")
    watch.domains = (facts("a", incarnation=2),)
    watch.read()
    assert watch.trouble() == ""


def test_a_cgroup_that_is_gone_stalls_no_more_and_the_process_is_searched_for_again(proc, watch):
    proc.put(7, f"/{SCOPE}")
    watch.read()
    watch.triggers.remove(watch.pressure())
    assert watch.read() == [False]
    assert watch.trouble() == "its cgroup is gone, or the kernel took the trigger back"
    watch.now += RETRY_S
    watch.read()
    assert watch.trouble() == ""


def test_a_trigger_that_cannot_be_waited_for_is_let_go_of(proc, watch, tmp_path, monkeypatch, descriptors):
    """The kernel bounds how many files a user waits for; here it is a file that nobody can wait for."""
    proc.put(7, f"/{SCOPE}")
    plain = tmp_path / "plain"
    plain.touch()
    monkeypatch.setattr("controller.host.stalls.open_trigger", lambda *_: os.open(plain, os.O_RDONLY))
    before = len(descriptors())
    watch.read()
    assert watch.trouble() == "process 7 may not be read: Operation not permitted"
    assert len(descriptors()) == before


def test_triggers_are_let_go_with_their_domain(proc, watch, descriptors):
    proc.put(7, f"/{SCOPE}")
    watch.read()
    before = len(descriptors())
    watch.domains = ()
    assert watch.read() == []
    assert len(descriptors()) == before - 1

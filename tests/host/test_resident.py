"""Resident memory of each domain's QEMU."""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fake_proc import MIB, FakeProc, facts, uuid_of

from controller.host import processfiles
from controller.host.processfiles import LONGEST_S, RETRY_S, allow_descriptors
from controller.host.resident import NOT_RESIDENT, Resident


class TimedResident:
    """A Resident, and a clock."""

    def __init__(self, proc: FakeProc) -> None:
        self.now = 0.0
        self.resident = Resident(proc.path, proc.pid_files, lambda: self.now)

    def troubles(self) -> dict[str, str]:
        known = {each.facts.name: key for key, each in self.resident.entries.items()}
        return {known[name]: trouble for name, trouble in self.resident.troubles}

    def read(self, *domains: object) -> list[float]:
        """MiB, -1 where unknown. The same domains count as the same inventory."""
        if getattr(self, "domains", None) != domains:
            self.domains = domains
        self.resident.watch(self.domains)
        return [round(float(value) / MIB) if np.isfinite(value) else -1 for value in self.resident.read()]


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path)


@pytest.fixture
def watch(proc):
    watch = TimedResident(proc)
    yield watch
    watch.resident.close()


def test_each_domain_has_the_size_of_its_own_qemu(proc, watch):
    proc.start("a", 7, 100)
    proc.start("b", 8, 300)
    assert watch.read(facts("b"), facts("a")) == [300, 100]


def test_a_growing_qemu_is_read_anew(proc, watch):
    proc.start("a", 7, 100)
    watch.read(facts("a"))
    proc.hold(7, 220)
    assert watch.read(facts("a")) == [220]


def test_while_nothing_has_changed_the_answer_is_the_same_object(proc, watch):
    proc.start("a", 7, 100)
    watch.read(facts("a"))
    before = watch.resident.read()
    assert watch.resident.read() is before
    proc.hold(7, 101)
    assert watch.resident.read() is not before


def test_programs_and_files_are_no_guest_memory(proc, watch):
    proc.start("a", 7)
    proc.hold(7, 140, shared=40)
    assert watch.read(facts("a")) == [100]


def test_of_a_guest_in_a_file_the_files_pages_count(proc, watch):
    proc.start("a", 7)
    proc.hold(7, 1100, shared=1000)
    assert watch.read(facts("a", in_file=True)) == [1100]


def test_what_is_learnt_later_of_a_domain_counts_for_the_process_that_is_open(proc, watch):
    proc.start("a", 7)
    proc.hold(7, 1100, shared=1000)
    assert watch.read(facts("a")) == [100]
    assert watch.read(facts("a", in_file=True)) == [1100]


def test_a_guest_on_huge_pages_is_not_felt_and_that_is_said(proc, watch):
    proc.start("a", 7)
    assert watch.read(facts("a", resident=False)) == [-1]
    assert watch.troubles() == {"a": NOT_RESIDENT}


def test_without_a_pid_file_the_process_is_known_by_its_uuid(proc, watch):
    proc.start("a", 7, 100, noted=False)
    assert watch.read(facts("a")) == [100]


@pytest.mark.parametrize("content", ["9\n", "", "x", "-1", "99999999999999999999\n", "\xff"])
def test_a_pid_file_that_is_wrong_is_not_believed(proc, watch, content):
    proc.start("a", 7, 100)
    proc.start("b", 9, 900)
    (proc.pid_files / "a.pid").write_text(content, encoding="latin-1")
    assert watch.read(facts("a")) == [100]


def test_libvirts_word_settles_which_of_two_processes_it_is(proc, watch):
    proc.start("a", 7, 100, noted=False)
    proc.start("a", 8, 200)
    assert watch.read(facts("a")) == [200]


def test_of_two_processes_without_libvirts_word_none_is_read(proc, watch):
    proc.start("a", 7, 100, noted=False)
    proc.start("a", 8, 200, noted=False)
    assert watch.read(facts("a")) == [-1]
    assert watch.troubles() == {"a": "processes 7, 8 were all started with its UUID; end all but its QEMU"}


def test_of_very_many_processes_four_are_named(proc, watch):
    for pid in range(7, 13):
        proc.start("a", pid, noted=False)
    watch.read(facts("a"))
    assert watch.troubles() == {"a": "processes 7, 8, 9, 10 were all started with its UUID; end all but its QEMU"}


def test_a_command_line_may_be_long(proc, watch):
    """A guest with hundreds of disks: the UUID stands behind a few of its arguments, or behind all."""
    proc.start("a", 7, 100, noted=False)
    short = (proc.path / "7" / "cmdline").read_bytes()
    (proc.path / "7" / "cmdline").write_bytes(b"qemu\0" + b"-drive\0file=/x\0" * 20_000 + short)
    assert watch.read(facts("a")) == [100]


def test_a_number_that_another_process_has_now_is_not_read(proc, watch):
    proc.start("a", 7, 100)
    watch.read(facts("a"))
    proc.end(7)
    proc.start("b", 7, 900)
    assert watch.read(facts("a")) == [-1]
    watch.now += 10
    assert watch.read(facts("a")) == [-1]


def test_a_process_that_can_be_read_no_more_is_searched_for_again(proc, watch):
    domains = facts("a"), facts("b")
    proc.start("a", 7, 100)
    proc.start("b", 8, 100)
    watch.read(*domains)
    for pid in (7, 8):
        proc.end(pid)
        assert watch.read(*domains)[pid - 7] == -1
        assert len(watch.troubles()) == pid - 6
        watch.now += 5
    proc.start("a", 9, 200)
    proc.start("b", 10, 300)
    assert watch.read(*domains) == [200, 300]


def test_a_process_that_ends_while_it_is_searched_for_is_said_to_be_gone(watch, monkeypatch):
    monkeypatch.setattr("controller.host.processfiles.find", lambda *_: {uuid_of("a"): (7,)})
    assert watch.read(facts("a")) == [-1]
    assert watch.troubles() == {"a": "process 7: No such file or directory"}


def test_a_process_whose_size_may_not_be_read_is_said_to_be_such(proc, watch):
    proc.start("a", 7, 100)
    (proc.path / "7" / "statm").unlink()
    assert watch.read(facts("a")) == [-1]
    assert watch.troubles() == {"a": "process 7 may not be read: No such file or directory"}


def test_a_uuid_far_behind_in_the_command_is_found(proc, watch):
    proc.start("a", 7, 100, noted=False)
    command = proc.path / "7" / "cmdline"
    command.write_bytes(b"qemu\0" + b"-device\0virtio-blk\0" * 5000 + command.read_bytes())
    assert watch.read(facts("a")) == [100]


def test_of_many_processes_with_one_uuid_four_are_told(proc, watch):
    for pid in range(9, 3, -1):
        proc.start("a", pid, noted=False)
    assert watch.read(facts("a")) == [-1]
    assert watch.troubles() == {"a": "processes 4, 5, 6, 7 were all started with its UUID; end all but its QEMU"}


def test_a_process_of_another_domain_under_a_number_just_found_is_not_opened(proc, watch, monkeypatch):
    proc.start("b", 7, 900)
    monkeypatch.setattr("controller.host.processfiles.find", lambda *_: {uuid_of("a"): (7,)})
    assert watch.read(facts("a")) == [-1]
    assert watch.troubles() == {"a": "process 7 is not the domain's any more"}


def test_a_domain_that_was_started_anew_is_read_from_its_new_process(proc, watch):
    proc.start("a", 7, 100)
    watch.read(facts("a"))
    proc.end(7)
    proc.start("a", 8, 200)
    assert watch.read(facts("a", incarnation=2)) == [200]


def test_a_process_that_comes_late_is_found_later(proc, watch):
    domain = facts("a")
    assert watch.read(domain) == [-1]
    proc.start("a", 7, 100)
    assert watch.read(domain) == [-1]
    watch.now += 9.9
    assert watch.read(domain) == [-1]
    watch.now += 0.1
    assert watch.read(domain) == [100]
    assert watch.troubles() == {}


def test_a_process_that_is_not_to_be_found_is_searched_for_ever_less_often_until_domains_change(watch, monkeypatch):
    searches = []
    monkeypatch.setattr(
        processfiles, "find", lambda _proc, names, _files: searches.append(watch.now) or dict.fromkeys(names, ())
    )

    def until(end: float) -> list[float]:
        searches.clear()
        while watch.now < end:
            watch.now += 1.0
            watch.read(*domains)
        return list(searches)

    domains = (facts("a"),)
    watch.read(*domains)
    assert until(480.0) == [RETRY_S, 30.0, 70.0, 150.0, 150.0 + LONGEST_S, 150.0 + 2 * LONGEST_S]
    domains = facts("a"), facts("b")
    assert until(500.0) == [481.0, 481.0 + RETRY_S]


def test_a_hidden_process_is_said_to_be_hidden(proc, watch):
    shutil.rmtree(proc.path / "1")
    proc.start("own", 7)
    assert watch.read(facts("a")) == [-1]
    assert "hides processes of others (hidepid, ProtectProc)" in watch.troubles()["a"]


def test_a_process_that_may_not_be_read_is_said_to_be_hidden(proc, watch):
    """As with hidepid=noaccess: folders can be seen, and nothing in them can be read."""
    (proc.path / "1" / "cmdline").unlink()
    proc.start("a", 7)
    (proc.path / "7" / "cmdline").unlink()
    assert watch.read(facts("a")) == [-1]
    assert "hides processes of others (hidepid, ProtectProc)" in watch.troubles()["a"]


def test_a_container_with_the_hosts_meminfo_alone_is_told_of_it(proc, watch):
    shutil.rmtree(proc.path / "1")
    assert watch.read(facts("a")) == [-1]
    assert "holds no processes; mount all of the host's there" in watch.troubles()["a"]


def test_a_container_without_the_mount_is_told_of_it(watch):
    assert watch.read(facts("a")) == [-1]
    assert "in a container, mount the host's /proc" in watch.troubles()["a"]


def test_a_folder_that_is_no_proc_is_said_to_be_none(proc, watch):
    (proc.path / "meminfo").unlink()
    assert watch.read(facts("a")) == [-1]
    assert "is no /proc" in watch.troubles()["a"]


@pytest.mark.parametrize("text", ["", "1 2", "x y z", "1 -"])
def test_numbers_that_make_no_sense_are_none(proc, watch, text):
    proc.start("a", 7, 100)
    watch.read(facts("a"))
    (proc.path / "7" / "statm").write_text(text)
    assert watch.read(facts("a")) == [-1]
    assert "cannot be read any more" in watch.troubles()["a"]


def test_a_qemu_that_has_ended_and_is_still_listed_is_not_read(proc, watch):
    """A zombie holds nothing, says its statm."""
    proc.start("a", 7, 100)
    watch.read(facts("a"))
    proc.hold(7, 0)
    assert watch.read(facts("a")) == [-1]
    assert "a zombie" in watch.troubles()["a"]


def test_counters_that_the_kernel_sums_up_inexactly_are_never_negative(proc, watch):
    proc.start("a", 7)
    proc.hold(7, 10, shared=12)
    assert watch.read(facts("a")) == [0]


def test_without_a_free_descriptor_a_process_is_found_later(proc, watch):
    proc.start("a", 7, 100)
    domain = facts("a")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        assert watch.read(domain) == [-1]
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert watch.troubles() == {"a": f"{proc.path} cannot be read: Too many open files"}
    watch.now += RETRY_S
    assert watch.read(domain) == [100]


def test_files_are_let_go_with_their_domain(proc, watch, descriptors):
    for number in range(20):
        proc.start(f"a{number}", 100 + number)
    before = len(descriptors())
    watch.read(*(facts(f"a{number}") for number in range(20)))
    assert len(descriptors()) == before + 20
    watch.read(facts("a3"))
    assert len(descriptors()) == before + 1
    watch.read(facts("a3", incarnation=2))
    assert len(descriptors()) == before + 1
    watch.resident.close()
    assert len(descriptors()) == before


@pytest.mark.parametrize(
    ("soft", "hard", "number", "then"),
    [
        (64, 1000, 128, [(128, 1000)]),
        (64, 100, 128, [(100, 100)]),
        (64, resource.RLIM_INFINITY, 128, [(128, resource.RLIM_INFINITY)]),
        (128, 1000, 128, []),
        (100, 100, 128, []),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 128, []),
    ],
)
def test_the_limit_is_raised_where_it_is_too_low_and_never_lowered(monkeypatch, soft, hard, number, then):
    made = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))
    allow_descriptors(number)
    assert made == then


def test_a_real_process_is_read_until_it_ends(tmp_path):
    command = [sys.executable, "-c", "print(flush=True); input()", "-uuid", uuid_of("a"), "-display"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        resident = Resident(Path("/proc"), tmp_path)
        resident.watch([facts("a")])
        assert MIB < resident.read()[0] < 1024 * MIB
        process.kill()
        process.wait()
        assert np.isnan(resident.read()[0])
        assert "No such process" in resident.entries["a"].trouble
        resident.close()


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
        allow_descriptors(1100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(1100, hard), hard)
        allow_descriptors(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(1100, hard), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("error", [OSError(1, "Operation not permitted"), ValueError("not allowed")])
def test_a_sandbox_that_keeps_the_limit_ends_nothing(monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    allow_descriptors(128)

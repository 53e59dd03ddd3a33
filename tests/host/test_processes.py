"""When QEMU began."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller.host.processes import find, started

UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
PROC = Path("/proc")


@pytest.fixture
def qemu():
    """A process that is called as QEMU is."""
    command = [
        sys.executable,
        "-c",
        "print(flush=True); input()",
        "-name",
        "guest=a",
        "-uuid",
        UUID,
        "-display",
        "none",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # it is no longer on its way from fork to exec
        yield process
        process.kill()


@pytest.mark.usefixtures("qemu")
def test_a_domain_began_with_its_qemu():
    found = started(PROC, {UUID: "a", "another": "b"})
    assert found == {UUID: pytest.approx(time.time(), abs=5)}


@pytest.mark.usefixtures("qemu")
def test_only_those_that_are_asked_for_are_told():
    assert started(PROC, {"another": "b"}) == {}


def process(proc: Path, pid: int, ticks: int, uuid: str = UUID) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "cmdline").write_bytes(f"qemu\0-uuid\0{uuid}\0-S\0".encode())
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b) S " + "0 " * 18 + f"{ticks} 0 0")


def test_the_age_is_that_of_the_clock_that_goes_on_while_the_machine_sleeps(tmp_path):
    process(tmp_path, 7, ticks=100 * os.sysconf("SC_CLK_TCK"))
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - 100
    assert started(tmp_path, {UUID: "a"}) == {UUID: pytest.approx(time.time() - age, abs=1)}


def test_of_several_the_oldest_counts(tmp_path):
    for pid, seconds in enumerate([300, 100, 200], 1):
        process(tmp_path, pid, ticks=seconds * os.sysconf("SC_CLK_TCK"))
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - 100
    assert started(tmp_path, {UUID: "a"}) == {UUID: pytest.approx(time.time() - age, abs=1)}


@pytest.mark.parametrize("stat", [None, "", "7 (a) S 0", "7 (a) S " + "x " * 30])
def test_a_process_that_cannot_be_read_is_none(tmp_path, stat):
    process(tmp_path, 7, ticks=1)
    (tmp_path / "7" / "stat").unlink()
    if stat is not None:
        (tmp_path / "7" / "stat").write_text(stat)
    (tmp_path / "8").mkdir()
    assert started(tmp_path, {UUID: "a"}) == {}


def test_without_a_proc_nothing_is_found(tmp_path):
    assert started(tmp_path / "none", {UUID: "a"}) == {}


def test_where_processes_are_not_to_be_seen_the_file_tells_that_libvirt_wrote_at_the_start(tmp_path):
    (tmp_path / "a.pid").write_text("7")
    os.utime(tmp_path / "a.pid", (1.6e9, 1.6e9))
    assert started(tmp_path / "none", {UUID: "a", "another": "b", "third": "c\0"}, tmp_path) == {UUID: 1.6e9}


def test_a_false_name_leads_to_no_file_elsewhere(tmp_path):
    (tmp_path / "notes").mkdir()
    os.mkfifo(tmp_path / "a.pid")  # who opens it waits for ever
    names = {UUID: "../a"}
    assert started(tmp_path, names, tmp_path / "notes") == {}
    assert find(tmp_path, names, tmp_path / "notes") == {UUID: ()}

"""What the host feels of its guests between looks."""

import threading

import numpy as np
import pytest
from fake_proc import MIB, FakeProc, facts

from controller.host.senses import BURST, REFILL, WINDOW_SECONDS, Senses


class Host:
    """Domains in a made-up /proc, and a clock that goes on by a quarter of a second from pass to pass."""

    def __init__(self, proc: FakeProc) -> None:
        self.proc = proc
        self.now = 100.0
        self.wakes = 0
        self.domains = ()
        self.senses = Senses(
            proc.path, lambda: self.domains, self.wake, clock=lambda: self.now, pid_files=proc.pid_files
        )

    def wake(self) -> None:
        self.wakes += 1

    def add(self, name: str, pid: int, resident: float, **others: object) -> None:
        self.proc.start(name, pid, resident)
        self.domains = (*self.domains, facts(name, **others))

    def hold(self, pid: int, *sizes: float) -> None:
        """One pass for each of `sizes`, MiB."""
        for size in sizes:
            self.proc.hold(pid, size)
            self.now += 0.25
            self.senses.turn()

    def woke(self) -> set[str]:
        return set(self.senses.feel().woke)

    def felt(self, key: str) -> tuple[float, float]:
        """MiB grown, and since how many seconds."""
        feelings = self.senses.feel()
        row = feelings.keys.index(key)
        return round(feelings.grew[row] / MIB), self.now - feelings.since[row]


@pytest.fixture
def host(tmp_path):
    return Host(FakeProc(tmp_path))


def test_growth_wakes_the_loop_and_is_told_once(host):
    host.add("a", 7, 100)
    host.add("b", 8, 100)
    host.hold(7, 100, 108)
    assert (host.wakes, host.woke(), host.woke()) == (1, {"a"}, set())


def test_growth_is_told_with_when_it_began(host):
    host.add("a", 7, 100)
    host.hold(7, 100, 100, 150, 220)
    assert host.felt("a") == (120, 0.5)


def test_growth_that_is_older_than_the_window_is_not_told_any_more(host):
    host.add("a", 7, 100)
    host.hold(7, 100, 220, *[220] * int(WINDOW_SECONDS / 0.25 + 1))
    assert host.felt("a")[0] == 0


def test_a_little_growth_wakes_nobody(host):
    host.add("a", 7, 100)
    host.hold(7, 100, 107)
    assert (host.wakes, host.woke()) == (0, set())


def test_a_little_of_a_large_guest_is_more(host):
    host.add("a", 7, 64 * 1024)
    host.hold(7, 64 * 1024, 65 * 1024 - 1)
    assert host.wakes == 0
    host.hold(7, 65 * 1024 + 20)
    assert host.woke() == {"a"}


def test_growth_in_small_steps_adds_up_over_any_time(host):
    host.add("a", 7, 100)
    host.hold(7, *np.arange(100, 108.5, 0.1))
    assert (host.wakes, host.woke()) == (1, {"a"})


def test_memory_that_is_given_back_and_taken_again_is_growth(host):
    host.add("a", 7, 400)
    host.hold(7, 400, 200, 260)
    assert host.felt("a") == (60, 0.25)
    assert host.wakes == 1


def test_giving_memory_back_wakes_nobody(host):
    host.add("a", 7, 400)
    host.hold(7, 400, 200, 200)
    assert (host.wakes, host.felt("a")[0]) == (0, 0)


def test_a_domain_that_goes_on_growing_wakes_less_and_less(host):
    host.add("a", 7, 100)
    host.hold(7, *range(100, 100 + 200 * 10, 10))
    assert host.wakes == pytest.approx(BURST + 50 * REFILL, abs=2)


def test_a_domain_that_comes_does_not_hide_the_growth_of_another(host):
    host.add("a", 7, 100)
    host.hold(7, 100, 100)
    host.add("b", 8, 300)
    host.hold(7, 160)
    assert host.felt("a") == (60, 0.25)
    assert host.wakes == 1
    assert host.felt("b")[0] == 0


def test_a_domain_that_was_started_anew_has_not_grown(host):
    host.add("a", 7, 100)
    host.hold(7, 100)
    host.proc.end(7)
    host.proc.start("a", 8, 900)
    host.domains = (facts("a", incarnation=2),)
    host.hold(8, 900)
    assert (host.wakes, host.felt("a")[0]) == (0, 0)


def test_a_domain_that_cannot_be_read_has_not_grown(host):
    host.add("a", 7, 100)
    host.domains += (facts("b"),)
    host.hold(7, 100, 150)
    feelings = host.senses.feel()
    assert np.isnan(feelings.resident[1])
    assert (feelings.grew[1], feelings.woke) == (0.0, {"a"})


def test_without_any_domain_that_can_be_read_nothing_is_felt(host):
    host.domains = (facts("b"),)
    host.senses.turn()
    assert host.senses.feel().keys == ()


def test_a_person_can_read_of_whom_it_does_not_tell_and_why(host, caplog):
    caplog.set_level("INFO")
    host.add("a", 7, 100)
    host.domains += (facts("b", resident=False), facts("c", resident=False))
    host.senses.start()
    try:
        until(lambda: host.senses.status().domains == 1)
        told = host.senses.status()
    finally:
        host.senses.close()
    trouble = "b and 1 more: its memory is not in QEMU's resident size: huge pages, or a confidential guest"
    assert (told.name, told.source, told.trouble) == ("resident", f"{host.proc.path}/PID/statm", trouble)
    assert caplog.messages == [f"resident size: {trouble}"]


def test_senses_that_were_never_started_say_so(host):
    assert host.senses.status().trouble == "the thread that reads it has ended; see the log"


def test_senses_feel_by_themselves_until_they_are_closed(host):
    woken = threading.Event()
    host.add("a", 7, 100)
    senses = Senses(host.proc.path, lambda: host.domains, woken.set, pid_files=host.proc.pid_files)
    senses.start()
    until(lambda: senses.status().domains == 1)
    host.proc.hold(7, 200)
    assert woken.wait(10)
    assert senses.feel().woke == {"a"}
    senses.close()
    senses.close()


def until(condition) -> None:
    waits = threading.Event()
    for _ in range(1000):
        if condition():
            return
        waits.wait(0.01)
    raise AssertionError(condition)

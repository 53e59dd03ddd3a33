"""What the host feels of its guests between looks."""

import threading
from pathlib import Path

import numpy as np
import pytest
from fake_proc import MIB, FakeProc, facts

from controller.host.senses import Sense, Senses, rest, swap_sense


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
    host.hold(7, 100, *[220] * 4)
    assert host.felt("a") == (120, 1.0)
    host.hold(7, 220)
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
    host.hold(7, *range(100, 100 + 14 * 10, 10))
    assert host.wakes == 8
    host.hold(7, *range(240, 240 + 200 * 10, 10))
    assert host.wakes == pytest.approx(8 + 50 / 5, abs=2)


def test_a_domain_that_grew_for_its_own_sake_has_all_its_wakes_again_after_forty_seconds(host):
    host.add("a", 7, 100)
    for _ in range(2):
        host.wakes = 0
        host.hold(7, 100, *range(110, 110 + 12 * 10, 10))
        assert host.wakes == 8
        host.now += 40


def test_a_domain_that_comes_gives_another_no_new_wakes(host):
    host.add("a", 7, 100)
    host.hold(7, *range(100, 100 + 10 * 10, 10))
    host.add("b", 8, 300)
    host.hold(7, 200)
    assert host.wakes == 8


def test_growth_counts_from_when_a_domain_was_first_read(host):
    host.add("a", 7, 100)
    host.hold(7, 100)
    host.add("b", 8, 300)
    host.hold(8, 300, 360)
    assert host.felt("b") == (60, 0.25)


def test_a_domain_that_is_gone_has_woken_nobody(host):
    host.add("b", 8, 300)
    host.add("a", 7, 100)
    host.hold(7, 100, 200)
    host.domains = host.domains[:1]
    host.senses.turn()
    assert host.woke() == set()


@pytest.mark.parametrize(("took", "seconds"), [(0.0, 0.15), (0.003, 0.15), (0.005, 0.25), (1.0, 50.0)])
def test_where_passes_take_long_there_is_more_rest_between_them(took, seconds):
    assert rest(took) == pytest.approx(seconds)


def test_guests_that_do_not_tell_what_they_swap_in_are_counted():
    sense = swap_sense(np.array([1.0, np.nan, 0.0]))
    assert sense.domains == 2
    assert sense.trouble == "1 of 3 guests do not count what they swap in, or have not told yet"
    assert swap_sense(np.zeros(2)).trouble == ""


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
    felt = host.senses.feel()
    assert (felt.keys, [*felt.resident, *felt.grew, *felt.since]) == ((), [])


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


def test_what_cannot_be_felt_is_logged_once_and_when_it_is_over(host, caplog):
    caplog.set_level("INFO")
    host.add("a", 7, 100)
    host.domains += (facts("b", resident=False),)
    for _ in range(2):
        host.senses.turn()
    host.domains = host.domains[:1]
    for _ in range(2):
        host.senses.turn()
    assert caplog.messages == [
        "resident size: b: its memory is not in QEMU's resident size: huge pages, or a confidential guest",
        "resident size: known of every domain",
    ]


@pytest.mark.parametrize(("causes", "more"), [(3, ""), (5, "; and 2 other causes")])
def test_of_many_causes_three_are_told(host, caplog, causes, more):
    caplog.set_level("INFO")
    for number in range(causes):
        for pid in (10 + number, 20 + number):
            host.proc.start(f"a{number}", pid, noted=False)
    host.domains = tuple(facts(f"a{number}") for number in range(causes))
    host.senses.turn()
    told = [f"a{n}: processes {10 + n}, {20 + n} were all started with its UUID" for n in range(3)]
    assert caplog.messages == [f"resident size: {'; '.join(told)}{more}"]


def test_senses_that_were_never_started_say_so(host):
    assert host.senses.status().trouble == "the thread that reads it has ended; see the log"


def test_senses_feel_by_themselves_until_they_are_closed(host):
    woken = threading.Event()
    host.add("a", 7, 100)
    senses = Senses(host.proc.path, lambda: host.domains, woken.set, pid_files=host.proc.pid_files)
    for size in (200, 300):
        woken.clear()
        senses.start()
        until(lambda: senses.status().domains == 1)
        host.proc.hold(7, size)
        assert woken.wait(10)
        assert senses.feel().woke == {"a"}
        senses.close()
        senses.close()
        assert "ballast-senses" not in {thread.name for thread in threading.enumerate()}
        assert senses.status() == Sense(
            "resident", f"{host.proc.path}/PID/statm", 0, "the thread that reads it has ended; see the log"
        )
    assert not [file for file in open_files() if file.startswith(f"{host.proc.path}/")]


def open_files() -> list[str]:
    links = Path("/proc/self/fd").iterdir()
    return [str(link.readlink()) for link in links if link.is_symlink()]


def until(condition) -> None:
    waits = threading.Event()
    for _ in range(1000):
        if condition():
            return
        waits.wait(0.01)
    raise AssertionError(condition)

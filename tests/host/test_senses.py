"""What the host feels of its guests between looks."""

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from fake_proc import MIB, FakeProc, Triggers, facts

from controller.engine.inventory import Pod
from controller.host.senses import (
    BURST,
    HANGS_S,
    PASS_S,
    REFILL,
    GrowthDetector,
    Sense,
    Senses,
    rest,
    swap_sense,
)


class FakeProcesses:
    """Domains in a made-up /proc, and a clock that goes on by a quarter of a second from pass to pass."""

    def __init__(self, proc: FakeProc) -> None:
        self.proc = proc
        self.now = 100.0
        self.wakes = 0
        self.domains = ()
        self.senses = Senses(
            proc.path, proc.sys, lambda: self.domains, self.wake, clock=lambda: self.now, pid_files=proc.pid_files
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
def proc(tmp_path):
    return FakeProc(tmp_path)


@pytest.fixture
def host(proc):
    return FakeProcesses(proc)


def test_growth_wakes_the_loop_and_is_told_once(host):
    host.add("a", 7, 100)
    host.add("b", 8, 100)
    host.hold(7, 100, 108)
    assert (host.wakes, host.woke(), host.woke()) == (1, {"a"}, set())


def test_growth_is_told_with_when_it_began(host):
    host.add("a", 7, 100)
    host.hold(7, 100, 100, 150, 220)
    assert host.felt("a") == (120, 0.5)


def test_how_late_growth_is_felt_is_told_also_of_guests_at_rest(host):
    host.add("a", 7, 100)
    told = []
    for _ in range(12):
        host.hold(7, 100)
        told.append(host.senses.feel().pause)
        host.now += 1.0
    assert told == [0.0, *[1.25] * 11]


def test_growth_that_is_older_than_the_window_is_not_told_any_more(host):
    host.add("a", 7, 100)
    host.hold(7, 100, *[220] * 4)
    assert host.felt("a") == (120, 1.0)
    host.hold(7, 220)
    assert host.felt("a")[0] == 0


def test_where_passes_are_seconds_apart_growth_is_told_from_one_to_the_next(host):
    host.add("a", 7, 100)
    for size in (100, 150, 220):
        host.now += 1.75
        host.hold(7, size)
    assert host.felt("a") == (70, 2.0)


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


def test_growth_below_what_a_domain_is_alerted_at_wakes_nobody_and_uses_up_no_wakes(host):
    host.add("a", 7, 100)
    host.add("b", 8, 100)
    host.hold(7, 100)
    host.senses.alert_at(host.senses.feel().keys, np.array([300.0, -np.inf]) * MIB)
    host.hold(7, *range(110, 300, 10))
    assert host.wakes == 0
    host.hold(8, 108)
    assert host.woke() == {"b"}
    host.wakes = 0
    host.hold(7, *range(300, 400, 10))
    assert (host.wakes, host.woke()) == (8, {"a"})


def test_alerts_meant_for_other_domains_are_not_heeded(host):
    host.add("a", 7, 100)
    host.hold(7, 100)
    host.senses.alert_at(("z",), np.array([900.0]) * MIB)
    host.hold(7, 110)
    assert host.woke() == {"a"}


def test_what_a_domain_is_alerted_at_stays_as_others_come_and_go(host):
    host.add("a", 7, 100)
    host.hold(7, 100)
    host.senses.alert_at(host.senses.feel().keys, np.array([300.0]) * MIB)
    host.add("b", 8, 100)
    host.hold(7, 200)
    assert host.wakes == 0


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


@pytest.mark.parametrize("silent", [0, 1], ids=["swap_in", "swap_out"])
def test_guests_that_do_not_tell_what_they_swap_are_counted(silent):
    told = [np.zeros(3), np.zeros(3)]
    assert swap_sense(*told).trouble == ""
    told[silent] = np.array([1.0, np.nan, 0.0])
    sense = swap_sense(*told)
    assert sense.domains == 2
    assert sense.trouble == "1 of 3 guests do not count what they swap, or have not told yet"


def test_after_forty_seconds_of_rest_a_domain_may_wake_as_often_as_at_first(host):
    host.add("a", 7, 100)
    host.hold(7, *range(100, 100 + 60 * 10, 10))
    host.now += BURST / REFILL
    before = host.wakes
    host.hold(7, *range(720, 720 + 8 * 20, 20))
    assert host.wakes == before + 8


def test_a_domain_that_comes_does_not_hide_the_growth_of_another(host):
    host.add("a", 7, 100)
    host.hold(7, 100, 100)
    host.add("b", 8, 300)
    host.hold(7, 160)
    assert host.felt("a") == (60, 0.25)
    assert host.wakes == 1
    assert host.felt("b")[0] == 0


class TestStalls:
    """Of QEMU, for memory of the host."""

    @pytest.fixture
    def proc(self, tmp_path):
        proc = FakeProc(tmp_path)
        proc.mount_cgroups()
        return proc

    @pytest.fixture
    def fire(self, host, monkeypatch):
        """The kernel's trigger on the cgroup of a domain `a` fires."""
        triggers = Triggers()
        monkeypatch.setattr("controller.host.stalls.open_trigger", triggers.open)
        host.add("a", 7, 100)
        host.proc.put(7, "/machine.slice/machine-qemu-1-a.scope/libvirt/emulator")
        host.hold(7, 100)
        path = host.proc.sys / "fs/cgroup/machine.slice/machine-qemu-1-a.scope/memory.pressure"

        def fire(size: float = 100) -> None:
            triggers.fire(path)
            host.hold(7, size)
            triggers.polled(path)

        yield fire
        triggers.close()

    def test_a_stall_wakes_the_loop_and_is_told_once(self, host, fire):
        fire()
        assert host.wakes == 1
        assert (host.senses.feel().stalled, host.senses.feel().stalled) == ({"a"}, set())

    @pytest.mark.usefixtures("fire")
    def test_without_one_nobody_stalls(self, host):
        host.hold(7, 100, 100)
        assert (host.wakes, host.senses.feel().stalled) == (0, set())

    def test_it_is_told_of_a_domain_whose_size_cannot_be_read(self, host, fire):
        host.domains = (facts("a", resident=False),)
        fire()
        assert host.senses.feel().stalled == {"a"}

    def test_a_domain_has_so_many_wakes_whatever_the_sense(self, host, fire):
        for size in range(100, 100 + 60 * 10, 10):
            fire(size)
        assert host.wakes == pytest.approx(BURST + 60 * 0.25 * REFILL, abs=2)


def test_two_files_are_allowed_for_every_domain_two_for_its_own_connection_and_some_for_what_else_is_open(
    host, monkeypatch
):
    allowed = []
    monkeypatch.setattr("controller.host.senses.allow_descriptors", allowed.append)
    host.domains = (facts("a"), facts("b"), facts("c", pod=Pod("1234", "prod", "launcher-c")))
    host.senses.turn()
    assert allowed == [2 * 3 + 2 + 256]


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
        until(lambda: host.senses.status()[0].domains == 1)
        told, stalls = host.senses.status()
    finally:
        host.senses.close()
    trouble = "b and 1 more: its memory is not in QEMU's resident size: huge pages, or a confidential guest"
    assert (told.name, told.source, told.trouble) == ("resident", f"{host.proc.path}/PID/statm", trouble)
    why = f"a and 2 more: {host.proc.sys}/fs/cgroup holds no cgroups of v2"
    assert (stalls.name, stalls.domains, stalls.trouble) == ("pressure", 0, why)
    assert caplog.messages == [f"sense resident: {trouble}", f"sense pressure: {why}"]


def test_a_reason_that_keeps_more_domains_away_is_logged_once(host, caplog):
    caplog.set_level("INFO")
    for name in ("b", "c"):
        host.domains += (facts(name, resident=False),)
        host.senses.turn()
    host.domains = ()
    host.senses.turn()
    assert [each for each in caplog.messages if each.startswith("sense resident")] == [
        "sense resident: b: its memory is not in QEMU's resident size: huge pages, or a confidential guest",
        "sense resident: it tells of every domain",
    ]


def test_what_was_felt_before_a_pass_hangs_is_felt_no_more(host):
    host.add("a", 7, 100)
    host.hold(7, 100, 220)
    host.now += HANGS_S
    assert host.senses.feel().keys == ("a",)
    host.now += 0.1
    assert host.senses.feel().keys == ()


def test_a_pass_that_hangs_is_told(host):
    """A process of which the kernel gives no command line, as when its memory map is being changed for long."""
    hangs, go_on = threading.Event(), threading.Event()

    def inventory():
        hangs.set()
        go_on.wait(10)
        return host.domains

    senses = Senses(host.proc.path, host.proc.sys, inventory, host.wake, clock=lambda: host.now)
    senses.start()
    assert hangs.wait(10)
    host.now += HANGS_S + 0.1
    told = {each.trouble for each in senses.status()}
    go_on.set()
    senses.close()
    assert told == {"nothing could be read for 10 s; does a QEMU hang?"}


def test_senses_that_were_never_started_say_so(host):
    assert {each.trouble for each in host.senses.status()} == {"the thread that reads it has ended; see the log"}


@pytest.mark.parametrize(("took", "rest"), [(0.001, PASS_S), (0.01, 0.5)])
def test_a_pass_is_followed_by_a_rest_that_keeps_the_load_low(host, monkeypatch, took, rest):
    rests, times = [], iter((1.0, *[1.0 + took] * 4))
    monkeypatch.setattr("controller.host.senses.time.thread_time", lambda: next(times))
    stop = host.senses._stop
    monkeypatch.setattr(stop, "wait", lambda seconds: rests.append(seconds) or stop.set())
    host.senses.start()
    host.senses._thread.join(10)
    host.senses.close()
    assert rests == [pytest.approx(rest)]


@pytest.mark.parametrize(("names", "more"), [("abc", []), ("abcde", ["and 2 other causes"])])
def test_of_many_causes_three_are_told(host, names, more):
    host.domains = tuple(facts(name) for name in names)
    for name in names:
        for pid in (ord(name), ord(name) + 100):
            host.proc.start(name, pid, noted=False)
    host.senses.start()
    try:
        until(lambda: host.senses.status()[0].trouble)
        told = host.senses.status()[0].trouble
    finally:
        host.senses.close()
    causes = [
        "a: processes 97, 197 were all started with its UUID; end all but its QEMU",
        "b: processes 98, 198 were all started with its UUID; end all but its QEMU",
        "c: processes 99, 199 were all started with its UUID; end all but its QEMU",
    ]
    assert told == "; ".join([*causes, *more])


def test_senses_feel_by_themselves_until_they_are_closed(host):
    woken = threading.Event()
    host.add("a", 7, 100)
    senses = Senses(host.proc.path, host.proc.sys, lambda: host.domains, woken.set, pid_files=host.proc.pid_files)
    for size in (200, 300):
        woken.clear()
        senses.start()
        until(lambda: senses.status()[0].domains == 1)
        host.proc.hold(7, size)
        assert woken.wait(10)
        assert senses.feel().woke == {"a"}
        senses.close()
        senses.close()
        assert "ballast-senses" not in {thread.name for thread in threading.enumerate()}
        assert senses.status()[0] == Sense(
            "resident", f"{host.proc.path}/PID/statm", 0, "the thread that reads it has ended; see the log"
        )
    assert not [file for file in open_files() if file.startswith(f"{host.proc.path}/")]


def test_what_a_sense_takes_of_a_processor_is_told(host, monkeypatch):
    host.add("a", 7, 100)
    spent = itertools.count(0.0, 0.005)  # by each sense in each pass
    monkeypatch.setattr("controller.host.senses.time.thread_time", lambda: next(spent))
    monkeypatch.setattr(host.senses, "_run", host.senses._stop.wait)
    host.senses.start()
    try:
        host.hold(7, 100, 100)
        assert [each.cpu_percent for each in host.senses.status()] == pytest.approx([2.0, 2.0])
    finally:
        host.senses.close()


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


@pytest.mark.parametrize("seed", range(20))
def test_readings_that_stay_the_same_object_tell_what_equal_ones_do(seed):
    random = np.random.default_rng(seed)
    same, equal = (GrowthDetector(("a", "b"), (1, 1)) for _ in range(2))
    resident, now = np.array([100.0, np.nan]) * MIB, 0.0
    for number in range(300):
        if random.random() < 0.2:
            resident = resident + random.choice([-40.0, 4.0, 20.0, np.nan], 2, p=[0.2, 0.3, 0.45, 0.05]) * MIB
            resident = np.where(np.isnan(resident) & (random.random(2) < 0.5), 100.0 * MIB, resident)
        now += random.choice([0.15, 0.4, 6.0], p=[0.8, 0.19, 0.01])
        stalls = random.random(2) < (0.9 if number % 100 > 80 else 0.02)  # until no wakes are left
        told = [
            (
                growth.take(seen, now).tolist(),
                growth.allow(stalls).tolist(),
                *(each.tolist() for each in growth.recent()),
            )
            for growth, seen in ((same, resident), (equal, resident.copy()))
        ]
        np.testing.assert_equal(*told)

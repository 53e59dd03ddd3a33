"""Recording a host: what gets into the trace, what does not, and when it ends."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "loop"))

from fake_loop import MIB, FakeClock, FakeHost

from controller.engine.reasons import Reason
from controller.engine.tuning import Tuning
from controller.replay.record import Recorder
from controller.replay.trace import TraceWriter, read


class Recording:
    """A host with a guest `a`, recorded into a file."""

    def __init__(self, path: Path, limit: int = 100_000) -> None:
        self.path = path
        self.clock = FakeClock()
        self.host = FakeHost(self.clock)
        self.host.add("a", actual=1024, demand=256)
        self.left_out: list[tuple[str, Reason]] = []
        self.writer = TraceWriter(path, limit, resident=True)
        self.recorder = Recorder(
            self.host, self.clock, self.writer, lambda name, why: self.left_out.append((name, why))
        )

    def pass_two_looks(self) -> None:
        """Recorded at 0 s and 1 s; it is 2 s now."""
        self.recorder.run(1.0, 1)
        self.clock.now += 1

    def run(self, duration_s: float) -> list[list[float]]:
        """(time since the first, demand, maximum) of guest `a`."""
        self.recorder.run(1.0, duration_s)
        series = read(self.path).series[0]
        return [list(row) for row in zip(series.times - series.times[0], series.demand, series.maximum, strict=True)]


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    made = Recording(tmp_path / "out.csv")
    with made.writer:
        yield made


def test_every_interval_adds_the_demand_of_every_domain(recording: Recording) -> None:
    recording.host.add("b", actual=512, demand=100, maximum=512)
    assert recording.run(2) == [[0, 256, 2048], [1, 256, 2048], [2, 256, 2048]]
    assert recording.recorder.samples == 6
    assert (recording.host.applied, recording.host.ensured) == ([], {})


def test_statistics_older_than_the_balloons_move_are_no_sample(recording: Recording) -> None:
    """Nor in the second after it: a size that nobody here asked for may not be the last."""
    recording.pass_two_looks()
    recording.host.actual["a"] = 512 * MIB
    recording.host.demand["a"] = 300 * MIB
    assert recording.run(3)[2:] == [[4, 300, 2048], [5, 300, 2048]]


def test_a_domain_that_comes_later_begins_then(recording: Recording) -> None:
    recording.pass_two_looks()
    recording.host.add("b")
    recording.recorder.run(1.0, 1)
    trace = read(recording.path)
    assert trace.domains == ("a", "b")
    assert trace.series[1].times[0] > trace.series[0].times[1]


def test_statistics_that_stand_still_add_nothing(recording: Recording) -> None:
    recording.pass_two_looks()
    stopped = recording.clock.wall()
    recording.clock.wall = lambda: stopped
    assert [time for time, *_ in recording.run(3)] == [0, 1, 2]


def test_a_guest_without_statistics_is_told_once(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = {"state.state": 1, "state.reason": 1, "balloon.current": 1024, "balloon.rss": 1024}
    monkeypatch.setattr(recording.host, "_reply", lambda _: reply)
    recording.recorder.run(1.0, Tuning().boot_time + 10)
    assert recording.left_out == [("a", Reason.NO_STATISTICS)]
    assert recording.recorder.samples == 0


def test_a_recording_ends_when_the_file_is_full(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "out.csv", limit=130)
    with recording.writer:
        assert len(recording.run(1000)) == 2
    assert recording.recorder.full
    assert recording.path.stat().st_size <= 130


def test_a_recording_ends_when_it_is_stopped(recording: Recording) -> None:
    recording.clock.stopped = True
    recording.recorder.run(1.0)
    assert recording.host.looks == []


def test_what_the_host_held_of_a_guest_is_recorded_where_it_is_known(recording: Recording) -> None:
    recording.host.add("b", actual=512, demand=100, maximum=512)
    recording.host.resident["a"] = 300 * MIB
    recording.recorder.run(1.0, 1)
    header, *rows = (line.split(",") for line in recording.path.read_text().splitlines())
    assert header == ["time_s", "domain", "demand_mib", "max_mib", "resident_mib"]
    assert [(row[1], row[4]) for row in rows] == [("a", "300.000"), ("b", "")] * 2
    assert read(recording.path).domains == ("a", "b")

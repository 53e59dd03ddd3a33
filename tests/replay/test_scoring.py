"""Figures, by hand: two domains, a host of 1,000 MiB, ten seconds."""

import csv
import gzip
from dataclasses import replace

import numpy as np
import pytest
from made_traces import Script, trace

from controller.replay.peers.static_max import StaticMax
from controller.replay.run import ReplayError, replay
from controller.replay.score import score, write_allocations, write_looks
from controller.replay.trace import Trace
from controller.replay.world import HostRecord

HALVES = trace(a=[600.0] * 11, b=[200.0] * 11)


def record(a, b, looks=()):
    """`a`, `b`: (time, MiB) pairs."""
    return HostRecord(
        tuple(np.array([time for time, _ in each], dtype=float) for each in (a, b)),
        tuple(np.array([size for _, size in each], dtype=float) for each in (a, b)),
        np.array([time for time, _ in looks], dtype=float),
        np.array([row for _, row in looks], dtype=np.int64),
    )


def written(path):
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.reader(file))


def test_what_is_missing_and_what_is_idle_are_parts_of_demand():
    figures = score(HALVES, record([(0, 500)], [(0, 500)]), 1000).figures

    assert figures.shortfall == pytest.approx(100 / 800)
    assert figures.slack == pytest.approx(300 / 800)
    assert figures.worst_domain_shortfall == pytest.approx(100 / 600)
    assert figures.overcommit == 0
    assert figures.harm == figures.shortfall


def test_allocations_together_above_the_host_are_harm():
    figures = score(HALVES, record([(0, 500), (4, 900)], [(0, 500)]), 1000).figures

    assert figures.shortfall == pytest.approx(100 * 4 / 8000)
    assert figures.overcommit == pytest.approx(400 * 6 / 8000)
    assert figures.harm == pytest.approx(2800 / 8000)


def test_moves_and_looks_are_counted_by_domain_hour():
    looks = [(time, row) for time in (0, 5) for row in (0, 1)]
    figures = score(HALVES, record([(0, 500), (4, 900)], [(0, 500)], looks), 1000).figures

    hours = 20 / 3600
    assert figures.reallocations_per_domain_hour == pytest.approx(1 / hours)
    assert figures.looks_per_domain_hour == pytest.approx(4 / hours)


def test_a_domain_counts_only_while_it_is_there():
    late = trace(a=[600.0] * 11, b=[200.0] * 6)

    figures = score(late, record([(0, 900)], [(0, 900)]), 1000).figures

    assert figures.overcommit == pytest.approx(800 * 5 / (6000 + 1000))


def test_a_domain_without_demand_has_no_shortfall():
    idle = trace(a=[600.0] * 11, b=[0.0] * 11)

    assert score(idle, record([(0, 600)], [(0, 0)]), 1000).figures.worst_domain_shortfall == 0


def test_written_allocations_are_those_that_were_scored(tmp_path):
    result = replay(HALVES, Script({2: {0: 601.5}}), 1000)

    write_allocations(result, tmp_path / "allocations.csv.gz")

    half_way = str(round(2 + 101.5 / 2048 / 2, 6))
    assert written(tmp_path / "allocations.csv.gz") == [
        ["time_s", "domain", "allocation_mib"],
        ["0.0", "a", "500.0"],
        ["0.0", "b", "500.0"],
        [half_way, "a", "601.5"],
    ]


def test_a_domain_that_leaves_early_has_a_row_then_and_moves_no_more(tmp_path):
    """Both have their maximum of a host that has half of it, until one leaves."""
    pair = trace(step=10, maximum=1024.0, stays=[512.0] * 11, leaves=[512.0] * 2)
    result = replay(pair, StaticMax(), 1024)

    write_allocations(result, tmp_path / "allocations.csv.gz")

    assert result.figures.harm == pytest.approx(1024 * 10 / (512 * 110))
    assert result.figures.reallocations_per_domain_hour == 0
    assert written(tmp_path / "allocations.csv.gz") == [
        ["time_s", "domain", "allocation_mib"],
        ["0.0", "stays", "1024.0"],
        ["0.0", "leaves", "1024.0"],
        ["10.0", "leaves", "1024.0"],
    ]


@pytest.mark.parametrize("start", [0.1234564, 0.1234567])
def test_a_domain_has_memory_from_its_first_sample_on_however_many_decimals_that_has(start):
    given = trace(maximum=1024.0, a=[512.0] * 11)
    late = Trace(given.domains, (replace(given.series[0], times=given.series[0].times + start),))

    result = replay(late, StaticMax(), 500)

    assert [times.tolist() for times in result.record.times] == [[start]]
    assert result.figures.shortfall == 0
    assert result.figures.overcommit == pytest.approx(524 / 512)


def test_written_looks_are_one_line_a_domain_read(tmp_path):
    result = replay(HALVES, Script({}, looks=(3,)), 1000)

    write_looks(result, tmp_path / "looks.csv.gz")

    text = gzip.decompress((tmp_path / "looks.csv.gz").read_bytes()).decode()
    assert text == "time_s,domain\n3.0,a\n3.0,b\n"


@pytest.mark.parametrize("size", [0, -1, float("inf"), float("nan")])
def test_a_host_without_a_size_is_refused(size):
    with pytest.raises(ReplayError, match=r"host memory: .* give a positive size"):
        replay(HALVES, Script({}), size)


def test_a_trace_without_demand_is_refused():
    with pytest.raises(ReplayError, match="demand is 0 throughout"):
        replay(trace(a=[0.0, 0.0, 5.0]), Script({}), 1000)

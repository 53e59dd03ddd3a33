"""The soak's verdict: what counts as growth, and what as harm."""

import os

import pytest

from lab.endurance import Reading, judge, read
from lab.guest import Evidence
from soaking.__main__ import faults

FINE = Evidence(oom_kills=0, panics=0, swapped_in_pages=9, major_faults=9)


def readings(memory=lambda _: 80.0, descriptors=lambda _: 20, threads=lambda _: 9):
    return [Reading(2.0 * n, memory(n), descriptors(n), threads(n)) for n in range(400)]


def grown(made) -> list[str]:
    return [line.name for line in judge(made) if not line.flat]


def test_what_stays_as_it_is_is_flat():
    assert grown(readings()) == []


def test_growth_while_settling_is_none():
    assert grown(readings(memory=lambda n: min(60 + n, 120))) == []


def test_a_moments_peak_is_none():
    assert grown(readings(memory=lambda n: 200 if n % 50 == 0 else 80, descriptors=lambda n: 20 + 8 * (n == 399))) == []


def test_a_leak_of_memory_is_found():
    assert grown(readings(memory=lambda n: 80 + n * 0.03)) == ["resident memory (MiB)"]


def test_a_leak_of_descriptors_and_of_threads_is_found():
    assert grown(readings(descriptors=lambda n: 20 + n // 50)) == ["descriptors"]
    assert grown(readings(threads=lambda n: 9 + n // 50)) == ["threads"]


def test_too_few_readings_are_refused():
    with pytest.raises(ValueError, match="3 readings tell nothing of a trend"):
        judge(readings()[:3])


def test_a_process_is_read_from_proc():
    one = read(os.getpid(), 7.0)
    assert one.at == 7.0
    assert one.memory_mib > 10
    assert min(one.descriptors, one.threads) >= 1


def test_all_well_is_no_fault():
    assert faults(judge(readings()), ["a", "b"], [True, True], [FINE, FINE]) == []


def test_growth_death_and_harm_are_told_each_by_itself():
    leaking = judge(readings(threads=lambda n: 9 + n // 50))
    hurt = Evidence(oom_kills=2, panics=1, swapped_in_pages=0, major_faults=0)
    assert faults(leaking, ["a", "b"], [False, True], [FINE, hurt]) == [
        "threads grew from 12 to 16",
        "guest a is gone",
        "guest b: 2 out-of-memory kills, 1 panics",
    ]

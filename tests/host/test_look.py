"""From libvirt's replies to the engine's columns."""

import libvirt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.engine.snapshot import RunState
from controller.host.look import Look, join, numbers, read, to_samples, unanswered
from lab.fake_libvirt import REPLY, WITHOUT_JOB

KIB = 1024


def columns(samples) -> dict[str, list[float]]:
    return {name: getattr(samples, name).tolist() for name in samples.__slots__}


def test_a_recorded_reply_becomes_bytes_and_seconds():
    assert columns(to_samples(read(["a"], [REPLY]), {"a": 3})) == {
        "rows": [3],
        "run_state": [RunState.RUNNING],
        "actual": [262144 * KIB],
        "maximum": [262144 * KIB],
        "usable": [196440 * KIB],
        "unused": [193260 * KIB],
        "caches": [3132 * KIB],
        "available": [222620 * KIB],
        "swap_in": [8 * KIB],
        "swap_out": [4 * KIB],
        "major_faults": [3],
        "rss": [238468 * KIB],
        "updated": [1795488260],
    }


def test_what_the_guest_did_not_say_is_nan():
    silent = {name: REPLY[name] for name in (*WITHOUT_JOB, "balloon.rss")}
    samples = to_samples(read(["a"], [silent]), {"a": 0})
    assert samples.run_state.tolist() == [RunState.RUNNING]
    assert np.isnan(
        [samples.usable, samples.unused, samples.caches, samples.available, samples.swap_in, samples.updated]
    ).all()


@pytest.mark.parametrize("absent", [-1, 2**54 - 1, 2**64 - 1])
@pytest.mark.parametrize("name", sorted(name for name in REPLY if name not in WITHOUT_JOB))
def test_what_a_driver_does_not_set_is_nan(name, absent):
    as_told, without = ({**REPLY, name: value} for value in (absent, np.nan))
    samples, expected = (to_samples(read(["a"], [reply]), {"a": 0}) for reply in (as_told, without))
    np.testing.assert_equal(columns(samples), columns(expected))


@pytest.mark.parametrize("told", [-1, 2**53, 2**64 - 1, float("inf"), "262144", "text", None, b"1"])
@pytest.mark.parametrize("name", sorted(name for name in REPLY if name.startswith("balloon.")))
def test_what_a_false_libvirt_tells_is_a_size_or_nan(name, told):
    as_told, without = numbers({**REPLY, name: told}), {**REPLY, name: np.nan}
    samples, expected = (to_samples(read(["a"], [reply]), {"a": 0}) for reply in (as_told, without))
    np.testing.assert_equal(columns(samples), columns(expected))


@pytest.mark.parametrize("size", [0, 2**52])
def test_nothing_and_very_much_are_numbers(size):
    samples = to_samples(read(["a"], [{**REPLY, "balloon.major_fault": size}]), {"a": 0})
    assert samples.major_faults.tolist() == [size]


def test_a_driver_that_tells_no_resident_size_has_no_other_job_for_ever():
    reply = {name: value for name, value in REPLY.items() if name != "balloon.rss"}
    assert read(["a", "b"], [reply, {"state.state": 1, "state.reason": 1}]).run_state.tolist() == [RunState.RUNNING] * 2


def test_domains_outside_the_inventory_are_left_out():
    samples = to_samples(read(["a", "b", "c"], [REPLY] * 3), {"a": 1, "c": 0})
    assert samples.rows.tolist() == [1, 0]
    assert len(samples.actual) == 2


@pytest.mark.parametrize(
    ("state", "reason", "run_state"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, 0, RunState.RUNNING),
        (libvirt.VIR_DOMAIN_BLOCKED, 0, RunState.RUNNING),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, RunState.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, RunState.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, RunState.BUSY),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SAVE, RunState.BUSY),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY, RunState.BUSY),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED, RunState.BUSY),
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY, RunState.BUSY),
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED, RunState.BUSY),
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED, RunState.RUNNING),
        (libvirt.VIR_DOMAIN_PMSUSPENDED, 0, RunState.PAUSED),
        (libvirt.VIR_DOMAIN_SHUTDOWN, 0, RunState.NOT_RUNNING),
        (libvirt.VIR_DOMAIN_SHUTOFF, 0, RunState.NOT_RUNNING),
        (libvirt.VIR_DOMAIN_CRASHED, 0, RunState.NOT_RUNNING),
        (libvirt.VIR_DOMAIN_NOSTATE, 0, RunState.NOT_RUNNING),
    ],
)
def test_life(state, reason, run_state):
    assert read(["a"], [REPLY | {"state.state": state, "state.reason": reason}]).run_state.tolist() == [run_state]


def test_a_domain_that_was_passed_over_is_unresponsive_and_busy_where_a_job_is_why():
    skipped = {name: REPLY[name] for name in WITHOUT_JOB}
    look = read(["a", "b", "c"], [skipped, skipped, REPLY], in_job={"b"})
    assert look.run_state.tolist() == [RunState.UNRESPONSIVE, RunState.BUSY, RunState.RUNNING]


@pytest.mark.parametrize("state", [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_SHUTOFF])
def test_of_a_domain_that_does_not_run_nothing_is_expected(state):
    skipped = {name: REPLY[name] for name in WITHOUT_JOB} | {"state.state": state}
    (run_state,) = read(["a"], [skipped]).run_state
    assert run_state not in {RunState.UNRESPONSIVE, RunState.BUSY}


def test_a_domain_known_to_have_a_job_is_busy_although_it_answers():
    assert read(["a", "b"], [REPLY, REPLY], in_job={"b"}).run_state.tolist() == [RunState.RUNNING, RunState.BUSY]


def test_looks_are_joined_in_order():
    look = join([read(["a"], [REPLY]), Look(), unanswered(["b"], RunState.NOT_RUNNING)])
    assert look.keys == ("a", "b")
    assert look.run_state.tolist() == [RunState.RUNNING, RunState.NOT_RUNNING]
    assert np.isnan(look.values[1]).all()


def test_nothing_joined_is_an_empty_look():
    look = join([])
    assert columns(to_samples(look, {})) == {name: [] for name in look_columns()}


def look_columns() -> tuple[str, ...]:
    return tuple(columns(to_samples(Look(), {})))


@given(st.lists(st.dictionaries(st.sampled_from(sorted(REPLY)), st.integers(0, 2**63), max_size=16), max_size=5))
def test_no_reply_is_too_odd(replies):
    keys = [str(number) for number in range(len(replies))]
    samples = to_samples(read(keys, replies), {key: row for row, key in enumerate(keys)})
    assert samples.rows.tolist() == list(range(len(replies)))

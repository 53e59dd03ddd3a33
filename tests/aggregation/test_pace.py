"""When statuses are written: together, rarely, and ever later while it fails. With the clock in hand."""

from controller.aggregation.identity import Identity
from controller.aggregation.pace import GATHER_S, LONGEST_BACKOFF_S, SPACING_S, Pace

P = Identity("p", "uid")


def test_nothing_is_due_before_anything_changed():
    pace = Pace()
    assert pace.take(1e9) is None
    assert pace.next_due == float("inf")


def test_a_change_is_due_after_others_had_time_to_join_it():
    pace = Pace()
    pace.touch(P, 100.0)
    pace.touch(P, 100.0 + GATHER_S / 2)
    assert pace.next_due == 100.0 + GATHER_S
    assert pace.take(100.0 + GATHER_S - 0.001) is None
    assert pace.take(100.0 + GATHER_S) == P
    assert pace.take(100.0 + GATHER_S) is None


def test_changes_without_end_make_one_write_in_every_spacing():
    pace, written = Pace(), []
    for tick in range(600):
        now = tick / 10
        pace.touch(P, now)
        if pace.take(now):
            pace.wrote(P, now)
            written.append(now)
    assert written == [GATHER_S + each * SPACING_S for each in range(12)]


def test_a_change_long_after_the_last_write_does_not_wait_for_the_spacing():
    pace = Pace()
    pace.wrote(P, 0.0)
    pace.touch(P, 100.0)
    assert pace.next_due == 100.0 + GATHER_S


def test_what_can_wait_is_overtaken_by_what_cannot():
    pace = Pace()
    pace.touch(P, 0.0, within=300.0)
    assert pace.next_due == 300.0
    pace.touch(P, 10.0)
    assert pace.next_due == 10.0 + GATHER_S
    pace.touch(P, 10.1, within=300.0)
    assert pace.next_due == 10.0 + GATHER_S


def test_a_write_that_fails_is_tried_again_ever_later_even_if_nothing_changes():
    pace, now, waits = Pace(), 0.0, []
    for _ in range(12):
        pace.failed(P, now)
        pace.touch(P, now)
        waits.append(pace.next_due - now)
        now = pace.next_due
        assert pace.take(now) == P
    assert waits == [10.0, 20.0, 40.0] + [LONGEST_BACKOFF_S] * 9


def test_after_a_write_that_worked_the_spacing_is_the_usual_one():
    pace = Pace()
    pace.failed(P, 0.0)
    assert pace.take(10.0) == P
    pace.wrote(P, 10.0)
    pace.touch(P, 10.0)
    assert pace.next_due == 10.0 + SPACING_S


def test_policies_do_not_wait_for_each_other_and_the_longest_waiting_is_first():
    pace = Pace()
    pace.touch("z", 0.0)
    pace.touch("a", 0.1)
    pace.failed("f", 0.0)
    assert [pace.take(1.0) for _ in range(3)] == ["z", "a", None]


def test_a_policy_that_is_gone_is_due_no_more():
    pace = Pace()
    pace.touch(P, 0.0)
    pace.keep({Identity("p", "another uid")})
    assert pace.take(1e9) is None


def test_the_time_since_a_status_was_written_is_known():
    pace = Pace()
    assert pace.since(P, 100.0) == float("inf")
    pace.wrote(P, 100.0)
    assert pace.since(P, 130.0) == 30.0

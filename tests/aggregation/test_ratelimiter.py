"""When statuses are written: together, rarely, and ever later while it fails. With the clock in hand."""

from controller.aggregation.identity import PolicyIdentity
from controller.aggregation.ratelimiter import GATHER_S, LONGEST_BACKOFF_S, SPACING_S, RateLimiter

P = PolicyIdentity("p", "uid")


def test_nothing_is_due_before_anything_changed():
    rate_limiter = RateLimiter()
    assert rate_limiter.take(1e9) is None
    assert rate_limiter.next_due == float("inf")


def test_a_change_is_due_after_others_had_time_to_join_it():
    rate_limiter = RateLimiter()
    rate_limiter.touch(P, 100.0)
    rate_limiter.touch(P, 100.0 + GATHER_S / 2)
    assert rate_limiter.next_due == 100.0 + GATHER_S
    assert rate_limiter.take(100.0 + GATHER_S - 0.001) is None
    assert rate_limiter.take(100.0 + GATHER_S) == P
    assert rate_limiter.take(100.0 + GATHER_S) is None


def test_changes_without_end_make_one_write_in_every_spacing():
    rate_limiter, written = RateLimiter(), []
    for tick in range(600):
        now = tick / 10
        rate_limiter.touch(P, now)
        if rate_limiter.take(now):
            rate_limiter.wrote(P, now)
            written.append(now)
    assert written == [GATHER_S + each * SPACING_S for each in range(12)]


def test_a_change_long_after_the_last_write_does_not_wait_for_the_spacing():
    rate_limiter = RateLimiter()
    rate_limiter.wrote(P, 0.0)
    rate_limiter.touch(P, 100.0)
    assert rate_limiter.next_due == 100.0 + GATHER_S


def test_what_can_wait_is_overtaken_by_what_cannot():
    rate_limiter = RateLimiter()
    rate_limiter.touch(P, 0.0, within=300.0)
    assert rate_limiter.next_due == 300.0
    rate_limiter.touch(P, 10.0)
    assert rate_limiter.next_due == 10.0 + GATHER_S
    rate_limiter.touch(P, 10.1, within=300.0)
    assert rate_limiter.next_due == 10.0 + GATHER_S


def test_a_write_that_fails_is_tried_again_ever_later_even_if_nothing_changes():
    rate_limiter, now, waits = RateLimiter(), 0.0, []
    for _ in range(12):
        rate_limiter.failed(P, now)
        rate_limiter.touch(P, now)
        waits.append(rate_limiter.next_due - now)
        now = rate_limiter.next_due
        assert rate_limiter.take(now) == P
    assert waits == [10.0, 20.0, 40.0] + [LONGEST_BACKOFF_S] * 9


def test_after_a_write_that_worked_the_spacing_is_the_usual_one():
    rate_limiter = RateLimiter()
    rate_limiter.failed(P, 0.0)
    assert rate_limiter.take(10.0) == P
    rate_limiter.wrote(P, 10.0)
    rate_limiter.touch(P, 10.0)
    assert rate_limiter.next_due == 10.0 + SPACING_S


def test_policies_do_not_wait_for_each_other_and_the_longest_waiting_is_first():
    rate_limiter = RateLimiter()
    rate_limiter.touch("z", 0.0)
    rate_limiter.touch("a", 0.1)
    rate_limiter.failed("f", 0.0)
    assert [rate_limiter.take(1.0) for _ in range(3)] == ["z", "a", None]


def test_a_policy_that_is_gone_is_due_no_more():
    rate_limiter = RateLimiter()
    rate_limiter.touch(P, 0.0)
    rate_limiter.keep({PolicyIdentity("p", "another uid")})
    assert rate_limiter.take(1e9) is None


def test_the_time_since_a_status_was_written_is_known():
    rate_limiter = RateLimiter()
    assert rate_limiter.since(P, 100.0) == float("inf")
    rate_limiter.wrote(P, 100.0)
    assert rate_limiter.since(P, 130.0) == 30.0

"""Numbers of looks, orders and periods that the documents tell: whoever changes one changes the other."""

import pytest

from controller.host.calls import LATE_SECONDS, LIMIT
from controller.host.connection import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_LONGEST_SECONDS,
    CLOSE_SECONDS,
    PART_SECONDS,
    REREAD_SECONDS,
    Keeping,
)
from controller.host.domain_xml import LONGEST_LABEL, LONGEST_NAME, LONGEST_XML, MOST_LABELS
from controller.host.lane import FOR_LOOKS
from controller.host.looker import HELD_SECONDS, LOOK_SECONDS
from controller.host.mover import GROW_WAITS_SECONDS, MOVE_SECONDS, ORDERS_AT_ONCE, SHRINK_WAITS_SECONDS
from controller.host.periods import (
    CLOSING_AT_ONCE,
    CLOSING_LIMIT,
    CLOSING_SECONDS,
    CLOSING_SET_SECONDS,
    FOR_OTHERS,
    RETRY_SECONDS,
    SET_SECONDS,
    WORK_SECONDS,
)
from controller.host.pressure import CLOSE_SECONDS as PRESSURE_CLOSE_SECONDS
from controller.host.senses import BURST, HANGS_SECONDS, LEAST, LEAST_PART, LOAD, PASS_SECONDS, REFILL

MIB = 2**20
CALLS_OF_A_CLIENT = 5
"""That libvirtd serves at a time, as it comes (`max_client_requests`)."""
GRACE_SECONDS = 30
"""That systemd and Kubernetes grant from SIGTERM to SIGKILL."""


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("controller/README.md", f"a look takes {sum(LOOK_SECONDS):g} s at most"),
        ("controller/README.md", f"the orders after it {MOVE_SECONDS:g} s together"),
        ("controller/README.md", f"it is asked once and given {sum(LOOK_SECONDS):g} s"),
        ("controller/README.md", f"if it is less than {LATE_SECONDS:g} s old"),
        (
            "controller/README.md",
            f"a shrink after {SHRINK_WAITS_SECONDS:g} s, as its sample is too old then, "
            f"a grow after {GROW_WAITS_SECONDS:g} s",
        ),
        ("controller/README.md", f"those that hang last, within {CLOSING_SECONDS:g} s"),
        ("controller/README.md", f"A thread reads it of all domains every {PASS_SECONDS:g} s"),
        ("controller/README.md", f"as keeps it below {100 * LOAD:g} % of a processor"),
        (
            "controller/README.md",
            f"**Growth** by {LEAST / MIB:g} MiB, or by a {1 / LEAST_PART:g}th of what is resident",
        ),
        ("controller/README.md", f"and also when a pass hangs for {HANGS_SECONDS:g} s"),
        (
            "manifests/systemd/README.md",
            f"({BACKOFF_FIRST_SECONDS:g} s to {BACKOFF_LONGEST_SECONDS:g} s between tries)",
        ),
        ("SECURITY.md", f"No document types or entities, {LONGEST_XML / MIB:g} MiB at most"),
    ],
)
def test_a_number_of_the_code_is_the_one_that_is_told(page, path, sentence):
    assert sentence in page(path)


def test_numbers_that_are_told_in_words(page):
    told = page("controller/README.md")
    assert "libvirtd serves five calls of a client at a time, so four may hang" in told
    assert "Eight such wakes in a row, then one in 5 s, are the most for one domain" in told
    assert (BURST, 1 / REFILL) == (8, 5)
    assert LIMIT == CALLS_OF_A_CLIENT - 1
    assert "Grows are sent before shrinks, three at a time" in told
    assert ORDERS_AT_ONCE == 3
    assert "eight guests at a time" in told
    assert CLOSING_AT_ONCE == 8


def test_calls_that_may_hang_leave_room_for_looks_and_orders():
    assert ORDERS_AT_ONCE + FOR_LOOKS == LIMIT
    assert FOR_OTHERS == LIMIT - 2
    assert CLOSING_LIMIT == CLOSING_AT_ONCE * CLOSING_AT_ONCE


def test_everything_is_closed_in_the_time_that_is_granted():
    turn = sum(LOOK_SECONDS) + MOVE_SECONDS
    assert CLOSING_SET_SECONDS < CLOSING_SECONDS < CLOSE_SECONDS
    assert turn + CLOSE_SECONDS + PART_SECONDS + PRESSURE_CLOSE_SECONDS + CALLS_OF_A_CLIENT < GRACE_SECONDS


def test_a_keeper_that_serves_many_gives_nobody_more_than_a_tick_of_it():
    keeping = Keeping()
    assert SET_SECONDS <= WORK_SECONDS < keeping.tick_seconds == keeping.frozen_seconds
    assert keeping.tick_seconds < RETRY_SECONDS
    assert 30 * keeping.tick_seconds == REREAD_SECONDS


def test_a_domain_that_one_of_our_own_calls_holds_is_waited_for_within_a_repetition():
    assert min(LOOK_SECONDS) / 2 > HELD_SECONDS


def test_names_and_labels_are_as_long_as_libvirt_and_selectors_have_them():
    assert (LONGEST_NAME, MOST_LABELS, LONGEST_LABEL) == (255, 64, 253)

"""Numbers of looks, orders and periods that the documents tell: whoever changes one changes the other."""

import pytest

from controller.host.callqueue import FOR_LOOKS
from controller.host.calls import LATE_S, LIMIT
from controller.host.connection import (
    BACKOFF_FIRST_S,
    BACKOFF_LONGEST_S,
    CLOSE_S,
    PART_S,
    REREAD_S,
    ConnectionSettings,
)
from controller.host.domain_xml import LONGEST_LABEL, LONGEST_NAME, LONGEST_XML, MOST_LABELS
from controller.host.looker import HELD_S, LOOK_S, SHARED_S
from controller.host.mover import GROW_WAITS_S, MOVE_S, ORDERS_AT_ONCE, SHRINK_WAITS_S
from controller.host.periods import (
    CLOSING_AT_ONCE,
    CLOSING_LIMIT,
    CLOSING_S,
    CLOSING_SET_S,
    FOR_OTHERS,
    RETRY_S,
    SET_S,
    WORK_S,
)
from controller.host.pressure import CLOSE_S as PRESSURE_CLOSE_S
from controller.host.senses import BURST, HANGS_S, LEAST, LEAST_PART, LOAD, PASS_S, REFILL

MIB = 2**20
CALLS_OF_A_CLIENT = 5
"""That libvirtd serves at a time, as it comes (`max_client_requests`)."""
GRACE_S = 30
"""That systemd and Kubernetes grant from SIGTERM to SIGKILL."""


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("controller/README.md", f"a look takes {sum(LOOK_S):g} s at most"),
        ("controller/README.md", f"the orders after it {MOVE_S:g} s together"),
        ("controller/README.md", f"it is asked once and given {sum(LOOK_S):g} s"),
        ("controller/README.md", f"if it is less than {LATE_S:g} s old"),
        (
            "controller/README.md",
            f"a shrink after {SHRINK_WAITS_S:g} s, as its sample is too old then, a grow after {GROW_WAITS_S:g} s",
        ),
        ("controller/README.md", f"those that hang last, within {CLOSING_S:g} s"),
        ("controller/README.md", f"A thread reads it of all domains every {PASS_S:g} s"),
        ("controller/README.md", f"as keeps it below {100 * LOAD:g} % of a processor"),
        (
            "controller/README.md",
            f"**Growth** by {LEAST / MIB:g} MiB, or by a {1 / LEAST_PART:g}th of what is resident",
        ),
        ("controller/README.md", f"and also when a pass hangs for {HANGS_S:g} s"),
        (
            "manifests/systemd/README.md",
            f"({BACKOFF_FIRST_S:g} s to {BACKOFF_LONGEST_S:g} s between tries)",
        ),
        ("SECURITY.md", f"A libvirt that hangs delays looks at other guests by {SHARED_S:g} s."),
        ("manifests/README.md", f"A libvirt that hangs delays a look at other guests by {SHARED_S:g} s."),
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
    turn = sum(LOOK_S) + MOVE_S
    assert CLOSING_SET_S < CLOSING_S < CLOSE_S
    assert turn + CLOSE_S + PART_S + PRESSURE_CLOSE_S + CALLS_OF_A_CLIENT < GRACE_S


def test_a_supervisor_that_serves_many_gives_nobody_more_than_a_tick_of_it():
    settings = ConnectionSettings()
    assert SET_S <= WORK_S < settings.tick_s == settings.frozen_s
    assert settings.tick_s < RETRY_S
    assert 30 * settings.tick_s == REREAD_S


def test_a_domain_that_one_of_our_own_calls_holds_is_waited_for_within_a_repetition():
    assert min(LOOK_S) / 2 > HELD_S


def test_names_and_labels_are_as_long_as_libvirt_and_selectors_have_them():
    assert (LONGEST_NAME, MOST_LABELS, LONGEST_LABEL) == (255, 64, 253)

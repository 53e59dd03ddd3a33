"""Behaviour that the engine does not show yet."""

import pytest

AWAITED = {
    "each guest is robbed for the next": [
        "test_guests_that_jump_are_not_moved_to_and_fro",
    ],
    "no reason tells of a guest that starves at its maximum": [
        "test_a_guest_that_starves_at_its_maximum_is_said_to",
    ],
    "a guest in need that falls silent is dropped": [
        "test_grows_when_memory_comes_free",
        "test_is_back_to_normal_when_it_has_been_helped",
    ],
    "minimums that do not fit stop everything": [
        "test_keep_no_memory_from_a_guest_that_starves",
        "test_are_met_in_proportion_once_nobody_starves",
        "test_do_not_stop_what_a_policy_of_explicit_minimums_asks_for",
    ],
    "whatever is given beyond need is called lent": [
        "test_is_no_reason_for_what_a_guest_gets_while_the_host_is_under_pressure",
    ],
}
"""By what is wrong, the tests that fail for it; without their parameters where they fail for all. One that passes is to
be taken off this list: the run fails until it is.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    causes = {test: cause for cause, tests in AWAITED.items() for test in tests}
    for item in items:
        cause = causes.get(item.name) or causes.get(item.name.partition("[")[0])
        if cause and item.nodeid.startswith("tests/engine/test_"):
            item.add_marker(pytest.mark.xfail(strict=True, reason=cause))

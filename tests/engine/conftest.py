"""Behaviour that the engine does not show yet."""

import pytest

AWAITED = {
    "a page read back from swap is taken for need": [
        "test_of_guests_with_room_move_next_to_nothing",
        "test_of_one_guest_rob_no_other",
        "test_a_guest_that_reads_back_a_little_is_calm",
        "test_are_no_pressure_where_spare_memory_is_reclaimed",
        "test_every_second_do_not_pump_a_small_guest_up_and_down",
        "test_of_a_guest_that_is_lent_spare_do_not_pump_it_while_the_host_is_under_pressure",
    ],
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
    "an order of unknown outcome is taken for done": [
        "test_to_grow_is_never_given_to_another_as_well[8-False]",
        "test_to_grow_is_never_given_to_another_as_well[30-False]",
        "test_is_followed_by_no_other_until_it_is_answered",
        "test_no_rule_is_broken_by_any_row_of_events",
    ],
    "a shrink under way goes on without leave": [
        "test_stops_when_the_policy_goes_to_observe",
        "test_stops_when_the_policy_goes_and_keeps",
        "test_stops_when_the_guest_opts_out",
        "test_is_stopped_once",
    ],
    "a balloon that misses its target by a little is stuck": [
        "test_arrives_and_is_not_stuck",
    ],
    "a guest that deflates its balloon is taken for an administrator": [
        "test_is_no_administrator",
        "test_is_asked_again_and_not_hammered",
    ],
    "the age of the look counts, not that of the report": [
        "test_memory_is_not_taken_on_a_report_that_was_old_when_it_was_found",
    ],
    "a look without news is an alarm at once": [
        "test_is_looked_at_no_more_often_than_one_that_reports_every_second",
        "test_is_not_said_to_have_fallen_silent[15]",
        "test_is_not_said_to_have_fallen_silent[60]",
    ],
    "every guest boots when Ballast starts": [
        "test_is_not_said_of_one_that_ran_before_anybody_looked",
    ],
    "minimums that do not fit stop everything": [
        "test_keep_no_memory_from_a_guest_that_starves",
        "test_are_met_in_proportion_once_nobody_starves",
        "test_do_not_stop_what_a_policy_of_explicit_minimums_asks_for",
    ],
    "lending makes the pressure that ends it": [
        "test_does_not_bring_about_the_pressure_that_ends_it",
    ],
    "whatever is given beyond need is called lent": [
        "test_is_no_reason_for_what_a_guest_gets_while_the_host_is_under_pressure",
    ],
    "merged pages hide what the host itself uses": [
        "test_do_not_hide_what_the_host_itself_uses",
        "test_are_not_given_away",
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

"""Guests that report every few seconds, or minutes: the age of a report counts, not that of the look that found it."""

from functools import cache

import pytest
from scripted_node import ScriptedGuest, ScriptedNode, default_policy, policy

from controller.engine.reasons import Reason

NEWEST_S = 2.0
"""Age of the report that memory is taken on, at most."""


@pytest.mark.parametrize("period", [5, 9])
def test_memory_is_not_taken_on_a_report_that_was_old_when_it_was_found(period):
    """Each look comes just before the next report; the guest may have come to need all it has since."""
    world = ScriptedNode([ScriptedGuest("guest", 500, 4000, period=period)]).tick().tick_unattended(period - 2).tick()
    for _ in range(20):
        world.tick_unattended(period - 1).tick()
        assert world.now - world.guests["guest"].reported_at == period - 1
    assert world.actions() == []


@pytest.mark.parametrize("second", range(5))
@pytest.mark.parametrize(
    ("period", "since"), [(5, 120), *(pytest.param(each, 300, marks=pytest.mark.slow) for each in (5, 9))]
)
def test_memory_is_taken_on_no_report_that_is_old(period, since, second):
    """Whoever is asked for memory is looked at right away; what that look finds was sent seconds ago."""
    donor, grower = ScriptedGuest("donor", 500, 1600, period=period), ScriptedGuest("grower", 600, 900)
    patient = {"advanced": {"shrink": {"stabilizationSeconds": 3600}, "monitoring": {"maximumIntervalSeconds": 60}}}
    world = ScriptedNode([donor, grower], [policy(budget={"maximum": "2600Mi"}, **patient)]).tick(since + 2 * second)
    before, grower.demand = len(world.moves("donor")), 1300
    while len(world.moves("donor")) == before:
        world.tick()
    assert world.now - donor.reported_at <= NEWEST_S


def test_memory_is_taken_from_a_guest_that_reports_seldom_all_the_same():
    world = ScriptedNode([ScriptedGuest("slow", 500, 4000, period=10)]).tick(120)
    assert 500 <= world.guests["slow"].actual < 700


@cache
def lived(period: float) -> ScriptedNode:
    """Twenty minutes with a guest that reports so seldom."""
    return ScriptedNode(
        [ScriptedGuest("guest", 500, 700, period=period), ScriptedGuest("other", 500, 700)], [default_policy()]
    ).tick(1200)


class TestGuestThatReportsSeldom:
    def looks(self, period: float) -> int:
        return len([when for when, name in lived(period).looks if name == "guest"])

    @pytest.mark.parametrize("period", [5, *(pytest.param(each, marks=pytest.mark.slow) for each in (10, 15)), 60])
    def test_is_looked_at_no_more_often_than_one_that_reports_every_second_and_not_taken_for_silent(self, period):
        first_samples = 3
        assert self.looks(period) <= self.looks(1) + first_samples
        assert lived(period).notices() == []

    @pytest.mark.parametrize(
        ("period", "seconds"), [(30, 150), *(pytest.param(each, 600, marks=pytest.mark.slow) for each in (30, 120))]
    )
    def test_is_looked_at_for_others_only_when_it_may_have_reported(self, period, seconds):
        donor, starving = ScriptedGuest("donor", 800, 1600, period=period), ScriptedGuest("starves", 800, 1600)
        world = ScriptedNode([donor, starving], [default_policy(budget={"maximum": "3Gi"})]).tick(300)
        before, starving.demand = len(world.looks), 3000
        world.tick(seconds)
        assert [name for _, name in world.looks[before:]].count("donor") <= 2 * seconds / period + 10

    def test_that_falls_silent_is_said_to_in_time(self):
        world = ScriptedNode([ScriptedGuest("guest", 500, 700, period=15)]).tick(60)
        world.guests["guest"].frozen = True
        world.tick(120)
        assert world.reason("guest") is Reason.STALE_STATISTICS

    def test_that_falls_silent_gives_nothing(self):
        world = ScriptedNode([ScriptedGuest("guest", 500, 4000, period=15)]).tick(20)
        world.guests["guest"].frozen = True
        world.tick(300)
        assert world.actions() == []


class TestBooting:
    def test_is_said_of_a_guest_that_was_started_a_moment_ago(self):
        world = ScriptedNode([ScriptedGuest("young", 500, 4000, frozen=True, started_at=1000 + 1.7e9)]).tick(30)
        assert world.reason("young") is Reason.BOOTING

    def test_is_not_said_of_one_that_ran_before_anybody_looked(self):
        world = ScriptedNode([ScriptedGuest("old", 500, 4000, frozen=True)]).tick(30)
        assert world.reason("old") is Reason.NO_STATISTICS

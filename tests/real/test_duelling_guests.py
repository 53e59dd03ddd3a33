"""A short duel on real guests: every figure is measured, for Ballast and for a peer alike."""

from dueling.__main__ import duel
from dueling.casts import Cast, default_policy
from dueling.turn import TurnTerms
from lab.guest import GuestSpec
from lab.scenario import ScenarioPart

BUDGET_MIB = 400
SECONDS = 15.0
SCALE = 16.0
"""Peers take these guests for guests of 5 GiB, for which they were made."""
TWO = Cast(
    "two",
    (
        ScenarioPart(GuestSpec("early", maximum=320, current=200, swap=192), ((0, 30), (4, 30), (4, 160), (60, 160))),
        ScenarioPart(GuestSpec("late", maximum=320, current=200, swap=192), ((0, 30), (60, 30))),
    ),
    BUDGET_MIB,
    default_policy(BUDGET_MIB),
)
"""One wants more than its share 4 s into the turn, which the other has to spare."""


def test_a_guest_that_is_short_under_equal_shares_gets_memory_under_ballast_and_works(private_libvirtd):
    turns = duel(private_libvirtd, [TWO], [["ballast", "static", "qmemman"]], TurnTerms(0.0, SECONDS, SCALE))
    ballast, static, qmemman = (turn.measures for turn in turns)
    assert (ballast.killed, static.killed) == (0, 0)
    assert qmemman.moves > 0
    assert qmemman.moved_gib > 0
    assert (static.moves, static.moved_gib, ballast.over_budget_percent) == (0, 0.0, 0.0)
    assert ballast.moves >= 2
    assert ballast.moved_gib > 0.02
    assert static.swapped_out_mib > 1
    assert static.short_s > 5
    assert ballast.short_s < static.short_s
    assert ballast.operations_s > static.operations_s > 0
    assert 0 < ballast.cpu_percent < 100
    assert min(ballast.memory_mib, static.memory_mib) > 10

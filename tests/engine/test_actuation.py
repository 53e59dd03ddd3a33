"""Which balloons are moved now, by how much and why, from a plan that is given. Sizes in MiB unless said otherwise."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from stages import MIB, NOW, SIMPLE, chosen, free, known, mib, moving, pressed

from controller.engine.actuation import Moves
from controller.engine.allocation import Plan
from controller.engine.guest_pressure import PressureLevel
from controller.engine.known import Known
from controller.engine.reasons import Reason
from controller.engine.tuning import Tuning

NONE, LOW = PressureLevel.NONE, PressureLevel.LOW
NAN = np.nan


def node(*sizes: float, free: float = 1000, demand: float = 97, **given: Any) -> Known:
    """Domains of `sizes` that need `demand` each, on a host with `free` memory left."""
    budget = (sum(sizes) + free) * MIB
    return known(mib(*sizes), mib(*[demand] * len(sizes)), **{"budget": budget} | given)


def plan(
    of: Known, *sizes: float, wanted: float = 97, returns: Any = False, movable: Any = True, fit: bool = True
) -> Plan:
    """A plan of `sizes`."""
    n = len(sizes)
    needed = of.observation.demand / 0.97
    masks = (np.resize(np.asarray(each), n) for each in (movable, returns))
    return Plan(mib(*sizes), needed, mib(*[wanted] * n), *masks, fit, free(of))


def targets(moves: Moves) -> list[float]:
    """MiB, NaN where nothing is moved."""
    return [float(each) for each in np.where(moves.grow | moves.shrink, moves.target / MIB, NAN)]


def reasons(moves: Moves) -> list[Reason]:
    return [Reason(int(code)) for code in moves.reason]


def goes(of: Known, to: Plan, **given: Any) -> list[float]:
    """Where each domain goes, MiB, NaN where it stays."""
    return targets(chosen(of, to, **given))


def same(*sizes: float) -> Any:
    return pytest.approx(list(sizes), nan_ok=True)


# Growing for the plan's sake.


@pytest.mark.parametrize(("saving", "to"), [(31.9, NAN), (32.0, 400)])
def test_others_give_once_what_that_saves_has_come_to_the_price(saving: float, to: float) -> None:
    """A quarter of a second of the mean demand of 128 MiB."""
    of = node(200, 500, free=0, demand=128, tuning=replace(SIMPLE, move_price=0.25))
    assert goes(of, plan(of, 300, 300), saving=saving * MIB) == same(NAN, to)


@pytest.mark.parametrize(("threshold", "to"), [(99, 300), (100, NAN)])
def test_a_domain_grows_by_more_than_its_threshold(threshold: float, to: float) -> None:
    of = node(200, settings={"threshold": threshold * MIB})
    assert goes(of, plan(of, 300)) == same(to)


def test_a_domain_that_is_not_movable_is_left_alone() -> None:
    of = node(200, 200)
    assert goes(of, plan(of, 300, 100, movable=False)) == same(NAN, NAN)


def test_memory_that_is_kept_comes_back_without_regret() -> None:
    of = node(200, settings={"share": False})
    assert goes(of, plan(of, 300, returns=True), saving=0.0) == same(300)


@pytest.mark.parametrize(("size", "to"), [(189, 205), (190, NAN)])
def test_half_the_headroom_may_be_eaten_before_a_domain_grows_by_its_threshold(size: float, to: float) -> None:
    """170 MiB and a headroom of 40 are to have 200 MiB; what is lacking is within the threshold."""
    of = node(size, estimate={"upper": 170 * MIB}, settings={"headroom": 40 * MIB, "threshold": 16 * MIB})
    assert goes(of, plan(of, 200, returns=True)) == same(to)


@pytest.mark.parametrize(("movable", "to"), [(True, (NAN, 205)), (False, (205, NAN))])
def test_nobody_has_his_headroom_refilled_before_all_have_their_minimums_who_can(
    movable: bool, to: tuple[float, float]
) -> None:
    settings = {"headroom": 40 * MIB, "threshold": 16 * MIB, "minimum": mib(0, 202)}
    of = node(189, 200, estimate={"upper": 170 * MIB}, settings=settings)
    assert goes(of, plan(of, 200, 205, returns=[True, False], movable=[True, movable])) == same(*to)


def test_a_domain_with_narrow_headroom_grows_no_further_than_it_may() -> None:
    settings = {"headroom": 40 * MIB, "threshold": 16 * MIB, "ceiling": 195 * MIB}
    of = node(189, estimate={"upper": 170 * MIB}, settings=settings)
    assert goes(of, plan(of, 195, returns=True)) == same(195)


def test_a_domain_whose_spare_is_shared_grows_at_its_price_however_narrow_its_headroom() -> None:
    of = node(189, estimate={"upper": 170 * MIB}, settings={"headroom": 40 * MIB, "threshold": 16 * MIB})
    assert goes(of, plan(of, 200)) == same(NAN)


@pytest.mark.parametrize("planned", [150, 189, 190])
def test_a_domain_that_has_its_part_of_too_little_grows_no_further_however_narrow_its_headroom(planned: float) -> None:
    of = node(189, estimate={"upper": 170 * MIB}, settings={"headroom": 40 * MIB, "threshold": 40 * MIB})
    assert goes(of, plan(of, planned, returns=True)) == same(NAN)


# Growing whatever it costs.


@pytest.mark.parametrize(
    ("given", "grows"),
    [
        ({"settings": {"minimum": 202 * MIB, "threshold": 16 * MIB}}, True),
        ({"settings": {"minimum": 201 * MIB, "threshold": 16 * MIB}}, False),
        ({"balloon": {"release": True}}, True),
        ({}, False),
    ],
    ids=["below its minimum", "a trifle below its minimum", "released", "at ease"],
)
def test_some_grow_by_any_amount_and_without_regret(given: dict[str, Any], grows: bool) -> None:
    of = node(200, **{"settings": {"threshold": 16 * MIB}} | given)
    assert goes(of, plan(of, 205), saving=0.0) == same(205 if grows else NAN)


@pytest.mark.parametrize(("lacking", "to"), [(1.0, NAN), (2.0, 202)])
def test_nobody_grows_by_a_trifle(lacking: float, to: float) -> None:
    of = node(200, balloon={"release": True})
    assert goes(of, plan(of, 200 + lacking)) == same(to)


@pytest.mark.parametrize(("threshold", "lacking", "to"), [(16, 6, NAN), (16, 7, 207), (3, 3, NAN), (3, 4, 204)])
def test_a_guest_in_need_grows_by_what_keeps_one_of_its_size_out_of_reclaim(
    threshold: int, lacking: int, to: float
) -> None:
    of = node(200, pressure=pressed(LOW), settings={"threshold": threshold * MIB})
    assert goes(of, plan(of, 200 + lacking)) == same(to)


# What is left over.


@pytest.mark.parametrize(("threshold", "to"), [(99, 300), (100, NAN)])
def test_a_domain_gets_what_is_left_over_whatever_that_saves(threshold: float, to: float) -> None:
    of = node(200, settings={"threshold": threshold * MIB})
    assert goes(of, plan(of, 300), saving=0.0) == same(to)


@pytest.mark.parametrize(("free", "to"), [(207, 300), (150, 245), (2, NAN), (-5, NAN)])
def test_left_over_is_what_is_free_beyond_the_pool(free: float, to: float) -> None:
    of = node(100, free=free, tuning=Tuning())  # of 250 MiB, the pool is 5
    assert goes(of, plan(of, 300), saving=0.0) == same(to)


@pytest.mark.parametrize(("free", "to"), [(15, NAN), (16, 116)])
def test_less_than_the_threshold_is_not_left_over(free: float, to: float) -> None:
    of = node(100, free=free, settings={"threshold": 16 * MIB})
    assert goes(of, plan(of, 300), saving=0.0) == same(to)


def test_what_is_wished_for_is_not_left_over() -> None:
    of = node(100, 100, free=150)
    assert goes(of, plan(of, 300, 180), saving=np.array([0.0, np.inf])) == same(170, 180)


def test_nobody_gives_memory_for_what_others_merely_hope_for() -> None:
    of = node(100, 500, free=0)
    assert goes(of, plan(of, 300, 300), saving=0.0) == same(NAN, NAN)


def test_hopes_within_the_threshold_are_none() -> None:
    of = node(100, settings={"threshold": 200 * MIB})
    assert goes(of, plan(of, 300), saving=0.0) == same(NAN)


# Free memory.


@pytest.mark.parametrize(
    ("levels", "free", "to"),
    [
        ((LOW, NONE), 50, (240, 210)),
        ((LOW, NONE), 30, (230, NAN)),
        ((LOW, LOW), 30, (230, NAN)),
        ((NONE, NONE), 30, (230, NAN)),
        ((LOW, NONE), 100, (240, 240)),
        ((LOW, NONE), -20, (NAN, NAN)),
    ],
)
def test_free_memory_goes_to_those_in_need_first_and_to_one_after_the_other(
    levels: tuple[PressureLevel, PressureLevel], free: float, to: tuple[float, float]
) -> None:
    of = node(200, 200, free=free, pressure=pressed(*levels))
    assert goes(of, plan(of, 240, 240, movable=True)) == same(*to)


def test_a_threshold_of_nothing_holds_nobody_back_while_memory_is_short() -> None:
    of = node(200, 200, free=50, settings={"threshold": 0.0})
    assert goes(of, plan(of, 240, 240)) == same(240, 210)


@pytest.mark.parametrize(("free", "to"), [(15, NAN), (16, 216)])
def test_less_than_the_threshold_waits_for_more(free: float, to: float) -> None:
    of = node(200, free=free, settings={"threshold": 16 * MIB})
    assert goes(of, plan(of, 240)) == same(to)


@pytest.mark.parametrize(
    ("free", "threshold", "to"),
    [(5.9, 16, NAN), (6.0, 16, 206), (7.9, 16, 207), (1.9, 2, NAN), (2.0, 2, 202), (1, 0, 201)],
)
def test_a_guest_in_need_takes_what_keeps_it_out_of_reclaim_or_the_threshold(
    free: float, threshold: float, to: float
) -> None:
    of = node(200, free=free, settings={"threshold": threshold * MIB}, pressure=pressed(LOW))
    assert goes(of, plan(of, 240)) == same(to)


@pytest.mark.parametrize(
    ("moved", "coming", "to"), [(0.5, True, NAN), (1.0, True, 208), (0.5, False, 208)], ids=["waits", "later", "alone"]
)
def test_a_guest_in_need_that_was_moved_just_now_waits_for_what_is_on_its_way(
    moved: float, coming: bool, to: float
) -> None:
    balloon = moving(NAN, 150 * MIB if coming else NAN, last_at=[NOW - moved, NOW - 1], last_from=200 * MIB)
    of = node(200, 200, free=8, settings={"threshold": 16 * MIB}, pressure=pressed(LOW, NONE), balloon=balloon)
    assert goes(of, plan(of, 240, 200)) == same(to, NAN)


def test_a_guest_in_need_waits_for_nobody_whose_word_is_too_old() -> None:
    seen = {"reported_at": [NOW, NOW - 9]}
    settings = {"threshold": 16 * MIB}
    balloon = {"last_at": NOW - 0.5}
    of = node(200, 500, free=8, settings=settings, seen=seen, balloon=balloon, pressure=pressed(LOW, NONE))
    assert goes(of, plan(of, 240, 300)) == same(208, NAN)


# Who gives.


@pytest.mark.parametrize(
    ("wish", "to"),
    [
        (50, (NAN, 450, NAN)),
        (200, (NAN, 300, NAN)),
        (250, (NAN, 300, 350)),
        (350, (150, 300, 300)),
        (900, (140, 300, 300)),
    ],
)
def test_domains_with_the_most_above_their_plan_give_and_as_few_as_will_do(wish: float, to: tuple[float, ...]) -> None:
    of = node(100, 200, 500, 400, free=0, pressure=pressed(LOW, NONE, NONE, NONE))
    assert goes(of, plan(of, 100 + wish, 140, 300, 300)) == same(NAN, *to)


@pytest.mark.parametrize(
    "given", [{"balloon": moving(NAN, 550 * MIB, NAN, last_at=NOW)}, {}], ids=["under way", "not movable"]
)
def test_domains_under_way_and_those_that_are_not_movable_give_nothing(given: dict[str, Any]) -> None:
    of = node(100, 500, 400, free=50, pressure=pressed(LOW, NONE, NONE), **given)
    to = plan(of, 300, 200, 300, movable=[True, bool(given), True])
    assert goes(of, to)[1:] == same(NAN, 300)


def test_little_is_asked_for_as_well_when_somebody_wishes_for_it() -> None:
    of = node(100, 500, 400, free=0, pressure=pressed(LOW, NONE, NONE), tuning=Tuning())
    assert goes(of, plan(of, 105, 300, 300)) == same(NAN, 475, NAN)  # 5 MiB, and a fiftieth of 1000


def test_donors_give_the_pool_on_top() -> None:
    of = node(100, 500, 400, free=0, pressure=pressed(LOW, NONE, NONE), tuning=Tuning())
    assert goes(of, plan(of, 150, 300, 300)) == same(NAN, 430, NAN)  # 50 MiB, and a fiftieth of 1000


def test_free_memory_is_given_before_anybody_is_asked() -> None:
    of = node(100, 500, free=30, pressure=pressed(LOW, NONE))
    assert goes(of, plan(of, 150, 300)) == same(130, 480)


def test_targets_are_multiples_of_what_actuators_take() -> None:
    settings = {"grain": mib(64, 2), "threshold": MIB}
    of = node(100, 200, settings=settings)
    assert goes(of, plan(of, 300, 301)) == same(256, 300)
    of = node(300, 301, settings=settings)
    assert goes(of, plan(of, 100, 101, returns=True)) == same(128, 102)


def test_a_minimum_is_met_by_a_multiple_of_the_grain() -> None:
    settings = {"minimum": mib(130, 130), "ceiling": mib(1024, 150), "grain": mib(64, 64)}
    assert (node(100, 100, settings=settings).bounds.minimum / MIB).tolist() == [192, 150]


@pytest.mark.parametrize(("grain", "to"), [(1, 449), (64, 448)])
def test_donors_give_no_less_than_they_are_asked_for_down_to_a_multiple_of_their_grain(grain: int, to: float) -> None:
    of = node(100, 500, free=0, pressure=pressed(LOW, NONE), settings={"grain": grain * MIB})
    assert goes(of, plan(of, 150.5, 300)) == same(NAN, to)


@pytest.mark.parametrize(("threshold", "to"), [(60, 440), (200, 300), (201, NAN)])
def test_donors_give_their_threshold_at_least(threshold: float, to: float) -> None:
    of = node(100, 500, free=0, settings={"threshold": np.array([0.0, threshold * MIB])})
    assert goes(of, plan(of, 150, 300)) == same(NAN, to)


def test_donors_give_any_amount_to_a_guest_in_need() -> None:
    of = node(100, 500, free=0, settings={"threshold": 201 * MIB}, pressure=pressed(LOW, NONE))
    assert goes(of, plan(of, 150, 300)) == same(NAN, 450)


@pytest.mark.parametrize(("spare", "to"), [(2, NAN), (3, 9997), (60, 9940)])
def test_a_huge_donor_gives_what_is_of_use_to_a_small_guest_in_need(spare: float, to: float) -> None:
    of = node(100, 10000, free=0, settings={"threshold": 201 * MIB}, pressure=pressed(LOW, NONE))
    assert goes(of, plan(of, 150, 10000 - spare)) == same(NAN, to)


def test_a_huge_donor_gives_no_trifle_where_the_need_is_met_by_others_but_for_the_pool() -> None:
    of = node(
        100, 10000, 1000, free=0, tuning=Tuning(), settings={"threshold": 30 * MIB}, pressure=pressed(LOW, NONE, NONE)
    )
    assert goes(of, plan(of, 150, 9980, 940)) == same(NAN, NAN, 940)


@pytest.mark.parametrize(("level", "to"), [(NONE, 460), (LOW, 400)])
def test_memory_that_a_balloon_might_not_get_is_taken_for_guests_in_need_only(level: PressureLevel, to: float) -> None:
    of = node(100, 500, free=0, pressure=pressed(level, NONE), estimate={"firm": mib(0, 460)})
    assert goes(of, plan(of, 200, 300)) == same(NAN, to)


@pytest.mark.parametrize(("over", "to"), [(0.9, NAN), (2, 480), (30, 480)])
def test_what_the_host_lacks_is_taken_back_at_once_with_the_pool(over: float, to: float) -> None:
    of = node(500, 500 + over, free=-over, tuning=Tuning())
    assert goes(of, plan(of, 500, 300)) == same(NAN, to)


@pytest.mark.parametrize(("on_its_way", "to"), [(50, NAN), (20, 470)])
def test_memory_on_its_way_is_not_asked_for_twice(on_its_way: float, to: float) -> None:
    balloon = moving(NAN, (200 - on_its_way) * MIB, NAN, last_from=200 * MIB)
    of = node(100, 200, 500, free=0, balloon=balloon)
    assert goes(of, plan(of, 150, 100, 300)) == same(NAN, NAN, to)


@pytest.mark.parametrize(
    ("elapsed", "came", "to"),
    [(3, 0, NAN), (3.1, 0, 450), (6, 60, 480), (6, 200, NAN), (12, 60, 465)],
    ids=["just asked for", "nothing came", "half came of late", "as much as is left", "a quarter"],
)
def test_guests_in_need_wait_for_no_balloon_that_hardly_moves(elapsed: float, came: float, to: float) -> None:
    balloon = moving(NAN, 150 * MIB, NAN, last_from=(200 + came) * MIB, last_at=NOW - elapsed)
    of = node(100, 200, 500, free=0, balloon=balloon, pressure=pressed(LOW, NONE, NONE))
    assert goes(of, plan(of, 150, 100, 300)) == same(NAN, NAN, to)


def test_what_comes_back_by_itself_shortens_what_guests_in_need_wait_for() -> None:
    balloon = moving(NAN, NAN, 150 * MIB, NAN, NAN, last_from=230 * MIB, last_at=NOW - 6)
    of = node(100, 100, 200, 310, 500, free=30, balloon=balloon, pressure=pressed(LOW, NONE, NONE, NONE, NONE))
    to = plan(of, 150, 140, 100, 300, 300, returns=[False, False, False, True, False])
    assert goes(of, to) == same(130, NAN, NAN, 300, NAN)


def growing(*, elapsed: float = 4, free: float = 0, level: PressureLevel = LOW, other: PressureLevel = NONE) -> Known:
    """One waits for memory; another grows from 100 to 800 MiB, and has come to 200."""
    balloon = moving(NAN, 800 * MIB, last_from=100 * MIB, last_at=NOW - elapsed)
    return node(100, 200, free=600 + free, balloon=balloon, pressure=pressed(level, other))


@pytest.mark.parametrize(
    ("given", "to"),
    [
        ({}, (NAN, 250)),
        ({"elapsed": 3}, (NAN, NAN)),
        ({"elapsed": 8}, (NAN, 225)),
        ({"level": NONE}, (NAN, NAN)),
        ({"other": LOW}, (NAN, NAN)),
        ({"free": 50}, (150, NAN)),
    ],
    ids=["waited for", "just begun", "slower", "not in need", "itself in need", "memory is free"],
)
def test_a_grow_that_takes_long_ends_sooner_for_a_guest_in_need(given: dict[str, Any], to: tuple[float, ...]) -> None:
    of = growing(**given)
    assert goes(of, plan(of, 150, 200)) == same(*to)


@pytest.mark.parametrize(("planned", "to"), [(500, 500), (783, 783), (784, NAN)])
def test_a_grow_ends_no_sooner_than_at_its_plan(planned: float, to: float) -> None:
    of = replace(growing(), bounds=replace(growing().bounds, threshold=mib(0, 16)))
    assert goes(of, plan(of, 150, planned)) == same(NAN, to)


def test_grows_with_the_most_to_come_end_and_as_few_as_will_do() -> None:
    balloon = moving(NAN, 800 * MIB, 900 * MIB, last_from=100 * MIB, last_at=NOW - 4)
    of = node(100, 200, 200, free=1300, balloon=balloon, pressure=pressed(LOW, NONE, NONE))
    assert goes(of, plan(of, 150, 200, 200)) == same(NAN, NAN, 250)


def test_a_balloon_that_grows_gives_nothing_and_a_released_domain_is_no_donor() -> None:
    balloon = moving(NAN, 150 * MIB, NAN, release=[False, False, True])
    of = node(100, 100, 500, free=50, balloon=balloon)
    assert goes(of, plan(of, 150, 150, 300)) == same(NAN, NAN, NAN)


# What goes back to the node by itself.


@pytest.mark.parametrize(
    ("size", "ceiling", "to"),
    [(316, 1024, NAN), (317, 1024, 300), (302, 300, 300), (301, 300, NAN), (310, 310, NAN)],
    ids=["within the threshold", "beyond it", "above its top", "above it by a trifle", "at it"],
)
def test_what_is_kept_by_the_node_goes_back_beyond_the_threshold(size: float, ceiling: float, to: float) -> None:
    of = node(size, settings={"threshold": 16 * MIB, "share": False, "ceiling": ceiling * MIB})
    assert goes(of, plan(of, 300, returns=True)) == same(to)


def test_what_is_shared_stays_where_it_is_while_nobody_asks_for_it() -> None:
    of = node(500)
    assert goes(of, plan(of, 300)) == same(NAN)


def test_shrinks_end_at_a_whole_mebibyte_that_holds_the_plan() -> None:
    of = node(500, settings={"share": False})
    assert goes(of, plan(of, 300.2, returns=True)) == same(301)


@pytest.mark.parametrize(
    ("level", "minimum", "to"), [(NONE, 0, 300), (LOW, 0, 120), (LOW, 200, 200)], ids=["calm", "in need", "minimum"]
)
def test_what_was_held_of_late_is_given_up_for_guests_in_need(level: PressureLevel, minimum: float, to: float) -> None:
    settings = {"share": [True, False], "minimum": mib(0, minimum)}
    of = node(100, 500, free=0, pressure=pressed(level, NONE), settings=settings)
    assert goes(of, plan(of, 900, 300, wanted=120, returns=[False, True])) == same(NAN, to)


@pytest.mark.parametrize(("free", "to"), [(800, (900, 300)), (799, (899, 120))])
def test_what_was_held_of_late_is_not_given_up_while_what_is_free_will_do(free: float, to: tuple[float, float]) -> None:
    of = node(100, 500, free=free, pressure=pressed(LOW, NONE), settings={"share": [True, False]})
    assert goes(of, plan(of, 900, 300, wanted=120, returns=[False, True])) == same(*to)


# Taken on a word that is new enough.


RELEASED, SMALL = {"release": True}, {"definition": 300 * MIB}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"seen": {"reported_at": NOW - 2}}, True),
        ({"seen": {"reported_at": NOW - 2.1}}, False),
        ({"seen": {"reported_at": NOW - 6}, "settings": {"interval_minimum": 3.0}}, True),
        ({"seen": {"reported_at": NOW - 6.1}, "settings": {"interval_minimum": 3.0}}, False),
        (
            {"seen": {"reported_at": NOW - 3}, "settings": {"interval_minimum": 3.0, **SMALL}, "balloon": RELEASED},
            False,
        ),
        ({"seen": {"reported_at": NOW - 2}, "settings": SMALL, "balloon": RELEASED}, True),
        ({"seen": {"fresh_at": NOW - 1, "moved_at": NOW}}, False),
        ({"seen": {"fresh_at": NOW, "moved_at": NOW}}, True),
        ({"balloon": {"rest_from": NOW + 1}}, False),
        ({"seen": {"trouble": int(Reason.STALE_STATISTICS)}}, False),
    ],
)
def test_memory_is_taken_on_a_new_word_only(given: dict[str, Any], taken: bool) -> None:
    of = node(500, **given)
    moves = chosen(of, plan(of, 300, returns=True))
    assert (moves.shrink.tolist(), moves.unverified.tolist()) == ([taken], [not taken])


# Balloons under way.


def test_a_balloon_under_way_is_not_told_anew_before_it_is_there() -> None:
    of = node(200, 200, 200, balloon=moving(250 * MIB, 150 * MIB, NAN))
    moves = chosen(of, plan(of, 300, 300, 200))
    assert targets(moves) == same(NAN, NAN, NAN)
    assert reasons(moves)[1] is Reason.MOVING
    assert goes(of, plan(of, 300, 100, 100, returns=True)) == same(NAN, NAN, 100)


@pytest.mark.parametrize(
    ("level", "began", "planned", "free", "to"),
    [
        (LOW, 199, 290, 500, 290),
        (LOW, 199, 289, 500, NAN),
        (LOW, 199, 400, 40, 290),
        (LOW, 199, 400, 39, NAN),
        (LOW, 210, 400, 500, NAN),
        (LOW, 230, 400, 500, NAN),
        (NONE, 199, 400, 500, NAN),
    ],
    ids=["as much again", "less", "all there is", "less than that", "not set out", "old news", "not in need"],
)
def test_a_guest_in_need_whose_balloon_has_set_out_gets_more_before_it_is_there(
    level: PressureLevel, began: float, planned: float, free: float, to: float
) -> None:
    """It has come to 210 MiB on its way to 250."""
    of = node(210, free=free + 40, balloon=moving(250 * MIB, last_from=began * MIB), pressure=pressed(level))
    assert goes(of, plan(of, planned)) == same(to)


def test_a_guest_that_is_felt_to_grow_gets_more_before_its_balloon_is_there() -> None:
    of = node(210, balloon=moving(250 * MIB, last_from=200 * MIB), growth=FELT)
    moves = chosen(of, plan(of, 400))
    assert targets(moves) == same(400)
    assert reasons(moves) == [Reason.FELT_GROW]


def test_what_a_balloon_under_way_is_to_get_next_is_not_given_to_others() -> None:
    of = node(200, 200, balloon=moving(250 * MIB, NAN), pressure=pressed(LOW, LOW), budget=500 * MIB)
    assert targets(chosen(of, plan(of, 300, 300))) == same(NAN, NAN)


def test_what_is_free_goes_to_the_least_wish_in_full_and_what_is_left_to_the_next() -> None:
    of = node(200, 200, 200, pressure=pressed(LOW, LOW, LOW), budget=730 * MIB)
    assert targets(chosen(of, plan(of, 320, 280, 400))) == same(250, 280, NAN)


def test_weight_makes_a_wish_less() -> None:
    of = node(200, 200, pressure=pressed(LOW, LOW), budget=500 * MIB, settings={"weight": np.array([1.0, 2.0])})
    assert targets(chosen(of, plan(of, 260, 300))) == same(NAN, 300)


def test_a_guest_that_comes_under_pressure_while_it_shrinks_grows_where_memory_is_free() -> None:
    of = node(200, balloon=moving(150 * MIB), pressure=pressed(LOW))
    moves = chosen(of, plan(of, 240))
    assert targets(moves) == same(240)
    assert moves.halt.tolist() == [False]


def test_a_guest_that_comes_under_pressure_while_it_shrinks_is_halted_though_its_plan_is_no_more() -> None:
    of = node(200, free=0, balloon=moving(150 * MIB), pressure=pressed(LOW))
    moves = chosen(of, plan(of, 200))
    assert (moves.halt.tolist(), reasons(moves)) == ([True], [Reason.NO_BUDGET])


@pytest.mark.parametrize("robbed", [True, False])
def test_a_shrink_ends_where_it_is_when_the_guest_has_to_swap_out(robbed: bool) -> None:
    of = node(200, balloon=moving(150 * MIB), pressure={"robbed": robbed})
    moves = chosen(of, plan(of, 150))
    assert (moves.halt.tolist(), targets(moves)) == ([robbed], same(NAN))


def test_a_domain_that_shrinks_does_not_turn_for_its_headroom() -> None:
    settings = {"headroom": 40 * MIB, "threshold": 16 * MIB}
    of = node(240, estimate={"upper": 170 * MIB}, settings=settings, balloon=moving(189 * MIB))
    assert goes(of, plan(of, 240, returns=True)) == same(NAN)


@pytest.mark.parametrize("movable", [True, False])
def test_a_guest_that_comes_under_pressure_while_it_shrinks_keeps_what_it_has(movable: bool) -> None:
    of = node(200, free=0, balloon=moving(150 * MIB), pressure=pressed(LOW))
    moves = chosen(of, plan(of, 240, movable=movable))
    assert targets(moves) == same(NAN)
    assert moves.halt.tolist() == [movable]


# Why.

HOST_PRESSURE = {"strained": True}


@pytest.mark.parametrize(
    ("size", "to", "given", "wanted", "returns", "reason"),
    [
        (200, 300, {"balloon": {"release": True}, "pressure": pressed(LOW)}, 97, False, Reason.RELEASE_RESTORE),
        (400, 300, {"balloon": RELEASED, "settings": SMALL}, 97, True, Reason.RELEASE_RESTORE),
        (200, 300, {"pressure": pressed(LOW), "settings": {"minimum": 300 * MIB}}, 97, False, Reason.PRESSURE_GROW),
        (200, 300, {"settings": {"minimum": 300 * MIB}}, 250, False, Reason.LIMITS),
        (400, 300, {"settings": {"ceiling": 300 * MIB}, "host": HOST_PRESSURE}, 97, True, Reason.LIMITS),
        (400, 300, {"settings": {"ceiling": 300 * MIB}, "pressure": pressed(LOW)}, 97, True, Reason.LIMITS),
        (400, 300, {"settings": {"ceiling": 300 * MIB}, "growth": {"short": True}}, 97, True, Reason.LIMITS),
        (200, 300, {"settings": {"minimum": 201 * MIB}}, 97, False, Reason.SPARE_LENT),
        (200, 300, {}, 201, False, Reason.FORECAST_GROW),
        (200, 300, {}, 200, False, Reason.SPARE_LENT),
        (200, 300, {"host": HOST_PRESSURE}, 200, False, Reason.SPARE_LENT),
        (400, 300, {"host": HOST_PRESSURE}, 97, True, Reason.HOST_PRESSURE_SHRINK),
        (400, 300, {}, 97, True, Reason.FORECAST_SHRINK),
        (400, 300, {"host": HOST_PRESSURE}, 401, True, Reason.HOST_PRESSURE_SHRINK),
        (400, 300, {"settings": {"ceiling": 400 * MIB}}, 97, True, Reason.FORECAST_SHRINK),
        (400, 300, {"settings": {"minimum": 500 * MIB}}, 97, True, Reason.FORECAST_SHRINK),
    ],
)
def test_a_move_is_told_by_the_rule_that_made_it(
    size: float, to: float, given: dict[str, Any], wanted: float, returns: bool, reason: Reason
) -> None:
    of = node(size, **given)
    moves = chosen(of, plan(of, to, wanted=wanted, returns=returns))
    assert (targets(moves), reasons(moves)) == ([to], [reason])


def test_a_donor_shrinks_for_the_sake_of_contention() -> None:
    of = node(100, 500, free=0, pressure=pressed(LOW, NONE))
    assert reasons(chosen(of, plan(of, 150, 300))) == [Reason.AWAITING_MEMORY, Reason.CONTENTION_SHRINK]


@pytest.mark.parametrize(
    ("given", "to", "reason"),
    [
        (
            {"settings": {"obstacle": int(Reason.HOST_DEVICES)}},
            200,
            Reason.HOST_DEVICES,
        ),
        ({"seen": {"trouble": int(Reason.PAUSED), "fresh_count": 0}}, 200, Reason.PAUSED),
        ({"seen": {"fresh_count": 0}, "balloon": {"retry_at": NOW + 1}}, 200, Reason.WARMING_UP),
        ({"balloon": {"refused_at": NOW - 9, "refusal_rest": 10.0, "retry_at": NOW + 1}}, 200, Reason.REFUSED),
        ({"balloon": {"retry_at": NOW + 1, "hold_until": NOW + 1}}, 200, Reason.STUCK),
        ({"balloon": {"hold_until": NOW + 1, "retry_at": NOW}}, 200, Reason.OUTSIDE_CHANGE),
        (
            {
                "balloon": moving(250 * MIB, hold_until=NOW),
                "settings": {"ceiling": 200 * MIB},
                "pressure": pressed(LOW),
            },
            250,
            Reason.MOVING,
        ),
        ({"pressure": pressed(LOW), "settings": {"ceiling": 200 * MIB}}, 200, Reason.AT_MAXIMUM),
        ({"pressure": pressed(LOW), "settings": {"ceiling": 201 * MIB}}, 201, Reason.AT_MAXIMUM),
        ({"pressure": pressed(LOW), "settings": {"ceiling": 299 * MIB, "grain": 100 * MIB}}, 299, Reason.AT_MAXIMUM),
        ({"estimate": {"upper": 201 * MIB}, "settings": {"ceiling": 200 * MIB}}, 200, Reason.AT_MAXIMUM),
        ({"estimate": {"upper": 200 * MIB}, "settings": {"ceiling": 200 * MIB}}, 200, Reason.WITHIN_THRESHOLD),
        ({"settings": {"minimum": 202 * MIB}, "fit": False}, 200, Reason.MINIMUM_UNMET),
        ({"settings": {"minimum": 202 * MIB}}, 200, Reason.WITHIN_THRESHOLD),
        ({"settings": {"minimum": 201 * MIB}, "fit": False}, 200, Reason.WITHIN_THRESHOLD),
        ({"free": 0}, 300, Reason.NO_BUDGET),
        ({"wanted": 217}, 215, Reason.NO_BUDGET),
        ({"wanted": 217}, 216, Reason.WITHIN_THRESHOLD),
        ({"wanted": 216}, 215, Reason.WITHIN_THRESHOLD),
        ({"seen": {"fresh_count": 2}}, 200, Reason.WARMING_UP),
        ({"settings": {"share": False}}, 200, Reason.STABILIZING),
        ({"settings": {"share": False}}, 97, Reason.STABILIZING),
        ({"settings": {"share": False}}, 96, Reason.WITHIN_THRESHOLD),
        ({"settings": {"share": False}, "estimate": {"upper": 184 * MIB}}, 200, Reason.WITHIN_THRESHOLD),
        ({"settings": {"share": False}, "estimate": {"upper": 183 * MIB}}, 200, Reason.STABILIZING),
        ({"settings": {"share": False, "minimum": 184 * MIB}}, 200, Reason.WITHIN_THRESHOLD),
        ({"settings": {"share": False, "minimum": 183 * MIB}}, 200, Reason.STABILIZING),
        ({}, 200, Reason.WITHIN_THRESHOLD),
    ],
)
def test_a_domain_that_is_left_alone_is_told_why(given: dict[str, Any], to: float, reason: Reason) -> None:
    given = {"settings": {}} | given
    wanted, fit = given.pop("wanted", 97), given.pop("fit", True)
    given["settings"] = {"threshold": 16 * MIB} | given["settings"]
    of = node(200, **given)
    moves = chosen(of, plan(of, to, wanted=wanted, fit=fit, movable=reason not in BARRED))
    assert (targets(moves), reasons(moves)) == (same(NAN), [reason])


BARRED = {Reason.HOST_DEVICES, Reason.PAUSED, Reason.REFUSED, Reason.STUCK, Reason.OUTSIDE_CHANGE}
"""No plan moves who is left alone for one of these."""


@pytest.mark.parametrize(("spare", "reason"), [(200, Reason.AWAITING_MEMORY), (0, Reason.NO_BUDGET)])
def test_who_waits_is_told_whether_memory_is_on_its_way(spare: float, reason: Reason) -> None:
    of = node(100, 500, free=0, seen={"reported_at": NOW - 9})
    assert reasons(chosen(of, plan(of, 150, 500 - spare)))[0] is reason


def test_a_balloon_that_is_where_it_was_told_to_be_brings_nothing() -> None:
    of = node(100, 500, free=0, balloon=moving(NAN, 500 * MIB))
    assert reasons(chosen(of, plan(of, 150, 500)))[0] is Reason.NO_BUDGET


# What the host feels.

FELT: dict[str, Any] = {"short": [True, False], "least": [190 * MIB, NAN], "sought": [300 * MIB, 0.0]}


def test_a_guest_that_is_felt_to_grow_is_grown_at_once_whatever_that_costs():
    of = node(200, 500, growth=FELT)
    moves = chosen(of, plan(of, 300, 500), saving=0.0)
    assert (targets(moves), reasons(moves)[0]) == (same(300, NAN), Reason.FELT_GROW)


def test_a_guest_under_pressure_is_grown_for_that_not_for_what_is_felt():
    of = node(200, 500, growth=FELT, pressure=pressed(LOW, NONE))
    assert reasons(chosen(of, plan(of, 300, 500)))[0] == Reason.PRESSURE_GROW


def test_a_guest_that_is_felt_to_grow_while_it_shrinks_is_grown_instead():
    of = node(200, 500, growth=FELT, balloon=moving(150 * MIB, NAN))
    assert goes(of, plan(of, 300, 500)) == same(300, NAN)


def test_the_shrink_of_a_guest_in_need_ends_where_it_is_when_nothing_is_free():
    of = node(200, 500, free=0, growth=FELT, balloon=moving(150 * MIB, NAN))
    assert chosen(of, plan(of, 300, 500)).halt.tolist() == [True, False]

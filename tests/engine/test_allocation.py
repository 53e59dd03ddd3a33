"""What each domain should have, and what it costs that it does not."""

from typing import Any, ClassVar

import numpy as np
import pytest
from stages import MIB, NOW, known, mib, moving, plain, planned, pressed

from controller.engine.allocation import Exposure, Plan, expose
from controller.engine.guest_pressure import PressureLevel
from controller.engine.reasons import Reason
from controller.engine.tables import Floats
from controller.engine.tuning import Tuning
from controller.forecast.tail import EDGES, SCALE, SHAPE, Tail, assumed

GIB = 1024 * MIB
PRIOR = assumed(SCALE, SHAPE)
RECLAIM: dict[str, Any] = {"settings": {"share": False, "maximum": 8 * GIB}, "budget": 8 * GIB}
"""With room for all, everybody's plan is what it searches for or wants."""
HOST_PRESSURE = {"strained": True}


def a_plan(size: float, demand: float, **given: Any) -> Plan:
    """Of one domain; MiB."""
    return planned(known(mib(size), mib(demand), **given))


# What it cannot do without.


@pytest.mark.parametrize(
    ("demand", "size", "given", "need"),
    [
        (97, 200, {}, 100),
        (97, 98, {}, 98),
        (97, 200, {"seen": {"fresh_count": 2}}, 200),
        (97, 200, {"estimate": {"at": np.nan}}, 200),
        (97, 200, {"effect": {"rest_until": NOW + 1}}, 200),
        (97, 200, {"pressure": pressed(PressureLevel.LOW)}, 200),
        (np.nan, 200, {}, 200),
    ],
    ids=[
        "keeps clear of reclaim",
        "never more than it has",
        "too few samples",
        "no forecast",
        "fruitless",
        "under pressure",
        "unknown",
    ],
)
def test_need(demand: float, size: float, given: dict[str, Any], need: float) -> None:
    assert a_plan(size, demand, **given).need == pytest.approx(mib(need))


@pytest.mark.parametrize(("demand", "need"), [(97, 105), (970, 1000)])
def test_a_small_guest_needs_more_to_keep_clear_of_having_nothing_left(demand: float, need: float) -> None:
    assert a_plan(2000, demand, tuning=Tuning()).need == pytest.approx(mib(need))


@pytest.mark.parametrize(
    ("ended_ago", "other", "need"),
    [
        (9, PressureLevel.NONE, 400),
        (9, PressureLevel.LOW, 400),
        (9, PressureLevel.SHORT, 300 / 0.97),
        (10, PressureLevel.NONE, 300 / 0.97),
    ],
    ids=["alone", "another a little short", "another short", "over"],
)
def test_a_guest_that_was_short_keeps_what_eases_it_for_a_while_unless_another_is_shorter(
    ended_ago: float, other: PressureLevel, need: float
) -> None:
    """300 MiB in use, and a quarter of 400 free."""
    pressure = pressed(PressureLevel.NONE, other) | {"ended_at": [NOW - ended_ago, -np.inf], "hold": 10.0}
    assert planned(known(mib(500, 200), mib(300, 97), pressure=pressure)).need[0] == pytest.approx(need * MIB)


def test_wanted_is_the_upper_forecast_and_headroom_within_the_limits() -> None:
    given = {"estimate": {"upper": mib(120, 120, 120)}}
    settings = {"headroom_fraction": [0.1, 0.1, 0.0], "ceiling": mib(1024, 125, 1024)}
    assert planned(known(mib(200, 200, 200), mib(97, 97, 97), settings=settings, **given)).wanted == pytest.approx(
        mib(132, 125, 120)
    )


# Searching.


@pytest.mark.parametrize(
    ("level", "samples", "peak", "searched"),
    [
        (PressureLevel.LOW, 1, 0, 120),
        (PressureLevel.SHORT, 3, 0, 120),
        (PressureLevel.LOW, 1, 130, 130),
        (PressureLevel.EXHAUSTED, 0, 0, 160),
        (PressureLevel.EXHAUSTED, 1, 0, 160),
        (PressureLevel.EXHAUSTED, 2, 0, 220),
        (PressureLevel.EXHAUSTED, 7, 0, 3940),
        (PressureLevel.EXHAUSTED, 8, 0, 3940),
        (PressureLevel.EXHAUSTED, 1, 102.9, 160),
        (PressureLevel.EXHAUSTED, 1, 103, 120),
        (PressureLevel.EXHAUSTED, 1, 500, 500),
    ],
)
def test_a_guest_in_need_searches(level: PressureLevel, samples: int, peak: float, searched: float) -> None:
    plan = a_plan(100, 97, pressure=pressed(level, samples=samples), estimate={"peak_hour": peak * MIB}, **RECLAIM)
    assert plan.size == pytest.approx(mib(searched))


def test_a_guest_that_fell_silent_in_need_searches_as_one_with_nothing_left() -> None:
    silent = {"trouble": int(Reason.STALE_STATISTICS)}
    given = {"pressure": pressed(PressureLevel.LOW), "estimate": {"peak_hour": 110 * MIB}} | RECLAIM
    assert a_plan(100, 97, seen=silent, **given).size == pytest.approx(mib(160))


def test_a_guest_searches_from_the_size_that_it_told_of() -> None:
    given = {"seen": {"told_size": 100 * MIB}} | RECLAIM
    assert a_plan(110, 97, pressure=pressed(PressureLevel.LOW), **given).size == pytest.approx(mib(120))
    assert a_plan(110, 97, pressure=pressed(PressureLevel.LOW, samples=0), **given).size == pytest.approx(mib(132))


def test_a_guest_searches_no_further_than_it_may_have() -> None:
    settings = {"share": False, "ceiling": 150 * MIB}
    plan = a_plan(100, 97, pressure=pressed(PressureLevel.EXHAUSTED), settings=settings, budget=8 * GIB)
    assert plan.size == pytest.approx(mib(150))


def test_a_guest_at_ease_does_not_search() -> None:
    assert a_plan(100, 97, estimate={"peak_hour": 500 * MIB}, **RECLAIM).size == pytest.approx(mib(100))


def test_the_reach_of_a_guest_in_need_is_four_times_what_it_misses() -> None:
    of = known(
        mib(100, 200),
        mib(97, 97),
        pressure=pressed(PressureLevel.LOW, PressureLevel.NONE),
        estimate={"reach": 10 * MIB},
        budget=290 * MIB,
    )
    assert planned(of).size == pytest.approx(mib(180, 110), abs=1)


# The most that is planned.


@pytest.mark.parametrize(
    ("given", "top"),
    [
        ({}, 1024),
        ({"settings": {"ceiling": 300 * MIB}}, 300),
        ({"seen": {"maximum": 800 * MIB}}, 800),
        ({"settings": {"share": False}}, 110),
        ({"settings": {"share": False}, "estimate": {"bucket": 250 * MIB}}, 250),
        ({"settings": {"share": False}, "estimate": {"bucket_before": 260 * MIB}}, 260),
        ({"settings": {"share": False}, "estimate": {"since": NOW - 299}}, 500),
        ({"settings": {"share": False}, "estimate": {"since": NOW - 300}}, 110),
        ({"settings": {"share": False}, "estimate": {"since": np.nan}}, 500),
        ({"settings": {"definition": 400 * MIB}, "balloon": {"release": True}}, 400),
        ({"settings": {"definition": 2048 * MIB}, "balloon": {"release": True}}, 1024),
        ({"host": HOST_PRESSURE}, 110),
        ({"host": HOST_PRESSURE, "estimate": {"bucket": 250 * MIB}, "settings": {"share": False}}, 110),
        ({"host": {"lends_at": NOW + 1}}, 500),
        ({"host": {"lends_at": NOW}}, 1024),
        ({"host": {"lends_at": NOW + 1}, "estimate": {"upper": 600 * MIB}}, 600),
        (
            {
                "host": {"lends_at": NOW + 1},
                "settings": {"share": False},
                "estimate": {"bucket": 900 * MIB},
            },
            500,
        ),
        (
            {
                "host": {"lends_at": NOW + 1},
                "settings": {"definition": 700 * MIB},
                "balloon": {"release": True},
            },
            700,
        ),
    ],
)
def test_with_room_for_all_each_is_planned_what_it_may_have(given: dict[str, Any], top: float) -> None:
    given = {"estimate": {}} | given
    given["estimate"] = {"upper": 110 * MIB} | given["estimate"]
    assert a_plan(500, 97, **given).size == pytest.approx(mib(top))


@pytest.mark.parametrize(
    ("given", "returns"),
    [
        ({}, False),
        ({"settings": {"ceiling": 499 * MIB}}, True),
        ({"settings": {"ceiling": 500 * MIB}}, False),
        ({"settings": {"share": False}}, True),
        ({"host": HOST_PRESSURE}, True),
        ({"balloon": {"release": True}}, True),
    ],
)
def test_what_nobody_may_keep_is_given_back(given: dict[str, Any], returns: bool) -> None:
    of = known(mib(500), mib(97), **given)
    assert planned(of).returns.tolist() == [returns]
    assert planned(of, movable=False).returns.tolist() == [False]


# Spreading.


@pytest.mark.parametrize(
    ("reach", "weight", "sizes"),
    [
        ((100, 100), (1, 1), (200, 200)),
        ((100, 300), (1, 1), (150, 250)),
        ((100, 100), (3, 1), (250, 150)),
        ((100, 300), (3, 1), (200, 200)),
        ((np.nan, 100), (1, 1), (100, 300)),
    ],
)
def test_what_is_left_goes_out_in_proportion_to_reach_by_weight(
    reach: tuple[float, float], weight: tuple[float, float], sizes: tuple[float, float]
) -> None:
    of = known(
        mib(200, 200),
        mib(97, 97),
        estimate={"reach": mib(*reach)},
        settings={"weight": weight},
        budget=400 * MIB,
    )
    assert planned(of).size == pytest.approx(mib(*sizes), abs=2)


def test_what_was_needed_a_minute_ago_is_kept_before_the_rest_is_spread() -> None:
    of = known(
        mib(200, 200),
        mib(97, 97),
        estimate={"reach": mib(100, 300), "peak_minute": mib(194, 97)},
        budget=400 * MIB,
    )
    assert planned(of).size == pytest.approx(mib(225, 175), abs=1)


def test_what_all_needed_a_minute_ago_and_does_not_fit_is_shared_by_weight() -> None:
    of = known(
        mib(200, 200),
        mib(97, 97),
        estimate={"peak_minute": 291 * MIB},
        settings={"weight": (3, 1)},
        budget=400 * MIB,
    )
    assert planned(of).size == pytest.approx(mib(250, 150), abs=1)


def test_nobody_keeps_for_a_past_demand_more_than_it_may_have() -> None:
    assert a_plan(100, 97, estimate={"peak_minute": 194 * MIB}, host=HOST_PRESSURE).size == pytest.approx(mib(100))


@pytest.mark.parametrize(("samples", "to"), [(1, 110), (2, 110), (3, 120), (4, 140), (9, 200)])
def test_a_guest_in_need_has_headroom_with_what_others_needed_a_minute_ago_and_twice_as_much_if_that_did_not_do(
    samples: int, to: float
) -> None:
    of = known(
        mib(100, 300),
        mib(97, 97),
        pressure=pressed(PressureLevel.LOW, PressureLevel.NONE, samples=[samples, 0]),
        estimate={"peak_minute": mib(97, 291), "peak_hour": mib(200, 291)},
        settings={"headroom": 10 * MIB},
        budget=400 * MIB,
    )
    assert planned(of).size == pytest.approx(mib(to, 400 - to), abs=1)


def test_a_guest_in_need_keeps_what_is_on_its_way_to_it() -> None:
    levels = pressed(PressureLevel.LOW, PressureLevel.LOW)
    of = known(mib(200, 200), mib(195, 195), pressure=levels, balloon=moving(300 * MIB, np.nan), budget=500 * MIB)
    assert planned(of, committed=mib(300, 200)).size == pytest.approx(mib(300, 200))


def test_what_one_may_not_have_goes_to_the_others() -> None:
    of = known(mib(200, 200), mib(97, 97), settings={"ceiling": mib(120, 1024)}, budget=400 * MIB)
    assert planned(of).size == pytest.approx(mib(120, 280), abs=1)


def test_a_fiftieth_of_the_budget_is_not_spread() -> None:
    of = known(mib(500, 500), mib(97, 97), budget=1000 * MIB, tuning=Tuning())
    assert planned(of).size == pytest.approx(mib(490, 490), abs=1)


def test_what_keeps_the_host_clear_of_its_mark_is_not_spread() -> None:
    of = known(mib(500, 500), mib(97, 97), budget=1000 * MIB, host={"lendable": 600 * MIB})
    assert planned(of).size == pytest.approx(mib(300, 300), abs=1)


def test_domains_that_are_not_to_be_moved_keep_what_is_committed_to_them() -> None:
    of = known(mib(200, 200, 200), mib(97, 97, 97), budget=800 * MIB)
    plan = planned(of, [True, False, True], committed=mib(200, 350, 200))
    assert plan.size == pytest.approx(mib(225, 350, 225), abs=1)
    assert plan.movable.tolist() == [True, False, True]


def test_a_domain_whose_size_is_not_known_is_not_moved() -> None:
    assert planned(known(mib(0, 100), mib(0, 97))).movable.tolist() == [False, True]


def test_nobody_gets_more_while_demand_alone_is_more_than_the_budget() -> None:
    plan = planned(known(mib(300, 300), mib(291, 291), budget=400 * MIB))
    assert plan.size == pytest.approx(mib(300, 300))
    assert plan.minimums_fit


# Minimums.


@pytest.mark.parametrize(
    ("minimums", "budget", "sizes", "fit"),
    [
        ((300, 300), 700, (350, 350), True),
        ((300, 300), 600, (300, 300), True),
        ((300, 300), 500, (250, 250), False),
        ((500, 200), 500, (340, 160), False),
        ((500, 0), 500, (400, 100), False),
        ((300, 300), 150, (100, 100), False),
        ((0, 0), 150, (100, 100), True),
        ((2048, 0), 1200, (1024, 176), True),
    ],
)
def test_minimums_are_met_or_met_in_proportion_to_what_they_lack(
    minimums: tuple[float, float], budget: float, sizes: tuple[float, float], fit: bool
) -> None:
    plan = planned(known(mib(200, 200), mib(97, 97), settings={"minimum": mib(*minimums)}, budget=budget * MIB))
    assert plan.size == pytest.approx(mib(*sizes), abs=1)
    assert plan.minimums_fit is fit


def test_guests_in_need_search_before_minimums_are_met() -> None:
    of = known(
        mib(100, 200),
        mib(97, 97),
        pressure=pressed(PressureLevel.EXHAUSTED, PressureLevel.NONE),
        settings={"minimum": mib(0, 400)},
        budget=340 * MIB,
    )
    assert planned(of).size == pytest.approx(mib(160, 180))


def test_memory_for_those_in_need_is_shared_by_weight_where_minimums_do_not_fit() -> None:
    of = known(
        mib(100, 100),
        mib(97, 97),
        pressure=pressed(PressureLevel.EXHAUSTED, PressureLevel.EXHAUSTED),
        settings={"minimum": mib(400, 400), "weight": [3, 1]},
        budget=240 * MIB,
    )
    assert planned(of).size == pytest.approx(mib(130, 110), abs=1)


@pytest.mark.parametrize(
    ("obstacle", "trouble", "demand", "ago", "fit"),
    [
        (Reason.NONE, Reason.NONE, 97, np.inf, True),
        (Reason.HUGE_PAGES, Reason.NONE, 97, np.inf, False),
        (Reason.NONE, Reason.BOOTING, np.nan, 1, True),
        (Reason.NONE, Reason.PAUSED, np.nan, 1, True),  # libvirt starts it so
        (Reason.NONE, Reason.PAUSED, np.nan, np.inf, False),
        (Reason.NONE, Reason.NO_STATISTICS, np.nan, 120, False),
    ],
)
def test_minimums_fit_where_others_could_give_up_what_they_have(
    obstacle: Reason, trouble: Reason, demand: float, ago: float, fit: bool
) -> None:
    settings = {"minimum": mib(300, 0), "obstacle": [int(Reason.NONE), int(obstacle)]}
    seen = {"trouble": [int(Reason.NONE), int(trouble)], "booted_at": [-np.inf, NOW - ago]}
    of = known(mib(200, 600), mib(97, demand), settings=settings, seen=seen, budget=500 * MIB)
    plan = planned(of, [True, False])
    assert plan.minimums_fit is fit
    assert plan.size == pytest.approx(mib(300 if fit else 100, 600))


def test_a_released_domain_gets_its_definition_back_before_anything_is_spread() -> None:
    of = known(
        mib(200, 200),
        mib(97, 97),
        settings={"definition": 400 * MIB},
        balloon=moving(np.nan, np.nan, release=[True, False]),
        budget=700 * MIB,
    )
    assert planned(of).size == pytest.approx(mib(400, 300), abs=1)


# Exposure.


def exposed(
    base: Floats, size: Floats, before: Exposure | None = None, *, tail: Tail | None = None, **of: Any
) -> Exposure:
    """Of domains with a foot of 100 MiB and a reach of 64 MiB, that have `base` and are planned `size`.

    Their maximum is the last edge away.
    """
    n = len(base)
    movable, free = np.resize(of.pop("movable", True), n), of.pop("free", np.inf)
    largest = {"maximum": (100 + 64 * EDGES[-1]) * MIB}
    host = of.pop("host", None)
    estimate = {"foot": 100 * MIB, "reach": 64 * MIB} | of
    at = known(base, mib(*[97] * n), settings=largest, estimate=estimate, host=host)
    plan = planned(at)
    wish = Plan(size, plan.need, plan.wanted, movable, plan.returns, True, free)
    return expose(before or Exposure.blank(n), wish, at, tail or Tail.empty(n), 2.0)


@pytest.mark.parametrize(("base", "first_edge", "short"), [(164, 10, 0), (132, 9, 0), (100, 0, 0), (90, 0, 10)])
def test_excess_is_the_rise_expected_between_allocation_and_maximum(base: float, first_edge: int, short: float) -> None:
    excess = exposed(mib(base), mib(base)).excess
    assert excess == pytest.approx([64 * MIB * (PRIOR[first_edge] - PRIOR[-1]) + short * MIB])


def test_nothing_is_to_be_spared_a_domain_that_has_its_maximum() -> None:
    most = mib(100 + 64 * EDGES[-1])
    assert exposed(most, most).excess.tolist() == [0.0]


def test_nothing_is_to_be_spared_a_domain_that_has_all_of_the_budget() -> None:
    budget = mib(164)
    assert exposed(budget, budget, host={"budget": budget[0]}).excess.tolist() == [0.0]
    assert exposed(budget, budget).excess[0] > 0


@pytest.mark.parametrize("unknown", [{"reach": np.nan}, {"reach": np.nan, "foot": np.nan}])
def test_a_domain_of_which_nothing_is_known_costs_nothing(unknown: dict[str, float]) -> None:
    assert exposed(mib(10), mib(100), **unknown).excess.tolist() == [0.0]


def test_a_domain_borrows_fifty_intervals_of_its_node_and_that_twenty_of_the_prior() -> None:
    tail = Tail(np.array([[5.0, *[0.0] * (len(EDGES) - 1)], [0.0] * len(EDGES)]), np.array([10.0, 0.0]))
    beyond = PRIOR[0] - PRIOR[-1]
    node = (5 + 20 * beyond) / (10 + 20)
    own = (5 + 50 * node) / (10 + 50)
    assert exposed(mib(100, 100), mib(100, 100), tail=tail).excess == pytest.approx(mib(64 * own, 64 * node))


def test_regret_adds_up_what_the_plan_would_have_saved() -> None:
    made = exposed(mib(100), mib(164), Exposure.blank(1).having(regret=np.array([7.0])))
    assert made.regret == pytest.approx([7 + 2 * 64 * MIB * (PRIOR[0] - PRIOR[10])])


GAIN = 64 * MIB * (PRIOR[0] - PRIOR[10])
"""Bytes that a domain with nothing but its foot saves by its reach on top, in one interval."""


@pytest.mark.parametrize(("moved_at", "lasting"), [(np.nan, 100), (NOW - 200, 100), (NOW - 25, 25)])
def test_a_plan_is_expected_to_save_for_as_long_as_the_domain_has_not_been_moved(
    moved_at: float, lasting: float
) -> None:
    before = Exposure.blank(1).having(moved_at=np.array([moved_at]))
    made = exposed(mib(100), mib(164), before, since=NOW - 100)
    assert made.saving == pytest.approx([(2 + lasting) * GAIN])


@pytest.mark.parametrize(("free", "part"), [(64, 1.0), (32, 0.5), (0, 0.0), (-10, 0.0)])
def test_what_donors_lose_is_taken_off_the_gain_as_far_as_memory_is_not_free(free: float, part: float) -> None:
    """One gains by 64 MiB what the other would lose by them."""
    made = exposed(mib(100, 164), mib(164, 100), free=free * MIB)
    assert made.regret == pytest.approx([2 * part * GAIN, 0.0])


def test_donors_that_lose_nothing_by_it_cost_nothing() -> None:
    made = exposed(mib(100, 9000), mib(164, 8936), free=0.0)
    assert made.regret[0] == pytest.approx(2 * GAIN, rel=0.01)


@pytest.mark.parametrize(
    ("planned_size", "movable"), [(100, True), (90, True), (164, False)], ids=["has it", "has more", "immovable"]
)
def test_there_is_no_regret_where_the_plan_is_followed_or_cannot_be(planned_size: float, movable: bool) -> None:
    before = Exposure.blank(1).having(regret=np.array([7.0]))
    assert exposed(mib(100), mib(planned_size), before, movable=movable).regret.tolist() == [0.0]


def test_limits_are_those_of_the_policy_as_far_as_the_domain_may_have_it() -> None:
    settings = {
        "minimum": mib(300, 900),
        "ceiling": mib(500, 700),
        "threshold": mib(32, 4),
        "threshold_fraction": 0.1,
    }
    limits = known(mib(200, 200), mib(97, 97), settings=settings).bounds
    assert limits.minimum.tolist() == mib(300, 700).tolist()
    assert limits.top.tolist() == mib(500, 700).tolist()
    assert limits.threshold == pytest.approx(mib(32, 20))


def test_a_new_domain_costs_nothing_yet() -> None:
    assert plain(Exposure.blank(1)) == {"excess": [0.0], "regret": [0.0], "saving": [0.0], "moved_at": [None]}


class TestFelt:
    """A guest of 200 MiB that is felt to use 180 by now, and is to have 260."""

    FELT: ClassVar = {"short": [True, False], "least": [180 * MIB, np.nan], "sought": [260 * MIB, 0.0]}

    def test_it_is_planned_what_it_is_felt_to_need(self):
        assert planned(known(mib(200, 600), mib(100, 100), growth=self.FELT, **RECLAIM)).size[0] == 260 * MIB

    def test_nothing_is_planned_below_what_it_is_felt_to_use(self):
        of = known(mib(200, 600), mib(100, 100), growth=self.FELT)
        assert planned(of).need[0] == 180 * MIB

    def test_it_is_taken_to_be_on_its_way_to_its_peak_of_the_last_hour(self):
        peak = {"peak_hour": mib(400, 0)}
        of = known(mib(200, 600), mib(100, 100), growth=self.FELT, estimate=peak, **RECLAIM)
        assert planned(of).size[0] == 400 * MIB

    def test_it_is_given_no_more_than_it_may_have(self):
        of = known(
            mib(200, 600), mib(100, 100), budget=800 * MIB, growth=self.FELT, settings={"ceiling": mib(220, 1024)}
        )
        assert planned(of).size[0] == 220 * MIB


def test_a_guest_wants_room_for_what_it_once_took_before_memory_could_come() -> None:
    of = known(mib(200, 200), mib(100, 100), growth={"burst": mib(80, 0), "burst_at": NOW - 3600})
    assert planned(of).wanted / MIB == pytest.approx([140, 100 / 0.97])


def test_memory_for_a_minimum_that_cannot_be_met_now_goes_to_who_searches():
    """The second is stuck below its minimum; what the first has is its demand, so the minimums do not fit beside it."""
    of = known(
        mib(400, 100),
        mib(390, 50),
        budget=700 * MIB,
        settings={"minimum": mib(0, 400)},
        pressure=pressed(PressureLevel.EXHAUSTED, PressureLevel.NONE),
    )
    plan = planned(of, movable=[True, False])
    assert plan.size.tolist() == mib(600, 100).tolist()

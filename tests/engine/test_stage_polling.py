"""When the next look is due, from what the stages before know."""

from dataclasses import replace
from math import exp
from typing import Any

import numpy as np
import pytest
from stages import MIB, NOW, known, mib, plain, pressed, rows

from controller.engine import polling as pacing
from controller.engine.allocation import Exposure
from controller.engine.guest_pressure import PressureLevel
from controller.engine.known import Known
from controller.engine.polling import Polling, aligned, hasten
from controller.engine.reasons import Reason


def calm(**given: Any) -> Known:
    """A domain of 200 MiB that needs 97."""
    return known(mib(200), mib(97), **given)


def polled(
    of: Known,
    *,
    interval: float = 60.0,
    excess: Any = 0.0,
    price: float = 1e9 * MIB,
    looked: bool = True,
    **columns: Any,
) -> Polling:
    """After a look, before which the interval was `interval`. `excess` and `price` in bytes: looks are dear."""
    n = len(of.inventory)
    before = rows(Polling, n, **{"interval": interval, "counted_at": NOW} | columns)
    return pacing.poll(before, of, rows(Exposure, n, excess=excess), np.full(n, looked), price, 4.0)


def wait(of: Known, **given: Any) -> float:
    """Seconds until the next look."""
    return float(polled(of, **given).next_look[0]) - NOW


# The interval.


@pytest.mark.parametrize(
    ("excess", "price", "shortest", "seconds"),
    [
        (1 * MIB, 50 * MIB, 1, 10),  # sqrt(2 * 50 * 1 / 1)
        (4 * MIB, 50 * MIB, 1, 5),
        (1 * MIB, 200 * MIB, 1, 20),
        (1 * MIB, 50 * MIB, 4, 20),
        (0.0, 200.0, 1, 20),  # a byte at least
        (1e12 * MIB, 50 * MIB, 1, 1),
        (0.0, 1e9 * MIB, 1, 60),
    ],
)
def test_looks_are_as_far_apart_as_shortfall_and_looks_cost_least(
    excess: float, price: float, shortest: float, seconds: float
) -> None:
    of = calm(settings={"interval_minimum": shortest})
    assert wait(of, excess=excess, price=price) == seconds


@pytest.mark.parametrize(("interval", "seconds"), [(4, 5), (20, 25), (50, 60)])
def test_an_interval_grows_by_a_quarter_at_most_from_look_to_look(interval: float, seconds: float) -> None:
    made = polled(calm(), interval=interval)
    assert (made.interval[0], made.next_look[0]) == (seconds, NOW + seconds)


@pytest.mark.parametrize(("left", "seconds"), [(16, 8), (3, 1), (0, 1), (-9, 1), (np.inf, 60)])
def test_half_the_time_to_exhaustion_may_pass_unseen(left: float, seconds: float) -> None:
    assert wait(calm(estimate={"exhausted_at": NOW + left})) == seconds


@pytest.mark.parametrize(
    ("given", "count", "stable"),
    [
        ({"seen": {"change": -10 * MIB}}, 0, True),
        ({"seen": {"change": 10.1 * MIB}}, 0, False),  # 5 % of the allocation
        ({}, 2, True),
        ({}, 2.1, False),
        ({"pressure": pressed(PressureLevel.LOW)}, 0, False),
        ({"pressure": {"paging": True}}, 0, False),
    ],
)
def test_a_domain_is_stable_by_the_measures_of_its_policy(given: dict[str, Any], count: float, stable: bool) -> None:
    assert polled(calm(**given), reallocations=count).stable.tolist() == [stable]


@pytest.mark.parametrize("given", [{"pressure": pressed(PressureLevel.LOW)}, {"pressure": {"paging": True}}])
def test_a_domain_that_is_short_is_looked_at_at_its_shortest_interval(given: dict[str, Any]) -> None:
    made = polled(calm(**given))
    assert made.interval.tolist() == [1.0]
    assert made.next_look.tolist() == [NOW + 1.0]


# What the host feels.


def feeling(resident: float, **given: Any) -> Known:
    """A domain of 200 MiB that needs 97, of which so many are resident."""
    return calm(growth={"resident": resident * MIB, "own": 0.0} | given)


@pytest.mark.parametrize(
    ("resident", "seconds"),
    [(97, 60), (109, 60), (110, 10), (200, 10), (np.nan, 10)],
    ids=["nothing is silent", "little is", "more is", "all is", "nobody feels it"],
)
def test_growth_that_is_felt_before_it_does_harm_needs_no_look(resident: float, seconds: float) -> None:
    assert wait(feeling(resident), interval=10, excess=MIB, price=50 * MIB) == seconds


@pytest.mark.parametrize(("samples", "seconds"), [(1, 10), (2, 10), (3, 60)])
def test_a_domain_is_not_left_to_be_felt_before_it_may_shrink(samples: int, seconds: float) -> None:
    of = known(mib(200), mib(97), seen={"fresh_count": samples}, growth={"resident": 97 * MIB, "own": 0.0})
    assert wait(of, interval=10, excess=MIB, price=50 * MIB) == seconds


def test_what_qemu_itself_needs_is_no_silent_slack() -> None:
    assert wait(feeling(150, own=50 * MIB), interval=10, excess=MIB, price=50 * MIB) == 60


def test_a_domain_that_was_felt_falsely_is_looked_at_as_if_it_were_not() -> None:
    assert wait(feeling(97, doubted_until=NOW + 1), interval=10, excess=MIB, price=50 * MIB) == 10


def test_a_domain_without_room_to_be_felt_in_is_looked_at_as_if_it_were_not() -> None:
    of = known(mib(105), mib(97), growth={"resident": 97 * MIB})
    assert wait(of, interval=10, excess=MIB, price=50 * MIB) == 10


def test_what_it_can_take_unfelt_is_no_room_to_be_felt_in() -> None:
    of = known(mib(110), mib(97), growth={"resident": 103 * MIB})
    assert wait(of, interval=10, excess=MIB, price=50 * MIB) == 10


def test_reallocations_fade_over_the_window_of_stability() -> None:
    made = polled(calm(), reallocations=4.0, counted_at=NOW - 600)
    assert made.reallocations == pytest.approx([4 / exp(1)])
    assert made.counted_at.tolist() == [NOW]


# Where there is no fresh sample.

UNHEARD: dict[str, Any] = {
    "fresh": False,
    "reported": False,
    "fresh_at": NOW - 1,
    "sent_at": NOW - 1,
    "change": 99 * MIB,
}


@pytest.mark.parametrize(("period", "seconds"), [(0, 1), (1, 0.25), (7, 6), (100, 60)])
def test_a_report_that_is_awaited_is_looked_for_when_it_is_due(period: float, seconds: float) -> None:
    made = polled(calm(seen=UNHEARD, settings={"statistics_period": period}), interval=8.0, stable=True)
    assert made.next_look.tolist() == [NOW + seconds]
    assert (made.interval[0], made.stable[0]) == (8.0, True)


def test_the_interval_of_a_new_domain_is_the_shortest() -> None:
    assert polled(calm(seen=UNHEARD), interval=0.0).interval.tolist() == [1.0]


@pytest.mark.parametrize(
    ("trouble", "shortest", "longest", "seconds"),
    [
        (Reason.STALE_STATISTICS, 1, 60, 5),
        (Reason.PAUSED, 6, 60, 6),
        (Reason.BUSY, 1, 3, 3),
        (Reason.MOVING, 1, 60, 1),
    ],
)
def test_a_domain_that_cannot_be_acted_on_is_looked_at_every_five_seconds(
    trouble: Reason, shortest: float, longest: float, seconds: float
) -> None:
    settings = {"interval_minimum": shortest, "interval_maximum": longest, "statistics_period": 0.5}
    of = calm(seen=UNHEARD | {"trouble": int(trouble)}, settings=settings)
    now = pacing.aligned(np.array([NOW + seconds]), np.array([shortest]), np.zeros(1), 0.25)[0]
    assert polled(of).next_look.tolist() == [now]


def test_a_domain_that_must_not_be_touched_is_looked_at_at_its_longest_interval() -> None:
    assert wait(calm(settings={"obstacle": int(Reason.OPTED_OUT)}, seen={"change": 99 * MIB})) == 60


# What a look leaves.


def test_looks_are_counted_and_those_that_a_fixed_interval_would_have_taken() -> None:
    of = known(
        mib(200, 200),
        mib(97, 97),
        settings={"interval_minimum": 2.0, "obstacle": [int(Reason.NONE), int(Reason.PAUSED)]},
    )
    made = polled(of, looks=5, fixed_looks=7.0)
    assert made.looks.tolist() == [6, 6]
    assert made.fixed_looks.tolist() == [9.0, 7.0]


def test_domains_not_looked_at_keep_when_they_are_due() -> None:
    made = polled(calm(seen={"fresh": False}), looked=False, interval=8.0, next_look=NOW + 3, stable=True)
    assert (made.next_look[0], made.interval[0], made.stable[0], made.looks[0]) == (NOW + 3, 8.0, True, 0)


# After a decision.


def hastened(
    *, seen_at: float = NOW, moved: bool = False, for_itself: bool = False, unverified: bool = False, **seen: float
) -> Polling:
    """Of a domain that was moved once 600 s ago and is due in 40 s."""
    of = calm(seen={"seen_at": seen_at} | seen, settings={"interval_minimum": 2.0, "statistics_period": 30.0})
    before = rows(Polling, 1, next_look=NOW + 40, interval=50.0, reallocations=1.0, counted_at=NOW - 600)
    return hasten(before, of, *(np.array([each]) for each in (moved, for_itself, unverified)))


@pytest.mark.parametrize(("for_itself", "count"), [(True, exp(-1) + 1), (False, exp(-1))])
def test_a_domain_that_was_moved_is_looked_at_soon(for_itself: bool, count: float) -> None:
    made = hastened(moved=True, for_itself=for_itself)
    assert (made.next_look[0], made.interval[0]) == (NOW + 2, 2.0)
    assert made.reallocations == pytest.approx([count])
    assert made.counted_at.tolist() == [NOW]


@pytest.mark.parametrize(("seen_at", "due"), [(NOW, 2.0), (NOW - 1.5, 0.5), (NOW - 9, 0.0), (np.nan, 0.0)])
def test_a_domain_whose_word_is_too_old_is_looked_at_when_there_can_be_news(seen_at: float, due: float) -> None:
    made = hastened(seen_at=seen_at, sent_at=NOW - 40, unverified=True)
    assert made.next_look.tolist() == [NOW + due]
    assert (made.interval[0], made.reallocations[0]) == (50.0, 1.0)


@pytest.mark.parametrize(("sent_at", "due"), [(NOW - 20, 10.0), (NOW - 1, 29.0), (NOW + 4, 30.0), (-np.inf, 2.0)])
def test_there_can_be_none_before_its_next_statistics(sent_at: float, due: float) -> None:
    assert hastened(sent_at=sent_at, unverified=True).next_look.tolist() == [NOW + due]


def test_one_domain_of_several_is_hastened() -> None:
    of = known(mib(200, 200), mib(97, 97))
    before = rows(Polling, 2, next_look=NOW + 40, interval=50.0, counted_at=NOW)
    none, second = np.array([False, False]), np.array([False, True])
    assert hasten(before, of, none, none, second).next_look.tolist() == [NOW + 40, NOW + 1]
    assert hasten(before, of, second, none, none).next_look.tolist() == [NOW + 40, NOW + 1]


def test_a_new_domain_is_due_at_once_and_has_not_been_moved() -> None:
    new = {name: values[0] for name, values in plain(Polling.blank(1)).items()}
    assert new == {
        "next_look": None,
        "interval": 0.0,
        "phase": 0.0,
        "stable": False,
        "reallocations": 0.0,
        "counted_at": None,
        "looks": 0,
        "fixed_looks": 0.0,
    }
    assert Polling.blank(1).next_look.tolist() == [-np.inf]


def test_a_domain_that_was_left_alone_is_due_as_before() -> None:
    made = hastened(for_itself=True)
    assert (made.next_look[0], made.interval[0], made.reallocations[0]) == (NOW + 40, 50.0, 1.0)


def test_nothing_is_put_off_by_a_move() -> None:
    of = calm(settings={"interval_minimum": 10.0})
    before = rows(Polling, 1, next_look=NOW + 1, interval=10.0, counted_at=NOW)
    yes = np.array([True])
    assert hasten(before, of, yes, yes, yes).next_look.tolist() == [NOW + 1]


@pytest.mark.parametrize(
    ("time", "shortest", "met"),
    [(10.0, 5.0, 10.0), (14.9, 5.0, 10.0), (15 - 4e-6, 5.0, 15.0), (15 - 6e-6, 5.0, 10.0), (0.3, 0.1, 0.3)],
)
def test_looks_meet_at_multiples_of_the_shortest_interval(time: float, shortest: float, met: float) -> None:
    assert aligned(np.array([time]), np.array([shortest]), np.zeros(1), 0.25) == pytest.approx([met])


# Looks follow the guest's reports.


@pytest.mark.parametrize(
    ("seen", "period", "phase"),
    [
        ({"sent_at": NOW - 0.25}, 1, 0.5 - 1 / 64),  # it may be older than it has to be
        ({"sent_at": NOW - 0.2}, 1, 0.5),
        ({"sent_at": NOW - 1.1, "reported": False, "fresh_at": NOW - 1}, 1, 0.75),
        ({"sent_at": NOW - 1.1, "reported": False, "fresh_at": NOW - 1.2}, 1, 0.5),  # nor did the look before
        ({"sent_at": NOW - 1.1, "reported": False, "fresh_at": NOW - 1}, 2, 0.5),  # none was due
        ({"sent_at": NOW - 0.9}, 0.5, 0.5),  # reports are more frequent than looks
        ({"sent_at": NOW - 1.1, "reported": False, "fresh_at": NOW - 1, "trouble": int(Reason.BUSY)}, 1, 0.5),
    ],
)
def test_looks_come_earlier_by_little_and_later_by_a_quarter(seen: dict[str, Any], period: float, phase: float) -> None:
    of = calm(seen=seen, settings={"statistics_period": period})
    assert polled(of, phase=0.5).phase.tolist() == [phase]


@pytest.mark.parametrize(("phase", "seconds"), [(0.0, 1.0), (0.25, 0.25), (0.49, 0.25), (0.5, 0.5), (-0.01, 0.75)])
def test_looks_of_many_domains_meet_at_quarters_of_a_second(phase: float, seconds: float) -> None:
    of = calm(pressure=pressed(PressureLevel.SHORT), seen={"sent_at": NOW - 0.1})
    made = polled(of, phase=phase)
    assert made.next_look.tolist() == [NOW + seconds]


@pytest.mark.parametrize("second", [0.1, 0.3, 0.6, 0.9])
def test_reports_are_found_soon_after_they_are_sent(second: float) -> None:
    """A guest reports every 1.002 s; its stamps are whole seconds."""
    made, now, last, found, ages, looks = rows(Polling, 1), NOW, -1.0, NOW, [], 0
    while now < NOW + 300:
        sent = NOW + second + np.floor((now - NOW - second) / 1.002) * 1.002
        found = now if sent > last else found
        seen = {"sent_at": np.floor(sent), "reported": sent > last, "fresh": sent > last, "fresh_at": found}
        of = replace(calm(pressure=pressed(PressureLevel.SHORT), seen=seen), now=now)
        made = pacing.poll(made, of, rows(Exposure, 1), np.ones(1, np.bool_), 1.0, 1.0)
        if now > NOW + 100:
            looks += 1
            ages += [now - sent] if sent > last else []
        last, now = sent, float(made.next_look[0])
    assert sum(ages) / len(ages) < 0.3
    assert looks < 1.12 * 200

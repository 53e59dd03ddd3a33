"""What is made of growth that the host feels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from stages import MIB, NOW, inventory, mib, moving, rows

from controller.engine.felt import Growth, feel
from controller.engine.observation import Observation
from controller.engine.phases import Balloon
from controller.engine.reasons import Reason
from controller.engine.snapshot import Felt, RunState
from controller.engine.tuning import Tuning

TUNING = Tuning()
SEEN = {
    "allocation": 200 * MIB,
    "demand": 100 * MIB,
    "used": 100 * MIB,
    "fresh_count": 3,
    "sent_at": NOW - 10,
    "fresh_at": NOW - 10,
}


def felt(resident: float, grew: float = 0, seconds: float = 1.0, now: float = NOW) -> Felt:
    """Of one guest; MiB."""
    return Felt(np.array([0]), mib(resident), mib(grew), np.array([now - seconds]))


def guest(
    growth: Growth | None = None,
    of: Felt | None = None,
    now: float = NOW,
    settings: dict[str, Any] | None = None,
    balloon: dict[str, Any] | None = None,
    **seen: Any,
) -> Growth:
    """One guest of 200 MiB with a demand of 100, by default as it was told 10 s ago, and 130 resident then."""
    before = rows(Growth, 1, base=130 * MIB, resident=130 * MIB) if growth is None else growth
    return feel(
        before,
        felt(130) if of is None else of,
        rows(Observation, 1, **SEEN | seen),
        rows(Balloon, 1, **balloon or {}),
        inventory(1, **settings or {}),
        now,
        TUNING,
    )


def test_nothing_is_made_of_nothing_felt():
    blank = rows(Growth, 3)
    assert feel(blank, Felt.empty(), rows(Observation, 3), rows(Balloon, 3), inventory(3), NOW, TUNING) is blank


def alerted_at(growth: dict[str, float], balloon: dict[str, float] | None = None, **seen: Any) -> float:
    """MiB."""
    found = rows(Growth, 1, **growth).alert_at(
        rows(Observation, 1, **SEEN | seen), rows(Balloon, 1, **balloon or {}), TUNING
    )
    return float(found[0]) / MIB


@pytest.mark.parametrize(
    ("growth", "given", "mib_resident"),
    [
        ({"base": 100, "resident": 100}, {}, 100 + (194 - 100) / 2),
        ({"base": 140, "resident": 140}, {}, 140 + (194 - 140) / 2),  # it can take 40 unfelt, or they are QEMU's
        ({"base": 90, "resident": 90}, {}, 90 + (194 - 100) / 2),
        ({"base": 100, "resident": 100}, {"balloon": {"target": 150 * MIB}}, 100 + (145.5 - 100) / 2),
        ({"base": 100, "resident": 100}, {"balloon": {"target": 300 * MIB}}, 100 + (194 - 100) / 2),
        ({"base": np.nan, "resident": np.nan}, {}, -np.inf),
        ({"base": 100, "resident": 100}, {"demand": np.nan}, -np.inf),
    ],
    ids=["room", "silent", "less", "shrinks", "grows", "not felt", "not told"],
)
def test_a_guest_is_looked_at_when_it_has_eaten_half_of_what_it_had_left(growth, given, mib_resident):
    assert alerted_at({name: value * MIB for name, value in growth.items()}, **given) == mib_resident


def test_no_guest_is_short_before_it_is_looked_at():
    level = alerted_at({"base": 130 * MIB, "resident": 130 * MIB})
    assert not guest(of=felt(level - 0.1, level - 130.1)).short[0]


def test_growth_is_counted_from_the_statistics_that_demand_is_of():
    grown = guest(of=felt(190, 10))
    assert (grown.grew, grown.least) == (60 * MIB, 160 * MIB)


@pytest.mark.parametrize(
    ("since_told", "lately"), [(15, 0), (15, 15), (7, 100)], ids=["by QEMU or khugepaged", "the same, just now", "told"]
)
def test_growth_that_is_not_the_guests_or_is_told_is_none(since_told, lately):
    assert np.isnan(guest(of=felt(130 + since_told, lately)).least[0])


@pytest.mark.parametrize(("since_told", "lately"), [(16, 0), (8, 16)], ids=["since it told", "more than it has told"])
def test_growth_counts_from_what_qemu_and_khugepaged_make_on(since_told, lately):
    assert guest(of=felt(130 + since_told, lately)).least == (100 + since_told) * MIB


def test_memory_given_back_and_taken_again_has_grown():
    shrunk = guest(of=felt(60))
    assert guest(shrunk, felt(100)).grew == 40 * MIB


def test_statistics_start_the_count_anew():
    grown = guest(of=felt(190))
    assert guest(grown, felt(190), fresh=True, sent_at=NOW).grew == 0


@pytest.mark.parametrize(
    ("sent", "grew"),
    [(NOW - 3, 50), (NOW - 1.5, 50), (NOW - 0.5, 50), (NOW - 0.4, 0), (NOW, 0)],
    ids=["long before", "just before", "in the same second", "later", "now"],
)
def test_growth_that_may_have_begun_after_statistics_were_sent_is_not_in_them(sent, grew):
    assert guest(of=felt(180, grew=50, seconds=0.5), fresh=True, sent_at=sent).grew == grew * MIB


@pytest.mark.parametrize(("sent", "grew"), [(NOW - 1.5, 50), (NOW - 0.5, 20)], ids=["before", "in the same second"])
def test_of_growth_in_the_second_of_statistics_they_know_what_demand_rose_by(sent, grew):
    told = {"fresh": True, "sent_at": sent, "change": 30 * MIB}
    assert guest(of=felt(180, grew=50, seconds=0.5), **told).grew == grew * MIB


def test_the_first_statistics_know_of_all_that_a_guest_took_in_their_second():
    assert guest(of=felt(180, grew=50, seconds=0.5), fresh=True, sent_at=NOW - 0.5, fresh_count=1).grew == 0


@pytest.mark.parametrize(("sent", "short"), [(NOW - 1.5, True), (NOW - 0.5, False)])
def test_growth_that_may_be_in_its_statistics_is_not_taken_to_go_on(sent, short):
    made = guest(of=felt(180, grew=50, seconds=0.5), fresh=True, sent_at=sent)
    assert made.short.tolist() == [short]
    assert guest(made, felt(180, grew=50, seconds=0.75), sent_at=sent).short.tolist() == [short]
    assert guest(made, felt(205, grew=75, seconds=0.75), sent_at=sent).short.tolist() == [True]


def test_a_guest_that_grows_into_what_its_kernel_needs_will_be_short():
    assert guest(of=felt(225), fresh_count=1).short.tolist() == [True]  # 195 of 200


def test_a_guest_with_room_for_what_it_took_will_not_be():
    assert guest(of=felt(215)).short.tolist() == [False]


def test_a_guest_that_goes_on_like_this_will_be_short():
    assert guest(of=felt(180, 50, seconds=0.5)).short.tolist() == [True]


def test_a_guest_is_not_taken_to_grow_by_more_than_it_did():
    assert guest(of=felt(175, 45, seconds=0.01)).short.tolist() == [False]


def test_a_guest_felt_to_grow_is_to_have_what_it_took_what_is_to_come_and_headroom():
    sought = guest(of=felt(195, 60, seconds=3), settings={"headroom": 64 * MIB}).sought
    assert sought / MIB == pytest.approx([165 + 30 + 64])  # 20 MiB/s for 1.5 s


def test_a_guest_felt_to_grow_is_to_have_as_much_more_as_one_under_pressure_with_a_little_left():
    assert guest(of=felt(195, 60, seconds=3)).sought / MIB == pytest.approx([240])


class TestMemoryUsedBefore:
    """Free pages of the guest that the host holds already: nobody feels when they are taken, and they go first."""

    def test_has_been_taken_by_whoever_takes_memory_that_is_new_to_it(self):
        before = rows(Growth, 1, base=180 * MIB, own=20 * MIB)  # 60 MiB of it free
        made = guest(before, felt(220), settings={"headroom": 64 * MIB})
        assert (made.sought / MIB, made.least / MIB) == (pytest.approx([140 + 60 + 64]), 140)

    def test_counts_where_somebody_takes_memory_only(self):
        assert guest(rows(Growth, 1, base=195 * MIB, own=5 * MIB), felt(195)).short.tolist() == [False]

    def test_is_not_free_where_it_holds_files(self):
        before = rows(Growth, 1, base=180 * MIB, own=20 * MIB)
        assert guest(before, felt(200), promised=50 * MIB).short.tolist() == [False]

    def test_is_not_known_before_qemus_own_part_is(self):
        assert guest(rows(Growth, 1, base=180 * MIB), felt(200)).short.tolist() == [False]


def test_a_guest_felt_to_use_all_is_to_have_as_much_as_one_with_nothing_left():
    assert guest(of=felt(225)).sought / MIB == pytest.approx([320])


def test_a_balloon_on_its_way_up_counts_as_there():
    assert guest(of=felt(225), balloon=moving(400 * MIB)).short.tolist() == [False]


def test_a_balloon_on_its_way_down_counts_as_where_it_is():
    assert guest(of=felt(225), balloon=moving(110 * MIB)).short.tolist() == [True]
    assert guest(of=felt(215), balloon=moving(110 * MIB)).short.tolist() == [False]


@pytest.mark.parametrize(
    "seen",
    [
        {"trouble": int(Reason.BUSY), "run_state": int(RunState.BUSY)},
        {"trouble": int(Reason.STALE_STATISTICS)},
        {"run_state": int(RunState.PAUSED)},
        {"fresh_count": 0},
        {"demand": np.nan},
        {"allocation": np.nan},
    ],
    ids=["migration", "stale", "paused", "never told", "no demand", "no size"],
)
def test_a_guest_of_which_too_little_is_known_is_not_believed(seen):
    assert guest(of=felt(225, 95), **seen).short.tolist() == [False]


def test_a_guest_whose_memory_is_not_qemus_is_not_felt():
    made = guest(of=felt(225, 95), settings={"resident": False})
    assert (made.short.tolist(), np.isnan(made.resident).tolist()) == ([False], [True])


def test_a_guest_that_cannot_be_read_any_more_is_not_felt():
    made = guest(guest(of=felt(225)), Felt(np.array([0]), np.array([np.nan]), np.zeros(1), np.zeros(1)))
    assert (made.short.tolist(), made.grew.tolist()) == ([False], [0.0])


def test_when_senses_end_nobody_is_short_any_more():
    made = guest(guest(of=felt(225)), Felt.empty())
    assert (made.short.tolist(), np.isnan(made.base).tolist()) == ([False], [True])


@pytest.mark.parametrize(("fresh", "resident", "own"), [(True, 260, 60), (False, 260, 7), (True, np.nan, 7)])
def test_what_is_qemus_own_shows_at_a_fresh_sample_only(fresh, resident, own):
    assert guest(rows(Growth, 1, own=7 * MIB), felt(resident), fresh=fresh).own == own * MIB


def test_a_claim_stands_from_when_it_was_first_made():
    first = guest(of=felt(225))
    second = guest(first, felt(235, now=NOW + 1), now=NOW + 1, used=110 * MIB)
    assert (second.claimed_at, second.claimed_from, second.claimed) == (NOW, 100 * MIB, 105 * MIB)


def test_a_guest_that_is_not_short_claims_nothing():
    assert np.isnan(guest(of=felt(150)).claimed_at[0])


class TestDoubt:
    def told(self, demand: float, growth: Growth | None = None, now: float = NOW + 2) -> Growth:
        """A guest that was felt to need 195 MiB tells what it needs."""
        claimed = guest(growth, felt(225, now=now - 2), now=now - 2) if growth is None else growth
        seen = {"fresh": True, "sent_at": now, "used": demand * MIB}
        return guest(claimed, felt(225, now=now), now=now, **seen)

    def test_growth_that_was_none_is_not_believed_again_for_five_seconds(self):
        doubted = self.told(101)
        again = {"now": NOW + 6, "of": felt(400, now=NOW + 6)}
        assert guest(doubted, **again).short.tolist() == [False]
        again = {"now": NOW + 7, "of": felt(400, now=NOW + 7)}
        assert guest(doubted, **again).short.tolist() == [True]

    def test_growth_that_was_true_is_believed_again_also_when_it_is_over(self):
        true = self.told(150)
        assert true.doubted_until == -np.inf
        over = {"now": NOW + 60, "sent_at": NOW + 60, "used": 90 * MIB}
        assert guest(true, felt(225, now=NOW + 60), **over).doubted_until == -np.inf

    @pytest.mark.parametrize(("demand", "doubt"), [(123, 5), (124, 0)])
    def test_a_quarter_of_what_was_felt_makes_it_true(self, demand, doubt):
        assert self.told(demand).doubt == doubt  # 95 MiB were felt, and 100 needed before

    @pytest.mark.parametrize(("before", "doubt"), [(1700, 3400), (1900, 3600), (3600, 3600)])
    def test_no_guest_is_doubted_for_more_than_an_hour(self, before, doubt):
        claims = {"claimed": 95 * MIB, "claimed_at": NOW, "claimed_from": 100 * MIB}
        assert self.told(101, rows(Growth, 1, doubt=before, **claims)).doubt == doubt

    def test_each_false_word_in_turn_is_doubted_twice_as_long(self):
        once = self.told(101)
        claimed = guest(once, felt(400, now=NOW + 100), now=NOW + 100)
        assert self.told(101, claimed, now=NOW + 102).doubted_until == NOW + 102 + 10

    def test_statistics_of_a_guest_whose_balloon_moves_tell_as_well(self):
        claimed = guest(of=felt(225))
        moves = {"now": NOW + 2, "sent_at": NOW + 2, "balloon": moving(400 * MIB)}
        assert guest(claimed, felt(225, now=NOW + 2), used=101 * MIB, **moves).doubt == 5
        assert guest(claimed, felt(225, now=NOW + 2), used=150 * MIB, **moves).claimed == 0

    def test_what_had_to_be_swapped_out_was_needed(self):
        claimed = guest(of=felt(225))
        told = guest(claimed, felt(225, now=NOW + 2), now=NOW + 2, sent_at=NOW + 2, swapped=50 * MIB)
        assert (told.doubt, told.claimed) == (0, 0)

    def test_statistics_without_numbers_tell_nothing(self):
        claimed = guest(of=felt(225))
        told = guest(claimed, felt(150, now=NOW + 2), now=NOW + 2, sent_at=NOW + 2, used=np.nan)
        assert (told.doubt, told.claimed) == (0, 95 * MIB)

    def test_a_true_word_makes_up_for_false_ones(self):
        once = self.told(101)
        claimed = guest(once, felt(400, now=NOW + 100), now=NOW + 100)
        assert self.told(300, claimed, now=NOW + 102).doubt == 0

    def test_the_next_claim_is_counted_anew(self):
        claimed = guest(self.told(150), felt(400, now=NOW + 9), now=NOW + 9)
        assert claimed.claimed_at == NOW + 9

    def test_statistics_that_are_older_than_the_growth_say_nothing_of_it(self):
        claimed = guest(of=felt(225))
        assert guest(claimed, felt(225), fresh=True, sent_at=NOW - 1).doubt == 0

    def test_what_one_guest_tells_says_nothing_of_another(self):
        claimed = rows(Growth, 2, claimed=95 * MIB, claimed_at=NOW, claimed_from=100 * MIB, resident=225 * MIB)
        seen = rows(Observation, 2, **SEEN | {"sent_at": [NOW + 2, NOW - 10]})
        made = feel(claimed, Felt.empty(), seen, rows(Balloon, 2), inventory(2), NOW + 2, TUNING)
        assert made.doubt.tolist() == [5, 0]


class TestBursts:
    """A guest took 60 MiB in a second, and was felt to be short."""

    def taken(self, used: float = 160, growth: Growth | None = None, answer: float = np.nan) -> Growth:
        """What became of that when the guest told that it uses so much, MiB."""
        before = rows(Growth, 1, base=130 * MIB, resident=130 * MIB, answer=answer) if growth is None else growth
        claimed = guest(before, felt(190, 60))
        return guest(claimed, felt(190, now=NOW + 2), now=NOW + 2, sent_at=NOW + 2, used=used * MIB)

    def test_room_is_kept_for_what_was_taken_until_memory_could_come(self):
        burst = self.taken()
        assert burst.coming(NOW + 2, TUNING) / MIB == pytest.approx([30])  # in 0.5 s
        assert self.taken(answer=2.0).coming(NOW + 2, TUNING) / MIB == pytest.approx([60])  # it took no more
        slow = guest(rows(Growth, 1, base=130 * MIB), felt(225, 60, seconds=3))
        assert slow.claimed_burst / MIB == pytest.approx([10])
        slower = guest(rows(Growth, 1, base=130 * MIB, answer=2.0), felt(225, 60, seconds=3))
        assert slower.claimed_burst / MIB == pytest.approx([40])

    def test_it_is_forgotten_by_half_in_an_hour(self):
        assert self.taken().coming(NOW + 3602, TUNING) / MIB == pytest.approx([15])

    def test_what_a_guest_takes_to_boot_is_none(self):
        claimed = guest(of=felt(190, 60))
        told = {"now": NOW + 2, "sent_at": NOW + 2, "used": 160 * MIB}
        assert guest(claimed, felt(190, now=NOW + 2), booted_at=NOW - 117, **told).burst == 0
        assert guest(claimed, felt(190, now=NOW + 2), booted_at=NOW - 118, **told).burst == 30 * MIB

    def test_growth_that_was_none_was_no_burst(self):
        assert self.taken(used=101).coming(NOW + 2, TUNING) == 0

    def test_a_larger_one_before_stands(self):
        before = rows(Growth, 1, base=130 * MIB, burst=100 * MIB, burst_at=NOW)
        assert self.taken(growth=before).burst == 100 * MIB

    def test_the_largest_part_of_one_growth_counts(self):
        first = guest(of=felt(190, 60))
        second = guest(first, felt(225, 5, now=NOW + 1), now=NOW + 1)
        assert second.claimed_burst / MIB == pytest.approx([30])

    def test_the_next_growth_is_another(self):
        before = rows(Growth, 1, base=130 * MIB, claimed_burst=500 * MIB)
        assert guest(before, felt(190, 60)).claimed_burst / MIB == pytest.approx([30])


class TestTheAnswer:
    """From when a guest can be felt to need an order until its balloon is there."""

    @staticmethod
    def arriving(size: float = 300, took: float = 0.8, reason: Reason = Reason.FELT_GROW, pause: float = 0.0) -> Growth:
        balloon = {"last_at": NOW - took, "last_to": 300 * MIB, "last_reason": int(reason)}
        return guest(of=replace(felt(130), pause=pause), balloon=balloon, allocation=size * MIB, moved_at=NOW)

    def test_is_timed(self):
        assert self.arriving().answer == pytest.approx([0.8])

    def test_takes_longer_where_growth_is_felt_late(self):
        assert self.arriving(pause=2.0).answer == pytest.approx([2.8])

    @pytest.mark.parametrize("case", [{"size": 299 - 64}, {"took": 6}, {"reason": Reason.FORECAST_GROW}])
    def test_is_of_such_orders_only_and_complete(self, case):
        assert np.isnan(self.arriving(**case).answer[0])

    def test_is_not_timed_again_when_nothing_moves(self):
        balloon = {"last_at": NOW - 1, "last_to": 300 * MIB, "last_reason": int(Reason.FELT_GROW)}
        made = guest(rows(Growth, 1, answer=0.3), balloon=balloon, allocation=300 * MIB, moved_at=NOW - 0.7)
        assert made.answer == 0.3


def test_what_qemu_needs_itself_is_known_from_guests_that_hold_all_they_have():
    made = guest(of=felt(260), fresh=True)
    assert made.own == 60 * MIB
    assert made.silent(mib(150)) == 50 * MIB


def test_the_silent_slack_is_what_was_used_before_and_is_not_used_now():
    made = guest(of=felt(180), fresh=True)
    assert made.silent(mib(100)) == 80 * MIB


def test_a_guest_that_nobody_feels_has_no_known_silent_slack():
    assert np.isnan(rows(Growth, 1).silent(mib(100))[0])

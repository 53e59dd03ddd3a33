"""What the loop does when the host feels a guest grow."""

from dataclasses import replace

import numpy as np
import pytest
from fake_loop import MIB, LoopHarness

from controller.api.wishes import Wishes
from controller.host.senses import Feelings

CALM = (
    "{mode: Enforce, spare: Reclaim, advanced: {monitoring: {minimumIntervalSeconds: 60, maximumIntervalSeconds: 60}}}"
)


@pytest.fixture
def harness():
    """Two calm guests that have been looked at for the first time; the next look is due in a minute."""
    harness = LoopHarness(CALM)
    harness.source.set(CALM)
    for name in ("a", "b"):
        harness.host.add(name, actual=1024, demand=256)
        harness.host.resident[name] = 300 * MIB
    harness.loop.iterate()
    harness.host.looks.clear()
    return harness


def after(harness: LoopHarness, seconds: float, times: int = 1) -> None:
    """The loop is woken, or its wait is over; so many `times`, one after the other."""
    for _ in range(times):
        harness.clock.now += seconds
        harness.loop.iterate()


def turn_for(harness: LoopHarness, seconds: float) -> None:
    """The loop runs for so long, waiting as it does."""
    end = harness.clock.now + seconds
    while harness.clock.now < end:
        harness.turn()


def count(harness: LoopHarness, name: str) -> float:
    samples = (sample for family in harness.loop.loop_counters.collect() for sample in family.samples)
    return next(sample.value for sample in samples if sample.name == f"{name}_total")


def felt_and_false(harness: LoopHarness) -> tuple[float, float]:
    """How many growths were felt, and how many of them falsely."""
    return count(harness, "ballast_felt_growths"), count(harness, "ballast_false_growths")


def test_a_guest_that_is_felt_to_grow_is_looked_at_at_once_and_alone(harness):
    harness.host.grow("a", 350)
    after(harness, 5.4)
    assert harness.host.looks == [["a"]]


def test_a_guest_felt_to_grow_is_looked_at_until_it_has_told_and_no_longer(harness):
    harness.clock.now = 1010.2
    harness.loop.iterate()
    harness.host.grow("a", 350)
    after(harness, 0.25, times=8)
    assert harness.clock.now == 1012.2
    assert len(harness.host.looks) == 2  # at 1010.45, and at 1011.2 with the statistics of 1011


def test_a_guest_that_has_just_told_is_looked_at_when_it_may_tell_again(harness):
    harness.host.grow("a", 350)
    looks = []
    for _ in range(8):
        after(harness, 0.25)
        looks += [harness.clock.now] * len(harness.host.looks)
        harness.host.looks.clear()
    assert looks == [1001.0]


def test_a_guest_that_fills_up_in_the_second_in_which_it_tells_grows_before_it_tells_again(harness):
    harness.clock.now = 1010.5
    harness.host.periods["a"] = 10
    known = np.array([1040.0 * MIB]), np.array([740.0 * MIB]), np.array([1010.25])
    harness.host.feel = lambda: Feelings(("a",), *known, woke=frozenset("a"))
    harness.loop.iterate()
    assert harness.host.looks == [["a"]]
    assert [(each.key, str(each.reason)) for each in harness.host.applied] == [("a", "FeltGrow")]


def test_between_its_looks_what_it_takes_is_judged(harness):
    """It goes on to grow, by less at a time than what wakes the loop."""
    harness.host.grow("a", 350)
    after(harness, 0.25)
    assert (harness.host.applied, harness.loop.pause()) == ([], 0.25)
    harness.host.resident["a"] += 400 * MIB
    after(harness, 0.25)
    assert harness.host.looks == []
    assert [(each.key, str(each.reason)) for each in harness.host.applied] == [("a", "FeltGrow")]


def test_a_guest_that_was_felt_to_grow_is_told_with_what_was_felt(harness):
    harness.host.grow("a", 350)
    after(harness, 0.25)
    harness.host.resident["a"] += 400 * MIB
    after(harness, 0.25)
    (told,) = harness.status_store.explain("a")["domains"]
    felt = [each for each in told["decisions"][0]["sentences"] if "felt" in each]
    (action,) = harness.host.applied
    sought = round(action.figures.sought / MIB)
    assert felt == [f"Since then it was felt to take 750 MiB into use: it is to have {sought} MiB for that."]
    assert 1024 * MIB < action.target <= action.figures.sought < action.target + MIB


def test_what_a_guest_takes_is_judged_for_two_seconds(harness):
    harness.host.facts = tuple(replace(each, statistics_period=10.0) for each in harness.host.facts)
    harness.host.grow("a", 350)
    pauses = []
    for _ in range(12):
        after(harness, 0.25)
        pauses.append(harness.loop.pause())
    assert pauses == [*[0.25] * 8, 7.75, 7.5, 7.25, 7.0]
    assert harness.host.looks == []


def test_statistics_of_the_second_in_which_it_was_felt_are_told_from_older_ones(harness):
    harness.host.sent_after = 0.5
    harness.clock.now = 1010.2
    harness.loop.iterate()
    harness.host.looks.clear()
    harness.host.grow("a", 350)
    after(harness, 0.25, times=8)
    assert len(harness.host.looks) == 2  # at 1010.45, and at .70 with what was sent at .5


def test_of_a_guest_that_had_told_nothing_yet_the_first_statistics_end_it(harness):
    harness.host.silent.add(harness.host.add("c"))
    harness.host.resident["c"] = 300 * MIB
    harness.loop.iterate()
    harness.host.looks.clear()
    harness.host.feel_growth("c", 350)
    after(harness, 0.5)
    harness.host.silent.clear()
    after(harness, 0.5)
    after(harness, 0.25)
    assert harness.host.looks == [["c"], ["c"]]


def test_turns_in_between_neither_bring_a_look_nor_put_the_next_one_off(harness):
    harness.clock.now = 1010.0
    harness.host.silent.add("a")
    harness.host.grow("a", 350)
    after(harness, 0.125, times=6)
    assert harness.host.looks == [["a"]] * 3


def test_a_guest_whose_look_is_due_anyway_is_looked_at_once(harness):
    harness.host.grow("a", 350)
    after(harness, 60)
    assert harness.host.looks == [["a", "b"]]


def test_the_next_look_at_it_is_waited_for(harness):
    harness.host.grow("a", 350)
    harness.clock.now += 0.1
    harness.loop.iterate()
    assert harness.loop.pause() == 0.25


def test_of_several_the_first_look_is_waited_for(harness):
    harness.host.silent.add("a")
    for name in ("a", "b"):
        harness.host.grow(name, 350)
        after(harness, 1.125)
    assert harness.loop.pause() == 0.25


@pytest.mark.parametrize(("told_after", "looks"), [(3.0, 1), (10.5, 4), (25.0, 9)])
def test_a_guest_that_tells_seldom_is_looked_at_again_when_it_may_have_told(harness, told_after, looks):
    harness.host.facts = tuple(replace(each, statistics_period=10.0) for each in harness.host.facts)
    harness.loop.iterate()
    harness.host.looks.clear()
    harness.host.silent.add("a")
    harness.host.grow("a", 350)
    for turn in range(84):
        if turn * 0.25 >= told_after:
            harness.host.silent.clear()
        after(harness, 0.25)
    assert harness.host.looks.count(["a"]) == looks


def test_statistics_sent_since_then_end_it_with_the_first_look(harness):
    harness.host.feel_growth("a", 350)
    after(harness, 5)
    assert count(harness, "ballast_false_growths") == 1
    after(harness, 0.5)
    assert harness.host.looks == [["a"]]


def test_a_guest_that_never_tells_is_looked_at_for_two_seconds_after_its_next_statistics_were_due(harness):
    harness.host.silent.add("a")
    harness.host.grow("a", 350)
    after(harness, 0.25, times=40)
    assert len(harness.host.looks) == 9


def test_growth_that_its_guest_confirms_is_no_false_alarm(harness):
    harness.host.grow("a", 350)
    after(harness, 0.5, times=8)
    assert felt_and_false(harness) == (1, 0)


def test_growth_of_qemu_for_its_own_sake_is_a_false_alarm(harness):
    harness.host.feel_growth("a", 350)
    after(harness, 0.5, times=8)
    assert felt_and_false(harness) == (1, 1)


@pytest.mark.parametrize(("needed", "false"), [(89, 1), (90, 0)])
def test_growth_of_which_less_than_a_quarter_is_demand_is_a_false_alarm(harness, needed, false):
    harness.host.feel_growth("a", 360)
    harness.host.demand["a"] += needed * MIB
    after(harness, 5)
    assert count(harness, "ballast_false_growths") == false


def test_all_that_was_felt_before_the_guest_told_is_one_growth(harness):
    harness.clock.now = 1010.2
    for felt in (350, 360):
        harness.host.feel_growth("a", felt)
        after(harness, 0.25)
    harness.host.demand["a"] += 160 * MIB
    after(harness, 0.75)
    assert felt_and_false(harness) == (2, 1)


def test_statistics_of_a_balloon_on_its_way_do_not_make_an_alarm_false(harness):
    harness.clock.now = 1010.2
    harness.host.feel_growth("a", 350)
    harness.host.actual["a"] -= 64 * MIB
    harness.host.events = {"a": harness.host.actual["a"]}
    after(harness, 0.1)
    harness.host.actual["a"] -= 64 * MIB
    harness.host.events = {"a": harness.host.actual["a"]}
    after(harness, 0.8)
    after(harness, 0.25)
    assert (harness.host.looks[2:], count(harness, "ballast_false_growths")) == ([], 0)


def test_a_false_alarm_moves_no_memory(harness):
    harness.host.feel_growth("a", 350)
    after(harness, 0.5, times=8)
    assert harness.host.applied == []


def test_qemu_that_grows_for_its_own_sake_is_not_believed_for_a_while_and_nobody_has_less_for_it(harness):
    """As when it migrates, or caches blocks. Its guest tells at even seconds; then it is not believed for 5 s."""
    harness.host.periods["a"] = 2
    for second in (1060, 1064, 1070):
        harness.host.feel_growth("a", 350)
        after(harness, second - harness.clock.now)  # it has just told
        harness.host.feel_growth("a", harness.host.actual["a"] // MIB)
        for _ in range(10):
            after(harness, 0.3)
    assert [(each.key, str(each.reason)) for each in harness.host.applied] == [("a", "FeltGrow")] * 2
    assert count(harness, "ballast_false_growths") == 6


def test_growth_that_is_not_the_guests_takes_only_idle_memory_of_others_and_that_for_a_moment():
    """All memory is lent. A display, or a cache of blocks, grows again and again, and what it takes stays."""
    lent = "{mode: Enforce, budget: {maximum: 2048Mi, reserve: '0', reservePercent: 0}}"
    harness = LoopHarness(lent)
    harness.source.set(lent)
    for name, demand in (("a", 600), ("b", 256)):
        harness.host.add(name, actual=1024, demand=demand)
        harness.host.resident[name] = (demand + 40) * MIB
    turn_for(harness, 700)  # until both are calm
    assert harness.host.applied == []
    for _ in range(3):
        harness.host.feel_growth("a", 400)
        after(harness, 0.3)
        after(harness, 0.25, times=4)
    turn_for(harness, 10)
    shrinks = [each for each in harness.host.applied if each.target < each.before]
    assert [(each.key, str(each.reason)) for each in shrinks] == [("b", "ContentionShrink")]
    assert shrinks[0].target >= shrinks[0].figures.wanted
    assert [str(each.reason) for each in harness.host.applied if each.key == "b"][1:] == ["SpareLent"]
    assert harness.host.actual["a"] + harness.host.actual["b"] > 0.9 * 2048 * MIB
    assert count(harness, "ballast_false_growths") == 3


def test_growth_that_leaves_a_guest_more_than_half_of_its_room_is_no_reason_to_look(harness):
    harness.clock.now = 1010.0
    harness.host.silent.add("a")  # what is felt alone is judged
    harness.host.grow("a", 340)
    after(harness, 0.1)
    assert (harness.host.looks, harness.host.applied) == ([], [])
    harness.host.grow("a", 10)
    after(harness, 0.1)
    assert (harness.host.looks, harness.host.applied) == ([["a"]], [])


def test_a_guest_without_a_policy_is_not_looked_at(harness):
    harness.source.set()
    harness.loop.iterate()
    harness.host.looks.clear()
    harness.host.feel_growth("a", 350)
    after(harness, 0.1)
    assert harness.host.looks == []


def test_growth_of_a_domain_that_is_gone_is_nobodys(harness):
    harness.host.feel_growth("a", 350)
    harness.host.remove("a")
    after(harness, 0.1)
    after(harness, 0.1)
    assert harness.host.looks == []


def test_a_domain_that_goes_before_its_guest_has_told_is_looked_at_no_more(harness):
    harness.host.feel_growth("a", 350)
    after(harness, 0.1)
    harness.host.remove("a")
    harness.host.looks.clear()
    after(harness, 1.0)
    assert harness.host.looks == []


def test_what_a_guest_takes_does_not_outlive_it(harness):
    """Statistics of its next life, in which it needs less, do not make that a false alarm."""
    harness.clock.now = 1010.2
    harness.loop.iterate()
    harness.host.grow("a", 350)
    after(harness, 0.25)
    harness.host.change("a", incarnation=2)
    harness.host.demand["a"] = 100 * MIB
    after(harness, 0.25, times=8)
    assert felt_and_false(harness) == (1, 0)


def test_a_guest_that_opts_out_is_looked_at_no_more(harness):
    harness.host.silent.add("a")
    harness.host.grow("a", 350)
    after(harness, 1.0)
    harness.host.change("a", wishes=Wishes(opt_out=True))
    harness.host.looks.clear()
    after(harness, 0.25, times=8)
    assert harness.host.looks == []


def test_a_look_that_began_before_a_guest_grew_tells_nothing_of_it(harness):
    """It is held up by another guest, and statistics are sent meanwhile."""
    look, demand = harness.host.look, harness.host.demand["a"]

    def slow(rows):
        harness.host.look = look
        samples = look(rows)
        harness.clock.now += 2.5
        harness.host.grow("a", 350)
        return samples

    harness.host.look = slow
    after(harness, 60.0)
    needed, harness.host.demand["a"] = harness.host.demand["a"], demand
    after(harness, 0.25)  # statistics of 1062.0
    harness.host.demand["a"] = needed
    harness.host.looks.clear()
    after(harness, 0.25, times=8)
    assert (harness.host.looks, count(harness, "ballast_false_growths")) == ([["a"]], 0)


class Compared(str):
    """A key that counts how often keys are compared."""

    times = 0

    def __eq__(self, other):
        Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_whom_to_look_at_of_many_guests_that_are_felt_is_found_without_comparing_each_with_each():
    harness, compared = LoopHarness(CALM), []
    keys = [harness.host.add(Compared(f"guest-{number}")) for number in range(100)]
    harness.host.resident = dict.fromkeys(keys, 300 * MIB)
    harness.loop.iterate()
    for key in keys:
        harness.host.feel_growth(key, 350)
    look, before = harness.host.look, Compared.times
    harness.host.look = lambda rows: compared.append(Compared.times - before) or look(rows)
    after(harness, 60.0)
    assert harness.host.looks == [keys, keys]
    assert compared[0] < 2 * len(keys)


def test_the_engine_is_told_what_is_felt_of_the_domains_that_there_are(harness, snapshots):
    harness.host.resident = {"b": 500 * MIB, "stranger": 900 * MIB, "a": 400 * MIB}
    harness.host.pause = 0.5
    harness.host.feel_growth("b", 10)
    after(harness, 1.0)
    felt = snapshots[-1].felt
    assert felt.pause == 0.5
    assert felt.rows.tolist() == [1, 0]
    assert felt.resident.tolist() == [510 * MIB, 400 * MIB]


def test_while_libvirt_hangs_growth_is_felt_and_nothing_is_moved_wrongly(harness):
    """The guest would be short, and nobody can say whether it is: it is to grow, and nobody is to give for it."""
    harness.host.connection.connected = False
    harness.host.feel_growth("a", 750)
    after(harness, 0.25, times=12)
    assert {(each.key, str(each.reason)) for each in harness.host.lost} == {("a", "FeltGrow")}
    assert (harness.host.applied, count(harness, "ballast_false_growths")) == ([], 0)


def test_once_libvirt_answers_again_a_guest_gets_what_its_statistics_say(harness):
    harness.host.connection.connected = False
    harness.host.feel_growth("a", 750)
    after(harness, 0.25, times=4)
    harness.host.connection.connected = True
    after(harness, 1.0, times=8)
    assert harness.host.looks[-1] == ["a"]
    assert (harness.host.applied, harness.host.actual) == ([], {"a": 1024 * MIB, "b": 1024 * MIB})


def test_a_guest_whose_qemu_stalls_is_looked_at_at_once_and_alone(harness):
    harness.host.stalled.add("a")
    after(harness, 5.4)
    assert harness.host.looks == [["a"]]
    assert (count(harness, "ballast_felt_stalls"), count(harness, "ballast_felt_growths")) == (1, 0)


def test_a_stall_claims_nothing_that_could_be_false_and_moves_nothing(harness):
    harness.host.stalled.add("a")
    harness.host.demand["a"] -= 20 * MIB
    after(harness, 0.5, times=8)
    assert (count(harness, "ballast_false_growths"), harness.host.applied) == (0, [])


def test_a_stall_claims_nothing_of_what_grew_a_little_meanwhile(harness):
    harness.clock.now += 0.3  # after statistics that are older than the stall
    for grew in (0, 3 * MIB):
        harness.host.resident["a"] += grew
        known = np.array([float(harness.host.resident["a"])]), np.array([float(grew)]), np.array([harness.clock.now])
        feelings = [Feelings(("a",), *known, stalled=frozenset("a")), Feelings(("a",), *known)]
        harness.host.feel = lambda told=feelings: told.pop(0)
        after(harness, 0.0)
    harness.host.feel = Feelings
    after(harness, 0.5, times=8)
    assert (count(harness, "ballast_felt_stalls"), count(harness, "ballast_false_growths")) == (2, 0)


def test_growth_after_a_stall_may_be_a_false_alarm(harness):
    harness.host.stalled.add("a")
    after(harness, 0.1)
    harness.host.feel_growth("a", 350)
    after(harness, 0.5, times=8)
    assert felt_and_false(harness) == (1, 1)


def test_a_guest_that_stalls_and_grows_at_once_has_grown(harness):
    harness.host.stalled.add("a")
    harness.host.feel_growth("a", 350)
    after(harness, 0.1)
    assert (count(harness, "ballast_felt_stalls"), count(harness, "ballast_felt_growths")) == (0, 1)


def test_the_state_names_every_sense_and_what_keeps_it(harness):
    told = [tuple(each.values()) for each in harness.status_store.document()["senses"]]
    assert told == [
        ("resident", "/proc/PID/statm", 2, "", 0.125),
        ("swap", "swap_in and swap_out of guests' statistics", 2, "", 0.0),
        ("pressure", "PSI", 2, "", 0.0),
    ]


def test_guests_that_count_no_swap_are_told_of():
    harness = LoopHarness(CALM)
    harness.host.silent.add(harness.host.add("a"))
    harness.loop.iterate()
    swap = harness.status_store.document()["senses"][1]
    assert (swap["domains"], swap["trouble"]) == (
        0,
        "1 of 1 guests do not count what they swap, or have not told yet",
    )

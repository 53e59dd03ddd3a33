"""What the loop does when the host feels a guest grow."""

import numpy as np
import pytest
from fake_site import MIB, Site

from controller.host.senses import Feelings

CALM = "{mode: Enforce, spare: Reclaim, monitoring: {minimumIntervalSeconds: 60, maximumIntervalSeconds: 60}}"


@pytest.fixture
def site():
    """Two calm guests that have been looked at for the first time; the next look is due in a minute."""
    site = Site(CALM)
    site.source.set(CALM)
    for name in ("a", "b"):
        site.host.add(name, actual=1024, demand=256)
        site.host.resident[name] = 300 * MIB
    site.loop.iterate()
    site.host.looks.clear()
    return site


def after(site: Site, seconds: float) -> None:
    """The loop is woken, or its wait is over."""
    site.clock.now += seconds
    site.loop.iterate()


def count(site: Site, name: str) -> float:
    samples = (sample for family in site.loop.tally.collect() for sample in family.samples)
    return next(sample.value for sample in samples if sample.name == f"{name}_total")


def test_a_guest_that_is_felt_to_grow_is_looked_at_at_once_and_alone(site):
    site.host.grow("a", 100)
    after(site, 5.4)
    assert site.host.looks == [["a"]]


def test_a_guest_felt_to_grow_is_looked_at_until_it_has_told_and_no_longer(site):
    site.clock.now = 1010.2
    site.loop.iterate()
    site.host.grow("a", 100)
    for _ in range(8):
        after(site, 0.25)
    assert site.clock.now == 1012.2
    assert len(site.host.looks) == 4  # at 1010.45, .70, .95 and 1011.2, with the statistics of 1011


def test_statistics_of_the_second_in_which_it_was_felt_are_told_from_older_ones(site):
    site.host.sent_after = 0.5
    site.clock.now = 1010.2
    site.loop.iterate()
    site.host.looks.clear()
    site.host.grow("a", 100)
    for _ in range(8):
        after(site, 0.25)
    assert len(site.host.looks) == 2  # at 1010.45, and at .70 with what was sent at .5


def test_of_a_guest_that_had_told_nothing_yet_the_first_statistics_end_it(site):
    site.host.silent.add(site.host.add("c"))
    site.host.resident["c"] = 300 * MIB
    site.loop.iterate()
    site.host.looks.clear()
    site.host.feel_growth("c", 100)
    after(site, 0.5)
    site.host.silent.clear()
    after(site, 0.5)
    after(site, 0.25)
    assert site.host.looks == [["c"], ["c"]]


def test_turns_in_between_neither_bring_a_look_nor_put_the_next_one_off(site):
    site.host.grow("a", 100)
    for _ in range(6):
        after(site, 0.125)
    assert site.host.looks == [["a"]] * 3


def test_a_guest_whose_look_is_due_anyway_is_looked_at_once(site):
    site.host.grow("a", 100)
    after(site, 60)
    assert site.host.looks == [["a", "b"]]


def test_the_next_look_at_it_is_waited_for(site):
    site.host.grow("a", 100)
    site.clock.now += 0.1
    site.loop.iterate()
    assert site.loop.pause() == 0.25


def test_of_several_the_first_look_is_waited_for(site):
    for name in ("a", "b"):
        site.host.grow(name, 100)
        after(site, 0.125)
    assert site.loop.pause() == 0.125


def test_statistics_sent_since_then_end_it_with_the_first_look(site):
    site.host.feel_growth("a", 100)
    after(site, 5)
    assert count(site, "ballast_false_growths") == 1
    after(site, 0.5)
    assert site.host.looks == [["a"]]


def test_a_guest_that_never_tells_is_looked_at_for_two_seconds(site):
    site.host.silent.add("a")
    site.host.grow("a", 100)
    for _ in range(40):
        after(site, 0.25)
    assert len(site.host.looks) == 9


def test_growth_that_its_guest_confirms_is_no_false_alarm(site):
    site.host.grow("a", 100)
    for _ in range(8):
        after(site, 0.5)
    assert (count(site, "ballast_felt_growths"), count(site, "ballast_false_growths")) == (1, 0)


def test_growth_of_qemu_for_its_own_sake_is_a_false_alarm(site):
    site.host.feel_growth("a", 100)
    for _ in range(8):
        after(site, 0.5)
    assert (count(site, "ballast_felt_growths"), count(site, "ballast_false_growths")) == (1, 1)


@pytest.mark.parametrize(("needed", "false"), [(24, 1), (25, 0)])
def test_growth_of_which_less_than_a_quarter_is_demand_is_a_false_alarm(site, needed, false):
    site.host.feel_growth("a", 100)
    site.host.demand["a"] += needed * MIB
    after(site, 5)
    assert count(site, "ballast_false_growths") == false


def test_all_that_was_felt_before_the_guest_told_is_one_growth(site):
    site.clock.now = 1010.2
    for felt in (100, 30):
        site.host.feel_growth("a", felt)
        after(site, 0.25)
    site.host.demand["a"] += 20 * MIB
    after(site, 0.75)
    assert (count(site, "ballast_felt_growths"), count(site, "ballast_false_growths")) == (2, 1)


def test_statistics_of_a_balloon_on_its_way_do_not_make_an_alarm_false(site):
    site.clock.now = 1010.2
    site.host.feel_growth("a", 100)
    site.host.actual["a"] -= 64 * MIB
    site.host.events = {"a": site.host.actual["a"]}
    after(site, 0.1)
    site.host.actual["a"] -= 64 * MIB
    site.host.events = {"a": site.host.actual["a"]}
    after(site, 0.8)
    after(site, 0.25)
    assert (site.host.looks[2:], count(site, "ballast_false_growths")) == ([], 0)


def test_a_false_alarm_moves_no_memory(site):
    site.host.feel_growth("a", 100)
    for _ in range(8):
        after(site, 0.5)
    assert site.host.applied == []


def test_qemu_that_grows_for_its_own_sake_is_not_believed_for_a_while_and_nobody_has_less_for_it(site):
    """As when it migrates, or caches blocks. Its guest tells at even seconds; then it is not believed for 5 s."""
    site.host.periods["a"] = 2
    for second in (1060, 1064, 1070):
        site.host.feel_growth("a", 16)
        after(site, second - site.clock.now)  # it has just told
        site.host.feel_growth("a", site.host.actual["a"] // MIB)
        for _ in range(10):
            after(site, 0.3)
    assert [(each.key, str(each.reason)) for each in site.host.applied] == [("a", "FeltGrow")] * 2
    assert count(site, "ballast_false_growths") == 6


def test_growth_far_from_the_limit_waits_for_statistics(site):
    site.host.grow("a", 300)
    site.clock.now += 0.1
    site.loop.iterate()
    assert site.host.applied == []


def test_a_guest_without_a_policy_is_not_looked_at(site):
    site.source.set()
    site.loop.iterate()
    site.host.looks.clear()
    site.host.feel_growth("a", 100)
    after(site, 0.1)
    assert site.host.looks == []


def test_growth_of_a_domain_that_is_gone_is_nobodys(site):
    site.host.feel_growth("a", 100)
    site.host.remove("a")
    after(site, 0.1)
    after(site, 0.1)
    assert site.host.looks == []


def test_a_domain_that_goes_before_its_guest_has_told_is_looked_at_no_more(site):
    site.host.feel_growth("a", 100)
    after(site, 0.1)
    site.host.remove("a")
    site.host.looks.clear()
    after(site, 1.0)
    assert site.host.looks == []


def test_the_engine_is_told_what_is_felt_of_the_domains_that_there_are(site, snapshots):
    site.host.resident = {"b": 500 * MIB, "stranger": 900 * MIB, "a": 400 * MIB}
    site.host.feel_growth("b", 10)
    after(site, 1.0)
    felt = snapshots[-1].felt
    assert felt.rows.tolist() == [1, 0]
    assert felt.resident.tolist() == [510 * MIB, 400 * MIB]


def test_while_libvirt_hangs_growth_is_felt_and_nothing_is_moved_wrongly(site):
    site.host.connection.connected = False
    site.host.feel_growth("a", 100)
    for _ in range(12):
        after(site, 0.25)
    assert (site.host.applied, count(site, "ballast_false_growths")) == ([], 0)


def test_a_guest_whose_qemu_stalls_is_looked_at_at_once_and_alone(site):
    site.host.stalled.add("a")
    after(site, 5.4)
    assert site.host.looks == [["a"]]
    assert (count(site, "ballast_felt_stalls"), count(site, "ballast_felt_growths")) == (1, 0)


def test_a_stall_claims_nothing_that_could_be_false_and_moves_nothing(site):
    site.host.stalled.add("a")
    site.host.demand["a"] -= 20 * MIB
    for _ in range(8):
        after(site, 0.5)
    assert (count(site, "ballast_false_growths"), site.host.applied) == (0, [])


def test_a_stall_claims_nothing_of_what_grew_a_little_meanwhile(site):
    site.clock.now += 0.3  # after statistics that are older than the stall
    for grew in (0, 3 * MIB):
        site.host.resident["a"] += grew
        known = np.array([float(site.host.resident["a"])]), np.array([float(grew)]), np.array([site.clock.now])
        feelings = [Feelings(("a",), *known, stalled=frozenset("a")), Feelings(("a",), *known)]
        site.host.feel = lambda told=feelings: told.pop(0)
        after(site, 0.0)
    site.host.feel = Feelings
    for _ in range(8):
        after(site, 0.5)
    assert (count(site, "ballast_felt_stalls"), count(site, "ballast_false_growths")) == (2, 0)


def test_growth_after_a_stall_may_be_a_false_alarm(site):
    site.host.stalled.add("a")
    after(site, 0.1)
    site.host.feel_growth("a", 100)
    for _ in range(8):
        after(site, 0.5)
    assert (count(site, "ballast_felt_growths"), count(site, "ballast_false_growths")) == (1, 1)


def test_a_guest_that_stalls_and_grows_at_once_has_grown(site):
    site.host.stalled.add("a")
    site.host.feel_growth("a", 100)
    after(site, 0.1)
    assert (count(site, "ballast_felt_stalls"), count(site, "ballast_felt_growths")) == (0, 1)


def test_the_state_names_every_sense_and_what_keeps_it(site):
    told = [(each["name"], each["domains"], each["trouble"]) for each in site.board.document()["senses"]]
    assert told == [("resident", 2, ""), ("swap", 2, ""), ("pressure", 2, "")]


def test_guests_that_count_no_swap_are_told_of():
    site = Site(CALM)
    site.host.silent.add(site.host.add("a"))
    site.loop.iterate()
    swap = site.board.document()["senses"][1]
    assert (swap["domains"], swap["trouble"]) == (
        0,
        "1 of 1 guests do not count what they swap in, or have not told yet",
    )

"""Two hundred guests at once, on a made-up libvirt: what is counted as amiss there, and that nothing is."""

import pytest

from faulting.crowd import GUESTS, KIB, MAXIMUM_MIB, START_MIB, Comer, CrowdFault, SimulatedTime

DEMAND_MIB = 300


@pytest.mark.parametrize(
    ("mib", "amiss"), [(DEMAND_MIB, 0), (DEMAND_MIB - 1, 1), (START_MIB, 1), (MAXIMUM_MIB, 0), (MAXIMUM_MIB + 1, 1)]
)
def test_orders_below_demand_above_the_maximum_or_of_what_was_ordered_are_amiss(mib, amiss):
    comer = Comer(1, DEMAND_MIB, 0, SimulatedTime())
    comer.setMemoryFlags(mib * KIB, 0)
    assert (comer.amiss, comer.target) == (amiss, mib * KIB)


def test_a_guest_that_is_short_may_be_given_less_than_all_it_needs():
    comer = Comer(1, START_MIB + 100, 0, SimulatedTime())
    comer.setMemoryFlags((START_MIB + 50) * KIB, 0)
    assert comer.amiss == 0


def test_all_that_come_are_served_within_the_budget():
    result = CrowdFault().carry_out()
    assert result.good, result
    assert result.seen == f"{GUESTS} guests: Booting"

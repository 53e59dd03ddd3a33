"""Orders are judged by what QEMU wrote down of them. The lines are QEMU 7.2's, of a guest of 384 MiB."""

import pytest

from faulting.judge import Order, above_limit, below_demand, doubled, orders, unheard, without
from faulting.log import Claim
from faulting.watch import Seen, demand_at

RECORD = """\
27479@1795687879.919477:virtio_balloon_to_target balloon target: 0x12000000 num_pages: 24576
27479@1795687885.944258:virtio_balloon_to_target balloon target: 0xc800000 num_pages: 47104
2026-11-26T10:11:31.000000Z qemu-system-x86_64: warning: something else
27479@1795687895.795930:virtio_balloon_to_target balloon target: 0xfa00000 num_pages: 34304
27479@1795687899.1""".splitlines()
LESS = Order(1795687885.944258, 200, 384)
MORE = Order(1795687895.795930, 250, 384)


def test_orders_are_read_from_the_record_but_the_first_that_libvirt_gives_at_every_start():
    assert orders(RECORD) == [LESS, MORE]


def test_an_empty_record_has_no_orders():
    assert orders([]) == orders(RECORD[:1]) == []


def test_orders_of_somebody_else_are_left_out():
    assert without([LESS, MORE], [LESS.at - 0.1]) == [MORE]
    assert without([LESS, MORE], [MORE.at + 1]) == [LESS, MORE]


def test_an_order_that_repeats_the_last_one_is_doubled():
    assert doubled([LESS, MORE, LESS]) == 0
    assert doubled([LESS, Order(LESS.at + 1, 200.2, 384), MORE]) == 1


def test_an_order_that_ballast_claims_and_qemu_never_got_is_lost():
    first, second = Claim(LESS.at + 0.01, "u", 200), Claim(MORE.at + 2, "u", 250)
    assert unheard([first, second], [LESS, MORE]) == 0
    assert unheard([first, second], [MORE]) == 1
    assert unheard([first, first], [LESS]) == 1
    assert unheard([Claim(MORE.at - 13, "u", 250)], [MORE]) == 1


def test_an_order_that_ballast_claims_late_is_not_lost():
    late = Claim(MORE.at + 60, "u", 250)
    assert unheard([late], [MORE]) == 0
    assert unheard([Claim(MORE.at + 1, "u", 200), late], [LESS, MORE]) == 1  # it is older than the claim before


def test_an_order_that_qemu_takes_late_is_not_lost():
    assert unheard([Claim(MORE.at - 11, "u", 250)], [MORE]) == 0


@pytest.mark.parametrize(("demand", "harmful"), [(None, 0), (150, 0), (204, 0), (204.1, 1)])
def test_an_order_below_what_the_guest_used_at_rest_is_harmful(demand, harmful):
    asked = []

    def demand_at(at):
        asked.append(at)
        return demand

    assert below_demand([LESS], demand_at) == harmful
    assert asked == [LESS.at]


def test_an_order_above_the_policys_part_of_all_the_guest_can_have_is_wrong():
    plugged = Order(MORE.at, 380, 512)
    assert above_limit([LESS, MORE, plugged], 0.96) == 0
    assert above_limit([Order(LESS.at, 370, 384)], 0.96) == 1


def seen(at: float, demand: float, allocation: float = 400, updated: float | None = None) -> Seen:
    return Seen(at, "u", allocation, demand, 0.0, float(int(at)) if updated is None else updated)


AT_REST = [seen(at, 328) for at in (98.0, 98.5, 99.0, 99.5)]


@pytest.mark.parametrize(
    ("samples", "demand"),
    [
        (AT_REST, 328),
        (AT_REST[:3], None),  # not for long enough
        ([*AT_REST[1:], seen(99.9, 330, 404)], None),  # it has just moved
        ([*AT_REST, seen(100.4, 50)], 50),  # told before the order, seen after it
        ([*AT_REST, seen(100.4, 12, 362)], 50),  # likewise, and its balloon has followed the order: it had 350 usable
        ([*AT_REST, seen(101.0, 50, updated=101.0)], 328),  # told after it
    ],
)
def test_a_guest_used_what_it_told_of_before_the_order_whenever_that_was_seen(samples, demand):
    assert demand_at(samples, 100.2) == demand

"""A quick share of `./hack/faults`, through the same code."""

import pytest

from faulting.__main__ import FAULTS


@pytest.mark.parametrize("name", ["libvirtd-killed", "ballast-killed-before-grow", "guest-rebooted"])
def test_a_fault_harms_no_guest_loses_no_order_and_is_recovered_from(name):
    result = FAULTS[name].carry_out()
    assert result.good, result
    assert "TRACEBACK" not in result.seen

"""A quick share of `./hack/faults`, through the same code."""

import pytest

from faulting.__main__ import FAULTS
from faulting.fault import carry_out


@pytest.mark.parametrize("name", ["libvirtd-killed", "ballast-killed-after-order", "guest-paused"])
def test_a_fault_harms_no_guest_loses_no_order_and_is_recovered_from(name):
    result = carry_out(FAULTS[name])
    assert result.good, result
    assert "TRACEBACK" not in result.seen

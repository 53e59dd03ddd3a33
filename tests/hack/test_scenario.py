"""The demo's parts: more than the budget if all asked for their maximum, never more by what they really need."""

from itertools import pairwise

import pytest

from controller.api.documents import load
from lab.scenario import BUDGET_MIB, CAST, MAXIMA_MIB, POLICY, START_MIB

KERNEL_MIB = 72
"""Demand of an idle guest of 384 MiB."""
HEADROOM_MIB = 48
"""The policy's."""
LAG_S = 8
"""Until memory that is not needed any more is back: the policy's stabilisation, a look, the balloon."""


def wanted(workload, second):
    """MiB at `second`, the higher one where it steps."""
    exact = [mib for at, mib in workload if at == second]
    if exact:
        return max(exact)
    (t0, m0), (t1, m1) = next(pair for pair in pairwise(workload) if pair[0][0] < second < pair[1][0])
    return m0 + (m1 - m0) * (second - t0) / (t1 - t0)


def needed(workload, second):
    """With headroom, and with what is not given back yet."""
    recent = [wanted(workload, (second - ago) % 60) for ago in range(LAG_S + 1)]
    return max(128, max(recent) + KERNEL_MIB + HEADROOM_MIB)


def test_the_policy_is_valid_and_lends_the_budget():
    loaded = load(POLICY.read_text(), str(POLICY))
    assert loaded.problems == ()
    (policy,) = loaded.policies
    assert policy.spec.budget.maximum == BUDGET_MIB * 2**20
    assert policy.spec.headroom.quantity == HEADROOM_MIB * 2**20


def test_maxima_exceed_the_budget_and_shares_at_the_start_do_not():
    assert MAXIMA_MIB > BUDGET_MIB >= START_MIB * len(CAST)


@pytest.mark.parametrize("second", range(60))
def test_needs_fit_the_budget_at_every_second(second):
    assert sum(needed(part.workload, second) for part in CAST) <= BUDGET_MIB

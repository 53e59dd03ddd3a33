"""Reasons fall into kinds by their number, new ones too."""

import pytest

from controller.engine.reasons import Reason


@pytest.mark.parametrize("reason", list(Reason)[1:], ids=str)
def test_every_reason_is_of_one_kind(reason: Reason) -> None:
    kept = Reason.WITHIN_THRESHOLD <= reason < Reason.FORECAST_GROW
    assert [reason.skips, kept, reason.moves].count(True) == 1


def test_no_decision_is_of_none() -> None:
    assert (Reason.NONE.skips, Reason.NONE.moves, Reason.NONE.noticed) == (False, False, False)


def test_a_person_hears_of_every_domain_that_is_left_alone_for_long() -> None:
    assert [reason for reason in Reason if reason.skips and not reason.noticed] == [Reason.AWAITING_POLICIES]
